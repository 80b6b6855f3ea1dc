//! `nowthen serve --recover`: before the start, what is damaged is given up, if the operator says
//! so.

use super::options::RecoverOptions;
use crate::{
    disk::RealFs,
    error::{Error, Result},
    feature::{Record, encode_record},
    log::{RecoverMode, Recovery, recover},
    store::Clock,
};
use std::path::Path;

/// Gives up what is damaged in `data`, as far as the options say. Nothing is done to a sound one.
pub(super) fn recover_before_start(options: &RecoverOptions, data: &Path) -> Result<()> {
    let mode = RecoverMode::parse(&options.recover)?;
    if mode == RecoverMode::StrictTail {
        return Ok(());
    }
    if !options.accept_data_loss {
        return Err(Error::refused(format!(
            "--recover {mode} may give up acknowledged writes: nothing was changed; expected \
             --accept-data-loss with it"
        )));
    }
    let failed = |error| Error::refused(format!("no random numbers: {error}"));
    let recovery = Recovery {
        mode,
        now: &Clock::system().now().to_iso(),
        salt: getrandom::u64().map_err(failed)?,
        filler: &encode_record(&Record { changes: Vec::new() }),
    };
    let Some(losses) = recover(&RealFs, data, &recovery)? else {
        tracing::info!(%mode, "nothing is damaged: nothing was given up");
        return Ok(());
    };
    let ranges: Vec<String> =
        losses.records.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    tracing::warn!(
        %mode,
        lost_lsn = ranges.join(","),
        dropped_snapshots = ?losses.snapshots,
        in_snapshot_up_to_lsn = losses.in_snapshot.0,
        copies = %losses.copies.display(),
        "what was damaged is given up"
    );
    Ok(())
}
