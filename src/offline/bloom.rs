//! The bloom filter of a column chunk, of which only the block of a value is read.
//!
//! ```text
//! header, of no fixed length ; its field 1: how many bytes follow
//! block of 32 bytes          ; 0
//! ...
//! block                      ; of a value: ((xxhash64(value) >> 32) * blocks) >> 32
//! ```
//! <https://github.com/apache/parquet-format/blob/master/BloomFilter.md>
//!
//! Whoever asks for one entity looks at one block of each row group; the decoder's own way reads
//! all blocks, which of a row group of 256 Ki rows are hundreds of kilobytes.

use super::parquet_file::ParquetFile;
use parquet::{bloom_filter::Sbbf, errors::ParquetError, file::reader::ChunkReader};
use twox_hash::XxHash64;

const BLOCK_BYTES: u64 = 32;

/// Parquet hashes with this.
const SEED: u64 = 0;

/// The filter of one column chunk.
#[derive(Debug)]
pub(super) struct BloomFilter<'a> {
    file: &'a ParquetFile,
    /// Where its blocks begin.
    start: u64,
    blocks: u64,
}

impl<'a> BloomFilter<'a> {
    /// The filter whose header is at `at`. Refused where the header makes no sense, and without a
    /// block or with a part of one.
    pub(super) fn open(file: &'a ParquetFile, at: i64) -> Result<Self, ParquetError> {
        let at = u64::try_from(at)?;
        let (header, bytes) = file.bloom_filter_header(at)?;
        match u64::try_from(bytes) {
            Ok(bytes) if bytes > 0 && bytes % BLOCK_BYTES == 0 => {
                Ok(Self { file, start: at.saturating_add(header), blocks: bytes / BLOCK_BYTES })
            }
            _ => Err(ParquetError::General(format!("a bloom filter of {bytes} bytes"))),
        }
    }

    /// Whether a value with these bytes, as a plain page has them, may be in the chunk.
    pub(super) fn may_hold(&self, value: &[u8]) -> Result<bool, ParquetError> {
        let hash = XxHash64::oneshot(SEED, value);
        let block = (u128::from(hash >> 32) * u128::from(self.blocks)) >> 32;
        let at = self.start.saturating_add(block as u64 * BLOCK_BYTES);
        let block = self.file.get_bytes(at, BLOCK_BYTES as usize)?;
        // Of one block alone every value's block is the first.
        Ok(Sbbf::new(&block).check(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_memory(bytes: Vec<u8>) -> ParquetFile {
        ParquetFile::in_memory(bytes.into(), &std::sync::Arc::default())
    }

    fn written(filter: &Sbbf) -> Vec<u8> {
        let mut bytes = Vec::new();
        filter.write(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        /// The decoder's own filter is the model: of texts, and of integers of any size.
        #[test]
        fn it_answers_as_the_decoder_does(
            held in proptest::collection::vec(any::<i64>(), 0..200),
            asked in proptest::collection::vec(any::<i64>(), 0..200),
            log_bytes in 5_u32..14,
            before in 0_usize..100,
        ) {
            let mut whole = Sbbf::new_with_num_of_bytes(1 << log_bytes);
            for value in &held {
                whole.insert(value);
                whole.insert(value.to_string().as_str());
            }
            let file = in_memory([vec![0; before], written(&whole)].concat());
            let filter = BloomFilter::open(&file, before as i64).unwrap();
            for value in held.iter().chain(&asked) {
                let text = value.to_string();
                prop_assert_eq!(filter.may_hold(&value.to_le_bytes()).unwrap(), whole.check(value));
                let expected = whole.check(text.as_str());
                prop_assert_eq!(filter.may_hold(text.as_bytes()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let whole = written(&Sbbf::new_with_num_of_bytes(64));
        let error = |bytes: &[u8], at| {
            let file = in_memory(bytes.to_vec());
            BloomFilter::open(&file, at).and_then(|filter| filter.may_hold(b"a")).unwrap_err()
        };
        error(&whole, -1);
        error(&whole, i64::MAX);
        let header = whole.len() - 64;
        error(whole.get(..header).unwrap(), 0);
        error(whole.get(..header - 1).unwrap(), 0);
        // A hash that nobody knows yet: the second union has its field 2.
        let unions: Vec<usize> =
            (0..header).filter(|at| whole[*at..].starts_with(&[0x1c; 2])).collect();
        let mut bytes = whole.clone();
        bytes[unions[1] + 1] = 0x2c;
        let why = error(&bytes, 0).to_string();
        assert!(why.contains("of another kind"), "{why}");
        // 64 and 0 as zigzag: of 33 bytes, of none, of -1, of more than there are.
        for size in [66, 0, 1] {
            let mut bytes = whole.clone();
            let at = bytes.windows(2).position(|pair| pair == [0x80, 0x01]).unwrap();
            bytes.splice(at..at + 2, [size]);
            let why = error(&bytes, 0).to_string();
            assert!(why.contains("a bloom filter of "), "{why}");
        }
    }
}
