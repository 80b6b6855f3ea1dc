//! The file system of the machine.
//!
//! Invariants
//! - `sync_data` is `fdatasync`, `sync_dir` is `fsync` of the folder, `allocate` is `fallocate`.

use super::{
    fs::{DirectoryEntry, File, FileSystem, Lock, Metadata},
    map::Mapped,
};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use std::{fs, io, os::unix::fs::FileExt, path::Path};

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl FileSystem for RealFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(fs::File::open(path)?)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn map(&self, path: &Path) -> io::Result<Mapped> {
        Mapped::of(&fs::File::open(path)?)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            entries.push(DirectoryEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_directory: entry.file_type()?.is_dir(),
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path)?;
        Ok(Metadata { bytes: metadata.len(), is_directory: metadata.is_dir() })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock_exclusive(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = fs::File::open(path)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Lock::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        // std would repeat it when a signal interrupts; a sync is never repeated here.
        fdatasync(&self.0).map_err(io::Error::from)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        loop {
            return match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
                Err(rustix::io::Errno::INTR) => continue,
                // Without it the space is only claimed by length: a full disk is met on writing.
                Err(rustix::io::Errno::OPNOTSUPP) => self.0.set_len(bytes.max(self.len()?)),
                result => result.map_err(io::Error::from),
            };
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_read_mapped_renamed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        let file = RealFs.create_new(&first).unwrap();
        file.allocate(8192).unwrap();
        file.write_all_at(4096, b"hello").unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 8192);
        RealFs.rename(&first, &second).unwrap();
        RealFs.hard_link(&second, &first).unwrap();
        RealFs.sync_dir(folder.path()).unwrap();
        assert_eq!(RealFs.map(&second).unwrap()[4096..4101], *b"hello");
        let read = RealFs.open_read(&first).unwrap();
        assert_eq!(read.read_up_to(4101).unwrap()[4096..], *b"hello");
        assert_eq!(read.read_at(8190, &mut [0; 10]).unwrap(), 2);
        RealFs.remove(&first).unwrap();
        let names: Vec<_> = RealFs.read_dir(folder.path()).unwrap();
        assert_eq!(names, [DirectoryEntry { name: "b".into(), is_directory: false }]);
    }

    #[test]
    fn a_second_lock_is_not_given_while_the_first_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("LOCK");
        let held = RealFs.lock_exclusive(&path).unwrap();
        assert!(held.is_some());
        assert!(RealFs.lock_exclusive(&path).unwrap().is_none());
        assert!(RealFs.lock_shared(&path).unwrap().is_none());
        drop(held);
        let readers = [RealFs.lock_shared(&path).unwrap(), RealFs.lock_shared(&path).unwrap()];
        assert!(readers.iter().all(Option::is_some));
        assert!(RealFs.lock_exclusive(&path).unwrap().is_none());
        drop(readers);
        assert!(RealFs.lock_exclusive(&path).unwrap().is_some());
        assert!(RealFs.lock_shared(&folder.path().join("none")).is_err());
    }

    #[test]
    fn an_empty_file_maps_to_no_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        RealFs.create_new(&path).unwrap();
        assert!(RealFs.map(&path).unwrap().is_empty());
    }
}
