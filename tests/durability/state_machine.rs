//! The store as a state machine: random steps, restarts, kills, power cuts and restores beside a
//! model that knows no disk; after each of them everything is read, as of now and as of then.
//! proptest makes what fails small.

use crate::{
    campaign::Random,
    crash_states::{Bounds, State},
    model::Model,
    step::{Step, Write, compaction},
    subject::{DATA, Subject, end, open_at},
};
use nowthen::{
    disk::{Cut, FileSystem, SimulatedFs},
    log::{BackupOptions, Durability, Lsn, RestorePoint, RestoreSource, back_up},
    store,
};
use proptest::prelude::*;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

/// What happens to a store.
#[derive(Clone, Debug)]
enum Event {
    Step(Step),
    /// Several snapshots, and their history merged.
    Compaction(u64),
    /// Closed and opened again.
    Restart,
    /// Killed: what it wrote is there.
    Kill,
    /// Any part of what was not synced is there.
    PowerCut(u64),
    /// A backup is taken, and restored to some record of it.
    Restore(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let random = any::<u64>;
    prop_oneof![
        12 => random().prop_map(|seed| Event::Step(Step::Write(Write::random(&mut Random(seed))))),
        8 => random().prop_map(|seed| Event::Step(Step::random(&mut Random(seed)))),
        1 => Just(Event::Step(Step::Apply)),
        1 => Just(Event::Step(Step::Checkpoint)),
        1 => random().prop_map(Event::Compaction),
        1 => Just(Event::Restart),
        1 => Just(Event::Kill),
        1 => random().prop_map(Event::PowerCut),
        1 => random().prop_map(Event::Restore),
    ]
}

/// The store while it lives, and the disk on which it does.
struct Machine {
    fs: SimulatedFs,
    mode: Durability,
    /// Not there only while it is opened again.
    subject: Option<Subject>,
    /// How many backups were taken.
    backups: u64,
}

impl Machine {
    fn new(mode: Durability) -> Self {
        let fs = SimulatedFs::new();
        let subject = Subject::open(&fs, mode, vec![Model::default()], Arc::default());
        Self { fs, mode, subject: Some(subject.unwrap()), backups: 0 }
    }

    /// Takes a backup while the store is open, and restores it to a record that can be reached:
    /// what is there then is what that record left, now and as of then.
    fn restore(&mut self, subject: &Subject, random: &mut Random) {
        self.backups += 1;
        let backup = PathBuf::from(format!("/backup-{}", self.backups));
        let restored = PathBuf::from(format!("/restored-{}", self.backups));
        let options = BackupOptions::default();
        back_up(&self.fs, (Path::new(DATA), &backup), &options, &mut |_, _| {}).unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(self.fs.clone());
        let source = RestoreSource::open(&*fs, &backup, &mut |_, _| {}).unwrap();
        assert_eq!(source.last_lsn(), Lsn(subject.last()));
        let wanted = Lsn(random.below(subject.last() + 1));
        let plan = source.plan(RestorePoint::Lsn(wanted));
        // Before the older snapshot there is nothing to restore from.
        let plan = plan.or_else(|_| source.plan(RestorePoint::End)).unwrap();
        store::restore(&fs, &source, &plan, &restored, &mut |_, _| {}).unwrap();

        let opened = open_at(&self.fs, &restored, self.mode, 1).unwrap();
        let last = opened.last_written().0;
        assert_eq!(last, plan.lsn.0);
        let (bounds, models) = (Bounds::new(last, last), &subject.models);
        let state = State { disk: &self.fs, models, bounds, mode: self.mode };
        state.check_now(&opened, opened.clock().now().us()).unwrap();
        state.check_history(&opened, last, random).unwrap();
        end(opened);
    }

    fn take(&mut self, event: &Event) {
        let mut subject = self.subject.take().unwrap();
        if let Event::Step(step) = event {
            let refused = subject.take(step).unwrap();
            assert!(refused.is_none(), "{refused:?}");
            self.subject = Some(subject);
            return;
        }
        if let Event::Compaction(seed) = event {
            for step in compaction(&mut Random(*seed)) {
                let refused = subject.take(&step).unwrap();
                assert!(refused.is_none(), "{refused:?}");
            }
            self.subject = Some(subject);
            return;
        }
        let beside = subject.finish_checkpoint();
        assert!(beside.is_none(), "{beside:?}");
        if let Event::Restore(seed) = event {
            self.restore(&subject, &mut Random(*seed));
            self.subject = Some(subject);
            return;
        }
        let Subject { store, models, progress, .. } = subject;
        let begun = models.len() as u64 - 1;
        let mut kept = progress.kept.load(Ordering::SeqCst);
        match event {
            Event::Restart => {
                store.close().unwrap();
                kept = begun;
            }
            Event::PowerCut(seed) => self.fs = self.fs.crash(*seed, Cut::Power),
            // The log writes what is queued before it ends.
            Event::Kill | Event::Step(_) | Event::Compaction(_) | Event::Restore(_) => {}
        }
        end(store);
        if matches!(event, Event::Kill) {
            self.fs = self.fs.crash(0, Cut::Process);
            kept = begun;
        }
        let subject = Subject::open(&self.fs, self.mode, models, Arc::default()).unwrap();
        let last = subject.last();
        assert!((kept..=begun).contains(&last), "{kept} <= {last} <= {begun}");
        self.subject = Some(subject);
    }

    /// Everything that can be read is that of the last record.
    fn check(&mut self, random: &mut Random) {
        let mut subject = self.subject.take().unwrap();
        // It may give up a segment that a read of the history is about to open.
        assert!(subject.finish_checkpoint().is_none());
        // Readers see a write once it is durable.
        assert!(subject.take(&Step::Sync).unwrap().is_none());
        let last = subject.last();
        let published = subject.store.acknowledged_blocking(nowthen::log::Lsn(last));
        published.unwrap();
        let bounds = Bounds::new(last, last);
        let models = subject.models.clone();
        let state = State { disk: &self.fs, models: &models, bounds, mode: self.mode };
        state.check_now(&subject.store, subject.now_us).unwrap();
        state.check_history(&subject.store, last, random).unwrap();
        self.subject = Some(subject);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn state_machine(
        events in prop::collection::vec(event(), 1..30),
        mode in prop::sample::select(vec![
            Durability::Always,
            Durability::Interval { ms: 2 },
            Durability::Never,
        ]),
        seed: u64,
    ) {
        let (mut machine, mut random) = (Machine::new(mode), Random(seed));
        for event in &events {
            machine.take(event);
            machine.check(&mut random);
        }
        end(machine.subject.take().unwrap().store);
    }
}

/// `CAMPAIGN_COUNT`, or as many as a short run takes.
fn cases() -> u32 {
    let asked = std::env::var("CAMPAIGN_COUNT").ok().and_then(|text| text.parse().ok());
    asked.map_or(200, |count: u64| u32::try_from(count).unwrap_or(u32::MAX))
}
