//! An Arrow IPC stream from a client: looked at, then decoded.
//!
//! The decoder makes room for as many bytes as a compressed buffer claims to hold. A claim that
//! the machine cannot meet would end the whole process; so every claim is tried here first.

use super::parquet_file::guarded;
use crate::error::{Error, Result};
use arrow_array::RecordBatch;
use arrow_ipc::{Message, MessageHeader, reader::StreamReader, root_as_message};
use arrow_schema::SchemaRef;
use parquet::errors::{ParquetError, Result as ParquetResult};
use std::path::Path;

/// A length that stands for "this buffer is not compressed after all".
const NOT_COMPRESSED: i64 = -1;

/// The batches of a stream; `name` is what an error calls it.
pub(super) fn read_ipc_stream(bytes: &[u8], name: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut stream = IpcStream::open(bytes, name, None)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next_batch()? {
        batches.push(batch);
    }
    Ok((stream.schema(), batches))
}

/// A stream that is decoded batch by batch.
pub(super) struct IpcStream<'a> {
    name: &'a str,
    is_ended: bool,
    reader: StreamReader<&'a [u8]>,
}

impl<'a> IpcStream<'a> {
    /// Reads the schema. With `message_bytes_max` no batch may take more, nor all dictionaries.
    pub(super) fn open(
        bytes: &'a [u8],
        name: &'a str,
        message_bytes_max: Option<usize>,
    ) -> Result<Self> {
        let claims = guarded(Path::new(name), || {
            Claims::of(bytes)
                .ok_or_else(|| ParquetError::General("a buffer claims an impossible size".into()))
        })?;
        if message_bytes_max.is_some_and(|most| claims.largest_bytes > most) {
            return Err(Error::refused(format!(
                "{name}: a batch takes {} bytes: write it in smaller batches",
                claims.largest_bytes
            )));
        }
        let reader = guarded(Path::new(name), || Ok(StreamReader::try_new(bytes, None)?));
        let reader = reader.map_err(no_stream)?;
        Ok(Self { name, is_ended: claims.is_ended, reader })
    }

    /// The end mark is optional in the format, but without it nobody can tell a stream that was
    /// cut between two batches.
    pub(super) fn refuse_without_end(&self) -> Result<()> {
        if self.is_ended {
            return Ok(());
        }
        Err(Error::refused(format!("{}: it is cut off: there is no end mark", self.name)))
    }

    /// Its columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }

    /// The next batch; `None` after the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let next = guarded(Path::new(self.name), || match self.reader.next() {
            Some(batch) => ParquetResult::Ok(Some(batch?)),
            None => Ok(None),
        });
        next.map_err(no_stream)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it becomes the text of another")]
fn no_stream(error: Error) -> Error {
    Error::refused(format!("{error}; expected an Arrow IPC stream"))
}

/// What a stream says of itself before it is decoded.
#[derive(Clone, Copy, Debug, Default)]
struct Claims {
    /// The bytes of its largest batch, decompressed, or of all its dictionaries.
    largest_bytes: usize,
    /// Whether it has its end mark.
    is_ended: bool,
}

impl Claims {
    /// `None` if a compressed buffer claims more than the machine would give. What is no stream
    /// at all is left to the decoder, whose errors say more.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut claims = Self::default();
        let mut dictionary_bytes = 0_usize;
        let mut rest = bytes;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (length, after) = match u32::from_le_bytes(*length) {
                u32::MAX => match after.split_first_chunk::<4>() {
                    Some((length, after)) => (u32::from_le_bytes(*length), after),
                    None => return Some(claims),
                },
                length => (length, after),
            };
            if length == 0 {
                claims.is_ended = true;
                return Some(claims);
            }
            let Some((message, after)) = after.split_at_checked(length as usize) else {
                return Some(claims);
            };
            let Ok(message) = root_as_message(message) else { return Some(claims) };
            let Ok(body_length) = usize::try_from(message.bodyLength()) else {
                return Some(claims);
            };
            let Some((body, after)) = after.split_at_checked(body_length) else {
                return Some(claims);
            };
            let is_dictionary = message.header_type() == MessageHeader::DictionaryBatch;
            let message_bytes = message_bytes(&message, body)?;
            dictionary_bytes =
                dictionary_bytes.saturating_add(if is_dictionary { message_bytes } else { 0 });
            claims.largest_bytes = claims.largest_bytes.max(message_bytes).max(dictionary_bytes);
            rest = after;
        }
        Some(claims)
    }
}

/// How many bytes the buffers of a message take, decompressed.
fn message_bytes(message: &Message<'_>, body: &[u8]) -> Option<usize> {
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            message.header_as_dictionary_batch().and_then(|batch| batch.data())
        }
        _ => None,
    };
    let compressed = batch.filter(|batch| batch.compression().is_some());
    let mut total = body.len();
    for buffer in compressed.and_then(|batch| batch.buffers()).into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).ok();
        let claim = start.and_then(|start| body.get(start..)?.first_chunk::<8>());
        let claim = claim.map_or(0, |claim| i64::from_le_bytes(*claim));
        if claim != NOT_COMPRESSED && buffer.length() > 0 {
            let claim = usize::try_from(claim).ok()?;
            Vec::<u8>::new().try_reserve_exact(claim).ok()?;
            total = total.saturating_add(claim);
        }
    }
    Some(total)
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
    fn a_stream_that_is_cut_between_batches_has_no_end() {
        for codec in codecs() {
            let whole = stream(codec);
            let open = |bytes| IpcStream::open(bytes, "the stream", None).unwrap();
            open(&whole).refuse_without_end().unwrap();
            // The mark is four bytes of ones and four of zeros.
            let mut cut = open(&whole[..whole.len() - 8]);
            assert!(cut.next_batch().unwrap().is_some() && cut.next_batch().unwrap().is_none());
            let why = cut.refuse_without_end().unwrap_err().to_string();
            assert_eq!(why, "the stream: it is cut off: there is no end mark");
        }
    }

    #[test]
    fn a_batch_that_would_take_too_much_is_refused_before_it_is_decompressed() {
        for codec in codecs() {
            let whole = stream(codec);
            assert!(IpcStream::open(&whole, "the stream", Some(100_000)).is_ok());
            let why = IpcStream::open(&whole, "the stream", Some(4000)).err().unwrap().to_string();
            assert!(why.contains("write it in smaller batches"), "{why}");
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
