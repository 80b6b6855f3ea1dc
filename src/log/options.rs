//! How a log is run: when it syncs, how long its segments are, how much may wait.

use crate::error::{Error, Result};
use std::fmt;

/// When a record counts as durable, and when the disk is made to hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A record is durable once a sync that covers it has returned. Writers that wait share a sync.
    #[default]
    Always,
    /// Written before it is acknowledged, synced every so many ms: a kill of the process loses
    /// nothing, a power cut loses what came after the last sync. Durable means synced.
    Interval {
        /// The time between two syncs, in ms.
        ms: u64,
    },
    /// Written before it is acknowledged, never synced but when a segment is full or the log is
    /// closed: a kill of the process loses nothing, a power cut may lose minutes. "Durable" here
    /// promises no more than "handed to the kernel".
    Never,
}

impl Durability {
    /// Reads `always`, `interval:<ms>` or `never`.
    pub fn parse(text: &str) -> Result<Self> {
        let interval = text.strip_prefix("interval:").and_then(|ms| ms.parse().ok());
        match (text, interval) {
            ("always", _) => Ok(Self::Always),
            ("never", _) => Ok(Self::Never),
            (_, Some(ms)) if ms > 0 => Ok(Self::Interval { ms }),
            _ => Err(Error::refused(format!(
                "durability {} is not known: always, interval:<ms> or never",
                crate::error::echo(text.as_bytes())
            ))),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval { ms } => write!(f, "interval:{ms}"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// What a start may give up of a damaged directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoverMode {
    /// Nothing but a torn end that was never durable.
    #[default]
    StrictTail,
    /// All from the first damage on: what is left is the state of a moment.
    PointInTime,
    /// Only what cannot be verified: what is left is the state of no moment.
    Salvage,
}

impl RecoverMode {
    /// Reads `strict-tail`, `point-in-time` or `salvage`.
    pub fn parse(text: &str) -> Result<Self> {
        let all = [Self::StrictTail, Self::PointInTime, Self::Salvage];
        all.into_iter().find(|mode| mode.to_string() == text).ok_or_else(|| {
            Error::refused(format!(
                "recovery {} is not known: strict-tail, point-in-time or salvage",
                crate::error::echo(text.as_bytes())
            ))
        })
    }
}

impl fmt::Display for RecoverMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StrictTail => "strict-tail",
            Self::PointInTime => "point-in-time",
            Self::Salvage => "salvage",
        })
    }
}

/// The settings of a log.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// When to sync.
    pub durability: Durability,
    /// The length that a segment is preallocated to; a record that needs more gets more.
    pub segment_bytes: u64,
    /// With more than this waiting to be written, [`super::Log::has_room`] says no.
    pub queue_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Always,
            segment_bytes: 64 * 1024 * 1024,
            queue_bytes_max: 16 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_reads_back_as_shown_and_anything_else_is_refused() {
        for text in ["always", "interval:1000", "never"] {
            assert_eq!(Durability::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Always", "interval", "interval:", "interval:0", "interval:-1", "none"] {
            let refused = Durability::parse(text).unwrap_err().to_string();
            assert!(refused.ends_with("is not known: always, interval:<ms> or never"), "{refused}");
        }
    }
}
