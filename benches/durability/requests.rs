//! The data: doubles that are a pure function of entity and feature, and the requests about them.
//!
//! Invariants
//! - Every key has the same length, so a request is written once and then only its digits change.
//! - Half of the values are rounded to four decimals, as aggregates are; half have all 17 digits.

use crate::Result;
use nowthen_protocol::{ReplyDecoder, Value, encode_request};
use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    time::Duration,
};

/// The features of a wide entity.
pub(super) const FEATURES: usize = 20;
pub(super) const ENTITIES_MAX: usize = 9_000_000;
const FIRST_ID: usize = 1_000_000;
const ID_DIGITS: usize = 7;
/// How many requests are on their way while nothing is timed.
const BATCH: usize = 128;
/// A server that says nothing for so long has lost a reply.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A request of which the entity can be changed.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    digits: Range<usize>,
}

impl Request {
    fn of(words: &[String], key: &str) -> Self {
        let mut bytes = Vec::new();
        encode_request(words, &mut bytes);
        let key = key.as_bytes();
        let at = bytes.windows(key.len()).position(|piece| piece == key).unwrap_or_default();
        let end = at + key.len();
        Self { bytes, digits: end - ID_DIGITS..end }
    }

    /// Writes `features` features of an entity with the values of `entity`.
    pub(super) fn hset(prefix: &str, entity: usize, features: usize) -> Self {
        let key = key(prefix, entity);
        let mut words = vec!["HSET".to_owned(), key.clone()];
        for feature in 0..features {
            words.extend([name(feature), value(entity, feature).to_string()]);
        }
        Self::of(&words, &key)
    }

    /// Reads the first `features` features.
    pub(super) fn hmget(prefix: &str, features: usize) -> Self {
        let key = key(prefix, 0);
        let mut words = vec!["HMGET".to_owned(), key.clone()];
        words.extend((0..features).map(name));
        Self::of(&words, &key)
    }

    /// Makes it about another entity.
    pub(super) fn set_entity(&mut self, entity: usize) {
        let mut left = FIRST_ID + entity;
        for digit in self.bytes.get_mut(self.digits.clone()).into_iter().flatten().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    }
}

/// The definitions that make `wide` a registered entity.
pub(super) fn definitions() -> String {
    let line = |feature| format!("{} = \"float64\"\n", name(feature));
    let features: String = (0..FEATURES).map(line).collect();
    format!(
        "[entity.wide]\njoin_keys = {{ id = \"int64\" }}\n\n\
         [view.wide_view]\nentity = \"wide\"\n\n[view.wide_view.features]\n{features}"
    )
}

fn key(prefix: &str, entity: usize) -> String {
    format!("{prefix}:{}", FIRST_ID + entity)
}

fn name(feature: usize) -> String {
    format!("f{feature}")
}

/// What feature `feature` of an entity is.
pub(super) fn value(entity: usize, feature: usize) -> f64 {
    let random = mix((entity * FEATURES + feature) as u64);
    if feature.is_multiple_of(2) {
        (random % 10_000_000) as f64 / 10_000.0
    } else {
        (random >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// SplitMix64: each number gives another one that looks random.
pub(super) fn mix(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    seed ^ (seed >> 31)
}

/// Writes `features` features of all entities, none of which is there.
pub(super) fn load(port: u16, prefix: &str, entities: usize, features: usize) -> Result<()> {
    let request = |entity| Request::hset(prefix, entity, features);
    ask_for_each(port, entities, request, |_, reply| match reply {
        Value::Integer(added) if added == features as i64 => Ok(()),
        other => Err(format!("HSET gave {other:?}").into()),
    })
}

/// Reads `features` features of every so many entities, and holds them against what was written.
pub(super) fn verify(port: u16, prefix: &str, entities: usize, features: usize) -> Result<()> {
    let read = Request::hmget(prefix, features);
    let request = |entity| {
        let mut read = read.clone();
        read.set_entity(entity);
        read
    };
    ask_for_each(port, entities, request, |entity, reply| verify_reply(entity, features, &reply))
}

/// Whether `reply` holds the first `features` features of `entity`.
pub(super) fn verify_reply(entity: usize, features: usize, reply: &Value) -> Result<()> {
    let Value::Array(values) = reply else { return Err(format!("{reply:?}").into()) };
    let expected = (0..features).map(|feature| Some(value(entity, feature)));
    match expected.eq(values.iter().map(Value::as_double)) {
        true => Ok(()),
        false => Err(format!("entity {entity}: the values are wrong: {values:?}").into()),
    }
}

fn ask_for_each(
    port: u16,
    entities: usize,
    request: impl Fn(usize) -> Request,
    check: impl Fn(usize, Value) -> Result<()>,
) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    let mut decoder = ReplyDecoder::default();
    let (mut received, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    for first in (0..entities).step_by(BATCH) {
        let last = entities.min(first + BATCH);
        let out: Vec<u8> = (first..last).flat_map(|entity| request(entity).bytes).collect();
        stream.write_all(&out)?;
        let mut entity = first;
        while entity < last {
            let mut used = 0;
            while let Some((reply, bytes)) =
                decoder.decode(received.get(used..).unwrap_or_default())?
            {
                check(entity, reply)?;
                used += bytes;
                entity += 1;
            }
            received.drain(..used);
            if entity < last {
                let bytes = stream.read(&mut piece)?;
                received.extend_from_slice(piece.get(..bytes).unwrap_or_default());
                if bytes == 0 {
                    return Err("the server closed the connection".into());
                }
            }
        }
    }
    Ok(())
}
