//! History of a simulated directory, for tests.

use super::{DataDirectory, History, HistoryWriter, Lsn, PartHead};
use crate::{
    disk::{FileSystem, SimulatedFs},
    error::{Error, Result},
};
use std::{io::Write, sync::Arc};

/// What a commit up to `lsn` lists: one more part, if there are records that no part holds yet.
pub(super) fn history_to(fs: &SimulatedFs, directory: &DataDirectory, lsn: Lsn) -> Result<History> {
    let mut history = directory.history().clone();
    let first = history.reaches.next();
    if first > lsn {
        return Ok(history);
    }
    let shared: Arc<dyn FileSystem> = Arc::new(fs.clone());
    let number = directory.number() + 1;
    let mut writer = HistoryWriter::new(shared, directory.root(), number);
    let head = PartHead {
        view_name: "spending",
        view: 1,
        generation: 1,
        first,
        last: lsn,
        bucket: (0, 1),
    };
    let mut part = writer.begin(&head)?;
    part.write_all(format!("{first}-{lsn} ").repeat(200).as_bytes())
        .map_err(Error::io("writing", directory.root()))?;
    writer.end(part, lsn.0)?;
    history.parts.extend(writer.finish()?);
    Ok(History { reaches: lsn, ..history })
}
