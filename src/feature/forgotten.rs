//! Entities that were forgotten: erased, and kept out by a mark that does not say who they were.
//!
//! Invariants
//! - A mark is a hash: once nothing else tells of an entity, its key cannot be read here either.
//!   Whoever can guess a key can still tell that it was forgotten.
//! - Marks are only added, and of two for one entity the later one counts.

use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

/// What a mark is a hash of begins with this, so that it is no hash of a key as others make it.
const CONTEXT: &[u8] = b"nowthen: a forgotten key\0";

/// Stands for the key of an entity that was forgotten: the first half of a blake3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyMark([u8; 16]);

impl KeyMark {
    /// The mark of a canonical key.
    pub fn of(key: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(CONTEXT).update(key);
        let mut mark = [0; 16];
        hasher.finalize_xof().fill(&mut mark);
        Self(mark)
    }
}

impl fmt::Display for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Since when an entity is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The record that says so: nothing that stands before it in the log counts.
    pub lsn: u64,
    /// When: nothing that was true before it counts, whoever brings it.
    pub at: Timestamp,
}

/// All entities that were forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    marks: HashMap<KeyMark, Mark>,
    /// The keys of those that files may still tell of, and the records that forget them.
    unerased: BTreeMap<Vec<u8>, u64>,
}

impl Forgotten {
    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Since when the entity of this canonical key is forgotten.
    pub fn mark(&self, key: &[u8]) -> Option<Mark> {
        if self.is_empty() {
            return None;
        }
        self.marks.get(&KeyMark::of(key)).copied()
    }

    /// Whether what was true of `key` at `event` must not be written any more.
    pub fn keeps_out(&self, key: &[u8], event: Timestamp) -> bool {
        self.mark(key).is_some_and(|mark| event < mark.at)
    }

    /// Whether what record `lsn` wrote about `key`, true at `event`, does not count any more.
    pub fn hides(&self, key: &[u8], lsn: u64, event: Timestamp) -> bool {
        self.mark(key).is_some_and(|mark| lsn <= mark.lsn || event < mark.at)
    }

    /// Every mark, in no order.
    pub fn marks(&self) -> impl Iterator<Item = (KeyMark, Mark)> {
        self.marks.iter().map(|(key, mark)| (*key, *mark))
    }

    /// The last record that forgets an entity; 0 if there is none.
    pub fn last_lsn(&self) -> u64 {
        self.marks.values().map(|mark| mark.lsn).max().unwrap_or(0)
    }

    /// Adds a mark of which the key is not known.
    pub fn add_mark(&mut self, key: KeyMark, mark: Mark) {
        let standing = self.marks.entry(key).or_insert(mark);
        if standing.lsn < mark.lsn {
            *standing = mark;
        }
    }

    /// Forgets the entity of this canonical key.
    pub fn forget(&mut self, key: &[u8], mark: Mark) {
        self.add_mark(KeyMark::of(key), mark);
        let lsn = self.unerased.entry(key.to_vec()).or_insert(mark.lsn);
        *lsn = mark.lsn.max(*lsn);
    }

    /// The keys that files may still tell of, up to record `lsn`.
    pub fn unerased(&self, lsn: u64) -> impl Iterator<Item = &[u8]> {
        let keys = self.unerased.iter().filter(move |(_, forgotten)| **forgotten <= lsn);
        keys.map(|(key, _)| key.as_slice())
    }

    /// No file tells of those that were forgotten up to record `lsn`: their keys go.
    pub fn erased(&mut self, lsn: u64) {
        self.unerased.retain(|_, forgotten| *forgotten > lsn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_for_a_key_and_the_later_one_counts() {
        let mark = |lsn, at| Mark { lsn, at: Timestamp(at) };
        let mut forgotten = Forgotten::default();
        assert!(forgotten.is_empty() && forgotten.mark(b"user:1").is_none());
        forgotten.forget(b"user:1", mark(7, 100));
        assert!(forgotten.keeps_out(b"user:1", Timestamp(99)));
        assert!(!forgotten.keeps_out(b"user:1", Timestamp(100)));
        assert!(!forgotten.keeps_out(b"user:2", Timestamp(99)));
        assert!(forgotten.hides(b"user:1", 7, Timestamp(500)), "written before");
        assert!(forgotten.hides(b"user:1", 8, Timestamp(99)), "true before");
        assert!(!forgotten.hides(b"user:1", 8, Timestamp(100)));
        forgotten.add_mark(KeyMark::of(b"user:1"), mark(3, 900));
        assert_eq!(forgotten.mark(b"user:1"), Some(mark(7, 100)));
        forgotten.forget(b"user:1", mark(9, 200));
        assert_eq!((forgotten.mark(b"user:1"), forgotten.last_lsn()), (Some(mark(9, 200)), 9));
    }

    #[test]
    fn a_key_is_known_until_no_file_tells_of_it() {
        let mut forgotten = Forgotten::default();
        forgotten.forget(b"user:1", Mark { lsn: 7, at: Timestamp(1) });
        forgotten.forget(b"user:2", Mark { lsn: 9, at: Timestamp(1) });
        assert_eq!(forgotten.unerased(8).collect::<Vec<_>>(), [b"user:1"]);
        forgotten.erased(8);
        assert_eq!(forgotten.unerased(99).collect::<Vec<_>>(), [b"user:2"]);
        assert_eq!(forgotten.marks().count(), 2);
    }

    #[test]
    fn the_mark_of_a_key_never_changes() {
        assert_eq!(KeyMark::of(b"user:1").to_string(), "5358d04adf47315ea565c81a64a656ca");
    }
}
