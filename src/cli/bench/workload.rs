//! What each request asks: a function of its number and the seed, so that threads need not agree
//! on anything, and a run can be repeated.
//!
//! ```text
//! number, seed --> read or write, entities --> bytes        a read is written once, and
//!                                                           afterwards only digits change
//! ```

use super::{
    data::{Data, ID_DIGITS, JOIN_KEY, feature_name, id},
    options::{BenchOptions, Mix, ReadCommand},
    random::{Entities, Random},
};
use nowthen_protocol::{
    Value, encode_request,
    vector::{VectorFrame, VectorStatus},
};

/// A model does not ask in the order of storage: features are asked for in steps of about this.
const STEP: u32 = 31;
const PERCENT: u64 = 100;

/// Whatever is asked.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) data: Data,
    pub(super) mix: Mix,
    entities: Entities,
    seed: u64,
    batch: u32,
    read: ReadTemplate,
}

/// A request as it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) is_write: bool,
    pub(super) replies: u32,
}

/// A read whose entities are still to be filled in.
#[derive(Clone, Debug)]
struct ReadTemplate {
    command: ReadCommand,
    features: Vec<u32>,
    bytes: Vec<u8>,
    /// Where the digits of each entity begin.
    places: Vec<usize>,
}

impl Workload {
    pub(super) fn new(options: &BenchOptions) -> Self {
        let data = Data::new(options.entities, options.features, options.tier);
        Self {
            entities: Entities::new(options.entities, options.keys),
            read: ReadTemplate::new(&data, options.read, options.fields(), options.batch),
            data,
            mix: options.mix,
            seed: options.seed,
            batch: options.batch,
        }
    }

    /// Whether request `number` writes.
    pub(super) fn is_write(&self, number: u64) -> bool {
        self.draws_write(&mut Random::new(self.seed, number))
    }

    fn draws_write(&self, random: &mut Random) -> bool {
        random.below(PERCENT) >= self.mix.read_percent
    }

    /// Appends request `number`.
    pub(super) fn write_request(&self, number: u64, out: &mut Vec<u8>) -> Sent {
        let mut random = Random::new(self.seed, number);
        if !self.draws_write(&mut random) {
            self.write_read(out, || self.entities.draw(&mut random));
            return Sent { is_write: false, replies: self.read_replies() };
        }
        for _ in 0..self.batch {
            self.data.write_hset(self.entities.draw(&mut random), out);
        }
        Sent { is_write: true, replies: self.batch }
    }

    /// Appends a read of entities that `next` gives, one after the other.
    pub(super) fn write_read(&self, out: &mut Vec<u8>, mut next: impl FnMut() -> u64) {
        let start = out.len();
        out.extend_from_slice(&self.read.bytes);
        for place in &self.read.places {
            let digits = out.get_mut(start + place..).unwrap_or_default();
            let mut left = id(next());
            for digit in digits.iter_mut().take(ID_DIGITS).rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
    }

    /// How many entities a read is about.
    pub(super) fn batch(&self) -> u32 {
        self.batch
    }

    /// How many replies a read has.
    pub(super) fn read_replies(&self) -> u32 {
        match self.read.command {
            ReadCommand::Hmget => self.batch,
            ReadCommand::FsGetValues | ReadCommand::FsGetVector => 1,
        }
    }

    /// Whether `replies` to a read hold what was written of `entities`.
    pub(super) fn is_right(&self, entities: &[u64], replies: &[Value]) -> bool {
        let found: Option<Vec<f64>> = match self.read.command {
            ReadCommand::Hmget => numbers_of_rows(replies),
            ReadCommand::FsGetValues => match replies {
                [Value::Array(rows)] => numbers_of_rows(rows),
                _ => None,
            },
            ReadCommand::FsGetVector => match replies {
                [Value::Bulk(bytes)] => numbers_of_matrix(bytes),
                _ => None,
            },
        };
        let expected = entities.iter().flat_map(|entity| {
            self.read.features.iter().map(|feature| self.data.value(*entity, *feature))
        });
        found.is_some_and(|found| expected.eq(found))
    }
}

fn numbers_of_rows(rows: &[Value]) -> Option<Vec<f64>> {
    let mut numbers = Vec::new();
    for row in rows {
        let Value::Array(row) = row else { return None };
        for value in row {
            numbers.push(value.as_double()?);
        }
    }
    Some(numbers)
}

fn numbers_of_matrix(bytes: &[u8]) -> Option<Vec<f64>> {
    let frame = VectorFrame::decode(bytes).ok()?;
    let are_there = frame.statuses().all(|status| status == VectorStatus::Present);
    are_there.then(|| frame.f64s().collect())
}

impl ReadTemplate {
    fn new(data: &Data, command: ReadCommand, fields: u32, batch: u32) -> Self {
        let features = read_order(fields, data.features);
        let mut template = Self { command, features, bytes: Vec::new(), places: Vec::new() };
        match command {
            ReadCommand::Hmget => (0..batch).for_each(|_| template.push_hmget(data)),
            ReadCommand::FsGetValues => template.push_fs_get(data, batch, "VALUES"),
            ReadCommand::FsGetVector => template.push_fs_get(data, batch, "VECTOR"),
        }
        template
    }

    fn push_hmget(&mut self, data: &Data) {
        let start = self.bytes.len();
        let key = data.key(0);
        let mut words = vec!["HMGET".to_owned(), key.clone()];
        words.extend(self.features.iter().map(|feature| feature_name(*feature)));
        encode_request(&words, &mut self.bytes);
        let written = self.bytes.get(start..).unwrap_or_default();
        let at = written.windows(key.len()).position(|piece| piece == key.as_bytes());
        self.places.push(start + at.unwrap_or(0) + key.len() - ID_DIGITS);
    }

    fn push_fs_get(&mut self, data: &Data, batch: u32, shape: &str) {
        let view = data.view_name();
        let mut words = vec!["FS.GET".to_owned(), "FEATURES".to_owned()];
        words.push(self.features.len().to_string());
        words.extend(self.features.iter().map(|it| format!("{view}:{}", feature_name(*it))));
        words.extend(["FOR", "1", JOIN_KEY, "ROWS"].map(str::to_owned));
        words.push(batch.to_string());
        let id_argument = |id: u64| format!("${ID_DIGITS}\r\n{id}\r\n");
        words.extend((0..batch).map(|_| id(0).to_string()));
        let tail = ["AS".to_owned(), shape.to_owned()];
        words.extend(tail.iter().cloned());
        encode_request(&words, &mut self.bytes);

        // From the end: the two last words, and before them the rows, all equally long.
        let tail_bytes: usize = tail.iter().map(|word| bulk_bytes(word)).sum();
        let row_bytes = id_argument(id(0)).len();
        let first = self.bytes.len() - tail_bytes - row_bytes * batch as usize;
        let digits_at = row_bytes - ID_DIGITS - "\r\n".len();
        self.places.extend((0..batch as usize).map(|row| first + row * row_bytes + digits_at));
    }
}

/// How many bytes a word takes in a request.
fn bulk_bytes(word: &str) -> usize {
    format!("${}\r\n{word}\r\n", word.len()).len()
}

/// Which features are asked for, in which order: by steps that meet each once.
fn read_order(fields: u32, features: u32) -> Vec<u32> {
    let step = (STEP..).find(|step| greatest_common_divisor(*step, features) == 1);
    let step = u64::from(step.unwrap_or(1));
    let place = |index: u32| (u64::from(index) * step) % u64::from(features.max(1));
    (0..fields).filter_map(|index| u32::try_from(place(index)).ok()).collect()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::{data::feature_name, options::Tier};
    use clap::Parser;
    use nowthen_protocol::{Parsed, RequestLimits, RequestParser};
    use std::collections::BTreeSet;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: BenchOptions,
    }

    fn workload(arguments: &str) -> Workload {
        let words = std::iter::once("bench").chain(arguments.split_whitespace());
        Workload::new(&Line::parse_from(words).options)
    }

    /// The requests in `bytes`, as words.
    fn words(mut bytes: &[u8]) -> Vec<Vec<String>> {
        let mut requests = Vec::new();
        while !bytes.is_empty() {
            let mut parser = RequestParser::new(RequestLimits::default());
            let Parsed { consumed, .. } = parser.parse(bytes).unwrap().unwrap();
            let arguments = parser.arguments(bytes);
            let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
            requests.push(arguments.iter().map(text).collect());
            bytes = &bytes[consumed..];
        }
        requests
    }

    #[test]
    fn a_read_asks_for_the_entities_it_should() {
        let mut entities = [8_999_999, 0, 42].into_iter();
        let load = workload("--entities 9000000 --features 3 --fields 2 --batch 3");
        let mut out = b"before".to_vec();
        load.write_read(&mut out, || entities.next().unwrap());
        let ids = [9_999_999, 1_000_000, 1_000_042];
        let asked = ids.map(|id| vec!["HMGET".into(), format!("bench_plain3:{id}"), "f0".into()]);
        let mut sent = words(&out["before".len()..]);
        let seconds: Vec<String> = sent.iter_mut().filter_map(Vec::pop).collect();
        assert_eq!(sent, asked);
        assert_eq!(seconds, ["f1", "f1", "f1"]);

        let load = workload("--features 2 --batch 2 --tier registered --read fs.get-vector");
        let (mut entities, mut out) = ([5, 6].into_iter(), Vec::new());
        load.write_read(&mut out, || entities.next().unwrap());
        assert_eq!(
            words(&out).concat().join(" "),
            "FS.GET FEATURES 2 bench_typed2_view:f0 bench_typed2_view:f1 FOR 1 id ROWS 2 \
             1000005 1000006 AS VECTOR"
        );
    }

    #[test]
    fn features_are_each_asked_for_once_and_not_in_order() {
        for features in [1, 2, 20, 31, 62, 1_000] {
            let order = read_order(features, features);
            assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), features as usize);
        }
        assert_eq!(read_order(3, 50), [0, 31, 12]);
    }

    #[test]
    fn the_mix_is_kept_and_a_number_gives_the_same_request_again() {
        let load = workload("--mix read=95,write=5 --features 2 --entities 1000 --keys zipf");
        let mut writes = 0;
        for number in 0..10_000 {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            let sent = load.write_request(number, &mut one);
            assert_eq!(sent.is_write, load.is_write(number));
            writes += u32::from(sent.is_write);
            load.write_request(number, &mut other);
            assert_eq!(one, other);
        }
        assert!((420..=580).contains(&writes), "{writes} of 10000");
    }

    #[test]
    fn a_reply_is_held_against_every_value() {
        let load = workload("--features 4 --fields 2 --batch 2");
        let data = Data::new(100_000, 4, Tier::Plain);
        let text = |value: f64| Value::Bulk(value.to_string().into_bytes());
        let row = |entity: u64| {
            let values = load.read.features.iter().map(|it| text(data.value(entity, *it)));
            Value::Array(values.collect())
        };
        assert!(load.is_right(&[3, 9], &[row(3), row(9)]));
        assert!(!load.is_right(&[3, 9], &[row(9), row(3)]));
        assert!(!load.is_right(&[3, 9], &[row(3)]));
        assert!(!load.is_right(&[3, 9], &[row(3), Value::Array(vec![Value::Null, Value::Null])]));
        let hset = {
            let mut out = Vec::new();
            data.write_hset(3, &mut out);
            words(&out).concat()
        };
        assert_eq!(hset[..3], ["HSET".to_owned(), data.key(3), feature_name(0)]);
        assert_eq!(hset[3].parse::<f64>().unwrap(), data.value(3, 0));
        assert_eq!(hset.len(), 2 + 2 * 4);
    }
}
