//! One frame of the log: what one group commit wrote.
//!
//! A frame begins at a multiple of 512 bytes, so no write of a later frame touches a sector that a
//! durable one stands in. Little-endian:
//!
//! ```text
//! offset  size  field
//!      0     4  magic "NTwf"
//!      4     4  crc32 of bytes 8 to 64
//!      8     4  payload length as stored
//!     12     4  payload length before lz4
//!     16     8  first LSN
//!     24     4  number of records
//!     28     4  flags: 1 payload is lz4, 2 holds history, 4 footer (clean end, no records)
//!     32     8  durable LSN: all up to here was synced when this frame was written
//!     40     8  clock in µs since 1970
//!     48     8  chain value of the frame before
//!     56     4  crc32 of the table of checksums behind the payload
//!     60     4  0
//!     64     n  payload: each record as its length, 4 bytes, and its bytes
//!   64+n    4k  crc32 of each 8 KiB of the payload as stored
//!               zeros to the next multiple of 512
//! ```
//! Every checksum starts from salt ^ segment number ^ its own offset in the file, so stale, moved
//! or recycled bytes never verify. The chain value of a frame is its two checksums: crc32 of the
//! header, then crc32 of the table, which together cover every byte before.
//!
//! Invariants
//! - The checksum of the header is verified before any length in it is believed.
//! - A header is one sector: a torn write leaves it whole or not valid.

use crate::{
    disk::frame::{Fields, checksum},
    log::contract::Lsn,
    planted::planted,
};
use std::borrow::Cow;

/// Every frame begins at a multiple of this.
pub(super) const FRAME_ALIGNMENT: usize = 512;
/// The length of the header of a frame.
pub(super) const FRAME_HEADER_BYTES: usize = 64;
/// The length of the part of a payload that has its own checksum.
const PIECE_BYTES: usize = 8 * 1024;
/// The longest record that is taken.
pub(super) const RECORD_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// What a record takes in a payload beside its bytes.
pub(super) const RECORD_LENGTH_BYTES: usize = 4;

const MAGIC: [u8; 4] = *b"NTwf";
const FLAG_LZ4: u32 = 1;
/// An older nowthen said so that records hold what clients pushed; it means nothing any more.
const FLAG_HISTORY: u32 = 2;
const FLAG_FOOTER: u32 = 4;
const _: () = assert!(RECORD_BYTES_MAX < u32::MAX as usize / 2);

/// Where a frame stands: the seed of its checksums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) salt: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What a frame says beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) first_lsn: Lsn,
    pub(super) count: u32,
    pub(super) is_footer: bool,
    pub(super) durable_lsn: Lsn,
    pub(super) clock_us: i64,
    pub(super) chain_before: u64,
}

/// A valid frame.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: FrameHeader,
    /// Its length in the file, with the zeros behind it.
    pub(super) bytes: usize,
    pub(super) chain: u64,
    stored: &'a [u8],
    is_lz4: bool,
    raw_bytes: usize,
}

/// The length in the file of a frame with a payload of `raw_bytes` that is not compressed.
pub(super) fn frame_bytes(raw_bytes: usize) -> usize {
    let table_bytes = 4 * raw_bytes.div_ceil(PIECE_BYTES);
    (FRAME_HEADER_BYTES + raw_bytes + table_bytes).next_multiple_of(FRAME_ALIGNMENT)
}

impl Place {
    fn seed_at(self, offset_in_frame: usize) -> u64 {
        self.salt ^ self.segment ^ self.offset.wrapping_add(offset_in_frame as u64)
    }

    fn table(self, stored: &[u8]) -> Vec<u8> {
        let pieces = stored.chunks(PIECE_BYTES).enumerate();
        pieces
            .flat_map(|(index, piece)| {
                let seed = self.seed_at(FRAME_HEADER_BYTES + index * PIECE_BYTES);
                checksum(seed, piece).to_le_bytes()
            })
            .collect()
    }
}

/// Appends the frame of `raw`, records each after its length, to `out`; gives its chain value.
pub(super) fn encode_frame(
    header: &FrameHeader,
    raw: &[u8],
    place: Place,
    out: &mut Vec<u8>,
) -> u64 {
    encode_packed(header, raw, pack(raw).as_deref(), place, out)
}

/// The same with what [`pack`] gave of `raw`, or without packing.
pub(super) fn encode_packed(
    header: &FrameHeader,
    raw: &[u8],
    packed: Option<&[u8]>,
    place: Place,
    out: &mut Vec<u8>,
) -> u64 {
    assert!(header.is_footer == (header.count == 0) && raw.len() <= u32::MAX as usize);
    let stored: &[u8] = packed.unwrap_or(raw);
    let flags = if packed.is_some() { FLAG_LZ4 } else { 0 }
        | if header.is_footer { FLAG_FOOTER } else { 0 };
    let table = place.table(stored);
    let table_checksum = checksum(place.seed_at(FRAME_HEADER_BYTES + stored.len()), &table);

    let mut checked = Vec::with_capacity(FRAME_HEADER_BYTES);
    checked.extend_from_slice(&(stored.len() as u32).to_le_bytes());
    checked.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    checked.extend_from_slice(&header.first_lsn.0.to_le_bytes());
    checked.extend_from_slice(&header.count.to_le_bytes());
    checked.extend_from_slice(&flags.to_le_bytes());
    checked.extend_from_slice(&header.durable_lsn.0.to_le_bytes());
    checked.extend_from_slice(&header.clock_us.to_le_bytes());
    checked.extend_from_slice(&header.chain_before.to_le_bytes());
    checked.extend_from_slice(&table_checksum.to_le_bytes());
    checked.extend_from_slice(&[0; 4]);
    let header_checksum = checksum(place.seed_at(0), &checked);

    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&header_checksum.to_le_bytes());
    out.extend_from_slice(&checked);
    out.extend_from_slice(stored);
    out.extend_from_slice(&table);
    out.resize(start + (out.len() - start).next_multiple_of(FRAME_ALIGNMENT), 0);
    chain_value(header_checksum, table_checksum)
}

fn chain_value(header_checksum: u32, table_checksum: u32) -> u64 {
    u64::from(header_checksum) << 32 | u64::from(table_checksum)
}

/// `raw` as lz4, if that makes the frame shorter.
pub(super) fn pack(raw: &[u8]) -> Option<Vec<u8>> {
    if frame_bytes(raw.len()) == FRAME_ALIGNMENT {
        return None;
    }
    let packed = lz4_flex::block::compress(raw);
    (frame_bytes(packed.len()) < frame_bytes(raw.len())).then_some(packed)
}

/// The header of a frame, verified, without a look at its payload.
struct Head {
    header: FrameHeader,
    header_checksum: u32,
    table_checksum: u32,
    stored_bytes: usize,
    raw_bytes: usize,
    is_lz4: bool,
}

fn decode_head(bytes: &[u8], place: Place) -> Option<Head> {
    let mut fields = Fields::new(bytes);
    if fields.array() != Some(MAGIC) {
        return None;
    }
    let header_checksum = fields.u32()?;
    let checked = bytes.get(8..FRAME_HEADER_BYTES)?;
    if checksum(place.seed_at(0), checked) != header_checksum && !planted("header unverified") {
        return None;
    }
    let stored_bytes = usize::try_from(fields.u32()?).ok()?;
    let raw_bytes = usize::try_from(fields.u32()?).ok()?;
    let first_lsn = Lsn(fields.u64()?);
    let count = fields.u32()?;
    let flags = fields.u32()?;
    let durable_lsn = Lsn(fields.u64()?);
    let clock_us = fields.i64()?;
    let chain_before = fields.u64()?;
    let table_checksum = fields.u32()?;
    let is_footer = flags & FLAG_FOOTER != 0;
    let known = flags & !(FLAG_LZ4 | FLAG_HISTORY | FLAG_FOOTER) == 0 && fields.u32()? == 0;
    let header = FrameHeader { first_lsn, count, is_footer, durable_lsn, clock_us, chain_before };
    let is_lz4 = flags & FLAG_LZ4 != 0;
    (known && is_footer == (count == 0)).then_some(Head {
        header,
        header_checksum,
        table_checksum,
        stored_bytes,
        raw_bytes,
        is_lz4,
    })
}

/// How long the frame is whose valid header stands at the start of `bytes`.
pub(super) fn frame_length(bytes: &[u8], place: Place) -> Option<usize> {
    decode_head(bytes, place).map(|head| frame_bytes(head.stored_bytes))
}

/// The durable LSN that a valid frame header at the start of `bytes` proves, whatever became of its
/// payload.
pub(super) fn proven_durable(bytes: &[u8], place: Place) -> Option<Lsn> {
    decode_head(bytes, place).map(|head| head.header.durable_lsn)
}

/// The frame at the start of `bytes`, or what is wrong with it.
pub(super) fn decode_frame(bytes: &[u8], place: Place) -> Result<Frame<'_>, &'static str> {
    let head = decode_head(bytes, place).ok_or("a frame header with a valid checksum")?;
    let mut fields = Fields::new(bytes);
    fields.take(FRAME_HEADER_BYTES);
    let stored = fields.take(head.stored_bytes).ok_or("a payload of the length its header says")?;
    let table_bytes = 4 * head.stored_bytes.div_ceil(PIECE_BYTES);
    let table = fields.take(table_bytes).ok_or("a table of checksums")?;
    let used_bytes = FRAME_HEADER_BYTES + head.stored_bytes + table_bytes;
    let padding_bytes = used_bytes.next_multiple_of(FRAME_ALIGNMENT) - used_bytes;
    let padding = fields.take(padding_bytes).ok_or("zeros to the end of the frame")?;

    let table_checksum = checksum(place.seed_at(FRAME_HEADER_BYTES + head.stored_bytes), table);
    if table_checksum != head.table_checksum {
        return Err("a table of checksums with a valid checksum");
    }
    if place.table(stored) != table && !planted("payload unverified") {
        return Err("a payload with valid checksums");
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Err("zeros to the end of the frame");
    }
    Ok(Frame {
        header: head.header,
        bytes: used_bytes + padding_bytes,
        chain: chain_value(head.header_checksum, head.table_checksum),
        stored,
        is_lz4: head.is_lz4,
        raw_bytes: head.raw_bytes,
    })
}

impl<'a> Frame<'a> {
    /// The LSN after the last record.
    pub(super) fn next_lsn(&self) -> Lsn {
        self.header.first_lsn.after(u64::from(self.header.count))
    }

    /// The payload without compression.
    pub(super) fn raw(&self) -> Result<Cow<'a, [u8]>, &'static str> {
        let wrong = "a payload that lz4 can read";
        if !self.is_lz4 {
            return Ok(Cow::Borrowed(self.stored));
        }
        // No lz4 block grows by more than 255, so a length beyond that is never allocated.
        if self.raw_bytes / 256 > self.stored.len() {
            return Err(wrong);
        }
        let raw = lz4_flex::block::decompress(self.stored, self.raw_bytes).map_err(|_| wrong)?;
        if raw.len() == self.raw_bytes { Ok(Cow::Owned(raw)) } else { Err(wrong) }
    }

    /// Its records with their LSNs: an error before the first, or all of them.
    pub(super) fn records(&self) -> Result<FrameRecords, &'static str> {
        let raw = self.raw()?;
        let mut fields = Fields::new(&raw);
        let mut count = 0;
        while !fields.rest().is_empty() && count <= self.header.count {
            fields.prefixed().ok_or(WRONG_COUNT)?;
            count += 1;
        }
        if count != self.header.count {
            return Err(WRONG_COUNT);
        }
        Ok(FrameRecords { raw: raw.into_owned(), at: 0, next: self.header.first_lsn })
    }
}

const WRONG_COUNT: &str = "as many records as its header says";

/// The records of a frame, one after the other.
#[derive(Debug, Default)]
pub(super) struct FrameRecords {
    raw: Vec<u8>,
    /// Where the next one begins.
    at: usize,
    next: Lsn,
}

impl Iterator for FrameRecords {
    type Item = (Lsn, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let record = Fields::new(self.raw.get(self.at..)?).prefixed()?;
        let (lsn, record) = (self.next, record.to_vec());
        self.at += RECORD_LENGTH_BYTES + record.len();
        self.next = lsn.next();
        Some((lsn, record))
    }
}

/// Appends `record` to a payload.
pub(super) fn push_record(raw: &mut Vec<u8>, record: &[u8]) {
    raw.extend_from_slice(&(record.len() as u32).to_le_bytes());
    raw.extend_from_slice(record);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::frame::hex_dump;

    const PLACE: Place = Place { salt: 0x5a17, segment: 3, offset: 512 };

    fn frame_of(records: &[&[u8]]) -> Vec<u8> {
        let mut raw = Vec::new();
        records.iter().for_each(|record| push_record(&mut raw, record));
        let header = FrameHeader {
            first_lsn: Lsn(7),
            count: records.len() as u32,
            is_footer: records.is_empty(),
            durable_lsn: Lsn(6),
            clock_us: 1_700_000_000_000_000,
            chain_before: 0x1122_3344_5566_7788,
        };
        let mut out = Vec::new();
        encode_frame(&header, &raw, PLACE, &mut out);
        out
    }

    fn read(bytes: &[u8], place: Place) -> Result<Vec<(Lsn, Vec<u8>)>, &'static str> {
        decode_frame(bytes, place)?.records().map(Iterator::collect)
    }

    #[test]
    fn a_frame_stands_as_documented() {
        assert_eq!(hex_dump(&frame_of(&[b"first", b"second"])), GOLDEN);
    }

    #[test]
    fn a_frame_reads_back_as_written_compressed_or_not() {
        let long = vec![7; 100_000];
        for records in [&[b"a".as_slice(), b""][..], &[&long, b"x"], &[]] {
            let bytes = frame_of(records);
            assert!(bytes.len() < 2048 && bytes.len().is_multiple_of(FRAME_ALIGNMENT));
            let frame = decode_frame(&bytes, PLACE).unwrap();
            assert_eq!((frame.bytes, frame.header.first_lsn), (bytes.len(), Lsn(7)));
            let read: Vec<Vec<u8>> = frame.records().unwrap().map(|r| r.1).collect();
            assert_eq!(read, records);
        }
    }

    #[test]
    fn any_flipped_bit_of_a_frame_is_found() {
        let bytes = frame_of(&[b"the record", &[9; 700]]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_in_another_place_is_not_valid() {
        let bytes = frame_of(&[b"x"]);
        let moved = Place { offset: 1024, ..PLACE };
        let recycled = Place { salt: PLACE.salt + 1, ..PLACE };
        let other = Place { segment: 4, ..PLACE };
        for place in [moved, recycled, other] {
            assert!(read(&bytes, place).is_err());
        }
    }

    const GOLDEN: &str = "\
0000  4e 54 77 66 86 3c 99 87 13 00 00 00 13 00 00 00
0010  07 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00
0020  06 00 00 00 00 00 00 00 00 40 1e 18 24 0a 06 00
0030  88 77 66 55 44 33 22 11 d1 33 fd fe 00 00 00 00
0040  05 00 00 00 66 69 72 73 74 06 00 00 00 73 65 63
0050  6f 6e 64 2e 86 d4 5f 00 00 00 00 00 00 00 00 00
*
0200
";
}
