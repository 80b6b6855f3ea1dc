//! Any bytes are refused as a frame of vectors, or are one: a number and a status in each cell, and
//! no memory for a length that is only claimed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nowthen_protocol::vector::VectorFrame;

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = VectorFrame::decode(bytes) else { return };
    let cells = frame.shape().rows * frame.shape().columns;
    assert_eq!(frame.statuses().count(), cells);
    let numbers = frame.f32s().count() + frame.f64s().count() + frame.i64s().count();
    assert_eq!(numbers, cells, "in one type and no other");
    let cut = bytes.get(..bytes.len().saturating_sub(1)).unwrap_or_default();
    assert!(VectorFrame::decode(cut).is_err(), "a frame without its last byte");
});
