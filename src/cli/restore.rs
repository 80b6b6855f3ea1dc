//! `nowthen restore`
//!
//! With `--json` one object: `to`, `lsn`, `time` (of the last record, or null), `keys`, `digest`,
//! `as_of`, `seconds`.

use super::{backup_options::RestoreOptions, bar::Bar};
use crate::{
    disk::{FileSystem, RealFs},
    error::Result,
    feature::Timestamp,
    log::{Lsn, RestorePoint, RestoreSource},
    store,
};
use serde_json::json;
use std::{sync::Arc, time::Instant};

/// Restores a backup, or a data directory, into a new folder.
pub fn restore(options: &RestoreOptions) -> Result<()> {
    let started = Instant::now();
    let point = match (options.to_lsn, &options.to_time) {
        (Some(lsn), _) => RestorePoint::Lsn(Lsn(lsn)),
        (None, Some(time)) => RestorePoint::Time(Timestamp::parse(time)?),
        (None, None) => RestorePoint::End,
    };
    let fs: Arc<dyn FileSystem> = Arc::new(RealFs);
    let bar = Bar::of_bytes("hash");
    let source = RestoreSource::open(&*fs, &options.from, &mut |done, total| {
        bar.set(done, total);
    })?;
    drop(bar);
    let plan = source.plan(point)?;
    let bar = Bar::of_bytes("restore");
    let state = store::restore(&fs, &source, &plan, &options.to, &mut |done, total| {
        bar.set(done, total);
    })?;
    drop(bar);
    let seconds = started.elapsed().as_secs_f64();
    let time = plan.clock_us.map(|us| Timestamp(us).to_iso());
    if options.json {
        println!(
            "{}",
            json!({
                "to": options.to,
                "lsn": plan.lsn.0,
                "time": time,
                "keys": state.keys,
                "digest": state.digest.to_string(),
                "as_of": state.as_of.to_iso(),
                "seconds": seconds,
            })
        );
        return Ok(());
    }
    println!(
        "{}: restored to LSN {}{} in {seconds:.2} s",
        options.to.display(),
        plan.lsn,
        time.map_or_else(String::new, |time| format!(" ({time})")),
    );
    println!("{} keys as of {}, state digest {}", state.keys, state.as_of.to_iso(), state.digest);
    Ok(())
}
