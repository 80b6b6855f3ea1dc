//! Bit flips: of a data directory every bit is flipped, one at a time, and the store opened.
//!
//! ```text
//! flipped in          allowed
//! any file            stopped with "damaged", and the file is named
//! what is not read    opened, the state is whole: an older snapshot, what was set aside
//! the history         opened, the state is whole; whoever asks for the history is told the file
//! the last segment    after a kill only: the last record is dropped, if nothing stands behind
//!                     it that proves it to have been durable: it looks like a torn write
//! ```
//! Never: a panic, another state, another file named, or a record dropped after a clean close.
//!
//! Beside single bits whole files are mistaken: a segment of another branch of the same store.

use crate::{
    campaign::{Campaign, Failure, Figures, Random},
    crash_states::{Bounds, State, random_mode},
    model::Model,
    step::{Feature, Step, Write, compaction},
    subject::{Subject, end, open},
};
use nowthen::{
    disk::{Cut, SimulatedFs},
    error::Error,
    log::Durability,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// So many histories share one directory: together they flip every bit of it.
const SLICES: u64 = 64;
const STEPS: u64 = 12;

#[test]
fn bit_flips() {
    Campaign::new("bit_flips", "flipped bits", 20_000).run(history);
}

/// A data directory that a store left.
struct Left {
    fs: SimulatedFs,
    models: Vec<Model>,
    mode: Durability,
    is_closed: bool,
}

fn history(seed: u64) -> Result<Figures, Failure> {
    let (slice, mut random) = (seed % SLICES, Random(seed / SLICES));
    let mut figures = Figures::default();
    let left = leave(&mut random)?;
    let mut bit = 0;
    for (path, content) in left.fs.contents() {
        for offset in 0..content.map_or(0, |bytes| bytes.len()) {
            for place in 0..8 {
                bit += 1;
                if bit % SLICES == slice {
                    left.flip(&path, offset, place, &mut figures)?;
                }
            }
        }
    }
    if slice == 0 {
        mistake_segments(&mut random, &mut figures)?;
    }
    Ok(figures)
}

/// A directory with log and snapshots, of a store that was closed or killed. The last record is
/// the only one that is not known to be durable.
fn leave(random: &mut Random) -> Result<Left, Failure> {
    let fs = SimulatedFs::new();
    let mode = random_mode(random);
    let opened = Subject::open(&fs, mode, vec![Model::default()], Arc::default());
    let mut subject = opened.map_err(|error| Failure::on(&fs, error.to_string()))?;
    // Something pushed that a file of the history holds: by chance alone few would.
    let cells = vec![(Feature::Spend, Some(1)), (Feature::Genre, None)];
    let push = Write::Push { user: 1, event_in_us: -9, cells };
    // And a frame that is worth compressing.
    let text = "again and ".repeat(250);
    let compressed = Write::SetText { key: 1, text, end_in_us: None };
    let mut steps = vec![Step::Apply, Step::Write(push), Step::Checkpoint, Step::Write(compressed)];
    if random.one_in(3) {
        steps.extend(compaction(random));
    }
    steps.extend((0..STEPS).map(|_| Step::random(random)));
    for _ in 0..random.below(3) {
        steps.insert(4 + random.below(STEPS) as usize, Step::Checkpoint);
    }
    let last = Write::SetText { key: 0, text: "the last".into(), end_in_us: None };
    steps.extend([Step::Sync, Step::Write(last)]);
    for step in &steps {
        if let Some(error) = subject.take(step)? {
            return Err(Failure::on(&fs, format!("refused: {error}")));
        }
        if let Some(error) = subject.finish_checkpoint() {
            return Err(Failure::on(&fs, format!("no checkpoint: {error}")));
        }
    }
    let Subject { store, models, .. } = subject;
    let is_closed = random.one_in(2);
    if is_closed {
        store.close().map_err(|error| Failure::on(&fs, error.to_string()))?;
    }
    end(store);
    Ok(Left { fs: fs.crash(0, Cut::Process), models, mode, is_closed })
}

impl Left {
    fn flip(
        &self,
        path: &Path,
        offset: usize,
        place: u8,
        figures: &mut Figures,
    ) -> Result<(), Failure> {
        let disk = self.fs.crash(0, Cut::Process);
        disk.damage(path, |bytes| bytes[offset] ^= 1 << place)
            .map_err(|error| Failure::found(error.to_string()))?;
        figures.add("flipped bits", 1);
        self.judge(&disk, path, figures).map_err(|failure| {
            let closed = if self.is_closed { "closed" } else { "killed" };
            let place = format!("bit {place} of byte {offset} of {}", path.display());
            failure.during(&format!("{closed}, {}, {place}", self.mode))
        })
    }

    fn judge(&self, disk: &SimulatedFs, path: &Path, figures: &mut Figures) -> Result<(), Failure> {
        let last = self.models.len() as u64 - 1;
        let store = match open(disk, self.mode, 1) {
            Ok(store) => store,
            Err(Error::Corrupt { path: named, .. }) if named == path => {
                figures.add("stopped, the file named", 1);
                return Ok(());
            }
            Err(error) => return Err(Failure::on(disk, format!("stopped otherwise: {error}"))),
        };
        let found = store.last_written().0;
        let may_drop = !self.is_closed && self.is_last_segment(path);
        let bounds = Bounds::new(last - u64::from(may_drop), last);
        let state = State { disk, models: &self.models, bounds, mode: self.mode };
        let judged = state.check_store(&store, &mut Random(0));
        let judged = judged.and_then(|last| state.check_history(&store, last, &mut Random(0)));
        end(store);
        if is_history(path) {
            let name = path.display().to_string();
            return match judged {
                Err(why) if why.starts_with("no history: ") && why.contains(&name) => {
                    figures.add("history refused, the file named", 1);
                    Ok(())
                }
                judged => Err(Failure::on(disk, format!("a damaged history: {judged:?}"))),
            };
        }
        judged.map_err(|what| Failure::on(disk, what))?;
        figures.add(if found == last { "opened, all is there" } else { "dropped as torn" }, 1);
        Ok(())
    }

    fn is_last_segment(&self, path: &Path) -> bool {
        segments(&self.fs).last().is_some_and(|last| last == path)
    }
}

fn is_history(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("history"))
}

/// The segments of the log, in order.
fn segments(fs: &SimulatedFs) -> Vec<PathBuf> {
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log");
    fs.contents().into_keys().filter(is_segment).collect()
}

/// Two stores grow from one; a segment of the other in the place of our own is none of ours.
fn mistake_segments(random: &mut Random, figures: &mut Figures) -> Result<(), Failure> {
    let trunk = SimulatedFs::new();
    let models = grow(&trunk, vec![Model::default()], random)?;
    let (ours, theirs) = (trunk.crash(0, Cut::Process), trunk.crash(0, Cut::Process));
    let shared = segments(&trunk).len();
    grow(&ours, models.clone(), random)?;
    grow(&theirs, models, random)?;
    // The first segment behind the fork follows from the same one as ours; the others do not.
    let (own, other) = (segments(&ours), segments(&theirs));
    for path in own.iter().skip(shared + 1).filter(|path| other.contains(path)) {
        let disk = ours.crash(0, Cut::Process);
        let bytes = theirs.contents().remove(path).flatten().unwrap_or_default();
        disk.damage(path, |content| *content = bytes)
            .map_err(|error| Failure::found(error.to_string()))?;
        figures.add("segments of a fork put in place", 1);
        if let Ok(store) = open(&disk, Durability::Always, 1) {
            end(store);
            let what = format!("opened with {} of another branch", path.display());
            return Err(Failure::on(&disk, what));
        }
    }
    Ok(())
}

/// A life of records of one length, so that two such lives cut their segments at the same LSNs.
fn grow(fs: &SimulatedFs, models: Vec<Model>, random: &mut Random) -> Result<Vec<Model>, Failure> {
    let opened = Subject::open(fs, Durability::Always, models, Arc::default());
    let mut subject = opened.map_err(|error| Failure::on(fs, error.to_string()))?;
    for key in 0..24 {
        let text = format!("{:016x}", random.next());
        let write = Write::SetText { key: key % 4, text, end_in_us: None };
        if let Some(error) = subject.take(&Step::Write(write))? {
            return Err(Failure::on(fs, format!("refused: {error}")));
        }
    }
    let Subject { store, models, .. } = subject;
    store.close().map_err(|error| Failure::on(fs, error.to_string()))?;
    end(store);
    Ok(models)
}
