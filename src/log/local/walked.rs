//! Segments walked to their ends, each by itself, on all cores: nearly all the work of judging.
//!
//! Not here: whether one follows from the one before, and what a broken end means (`recovery.rs`).

use super::{
    reader::{Position, Step, Walk},
    segment::{SegmentHeader, segment_path},
};
use crate::{
    disk::{FileSystem, Mapped},
    error::{Error, Result},
    parallel::threads_for,
};
use std::{
    path::{Path, PathBuf},
    thread,
};

/// A segment, and what its frames say that follow from its header.
pub(super) struct Walked {
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    /// The clock of the last frame, in µs since 1970.
    pub(super) clock_us: Option<i64>,
    /// What was expected at the end of the walk; `None` behind a footer.
    pub(super) broken: Option<&'static str>,
    bytes: Mapped,
    end: Position,
}

impl Walked {
    /// What the walk met in `bytes`, the segment at `path`.
    fn new(path: PathBuf, bytes: Mapped) -> Result<Self> {
        let header = SegmentHeader::decode(&bytes, &path)?;
        let mut walk = Walk::new(&bytes, header, Position::start_of(&header));
        let mut clock_us = None;
        let broken = loop {
            match walk.step() {
                Step::Frame(frame) => clock_us = Some(frame.header.clock_us),
                Step::Footer => break None,
                Step::Broken(expected) => break Some(expected),
            }
        };
        let end = walk.position;
        Ok(Self { path, header, clock_us, broken, bytes, end })
    }

    /// The walk, at its end.
    pub(super) fn at_end(&self) -> Walk<'_> {
        Walk::new(&self.bytes, self.header, self.end)
    }
}

/// Walks the segments of these numbers; each that cannot be read is an error in its place.
pub(super) fn walk_all(
    fs: &dyn FileSystem,
    directory: &Path,
    numbers: &[u64],
) -> Vec<Result<Walked>> {
    let open = |number| {
        let path = segment_path(directory, number);
        let bytes = fs.map(&path).map_err(Error::io("reading the log", &path))?;
        Ok((path, bytes))
    };
    let walk = |opened: Result<_>| opened.and_then(|(path, bytes)| Walked::new(path, bytes));
    let mut opened: Vec<Result<_>> = numbers.iter().map(|number| open(*number)).collect();
    let bytes: usize = opened.iter().flatten().map(|(_, bytes)| bytes.len()).sum();
    let share = opened.len().div_ceil(threads_for(bytes as u64)).max(1);
    thread::scope(|scope| {
        let mut running = Vec::new();
        while opened.len() > share {
            let shared = opened.split_off(opened.len() - share);
            running.push(scope.spawn(move || shared.into_iter().map(walk).collect::<Vec<_>>()));
        }
        let mut walked: Vec<_> = opened.into_iter().map(walk).collect();
        for thread in running.into_iter().rev() {
            let panicked = |_| vec![Err(Error::refused("judging the log panicked"))];
            walked.extend(thread.join().unwrap_or_else(panicked));
        }
        walked
    })
}
