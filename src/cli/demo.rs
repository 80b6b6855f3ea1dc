//! `nowthen demo`: the whole path on the New York flights of 2013.
//!
//! The data are of 2013, and a TTL of six hours hides them today. So the clock of the demo starts
//! at noon (UTC) of 4 July 2013 and runs on from there: what is served is what was known then, and
//! as it runs, later observations come due.

use super::{boot::Boot, options::DemoOptions};
use crate::{
    command::settings_from,
    error::{Error, Result},
    feature::{Run, Timestamp},
    materialize::{Request, quiet},
    store::{Clock, StoreOptions},
};
use std::path::PathBuf;

/// Applies, materializes, serves, and prints what to try.
pub fn demo(options: &DemoOptions) -> Result<()> {
    if !options.repo.join("data").is_dir() {
        return Err(Error::refused(format!(
            "{} holds no data: run the demo in the folder of the project, or name its flights \
             with --repo examples/flights",
            options.repo.display()
        )));
    }
    let data = options.data.clone().map_or_else(new_folder, Ok)?;
    let start = Timestamp::parse(&options.clock_start)?;
    let store = StoreOptions::default();
    let boot = Boot {
        network: &options.network,
        threads: 0,
        settings: settings_from(&[])?,
        debug: "no",
        store,
        clock: Clock::starting_at(start),
    };
    let mut booted = boot.begin(&data)?;
    if !booted.load()? {
        return Ok(());
    }
    println!("1. apply the definitions in {}", options.repo.display());
    print!("{}", indented(&booted.apply(&options.repo)?));
    println!("2. materialize: the newest rows as of {} go online", booted.app.store.now().to_iso());
    for view in booted.app.materializer.sourced_views() {
        let request = Request { view, from: None, to: None };
        let run = booted.app.materializer.begin(&request)?.finish(&quiet)?;
        println!("   {}", run_line(&run));
    }
    println!("3. serve; the clock stands at {} and runs", booted.app.store.now().to_iso());
    println!("{}", things_to_try(options, booted.app.identity.port, booted.app.identity.http_port));
    println!("Data are in {}. Stop with Ctrl-C.", data.display());
    booted.ready()?;
    booted.serve()
}

fn new_folder() -> Result<PathBuf> {
    let mut seed = [0; 4];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::refused(format!("no random numbers: {error}")))?;
    let name = format!("nowthen-demo-{:08x}", u32::from_le_bytes(seed));
    Ok(std::env::temp_dir().join(name))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}\n")).collect()
}

fn run_line(run: &Run) -> String {
    format!(
        "{}: {} rows read, {} entities written, {} rows still ahead",
        run.view, run.rows_read, run.entities_written, run.rows_ahead
    )
}

/// Three commands that work when pasted.
fn things_to_try(options: &DemoOptions, port: u16, http_port: u16) -> String {
    let repo = options.repo.display();
    let at = if port == 6379 { String::new() } else { format!(" -p {port}") };
    let body = r#"{"feature_service":"delay_model",
    "entities":{"origin":["JFK","LGA"],"tailnum":["N228JB","N14228"]}}"#;
    format!(
        "\nTry, in another terminal:\n\n  \
         redis-cli{at} HMGET airport:JFK temp wind_speed visib\n\n  \
         curl -s http://127.0.0.1:{http_port}/get-online-features -d '{body}'\n\n  \
         cargo run --release -- asof --repo {repo} --service delay_model \\\n    \
         --spine {repo}/data/flights.parquet --out training.parquet\n"
    )
}
