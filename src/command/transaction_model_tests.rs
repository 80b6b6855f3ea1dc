//! Random transactions against the same commands one by one: MULTI and EXEC, a sync to wait for,
//! snapshots, restarts and power cuts change nothing that can be seen. And the counters are what
//! a count of the rows says.

use super::behaviour_tests::{Subject, USERS};
use crate::{disk::Cut, log::Durability, online::Seen};
use proptest::prelude::*;

const KEYS: [&str; 3] = ["a", "b", "user:1"];
const COMMANDS: [&str; 29] = [
    "SET K V",
    "SET K V PX M",
    "SET K V KEEPTTL",
    "INCR K",
    "APPEND K V",
    "GETDEL K",
    "GETEX K PX M",
    "HSET K f V",
    "HSET K g V",
    "HSET K f V g V",
    "HINCRBY K f V",
    "HSETNX K f V",
    "HDEL K f",
    "HDEL K g f",
    "HPEXPIRE K M FIELDS 1 f",
    "HPEXPIRE K M FIELDS 2 g f",
    "HPERSIST K FIELDS 1 f",
    "HSETEX K PX M FIELDS 1 g V",
    "HGETEX K PX M FIELDS 1 f",
    "HGETDEL K FIELDS 1 f",
    "PEXPIRE K M",
    "PERSIST K",
    "DEL K",
    "DEL K user:01 a",
    "RENAME K L",
    "COPY K L REPLACE",
    "MSET K V L V K V",
    "FS.SET v EVENT T ROWS 2 FEATURES 1 f 1 V 01 V",
    "FLUSHALL",
];
const READS: [&str; 5] = ["TYPE K", "HGETALL K", "HLEN K", "GET K", "PEXPIRETIME K"];

#[derive(Clone, Debug)]
enum Step {
    /// Commands in one transaction.
    Run(Vec<(usize, usize, usize, u8)>),
    Wait(i64),
    Sweep,
    Save,
    Restart,
    PowerCut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let places = COMMANDS.len() + READS.len();
    let command = (0..places, 0..KEYS.len(), 0..KEYS.len(), 0..9_u8);
    prop_oneof![
        8 => prop::collection::vec(command, 1..7).prop_map(Step::Run),
        3 => (1..6_i64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::Save),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

fn line((command, key, other, number): (usize, usize, usize, u8), now_ms: i64) -> String {
    let command = COMMANDS.iter().chain(&READS).nth(command).unwrap();
    let time = format!("1970-01-01T00:00:01.{:03}Z", now_ms - 1_000 + i64::from(number) - 3);
    let word = |word: &str| match word {
        "K" => KEYS[key].to_owned(),
        "L" => KEYS[other].to_owned(),
        "V" => number.to_string(),
        "M" => (number + 1).to_string(),
        "T" => time.clone(),
        word => word.to_owned(),
    };
    command.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn sorted(reply: &str) -> Vec<String> {
    let mut words: Vec<String> = reply.split(' ').map(str::to_owned).collect();
    words.sort_unstable();
    words
}

/// The replies to `lines` in one transaction are those to each alone.
fn run(subject: &mut Subject, alone: &mut Subject, lines: &[String]) {
    subject.check(&[("MULTI", "+OK")]);
    for line in lines {
        subject.check(&[(line, "+QUEUED")]);
    }
    let expected: Vec<String> = lines.iter().map(|line| alone.ask(line)).collect();
    let expected = format!("*{} {}", lines.len(), expected.join(" "));
    // Fields come in any order.
    assert_eq!(sorted(&subject.ask("EXEC")), sorted(&expected), "{lines:?}");
}

fn compare(subject: &mut Subject, alone: &mut Subject) {
    for key in KEYS {
        let lines = ["TYPE K", "HGETALL K", "GET K", "HLEN K", "PEXPIRETIME K"];
        let ends = "HPEXPIRETIME K FIELDS 2 f g";
        for line in lines.into_iter().chain([ends]) {
            let line = line.replace('K', key);
            assert_eq!(sorted(&subject.ask(&line)), sorted(&alone.ask(&line)), "{line}");
        }
    }
    assert_eq!(sorted(&subject.ask("KEYS *")), sorted(&alone.ask("KEYS *")));
    for subject in [subject, alone] {
        let (mut bytes, mut live, mut expiring, mut cursor) = (0, 0, 0, 0);
        loop {
            let step = subject.app.store.keyspace().scan(cursor, 100, Seen::Published, |row| {
                bytes += row.memory_bytes();
                live += usize::from(row.has_value());
                expiring += usize::from(row.expires_at().is_some());
            });
            cursor = step.cursor;
            if cursor == 0 {
                break;
            }
        }
        let keys = subject.app.store.keyspace();
        let told = (keys.row_bytes(), keys.live_rows(Seen::Published), keys.expiring_rows());
        assert_eq!(told, (bytes, live, expiring));
    }
}

fn session(durability: Durability, filling: usize, steps: &[Step]) {
    let (mut subject, mut alone) = (Subject::with(durability), Subject::with(Durability::Never));
    let mut now_ms = 1_000;
    for subject in [&mut subject, &mut alone] {
        subject.apply(USERS);
        if filling > 0 {
            let fields: String = (0..filling).map(|i| format!(" z{i} 0")).collect();
            subject.ask(&format!("HSET a{fields}"));
        }
    }
    for step in steps {
        match step {
            Step::Run(commands) => {
                let lines: Vec<_> = commands.iter().map(|each| line(*each, now_ms)).collect();
                run(&mut subject, &mut alone, &lines);
            }
            Step::Wait(ms) => {
                now_ms += ms;
                subject.wait_us(ms * 1_000);
                alone.wait_us(ms * 1_000);
            }
            Step::Sweep => drop(subject.sweep()),
            Step::Save => assert_eq!(subject.ask("SAVE"), "+OK"),
            Step::Restart => subject.restart(),
            Step::PowerCut(seed) if durability == Durability::Always => {
                subject.crash(*seed, Cut::Power);
            }
            Step::PowerCut(_) => {}
        }
        compare(&mut subject, &mut alone);
    }
    subject.restart();
    compare(&mut subject, &mut alone);
}

/// So many cases: 60, or what this variable says.
const CASES: &str = "NOWTHEN_MODEL_CASES";

fn cases() -> u32 {
    std::env::var(CASES).ok().and_then(|cases| cases.parse().ok()).unwrap_or(60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_transaction_is_its_commands_one_by_one(
        durability in prop::sample::select(vec![Durability::Never, Durability::Always]),
        filling in prop::sample::select(vec![0, 0, 70]),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        session(durability, filling, &steps);
    }
}
