//! What a Parquet file is written to, and what the disk said if it failed: the writer of Parquet
//! tells some failures as text alone.

use crate::error::Error;
use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
};

/// Why the first write that failed did.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<OnceLock<(io::ErrorKind, String)>>);

/// Writes on, and keeps the first failure.
#[derive(Debug)]
pub(super) struct Sink<W> {
    pub(super) to: W,
    failure: Failure,
}

impl<W> Sink<W> {
    pub(super) fn new(to: W) -> (Self, Failure) {
        let failure = Failure::default();
        (Self { to, failure: failure.clone() }, failure)
    }
}

impl Failure {
    /// The error of the disk, while `doing` something with `what`; `None` if it did not fail.
    pub(super) fn error(&self, doing: &'static str, what: &str) -> Option<Error> {
        let (kind, text) = self.0.get()?;
        Some(Error::io(doing, what)(io::Error::new(*kind, text.clone())))
    }

    fn keep<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            // Parquet tries again what was interrupted.
            if error.kind() != io::ErrorKind::Interrupted {
                let _ = self.0.set((error.kind(), error.to_string()));
            }
        })
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes);
        self.failure.keep(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.to.flush();
        self.failure.keep(flushed)
    }
}
