//! Standard output of verbs that print much: whoever reads it may stop in the middle, as `head`
//! does, and that is no failure.

use crate::error::{Error, Result};
use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output, written in large pieces.
pub(super) struct Output {
    to: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { to: BufWriter::new(io::stdout().lock()) }
    }

    /// Writes a line; `false` once nobody reads any more.
    pub(super) fn line(&mut self, line: &str) -> Result<bool> {
        let written = self.to.write_all(line.as_bytes()).and_then(|()| self.to.write_all(b"\n"));
        is_read(written)
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        is_read(self.to.flush()).map(drop)
    }
}

fn is_read(written: io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("writing", "standard output")(error)),
    }
}
