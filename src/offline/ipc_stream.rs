//! An Arrow IPC stream from a client: looked at, then decoded.
//!
//! The decoder makes room for as many bytes as a compressed buffer claims to hold. A claim that
//! the machine cannot meet would end the whole process; so every claim is tried here first.

use super::parquet_file::guarded;
use crate::error::{Error, Result};
use arrow_array::RecordBatch;
use arrow_ipc::{MessageHeader, reader::StreamReader, root_as_message};
use arrow_schema::SchemaRef;
use parquet::errors::{ParquetError, Result as ParquetResult};
use std::path::Path;

/// A length that stands for "this buffer is not compressed after all".
const NOT_COMPRESSED: i64 = -1;

/// The batches of a stream; `name` is what an error calls it.
pub(super) fn read_ipc_stream(bytes: &[u8], name: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    guarded(Path::new(name), || {
        refuse_impossible_claims(bytes)
            .ok_or_else(|| ParquetError::General("a buffer claims an impossible size".into()))
    })?;
    guarded(Path::new(name), || {
        let reader = StreamReader::try_new(bytes, None)?;
        let schema = reader.schema();
        let batches: Result<Vec<RecordBatch>, _> = reader.collect();
        ParquetResult::Ok((schema, batches?))
    })
    .map_err(|error| Error::refused(format!("{error}; expected an Arrow IPC stream")))
}

/// `None` if a compressed buffer claims more than the machine would give. What is no stream at
/// all is left to the decoder, whose errors say more.
fn refuse_impossible_claims(bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (length, after) = match u32::from_le_bytes(*length) {
            u32::MAX => match after.split_first_chunk::<4>() {
                Some((length, after)) => (u32::from_le_bytes(*length), after),
                None => return Some(()),
            },
            length => (length, after),
        };
        let Some((message, after)) = after.split_at_checked(length as usize) else {
            return Some(());
        };
        let Ok(message) = root_as_message(message) else { return Some(()) };
        let Ok(body_length) = usize::try_from(message.bodyLength()) else { return Some(()) };
        let Some((body, after)) = after.split_at_checked(body_length) else { return Some(()) };
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|batch| batch.data())
            }
            _ => None,
        };
        let compressed = batch.filter(|batch| batch.compression().is_some());
        for buffer in compressed.and_then(|batch| batch.buffers()).into_iter().flatten() {
            let start = usize::try_from(buffer.offset()).ok();
            let claim = start.and_then(|start| body.get(start..)?.first_chunk::<8>());
            let claim = claim.map_or(0, |claim| i64::from_le_bytes(*claim));
            if claim != NOT_COMPRESSED && buffer.length() > 0 {
                Vec::<u8>::new().try_reserve_exact(usize::try_from(claim).ok()?).ok()?;
            }
        }
        rest = after;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, StringArray};
    use arrow_ipc::{
        CompressionType,
        writer::{IpcWriteOptions, StreamWriter},
    };
    use std::sync::Arc;

    fn stream(compression: Option<CompressionType>) -> Vec<u8> {
        let text: StringArray = (0..500).map(|i| Some(format!("text {}", i % 7))).collect();
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter_values(0..500)) as ArrayRef),
            ("text", Arc::new(text) as ArrayRef),
        ])
        .unwrap();
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut out = Vec::new();
        let mut writer =
            StreamWriter::try_new_with_options(&mut out, &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        out
    }

    fn codecs() -> [Option<CompressionType>; 3] {
        [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)]
    }

    #[test]
    fn a_stream_is_read_compressed_or_not() {
        for codec in codecs() {
            let (_, batches) = read_ipc_stream(&stream(codec), "the spine").unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 500);
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error_or_a_table_and_never_ends_the_process() {
        for codec in codecs() {
            let whole = stream(codec);
            for length in (0..whole.len()).step_by(37) {
                let _ = read_ipc_stream(&whole[..length], "the spine");
            }
            for byte in 0..whole.len() {
                for damage in [0x80, 0x01, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[byte] ^= damage;
                    let _ = read_ipc_stream(&bytes, "the spine");
                }
            }
        }
    }

    #[test]
    fn a_buffer_that_claims_a_petabyte_is_refused() {
        let mut bytes = stream(Some(CompressionType::LZ4_FRAME));
        let claim = 4000_i64.to_le_bytes();
        let at = bytes.windows(8).position(|window| window == claim).unwrap();
        bytes[at..at + 8].copy_from_slice(&(1_i64 << 50).to_le_bytes());
        let why = read_ipc_stream(&bytes, "the spine").unwrap_err().to_string();
        assert!(why.contains("impossible size"), "{why}");
    }
}
