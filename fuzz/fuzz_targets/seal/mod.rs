//! Puts right checksums into damaged files, so that the fuzzer gets behind them: a mutation that
//! the first checksum stops tells nothing about what reads lengths, lz4 and records.
//!
//! Invariants
//! - Only magics, checksums and what they chain are written; every length, count and flag stays as
//!   the fuzzer made it, but for the length of the body of a manifest or of a backup's list, which
//!   the file itself tells, and feature bits that nobody knows.
//! - A whole file is sealed to itself: the targets assert it of a seed as they start, so this
//!   cannot fall behind the formats unnoticed.
//!
//! The formats are told in `src/log/local/segment.rs`, `log_frame.rs`, `src/log/snapshot/`,
//! `src/log/manifest.rs`, `src/log/backup_manifest.rs`.

use nowthen::disk::frame::checksum;

const SEGMENT_HEADER_BYTES: usize = 512;
const FRAME_HEADER_BYTES: usize = 64;
const FRAME_ALIGNMENT: usize = 512;
const PIECE_BYTES: usize = 8 * 1024;
const SNAPSHOT_HEADER_BYTES: usize = 56;
const BLOCK_HEADER_BYTES: usize = 24;
const MANIFEST_HEADER_BYTES: usize = 48;
const BACKUP_HEADER_BYTES: usize = 80;
/// The feature bit of a manifest that lists files of the history.
const HISTORY_BIT: u32 = 1;

/// A log segment with its header and every frame sealed.
#[allow(dead_code, reason = "each target uses one of these")]
pub(super) fn seal_segment(file: &mut [u8]) -> Option<()> {
    seal_header(file, b"NTwl", FRAME_HEADER_BYTES, 0)?;
    file.get_mut(FRAME_HEADER_BYTES..SEGMENT_HEADER_BYTES)?.fill(0);
    let salt = number(file, 48)? ^ number(file, 32)?;
    let (mut next_lsn, mut chain) = (number(file, 40)?, number(file, 56)?);
    let mut offset = SEGMENT_HEADER_BYTES;
    while let Some(frame) = file.get_mut(offset..) {
        let stored_bytes = small_number(frame, 8)? as usize;
        let table_at = FRAME_HEADER_BYTES + stored_bytes;
        let end = table_at + 4 * stored_bytes.div_ceil(PIECE_BYTES);
        let frame_bytes = end.next_multiple_of(FRAME_ALIGNMENT);
        let seed = |at: usize| salt ^ (offset + at) as u64;

        for at in (FRAME_HEADER_BYTES..table_at).step_by(PIECE_BYTES) {
            let piece = checksum(seed(at), frame.get(at..table_at.min(at + PIECE_BYTES))?);
            put(
                frame,
                table_at + (at - FRAME_HEADER_BYTES) / PIECE_BYTES * 4,
                &piece.to_le_bytes(),
            )?;
        }
        frame.get_mut(end..frame_bytes)?.fill(0);
        let table_checksum = checksum(seed(table_at), frame.get(table_at..end)?);
        put(frame, 0, b"NTwf")?;
        put(frame, 16, &next_lsn.to_le_bytes())?;
        put(frame, 48, &chain.to_le_bytes())?;
        put(frame, 56, &table_checksum.to_le_bytes())?;
        put(frame, 60, &[0; 4])?;
        let header_checksum = checksum(seed(0), frame.get(8..FRAME_HEADER_BYTES)?);
        put(frame, 4, &header_checksum.to_le_bytes())?;

        chain = u64::from(header_checksum) << 32 | u64::from(table_checksum);
        next_lsn = next_lsn.saturating_add(small_number(frame, 24)?.into());
        offset += frame_bytes;
    }
    Some(())
}

/// A snapshot file with its header and every block sealed.
#[allow(dead_code, reason = "each target uses one of these")]
pub(super) fn seal_snapshot(file: &mut [u8]) -> Option<()> {
    seal_header(file, b"NTsn", SNAPSHOT_HEADER_BYTES, 0)?;
    let id = number(file, 16)?.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let shard = u64::from(small_number(file, 40)?).rotate_left(40);
    let mut offset = SNAPSHOT_HEADER_BYTES;
    while let Some(block) = file.get_mut(offset..) {
        let seed = id ^ shard ^ offset as u64;
        let end = BLOCK_HEADER_BYTES + small_number(block, 8)? as usize;
        let payload = checksum(seed, block.get(BLOCK_HEADER_BYTES..end)?);
        put(block, 4, &payload.to_le_bytes())?;
        let header = checksum(seed, block.get(4..BLOCK_HEADER_BYTES)?);
        put(block, 0, &header.to_le_bytes())?;
        offset += end;
    }
    Some(())
}

/// A manifest with its header and its body sealed.
#[allow(dead_code, reason = "each target uses one of these")]
pub(super) fn seal_manifest(file: &mut [u8]) -> Option<()> {
    let seed = number(file, 16)?;
    seal_body(file, MANIFEST_HEADER_BYTES, seed)?;
    seal_header(file, b"NTmf", MANIFEST_HEADER_BYTES, HISTORY_BIT)
}

/// The list of a backup with its header and its body sealed.
#[allow(dead_code, reason = "each target uses one of these")]
pub(super) fn seal_backup(file: &mut [u8]) -> Option<()> {
    let seed = number(file, 56)?;
    seal_body(file, BACKUP_HEADER_BYTES, seed)?;
    seal_header(file, b"NTbk", BACKUP_HEADER_BYTES, 0)
}

/// The length and the checksum of the body stand at the end of the header.
fn seal_body(file: &mut [u8], header_bytes: usize, seed: u64) -> Option<()> {
    let body = file.get(header_bytes..)?;
    let (body_bytes, sum) = (body.len() as u32, checksum(seed, body));
    put(file, header_bytes - 8, &body_bytes.to_le_bytes())?;
    put(file, header_bytes - 4, &sum.to_le_bytes())
}

/// The preamble of all files: magic, checksum, version 1, header length, feature bits of which none
/// but the known ones stay.
fn seal_header(
    file: &mut [u8],
    magic: &[u8; 4],
    header_bytes: usize,
    known_bits: u32,
) -> Option<()> {
    let bits = small_number(file, 12)? & known_bits;
    put(file, 0, magic)?;
    put(file, 8, &1u16.to_le_bytes())?;
    put(file, 10, &(header_bytes as u16).to_le_bytes())?;
    put(file, 12, &bits.to_le_bytes())?;
    let header = checksum(0, file.get(8..header_bytes)?);
    put(file, 4, &header.to_le_bytes())
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn small_number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}
