//! Forgetting an entity, for privacy law: it goes from memory at once, and then from every file.
//!
//! ```text
//! record ─> row, waiting cells gone, mark set ─> log rolled ─> snapshot ─> snapshot ─> log trimmed
//!           (readers and writers know)                         history without it
//! ```
//! Two snapshots are kept, and the log for the older: so two are written, and everything before the
//! record is behind both. The history is written anew by the same checkpoint that moves its border
//! past the record. A crash anywhere leaves an erasure that is due, and the next start takes it up.
//!
//! Invariants
//! - From the record on nothing that was written before it is shown, by no way of reading, and
//!   nothing that was true before it is taken from anybody.
//! - Once an erasure is through, no file of the store tells of the entity, nor who it was.

use super::{
    commit::Committed,
    engine::Store,
    erasure::{Erased, Receipt},
    keyspace::Keyspace,
    read_features::entity_row,
};
use crate::{
    error::{Error, Result, echo},
    feature::{Change, Forgotten, KeyMark, Mark, Record, Timestamp},
    log::{Lsn, append_audit},
};
use serde_json::json;
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Two snapshots do; one may fail to move the border because a record comes in between.
const CHECKPOINTS_MAX: usize = 4;
/// How often it is looked whether a snapshot is finished that somebody else began.
const RUNNING_POLL: Duration = Duration::from_millis(10);
/// For so long one waits for that snapshot.
const RUNNING_MAX: Duration = Duration::from_secs(3600);

impl Keyspace<'_> {
    /// Makes it true that the entity of a canonical key is forgotten: when, and whether there was
    /// anything about it.
    fn forget(self, key: &[u8]) -> Result<Committed<(Timestamp, bool)>> {
        self.commit(&[key], |locked| {
            let row = locked.row(key);
            if row.is_some_and(|row| !row.is_entity()) {
                let why = "is a plain key now, of an entity that was dropped: DEL removes it";
                return Err(Error::refused(format!("{} {why}", echo(key))));
            }
            let was_online = entity_row(row).views().next().is_some();
            let change = Change::Forget { key: key.to_vec(), at: locked.now };
            Ok((vec![change], (locked.now, was_online)))
        })
    }
}

impl Store {
    /// Forgets the entity of a canonical key, and returns when no file of the store tells of it any
    /// more. If that fails it is forgotten nevertheless: its files are erased later.
    pub fn forget(self: &Arc<Self>, key: &[u8]) -> Result<Receipt> {
        let _one_at_a_time = self.erasing.lock();
        let committed = self.keyspace().forget(key)?;
        let (at, was_online) = committed.value;
        let lsn = committed.wait_for.unwrap_or_default();
        self.acknowledged_blocking(lsn)?;
        let mark = KeyMark::of(key);
        self.audit("forgotten", &[mark.to_string()], lsn)?;
        let erased = self.erase().map_err(|error| {
            let later = "the entity is forgotten, its files are erased later";
            Error::refused_as(error.code(), format!("{later}: {error}"))
        })?;
        Ok(Receipt { mark, at, lsn, was_online, erased })
    }

    /// Whether files may still tell of an entity that was forgotten.
    pub fn erasure_is_due(&self) -> bool {
        let last = self.forgotten.load().last_lsn();
        last > 0 && self.log.status().first.0 <= last
    }

    /// Erases what is due; nothing if somebody does already.
    pub fn erase_forgotten(self: &Arc<Self>) -> Result<()> {
        let Some(_one_at_a_time) = self.erasing.try_lock() else { return Ok(()) };
        if self.erasure_is_due() { self.erase().map(drop) } else { Ok(()) }
    }

    /// Brings snapshots, history and log behind the last record that forgets somebody.
    fn erase(self: &Arc<Self>) -> Result<Erased> {
        // Nobody may still be writing a file from what is to go.
        let _none_compacts = self.compactions.stop();
        let forgotten = self.forgotten.load_full();
        let last = forgotten.last_lsn();
        let log_first = self.log.status().first;
        // What comes now stands in another segment than what is to go.
        self.log.roll();
        let now = self.clock.now();
        let (lsn, _) = self.append(Record { changes: Vec::new() }, now)?;
        self.acknowledged_blocking(lsn)?;
        *self.erased.lock() = Erased::default();
        // Before the log is given up, by which a start sees that something is due.
        let aside_files = self.directory.lock().clear_aside()?;
        for _ in 0..CHECKPOINTS_MAX {
            if !self.erasure_is_due() {
                break;
            }
            self.checkpoint_in_turn()?;
        }
        if self.erasure_is_due() {
            return Err(Error::refused("the log could not be given up"));
        }
        self.directory.lock().remove_unlisted()?;
        self.forgotten.rcu(|forgotten| {
            let mut forgotten = Forgotten::clone(forgotten);
            forgotten.erased(last);
            forgotten
        });
        let due = forgotten.marks().filter(|(_, mark)| mark.lsn >= log_first.0);
        let due: Vec<String> = due.map(|(key, _)| key.to_string()).collect();
        self.audit("erased", &due, Lsn(last))?;
        let log_first = self.log.status().first;
        Ok(Erased { aside_files, log_first, ..*self.erased.lock() })
    }

    /// A snapshot, after the one that somebody else is writing.
    fn checkpoint_in_turn(self: &Arc<Self>) -> Result<()> {
        let started = Instant::now();
        loop {
            match self.begin_checkpoint() {
                Ok(begun) => return begun.write().map(drop),
                Err(error) if started.elapsed() > RUNNING_MAX => return Err(error),
                Err(_) => self.check_poison()?,
            }
            thread::sleep(RUNNING_POLL);
        }
    }

    /// Takes up a mark, by live write, replay or snapshot.
    pub(super) fn note_forgotten(&self, key: &[u8], lsn: Lsn, at: Timestamp) {
        self.future.forget(key, lsn.0);
        self.forgotten.rcu(|forgotten| {
            let mut forgotten = Forgotten::clone(forgotten);
            forgotten.forget(key, Mark { lsn: lsn.0, at });
            forgotten
        });
    }

    fn audit(&self, event: &str, marks: &[String], lsn: Lsn) -> Result<()> {
        let time = self.clock.now().to_iso();
        let line = json!({ "time": time, "event": event, "marks": marks, "lsn": lsn.0 });
        append_audit(&*self.fs, &self.root, &line)
    }
}
