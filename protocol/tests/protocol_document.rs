//! The examples in `PROTOCOL.md` are true, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

mod common;

use nowthen_protocol::{
    ProtocolVersion, Reply, RequestLimits, RequestParser, decode, encode_request,
    vector::{VectorElement, VectorFrame, VectorNumber, VectorShape, VectorStatus, VectorWriter},
};

const DOCUMENT: &str = include_str!("../PROTOCOL.md");

/// The fenced blocks of the document: what stands behind the fence, and what is inside.
fn blocks() -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```") else { continue };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((name, inside.join("\n")));
    }
    blocks
}

/// The blocks called `name`, each with the block called `what` that follows it.
fn followed(name: &str, what: &str) -> Vec<(String, String)> {
    let blocks = blocks();
    let pairs: Vec<_> = blocks
        .windows(2)
        .filter(|pair| pair[0].0 == name)
        .map(|pair| {
            assert_eq!(pair[1].0, what, "a block follows that tells the {what}");
            (pair[0].1.clone(), pair[1].1.clone())
        })
        .collect();
    assert!(!pairs.is_empty(), "no example called {name}");
    pairs
}

fn parse(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut parser = RequestParser::new(RequestLimits::DEFAULT);
    let parsed = parser.parse(stream).expect("a request").expect("a whole request");
    assert_eq!(parsed.consumed, stream.len(), "{}", stream.escape_ascii());
    parser.arguments(stream).iter().map(<[u8]>::to_vec).collect()
}

/// The bytes that `text` shows, in the escapes of `escape_ascii`: `\r`, `\n`, `\xHH` and so on.
/// Real line ends in it are only there for the reader, and dropped.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.chars().filter(|c| *c != '\n');
    while let Some(next) = rest.next() {
        if next != '\\' {
            bytes.extend(next.to_string().as_bytes());
            continue;
        }
        bytes.push(match rest.next().expect("something after a backslash") {
            'r' => b'\r',
            'n' => b'\n',
            't' => b'\t',
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
            }
            other => u8::try_from(other).expect("an ASCII character"),
        });
    }
    bytes
}

#[test]
fn each_request_has_the_arguments_told_and_is_what_a_client_writes() {
    for (request, arguments) in followed("request", "arguments") {
        let request = unescape(&request);
        let arguments = parse(format!("{arguments}\n").as_bytes());
        assert_eq!(parse(&request), arguments, "{}", request.escape_ascii());

        let mut written = Vec::new();
        encode_request(&arguments, &mut written);
        assert_eq!(written.escape_ascii().to_string(), request.escape_ascii().to_string());
    }
}

#[test]
fn each_inline_command_has_the_arguments_told() {
    for (line, arguments) in followed("inline", "arguments") {
        assert_eq!(parse(&unescape(&line)), parse(format!("{arguments}\n").as_bytes()), "{line}");
    }
}

#[test]
fn each_reply_is_what_we_write_for_the_value_a_client_reads() {
    for (name, version) in
        [("reply resp2", ProtocolVersion::Resp2), ("reply resp3", ProtocolVersion::Resp3)]
    {
        let replies: Vec<_> = blocks().into_iter().filter(|block| block.0 == name).collect();
        assert!(!replies.is_empty(), "no example called {name}");
        for (_, reply) in replies {
            let reply = unescape(&reply);
            let (value, reply_bytes) = decode(&reply).expect("a reply").expect("a whole reply");
            assert_eq!(reply_bytes, reply.len(), "{}", reply.escape_ascii());

            let mut written = Vec::new();
            common::write(&value, &mut Reply::new(&mut written, version));
            assert_eq!(written.escape_ascii().to_string(), reply.escape_ascii().to_string());
        }
    }
}

/// The bytes that the lines of a hexdump show, each behind its offset.
fn undump(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let offset = usize::from_str_radix(words.next().expect("an offset"), 16);
        assert_eq!(offset, Ok(bytes.len()), "{line}");
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).expect("a byte")));
    }
    bytes
}

#[test]
fn each_frame_is_what_we_write_for_the_cells_a_client_reads() {
    for (dump, told) in followed("frame", "cells") {
        let bytes = undump(&dump);
        let frame = VectorFrame::decode(&bytes).expect("a frame");
        let shape = frame.shape();
        let mut lines = told.lines();
        assert_eq!(lines.next(), Some(format!("f64 {} {}", shape.rows, shape.columns).as_str()));
        let cells: Vec<(f64, VectorStatus)> = frame.f64s().zip(frame.statuses()).collect();
        let name = |status| match status {
            VectorStatus::Present => "PRESENT",
            VectorStatus::NullValue => "NULL_VALUE",
            VectorStatus::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            VectorStatus::NotFound => "NOT_FOUND",
        };
        let text = |(cell, status): &(f64, _)| match cell.is_nan() {
            true => format!("nan {}", name(*status)),
            false => format!("{cell} {}", name(*status)),
        };
        assert_eq!(lines.collect::<Vec<_>>(), cells.iter().map(text).collect::<Vec<_>>());

        let shape = VectorShape { element: VectorElement::F64, ..shape };
        let mut written = vec![0; shape.frame_bytes().expect("a size")];
        let mut writer = VectorWriter::begin(shape, &mut written).expect("room");
        for (place, (cell, status)) in cells.into_iter().enumerate() {
            match status {
                VectorStatus::Present => {
                    assert!(writer.set_number(place, VectorNumber::Float64(cell)));
                }
                status => writer.set_status(place, status),
            }
        }
        assert_eq!(written, bytes);
    }
}

#[test]
fn the_limits_told_are_the_limits() {
    let (default, before) = (RequestLimits::DEFAULT, RequestLimits::BEFORE_AUTHENTICATION);
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let kib = |bytes: usize| format!("{} KiB", bytes >> 10);
    for row in [
        format!(
            "`bulk_bytes_max` | {} | {}",
            mib(default.bulk_bytes_max),
            kib(before.bulk_bytes_max)
        ),
        format!(
            "`inline_bytes_max` | {} | {}",
            kib(default.inline_bytes_max),
            kib(before.inline_bytes_max)
        ),
        format!(
            "`request_bytes_max` | {} | {}",
            mib(default.request_bytes_max),
            mib(before.request_bytes_max)
        ),
        format!("`arguments_max` | 1,048,576 | {}", before.arguments_max),
    ] {
        assert!(DOCUMENT.contains(&row), "{row}");
    }
    assert_eq!(default.arguments_max, 1_048_576);
}
