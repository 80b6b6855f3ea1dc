//! The place of a log that is opened later: until then there is an empty one that takes nothing.
//!
//! A store is there, and tells how it is, while its log is still being read; nothing that uses the
//! log need know of that.

use super::contract::{Log, LogStatus, Lsn, Records, SegmentInfo};
use crate::error::{Error, Result};
use std::{ops::Deref, sync::OnceLock, time::Instant};

/// A log, from when it is open.
#[derive(Default)]
pub struct PendingLog(OnceLock<Box<dyn Log>>);

impl PendingLog {
    /// It is open from here on. The first one stays.
    pub fn open(&self, log: Box<dyn Log>) {
        let _ = self.0.set(log);
    }
}

impl Deref for PendingLog {
    type Target = dyn Log;

    fn deref(&self) -> &Self::Target {
        self.0.get().map_or(&NoLog, |log| &**log)
    }
}

/// A log without records.
struct NoLog;

impl Log for NoLog {
    fn append(&self, _: &[u8]) -> Result<Lsn> {
        Err(Error::loading())
    }

    fn append_unhurried(&self, _: &[u8]) -> Result<Lsn> {
        Err(Error::loading())
    }

    fn roll(&self) {}

    fn write_soon(&self) {}

    fn has_room(&self) -> bool {
        true
    }

    fn durable(&self) -> Lsn {
        Lsn(0)
    }

    fn last(&self) -> Lsn {
        Lsn(0)
    }

    fn read(&self, _: Lsn) -> Result<Records<'_>> {
        Err(Error::loading())
    }

    fn trim(&self, _: Lsn) -> Result<()> {
        Err(Error::loading())
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        Vec::new()
    }

    fn status(&self) -> LogStatus {
        LogStatus::default()
    }

    fn take_longest_sync_ns(&self) -> u64 {
        0
    }

    fn flush_until(&self, _: Option<Instant>) -> Result<bool> {
        Err(Error::loading())
    }

    fn poison(&self, _: &str) {}

    fn close(&self) -> Result<()> {
        Ok(())
    }
}
