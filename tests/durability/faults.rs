//! Injected faults: each call of a workload fails, one after the other: once and for good, with an
//! error of the disk and with a full disk.
//!
//! After each: whoever waited was told or the log says so, a store whose log failed takes nothing
//! more, one that met a full disk goes on, and what was acknowledged is there after a restart, a
//! kill and a power cut.

use crate::{
    campaign::{Campaign, Failure, Figures, Random},
    crash_states::{Bounds, State, random_mode},
    model::Model,
    step::{Step, Write, compaction},
    subject::{Progress, Subject, end, open},
};
use nowthen::{
    disk::{Call, CallKind, Cut, SimulatedFs},
    error::Error,
    log::Durability,
    store::Store,
};
use std::{
    io::ErrorKind,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

const STEPS_MAX: u64 = 12;
/// Longer than a log waits before it asks a full disk again, in µs.
const SPACE_RETRY_US: i64 = 2_000_000;

#[test]
fn faults() {
    Campaign::new("faults", "injected faults", 1_000).run(history);
}

#[test]
fn no_snapshot_touches_the_files_that_a_manifest_of_unknown_fate_may_list() {
    let text = Write::SetText { key: 0, text: "x".into(), end_in_us: None };
    let steps = [Step::Write(text), Step::Checkpoint, Step::Checkpoint];
    let calls = calls_of(&steps, Durability::Always).unwrap();
    for call in 0..calls {
        let fault = Fault { call, kind: ErrorKind::Other, for_good: false };
        let (mut random, mut figures) = (Random(call), Figures::default());
        inject(&steps, Durability::Always, fault, &mut random, &mut figures).unwrap();
    }
}

/// What fails, and how.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: u64,
    kind: ErrorKind,
    for_good: bool,
}

fn history(seed: u64) -> Result<Figures, Failure> {
    let mut random = Random(seed);
    let mut figures = Figures::default();
    let mode = random_mode(&mut random);
    let mut steps: Vec<Step> =
        (0..4 + random.below(STEPS_MAX)).map(|_| Step::random(&mut random)).collect();
    // With two snapshots, so that the older one and its log go.
    for _ in 0..random.below(4) {
        steps.insert(random.below(steps.len() as u64) as usize, Step::Checkpoint);
    }
    if random.one_in(3) {
        steps.truncate(4);
        steps.splice(0..0, compaction(&mut random));
    }
    let calls = calls_of(&steps, mode)?;
    figures.add("calls made to fail", calls);
    for call in 0..calls {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            for for_good in [false, true] {
                let fault = Fault { call, kind, for_good };
                inject(&steps, mode, fault, &mut random, &mut figures)
                    .map_err(|failure| failure.during(&format!("{mode}, {fault:?}")))?;
            }
        }
    }
    Ok(figures)
}

/// How many calls a workload makes when nothing fails.
fn calls_of(steps: &[Step], mode: Durability) -> Result<u64, Failure> {
    let fs = SimulatedFs::new();
    let opened = Subject::open(&fs, mode, vec![Model::default()], Arc::default());
    let mut subject = opened.map_err(|error| Failure::on(&fs, error.to_string()))?;
    for step in steps {
        if let Some(error) = subject.take(step)? {
            return Err(Failure::on(&fs, format!("refused though nothing failed: {error}")));
        }
    }
    if let Some(error) = subject.finish_checkpoint() {
        return Err(Failure::on(&fs, format!("no checkpoint though nothing failed: {error}")));
    }
    end(subject.store);
    Ok(fs.calls())
}

fn inject(
    steps: &[Step],
    mode: Durability,
    fault: Fault,
    random: &mut Random,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let fs = SimulatedFs::new();
    fs.fail_call(fault.call, fault.kind, fault.for_good);
    let progress: Arc<Progress> = Arc::default();
    let mut subject = match Subject::open(&fs, mode, vec![Model::default()], Arc::clone(&progress))
    {
        Ok(subject) => subject,
        Err(error) => return refused_to_open(&fs, mode, &error, figures),
    };
    let mut errors = Vec::new();
    for step in steps {
        errors.extend(subject.take(step)?);
    }
    errors.extend(subject.finish_checkpoint());
    fs.heal();
    let failed = fs.failed_calls();
    if failed.is_empty() {
        figures.add("ended before the call came", 1);
        end(subject.store);
        return Ok(());
    }
    figures.add("injected faults", 1);
    for call in &failed[..1] {
        figures.add(kind_name(call.kind), 1);
    }
    check_told(&subject, &failed, &errors, figures)?;
    check_goes_on(&mut subject, figures)?;
    let Subject { store, models, .. } = subject;
    end(store);
    let begun = models.len() as u64 - 1;
    let kept = progress.kept.load(Ordering::SeqCst);
    let kept_by_kill = kept.max(progress.kept_by_kill.load(Ordering::SeqCst));
    let killed = Bounds { written: kept_by_kill, ..Bounds::new(kept, begun) };
    let cut = || (fs.crash(random.next(), Cut::Power), Bounds::new(kept, begun));
    let cuts = std::iter::repeat_with(cut).take(2);
    for (disk, bounds) in [(fs.crash(0, Cut::Process), killed)].into_iter().chain(cuts) {
        State { disk: &disk, models: &models, bounds, mode }
            .check(&mut Random(begun), figures)
            .map_err(|failure| failure.during(&format!("after {:?}", failed.first())))?;
    }
    Ok(())
}

/// A store that cannot be opened says so, and can be once nothing fails.
fn refused_to_open(
    fs: &SimulatedFs,
    mode: Durability,
    error: &Error,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let failed = fs.failed_calls();
    let Some(call) = failed.first() else {
        return Err(Failure::on(fs, format!("not opened though nothing failed: {error}")));
    };
    figures.add("injected faults", 1);
    figures.add(kind_name(call.kind), 1);
    figures.add("told: not opened", 1);
    for disk in [fs.crash(0, Cut::Process), fs.crash(1, Cut::Power)] {
        let again = open(&disk, mode, 1);
        let again = again.map_err(|error| Failure::on(&disk, format!("not opened: {error}")))?;
        end(again);
    }
    Ok(())
}

/// Nothing fails in silence, but what the next start makes up for.
fn check_told(
    subject: &Subject,
    failed: &[Call],
    errors: &[Error],
    figures: &mut Figures,
) -> Result<(), Failure> {
    let is_lost = |call: &Call| {
        let is_log = call.path.starts_with("/data/log");
        is_log && matches!(call.kind, CallKind::Write | CallKind::Sync | CallKind::SyncDir)
    };
    let lost = failed.iter().find(|call| is_lost(call));
    let poisoned = match lost {
        Some(_) => poisoned_soon(&subject.store),
        None => subject.store.log_status().poisoned,
    };
    let outcome = match errors.first() {
        Some(error) if error.code() == "NOSPACE" => "told: no space",
        Some(_) if poisoned.is_some() => "told: the log is poisoned",
        Some(_) => "told: a client",
        None if poisoned.is_some() => "told: the log is poisoned, and nobody waited",
        None if failed.iter().all(may_be_silent) => "silent: made up for later",
        None => {
            let what = format!("nobody was told that {:?} failed", failed.first());
            return Err(Failure::on(&subject.fs, what));
        }
    };
    figures.add(outcome, 1);
    match lost {
        Some(call) if poisoned.is_none() => {
            Err(Failure::on(&subject.fs, format!("not poisoned by {call:?}")))
        }
        _ => Ok(()),
    }
}

/// Why the log is poisoned; its writer may still be between the call that failed and saying so.
fn poisoned_soon(store: &Store) -> Option<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let poisoned = store.log_status().poisoned;
        if poisoned.is_some() || Instant::now() > deadline {
            return poisoned;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Space that was asked for before anybody needs it, and what a checkpoint no longer needs.
fn may_be_silent(call: &Call) -> bool {
    let is_spare = call.path.to_string_lossy().ends_with(".spare");
    match call.kind {
        CallKind::Create | CallKind::Allocate => is_spare,
        CallKind::Remove => true,
        CallKind::SyncDir => !call.path.starts_with("/data/log"),
        _ => false,
    }
}

/// Once nothing fails any more, a poisoned store refuses what comes, and any other takes it.
fn check_goes_on(subject: &mut Subject, figures: &mut Figures) -> Result<(), Failure> {
    let write = Write::SetText { key: 0, text: "after all".into(), end_in_us: None };
    subject.take(&Step::Wait { us: SPACE_RETRY_US })?;
    let before = subject.last();
    // The writer may still be between a call that failed and saying so: then this one is taken.
    let was_poisoned = subject.store.log_status().poisoned.is_some();
    let refused = subject.take(&Step::Write(write))?;
    let is_untaken = subject.last() == before;
    let is_poisoned = subject.store.log_status().poisoned.is_some();
    match refused {
        Some(error) if is_poisoned && error.code() == "IOERR" && (is_untaken || !was_poisoned) => {
            let told = match is_untaken {
                true => "afterwards: refused with IOERR",
                false => "afterwards: taken, outcome unknown",
            };
            figures.add(told, 1);
            Ok(())
        }
        None if !is_poisoned => {
            figures.add("afterwards: goes on", 1);
            Ok(())
        }
        refused => {
            let what = format!("poisoned: {is_poisoned}, but a write afterwards gives {refused:?}");
            Err(Failure::on(&subject.fs, what))
        }
    }
}

fn kind_name(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Create => "  create",
        CallKind::Open => "  open",
        CallKind::Write => "  write",
        CallKind::Sync => "  sync",
        CallKind::Allocate => "  allocate",
        CallKind::SetLen => "  set length",
        CallKind::CreateDir => "  make folder",
        CallKind::Rename => "  rename",
        CallKind::HardLink => "  link",
        CallKind::Remove => "  remove",
        CallKind::SyncDir => "  sync folder",
    }
}
