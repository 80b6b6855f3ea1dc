//! Compaction: files of the history become fewer, sorted as a whole, and split by the hash of the
//! entity where they are long.
//!
//! ```text
//! directory held ─> read, merged, synced, read back ─> directory held ─> manifest
//! which ones?       (nobody waits, nothing is held)    still so?
//! ```
//! It may be ended at any time, and leaves no file then.
//!
//! Invariants
//! - Only files that lie before every snapshot are merged with others: whichever one falls back to,
//!   no merged file reaches beyond it, and the log has what is behind. One range by itself may lie
//!   anywhere: what it is merged into reaches as far.
//! - The sources count until the merged file does, and go in the same step.
//! - What is older than a view's retention goes only when the files that hold it are written anew,
//!   and they say from which time on they are whole.
//! - Nothing is merged while an erasure is due, and an erasure ends the one that is running: a file
//!   that tells of who was forgotten is never begun, nor finished behind its back.

use super::{
    engine::Store,
    generations::{meaning, whole},
    merge_policy::{MergePolicy, next_to_merge},
    pushed_files::PushedPart,
};
use crate::{
    error::{Error, Result},
    feature::{Entity, Timestamp, View, ViewId},
    log::{HistoryPart, HistoryWriter, Lsn, PartFile, PartHead, open_history_part},
    offline::{Bucket, HistoryFile, Merged, Retention, merge_history},
    planted::planted,
};
use bytes::Bytes;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Files that were merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The name of the view.
    pub view_name: String,
    /// How many files were merged.
    pub files: usize,
    /// How many there are in their place: one for each bucket of entities.
    pub buckets: usize,
    /// The rows in them.
    pub rows: u64,
    /// How many rows went, as the view keeps nothing that old.
    pub given_up: u64,
    /// How long they are.
    pub bytes: u64,
}

impl Store {
    /// Merges the files of the history that `policy` wants merged next, or writes those anew of
    /// which the most is older than their view keeps, or merges those of one range of which one has
    /// more runs than `policy` allows. `None` if there are none, if somebody else is at it or
    /// erases, or if `goes_on` said no: it is asked every few thousand rows, and may take its time,
    /// for which nobody waits but an erasure.
    ///
    /// One that fails leaves everything as it was; files that are damaged are not tried again.
    pub fn compact_history(
        &self,
        policy: &MergePolicy,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Compacted>> {
        let Some(mut running) = self.compactions.begin() else { return Ok(None) };
        self.check_poison()?;
        if self.erasure_is_due() {
            return Ok(None);
        }
        let directory = self.directory.lock();
        let mut sources = next_to_merge(directory.settled_history(), policy, &running.left_out);
        let listed = directory.history().parts.clone();
        let settled: Vec<HistoryPart> = directory.settled_history().cloned().collect();
        let number = directory.number() + 1;
        drop(directory);
        // What gives room back comes before what takes some for a while.
        if sources.is_empty() {
            sources = self.next_to_give_up(settled, &mut running.left_out, goes_on)?;
        }
        if sources.is_empty() {
            sources = self.next_to_sort(listed, policy, &mut running.left_out, goes_on)?;
        }
        if sources.is_empty() {
            return Ok(None);
        }
        let buckets = policy.bucket_count(&sources);
        self.merge(&sources, buckets, number, &mut running.left_out, goes_on)
    }

    /// Whether files of the history may be merged now: nobody is at it, or erases.
    pub fn may_compact(&self) -> bool {
        self.compactions.is_free() && !self.erasure_is_due()
    }

    /// Whether files of the history are being merged.
    pub fn is_compacting(&self) -> bool {
        self.compactions.is_running()
    }

    /// How many files the history has, and how many bytes they have together.
    pub fn history_size(&self) -> (usize, u64) {
        let files = self.pushed_files.load();
        (files.parts.len(), files.parts.iter().map(|part| part.listed.file.bytes).sum())
    }

    /// The files of a range of the log of which one has too many runs.
    fn next_to_sort(
        &self,
        mut listed: Vec<HistoryPart>,
        policy: &MergePolicy,
        left_out: &mut HashSet<String>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<HistoryPart>> {
        let is_due = |part: &PushedPart, view: &View, entity: &Entity| {
            Ok(part.runs(&*self.fs, view, entity)? > policy.runs_max)
        };
        let mut bytes: HashMap<_, u64> = HashMap::new();
        for part in &listed {
            let bytes = bytes.entry(part.range()).or_default();
            *bytes = bytes.saturating_add(part.file.bytes);
        }
        listed.retain(|part| bytes.get(&part.range()).is_some_and(|it| *it <= policy.bytes_max));
        self.first_range(listed, is_due, left_out, goes_on)
    }

    /// The files of a range of the log of which it is worth while to look for what their view does
    /// not keep.
    fn next_to_give_up(
        &self,
        settled: Vec<HistoryPart>,
        left_out: &mut HashSet<String>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<HistoryPart>> {
        let is_due = |part: &PushedPart, view: &View, entity: &Entity| {
            let Some(retention) = self.retention(view, part.listed.first) else {
                return Ok(false);
            };
            let bytes = part.bytes(&*self.fs, &self.root)?;
            Ok(HistoryFile::open(bytes, &part.path, view, entity)?.may_give_up(retention))
        };
        self.first_range(settled, is_due, left_out, goes_on)
    }

    /// The files of the first range of which one is due.
    fn first_range(
        &self,
        mut parts: Vec<HistoryPart>,
        is_due: impl Fn(&PushedPart, &View, &Entity) -> Result<bool>,
        left_out: &mut HashSet<String>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<HistoryPart>> {
        parts.sort_by_key(HistoryPart::range);
        let (schema, files) = (self.schema.load_full(), self.pushed_files.load_full());
        for parts in parts.chunk_by(|a, b| a.range() == b.range()) {
            let Some(first) = parts.first() else { continue };
            let (view, entity) = meaning(&schema.catalog, ViewId(first.view), first.generation)?;
            if parts.iter().any(|part| left_out.contains(&part.file.name)) {
                continue;
            }
            for part in files.parts.iter().filter(|part| parts.contains(&part.listed)) {
                if self.compactions.is_stopped() || !goes_on() {
                    return Ok(Vec::new());
                }
                let is_due = is_due(part, view, entity).inspect_err(|error: &Error| {
                    if !matches!(error, Error::Io { .. }) {
                        left_out.insert(part.listed.file.name.clone());
                    }
                })?;
                if is_due {
                    return Ok(parts.to_vec());
                }
            }
        }
        Ok(Vec::new())
    }

    /// What is kept now of the history of a view in records from `first` on; `None` for everything,
    /// also while a training set is made that sees some of them: all its parts see the same, and
    /// nothing goes for the sake of what it does not see.
    fn retention(&self, view: &View, first: Lsn) -> Option<Retention> {
        let length_us = view.retention_us.filter(|_| !self.training_sets.see(first))?;
        let keep_from = Timestamp(self.clock.now().us().saturating_sub(length_us));
        Some(Retention { keep_from, length_us })
    }

    fn merge(
        &self,
        sources: &[HistoryPart],
        buckets: u32,
        number: u64,
        left_out: &mut HashSet<String>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Compacted>> {
        let mut goes_on = || goes_on() && !self.compactions.is_stopped();
        let ([first, ..], [.., last]) = (sources, sources) else { return Ok(None) };
        let schema = self.schema.load_full();
        let (view, _) = meaning(&schema.catalog, ViewId(first.view), first.generation)?;
        let mut writer = HistoryWriter::merging(Arc::clone(&self.fs), &self.root, number);
        let begin = |bucket: Bucket| {
            writer.begin(&PartHead {
                view_name: &view.name,
                view: first.view,
                generation: first.generation,
                first: first.first,
                last: last.last,
                bucket: (bucket.number, bucket.count),
            })
        };
        let to = Bucket::all(buckets).map(begin).collect::<Result<_>>()?;
        let retention = self.retention(view, first.first);
        let merged =
            self.merge_files(sources, to, retention, &mut goes_on).inspect_err(|error| {
                let text = error.to_string();
                let names = sources.iter().map(|source| &source.file.name);
                let is_at_fault = |name: &&String| text.contains(name.as_str());
                if !matches!(error, Error::Io { .. }) {
                    left_out.extend(names.filter(is_at_fault).cloned());
                }
            })?;
        let Some(merged) = merged else { return Ok(None) };
        let given_up = merged.given_up;
        for (file, rows) in merged.files {
            writer.end(file, rows)?;
        }
        // Whoever reads next need not wait until they are hashed.
        let part = |listed| {
            let part = Arc::new(PushedPart::new(listed, &self.root));
            part.bytes(&*self.fs, &self.root).map(|_| part)
        };
        let parts: Vec<_> = writer.ended().iter().map(part).collect::<Result<_>>()?;
        let sum = |of: fn(&HistoryPart) -> u64| parts.iter().map(|part| of(&part.listed)).sum();
        let (rows, bytes) = (sum(|part| part.rows), sum(|part| part.file.bytes));
        let keep_from = retention.filter(|_| given_up > 0).map(|retention| retention.keep_from);
        let is_done = goes_on() && self.list_merged(writer, sources, &parts, keep_from)?;
        let (view_name, files, buckets) = (view.name.clone(), sources.len(), parts.len());
        Ok(is_done.then_some(Compacted { view_name, files, buckets, rows, given_up, bytes }))
    }

    /// Writes the rows of `sources`, whose hashes are compared once more: nothing that rotted since
    /// gets a new hash.
    fn merge_files(
        &self,
        sources: &[HistoryPart],
        to: Vec<PartFile>,
        retention: Option<Retention>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Merged<PartFile>>> {
        let schema = self.schema.load_full();
        let mut files = Vec::with_capacity(sources.len());
        let mut listed_rows = 0;
        for source in sources {
            let id = (ViewId(source.view), source.generation);
            let (view, entity) = meaning(&schema.catalog, id.0, id.1)?;
            let view = whole(&schema.catalog, view, entity);
            let bytes = Bytes::from_owner(open_history_part(&*self.fs, &self.root, source)?);
            let path = self.root.join(&source.file.name);
            files.push(HistoryFile::open(bytes, &path, &view, entity)?);
            listed_rows += source.rows;
            if !goes_on() {
                return Ok(None);
            }
        }
        if planted("merged without a source") {
            files.pop();
        }
        let merged = merge_history(&files, to, retention, goes_on)?;
        let rows = |merged: &Merged<_>| {
            merged.files.iter().map(|(_, rows)| rows).sum::<u64>() + merged.given_up
        };
        let is_whole = merged.as_ref().is_none_or(|merged| rows(merged) == listed_rows);
        if !is_whole && !planted("merged without a source") {
            let names: Vec<&str> = sources.iter().map(|source| source.file.name.as_str()).collect();
            let expected = format!("{listed_rows} rows in {}", names.join(", "));
            return Err(Error::corrupt(&self.root, 0, expected));
        }
        Ok(merged)
    }

    /// Lets merged files count, if all is still as it was; otherwise they go. In them nothing is
    /// that tells of times before `kept_from` alone: neither the view nor a training set must want
    /// it meanwhile.
    fn list_merged(
        &self,
        writer: HistoryWriter,
        sources: &[HistoryPart],
        parts: &[Arc<PushedPart>],
        kept_from: Option<Timestamp>,
    ) -> Result<bool> {
        let mut directory = self.directory.lock();
        if let (Some(kept_from), Some(first)) = (kept_from, sources.first()) {
            let schema = self.schema.load_full();
            let (view, _) = meaning(&schema.catalog, ViewId(first.view), first.generation)?;
            if self.retention(view, first.first).is_none_or(|now| now.keep_from < kept_from) {
                return Ok(false);
            }
        }
        // A manifest whose fate is unknown may list what is to go.
        self.check_poison()?;
        if !directory.may_merge(sources) || self.compactions.is_stopped() {
            return Ok(false);
        }
        if let Err(error) = directory.commit_merged(writer.finish()?, sources) {
            if directory.is_unknown() {
                self.log.poison(&error.to_string());
            }
            return Err(error);
        }
        self.pushed_files_changed(&directory, parts);
        Ok(true)
    }
}
