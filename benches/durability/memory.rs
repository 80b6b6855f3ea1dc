//! What a process and its children hold of memory.
//!
//! Pss counts a page shared by n processes as 1/n of it in each, so the sum over a process and its
//! fork is what the two take together; it also counts pages of mapped files, which the kernel may
//! take back. Private_Dirty is what cannot be taken back and is held by one of them alone.

use crate::Result;
use std::fs;

/// In bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) pss: u64,
    /// The part of it that belongs to no file.
    pub(super) anonymous: u64,
}

impl Memory {
    /// Of a process and its children.
    pub(super) fn of(process_id: u32) -> Result<Self> {
        let mut all = Self::default();
        let path = format!("/proc/{process_id}/task/{process_id}/children");
        let children = fs::read_to_string(path)?;
        let children = children.split_whitespace().filter_map(|text| text.parse().ok());
        for process_id in std::iter::once(process_id).chain(children) {
            // A child may have ended in the meantime.
            let path = format!("/proc/{process_id}/smaps_rollup");
            let Ok(text) = fs::read_to_string(path) else { continue };
            all.pss += field(&text, "Pss:");
            all.anonymous += field(&text, "Pss_Anon:");
        }
        Ok(all)
    }

    /// The greater of each.
    pub(super) fn max(self, other: Self) -> Self {
        Self { pss: self.pss.max(other.pss), anonymous: self.anonymous.max(other.anonymous) }
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
