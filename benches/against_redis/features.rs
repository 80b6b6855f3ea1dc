//! Reads and writes of features: doubles, of which half have four decimals and half all digits.

use crate::{
    Result, in_turns,
    nowthen_bench::{CONNECTIONS, Load},
    options::Options,
    report::{Figure, Goal, Line},
    server::Server,
};
use std::collections::HashSet;

const SEED: u64 = 1;
/// More would have so many requests on their way that none is due in a moment.
const QUICK_CLIENTS: u64 = 4;
const READS: &str = "read=100,write=0";
const WRITES: &str = "read=0,write=100";
const LISTPACK_512: &[&str] = &["--hash-max-listpack-entries", "512"];
/// Rows of 200 doubles take Redis 25 KB each.
const WIDE: u64 = 200;
const WIDE_ENTITIES_MAX: u64 = 20_000;

/// One row: the work, how each does it, and the goal.
#[derive(Clone, Copy)]
struct Case {
    stored: u64,
    fields: u64,
    clients: u64,
    pipeline: u64,
    batch: u64,
    mix: &'static str,
    is_listpack: bool,
    /// How nowthen reads.
    read: &'static str,
    tier: &'static str,
    goal: Goal,
}

impl Case {
    const fn hmget(fields: u64, stored: u64, times: f64) -> Self {
        Self {
            stored,
            fields,
            clients: CONNECTIONS,
            pipeline: 16,
            batch: 1,
            mix: READS,
            is_listpack: false,
            read: "hmget",
            tier: "registered",
            goal: Goal { figure: Figure::CpuPerRequest, times },
        }
    }

    const fn plain(self) -> Self {
        Self { tier: "plain", ..self }
    }

    const fn batch(read: &'static str, clients: u64, times: f64) -> Self {
        let goal = Goal { figure: Figure::TimePerBatch, times };
        Self { clients, pipeline: 1, batch: 100, read, goal, ..Self::hmget(50, 50, times) }
    }

    fn work(&self) -> String {
        let Self { stored, fields, clients, pipeline, batch, .. } = self;
        if *batch > 1 {
            let read = self.read.to_uppercase().replace("GET-", "GET AS ");
            return format!("{batch} entities x {fields} features, {read}, {clients} clients");
        }
        let command = match self.mix {
            WRITES => format!("HSET of {stored} fields"),
            _ => format!("HMGET {fields} of {stored}"),
        };
        let pipeline = match pipeline {
            1 => "no pipeline".to_owned(),
            many => format!("{many} in a pipeline"),
        };
        let listpack = if self.is_listpack { ", listpack entries 512" } else { "" };
        format!("{command}, {pipeline}, {}{listpack}", self.tier)
    }

    fn load(&self, options: &Options, server: &Server, tier: &'static str) -> Load {
        let most = if self.stored == WIDE { WIDE_ENTITIES_MAX } else { u64::MAX };
        Load {
            port: server.port,
            process_id: server.process_id(),
            tier,
            entities: options.entities.min(most),
            features: self.stored,
            fields: self.fields,
            clients: if options.is_quick { self.clients.min(QUICK_CLIENTS) } else { self.clients },
            pipeline: self.pipeline,
            batch: self.batch,
            read: if tier == "plain" { "hmget" } else { self.read },
            mix: self.mix,
            rate: None,
            warm_up: options.warm_up,
            timed: options.timed,
        }
    }
}

const fn cases() -> [Case; 17] {
    let unpiped = Case {
        pipeline: 1,
        goal: Goal { figure: Figure::Throughput, times: 2.2 },
        ..Case::hmget(50, 50, 0.0)
    };
    let writes = Case {
        mix: WRITES,
        goal: Goal { figure: Figure::Throughput, times: 1.5 },
        ..Case::hmget(10, 10, 0.0)
    };
    [
        Case::hmget(10, 10, 2.5),
        Case::hmget(10, 10, 2.5).plain(),
        Case::hmget(50, 50, 8.0),
        Case::hmget(50, 50, 8.0).plain(),
        Case::hmget(200, WIDE, 2.5),
        Case::hmget(200, WIDE, 2.5).plain(),
        Case { is_listpack: true, ..Case::hmget(200, WIDE, 20.0) },
        Case { is_listpack: true, ..Case::hmget(200, WIDE, 20.0).plain() },
        Case::hmget(10, 50, 4.0),
        Case::hmget(10, 50, 4.0).plain(),
        unpiped,
        unpiped.plain(),
        Case::batch("fs.get-vector", 1, 15.0),
        Case::batch("fs.get-vector", 8, 15.0),
        Case::batch("fs.get-values", 1, 5.0),
        Case::batch("fs.get-values", 8, 5.0),
        writes,
    ]
}

/// A line per case.
pub(super) fn compare(options: &Options) -> Result<Vec<Line>> {
    let is_glanced_at = |case: &Case| {
        let is_narrow = case.fields < 50 && case.mix == READS;
        let is_plain_one = case.tier == "plain" && case.fields == 50 && case.pipeline > 1;
        let is_registered = case.tier == "registered" && case.clients != 8 && !is_narrow;
        is_registered || is_plain_one
    };
    let cases = cases().into_iter().filter(|case| options.wants(&case.work()));
    let cases = cases.filter(|case| !options.is_quick || is_glanced_at(case));
    let mut cases: Vec<Case> = cases.collect();
    // What is applied for one width takes the place of what was for another.
    cases.sort_by_key(|case| case.stored);
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let redis = Server::start_redis("Redis", &[])?;
    let listpack = Server::start_redis("Redis, listpack entries 512", LISTPACK_512)?;
    let nowthen = Server::start_nowthen()?;
    let mut filled = HashSet::new();
    let mut lines = Vec::new();
    for case in &cases {
        let redis = if case.is_listpack { &listpack } else { &redis };
        let sides = [(redis, "plain"), (&nowthen, case.tier)];
        for (server, tier) in sides {
            if filled.insert((server.port, tier, case.stored)) {
                eprintln!("{} features, {tier}, into {}", case.stored, server.name);
                let load = case.load(options, server, tier);
                Load { read: "hmget", clients: 1, pipeline: 1, batch: 1, mix: READS, ..load }
                    .fill()?;
            }
        }
        let [on_redis, on_nowthen] = sides.map(|(server, tier)| case.load(options, server, tier));
        let mut measure_redis = |round| on_redis.measure(SEED + round);
        let mut measure_nowthen = |round| on_nowthen.measure(SEED + round);
        let measure: [(&Server, &mut dyn FnMut(u64) -> Result<_>); 2] =
            [(redis, &mut measure_redis), (&nowthen, &mut measure_nowthen)];
        lines.push(in_turns(options, case.goal, &case.work(), measure)?);
    }
    Ok(lines)
}
