//! Columns of lists in the three forms that Arrow has, brought to the two that we declare.

use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, UInt64Array, cast::AsArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};
use std::sync::Arc;

/// The elements of all lists of a column, if it holds lists.
pub(super) fn list_child(array: &ArrayRef) -> Option<&ArrayRef> {
    match array.data_type() {
        DataType::List(_) => Some(array.as_list::<i32>().values()),
        DataType::LargeList(_) => Some(array.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().values()),
        _ => None,
    }
}

/// Lists of any kind: row `i` holds the elements `offsets[i]..offsets[i + 1]` of `child`.
pub(super) struct Lists {
    offsets: Vec<i64>,
    pub(super) child: ArrayRef,
    nulls: Option<NullBuffer>,
}

impl Lists {
    pub(super) fn of(array: &ArrayRef) -> Result<Self, String> {
        let child = list_child(array).ok_or_else(|| format!("{} is no list", array.data_type()))?;
        let offsets: Vec<i64> = match array.data_type() {
            DataType::List(_) => {
                array.as_list::<i32>().offsets().iter().map(|offset| i64::from(*offset)).collect()
            }
            DataType::LargeList(_) => array.as_list::<i64>().offsets().to_vec(),
            _ => {
                let length = i64::from(array.as_fixed_size_list().value_length());
                (0..=array.len() as i64).map(|row| row * length).collect()
            }
        };
        let first = offsets.first().copied().unwrap_or(0);
        let last = offsets.last().copied().unwrap_or(0);
        let child = child.slice(first as usize, (last - first) as usize);
        let offsets = offsets.iter().map(|offset| offset - first).collect();
        Ok(Self { offsets, child, nulls: array.nulls().cloned() })
    }

    /// The elements of each row that is not null.
    fn rows(&self) -> impl Iterator<Item = Option<(i64, i64)>> {
        let ends = self.offsets.iter().skip(1);
        self.offsets.iter().zip(ends).enumerate().map(|(row, (start, end))| {
            let valid = self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            valid.then_some((*start, *end))
        })
    }

    pub(super) fn refuse_null_elements(&self) -> Result<(), String> {
        let Some(nulls) = self.child.nulls().filter(|nulls| nulls.null_count() > 0) else {
            return Ok(());
        };
        for (start, end) in self.rows().flatten() {
            if (start..end).any(|element| nulls.is_null(element as usize)) {
                return Err("a list has a null element".into());
            }
        }
        Ok(())
    }

    pub(super) fn into_list(self, item: Arc<Field>) -> Result<ArrayRef, String> {
        let offsets: Result<Vec<i32>, _> =
            self.offsets.iter().map(|offset| i32::try_from(*offset)).collect();
        let offsets = offsets.map_err(|_| "more than 2^31 list elements in one piece")?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        ListArray::try_new(item, offsets, self.child, self.nulls)
            .map(|lists| Arc::new(lists) as ArrayRef)
            .map_err(|error| error.to_string())
    }

    pub(super) fn into_fixed(self, item: Arc<Field>, length: u32) -> Result<ArrayRef, String> {
        let length = i64::from(length);
        if let Some((start, end)) = self.rows().flatten().find(|(s, e)| e - s != length) {
            return Err(format!("a list has {} elements, not {length}", end - start));
        }
        let size = i32::try_from(length).map_err(|_| "lists are too long")?;
        let child = if self.child.len() as i64 == length * (self.offsets.len() as i64 - 1) {
            self.child
        } else {
            // A null row has no elements in a list, but takes up room in a list of fixed length.
            let indices: UInt64Array = self
                .rows()
                .flat_map(|row| {
                    (0..length).map(move |i| row.map(|(start, _)| (start + i).cast_unsigned()))
                })
                .collect();
            arrow_select::take::take(&self.child, &indices, None)
                .map_err(|error| error.to_string())?
        };
        FixedSizeListArray::try_new(item, size, child, self.nulls)
            .map(|lists| Arc::new(lists) as ArrayRef)
            .map_err(|error| error.to_string())
    }
}
