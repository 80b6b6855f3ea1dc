//! A run from beginning to end: fill, compare, load, compare, tell.

use super::{
    connection::Connection,
    fill::{compare, fill},
    measured::Measured,
    options::{BenchOptions, Tier},
    picture::percentile_curve,
    process::CpuTime,
    report::{CpuUse, Report, Server},
    wire::Wire,
    worker::{Plan, work},
    workload::Workload,
};
use crate::error::{Error, Result};
use nowthen_client::Address;
use std::{
    fs,
    panic::resume_unwind,
    thread,
    time::{Duration, Instant},
};

/// After the end, requests that were due get so much longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// For threads to get ready.
const START_IN: Duration = Duration::from_millis(20);

/// Measures, and prints what was measured. An error if the figures are not to be trusted.
pub fn bench(options: &BenchOptions) -> Result<()> {
    let usage = |why: String| Error::refused_as("USAGE", why);
    if let Some(why) = options.contradiction() {
        return Err(usage(why));
    }
    let address = Address::parse(&options.url).map_err(|it| usage(format!("--url: {it}")))?;
    // A picture that cannot be written should not be known only after the run.
    if let Some(picture) = &options.picture {
        fs::write(picture, "").map_err(Error::io("writing", picture))?;
    }

    let mut wire = Wire::open(&address)?;
    let server = server(&mut wire, options)?;
    let workload = Workload::new(options);
    if !options.no_load {
        eprintln!("writing {} entities to {address}", options.entities);
        fill(&mut wire, &workload)?;
    }
    compare(&mut wire, &workload)?;
    let (measured, cpu) = measure(options, &address, &server, workload.clone())?;

    let report = Report { options, address: address.to_string(), server, measured, cpu };
    if let Some(picture) = &options.picture {
        let series = [("reads", &report.measured.reads), ("writes", &report.measured.writes)];
        let drawn = percentile_curve(&report.title(), &series);
        fs::write(picture, drawn).map_err(Error::io("writing", picture))?;
    }
    match options.json {
        true => println!("{}", report.json()),
        false => print!("{}", report.text()),
    }
    match report.problems() {
        problems if problems.is_empty() => compare(&mut wire, &workload),
        problems => Err(Error::refused(problems.join("; "))),
    }
}

/// What the server says it is.
fn server(wire: &mut Wire, options: &BenchOptions) -> Result<Server> {
    let info = wire.command(&["INFO", "server"])?;
    let text = info.as_text().unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::to_owned)
    };
    let (name, version) = match field("nowthen_version") {
        Some(version) => ("nowthen", Some(version)),
        None => ("redis", field("redis_version")),
    };
    let told = field("process_id").and_then(|text| text.parse().ok());
    let process_id = match options.server_pid {
        Some(process_id) if CpuTime::of(process_id).is_none() => {
            return Err(Error::refused_as(
                "USAGE",
                format!("--server-pid {process_id} is no process of this machine"),
            ));
        }
        Some(process_id) => Some(process_id),
        None => told.filter(|it| wire.is_local() && CpuTime::of(*it).is_some()),
    };
    if name != "nowthen" && options.tier == Tier::Registered {
        return Err(Error::refused_as(
            "USAGE",
            format!("--tier registered needs nowthen, and this is {name}: use --tier plain"),
        ));
    }
    Ok(Server { name, version: version.unwrap_or_else(|| "?".into()), process_id })
}

fn measure(
    options: &BenchOptions,
    address: &Address,
    server: &Server,
    workload: Workload,
) -> Result<(Measured, CpuUse)> {
    let timed_from_ns = ns(options.warmup);
    let plan = Plan {
        workload,
        rate: options.rate,
        pipeline: options.pipeline,
        timed_from_ns,
        end_ns: timed_from_ns + ns(options.duration),
        is_spinning: options.spin,
        patience_ns: ns(PATIENCE),
        threads: options.threads.into(),
        address: address.to_string(),
    };
    let mut shares: Vec<Vec<Connection>> = (0..options.threads).map(|_| Vec::new()).collect();
    for index in 0..options.clients {
        let stream = Wire::open(address)?.into_stream();
        let connection = Connection::new(stream).map_err(Error::io("using", &plan.address))?;
        let share = shares.get_mut((index % options.threads) as usize);
        if let Some(share) = share {
            share.push(connection);
        }
    }

    let start = Instant::now() + START_IN;
    let plan = &plan;
    thread::scope(|scope| {
        let workers: Vec<_> = (0u64..)
            .zip(shares)
            .map(|(first, share)| scope.spawn(move || work(plan, share, first, start)))
            .collect();
        let cpu = CpuUse::between(
            server.process_id,
            start + options.warmup,
            start + options.warmup + options.duration,
        );
        let mut all = Measured::new()?;
        for worker in workers {
            all.add(worker.join().unwrap_or_else(|panic| resume_unwind(panic))?)?;
        }
        Ok((all, cpu))
    })
}

/// Options allow no more than a day.
fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 4)
}
