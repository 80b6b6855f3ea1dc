//! Crash states: the power is cut at every call of the file system, and any part of what was not
//! synced is kept; so it is while a store recovers, too.
//!
//! ```text
//! open ── steps ──────────────────────── end      one life: each call is a moment to cut at
//!   │││    │││││││││││││││││││││││││││││││││
//!   └┴┴─> any subset of what is not synced ──> open, sometimes cut again ──> a record's state?
//!                        └─ one of these is the disk of the next life
//! ```

use crate::{
    campaign::{Campaign, Failure, Figures, Random},
    commit::visible,
    model::{Model, Visible},
    step::{Feature, Step, compaction},
    subject::{Progress, Subject, end, open},
};
use nowthen::{
    disk::{CallKind, Cut, Moment, SimulatedFs},
    feature::{KeyPart, Timestamp},
    log::Durability,
    store::Store,
};
use std::{
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

const LIVES: u64 = 4;
const STEPS_MAX: u64 = 30;
/// So many subsets of what is not synced are looked at for each call, at most.
const CUTS: u64 = 4;
/// So long after its last record a store is looked at once more, in µs: then all that can be over
/// is over, and what lay ahead is there.
const LATER_US: i64 = 10_000;
/// Longer than it takes to wake up who waits for a sync.
const A_SLOW_SYNC: Duration = Duration::from_micros(300);

#[test]
fn crash_states() {
    Campaign::new("crash_states", "crash states", 10_000).run(history);
}

/// A call at which the power may be cut.
struct CutPoint {
    moment: Moment,
    kept: u64,
    kept_by_kill: u64,
    begun: u64,
}

/// What may be on a disk, and what must.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The last record that is there, whether the kernel or the disk has it.
    pub(crate) written: u64,
    /// The last record that one more power cut does not take.
    pub(crate) kept: u64,
    /// The last record that may be there.
    pub(crate) begun: u64,
}

impl Bounds {
    /// Records up to `kept` are safe, and some up to `begun` may be there.
    pub(crate) fn new(kept: u64, begun: u64) -> Self {
        Self { written: kept, kept, begun }
    }
}

fn history(seed: u64) -> Result<Figures, Failure> {
    let mut random = Random(seed);
    let mut figures = Figures::default();
    let mut fs = SimulatedFs::new();
    let mut models = vec![Model::default()];
    let mut bounds = Bounds::new(0, 0);
    for life in 0..LIVES {
        let mode = random_mode(&mut random);
        let points;
        (models, points) = live(&fs, mode, models, bounds, &mut random)
            .map_err(|failure| failure.during(&format!("life {life}, {mode}")))?;
        let next = random.below(points.len() as u64) as usize;
        for (index, point) in points.iter().enumerate() {
            for (disk, bounds) in point.cuts(&mut random) {
                let seen = State { disk: &disk, models: &models, bounds, mode };
                seen.check(&mut random, &mut figures).map_err(|failure| {
                    let (call, calls) = (index + 1, points.len());
                    failure.during(&format!("life {life}, {mode}, cut at call {call} of {calls}"))
                })?;
            }
            if index == next {
                (fs, bounds) = match random.one_in(3) {
                    true => point.kill(),
                    false => point.power_cut(random.next()),
                };
            }
        }
        figures.add("calls cut at", points.len() as u64);
    }
    Ok(figures)
}

pub(crate) fn random_mode(random: &mut Random) -> Durability {
    match random.below(4) {
        0 => Durability::Interval { ms: 2 },
        1 => Durability::Never,
        _ => Durability::Always,
    }
}

/// One life of a store, from the disk that the last one left: what it wrote, and all its calls.
fn live(
    fs: &SimulatedFs,
    mode: Durability,
    models: Vec<Model>,
    bounds: Bounds,
    random: &mut Random,
) -> Result<(Vec<Model>, Vec<CutPoint>), Failure> {
    let progress = Arc::new(Progress::default());
    progress.kept.store(bounds.kept, Ordering::SeqCst);
    progress.kept_by_kill.store(bounds.written, Ordering::SeqCst);
    progress.begun.store(bounds.begun, Ordering::SeqCst);
    let points: Arc<Mutex<Vec<CutPoint>>> = Arc::default();
    let (told, met) = (Arc::clone(&progress), Arc::clone(&points));
    fs.watch(move |call, moment| {
        if call.kind == CallKind::Sync && call.number % 4 == 0 {
            thread::sleep(A_SLOW_SYNC); // for whoever tells too early what it does
        }
        let kept = told.kept.load(Ordering::SeqCst);
        let kept_by_kill = kept.max(told.kept_by_kill.load(Ordering::SeqCst));
        let begun = told.begun.load(Ordering::SeqCst);
        met.lock().unwrap().push(CutPoint { moment, kept, kept_by_kill, begun });
    });
    let opened = Subject::open(fs, mode, models, progress);
    let mut subject = opened.map_err(|error| Failure::on(fs, format!("not opened: {error}")))?;
    let (first, opened_at) = (subject.last(), points.lock().unwrap().len());
    let mut steps = if random.one_in(4) { compaction(random) } else { Vec::new() };
    steps.extend((0..random.below(STEPS_MAX)).map(|_| Step::random(random)));
    for step in &steps {
        if let Some(error) = subject.take(step)? {
            return Err(Failure::on(fs, format!("refused: {error}")));
        }
    }
    if let Some(error) = subject.finish_checkpoint() {
        return Err(Failure::on(fs, format!("no checkpoint: {error}")));
    }
    let Subject { store, models, progress, .. } = subject;
    let is_closed = random.one_in(2);
    if is_closed {
        store.close().map_err(|error| Failure::on(fs, format!("not closed: {error}")))?;
    }
    end(store);
    fs.unwatch();
    let mut points = std::mem::take(&mut *points.lock().unwrap());
    let begun = models.len() as u64 - 1;
    let told = |bound: &AtomicU64| if is_closed { begun } else { bound.load(Ordering::SeqCst) };
    let (kept, kept_by_kill) = (told(&progress.kept), told(&progress.kept_by_kill));
    points.push(CutPoint { moment: fs.moment(), kept, kept_by_kill, begun });
    // What was cut while it recovered holds no record that it did not find.
    points.iter_mut().take(opened_at).for_each(|point| point.begun = point.begun.min(first));
    Ok((models, points))
}

impl CutPoint {
    /// The disks that may be left, each with what must be on it.
    fn cuts(&self, random: &mut Random) -> Vec<(SimulatedFs, Bounds)> {
        let undecided = self.moment.undecided() as u32;
        let power_cuts = CUTS.min(2u64.saturating_pow(undecided) - 1);
        let cuts = (0..power_cuts).map(|_| self.power_cut(random.next()));
        cuts.chain([self.kill()]).collect()
    }

    fn kill(&self) -> (SimulatedFs, Bounds) {
        let bounds = Bounds { written: self.kept_by_kill, ..Bounds::new(self.kept, self.begun) };
        (self.moment.crash(0, Cut::Process), bounds)
    }

    fn power_cut(&self, seed: u64) -> (SimulatedFs, Bounds) {
        (self.moment.crash(seed, Cut::Power), Bounds::new(self.kept, self.begun))
    }
}

/// A disk after a crash.
pub(crate) struct State<'a> {
    pub(crate) disk: &'a SimulatedFs,
    pub(crate) models: &'a [Model],
    pub(crate) bounds: Bounds,
    pub(crate) mode: Durability,
}

impl State<'_> {
    /// Opens the disk, after further cuts in the midst of that, and looks at all of it.
    pub(crate) fn check(
        mut self,
        random: &mut Random,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let mut disk = self.disk.clone();
        while random.one_in(4) {
            figures.add("crash states", 1);
            figures.add("  of these while recovering", 1);
            disk.fail_call(random.below(40), ErrorKind::Other, true);
            // Opened, it may have been read: what was shown must not go away.
            if let Ok(store) = open(&disk, self.mode, 1) {
                self.bounds.kept = self.bounds.kept.max(store.last_written().0);
                end(store);
            }
            disk = disk.crash(random.next(), Cut::Power);
            self.bounds.written = self.bounds.kept;
        }
        figures.add("crash states", 1);
        let store = open(&disk, self.mode, 1)
            .map_err(|error| Failure::on(&disk, format!("not opened: {error}")))?;
        let last = self.check_store(&store, random).map_err(|what| Failure::on(&disk, what))?;
        figures.add("records kept beyond the promise", last - self.bounds.written);
        if random.one_in(16) {
            figures.add("histories of pushed rows compared", 1);
            self.check_history(&store, last, random).map_err(|what| Failure::on(&disk, what))?;
        }
        end(store);
        if random.one_in(8) {
            figures.add("stores written to afterwards", 1);
            self.go_on(&disk, last, random)?;
        }
        Ok(())
    }

    /// The state is that of one record, which is none that may be lost and none that never was.
    pub(crate) fn check_store(&self, store: &Store, random: &mut Random) -> Result<u64, String> {
        let last = store.last_written().0;
        let Bounds { written, begun, .. } = self.bounds;
        if last < written {
            return Err(format!("lost: records {} to {written}", last + 1));
        }
        let model = self.models.get(last as usize).filter(|_| last <= begun);
        let model = model.ok_or_else(|| format!("invented: records {} to {last}", begun + 1))?;
        let now_us = store.clock().now().us();
        if now_us < model.decided_us {
            let decided_us = model.decided_us;
            return Err(format!("the clock goes back to {now_us}: {last} was at {decided_us}"));
        }
        let later_us = now_us + random.below(LATER_US as u64) as i64;
        for now_us in [now_us, later_us, later_us + LATER_US] {
            self.check_now(store, now_us)?;
        }
        Ok(last)
    }

    /// What is seen at an instant is what the last record leaves.
    pub(crate) fn check_now(&self, store: &Store, now_us: i64) -> Result<(), String> {
        let last = store.last_written().0;
        let (found, expected) =
            (visible(store, now_us), self.models[last as usize].visible(now_us));
        if found == expected {
            return Ok(());
        }
        let only_in = |of: &Visible, other: &Visible| {
            let only = of.iter().filter(|(name, value)| other.get(*name) != Some(*value));
            only.map(|(name, value)| format!("{name} = {value:.60}")).collect::<Vec<_>>()
        };
        let Bounds { written, begun, .. } = self.bounds;
        Err(format!(
            "at {now_us} the state is not that of record {last} ({written} to {begun}): \
             found {:?}, expected {:?}",
            only_in(&found, &expected),
            only_in(&expected, &found)
        ))
    }

    /// Pushed rows are there for training, whatever became of the log around them.
    pub(crate) fn check_history(
        &self,
        store: &Store,
        last: u64,
        random: &mut Random,
    ) -> Result<(), String> {
        let model = &self.models[last as usize];
        let at_us = random.below(model.decided_us as u64 + 2 * LATER_US as u64) as i64;
        let schema = store.schema();
        let Some(entity) = schema.catalog.entity("user") else { return Ok(()) };
        let features: Vec<Feature> = model.features().collect();
        let names: Vec<_> = features.iter().map(|f| format!("{}:{}", f.view(), f.name())).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let selected = schema.catalog.select(&names).map_err(|error| error.to_string())?;
        let keys: Vec<_> = (0..3).map(|user| vec![KeyPart::Int64(user)]).collect();
        let rows = store.features_at(&schema, entity, &selected, &keys, Timestamp(at_us));
        let rows = rows.map_err(|error| format!("no history: {error}"))?;
        for (user, row) in rows.iter().enumerate() {
            for (feature, answer) in features.iter().zip(row) {
                let found = match &answer.value {
                    Some(value) => Some(value.to_text()),
                    None if answer.status == nowthen::feature::Status::NullValue => {
                        Some("null".into())
                    }
                    None => None,
                };
                let expected = model.as_of(user as i64, *feature, at_us);
                if found != expected {
                    let name = feature.name();
                    return Err(format!(
                        "the history of user:{user} {name} at {at_us}: {found:?}, not {expected:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Life goes on: the next record has the next LSN, and is there in the life after.
    fn go_on(&self, disk: &SimulatedFs, last: u64, random: &mut Random) -> Result<(), Failure> {
        let models = self.models[..=last as usize].to_vec();
        let subject = Subject::open(disk, self.mode, models, Arc::default());
        let mut subject =
            subject.map_err(|error| Failure::on(disk, format!("not opened again: {error}")))?;
        if subject.last() != last {
            let what = format!("opened again it ends at {}, not {last}", subject.last());
            return Err(Failure::on(disk, what));
        }
        for _ in 0..4 {
            if let Some(error) = subject.take(&Step::random(random))? {
                return Err(Failure::on(disk, format!("refused: {error}")));
            }
        }
        let beside = subject.finish_checkpoint();
        let Subject { store, models, .. } = subject;
        let closed = beside.map_or_else(|| store.close(), Err);
        closed.map_err(|error| Failure::on(disk, format!("not closed: {error}")))?;
        end(store);
        let last = models.len() as u64 - 1;
        let bounds = Bounds::new(last, last);
        let after = State { disk, models: &models, bounds, mode: self.mode };
        let store = open(disk, self.mode, 1)
            .map_err(|error| Failure::on(disk, format!("not opened after a close: {error}")))?;
        after.check_store(&store, random).map_err(|what| Failure::on(disk, what))?;
        end(store);
        Ok(())
    }
}
