//! What a simulated disk holds, and what a power cut leaves of it.
//!
//! ```text
//!            as the process sees it      what a sync made safe
//! names      names ───── sync_dir ─────> durable_names      (a change of names is kept or lost)
//! data       live  ──── sync_data ─────> durable            (each extent of 512 bytes by itself:
//!                                                            new, old, torn, zeros or garbage)
//! length     of live, of durable, or between
//! ```
//! Invariants
//! - An extent that was synced and not written since is never touched by a cut.
//! - Of an extent that was written several times since its sync, any of what it held may be kept.
//! - After a failed sync its extents, or names, are seen by the process and never become safe, as
//!   on Linux. A process that comes after it is believed: it has no way to know of that failure.

use super::fs::{DirectoryEntry, Metadata};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What one sector is: the unit that a power cut leaves whole, or not.
pub(super) const EXTENT_BYTES: usize = 512;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(u64),
}

/// One change of a folder that is not synced yet.
#[derive(Clone, Debug)]
struct NameChange {
    /// The folder whose sync makes it safe.
    directory: PathBuf,
    remove: Option<PathBuf>,
    insert: Option<(PathBuf, Node)>,
    /// The sync that should have made it safe failed: visible, but never safe.
    is_doomed: bool,
}

/// Extents that are not safe, each with what it held since its last sync, without the newest.
type Extents = BTreeMap<usize, Vec<Vec<u8>>>;

/// The bytes of a file. Copies of a disk share them until one is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    unsynced: Extents,
    /// Extents whose sync failed: visible, but never safe.
    doomed: Extents,
}

/// All files and names.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    changes: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
}

impl Disk {
    pub(super) fn node(&self, path: &Path) -> io::Result<Node> {
        if path == Path::new("/") {
            return Ok(Node::Directory);
        }
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.node(path)? {
            Node::File(number) => Ok(number),
            Node::Directory => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn inode(&mut self, number: u64) -> &mut Inode {
        self.inodes.entry(number).or_default()
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<u64> {
        let number = self.inodes.last_key_value().map_or(1, |(last, _)| last + 1);
        self.link(path, Node::File(number))?;
        self.inodes.insert(number, Inode::default());
        Ok(number)
    }

    pub(super) fn link(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.node(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(path, None, Some((path.to_path_buf(), node)))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.node(from)?;
        if from.parent() == to.parent() {
            return self.change(from, Some(from.to_path_buf()), Some((to.to_path_buf(), node)));
        }
        self.change(to, None, Some((to.to_path_buf(), node)))?;
        self.change(from, Some(from.to_path_buf()), None)
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.change(path, Some(path.to_path_buf()), None)
    }

    fn change(
        &mut self,
        path: &Path,
        remove: Option<PathBuf>,
        insert: Option<(PathBuf, Node)>,
    ) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        if self.node(&directory)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let change = NameChange { directory, remove, insert, is_doomed: false };
        apply(&mut self.names, &change);
        self.changes.push(change);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.node(path)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let mut left: Vec<NameChange> = Vec::new();
        for change in std::mem::take(&mut self.changes) {
            if change.is_doomed || change.directory != path {
                left.push(change);
                continue;
            }
            // What is safe of a name stands over what an earlier, failed sync lost of it.
            left.iter_mut().for_each(|earlier| earlier.forget_names_of(&change));
            apply(&mut self.durable_names, &change);
        }
        self.changes = left;
        Ok(())
    }

    /// The sync of a folder failed: what it should have made safe never will be.
    pub(super) fn fail_sync_dir(&mut self, path: &Path) {
        let of_folder = self.changes.iter_mut().filter(|change| change.directory == path);
        of_folder.for_each(|change| change.is_doomed = true);
    }

    /// How many extents and names a power cut decides about.
    pub(super) fn undecided(&self) -> usize {
        let extents = |inode: &Inode| {
            let length = usize::from(inode.live.len() != inode.durable.len());
            inode.unsynced.len() + inode.doomed.len() + length
        };
        self.changes.len() + self.inodes.values().map(extents).sum::<usize>()
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        if self.node(path)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let children = self.names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entry = |(name, node): (&PathBuf, &Node)| DirectoryEntry {
            name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            is_directory: *node == Node::Directory,
        };
        Ok(children.map(entry).collect())
    }

    pub(super) fn metadata(&mut self, path: &Path) -> io::Result<Metadata> {
        Ok(match self.node(path)? {
            Node::Directory => Metadata { bytes: 0, is_directory: true },
            Node::File(number) => {
                Metadata { bytes: self.inode(number).live.len() as u64, is_directory: false }
            }
        })
    }

    /// The bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let files: BTreeSet<u64> = self
            .names
            .values()
            .filter_map(|node| if let Node::File(number) = node { Some(*number) } else { None })
            .collect();
        files.iter().filter_map(|n| self.inodes.get(n)).map(|inode| inode.live.len() as u64).sum()
    }

    /// Every name and what is in it: for comparing two disks.
    pub(super) fn contents(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let content = |node: &Node| match node {
            Node::Directory => None,
            Node::File(number) => self.inodes.get(number).map(|inode| inode.live.to_vec()),
        };
        self.names.iter().map(|(name, node)| (name.clone(), content(node))).collect()
    }

    /// What is left after the power was cut.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut names = self.durable_names.clone();
        for change in &self.changes {
            if random.one_in(2) {
                apply(&mut names, change);
            }
        }
        let orphan = |name: &PathBuf, names: &BTreeMap<PathBuf, Node>| {
            name.ancestors().skip(1).any(|above| {
                above != Path::new("/") && names.get(above).copied() != Some(Node::Directory)
            })
        };
        let orphans: Vec<PathBuf> = names.keys().filter(|n| orphan(n, &names)).cloned().collect();
        names.retain(|name, _| !orphans.contains(name));
        let inodes = self.inodes.iter().map(|(n, inode)| (*n, inode.after_power_cut(random)));
        let inodes = inodes.collect();
        Self { durable_names: names.clone(), names, changes: Vec::new(), inodes }
    }

    /// What is left after the process was killed: everything, safe or not. What a failed sync of
    /// the old process lost, a sync of the next one makes safe.
    pub(super) fn after_kill(&self) -> Self {
        let mut left = self.clone();
        left.changes.iter_mut().for_each(|change| change.is_doomed = false);
        for inode in left.inodes.values_mut() {
            inode.unsynced.append(&mut inode.doomed);
        }
        left
    }
}

impl NameChange {
    fn forget_names_of(&mut self, later: &Self) {
        let is_later = |path: &PathBuf| {
            later.remove.as_ref() == Some(path)
                || later.insert.as_ref().is_some_and(|(inserted, _)| inserted == path)
        };
        self.remove = self.remove.take().filter(|path| !is_later(path));
        self.insert = self.insert.take().filter(|(path, _)| !is_later(path));
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    if let Some(path) = &change.remove {
        names.remove(path);
    }
    if let Some((path, node)) = &change.insert {
        names.insert(path.clone(), *node);
    }
}

impl Inode {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.set_len(self.live.len().max(end));
        for extent in offset / EXTENT_BYTES..end.div_ceil(EXTENT_BYTES) {
            self.is_written(extent);
        }
        if let Some(target) = Arc::make_mut(&mut self.live).get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
    }

    /// Notes that an extent is about to change.
    fn is_written(&mut self, extent: usize) {
        let held = extent_of(&self.live, extent).to_vec();
        match self.doomed.remove(&extent).or_else(|| self.unsynced.remove(&extent)) {
            Some(mut earlier) => {
                earlier.push(held);
                self.unsynced.insert(extent, earlier);
            }
            // What it held is what is safe.
            None => drop(self.unsynced.insert(extent, Vec::new())),
        }
    }

    pub(super) fn set_len(&mut self, bytes: usize) {
        if bytes == self.live.len() {
            return;
        }
        // What is cut off reads as zeros if the file grows again.
        for extent in bytes / EXTENT_BYTES..self.live.len().div_ceil(EXTENT_BYTES) {
            self.is_written(extent);
        }
        Arc::make_mut(&mut self.live).resize(bytes, 0);
    }

    pub(super) fn sync(&mut self) {
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(self.live.len(), 0);
        for extent in std::mem::take(&mut self.unsynced).into_keys() {
            copy_extent(&self.live, durable, extent);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        self.doomed.append(&mut self.unsynced);
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        if self.unsynced.is_empty() && self.doomed.is_empty() && self.live == self.durable {
            return self.clone();
        }
        let mut left = self.durable.to_vec();
        let (old, new) = (left.len(), self.live.len());
        let length = match random.below(4) {
            0 => old.min(new) + random.below(old.abs_diff(new) as u64 + 1) as usize,
            1 => old,
            _ => new,
        };
        left.resize(length, 0);
        for (extent, earlier) in self.unsynced.iter().chain(&self.doomed) {
            let newest = extent_of(&self.live, *extent);
            let written = match random.below(earlier.len() as u64 * 2 + 2) as usize {
                version if version < earlier.len() => earlier.get(version).map_or(newest, |v| v),
                _ => newest,
            };
            cut_extent(written, &mut left, *extent, random);
        }
        let left = Arc::new(left);
        Self { durable: Arc::clone(&left), live: left, ..Self::default() }
    }
}

fn extent_of(bytes: &[u8], extent: usize) -> &[u8] {
    let start = (extent * EXTENT_BYTES).min(bytes.len());
    bytes.get(start..(start + EXTENT_BYTES).min(bytes.len())).unwrap_or_default()
}

fn copy_extent(from: &[u8], to: &mut [u8], extent: usize) {
    let start = extent * EXTENT_BYTES;
    for (target, byte) in to.iter_mut().skip(start).zip(extent_of(from, extent)) {
        *target = *byte;
    }
}

/// Leaves in `left` what may be left of an extent that was `written` and not synced.
fn cut_extent(written: &[u8], left: &mut [u8], extent: usize, random: &mut Random) {
    let kept_bytes = match random.below(8) {
        0..=2 => EXTENT_BYTES,
        3..=5 => 0,
        _ => random.below(EXTENT_BYTES as u64) as usize,
    };
    let filler = random.below(4);
    let start = extent * EXTENT_BYTES;
    let targets = left.iter_mut().skip(start).zip(written).enumerate();
    for (index, (target, byte)) in targets {
        if index < kept_bytes {
            *target = *byte;
        } else if filler == 1 {
            *target = 0;
        } else if filler == 2 {
            *target = random.next() as u8;
        }
    }
}

/// A small generator of numbers that look random (splitmix64): the same seed, the same numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
