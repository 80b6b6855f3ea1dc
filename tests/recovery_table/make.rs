//! Makes golden directories: lets a store write, ends it, damages what it left.
//!
//! Invariants
//! - What is expected of a damaged directory follows from the damage that was done, never from what
//!   a start said.
//! - A directory that is there is never written anew.

use super::{
    golden::{Expected, contents, copy, of_this_version},
    subject::Subject,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The time at which everything is written.
const NOON: &str = "2026-01-01T12:00:00Z";

/// Makes a data directory, and tells what opening it must give.
type Make = fn(&Path) -> Expected;

/// Every golden directory, and who makes it.
pub(crate) const ALL: &[(&str, Make)] = &[
    ("whole", whole),
    ("history", history),
    ("sealed_segment_damaged", sealed_segment_damaged),
    ("zeros_after_a_valid_frame", zeros_after_a_valid_frame),
    ("torn_tail", torn_tail),
    ("bad_frame_proven_durable", bad_frame_proven_durable),
    ("damage_before_a_clean_footer", damage_before_a_clean_footer),
    ("damage_behind_a_clean_footer", damage_behind_a_clean_footer),
    ("missing_segment", missing_segment),
    ("missing_first_segment", missing_first_segment),
    ("missing_last_segment", missing_last_segment),
    ("older_manifest", older_manifest),
    ("mixed_snapshot_generations", mixed_snapshot_generations),
    ("damaged_snapshot", damaged_snapshot),
    ("another_store", another_store),
    ("unknown_version", unknown_version),
    ("unknown_feature_bit", unknown_feature_bit),
];

/// Makes what this version lacks; the names of what it made.
pub(crate) fn make_missing() -> Vec<&'static str> {
    let mut made = Vec::new();
    for (name, make) in ALL {
        let folder = of_this_version().join(name);
        if folder.exists() {
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        let expected = make(&data);
        copy(scratch.path(), &folder);
        fs::write(folder.join("expected.txt"), expected.to_text()).unwrap();
        made.push(*name);
    }
    made
}

/// Nine records in three segments: keys 1 to 9, each its own number.
fn nine_records(data: &Path, is_closed: bool) {
    let mut subject = Subject::open(data, NOON).unwrap();
    (1..=9).for_each(|n| subject.tell(&format!("SET key:{n} {n}")));
    if is_closed {
        subject.close();
    }
    write_state(data, &[1, 2, 3, 4, 5, 6, 7, 8, 9].map(|n| (n, true)));
}

/// What the keys are after a start.
fn write_state(data: &Path, keys: &[(u64, bool)]) {
    let line = |(n, is_there): &(u64, bool)| match is_there {
        true => format!("> GET key:{n}\n$1 {n}\n"),
        false => format!("> GET key:{n}\n$-1\n"),
    };
    let text: String = keys.iter().map(line).collect();
    let size = keys.iter().filter(|(_, is_there)| *is_there).count();
    let text = format!("{text}> DBSIZE\n:{size}\n");
    fs::write(data.with_file_name("state.txt"), text).unwrap();
}

fn segment(number: u64) -> String {
    format!("log/wal-{number:020}.log")
}

/// Where the frames of a segment begin.
fn frames(data: &Path, number: u64) -> Vec<usize> {
    let bytes = fs::read(data.join(segment(number))).unwrap();
    let starts = (512..bytes.len()).step_by(512);
    starts.filter(|start| bytes[*start..].starts_with(b"NTwf")).collect()
}

fn damage(path: PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn stop(says: &[&str]) -> Expected {
    Expected::Stop { says: says.iter().map(|text| (*text).to_owned()).collect() }
}

fn sealed_segment_damaged(data: &Path) -> Expected {
    nine_records(data, false);
    let at = frames(data, 2)[2]; // of record 7
    damage(data.join(segment(2)), |bytes| bytes[at + 70] ^= 0x10);
    stop(&[&format!("{} is damaged at byte {at}:", segment(2)), "LSN 7 to 8 are lost"])
}

fn zeros_after_a_valid_frame(data: &Path) -> Expected {
    nine_records(data, false);
    assert_eq!(frames(data, 3).len(), 1, "a record, and zeros behind it");
    Expected::Open { last_lsn: 9, says: Vec::new(), aside: Vec::new() }
}

fn torn_tail(data: &Path) -> Expected {
    let mut subject = Subject::open(data, NOON).unwrap();
    (1..=10).for_each(|n| subject.tell(&format!("SET key:{n} {n}")));
    drop(subject);
    write_state(data, &[(9, true), (10, false), (1, true)]);
    let state: Vec<(u64, bool)> = (1..=10).map(|n| (n, n < 10)).collect();
    write_state(data, &state);
    let at = frames(data, 3)[1];
    damage(data.join(segment(3)), |bytes| bytes[at + 60..at + 512].fill(0));
    let says = vec!["dropped the torn end of the log".into(), "last_lsn=9".into()];
    let aside = "log/wal-00000000000000000003.0.aside".to_owned();
    Expected::Open { last_lsn: 9, says, aside: vec![(aside, segment(3))] }
}

fn bad_frame_proven_durable(data: &Path) -> Expected {
    let mut subject = Subject::open(data, NOON).unwrap();
    (1..=10).for_each(|n| subject.tell(&format!("SET key:{n} {n}")));
    drop(subject);
    let at = frames(data, 3)[0]; // the frame of record 10 says that 9 was durable
    damage(data.join(segment(3)), |bytes| bytes[at + 65] ^= 1);
    stop(&[&format!("{} is damaged at byte {at}:", segment(3)), "LSN 9 to 9 are lost"])
}

fn damage_before_a_clean_footer(data: &Path) -> Expected {
    nine_records(data, true);
    let at = frames(data, 3)[0];
    damage(data.join(segment(3)), |bytes| bytes[at + 65] ^= 1);
    stop(&[&format!("{} is damaged at byte {at}:", segment(3)), "LSN 9 to 9 are lost"])
}

fn damage_behind_a_clean_footer(data: &Path) -> Expected {
    nine_records(data, true);
    let end = fs::read(data.join(segment(3))).unwrap().len();
    damage(data.join(segment(3)), |bytes| bytes.extend_from_slice(b"more"));
    stop(&[&format!("{} is damaged at byte {end}:", segment(3)), "zeros behind the footer"])
}

fn missing_segment(data: &Path) -> Expected {
    nine_records(data, true);
    fs::remove_file(data.join(segment(2))).unwrap();
    stop(&[&format!("{} is damaged at byte 0:", segment(2)), "missing", "LSN 5 to 8 are lost"])
}

fn missing_first_segment(data: &Path) -> Expected {
    nine_records(data, true);
    fs::remove_file(data.join(segment(1))).unwrap();
    stop(&[&format!("{} is damaged at byte 40:", segment(2)), "missing", "LSN 1 to 4 are lost"])
}

/// Two snapshots: the newer holds what nine records wrote.
fn with_snapshots(data: &Path) {
    let mut subject = Subject::open(data, NOON).unwrap();
    for n in 1..=9 {
        subject.tell(&format!("SET key:{n} {n}"));
        if n == 3 || n == 9 {
            subject.tell("SAVE");
        }
    }
    subject.close();
}

fn missing_last_segment(data: &Path) -> Expected {
    with_snapshots(data);
    let end = fs::read(data.join(segment(2))).unwrap().len();
    fs::remove_file(data.join(segment(3))).unwrap();
    // The footer of the segment before says that all of it was written.
    stop(&[&format!("{} is damaged at byte {end}:", segment(2)), "LSN 9 to 9 are lost"])
}

/// Back from the third snapshot to the manifest of the first, whose files are gone.
fn older_manifest(data: &Path) -> Expected {
    let mut subject = Subject::open(data, NOON).unwrap();
    let mut older = Vec::new();
    for n in 1..=9 {
        subject.tell(&format!("SET key:{n} {n}"));
        if n % 3 == 0 {
            subject.tell("SAVE");
        }
        if n == 3 {
            older = fs::read(data.join("MANIFEST-2")).unwrap();
        }
    }
    subject.close();
    fs::remove_file(data.join("MANIFEST-4")).unwrap();
    fs::write(data.join("MANIFEST-2"), older).unwrap();
    let file = "snapshots/00000000000000000001-0000.snap is damaged at byte 0:";
    stop(&[file, "missing", "snapshot 1 holds what LSN 1 to 3 wrote"])
}

fn snapshot_file(id: u64, shard: &str) -> String {
    format!("snapshots/{id:020}-{shard}.snap")
}

/// A file of the older snapshot stands under the name of the newer.
fn mixed_snapshot_generations(data: &Path) -> Expected {
    with_snapshots(data);
    let (newer, older) = (snapshot_file(2, "meta"), snapshot_file(1, "meta"));
    fs::copy(data.join(older), data.join(&newer)).unwrap();
    stop(&[&format!("{newer} is damaged at byte"), "snapshot 2 holds what LSN 1 to 9 wrote"])
}

fn damaged_snapshot(data: &Path) -> Expected {
    with_snapshots(data);
    let name = snapshot_file(2, "meta");
    damage(data.join(&name), |bytes| bytes[70] ^= 1);
    stop(&[&format!("{name} is damaged at byte"), "snapshot 2 holds what LSN 1 to 9 wrote"])
}

/// A segment of another store stands under the name of the second.
fn another_store(data: &Path) -> Expected {
    let other = data.with_file_name("other");
    nine_records(&other, true);
    nine_records(data, true);
    fs::copy(other.join(segment(2)), data.join(segment(2))).unwrap();
    fs::remove_dir_all(other).unwrap();
    stop(&[&format!("{} is damaged at byte 16:", segment(2)), "a segment of store"])
}

/// Writes into the header of the newest manifest what only a newer nowthen knows.
fn of_a_newer_one(data: &Path, at: usize) -> Expected {
    nine_records(data, true);
    damage(data.join("MANIFEST-1"), |bytes| {
        bytes[at] ^= 0x40;
        let checksum = nowthen::disk::frame::checksum(0, &bytes[8..48]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    });
    stop(&["MANIFEST-1 was written by a newer nowthen", &format!("at byte {at}")])
}

fn unknown_version(data: &Path) -> Expected {
    of_a_newer_one(data, 8)
}

fn unknown_feature_bit(data: &Path) -> Expected {
    of_a_newer_one(data, 12)
}

const DEFINITIONS: &str = r#"
[entity.user]
join_keys = { user = "int64" }

[view.spending]
entity = "user"
features = { spend = "float64", visits = "int64", genre = "string", is_new = "bool" }

[view.vectors]
entity = "user"
features = { taste = "float32[3]" }

[view.short]
entity = "user"
ttl = "1d"
features = { page = "string" }

[service.model]
features = ["spending:spend", "short:page"]
"#;

/// One of everything: definitions of two versions, strings, hashes, ends of life, rows of entities,
/// pushed history, two snapshots and a log of several segments behind them.
fn whole(data: &Path) -> Expected {
    let mut subject = Subject::open(data, NOON).unwrap();
    let many: String = (0..200).map(|n| format!(" field_{n} {n}")).collect();
    subject.tell("SET text hello");
    subject.tell("SET ends x PXAT 1767356400000"); // an hour and a day later
    subject.tell("SET stays x PXAT 4102444800000"); // in 2100
    subject.tell(&format!("HSET large{many}"));
    subject.apply(&DEFINITIONS.replace(", is_new = \"bool\"", ""));
    subject.tell("HSET user:1 spend 1.5 visits -3 genre jazz");
    subject.tell("SAVE");
    subject.apply(DEFINITIONS);
    subject.tell("HSET hash f v g w ends soon");
    subject.tell("HPEXPIREAT hash 1767356400000 FIELDS 1 ends");
    subject.tell("HPEXPIREAT large 4102444800000 FIELDS 1 field_7");
    subject.tell("HSET user:2 is_new true taste [1,-0.5,2.25]");
    subject.tell("SAVE");
    subject.advance_to("2026-01-01T13:00:00Z");
    let row = "ROWS 1 FEATURES 2 spend genre";
    subject.tell(&format!("FS.SET spending EVENT 2026-01-01T12:30:00Z {row} 1 2.5 blues"));
    subject.tell(&format!("FS.SET spending EVENT 2026-01-01T11:00:00Z {row} 1 0.5 rock"));
    subject.tell("FS.SET short EVENT 2026-01-01T12:30:00Z ROWS 1 FEATURES 1 page 1 /home");
    subject.tell("HDEL user:2 is_new");
    subject.tell("HSET user:3 spend 9");
    subject.tell("DEL user:3");
    subject.tell("MULTI");
    subject.tell("SET text world");
    subject.tell("HDEL hash g");
    subject.tell("EXEC");
    subject.tell("SET gone x");
    subject.tell("DEL gone");
    let last_lsn = subject.last_lsn();
    drop(subject); // killed
    let segments = contents(&data.join("log")).len();
    assert!(segments >= 4, "several segments: {segments}");
    fs::write(data.with_file_name("state.txt"), WHOLE_STATE).unwrap();
    Expected::Open { last_lsn, says: Vec::new(), aside: Vec::new() }
}

/// What was pushed stands in two files and in the log behind them; somebody was forgotten.
fn history(data: &Path) -> Expected {
    let mut subject = Subject::open(data, NOON).unwrap();
    subject.apply(DEFINITIONS);
    let row = "ROWS 1 FEATURES 2 spend genre";
    subject.tell(&format!("FS.SET spending EVENT 2026-01-01T08:00:00Z {row} 1 0.5 rock"));
    subject.tell(&format!("FS.SET spending EVENT 2026-01-01T08:00:00Z {row} 2 7.5 soul"));
    subject.tell("SAVE");
    subject.tell(&format!("FS.SET spending EVENT 2026-01-01T09:00:00Z {row} 1 1.5 jazz"));
    subject.tell("FS.FORGET user:2");
    subject.tell("FS.SET spending EVENT 2026-01-01T10:00:00Z ROWS 1 FEATURES 1 spend 1 2.5");
    subject.tell(&format!("FS.SET spending EVENT 2026-01-01T10:00:00Z {row} 2 8.5 funk"));
    let last_lsn = subject.last_lsn();
    drop(subject); // killed
    assert_eq!(contents(&data.join("history")).len(), 2);
    fs::write(data.with_file_name("state.txt"), HISTORY_STATE).unwrap();
    Expected::Open { last_lsn, says: Vec::new(), aside: Vec::new() }
}

/// Written by hand.
const HISTORY_STATE: &str = "\
> HMGET user:1 spend genre
*2 $3 2.5 $4 jazz
> EXISTS user:2
:0
> FS.GET FEATURES 2 spend genre FOR 1 user ROWS 2 1 2 AT 2026-01-01T08:30:00Z
*2 *2 $3 0.5 $4 rock *2 $-1 $-1
> FS.GET FEATURES 2 spend genre FOR 1 user ROWS 2 1 2 AT 2026-01-01T11:00:00Z
*2 *2 $3 2.5 $4 jazz *2 $-1 $-1
> FS.HISTORY user:2 FEATURES 1 spend
*0
> FS.HISTORY user:1 FEATURES 1 genre
*2 *4 :1767254400000000 :1767268800000000 $6 PUSHED *1 *3 $5 genre $7 PRESENT $4 rock \
*4 :1767258000000000 :1767268800000000 $6 PUSHED *1 *3 $5 genre $7 PRESENT $4 jazz
";

/// Written by hand: what anybody who knows Redis and the protocol expects two days later.
const WHOLE_STATE: &str = "\
> DBSIZE
:6
> GET text
$5 world
> GET ends
$-1
> GET stays
$1 x
> PEXPIRETIME stays
:4102444800000
> EXISTS gone user:3
:0
> HGETALL hash
*2 $1 f $1 v
> HLEN large
:200
> HMGET large field_0 field_7 field_199
*3 $1 0 $1 7 $3 199
> HPEXPIRETIME large FIELDS 2 field_7 field_8
*2 :4102444800000 :-1
> HMGET user:1 spend visits genre is_new page
*5 $3 2.5 $2 -3 $5 blues $-1 $-1
> HMGET user:2 is_new taste
*2 $-1 $13 [1,-0.5,2.25]
> FS.GET FEATURES 3 spend genre page FOR 1 user ROWS 2 1 2
*2 *3 $3 2.5 $5 blues $-1 *3 $-1 $-1 $-1
> FS.GET FEATURES 2 spend genre FOR 1 user ROWS 1 1 AT 2026-01-01T11:30:00Z
*1 *2 $3 0.5 $4 rock
> FS.GET FEATURES 2 spend genre FOR 1 user ROWS 1 1 AT 2026-01-01T12:15:00Z
*1 *2 $3 1.5 $4 jazz
> FS.GET FEATURES 2 spend page FOR 1 user ROWS 1 1 AT 2026-01-01T12:45:00Z
*1 *2 $3 2.5 $5 /home
> FS.ENTITIES
*1 $4 user
> FS.VIEWS
*3 $5 short $8 spending $7 vectors
> FS.SERVICES
*1 $5 model
";
