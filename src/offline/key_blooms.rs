//! Whether a row group may hold one of a few keys, by the bloom filters of its key columns.
//!
//! A filter is of values as a plain page has them: an integer is one of four bytes or of eight,
//! whichever its column has.

use super::{
    bloom::BloomFilter,
    dataset::DataFile,
    parquet_file::guarded,
    source::{Column, RowGroup},
};
use crate::{error::Result, feature::KeyPart};
use parquet::{basic::Type as PhysicalType, errors::ParquetError};
use std::sync::{Arc, atomic::AtomicU64};

/// A bloom filter is asked for no more keys than this: of many some are always there.
pub(super) const BLOOM_KEYS_MAX: usize = 256;

/// The bloom filters of the key columns of a row group.
pub(super) struct KeyBlooms<'a> {
    file: &'a DataFile,
    /// Of each part of a key how it is stored, and where the header of its filter is.
    places: Vec<Option<(PhysicalType, i64)>>,
}

impl<'a> KeyBlooms<'a> {
    /// `columns` are those of the parts of a key, `None` where the file has none; `None` without
    /// any filter.
    pub(super) fn of<'c>(
        file: &'a DataFile,
        row_group: &RowGroup,
        columns: impl Iterator<Item = Option<&'c Column>>,
    ) -> Option<Self> {
        let chunks = file.metadata().metadata().row_groups().get(row_group.index)?.columns();
        let place = |column: &Column| {
            Some((column.physical?, chunks.get(column.leaf?)?.bloom_filter_offset()?))
        };
        let places: Vec<_> = columns.map(|column| column.and_then(place)).collect();
        places.iter().any(Option::is_some).then_some(Self { file, places })
    }

    /// Whether one of `keys` may be there. What is read is added to `bytes_read`.
    pub(super) fn may_hold_any<'k>(
        &self,
        keys: impl ExactSizeIterator<Item = &'k Vec<KeyPart>>,
        bytes_read: &Arc<AtomicU64>,
    ) -> Result<bool> {
        if keys.len() > BLOOM_KEYS_MAX {
            return Ok(true);
        }
        let source = self.file.open(bytes_read)?;
        guarded(self.file.path(), || {
            let open = |(physical, at)| Ok((physical, BloomFilter::open(&source, at)?));
            let filters = self.places.iter().map(|place| place.map(open).transpose());
            let filters: Vec<Option<_>> = filters.collect::<Result<_, ParquetError>>()?;
            for key in keys {
                if may_hold(key, &filters)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

/// Whether a key may be there, as far as the bloom filter of each of its parts tells.
fn may_hold(
    key: &[KeyPart],
    filters: &[Option<(PhysicalType, BloomFilter<'_>)>],
) -> Result<bool, ParquetError> {
    for (part, filter) in key.iter().zip(filters) {
        let Some((physical, filter)) = filter else { continue };
        let may_hold = match (part, physical) {
            (KeyPart::Int64(integer), PhysicalType::INT64) => {
                filter.may_hold(&integer.to_le_bytes())?
            }
            // What four bytes cannot hold is not there, whatever is said of its lower half.
            (KeyPart::Int64(integer), PhysicalType::INT32) => {
                filter.may_hold(&(*integer as i32).to_le_bytes())?
            }
            (KeyPart::Bytes(bytes), PhysicalType::BYTE_ARRAY) => filter.may_hold(bytes)?,
            _ => true,
        };
        if !may_hold {
            return Ok(false);
        }
    }
    Ok(true)
}
