//! Texts that stand as codes of a dictionary, brought to the rows of the spine.
//!
//! ```text
//! places    2    0    null    1         where each row finds its code
//! codes     5    3            5         stand in place of ends while lengths are added up
//! ends      4    9    9       13        take their place while texts are copied
//! ```

use arrow_array::{
    Array, ArrayRef, DictionaryArray, GenericByteArray, UInt32Array,
    cast::AsArray,
    types::{BinaryType, ByteArrayType, Int32Type, Utf8Type},
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use std::{borrow::Cow, sync::Arc};

/// A text of up to so many bytes is copied with what stands behind it: that takes no loop.
const SHORT_BYTES: usize = 16;

/// Dictionaries of up to so many bytes are copied, with what may be copied behind their last text.
const PADDED_BYTES: usize = 64 * 1024;

/// A code of nothing.
const NONE: i32 = -1;

/// The text or the bytes at each place, as an array without a dictionary. `None` if `coded` is of
/// another form; an error if they are too many for one array.
pub(super) fn bring_texts(
    coded: &ArrayRef,
    places: &UInt32Array,
) -> Option<Result<ArrayRef, String>> {
    let coded = coded.as_dictionary_opt::<Int32Type>()?;
    let texts = coded.values();
    if let Some(texts) = texts.as_bytes_opt::<Utf8Type>() {
        return bring(coded, texts, places);
    }
    bring(coded, texts.as_bytes_opt::<BinaryType>()?, places)
}

fn bring<T: ByteArrayType<Offset = i32>>(
    coded: &DictionaryArray<Int32Type>,
    texts: &GenericByteArray<T>,
    places: &UInt32Array,
) -> Option<Result<ArrayRef, String>> {
    if texts.null_count() > 0 {
        return None;
    }
    let offsets = texts.value_offsets();
    let (mut ends, bytes) = codes_at(coded, offsets, places);
    let nulls = match coded.nulls() {
        None => places.nulls().cloned(),
        Some(_) => {
            let codes = ends.get(1..).unwrap_or_default();
            let has_text = |row: usize| codes.get(row).is_some_and(|code| *code != NONE);
            let nulls = NullBuffer::new(BooleanBuffer::collect_bool(places.len(), has_text));
            Some(nulls).filter(|nulls| nulls.null_count() > 0)
        }
    };
    if i32::try_from(bytes).is_err() {
        return Some(Err(format!("they have {bytes} bytes")));
    }
    let values = copy(texts.value_data(), offsets, &mut ends, bytes);
    let ends = OffsetBuffer::new(ends.into());
    let array = GenericByteArray::<T>::try_new(ends, Buffer::from_vec(values), nulls);
    Some(array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| error.to_string()))
}

/// For each place its code, behind a first 0; and the bytes of all their texts.
fn codes_at(
    coded: &DictionaryArray<Int32Type>,
    offsets: &[i32],
    places: &UInt32Array,
) -> (Vec<i32>, u64) {
    let keys = coded.keys().values();
    let mut codes = Vec::with_capacity(places.len() + 1);
    codes.push(0);
    // Nothing but loads, which wait for memory together. A place that is null is one all the same.
    let code = |place: &u32| keys.get(*place as usize).copied().unwrap_or(NONE);
    codes.extend(places.values().iter().map(code));
    let own = codes.iter_mut().skip(1);
    if let Some(nulls) = coded.nulls() {
        let places = places.values().iter().map(|place| *place as usize);
        let is_valid = places.map(|place| place < nulls.len() && nulls.is_valid(place));
        own.zip(is_valid).for_each(|(code, is_valid)| *code = if is_valid { *code } else { NONE });
    }
    if let Some(nulls) = places.nulls() {
        let own = codes.iter_mut().skip(1).zip(nulls);
        own.for_each(|(code, is_valid)| *code = if is_valid { *code } else { NONE });
    }
    let bytes = codes.iter().skip(1).map(|code| text_at(offsets, *code).1 as u64).sum();
    (codes, bytes)
}

/// Where the text of a code begins, and its bytes; of [`NONE`] there are none.
#[inline]
fn text_at(offsets: &[i32], code: i32) -> (usize, usize) {
    let bounds = usize::try_from(code).ok().and_then(|code| offsets.get(code..code + 2));
    match bounds {
        Some([start, end]) => (*start as usize, (end - start) as usize),
        _ => (0, 0),
    }
}

/// Copies the text of each code behind the first, in whose place its end then stands: of `bytes`
/// together.
fn copy(texts: &[u8], offsets: &[i32], codes: &mut [i32], bytes: u64) -> Vec<u8> {
    let bytes = bytes as usize;
    let mut texts = Cow::from(texts);
    if texts.len() <= PADDED_BYTES {
        texts.to_mut().extend([0; SHORT_BYTES]);
    }
    let mut out = vec![0; bytes + SHORT_BYTES];
    let mut end = 0;
    for code in codes.iter_mut().skip(1) {
        let (start, length) = text_at(offsets, *code);
        let (from, to) = (texts.get(start..), out.get_mut(end..));
        if let (Some(from), Some(to)) = (from, to) {
            match (from.first_chunk::<SHORT_BYTES>(), to.first_chunk_mut::<SHORT_BYTES>()) {
                (Some(from), Some(to)) if length <= SHORT_BYTES => *to = *from,
                _ => to.iter_mut().zip(from).take(length).for_each(|(to, from)| *to = *from),
            }
        }
        end += length;
        *code = end as i32;
    }
    out.truncate(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int32Array, StringArray};
    use arrow_select::take::take;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_those_that_arrow_takes(
            texts in prop::collection::vec("[a-zé]{0,40}", 1..20),
            codes in prop::collection::vec(prop::option::of(0..1000_i32), 1..50),
            places in prop::collection::vec(prop::option::of(0..1000_u32), 0..200),
        ) {
            let count = i32::try_from(texts.len()).unwrap();
            let codes = codes.into_iter().map(|code| code.map(|code| code % count));
            let codes: Int32Array = codes.collect();
            let rows = u32::try_from(codes.len()).unwrap();
            let places = places.into_iter().map(|place| place.map(|place| place % rows));
            let places: UInt32Array = places.collect();
            let texts: ArrayRef = Arc::new(StringArray::from(texts));
            let coded: ArrayRef = Arc::new(DictionaryArray::new(codes, Arc::clone(&texts)));
            let brought = bring_texts(&coded, &places).unwrap().unwrap();
            let codes = take(coded.as_dictionary::<Int32Type>().keys(), &places, None).unwrap();
            let expected = take(&texts, codes.as_primitive::<Int32Type>(), None).unwrap();
            prop_assert_eq!(&brought, &expected);
            prop_assert_eq!(brought.null_count(), expected.null_count());
        }
    }

    #[test]
    fn what_is_no_dictionary_of_texts_is_left_to_others() {
        let plain: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let places = UInt32Array::from(vec![0]);
        assert!(bring_texts(&plain, &places).is_none());
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let coded = DictionaryArray::new(Int32Array::from(vec![0]), numbers);
        assert!(bring_texts(&(Arc::new(coded) as ArrayRef), &places).is_none());
        let nulls: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        let coded = DictionaryArray::new(Int32Array::from(vec![0]), nulls);
        assert!(bring_texts(&(Arc::new(coded) as ArrayRef), &places).is_none());
    }
}
