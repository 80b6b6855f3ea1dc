//! `nowthen serve`

use super::{boot::Boot, options::ServeOptions, recover::recover_before_start};
use crate::{
    command::settings_from,
    error::Result,
    feature::{Timestamp, parse_duration_us},
    log::Durability,
    online::Seen,
    store::{Clock, StoreOptions},
};
use std::time::Instant;

/// Serves until it is stopped.
pub fn serve(options: &ServeOptions) -> Result<()> {
    let started = Instant::now();
    let clock = match &options.clock_start {
        Some(start) => Clock::starting_at(Timestamp::parse(start)?),
        None => Clock::system(),
    };
    let store = StoreOptions {
        durability: Durability::parse(&options.durability)?,
        max_future_us: parse_duration_us(&options.max_future)?,
        segment_bytes: options.segment_bytes,
    };
    let boot = Boot {
        network: &options.network,
        threads: options.threads,
        settings: settings_from(&[options.limits.pairs(), options.snapshots.pairs()].concat())?,
        debug: &options.enable_debug_command,
        store,
        clock,
    };
    recover_before_start(&options.recover, &options.data)?;
    let mut booted = boot.begin(&options.data)?;
    if !booted.load()? {
        return Ok(());
    }
    if let Some(repo) = &options.repo {
        print!("{}", booted.apply(repo)?);
    }
    booted.ready()?;
    let identity = &booted.app.identity;
    println!(
        "nowthen {} is ready: redis://{address}:{} and http://{address}:{}, {} keys from {} in \
         {:.2} s, durability {}",
        env!("CARGO_PKG_VERSION"),
        identity.port,
        identity.http_port,
        booted.app.store.keyspace().live_rows(Seen::Published),
        options.data.display(),
        started.elapsed().as_secs_f64(),
        options.durability,
        address = options.network.bind,
    );
    booted.serve()
}
