//! Values of settings as text: numbers, sizes with units, with Redis' words for what is neither.

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
