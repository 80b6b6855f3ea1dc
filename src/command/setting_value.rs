//! Values of settings as text: numbers, sizes with units, with Redis' words for what is neither.

use super::settings::{SHUTDOWN_WORDS, SIGNAL_NOSAVE, SIGNAL_SAVE, SavePoint};
use crate::error::Result;
use nowthen_protocol::parse_integer;

/// A whole number.
pub(super) fn number(text: &[u8]) -> Result<i64, String> {
    parse_integer(text).ok_or_else(|| "argument couldn't be parsed into an integer".into())
}

/// A number of bytes: digits and perhaps a unit. As in Redis, `k` is 1000 and `kb` is 1024.
pub(super) fn memory_bytes(text: &[u8]) -> Result<i64, String> {
    parse_memory(text).ok_or_else(|| "argument must be a memory value".into())
}

fn parse_memory(text: &[u8]) -> Option<i64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at_checked(digits)?;
    let factor: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(factor)
}

/// `yes` or `no`, in any case.
pub(super) fn yes_or_no(text: &[u8]) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".into()),
    }
}

/// Percentiles, a space between them; nothing for none.
pub(super) fn percentiles(text: &[u8]) -> Result<Vec<f64>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let parsed = text.split(|byte| *byte == b' ').map(|word| {
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok());
        match number.filter(|number| !number.is_nan()) {
            None => Err("Invalid latency-tracking-info-percentiles parameters".into()),
            Some(number) if (0.0..=100.0).contains(&number) => Ok(number),
            Some(_) => {
                let name = "latency-tracking-info-percentiles";
                Err(format!("{name} parameters should sit between [0.0,100.0]"))
            }
        }
    });
    parsed.collect()
}

/// Percentiles as Redis writes them: at most six decimals, without zeros at the end.
pub(super) fn percentiles_text(percentiles: &[f64]) -> String {
    let texts: Vec<String> = percentiles.iter().copied().map(percentile_text).collect();
    texts.join(" ")
}

/// See [`percentiles_text`].
pub(super) fn percentile_text(percentile: f64) -> String {
    format!("{percentile:.6}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What all clients together may take before some are closed: only 0, which is never.
pub(super) fn memory_of_clients(text: &[u8]) -> Result<(), String> {
    let percent = text.strip_suffix(b"%").and_then(parse_integer).filter(|percent| *percent >= 0);
    match percent.or_else(|| parse_memory(text)) {
        None => Err("argument must be a memory or percent value".into()),
        Some(0) => Ok(()),
        Some(101..) if percent.is_some() => {
            Err("percentage argument must be less or equal to 100".into())
        }
        Some(_) => Err("no client is closed for the memory of all; expected 0".into()),
    }
}

/// When snapshots are written: `seconds records` once or more, a space between all; nothing for
/// never.
pub(super) fn save_points(text: &[u8]) -> Result<Vec<SavePoint>, String> {
    let wrong = || "Invalid save parameters".to_owned();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = text.split(|byte| *byte == b' ').map(parse_integer);
    let numbers: Vec<i64> = numbers.collect::<Option<_>>().ok_or_else(wrong)?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    let point = |[seconds, records]: &[i64; 2]| {
        let seconds = u64::try_from(*seconds).ok().filter(|seconds| *seconds > 0);
        let records = u64::try_from(*records).ok();
        Some(SavePoint { seconds: seconds?, records: records? })
    };
    let points = pairs.iter().map(point).collect::<Option<_>>();
    points.filter(|_| rest.is_empty()).ok_or_else(wrong)
}

/// See [`save_points`].
pub(super) fn save_points_text(points: &[SavePoint]) -> String {
    let texts: Vec<String> =
        points.iter().map(|point| format!("{} {}", point.seconds, point.records)).collect();
    texts.join(" ")
}

/// What a signal to end means: words of [`SHUTDOWN_WORDS`], a space between.
pub(super) fn shutdown_words(text: &[u8]) -> Result<i64, String> {
    let bits = text.split(|byte| *byte == b' ').map(|word| {
        let known = SHUTDOWN_WORDS.iter();
        let mut known = known.filter(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        known.next().map(|(_, bit)| *bit)
    });
    let bits = bits.reduce(|all, bit| Some(all? | bit?)).flatten();
    match bits {
        Some(bits) if bits & SIGNAL_SAVE != 0 && bits & SIGNAL_NOSAVE != 0 => {
            Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into())
        }
        Some(bits) => Ok(bits),
        None => {
            let words: Vec<&str> = SHUTDOWN_WORDS.iter().map(|(name, _)| *name).collect();
            Err(format!("argument(s) must be one of the following: {}", words.join(", ")))
        }
    }
}

/// See [`shutdown_words`].
pub(super) fn shutdown_text(bits: i64) -> String {
    let said = SHUTDOWN_WORDS
        .iter()
        .filter(|(_, bit)| if bits == 0 { *bit == 0 } else { bits & bit != 0 });
    let words: Vec<&str> = said.map(|(name, _)| *name).collect();
    words.join(" ")
}

/// Limits of output, for the one class of clients there is: `normal hard soft seconds`. The last
/// wins if there are several; nothing changes nothing.
pub(super) fn output_limits(text: &[u8]) -> Result<Option<[i64; 3]>, String> {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let words: Vec<&[u8]> = words.collect();
    let (groups, rest) = words.as_chunks::<4>();
    if !rest.is_empty() {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = None;
    for [class, hard, soft, seconds] in groups {
        if !class.eq_ignore_ascii_case(b"normal") {
            return Err("Invalid client class specified in buffer limit configuration.".into());
        }
        let seconds = parse_integer(seconds).filter(|seconds| *seconds >= 0);
        let all = (parse_memory(hard), parse_memory(soft), seconds);
        let (Some(hard), Some(soft), Some(seconds)) = all else {
            let why = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            return Err(why.into());
        };
        limits = Some([hard, soft, seconds]);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_read_as_redis_reads_and_writes_them() {
        for (text, told) in
            [("", ""), ("0.0 50 99.90", "0 50 99.9"), ("1e1 1.23456789", "10 1.234568")]
        {
            assert_eq!(
                percentiles(text.as_bytes()).map(|all| percentiles_text(&all)),
                Ok(told.into())
            );
        }
        for text in [" ", "1  2", "1,2", "x", "nan", "-1", "100.1", "inf"] {
            assert!(percentiles(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn save_points_and_signals_read_as_redis_reads_and_writes_them() {
        for text in ["", "3600 1", "3600 1 300 100 60 10000", "1 0"] {
            assert_eq!(save_points(text.as_bytes()).map(|p| save_points_text(&p)), Ok(text.into()));
        }
        for text in ["1", "1 2 3", "0 1", "1 -1", "a b", "3600  1", " 3600 1", "3600 1 "] {
            assert_eq!(save_points(text.as_bytes()), Err("Invalid save parameters".into()));
        }
        for (text, told) in
            [("default save", "save"), ("now FORCE", "now force"), ("default", "default")]
        {
            assert_eq!(shutdown_words(text.as_bytes()).map(shutdown_text), Ok(told.into()));
        }
        for text in ["", "x", "save  now", "save nosave"] {
            assert!(shutdown_words(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_the_units_of_redis() {
        for (text, bytes) in
            [("0", 0), ("7b", 7), ("1k", 1000), ("1kB", 1024), ("2M", 2_000_000), ("3gb", 3 << 30)]
        {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in ["", "gb", "-1", "1.5gb", "1 mb", "1tb", "99999999999gb"] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text}");
        }
    }
}
