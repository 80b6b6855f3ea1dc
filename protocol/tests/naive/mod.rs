//! The reference for `tests/requests.rs`: the rules of Redis in the plainest words, with copies.

use nowthen_protocol::{ProtocolError, RequestLimits};

type Arguments = Vec<Vec<u8>>;

/// The request at the start of `bytes` and how many bytes it takes.
pub(crate) fn parse(
    bytes: &[u8],
    limits: RequestLimits,
) -> Result<Option<(Arguments, usize)>, ProtocolError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'*') => array(bytes, limits),
        Some(_) => inline(bytes, limits),
    }
}

fn array(bytes: &[u8], limits: RequestLimits) -> Result<Option<(Arguments, usize)>, ProtocolError> {
    let mut position = 0;
    let Some(line) = line(bytes, &mut position, limits, ProtocolError::TooBigMultibulkCount)?
    else {
        return Ok(None);
    };
    let count = integer(&line[1..]).ok_or(ProtocolError::InvalidMultibulkLength)?;
    if count > limits.arguments_max as i64 {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    let mut arguments = Vec::new();
    for _ in 0..count {
        let Some(line) = line_of_length(bytes, &mut position, limits)? else { return Ok(None) };
        let length = integer(&line[1..]).ok_or(ProtocolError::InvalidBulkLength)?;
        if length < 0 || length > limits.bulk_bytes_max as i64 {
            return Err(ProtocolError::InvalidBulkLength);
        }
        let end = position + length as usize;
        if end + 2 > limits.request_bytes_max {
            return Err(ProtocolError::TooBigRequest);
        }
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        arguments.push(bytes[position..end].to_vec());
        position = end + 2;
    }
    Ok(Some((arguments, position)))
}

fn line_of_length(
    bytes: &[u8],
    position: &mut usize,
    limits: RequestLimits,
) -> Result<Option<Vec<u8>>, ProtocolError> {
    let first = bytes.get(*position).copied();
    let line = line(bytes, position, limits, ProtocolError::TooBigBulkCount)?;
    match (line, first) {
        (Some(_), Some(first)) if first != b'$' => Err(ProtocolError::ExpectedDollar(first)),
        (line, _) => Ok(line),
    }
}

fn line(
    bytes: &[u8],
    position: &mut usize,
    limits: RequestLimits,
    too_big: ProtocolError,
) -> Result<Option<Vec<u8>>, ProtocolError> {
    let mut line = Vec::new();
    for byte in &bytes[*position..] {
        if *byte == b'\r' {
            let next = *position + line.len() + 2;
            if next > bytes.len() {
                return Ok(None);
            }
            *position = next;
            // An empty line has no first byte to look behind; the caller has seen it already.
            return Ok(Some(if line.is_empty() { vec![b'\r'] } else { line }));
        }
        line.push(*byte);
        if line.len() > limits.inline_bytes_max {
            return Err(too_big);
        }
    }
    Ok(None)
}

fn integer(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.to_string().as_bytes() == text).then_some(value)
}

fn inline(
    bytes: &[u8],
    limits: RequestLimits,
) -> Result<Option<(Arguments, usize)>, ProtocolError> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    if end.unwrap_or(bytes.len()) > limits.inline_bytes_max {
        return Err(ProtocolError::TooBigInline);
    }
    let Some(end) = end else { return Ok(None) };
    let mut line = bytes[..end].to_vec();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    // The rest is C text in Redis, which ends in a zero byte.
    line.push(0);
    Ok(Some((split(&line).ok_or(ProtocolError::UnbalancedQuotes)?, end + 1)))
}

/// `sdssplitargs` of Redis, line by line. `p` is never past the zero byte that ends `line`.
fn split(line: &[u8]) -> Option<Arguments> {
    let is_space = |byte: u8| matches!(byte, b' ' | 9..=13);
    let mut arguments = Vec::new();
    let mut p = 0;
    loop {
        while line[p] != 0 && is_space(line[p]) {
            p += 1;
        }
        if line[p] == 0 {
            return Some(arguments);
        }
        let (mut argument, mut quote, mut done) = (Vec::new(), 0, false);
        while !done {
            let byte = line[p];
            let next = line.get(p + 1).copied().unwrap_or(0);
            if quote == b'"' && byte == b'\\' && next != 0 {
                let digits = line.get(p + 2..p + 4).unwrap_or_default();
                if next == b'x' && digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit) {
                    let digits = std::str::from_utf8(digits).ok()?;
                    argument.push(u8::from_str_radix(digits, 16).ok()?);
                    p += 3;
                } else {
                    argument.push(escape(next));
                    p += 1;
                }
            } else if quote == b'\'' && byte == b'\\' && next == b'\'' {
                argument.push(b'\'');
                p += 1;
            } else if quote != 0 && byte == quote {
                if next != 0 && !is_space(next) {
                    return None;
                }
                done = true;
            } else if quote != 0 && byte == 0 {
                return None;
            } else if quote == 0 && matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0) {
                done = true;
            } else if quote == 0 && matches!(byte, b'"' | b'\'') {
                quote = byte;
            } else {
                argument.push(byte);
            }
            if line[p] != 0 {
                p += 1;
            }
        }
        arguments.push(argument);
    }
}

fn escape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}
