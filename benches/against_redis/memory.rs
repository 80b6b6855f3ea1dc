//! The memory of an entity: what a server takes more with all of them than with none, by their
//! number. Of its memory what belongs to no file: the kernel takes back the pages of files.
//!
//! Of 20 features 8 are float64, 6 int64, 4 text of few values, 2 timestamps; of 100 five times as
//! many. Their names have 18 bytes, as names of features do. Half of the doubles have four
//! decimals, half all digits; the integers are below 10 to the power of 1 to 6; the timestamps lie
//! in one year.

use crate::{
    Result,
    options::Options,
    report::{Figure, Goal, Line},
    server::Server,
};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

const AT_ONCE: u64 = 100;
/// A server may have something to put in order.
const REST: Duration = Duration::from_millis(500);
const GOAL: Goal = Goal { figure: Figure::BytesPerEntity, times: 4.0 };
const YEAR_US: u64 = 365 * 24 * 3600 * 1_000_000;
const START_US: u64 = 1_750_000_000_000_000;

/// A line for each width.
pub(super) fn compare(options: &Options) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (features, entities) in [(20, options.memory_entities), (100, options.memory_entities / 5)]
    {
        let work = format!("memory per entity, {entities} x {features} features");
        if !options.wants(&work) {
            continue;
        }
        let mut bytes = [0.0; 2];
        for (is_nowthen, bytes) in [false, true].into_iter().zip(&mut bytes) {
            let server = match is_nowthen {
                true => Server::start_nowthen()?,
                false => Server::start_redis("Redis", &[])?,
            };
            eprintln!("{work}: {}", server.name);
            *bytes = bytes_per_entity(options, &server, (entities, features))?;
        }
        lines.push(Line::of_figures(&work, GOAL, bytes));
    }
    Ok(lines)
}

fn bytes_per_entity(
    options: &Options,
    server: &Server,
    (entities, features): (u64, u64),
) -> Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    stream.set_nodelay(true)?;
    let mut replies = BufReader::new(stream.try_clone()?);
    if server.name == "nowthen" {
        stream.write_all(&request(&["FS.APPLY".into(), definitions(features)]))?;
        let applied = value_of(&mut replies)?;
        if applied.starts_with('-') {
            return Err(applied.into());
        }
    }
    let rest = if options.is_quick { REST / 10 } else { REST };
    thread::sleep(rest);
    let before = server.memory_bytes()?;
    for first in (0..entities).step_by(AT_ONCE as usize) {
        let last = entities.min(first + AT_ONCE);
        let written: Vec<u8> = (first..last).flat_map(|id| request(&hset(id, features))).collect();
        stream.write_all(&written)?;
        for _ in first..last {
            let reply = value_of(&mut replies)?;
            if reply != format!(":{features}") {
                return Err(format!("{} answered an HSET: {reply}", server.name).into());
            }
        }
    }
    thread::sleep(rest);
    Ok(server.memory_bytes()?.saturating_sub(before) as f64 / entities as f64)
}

/// The first line of a reply; what follows it in bulk strings is read and left out.
fn value_of(replies: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    replies.read_line(&mut line)?;
    let line = line.trim_end().to_owned();
    if let Some(count) = line.strip_prefix('*') {
        for _ in 0..count.parse::<usize>()? {
            value_of(replies)?;
        }
    } else if let Some(count) = line.strip_prefix('$') {
        std::io::copy(&mut replies.take(count.parse::<u64>()? + 2), &mut std::io::sink())?;
    }
    Ok(line)
}

fn request(words: &[String]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n{word}\r\n", word.len());
    }
    out.into_bytes()
}

fn type_of(feature: u64) -> &'static str {
    match feature % 20 {
        0..8 => "float64",
        8..14 => "int64",
        14..18 => "string",
        _ => "timestamp",
    }
}

fn definitions(features: u64) -> String {
    let mut text = String::from(
        "[entity.user]\njoin_keys = { id = \"int64\" }\n\n[view.profile]\nentity = \"user\"\n\n\
         [view.profile.features]\n",
    );
    for feature in 0..features {
        let _ = writeln!(text, "purchases_total_{feature:02} = \"{}\"", type_of(feature));
    }
    text
}

fn hset(entity: u64, features: u64) -> Vec<String> {
    let mut words = vec!["HSET".to_owned(), format!("user:{entity}")];
    for feature in 0..features {
        words.push(format!("purchases_total_{feature:02}"));
        let random = mix(entity * features + feature);
        words.push(match type_of(feature) {
            "float64" if feature % 2 == 0 => ((random % 10_000_000) as f64 / 10_000.0).to_string(),
            "float64" => ((random >> 11) as f64 / (1_u64 << 53) as f64).to_string(),
            "int64" => (random % 10_u64.pow((feature % 6) as u32 + 1)).to_string(),
            "string" => format!("segment_{:02}", random % 20),
            _ => (START_US + random % YEAR_US).to_string(),
        });
    }
    words
}

/// SplitMix64's output function: <https://prng.di.unimi.it/splitmix64.c>.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
