//! Registering an entity while others write: a key belongs to one tier, plain or registered.
//!
//! ```text
//! apply   names, epoch odd ─> look at every row ─> append ─> new schema ─> no names, epoch even
//! write   epoch ─> schema: plain or registered? ─> locks ─> the same epoch, and even? ─> append
//! ```
//! A write that has its locks before apply looks there is found by apply, durable or not. One that
//! has them later meets another epoch, or an odd one, and only then looks whether its plain keys
//! are plain still. So the hot path reads one number.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Which entities are being registered, and whether any was ever dropped.
#[derive(Debug, Default)]
pub(super) struct Registration {
    epoch: AtomicU64,
    names: Mutex<Vec<String>>,
    had_drop: AtomicBool,
}

impl Registration {
    /// To be asked before the schema that decides whether a key is plain.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether nothing was registered since `epoch`, nor is. To be asked under the locks of the
    /// keys: taking them has made known what whoever held them before had written.
    pub(super) fn is_unchanged(&self, epoch: u64) -> bool {
        epoch.is_multiple_of(2) && self.epoch.load(Ordering::Relaxed) == epoch
    }

    /// Whether an entity was ever dropped. Under the locks of keys whoever asks knows of every drop
    /// by which others decided about these keys.
    pub(super) fn had_drop(&self) -> bool {
        self.had_drop.load(Ordering::Relaxed)
    }

    /// To be told before the schema that says so is shown.
    pub(super) fn note_drop(&self) {
        self.had_drop.store(true, Ordering::Relaxed);
    }

    /// Which entities are being registered.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.lock().clone()
    }

    /// Entities of these names are registered as long as this is kept, which is until they are in
    /// the schema, or are refused. One at a time.
    pub(super) fn begin(&self, names: Vec<String>) -> Registering<'_> {
        *self.names.lock() = names;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        Registering(self)
    }
}

/// Entities that are being registered.
#[derive(Debug)]
pub(super) struct Registering<'a>(&'a Registration);

impl Drop for Registering<'_> {
    fn drop(&mut self) {
        self.0.names.lock().clear();
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
    }
}
