//! A file system in memory whose power can be cut and whose calls can be made to fail.
//!
//! ```text
//! let fs = SimulatedFs::new();          fs.fail_call(17, StorageFull, false);
//! ...the code under test...             let after = fs.crash(seed, Cut::Power);
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
        let shared = self.shared.lock();
        let disk = match cut {
            Cut::Power => shared.disk.after_power_cut(&mut Random(seed)),
            Cut::Process => shared.disk.after_kill(),
        };
        Self { shared: Arc::new(Mutex::new(Shared { disk, ..Shared::default() })) }
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
    fn call(&mut self) -> io::Result<()> {
        let call = self.calls;
        self.calls += 1;
        match self.fault {
            Some(fault) if call == fault.call || (fault.for_good && call > fault.call) => {
                Err(fault.kind.into())
            }
            _ => Ok(()),
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
        self.call()?;
        self.disk.file(path)
    }
}

impl SimulatedFs {
    fn handle(&self, number: u64) -> Box<dyn File> {
        Box::new(SimulatedFile { shared: Arc::clone(&self.shared), number })
    }
}

impl FileSystem for SimulatedFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut shared = self.shared.lock();
        shared.call()?;
        let number = shared.disk.create_file(path)?;
        Ok(self.handle(number))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let number = self.shared.lock().open(path)?;
        Ok(self.handle(number))
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
        shared.call()?;
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
        shared.call()?;
        shared.disk.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call()?;
        let number = shared.disk.file(from)?;
        shared.disk.link(to, Node::File(number))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call()?;
        shared.disk.unlink(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call()?;
        shared.disk.sync_dir(path)
    }

    fn lock_exclusive(&self, path: &Path) -> io::Result<Option<Lock>> {
        let mut shared = self.shared.lock();
        if shared.disk.node(path).is_err() {
            shared.call()?;
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
        let called = shared.call();
        let written = if called.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let bytes = bytes.get(..written).unwrap_or_default();
        shared.disk.inode(self.number).write(offset as usize, bytes);
        called
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let called = shared.call();
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
        shared.call()?;
        let inode = shared.disk.inode(self.number);
        inode.set_len(inode.live().len().max(bytes as usize));
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut shared = self.shared.lock();
        shared.call()?;
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
