//! Files that are damaged, cut off, or no Parquet at all: an error with the name, never a panic.

use super::fixture::{entity, options, request, view};
use crate::{
    error::Result,
    feature::{Entity, KeyType, Timestamp, View},
    offline::{Dataset, Joined, Spine, SpineFile, Window, as_of_join, latest},
};
use std::{fs, path::Path};

/// Pages with checksums, written by pyarrow: 600 rows in 3 row groups, keys as a dictionary.
const CHECKED: &[u8] = include_bytes!("checked.parquet");
const WEATHER: &[u8] = include_bytes!("../../../examples/flights/data/weather.parquet");

fn thing() -> (View, Entity) {
    let features = [("x", "float64"), ("label", "string"), ("list", "float32[]")];
    (view("things", "event", "", &features), entity("thing", &[("key", KeyType::String)]))
}

fn weather() -> (View, Entity) {
    let features = [("temp", "float64"), ("wind_dir", "int64"), ("visib", "float64")];
    let airport = entity("airport", &[("origin", KeyType::String)]);
    (view("weather", "time_hour", "6h", &features), airport)
}

/// Everything this room does with a file.
fn use_file(path: &Path, (view, entity): &(View, Entity)) -> Result<Joined> {
    let dataset = Dataset::open(path.to_str().unwrap())?;
    let keys =
        ["k1", "k7", "JFK", "LGA"].map(|key| vec![crate::feature::KeyPart::Bytes(key.into())]);
    let at = Timestamp::parse("2013-07-04T12:30:00Z").unwrap();
    let spine = Spine::from_rows(entity, &keys, at)?;
    let requests = [request(view, entity, Some(&dataset), "f_")];
    let joined = as_of_join(&spine, &requests, &options(1), &|_| ())?;
    let window = Window { from: None, to: Timestamp::MAX };
    let mut newest = latest(view, entity, &dataset, window, None, &|_| ())?;
    while newest.next_batch(1024)?.is_some() {}
    let _ = SpineFile::open(path).and_then(|file| file.read(Some("time_hour"), None));
    Ok(joined)
}

/// A small generator of its own: the seed alone tells which bits are flipped.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

fn check_named(path: &Path, outcome: Result<Joined>) -> Option<Joined> {
    let Err(error) = outcome else { return outcome.ok() };
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(error.to_string().contains(name), "{error}");
    None
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.parquet");
    for (bytes, view) in [(WEATHER, weather()), (CHECKED, thing())] {
        for length in (0..bytes.len()).step_by(997) {
            fs::write(&path, &bytes[..length]).unwrap();
            let outcome = check_named(&path, use_file(&path, &view));
            assert!(outcome.is_none(), "cut to {length} bytes");
        }
        fs::write(&path, bytes).unwrap();
        assert!(use_file(&path, &view).is_ok());
    }
    fs::write(&path, &WEATHER[..100_000]).unwrap();
    let why = use_file(&path, &weather()).unwrap_err().to_string();
    assert!(why.contains("cut.parquet: not a Parquet file: it is cut off"), "{why}");
}

#[test]
fn a_flipped_bit_never_panics_and_in_a_checked_page_never_changes_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.parquet");
    let mut seed = 20_130_704;
    for (bytes, view, flips) in [(WEATHER, weather(), 300), (CHECKED, thing(), 600)] {
        fs::write(&path, bytes).unwrap();
        let right = use_file(&path, &view).unwrap();
        let footer = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
        let footer_start = bytes.len() - 8 - footer as usize;
        let mut undetected = 0;
        for _ in 0..flips {
            let mut bytes = bytes.to_vec();
            let bit = next(&mut seed) % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            let Some(joined) = check_named(&path, use_file(&path, &view)) else { continue };
            assert_eq!(joined.batch.num_rows(), 4);
            let same = joined.batch == right.batch && joined.statuses == right.statuses;
            undetected += usize::from(!same && bit / 8 < footer_start);
        }
        // Without checksums a flipped bit of a value is another value, and nobody can tell.
        let unchecked = bytes.len() == WEATHER.len();
        println!("{undetected} of {flips} flips before the footer changed the answer unnoticed");
        assert!(unchecked || undetected == 0, "{undetected} flips went unnoticed");
    }
}

#[test]
fn every_flip_in_the_footer_is_an_error_or_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("footer.parquet");
    let footer = u32::from_le_bytes(CHECKED[CHECKED.len() - 8..][..4].try_into().unwrap());
    let start = CHECKED.len() - 8 - footer as usize;
    let mut seed = 7;
    for _ in 0..1500 {
        let mut bytes = CHECKED.to_vec();
        let byte = start + next(&mut seed) % (bytes.len() - start);
        bytes[byte] = next(&mut seed) as u8;
        fs::write(&path, &bytes).unwrap();
        check_named(&path, use_file(&path, &thing()));
    }
}

/// A field of a number that no reader knows: a map of two thousand million booleans, which take no
/// byte where they are skipped. By itself it kept the decoder busy for half a minute.
const UNKNOWN_MAP: [u8; 9] = [0x0b, 0xd0, 0x0f, 0xff, 0xff, 0xff, 0xff, 0x07, 0x11];

#[test]
fn a_footer_that_would_be_skipped_for_ever_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("map.parquet");
    // Before the 0 that ends the footer.
    let footer_end = CHECKED.len() - 8;
    let length = u32::from_le_bytes(CHECKED[footer_end..][..4].try_into().unwrap());
    let mut bytes = CHECKED[..footer_end - 1].to_vec();
    bytes.extend(UNKNOWN_MAP.repeat(100));
    bytes.push(0);
    bytes.extend((length + 900).to_le_bytes());
    bytes.extend(b"PAR1");
    fs::write(&path, &bytes).unwrap();
    let why = use_file(&path, &thing()).unwrap_err().to_string();
    assert!(why.contains("map.parquet: the file is damaged: its footer"), "{why}");
    assert!(why.contains("a header makes no sense"), "{why}");
}

#[test]
fn what_is_no_parquet_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    for (bytes, why) in [
        (&b""[..], "not a Parquet file: it is empty"),
        (b"PAR1", "not a Parquet file"),
        (b"a,b\n1,2\n", "not a Parquet file: it does not begin with PAR1"),
        (b"PAR1\xff\xff\xff\x7fPAR1", "the file is damaged: its footer"),
        (b"PAR1\0\0\0\0\0\0\0\0PAR1", "the file is damaged: its footer"),
    ] {
        fs::write(&path, bytes).unwrap();
        let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
        let found = dataset.rows().unwrap_err().to_string();
        assert!(found.contains("x.parquet") && found.contains(why), "{found}");
    }
}
