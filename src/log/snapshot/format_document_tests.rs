//! docs/formats/snapshot.md shows what is written: see `log/local/format_document_tests.rs`.

use super::{
    block::{BlockPlace, decode_block, encode_block},
    snapshot_file::{HEADER_BYTES, SnapshotHeader, SnapshotSummary},
};
use crate::{
    disk::frame::{bytes_of_dump, dump_in, hex_dump},
    log::{Lsn, StateDigest, read_snapshot_bytes},
};
use std::path::Path;

const DOCUMENT: &str = include_str!("../../../docs/formats/snapshot.md");
const HEADER: SnapshotHeader = SnapshotHeader {
    snapshot_id: 1,
    store_id: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
    shards: 1,
    lsn: Lsn(1),
};
/// The row of docs/formats/rows.md: key `k`, value `v`, written by record 1.
const ROW: &[u8] = b"\x41\x01\0\0\0\0\0\0\0\x01\0\0\0kv";

fn place(offset: usize) -> BlockPlace {
    BlockPlace { snapshot_id: HEADER.snapshot_id, shard: 0, offset: offset as u64 }
}

/// A shard of one row.
fn file() -> Vec<u8> {
    let mut digest = StateDigest::default();
    digest.add(ROW);
    let mut raw = (ROW.len() as u32).to_le_bytes().to_vec();
    raw.extend_from_slice(ROW);
    let mut bytes = HEADER.encode(0);
    bytes.extend(encode_block(&raw, 1, place(bytes.len())));
    let footer = SnapshotSummary { entries: 1, digest, last_lsn: Lsn(1) };
    let footer = encode_block(&footer.encode(), 0, place(bytes.len()));
    bytes.extend(footer);
    bytes
}

#[test]
fn the_example_of_the_document_is_read_and_written_again_as_it_stands() {
    let dump = dump_in(DOCUMENT, "example");
    assert_eq!(hex_dump(&file()), dump);
    let bytes = bytes_of_dump(&dump);
    assert_eq!(read_snapshot_bytes(&bytes).unwrap().entries, 1);
    let (header, shard) = SnapshotHeader::decode(&bytes, Path::new("snapshot.md")).unwrap();
    let (mut again, mut offset) = (header.encode(shard), HEADER_BYTES);
    while offset < bytes.len() {
        let block = decode_block(&bytes[offset..], place(offset)).unwrap();
        again.extend(encode_block(&block.raw, block.count, place(offset)));
        offset += block.bytes;
    }
    assert_eq!(again, bytes);
}
