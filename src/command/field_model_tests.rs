//! Hashes with ends of keys and of fields, against a model that is only a map: every reply, and
//! everything that can be seen, with clock moves, sweeps, snapshots and restarts in between.

use super::behaviour_tests::Subject;
use crate::log::Durability;
use proptest::prelude::*;
use std::collections::BTreeMap;

const FIELDS: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: [&str; 2] = ["h", "i"];

/// Ends are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
struct Hash {
    end: Option<i64>,
    fields: BTreeMap<String, (i64, Option<i64>)>,
}

#[derive(Debug)]
struct Model {
    now: i64,
    keys: BTreeMap<String, Hash>,
}

/// What may happen; the first of the numbers say to which key and field.
#[derive(Clone, Debug)]
enum Step {
    Set(usize, usize, i64),
    SetIfNone(usize, usize, i64),
    Add(usize, usize, i64),
    Delete(usize, usize),
    /// Condition, milliseconds, two fields.
    End(usize, &'static str, i64, usize, usize),
    Persist(usize, usize),
    /// Condition, end, milliseconds.
    SetEnding(usize, &'static str, &'static str, i64, usize, i64),
    GetEnding(usize, &'static str, i64, usize),
    Take(usize, usize),
    EndKey(usize, i64),
    PersistKey(usize),
    DeleteKey(usize),
    Rename(usize),
    Copy(usize),
    Wait(i64),
    Sweep,
    Save,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let field = || 0..FIELDS.len();
    let ms = || 0..9_i64;
    let condition = prop::sample::select(vec!["", "NX", "XX", "GT", "LT"]);
    let presence = prop::sample::select(vec!["", "FNX", "FXX"]);
    let ends = || prop::sample::select(vec!["", "PX", "KEEPTTL"]);
    let get_ends = prop::sample::select(vec!["", "PX", "PERSIST"]);
    prop_oneof![
        3 => (key(), field(), ms()).prop_map(|(k, f, v)| Step::Set(k, f, v)),
        1 => (key(), field(), ms()).prop_map(|(k, f, v)| Step::SetIfNone(k, f, v)),
        2 => (key(), field(), ms()).prop_map(|(k, f, v)| Step::Add(k, f, v)),
        1 => (key(), field()).prop_map(|(k, f)| Step::Delete(k, f)),
        4 => (key(), condition, ms(), field(), field())
            .prop_map(|(k, c, ms, f, g)| Step::End(k, c, ms, f, g)),
        1 => (key(), field()).prop_map(|(k, f)| Step::Persist(k, f)),
        3 => (key(), presence, ends(), ms(), field(), ms())
            .prop_map(|(k, c, e, ms, f, v)| Step::SetEnding(k, c, e, ms, f, v)),
        2 => (key(), get_ends, ms(), field())
            .prop_map(|(k, e, ms, f)| Step::GetEnding(k, e, ms, f)),
        1 => (key(), field()).prop_map(|(k, f)| Step::Take(k, f)),
        1 => (key(), 1..20_i64).prop_map(|(k, ms)| Step::EndKey(k, ms)),
        1 => key().prop_map(Step::PersistKey),
        1 => key().prop_map(Step::DeleteKey),
        1 => key().prop_map(Step::Rename),
        1 => key().prop_map(Step::Copy),
        4 => (1..6_i64).prop_map(Step::Wait),
        2 => Just(Step::Sweep),
        1 => Just(Step::Save),
        1 => Just(Step::Restart),
    ]
}

fn null_or(value: Option<i64>) -> String {
    value.map_or_else(|| "$-1".to_owned(), |v| format!("${} {v}", v.to_string().len()))
}

impl Model {
    /// What is over is gone.
    fn pass(&mut self, ms: i64) {
        self.now += ms;
        let is_over = |end: Option<i64>| end.is_some_and(|end| end <= self.now);
        for hash in self.keys.values_mut() {
            hash.fields.retain(|_, (_, end)| !is_over(*end));
        }
        self.keys.retain(|_, hash| !is_over(hash.end) && !hash.fields.is_empty());
    }

    fn field(&mut self, key: usize, field: usize) -> Option<&mut (i64, Option<i64>)> {
        self.keys.get_mut(KEYS[key])?.fields.get_mut(FIELDS[field])
    }

    fn set(&mut self, key: usize, field: usize, value: i64, end: Option<i64>) {
        let hash = self.keys.entry(KEYS[key].to_owned()).or_default();
        hash.fields.insert(FIELDS[field].to_owned(), (value, end));
    }

    fn delete(&mut self, key: usize, field: usize) -> Option<i64> {
        let value = self.keys.get_mut(KEYS[key])?.fields.remove(FIELDS[field])?.0;
        self.pass(0);
        Some(value)
    }

    fn end(&mut self, key: usize, field: usize, condition: &str, at: i64) -> i64 {
        let now = self.now;
        let Some((_, end)) = self.field(key, field) else { return -2 };
        let is_met = match (condition, *end) {
            ("", _) | ("NX" | "LT", None) | ("XX", Some(_)) => true,
            ("GT", Some(end)) => at > end,
            ("LT", Some(end)) => at < end,
            _ => false,
        };
        if !is_met {
            return 0;
        }
        if at <= now {
            self.delete(key, field);
            return 2;
        }
        *end = Some(at);
        1
    }

    /// The command of a step and its reply.
    fn field_step(&mut self, step: &Step) -> Option<(String, String)> {
        let old = |model: &mut Self, k, f| model.field(k, f).copied();
        Some(match *step {
            Step::Set(k, f, v) => {
                let is_new = old(self, k, f).is_none();
                self.set(k, f, v, None);
                (format!("HSET {} {} {v}", KEYS[k], FIELDS[f]), format!(":{}", i64::from(is_new)))
            }
            Step::SetIfNone(k, f, v) => {
                let is_new = old(self, k, f).is_none();
                if is_new {
                    self.set(k, f, v, None);
                }
                (format!("HSETNX {} {} {v}", KEYS[k], FIELDS[f]), format!(":{}", i64::from(is_new)))
            }
            Step::Add(k, f, count) => {
                let (value, end) = old(self, k, f).unwrap_or_default();
                self.set(k, f, value + count, end);
                (
                    format!("HINCRBY {} {} {count}", KEYS[k], FIELDS[f]),
                    format!(":{}", value + count),
                )
            }
            Step::Delete(k, f) => {
                let count = i64::from(self.delete(k, f).is_some());
                (format!("HDEL {} {}", KEYS[k], FIELDS[f]), format!(":{count}"))
            }
            Step::Take(k, f) => {
                let value = null_or(self.delete(k, f));
                (format!("HGETDEL {} FIELDS 1 {}", KEYS[k], FIELDS[f]), format!("*1 {value}"))
            }
            Step::End(k, condition, ms, f, g) => {
                let at = self.now + ms;
                let codes = [f, g].map(|field| self.end(k, field, condition, at));
                let (key, f, g) = (KEYS[k], FIELDS[f], FIELDS[g]);
                let line = format!("HPEXPIRE {key} {ms} {condition} FIELDS 2 {f} {g}");
                (line, format!("*2 :{} :{}", codes[0], codes[1]))
            }
            Step::Persist(k, f) => {
                let code = match self.field(k, f) {
                    None => -2,
                    Some((_, end)) => end.take().map_or(-1, |_| 1),
                };
                (format!("HPERSIST {} FIELDS 1 {}", KEYS[k], FIELDS[f]), format!("*1 :{code}"))
            }
            _ => return None,
        })
    }

    fn ending_step(&mut self, step: &Step) -> Option<(String, String)> {
        Some(match *step {
            Step::SetEnding(k, condition, end, ms, f, v) => {
                let (standing, at) = (self.field(k, f).copied(), self.now + ms);
                let is_met = match condition {
                    "FNX" => standing.is_none(),
                    "FXX" => standing.is_some(),
                    _ => true,
                };
                if is_met && end == "PX" && ms == 0 {
                    self.delete(k, f);
                } else if is_met {
                    let kept = standing.and_then(|(_, end)| end);
                    let px = (end == "PX").then_some(at);
                    self.set(k, f, v, if end == "KEEPTTL" { kept } else { px });
                }
                let end = if end == "PX" { format!("PX {ms}") } else { end.to_owned() };
                let (key, field) = (KEYS[k], FIELDS[f]);
                let line = format!("HSETEX {key} {condition} {end} FIELDS 1 {field} {v}");
                (line, format!(":{}", i64::from(is_met)))
            }
            Step::GetEnding(k, end, ms, f) => {
                let (standing, at) = (self.field(k, f).copied(), self.now + ms);
                if end == "PX" {
                    self.end(k, f, "", at);
                } else if let (Some((_, standing)), "PERSIST") = (self.field(k, f), end) {
                    *standing = None;
                }
                let end = if end == "PX" { format!("PX {ms}") } else { end.to_owned() };
                let line = format!("HGETEX {} {end} FIELDS 1 {}", KEYS[k], FIELDS[f]);
                (line, format!("*1 {}", null_or(standing.map(|(value, _)| value))))
            }
            _ => return None,
        })
    }

    fn key_step(&mut self, step: &Step) -> Option<(String, String)> {
        let (now, other) = (self.now, |k: usize| KEYS[1 - k]);
        Some(match *step {
            Step::EndKey(k, ms) => {
                let hash = self.keys.get_mut(KEYS[k]);
                let count = i64::from(hash.map(|hash| hash.end = Some(now + ms)).is_some());
                (format!("PEXPIRE {} {ms}", KEYS[k]), format!(":{count}"))
            }
            Step::PersistKey(k) => {
                let end = self.keys.get_mut(KEYS[k]).and_then(|hash| hash.end.take());
                (format!("PERSIST {}", KEYS[k]), format!(":{}", i64::from(end.is_some())))
            }
            Step::DeleteKey(k) => {
                let count = i64::from(self.keys.remove(KEYS[k]).is_some());
                (format!("DEL {}", KEYS[k]), format!(":{count}"))
            }
            Step::Rename(k) => {
                let hash = self.keys.remove(KEYS[k]);
                let reply = if hash.is_some() { "+OK" } else { "-ERR no such key" };
                self.keys.extend(hash.map(|hash| (other(k).to_owned(), hash)));
                (format!("RENAME {} {}", KEYS[k], other(k)), reply.to_owned())
            }
            Step::Copy(k) => {
                let hash = self.keys.get(KEYS[k]).cloned();
                let count = i64::from(hash.is_some());
                self.keys.extend(hash.map(|hash| (other(k).to_owned(), hash)));
                (format!("COPY {} {} REPLACE", KEYS[k], other(k)), format!(":{count}"))
            }
            _ => return None,
        })
    }
}

/// Everything that can be seen of a key, of the model and of the server.
fn compare(subject: &mut Subject, model: &Model) {
    for key in KEYS {
        let hash = model.keys.get(key);
        let reply = subject.ask(&format!("HGETALL {key}"));
        let words: Vec<&str> = reply.split(' ').skip(2).step_by(2).collect();
        let mut seen: Vec<&[&str]> = words.chunks(2).collect();
        seen.sort_unstable();
        let fields = hash.map(|hash| hash.fields.clone()).unwrap_or_default();
        let expected: Vec<[String; 2]> =
            fields.iter().map(|(name, (value, _))| [name.clone(), value.to_string()]).collect();
        assert_eq!(seen, expected, "{key} at {}", model.now);
        let code = |end: Option<Option<i64>>| end.map_or(-2, |end| end.unwrap_or(-1));
        let end = |name: &&str| format!(":{}", code(fields.get(*name).map(|(_, end)| *end)));
        let ends: Vec<String> = FIELDS.iter().map(end).collect();
        let fields = FIELDS.join(" ");
        subject.check(&[
            (&format!("HPEXPIRETIME {key} FIELDS 4 {fields}"), &format!("*4 {}", ends.join(" "))),
            (&format!("PEXPIRETIME {key}"), &format!(":{}", code(hash.map(|hash| hash.end)))),
            (&format!("HLEN {key}"), &format!(":{}", expected.len())),
            (&format!("EXISTS {key}"), &format!(":{}", i64::from(hash.is_some()))),
        ]);
    }
}

/// `filling` more fields make a large hash of the first key.
fn run(durability: Durability, filling: usize, steps: &[Step]) {
    let mut subject = Subject::with(durability);
    let mut model = Model { now: 1_000, keys: BTreeMap::new() };
    if filling > 0 {
        let names: Vec<String> = (0..filling).map(|i| format!("z{i}")).collect();
        subject.ask(&format!("HSET h {} 0", names.join(" 0 ")));
        let fields = names.into_iter().map(|name| (name, (0, None))).collect();
        model.keys.insert("h".to_owned(), Hash { end: None, fields });
    }
    for step in steps {
        let asked = model.field_step(step).or_else(|| model.ending_step(step));
        if let Some((line, reply)) = asked.or_else(|| model.key_step(step)) {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(subject.ask(&line), reply, "{line} at {}", model.now);
        }
        match step {
            Step::Wait(ms) => {
                subject.wait_us(ms * 1_000);
                model.pass(*ms);
            }
            Step::Sweep => {
                subject.sweep();
                assert_eq!(subject.ask("DBSIZE"), format!(":{}", model.keys.len()));
            }
            Step::Save => assert_eq!(subject.ask("SAVE"), "+OK"),
            Step::Restart => subject.restart(),
            _ => {}
        }
        compare(&mut subject, &model);
    }
    subject.restart();
    compare(&mut subject, &model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn hashes_are_what_maps_are(steps in prop::collection::vec(step(), 1..60)) {
        run(Durability::Never, 0, &steps);
    }

    #[test]
    fn large_hashes_are_what_maps_are(steps in prop::collection::vec(step(), 1..60)) {
        run(Durability::Never, 70, &steps);
    }

    #[test]
    fn hashes_that_wait_for_their_syncs_are_what_maps_are(
        filling in prop::sample::select(vec![0, 70]),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(Durability::Always, filling, &steps);
    }
}
