//! docs/formats/log.md shows what is written: its example is decoded by the decoder of the product,
//! is what the encoder makes, and is encoded to the same bytes again.

use super::{
    log_frame::{FrameHeader, decode_frame, encode_frame, push_record},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader},
};
use crate::{
    disk::frame::{bytes_of_dump, dump_in, hex_dump},
    feature::{Change, PlainChange, Record, decode_record, encode_record},
    log::contract::Lsn,
};
use std::path::Path;

const DOCUMENT: &str = include_str!("../../../docs/formats/log.md");

/// `SET k v`, as the document says.
fn record() -> Record {
    let change = PlainChange::SetString { value: b"v".to_vec(), expires_at: None };
    Record { changes: vec![Change::Plain { key: b"k".to_vec(), change }] }
}

/// A segment of one record and a footer.
fn segment() -> Vec<u8> {
    let header = SegmentHeader {
        store_id: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
        number: 1,
        base_lsn: Lsn(1),
        salt: 0x5a17,
        chain_before: 0,
    };
    let frame = FrameHeader {
        first_lsn: Lsn(1),
        count: 1,
        is_footer: false,
        durable_lsn: Lsn(0),
        clock_us: 1_700_000_000_000_000,
        chain_before: 0,
    };
    let (mut bytes, mut raw) = (header.encode(), Vec::new());
    push_record(&mut raw, &encode_record(&record()));
    let chain_before = encode_frame(&frame, &raw, header.place(512), &mut bytes);
    let footer = FrameHeader {
        first_lsn: Lsn(2),
        count: 0,
        is_footer: true,
        durable_lsn: Lsn(1),
        clock_us: 1_700_000_000_000_001,
        chain_before,
    };
    encode_frame(&footer, &[], header.place(1024), &mut bytes);
    bytes
}

#[test]
fn the_example_of_the_document_is_read_and_written_again_as_it_stands() {
    let dump = dump_in(DOCUMENT, "example");
    assert_eq!(hex_dump(&segment()), dump);
    let bytes = bytes_of_dump(&dump);
    let header = SegmentHeader::decode(&bytes, Path::new("log.md")).unwrap();
    let (mut again, mut offset, mut records) = (header.encode(), SEGMENT_HEADER_BYTES, Vec::new());
    while offset < bytes.len() {
        let frame = decode_frame(&bytes[offset..], header.place(offset)).unwrap();
        encode_frame(&frame.header, &frame.raw().unwrap(), header.place(offset), &mut again);
        records.extend(frame.records().unwrap());
        offset += frame.bytes;
    }
    assert_eq!(again, bytes);
    let [(lsn, bytes)] = &records[..] else { panic!("{records:?}") };
    assert_eq!((*lsn, decode_record(bytes).unwrap()), (Lsn(1), record()));
}
