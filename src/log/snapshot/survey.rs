//! Reads every block and every entry of a generation of snapshots, and tells of all that is wrong.

use super::{
    block::Block,
    block_reader::{BlockReader, Found},
    snapshot_file::SnapshotSummary,
};
use crate::{
    error::Result,
    log::{
        contract::Lsn,
        examination::{Examination, GenerationReport},
        manifest::{Generation, ListedFile},
    },
};
use std::path::{Path, PathBuf};

/// Looks at all files of a generation below `root`.
pub(in crate::log) fn survey_generation(
    examination: &mut Examination<'_>,
    root: &Path,
    store_id: u128,
    generation: &Generation,
) {
    let mut report = GenerationReport {
        snapshot_id: generation.snapshot_id,
        lsn: generation.lsn,
        last_lsn: generation.last_lsn,
        files: generation.files.len() as u64,
        bytes: 0,
        entries: 0,
        digest: Default::default(),
    };
    let shards = generation.files.len().saturating_sub(1);
    let found_before = examination.report.findings.len();
    for (shard, listed) in generation.files.iter().enumerate() {
        let path = root.join(&listed.name);
        let lsns = Some((Lsn(1), generation.last_lsn));
        let file = ListedSnapshot { path, store_id, generation, listed, shard, shards, lsns };
        match file.survey(examination) {
            Ok(summary) if shard < shards => {
                report.entries += summary.entries;
                report.digest = report.digest.and(summary.digest);
            }
            Ok(_) => {}
            Err(error) => examination.failed(&file.path, error, lsns),
        }
        report.bytes += listed.bytes;
    }
    let is_as_listed = (report.entries, report.digest) == (generation.entries, generation.digest);
    if !is_as_listed && examination.report.findings.len() == found_before {
        let Generation { entries, digest, .. } = generation;
        let id = generation.snapshot_id;
        let expected = format!("{entries} entries with digest {digest} in snapshot {id}");
        examination.damage(root, 0, expected, Some((Lsn(1), generation.last_lsn)));
    }
    examination.report.generations.push(report);
}

/// A file of a generation that is looked at.
struct ListedSnapshot<'a> {
    path: PathBuf,
    store_id: u128,
    generation: &'a Generation,
    listed: &'a ListedFile,
    /// Which file it is of how many, the meta file behind the last.
    shard: usize,
    shards: usize,
    /// The records that left their traces in it.
    lsns: Option<(Lsn, Lsn)>,
}

impl ListedSnapshot<'_> {
    /// Looks at the file; gives what could be read of it.
    fn survey(&self, examination: &mut Examination<'_>) -> Result<SnapshotSummary> {
        let mut reader = BlockReader::open(examination.fs, &self.path)?;
        examination.has_read(reader.offset());
        let (header, shard) = reader.header();
        let generation = self.generation;
        let belongs = (header.store_id, header.snapshot_id, header.lsn)
            == (self.store_id, generation.snapshot_id, generation.lsn)
            && (shard as usize, header.shards as usize) == (self.shard, self.shards);
        let found_before = examination.report.findings.len();
        if !belongs {
            let (file, id) = (self.shard, generation.snapshot_id);
            let expected = format!("file {file} of snapshot {id} of this store");
            examination.damage(&self.path, 16, expected, self.lsns);
        }
        if reader.file_bytes() != self.listed.bytes {
            let (found, listed) = (reader.file_bytes(), self.listed.bytes);
            let expected = format!("{listed} bytes, as the manifest says; it has {found}");
            examination.damage(&self.path, found.min(listed), expected, self.lsns);
        }
        let summary = self.blocks(examination, &mut reader)?;
        let is_listed = reader.hash() == self.listed.hash;
        if !is_listed && examination.report.findings.len() == found_before {
            let hash = blake3::Hash::from(self.listed.hash);
            let expected = format!("blake3 {hash}, as the manifest says");
            examination.damage(&self.path, 0, expected, self.lsns);
        }
        Ok(summary)
    }

    fn blocks(
        &self,
        examination: &mut Examination<'_>,
        reader: &mut BlockReader,
    ) -> Result<SnapshotSummary> {
        let mut summary = SnapshotSummary::default();
        let mut is_whole = true;
        loop {
            let offset = reader.offset();
            let found = reader.next_block()?;
            let footer = match found {
                Found::Broken(expected, can_go_on) => {
                    is_whole = false;
                    examination.damage(&self.path, offset, expected, self.lsns);
                    if can_go_on {
                        examination.has_read(reader.offset() - offset);
                        continue;
                    }
                    return Ok(summary);
                }
                Found::Block(block) if block.is_footer => SnapshotSummary::decode(&block.raw),
                Found::Block(block) => {
                    self.entries(examination, offset, &block, &mut summary)?;
                    examination.has_read(reader.offset() - offset);
                    continue;
                }
            };
            examination.has_read(reader.offset() - offset);
            summary.last_lsn = self.generation.last_lsn;
            if footer != Some(summary) && is_whole {
                let expected = "a footer with the number and the digest of these entries";
                examination.damage(&self.path, offset, expected, self.lsns);
            }
            if reader.offset() < reader.file_bytes() {
                let expected = "nothing behind the footer";
                examination.damage(&self.path, reader.offset(), expected, self.lsns);
            }
            return Ok(summary);
        }
    }

    fn entries(
        &self,
        examination: &mut Examination<'_>,
        offset: u64,
        block: &Block<'_>,
        summary: &mut SnapshotSummary,
    ) -> Result<()> {
        let is_meta = self.shard == self.shards;
        let decoders = examination.decoders;
        let decode = if is_meta { decoders.meta } else { decoders.row };
        let whole = block.for_each_entry(|entry| {
            summary.entries += 1;
            summary.digest.add(entry);
            if let Err(why) = decode(entry) {
                let expected = format!("an entry in the format of this version ({why})");
                examination.damage(&self.path, offset, expected, self.lsns);
            }
            Ok(())
        })?;
        if let Err(expected) = whole {
            examination.damage(&self.path, offset, expected, self.lsns);
        }
        Ok(())
    }
}
