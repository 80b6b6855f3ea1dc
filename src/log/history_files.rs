//! The files of the history: written aside, read back, named, and only then listed.
//!
//! ```text
//! history/<view>-<id>.<generation>-<first LSN>-<last LSN>[-<bucket>of<count>]-<number>[m].parquet
//! ```
//! What stands in them is opaque here (`offline/history_file.rs`). A name is never given twice: it
//! ends with the number of a manifest that was not there when the file was begun; and with `m` if
//! it was merged, which goes on while a checkpoint may write the same range.
//!
//! Invariants
//! - A file has its name only after it was synced, and read back as it was given.
//! - Parts that are dropped before a manifest lists them leave no file.

use super::{
    contract::Lsn,
    examination::Examination,
    manifest::{HISTORY, History, HistoryPart, ListedFile},
};
use crate::{
    disk::{File, FileSystem, Mapped},
    error::{Error, Result},
    parallel::give_way,
    planted::planted,
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Dirty pages are bounded: a file is synced each time so much more of it is written.
const SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// What a part is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHead<'a> {
    /// The name of the view, for people.
    pub view_name: &'a str,
    /// Its number.
    pub view: u32,
    /// Its generation.
    pub generation: u32,
    /// The first LSN of the range of the log that it stands for.
    pub first: Lsn,
    /// The last LSN of that range.
    pub last: Lsn,
    /// Which share of the entities, of how many; what it means is known to who writes the file.
    pub bucket: (u32, u32),
}

/// Files for the next manifest.
pub struct HistoryWriter {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    number: u64,
    /// What the names of its files end with.
    mark: &'static str,
    parts: Vec<HistoryPart>,
    /// The names of all that was begun.
    begun: Vec<String>,
}

/// A file that is being written.
pub struct PartFile {
    listed: HistoryPart,
    unfinished: PathBuf,
    file: Box<dyn File>,
    hasher: blake3::Hasher,
    synced: u64,
}

impl HistoryWriter {
    /// Begins files that the manifest `number`, which is not there yet, will list.
    pub fn new(fs: Arc<dyn FileSystem>, root: &Path, number: u64) -> Self {
        let (root, mark) = (root.to_path_buf(), "");
        Self { fs, root, number, mark, parts: Vec::new(), begun: Vec::new() }
    }

    /// The same for files that others are merged into.
    pub fn merging(fs: Arc<dyn FileSystem>, root: &Path, number: u64) -> Self {
        let mut writer = Self::new(fs, root, number);
        writer.mark = "m";
        writer
    }

    /// Begins a file.
    pub fn begin(&mut self, head: &PartHead<'_>) -> Result<PartFile> {
        let PartHead { view_name, view, generation, first, last, bucket } = *head;
        let of = match bucket {
            (_, 1) => String::new(),
            (bucket, count) => format!("-{bucket}of{count}"),
        };
        let range = format!("{first}-{last}{of}");
        let manifest = format!("{}{}", self.number, self.mark);
        let name = format!("{HISTORY}/{view_name}-{view}.{generation}-{range}-{manifest}.parquet");
        let unfinished = self.root.join(format!("{name}.tmp"));
        if self.fs.metadata(&self.root.join(&name)).is_ok() {
            return Err(Error::refused(format!("there is a file {name} already")));
        }
        // What an attempt before could not remove.
        let _ = self.fs.remove(&unfinished);
        let file = self.fs.create_new(&unfinished);
        let file = file.map_err(Error::io("creating the history", &unfinished))?;
        self.begun.push(name.clone());
        let listed = ListedFile { name, bytes: 0, hash: [0; 32] };
        let listed = HistoryPart { view, generation, first, last, rows: 0, file: listed };
        Ok(PartFile { listed, unfinished, file, hasher: blake3::Hasher::new(), synced: 0 })
    }

    /// Ends a file of so many rows, and reads it back. Its name is synced by [`Self::finish`].
    pub fn end(&mut self, mut part: PartFile, rows: u64) -> Result<()> {
        part.sync().map_err(Error::io("syncing the history", &part.unfinished))?;
        let PartFile { mut listed, unfinished, hasher, .. } = part;
        (listed.rows, listed.file.hash) = (rows, *hasher.finalize().as_bytes());
        let (file, hash) = (&listed.file, hash_of(&*self.fs, &unfinished, |_| ())?);
        if hash != (file.bytes, file.hash) {
            return Err(Error::corrupt(unfinished, 0, "the bytes that were written"));
        }
        let path = self.root.join(&listed.file.name);
        self.fs.rename(&unfinished, &path).map_err(Error::io("naming the history", &path))?;
        self.parts.push(listed);
        Ok(())
    }

    /// The files that were ended so far.
    pub fn ended(&self) -> &[HistoryPart] {
        &self.parts
    }

    /// What the manifest is to list, with all names synced.
    pub fn finish(mut self) -> Result<Vec<HistoryPart>> {
        let folder = self.root.join(HISTORY);
        if !self.parts.is_empty() && !planted("history names not synced") {
            self.fs.sync_dir(&folder).map_err(Error::io("syncing the folder", &folder))?;
        }
        self.begun.clear();
        Ok(std::mem::take(&mut self.parts))
    }
}

impl Drop for HistoryWriter {
    fn drop(&mut self) {
        for name in &self.begun {
            // It has one name or the other; what cannot be removed goes at the next start.
            let _ = self.fs.remove(&self.root.join(format!("{name}.tmp")));
            let _ = self.fs.remove(&self.root.join(name));
        }
    }
}

impl PartFile {
    fn sync(&mut self) -> io::Result<()> {
        self.synced = self.listed.file.bytes;
        if planted("history not synced") { Ok(()) } else { self.file.sync_data() }
    }
}

impl io::Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(self.listed.file.bytes, bytes)?;
        self.hasher.update(bytes);
        self.listed.file.bytes += bytes.len() as u64;
        give_way();
        if self.listed.file.bytes - self.synced >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(bytes.len())
    }

    /// Nothing is kept back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl History {
    /// The history of a store of which the records after `lsn` are given up, and whose log begins
    /// with `first_in_log`. A part that reaches further is left out: the log has its records again,
    /// since no part reaches across the LSN of a snapshot, or it has all of them and there is none.
    /// Of two views one may have its parts merged and the other not: the log is read from where
    /// the first part begins that is left out, and no part that is kept holds what comes then.
    pub(super) fn up_to(&self, lsn: Lsn, first_in_log: Lsn) -> Self {
        if self.reaches <= lsn {
            return self.clone();
        }
        let mut border = lsn;
        loop {
            let is_kept = |part: &&HistoryPart| part.last <= border;
            let (kept, left_out): (Vec<_>, Vec<_>) = self.parts.iter().partition(is_kept);
            let reaches = kept.iter().map(|part| part.last).max().unwrap_or_default();
            match left_out.iter().map(|part| part.first).min() {
                Some(first) if first <= reaches => border = first.previous(),
                _ => {
                    let reaches = reaches.max(first_in_log.previous());
                    return Self { reaches, parts: kept.into_iter().cloned().collect() };
                }
            }
        }
    }
}

/// The bytes of a part, found to be what was written.
pub fn open_part(fs: &dyn FileSystem, root: &Path, part: &HistoryPart) -> Result<Mapped> {
    let path = root.join(&part.file.name);
    let bytes = fs.map(&path).map_err(Error::io("reading the history", &path))?;
    let is_right = *blake3::hash(&bytes).as_bytes() == part.file.hash;
    if bytes.len() as u64 == part.file.bytes && (is_right || planted("history unverified")) {
        return Ok(bytes);
    }
    let hash = blake3::Hash::from(part.file.hash);
    let expected = format!("{} bytes with blake3 {hash}, as the manifest says", part.file.bytes);
    Err(in_history(Error::corrupt(path, 0, expected), part))
}

/// Copies a part, found good, to the same name below `to`; synced, but for its name.
pub(super) fn copy_part(
    fs: &dyn FileSystem,
    root: &Path,
    part: &HistoryPart,
    to: &Path,
) -> Result<()> {
    let bytes = open_part(fs, root, part)?;
    write_synced(fs, &to.join(&part.file.name), &bytes)
}

/// Looks at a part below `root`.
pub(super) fn survey_part(examination: &mut Examination<'_>, root: &Path, part: &HistoryPart) {
    let path = root.join(&part.file.name);
    let fs = examination.fs;
    let hash = hash_of(fs, &path, |bytes| examination.has_read(bytes));
    let lsns = Some((part.first, part.last));
    match hash {
        Ok(found) if found == (part.file.bytes, part.file.hash) => {}
        Ok((bytes, _)) => {
            let hash = blake3::Hash::from(part.file.hash);
            let listed = part.file.bytes;
            let expected = format!("{listed} bytes with blake3 {hash}; it has {bytes} bytes");
            examination.damage(path, 0, expected, lsns);
        }
        Err(error) => examination.failed(path, error, lsns),
    }
}

/// How long a file is, and its hash. Not mapped: a page that the disk cannot read is an error here,
/// and what is only looked at once is not to count as memory of ours.
fn hash_of(
    fs: &dyn FileSystem,
    path: &Path,
    mut has_read: impl FnMut(u64),
) -> Result<(u64, [u8; 32])> {
    let reading = || Error::io("reading the history", path);
    let file = fs.open_read(path).map_err(reading())?;
    let mut hasher = blake3::Hasher::new();
    let (mut buffer, mut offset) = (vec![0; HASHED_BYTES], 0);
    loop {
        let count = file.read_at(offset, &mut buffer).map_err(reading())?;
        if count == 0 {
            return Ok((offset, *hasher.finalize().as_bytes()));
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        give_way();
        offset += count as u64;
        has_read(count as u64);
    }
}

/// Files are looked at in pieces of this length.
const HASHED_BYTES: usize = 256 * 1024;

/// Which records a damaged part holds.
pub(super) fn in_history(error: Error, part: &HistoryPart) -> Error {
    let Error::Corrupt { path, offset, expected } = error else { return error };
    let HistoryPart { first, last, .. } = part;
    let holds = format!("it holds what LSN {first} to {last} pushed");
    Error::corrupt(path, offset, format!("{expected}; {holds}"))
}

fn write_synced(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = fs.create_new(path).map_err(Error::io("creating the history", path))?;
    let mut offset = 0;
    for piece in bytes.chunks(SYNC_BYTES as usize) {
        file.write_all_at(offset, piece).map_err(Error::io("writing the history", path))?;
        file.sync_data().map_err(Error::io("syncing the history", path))?;
        offset += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimulatedFs;
    use proptest::prelude::*;

    fn part(view: u32, first: u64, last: u64) -> HistoryPart {
        let file = ListedFile { name: String::new(), bytes: 0, hash: [0; 32] };
        HistoryPart { view, generation: 1, first: Lsn(first), last: Lsn(last), rows: 1, file }
    }

    /// Of which records a view finds what they pushed, in files or in the log, up to `lsn`.
    fn found(history: &History, view: u32, lsn: u64) -> Vec<u64> {
        let parts = history.parts.iter().filter(|part| part.view == view);
        let in_files = parts.flat_map(|part| part.first.0..=part.last.0);
        let mut found: Vec<u64> = in_files.chain(history.reaches.next().0..=lsn).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_merge_that_is_dropped_leaves_what_a_checkpoint_wrote_of_the_same_range() {
        let fs: Arc<dyn FileSystem> = Arc::new(SimulatedFs::new());
        let root = Path::new("/data");
        fs.create_dir_all(&root.join(HISTORY)).unwrap();
        let bucket = (0, 1);
        let (view_name, view, generation, first, last) = ("v", 1, 1, Lsn(1), Lsn(9));
        let head = PartHead { view_name, view, generation, first, last, bucket };
        let mut merge = HistoryWriter::merging(Arc::clone(&fs), root, 7);
        let merged = merge.begin(&head).unwrap();
        let mut checkpoint = HistoryWriter::new(Arc::clone(&fs), root, 7);
        let written = checkpoint.begin(&head).unwrap();
        checkpoint.end(written, 1).unwrap();
        let listed = checkpoint.finish().unwrap();
        merge.end(merged, 1).unwrap();
        drop(merge);
        open_part(&*fs, root, &listed[0]).unwrap();
        assert_eq!(fs.read_dir(&root.join(HISTORY)).unwrap().len(), 1);
    }

    proptest! {
        /// Two views, of which different files were merged, and a log that has every record.
        #[test]
        fn every_record_is_found_once_whatever_of_the_history_is_given_up(
            counts in prop::collection::vec(1..9_u64, 1..9),
            merged in any::<[(prop::sample::Index, prop::sample::Index); 2]>(),
            up_to: prop::sample::Index,
        ) {
            let mut ranges = vec![];
            let mut next = 1;
            for count in counts {
                ranges.push((next, next + count - 1));
                next += count;
            }
            let mut history = History { reaches: Lsn(next - 1), parts: Vec::new() };
            for (view, (one, other)) in (0..).zip(merged) {
                let (one, other) = (one.index(ranges.len()), other.index(ranges.len()));
                let (start, end) = (one.min(other), one.max(other));
                let whole = (ranges[start].0, ranges[end].1);
                let ranges = ranges[..start].iter().chain([&whole]).chain(&ranges[end + 1..]);
                history.parts.extend(ranges.map(|(first, last)| part(view, *first, *last)));
            }
            let lsn = up_to.index(next as usize) as u64;
            let cut = history.up_to(Lsn(lsn), Lsn(1));
            for view in 0..2 {
                prop_assert_eq!(found(&cut, view, lsn), (1..=lsn).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_lies_before_the_older_snapshot_is_kept_when_one_falls_back_to_it() {
        // Snapshots at 90 and 130, and the log from 91 on.
        let parts = vec![part(1, 1, 90), part(2, 1, 40), part(2, 41, 90), part(2, 91, 130)];
        let history = History { reaches: Lsn(130), parts: parts.clone() };
        let cut = history.up_to(Lsn(100), Lsn(91));
        assert_eq!((cut.reaches, &cut.parts[..]), (Lsn(90), &parts[..3]));
    }
}
