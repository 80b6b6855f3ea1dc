//! A file system in memory whose power can be cut and whose calls can be made to fail.
//!
//! ```text
//! let fs = SimulatedFs::new();          fs.fail_call(17, StorageFull, false);
//! ...the code under test...             let after = fs.crash(seed, Cut::Power);
//!
//! fs.watch(|call, moment| ...)          before each call: the disk as it is then, to be cut later
//! ```
//! Invariants
//! - The same calls and the same seed give the same result; no clock, no thread of its own.
//! - `crash` gives a new file system; whoever still holds a file of the old one writes to the old.
//!
//! Not here: what exactly a cut leaves (`simulated_disk.rs`).

use super::{
    fs::{DirectoryEntry, File, FileSystem, Lock, Metadata},
    map::Mapped,
    simulated_disk::{Disk, Node, Random},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The power fails: what was not synced is kept, lost or torn, each part by itself.
    Power,
    /// The process is killed: what it wrote is in the kernel and stays.
    Process,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// Makes a file.
    Create,
    /// Opens or maps a file.
    Open,
    /// Writes bytes.
    Write,
    /// Makes bytes safe.
    Sync,
    /// Reserves space.
    Allocate,
    /// Cuts or extends a file.
    SetLen,
    /// Makes folders.
    CreateDir,
    /// Gives a file another name.
    Rename,
    /// Gives a file one more name.
    HardLink,
    /// Takes a name away.
    Remove,
    /// Makes names safe.
    SyncDir,
}

/// A call that can fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Counted from 0.
    pub number: u64,
    /// What it does.
    pub kind: CallKind,
    /// To which file or folder, by the name it was opened with.
    pub path: PathBuf,
}

/// All that is on a disk at one moment.
#[derive(Clone, Debug)]
pub struct Moment(Disk);

impl Moment {
    /// The file system as the next process finds it, without locks, faults and limits.
    pub fn crash(&self, seed: u64, cut: Cut) -> SimulatedFs {
        let disk = match cut {
            Cut::Power => self.0.after_power_cut(&mut Random(seed)),
            Cut::Process => self.0.after_kill(),
        };
        let shared = Shared { disk, ..Shared::default() };
        SimulatedFs { shared: Arc::new(Mutex::new(shared)) }
    }

    /// How many extents, lengths and names a power cut keeps or loses, each by itself.
    pub fn undecided(&self) -> usize {
        self.0.undecided()
    }
}

type Watcher = Box<dyn FnMut(&Call, Moment) + Send>;

/// The file system. A clone is another handle of the same disk.
#[derive(Clone, Default)]
pub struct SimulatedFs {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    disk: Disk,
    locks: BTreeSet<PathBuf>,
    capacity_bytes: Option<u64>,
    calls: u64,
    fault: Option<Fault>,
    failed: Vec<Call>,
    watcher: Option<Watcher>,
}

#[derive(Clone, Copy)]
struct Fault {
    call: u64,
    kind: io::ErrorKind,
    for_good: bool,
}

impl SimulatedFs {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file system as the next process finds it, without locks, faults and limits.
    pub fn crash(&self, seed: u64, cut: Cut) -> Self {
        self.moment().crash(seed, cut)
    }

    /// The disk as it is now.
    pub fn moment(&self) -> Moment {
        Moment(self.shared.lock().disk.clone())
    }

    /// Lets `watcher` hear of every call before it is made, with the disk as it is then. It must
    /// not call this file system.
    pub fn watch(&self, watcher: impl FnMut(&Call, Moment) + Send + 'static) {
        self.shared.lock().watcher = Some(Box::new(watcher));
    }

    /// Nobody hears of calls any more.
    pub fn unwatch(&self) {
        self.shared.lock().watcher = None;
    }

    /// How many calls that can fail there were: opening, writing, syncing, changing names.
    pub fn calls(&self) -> u64 {
        self.shared.lock().calls
    }

    /// Lets the call with this number, counted from 0 as by [`Self::calls`], fail; and all after
    /// it, if `for_good`. Half of what a failing call should write is written.
    pub fn fail_call(&self, call: u64, kind: io::ErrorKind, for_good: bool) {
        self.shared.lock().fault = Some(Fault { call, kind, for_good });
    }

    /// The calls that were made to fail.
    pub fn failed_calls(&self) -> Vec<Call> {
        self.shared.lock().failed.clone()
    }

    /// No call fails any more.
    pub fn heal(&self) {
        self.shared.lock().fault = None;
    }

    /// All files together may be so long, and not longer.
    pub fn limit_bytes(&self, capacity_bytes: Option<u64>) {
        self.shared.lock().capacity_bytes = capacity_bytes;
    }

    /// The bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().disk.used_bytes()
    }

    /// Every name with the bytes of the file, or `None` for a folder.
    pub fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        self.shared.lock().disk.contents()
    }

    /// Changes bytes of a file behind everybody's back, safe at once: damage.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let number = shared.disk.file(path)?;
        let inode = shared.disk.inode(number);
        let mut bytes = inode.live().to_vec();
        change(&mut bytes);
        inode.set_len(bytes.len());
        inode.write(0, &bytes);
        inode.sync();
        Ok(())
    }
}

impl Shared {
    /// Counts a call, and fails it if it is its turn.
    fn call(&mut self, kind: CallKind, path: &Path) -> io::Result<()> {
        let call = Call { number: self.calls, kind, path: path.to_path_buf() };
        self.calls += 1;
        if let Some(watcher) = &mut self.watcher {
            watcher(&call, Moment(self.disk.clone()));
        }
        let is_failing = |fault: &Fault| {
            call.number == fault.call || (fault.for_good && call.number > fault.call)
        };
        match self.fault.filter(is_failing) {
            Some(fault) => {
                self.failed.push(call);
                Err(fault.kind.into())
            }
            None => Ok(()),
        }
    }

    /// Whether a file may grow to `bytes`.
    fn reserve(&mut self, number: u64, bytes: u64) -> io::Result<()> {
        let grown = bytes.saturating_sub(self.disk.inode(number).live().len() as u64);
        match self.capacity_bytes {
            Some(most) if grown > 0 && self.disk.used_bytes() + grown > most => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, path: &Path) -> io::Result<u64> {
        self.call(CallKind::Open, path)?;
        self.disk.file(path)
    }
}

impl SimulatedFs {
    fn handle(&self, number: u64, path: &Path) -> Box<dyn File> {
        let path = path.to_path_buf();
        Box::new(SimulatedFile { shared: Arc::clone(&self.shared), number, path })
    }
}

impl FileSystem for SimulatedFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut shared = self.shared.lock();
        shared.call(CallKind::Create, path)?;
        let number = shared.disk.create_file(path)?;
        Ok(self.handle(number, path))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let number = self.shared.lock().open(path)?;
        Ok(self.handle(number, path))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.open_read(path)
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        let mut shared = self.shared.lock();
        let number = shared.open(path)?;
        Ok(Mapped::Memory(shared.disk.inode(number).live().to_vec()))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.shared.lock().disk.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.shared.lock().disk.metadata(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call(CallKind::CreateDir, path)?;
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for directory in above {
            match shared.disk.node(directory) {
                Ok(Node::Directory) => {}
                Ok(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(_) => shared.disk.link(directory, Node::Directory)?,
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call(CallKind::Rename, from)?;
        shared.disk.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call(CallKind::HardLink, from)?;
        let number = shared.disk.file(from)?;
        shared.disk.link(to, Node::File(number))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call(CallKind::Remove, path)?;
        shared.disk.unlink(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        if let Err(failed) = shared.call(CallKind::SyncDir, path) {
            shared.disk.fail_sync_dir(path);
            return Err(failed);
        }
        shared.disk.sync_dir(path)
    }

    fn lock_exclusive(&self, path: &Path) -> io::Result<Option<Lock>> {
        let mut shared = self.shared.lock();
        if shared.disk.node(path).is_err() {
            shared.call(CallKind::Create, path)?;
            shared.disk.create_file(path)?;
        }
        if !shared.locks.insert(path.to_path_buf()) {
            return Ok(None);
        }
        let held = Held { shared: Arc::clone(&self.shared), path: path.to_path_buf() };
        Ok(Some(Lock::new(held)))
    }
}

struct Held {
    shared: Arc<Mutex<Shared>>,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.lock().locks.remove(&self.path);
    }
}

struct SimulatedFile {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    path: PathBuf,
}

impl File for SimulatedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut shared = self.shared.lock();
        let live = shared.disk.inode(self.number).live();
        let rest = live.get((offset as usize).min(live.len())..).unwrap_or_default();
        buffer.iter_mut().zip(rest).for_each(|(target, byte)| *target = *byte);
        Ok(rest.len().min(buffer.len()))
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.reserve(self.number, offset + bytes.len() as u64)?;
        let called = shared.call(CallKind::Write, &self.path);
        let written = if called.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let bytes = bytes.get(..written).unwrap_or_default();
        shared.disk.inode(self.number).write(offset as usize, bytes);
        called
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let called = shared.call(CallKind::Sync, &self.path);
        let inode = shared.disk.inode(self.number);
        match called {
            Ok(()) => inode.sync(),
            Err(_) => inode.fail_sync(),
        }
        called
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.reserve(self.number, bytes)?;
        shared.call(CallKind::Allocate, &self.path)?;
        let inode = shared.disk.inode(self.number);
        inode.set_len(inode.live().len().max(bytes as usize));
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call(CallKind::SetLen, &self.path)?;
        shared.disk.inode(self.number).set_len(bytes as usize);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.shared.lock().disk.inode(self.number).live().len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with `/d/f`: two synced extents of ones, then an unsynced extent of twos; the name is
    /// synced if asked for.
    fn disk(name_synced: bool) -> SimulatedFs {
        let fs = SimulatedFs::new();
        fs.create_dir_all(Path::new("/d")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        let file = fs.create_new(Path::new("/d/f")).unwrap();
        file.write_all_at(0, &[1; 1024]).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(1024, &[2; 512]).unwrap();
        if name_synced {
            fs.sync_dir(Path::new("/d")).unwrap();
        }
        fs
    }

    fn left(fs: &SimulatedFs, seed: u64) -> Option<Vec<u8>> {
        let after = fs.crash(seed, Cut::Power);
        after.contents().get(Path::new("/d/f")).cloned().flatten()
    }

    #[test]
    fn a_power_cut_keeps_all_that_was_synced_and_any_part_of_the_rest() {
        let fs = disk(true);
        let seen: BTreeSet<Vec<u8>> = (0..200).map(|seed| left(&fs, seed).unwrap()).collect();
        assert!(seen.iter().all(|bytes| bytes[..1024] == [1; 1024]));
        let whole = [[1; 512], [1; 512], [2; 512]].concat();
        assert!(seen.contains(&whole) && seen.contains(&vec![1; 1024]));
        let torn = |b: &Vec<u8>| b.len() == 1536 && b[1024] == 2 && b[1535] != 2;
        assert!(seen.iter().any(torn));
    }

    #[test]
    fn a_name_that_was_not_synced_is_kept_or_lost() {
        let fs = disk(false);
        let kept = (0..200).filter(|seed| left(&fs, *seed).is_some()).count();
        assert!(kept > 0 && kept < 200);
        assert!((0..200).all(|seed| left(&disk(true), seed).is_some()));
    }

    #[test]
    fn an_extent_written_twice_may_keep_what_it_held_in_between() {
        let fs = disk(true);
        fs.open_write(Path::new("/d/f")).unwrap().write_all_at(1024, &[3; 512]).unwrap();
        let seen: BTreeSet<Vec<u8>> = (0..400).map(|seed| left(&fs, seed).unwrap()).collect();
        let whole = |value: u8| move |bytes: &Vec<u8>| bytes[1024..] == [value; 512];
        assert!(seen.iter().any(whole(2)) && seen.iter().any(whole(3)));
        let cut = |bytes: &Vec<u8>| (1025..1536).contains(&bytes.len());
        assert!(seen.iter().any(cut), "the length is not always that before or after");
    }

    #[test]
    fn what_was_cut_off_a_file_reads_as_zeros_when_it_grows_again_even_after_a_sync() {
        let fs = disk(true);
        let file = fs.open_write(Path::new("/d/f")).unwrap();
        file.set_len(100).unwrap();
        file.set_len(1024).unwrap();
        file.sync_data().unwrap();
        let expected = [vec![1; 100], vec![0; 924]].concat();
        assert!((0..50).all(|seed| left(&fs, seed).unwrap() == expected));
    }

    #[test]
    fn names_of_a_folder_whose_sync_failed_are_never_made_safe_by_the_next_one() {
        let fs = disk(false);
        fs.fail_call(fs.calls(), io::ErrorKind::Other, false);
        assert!(fs.sync_dir(Path::new("/d")).is_err());
        fs.sync_dir(Path::new("/d")).unwrap();
        assert!((0..50).any(|seed| left(&fs, seed).is_none()));
        fs.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        assert!((0..50).all(|seed| left(&fs, seed).is_none()), "what came later stands");
    }

    #[test]
    fn a_watcher_meets_every_call_with_the_disk_before_it() {
        let fs = disk(true);
        let calls: Arc<Mutex<Vec<(Call, usize)>>> = Arc::default();
        let heard = Arc::clone(&calls);
        fs.watch(move |call, moment| heard.lock().push((call.clone(), moment.undecided())));
        let first = fs.calls();
        fs.open_write(Path::new("/d/f")).unwrap().sync_data().unwrap();
        fs.unwatch();
        fs.sync_dir(Path::new("/d")).unwrap();
        let call = |number, kind| Call { number, kind, path: "/d/f".into() };
        // The extent of twos, and the length that it needs.
        let expected = [(call(first, CallKind::Open), 2), (call(first + 1, CallKind::Sync), 2)];
        assert_eq!(*calls.lock(), expected);
    }

    #[test]
    fn a_kill_of_the_process_keeps_everything() {
        assert_eq!(disk(false).crash(1, Cut::Process).contents(), disk(false).contents());
    }

    #[test]
    fn a_call_fails_once_or_for_good_and_a_failed_sync_is_never_made_up_for() {
        let fs = disk(true);
        let file = fs.open_write(Path::new("/d/f")).unwrap();
        fs.fail_call(fs.calls(), io::ErrorKind::Other, false);
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok());
        assert!((0..50).any(|seed| left(&fs, seed).unwrap()[1024..] == [0; 512]));
        fs.fail_call(fs.calls(), io::ErrorKind::Other, true);
        assert!(file.sync_data().is_err() && file.sync_data().is_err());
    }

    #[test]
    fn a_full_disk_refuses_to_allocate_and_a_rename_is_all_or_nothing() {
        let fs = disk(true);
        fs.limit_bytes(Some(2000));
        let file = fs.open_write(Path::new("/d/f")).unwrap();
        assert!(super::super::is_out_of_space(&file.allocate(4000).unwrap_err()));
        assert!(file.allocate(2000).is_ok());
        fs.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        let names = |seed| fs.crash(seed, Cut::Power).read_dir(Path::new("/d")).unwrap().len();
        assert!((0..50).all(|seed| names(seed) == 1));
    }
}
