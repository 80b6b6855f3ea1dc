//! What a simulated disk holds, and what a power cut leaves of it.
//!
//! ```text
//!            as the process sees it      what a sync made safe
//! names      names ───── sync_dir ─────> durable_names      (a change of names is kept or lost)
//! data       live  ──── sync_data ─────> durable            (each extent of 512 bytes by itself:
//!                                                            new, old, torn, zeros or garbage)
//! ```
//! Invariants
//! - An extent that was synced and not written since is never touched by a cut.
//! - After a failed sync its extents are seen by the process and never become safe, as on Linux.

use super::fs::{DirectoryEntry, Metadata};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
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
}

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeSet<usize>,
    /// Extents whose sync failed: visible, but never safe.
    doomed: BTreeSet<usize>,
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
        let change = NameChange { directory, remove, insert };
        apply(&mut self.names, &change);
        self.changes.push(change);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.node(path)? != Node::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let changes = std::mem::take(&mut self.changes);
        let (synced, rest): (Vec<_>, _) = changes.into_iter().partition(|c| c.directory == path);
        synced.iter().for_each(|change| apply(&mut self.durable_names, change));
        self.changes = rest;
        Ok(())
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
            Node::File(number) => self.inodes.get(number).map(|inode| inode.live.clone()),
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

    /// What is left after the process was killed: everything, safe or not.
    pub(super) fn after_kill(&self) -> Self {
        self.clone()
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
        if let Some(target) = self.live.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        for extent in offset / EXTENT_BYTES..end.div_ceil(EXTENT_BYTES) {
            self.doomed.remove(&extent);
            self.unsynced.insert(extent);
        }
    }

    pub(super) fn set_len(&mut self, bytes: usize) {
        self.live.resize(bytes, 0);
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for extent in std::mem::take(&mut self.unsynced) {
            copy_extent(&self.live, &mut self.durable, extent);
        }
    }

    pub(super) fn fail_sync(&mut self) {
        self.doomed.append(&mut self.unsynced);
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut left = self.durable.clone();
        if random.one_in(2) {
            left.resize(self.live.len(), 0);
        }
        for extent in self.unsynced.union(&self.doomed) {
            cut_extent(&self.live, &mut left, *extent, random);
        }
        Self { durable: left.clone(), live: left, ..Self::default() }
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

/// Leaves in `left` what may be left of an extent that was not synced.
fn cut_extent(live: &[u8], left: &mut [u8], extent: usize, random: &mut Random) {
    let kept_bytes = match random.below(8) {
        0..=2 => EXTENT_BYTES,
        3..=5 => 0,
        _ => random.below(EXTENT_BYTES as u64) as usize,
    };
    let filler = random.below(4);
    let start = extent * EXTENT_BYTES;
    let targets = left.iter_mut().skip(start).zip(extent_of(live, extent)).enumerate();
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
