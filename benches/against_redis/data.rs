//! The data: doubles that are a pure function of entity and feature, and how they are asked for.
//!
//! Invariants
//! - Keys have the same length and no leading zero, so a request is written once and afterwards
//!   only its digits change; an `int64` join key reads them as they are.
//! - Half of the values are rounded to four decimals, as aggregates are; half have all 17 digits.
//!
//! Not here: anything timed (`load.rs`).

use crate::Result;
use nowthen_protocol::{ReplyDecoder, Value, encode_request};
use std::{
    io::{Read, Write},
    net::TcpStream,
    ops::Range,
    time::Duration,
};

pub(super) const FEATURES: usize = 50;
pub(super) const ENTITIES_MAX: usize = 9_000_000;
const FIRST_ID: usize = 1_000_000;
const ID_DIGITS: usize = 7;
const _: () = assert!(FIRST_ID + ENTITIES_MAX == 10usize.pow(ID_DIGITS as u32));
/// How many requests are on their way while nothing is timed.
const BATCH: usize = 128;

pub(super) struct Data {
    pub(super) entities: usize,
}

/// What one server answers to one width.
pub(super) struct Replies {
    /// How many bytes the reply for each entity takes: the timed loop counts, it does not parse.
    pub(super) bytes: Vec<usize>,
}

impl Data {
    /// Writes every feature of every entity with plain HSETs.
    pub(super) fn load(&self, port: u16) -> Result<()> {
        let request = |entity: usize, out: &mut Vec<u8>| {
            let mut words = vec!["HSET".to_owned(), key(entity)];
            for feature in 0..FEATURES {
                words.extend([name(feature), value(entity, feature).to_string()]);
            }
            encode_request(&words, out);
        };
        self.ask_for_each(port, request, |entity, reply, _| match reply {
            Value::Integer(FEATURES_ADDED) => Ok(()),
            other => Err(format!("HSET {} gave {other:?}", key(entity)).into()),
        })
    }

    /// Reads `width` features of every entity, and holds each value against [`value`].
    pub(super) fn verify(&self, port: u16, width: usize) -> Result<Replies> {
        let asked: Vec<usize> = read_order(width).collect();
        let mut bytes = vec![0; self.entities];
        let (read, digits) = Self::read_request(width);
        let request = |entity: usize, out: &mut Vec<u8>| {
            let start = out.len();
            out.extend_from_slice(&read);
            write_id(out.get_mut(start..).unwrap_or_default(), &digits, entity);
        };
        self.ask_for_each(port, request, |entity, reply, reply_bytes| {
            let Value::Array(values) = &reply else { return Err(format!("{reply:?}").into()) };
            let expected = asked.iter().map(|feature| Some(value(entity, *feature)));
            let values: Vec<Option<f64>> = values.iter().map(Value::as_double).collect();
            if !expected.eq(values.iter().copied()) {
                let place = format!("port {port}, {}", key(entity));
                return Err(format!("{place}: the values are wrong: {values:?}").into());
            }
            bytes.get_mut(entity).into_iter().for_each(|place| *place = reply_bytes);
            Ok(())
        })?;
        Ok(Replies { bytes })
    }

    /// A request for `width` features, and where the digits of its key stand.
    pub(super) fn read_request(width: usize) -> (Vec<u8>, Range<usize>) {
        let mut words = vec!["HMGET".to_owned(), key(0)];
        words.extend(read_order(width).map(name));
        let mut request = Vec::new();
        encode_request(&words, &mut request);
        let digits = key(0);
        let at = request.windows(digits.len()).position(|bytes| bytes == digits.as_bytes());
        let end = at.unwrap_or_default() + digits.len();
        (request, end - ID_DIGITS..end)
    }

    fn ask_for_each(
        &self,
        port: u16,
        request: impl Fn(usize, &mut Vec<u8>),
        mut check: impl FnMut(usize, Value, usize) -> Result<()>,
    ) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut decoder = ReplyDecoder::default();
        let (mut out, mut received, mut piece) = (Vec::new(), Vec::new(), vec![0; 1 << 16]);
        for first in (0..self.entities).step_by(BATCH) {
            let last = self.entities.min(first + BATCH);
            out.clear();
            (first..last).for_each(|entity| request(entity, &mut out));
            stream.write_all(&out)?;

            let mut entity = first;
            while entity < last {
                while let Some((reply, bytes)) = decoder.decode(&received)? {
                    check(entity, reply, bytes)?;
                    received.drain(..bytes);
                    entity += 1;
                }
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
}

const FEATURES_ADDED: i64 = FEATURES as i64;

/// Writes the digits of an entity's key into a request.
pub(super) fn write_id(request: &mut [u8], digits: &Range<usize>, entity: usize) {
    let mut left = FIRST_ID + entity;
    for digit in request.get_mut(digits.clone()).into_iter().flatten().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

fn key(entity: usize) -> String {
    format!("bench:{}", FIRST_ID + entity)
}

pub(super) fn name(feature: usize) -> String {
    format!("f{feature}")
}

/// A model does not ask in the order of storage: 31 and 50 share no divisor, so this meets each
/// feature once.
fn read_order(width: usize) -> impl Iterator<Item = usize> {
    (0..width).map(|index| index * 31 % FEATURES)
}

fn value(entity: usize, feature: usize) -> f64 {
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
