//! Partitions as Hive writes them: folders whose names tell the value of a column.
//!
//! ```text
//! data/day=2024-01-31/airport=JFK/part-0.parquet         below the root data/
//!      └── column day ──┘ └── airport ─┘                 the same for every row of the file
//! ```
//! - Name and value are percent-decoded; what is no escape stays as it is.
//! - `__HIVE_DEFAULT_PARTITION__` is null, and so is an empty value that is not text.
//! - A value has the type that is asked of it, exactly, or it is refused: never guessed.

use super::{cells::column_of, convert::Rounding};
use crate::{
    error::echo,
    feature::{Scalar, Timestamp, Value, ValueType},
};
use arrow_array::{ArrayRef, new_null_array};
use chrono::{NaiveDate, TimeDelta};
use std::{
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
    str::FromStr,
    sync::Arc,
};

/// What Hive calls a folder of rows that have no value.
const NULL_VALUE: &[u8] = b"__HIVE_DEFAULT_PARTITION__";

/// The partitions that one file lies in.
#[derive(Clone, Debug, Default)]
pub(super) struct Partitions {
    /// Many files of a source lie in one folder, and most in none that says anything.
    list: Option<Arc<[Partition]>>,
}

/// One folder that tells a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// As it is called on the disk.
    folder: Vec<u8>,
    name: Vec<u8>,
    /// `None` is null.
    value: Option<Vec<u8>>,
}

impl Partitions {
    /// Those of the folders in `path`, which ends with the name of a file.
    pub(super) fn of(path: &Path) -> Self {
        let folders = path.parent().into_iter().flat_map(Path::components);
        let partitions = folders.filter_map(|folder| match folder {
            Component::Normal(folder) => Partition::of(folder.as_bytes()),
            _ => None,
        });
        let list: Vec<Partition> = partitions.collect();
        Self { list: (!list.is_empty()).then(|| list.into()) }
    }

    /// Whether no folder tells anything.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// The partition that tells column `name`; an error if there are two.
    pub(super) fn get(&self, name: &str) -> Result<Option<&Partition>, String> {
        let list = self.list.as_deref().unwrap_or_default();
        let mut own = list.iter().filter(|partition| partition.name == name.as_bytes());
        match (own.next(), own.next()) {
            (Some(first), Some(second)) => Err(format!(
                "folders {} and {} both tell column '{name}': expected one",
                echo(&first.folder),
                echo(&second.folder)
            )),
            (first, _) => Ok(first),
        }
    }
}

impl Partition {
    /// `None` for a folder that is not called `name=value`.
    fn of(folder: &[u8]) -> Option<Self> {
        let equals = folder.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        let (name, value) = folder.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        Some(Self {
            folder: folder.to_vec(),
            name: percent_decoded(name),
            value: (value != NULL_VALUE).then(|| percent_decoded(value)),
        })
    }

    /// As it is called on the disk.
    pub(super) fn folder(&self) -> String {
        echo(&self.folder)
    }

    /// Its value as a column of one row; an error says what was expected. A time between two
    /// microseconds goes where `rounding` says.
    pub(super) fn column(
        &self,
        value_type: ValueType,
        rounding: Rounding,
    ) -> Result<ArrayRef, String> {
        let value = match &self.value {
            Some(value) => typed(value, value_type, rounding)?,
            None => None,
        };
        let null = || new_null_array(&super::convert::arrow_type(value_type), 1);
        let column = value
            .as_ref()
            .map_or_else(|| Some(null()), |value| column_of(&[Some(value)], value_type));
        column.ok_or_else(|| format!("a value that is not {value_type}"))
    }
}

/// What `value` says as a `value_type`; `None` is null.
fn typed(value: &[u8], value_type: ValueType, rounding: Rounding) -> Result<Option<Value>, String> {
    let ValueType::Scalar(scalar) = value_type else {
        return Err(format!("the name of a folder tells no {value_type}"));
    };
    if scalar == Scalar::Bytes {
        return Ok(Some(Value::Bytes(value.to_vec())));
    }
    let no_value = |expected: &str| format!("{} is no {expected}", echo(value));
    let text = std::str::from_utf8(value).map_err(|_| no_value("UTF-8 text"))?;
    if scalar == Scalar::String {
        return Ok(Some(Value::String(text.to_owned())));
    }
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = match scalar {
        Scalar::Bool if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Scalar::Bool if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        Scalar::Int32 => parsed(text, Value::Int32),
        Scalar::Int64 => parsed(text, Value::Int64),
        Scalar::Float32 => parsed(text, Value::Float32),
        Scalar::Float64 => parsed(text, Value::Float64),
        Scalar::Timestamp => instant(text, rounding).map(Value::Timestamp),
        Scalar::Bool | Scalar::String | Scalar::Bytes => None,
    };
    let expected = match scalar {
        Scalar::Timestamp => {
            "timestamp: expected a date such as 2024-01-31, or a time such as 2024-01-31 06:30:00"
                .to_owned()
        }
        _ => value_type.to_string(),
    };
    parsed.map(Some).ok_or_else(|| no_value(&expected))
}

fn parsed<T: FromStr>(text: &str, value: impl Fn(T) -> Value) -> Option<Value> {
    text.parse().ok().map(value)
}

/// `2024-01-31`, or that with a time behind `T` or a blank: `06:30`, `06:30:00`, `06:30:00.25`; and
/// then a zone: `Z`, `+02`, `-02:30`. Without one it is UTC.
///
/// A plain number is none: nobody could tell `20240131` from seconds or microseconds.
fn instant(text: &str, rounding: Rounding) -> Option<Timestamp> {
    let (date, time) = match text.find(['T', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)),
        None => (text, None),
    };
    let mut date = date.split('-');
    let year = digits(date.next()?, 4, 6)?;
    let (month, day) = (digits(date.next()?, 1, 2)?, digits(date.next()?, 1, 2)?);
    let date = match date.next() {
        Some(_) => None,
        None => NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day),
    };
    let Some(time) = time else { return date?.and_hms_opt(0, 0, 0).map(in_us) };
    let (time, offset) = split_zone(time)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let parts: Option<Vec<u32>> = time.split(':').map(|part| digits(part, 1, 2)).collect();
    let (hour, minute, second) = match parts?.as_slice() {
        [hour, minute] if fraction.is_empty() => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return None,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (us, rest) = fraction.split_at(fraction.len().min(6));
    let is_between = rest.bytes().any(|byte| byte != b'0');
    let us: i64 = format!("{us:0<6}").parse().ok()?;
    let us = us + i64::from(is_between && rounding == Rounding::Up);
    let local = date?.and_hms_opt(hour, minute, second)?;
    let utc = local.checked_sub_signed(TimeDelta::minutes(offset))?;
    Some(in_us(utc).plus_us(us))
}

fn in_us(time: chrono::NaiveDateTime) -> Timestamp {
    Timestamp(time.and_utc().timestamp_micros())
}

/// A number of so many digits, and nothing else.
fn digits(text: &str, least: usize, most: usize) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && (least..=most).contains(&text.len())).then(|| text.parse().ok())?
}

/// A time without its zone, and how many minutes that is ahead of UTC.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, zone) = time.split_at(at);
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':').unwrap_or((zone.get(1..)?, "00"));
    let (hours, minutes) = (digits(hours, 2, 2)?, digits(minutes, 2, 2)?);
    (hours <= 15 && minutes < 60).then(|| (time, sign * i64::from(hours * 60 + minutes)))
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'%').then(|| after.split_first_chunk::<2>()).flatten();
        let escaped = escaped.and_then(|([high, low], after)| {
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            Some((u8::try_from(digit(high)? * 16 + digit(low)?).ok()?, after))
        });
        let (byte, after) = escaped.unwrap_or((*byte, after));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::{super::cells::value_at, *};

    /// What a file in this folder tells of column `a`.
    fn told(folder: &str, value_type: &str) -> Result<Option<Value>, String> {
        let partitions = Partitions::of(&Path::new(folder).join("f.parquet"));
        let partition = partitions.get("a").unwrap().unwrap();
        let column = partition.column(ValueType::parse(value_type).unwrap(), Rounding::Up)?;
        assert_eq!(column.len(), 1);
        Ok(value_at(&column, 0))
    }

    #[test]
    fn a_value_has_the_type_that_is_asked_for_exactly_or_is_refused() {
        let text = |text: &str| Ok(Some(Value::String(text.into())));
        assert_eq!(told("a=007", "int64"), Ok(Some(Value::Int64(7))));
        assert_eq!(told("a=-7", "int32"), Ok(Some(Value::Int32(-7))));
        assert_eq!(told("a=007", "string"), text("007"));
        assert_eq!(told("a=1e3", "float64"), Ok(Some(Value::Float64(1000.0))));
        assert_eq!(told("a=0.1", "float32"), Ok(Some(Value::Float32(0.1))));
        assert_eq!(told("a=True", "bool"), Ok(Some(Value::Bool(true))));
        assert_eq!(told("a=%00%ff", "bytes"), Ok(Some(Value::Bytes(vec![0, 255]))));
        for (value, value_type) in [
            ("7.0", "int64"),
            (" 7", "int64"),
            ("1e3", "int64"),
            ("2147483648", "int32"),
            ("1", "bool"),
            ("x", "float64"),
            ("%ff", "string"),
            ("1", "int64[]"),
        ] {
            assert!(told(&format!("a={value}"), value_type).is_err(), "{value} as {value_type}");
        }
        let why = told("a=7.5", "int64").unwrap_err();
        assert_eq!(why, "'7.5' is no int64");
        assert_eq!(told("a=1", "int64[]").unwrap_err(), "the name of a folder tells no int64[]");
    }

    #[test]
    fn names_and_values_are_percent_decoded_and_what_is_no_escape_stays() {
        let text = |text: &str| Ok(Some(Value::String(text.into())));
        assert_eq!(told("%61=%C3%BC%2f%3D%25 +", "string"), text("ü/=% +"));
        assert_eq!(told("a=%zz%4", "string"), text("%zz%4"));
        assert_eq!(told("a=b=c", "string"), text("b=c"));
        assert_eq!(told("x/a=1/y=2/z", "string"), text("1"));
    }

    #[test]
    fn the_default_partition_is_null_and_so_is_an_empty_value_that_is_no_text() {
        for value_type in ["string", "int64", "timestamp", "bytes", "float32[2]"] {
            assert_eq!(told("a=__HIVE_DEFAULT_PARTITION__", value_type), Ok(None), "{value_type}");
        }
        assert_eq!(told("a=", "int64"), Ok(None));
        assert_eq!(told("a=", "string"), Ok(Some(Value::String(String::new()))));
        assert_eq!(told("a=NULL", "string"), Ok(Some(Value::String("NULL".into()))));
    }

    #[test]
    fn what_has_no_name_before_the_sign_or_no_sign_tells_nothing() {
        for path in ["f.parquet", "=1/f.parquet", "a/f.parquet", "x/a=1.parquet", "../f.parquet"] {
            assert!(Partitions::of(Path::new(path)).is_empty(), "{path}");
        }
        let twice = Partitions::of(Path::new("a=1/b=2/a=1/f.parquet"));
        let why = twice.get("a").unwrap_err();
        assert_eq!(why, "folders 'a=1' and 'a=1' both tell column 'a': expected one");
        assert!(twice.get("b").unwrap().is_some() && twice.get("c").unwrap().is_none());
    }

    #[test]
    fn dates_and_times_are_the_instants_that_they_say_in_utc() {
        let at = |text: &str| match told(&format!("a={text}"), "timestamp") {
            Ok(Some(Value::Timestamp(time))) => time.to_iso(),
            other => format!("{other:?}"),
        };
        for (text, instant) in [
            ("2024-01-02", "2024-01-02T00:00:00Z"),
            ("2024-1-2", "2024-01-02T00:00:00Z"),
            ("0044-03-15", "0044-03-15T00:00:00Z"),
            ("2024-01-02 03:04:05", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04", "2024-01-02T03:04:00Z"),
            ("2024-01-02%2003%3A04%3A05.25", "2024-01-02T03:04:05.250Z"),
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02 03:04:05+02", "2024-01-02T01:04:05Z"),
            ("2024-01-02 03:04:05-02:30", "2024-01-02T05:34:05Z"),
            ("2024-01-02 03:04:05.1234561", "2024-01-02T03:04:05.123457Z"),
            ("2024-12-31 23:59:59.9999999", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(at(text), instant, "{text}");
        }
        for text in [
            "20240102",
            "1704164645000000",
            "2024",
            "24-01-02",
            "2024-13-01",
            "2024-02-30",
            "2024-01-02 24:00",
            "2024-01-02 03",
            "2024-01-02 03:04:60",
            "2024-01-02 03:04.5",
            "2024-01-02 03:04:05+2",
            "2024-01-02 03:04:05 +02",
            "2024-01-02 ",
            "2024-01-02T",
            "2024-01-02-03",
            "today",
            "2024-01-0x",
            "2024-01-02 03:04:05.x",
            "+2024-01-02",
        ] {
            let why = told(&format!("a={text}"), "timestamp").unwrap_err();
            assert!(why.contains("is no timestamp: expected a date such as"), "{text}: {why}");
        }
        let partitions = Partitions::of(Path::new("a=2024-01-02 00:00:00.0000009/f"));
        let partition = partitions.get("a").unwrap().unwrap();
        let instant = ValueType::parse("timestamp").unwrap();
        let down = partition.column(instant, Rounding::Down).unwrap();
        let down = value_at(&down, 0);
        assert_eq!(down, Some(Value::Timestamp(Timestamp::parse("2024-01-02").unwrap())));
    }
}
