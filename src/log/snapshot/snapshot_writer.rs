//! Writes a snapshot: aside, synced, read back, verified, and only then named.
//!
//! Invariants
//! - A file has its name only after it was read back and found to be what was added.
//! - A snapshot that is dropped unfinished leaves no file.
//! - Dirty pages are bounded: each file is synced as it grows, so that the log's own sync does not
//!   wait behind a gigabyte.

use super::{
    block::{BLOCK_RAW_BYTES, BlockPlace, ENTRY_BYTES_MAX, encode_block},
    block_reader::{BlockReader, Found},
    snapshot_file::{SnapshotHeader, SnapshotSummary},
};
use crate::{
    disk::{File, FileSystem},
    error::{Error, Result},
    log::{
        contract::Lsn,
        digest::StateDigest,
        manifest::{Generation, ListedFile, SNAPSHOTS},
    },
    parallel::give_way,
    planted::planted,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file is synced each time it has grown by this.
const SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// Others may go first each time so many entries were added to a block.
const ENTRIES_GIVING_WAY: u32 = 64;

/// A snapshot that is being written.
pub struct SnapshotWriter {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    header: SnapshotHeader,
    /// The shards, then the meta file.
    parts: Vec<Part>,
}

/// One file.
struct Part {
    shard: u32,
    /// Its path below the data directory when it is finished.
    name: String,
    unfinished: PathBuf,
    file: Box<dyn File>,
    hasher: blake3::Hasher,
    offset: u64,
    synced: u64,
    block: Vec<u8>,
    block_entries: u32,
    summary: SnapshotSummary,
}

impl SnapshotWriter {
    /// Begins a snapshot below the data directory `root`.
    pub fn create(fs: Arc<dyn FileSystem>, root: &Path, header: SnapshotHeader) -> Result<Self> {
        let mut writer = Self { fs, root: root.to_path_buf(), header, parts: Vec::new() };
        for shard in 0..=header.shards {
            let name = file_name(&header, shard);
            let unfinished = root.join(format!("{name}.tmp"));
            let file = writer.fs.create_new(&unfinished);
            let file = file.map_err(Error::io("creating the snapshot", &unfinished))?;
            let mut part = Part {
                shard,
                name,
                unfinished,
                file,
                hasher: blake3::Hasher::new(),
                offset: 0,
                synced: 0,
                block: Vec::new(),
                block_entries: 0,
                summary: SnapshotSummary::default(),
            };
            let written = part.write(&header.encode(shard));
            writer.parts.push(part);
            written?;
        }
        Ok(writer)
    }

    /// Adds an entry to a shard.
    pub fn add(&mut self, shard: u32, entry: &[u8]) -> Result<()> {
        assert!(shard < self.header.shards, "a snapshot of {} shards", self.header.shards);
        self.add_to(shard, entry)
    }

    /// Adds an entry to the meta file.
    pub fn add_meta(&mut self, entry: &[u8]) -> Result<()> {
        self.add_to(self.header.shards, entry)
    }

    fn add_to(&mut self, shard: u32, entry: &[u8]) -> Result<()> {
        if entry.len() > ENTRY_BYTES_MAX {
            let bytes = entry.len();
            return Err(Error::refused(format!("a snapshot entry of {bytes} bytes is too long")));
        }
        let snapshot_id = self.header.snapshot_id;
        match self.parts.get_mut(shard as usize) {
            Some(part) => part.add(entry, snapshot_id),
            None => Err(Error::refused(format!("a snapshot without shard {shard}"))),
        }
    }

    /// Finishes all files; records up to `last_lsn` may be in them. The snapshot counts once
    /// [`crate::log::DataDirectory::commit`] has listed it.
    pub fn finish(mut self, last_lsn: Lsn) -> Result<Generation> {
        assert!(last_lsn >= self.header.lsn, "a snapshot ends before it begins");
        let mut generation = Generation {
            snapshot_id: self.header.snapshot_id,
            lsn: self.header.lsn,
            last_lsn,
            entries: 0,
            digest: StateDigest::default(),
            files: Vec::new(),
        };
        for part in &mut self.parts {
            part.finish(self.header.snapshot_id, last_lsn)?;
            let listed = part.verify(&*self.fs)?;
            if part.shard < self.header.shards {
                generation.entries += part.summary.entries;
                generation.digest = generation.digest.and(part.summary.digest);
            }
            generation.files.push(listed);
        }
        for part in &self.parts {
            let path = self.root.join(&part.name);
            let renamed = self.fs.rename(&part.unfinished, &path);
            renamed.map_err(Error::io("naming the snapshot", &path))?;
        }
        let directory = self.root.join(SNAPSHOTS);
        if !planted("snapshot names not synced") {
            self.fs.sync_dir(&directory).map_err(Error::io("syncing the folder", &directory))?;
        }
        self.parts.clear();
        Ok(generation)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        for part in &self.parts {
            // It has one name or the other; what cannot be removed goes at the next start.
            let _ = self.fs.remove(&part.unfinished);
            let _ = self.fs.remove(&self.root.join(&part.name));
        }
    }
}

impl Part {
    fn add(&mut self, entry: &[u8], snapshot_id: u64) -> Result<()> {
        self.block.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        self.block.extend_from_slice(entry);
        self.block_entries += 1;
        self.summary.entries += 1;
        self.summary.digest.add(entry);
        if self.block_entries.is_multiple_of(ENTRIES_GIVING_WAY) {
            give_way();
        }
        if self.block.len() < BLOCK_RAW_BYTES {
            return Ok(());
        }
        self.write_block(snapshot_id)
    }

    fn write_block(&mut self, snapshot_id: u64) -> Result<()> {
        let place = BlockPlace { snapshot_id, shard: self.shard, offset: self.offset };
        let block = encode_block(&self.block, self.block_entries, place);
        self.block.clear();
        self.block_entries = 0;
        self.write(&block)?;
        if self.offset - self.synced >= SYNC_BYTES { self.sync() } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all_at(self.offset, bytes);
        written.map_err(Error::io("writing the snapshot", &self.unfinished))?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        give_way();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(Error::io("syncing the snapshot", &self.unfinished))?;
        self.synced = self.offset;
        Ok(())
    }

    fn finish(&mut self, snapshot_id: u64, last_lsn: Lsn) -> Result<()> {
        if self.block_entries > 0 {
            self.write_block(snapshot_id)?;
        }
        self.summary.last_lsn = last_lsn;
        self.block = self.summary.encode(); // no entries: the footer
        self.write_block(snapshot_id)?;
        if planted("snapshot not synced") { Ok(()) } else { self.sync() }
    }

    /// Reads the file back; an error if it does not hold exactly what was added.
    fn verify(&self, fs: &dyn FileSystem) -> Result<ListedFile> {
        let mut reader = BlockReader::open(fs, &self.unfinished)?;
        let mut read = SnapshotSummary::default();
        let footer = loop {
            let offset = reader.offset();
            let damaged = |expected| Error::corrupt(&self.unfinished, offset, expected);
            let block = match reader.next_block()? {
                Found::Block(block) => block,
                Found::Broken(expected, _) => return Err(damaged(expected)),
            };
            if block.is_footer {
                break SnapshotSummary::decode(&block.raw);
            }
            read.entries += u64::from(block.count);
            let entries = block.for_each_entry(|entry| {
                read.digest.add(entry);
                Ok(())
            });
            entries?.map_err(damaged)?;
        };
        read.last_lsn = self.summary.last_lsn;
        let (bytes, hash) = (self.offset, *self.hasher.finalize().as_bytes());
        let is_right = footer == Some(self.summary)
            && read == self.summary
            && (reader.offset(), reader.file_bytes(), reader.hash()) == (bytes, bytes, hash);
        if is_right {
            return Ok(ListedFile { name: self.name.clone(), bytes, hash });
        }
        Err(Error::corrupt(&self.unfinished, 0, "the entries that were added"))
    }
}

/// `snapshots/<id>-<shard>.snap`, or `snapshots/<id>-meta.snap`.
fn file_name(header: &SnapshotHeader, shard: u32) -> String {
    let id = header.snapshot_id;
    match shard {
        meta if meta == header.shards => format!("{SNAPSHOTS}/{id:020}-meta.snap"),
        _ => format!("{SNAPSHOTS}/{id:020}-{shard:04}.snap"),
    }
}
