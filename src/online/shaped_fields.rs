//! The fields of a plain hash whose names are a shape: in the table alone, where other hashes have
//! the same.
//!
//! ```text
//! varint  twice the number of the shape; and 1 more if ends are wide
//! n       for each name where the bytes of its value end: one byte, two if wide
//! n       values
//! ```

use super::{
    bytes::{u16_at, varint_at},
    field::Field,
    shapes::{Shape, Shapes},
};
use std::ops::Range;

/// The fields of such a hash.
#[derive(Clone, Copy, Debug)]
pub struct ShapedFields<'a> {
    shape: &'a Shape,
    ends: &'a [u8],
    values: &'a [u8],
    is_wide: bool,
}

impl<'a> ShapedFields<'a> {
    /// The fields in this body; `None` if it is none.
    #[inline]
    pub(super) fn open(body: &'a [u8], shapes: &'a Shapes) -> Option<Self> {
        let (number, at) = varint_at(body, 0)?;
        let (shape, is_wide) = (shapes.get(number / 2)?, number % 2 == 1);
        let rest = body.get(at..)?;
        let (ends, values) = rest.split_at_checked(shape.len() << u8::from(is_wide))?;
        Some(Self { shape, ends, values, is_wide })
    }

    /// The names.
    #[inline]
    pub(super) fn shape(self) -> &'a Shape {
        self.shape
    }

    /// The value at this place.
    #[inline]
    pub(super) fn value(self, place: usize) -> Option<&'a [u8]> {
        self.values.get(self.span(place)?)
    }

    /// Where the value at this place stands in the body, which has so many bytes.
    pub(super) fn range(self, place: usize, body_bytes: usize) -> Option<Range<usize>> {
        let values_at = body_bytes.checked_sub(self.values.len())?;
        let span = self.span(place)?;
        Some(values_at + span.start..values_at + span.end)
    }

    /// Where it stands among the values.
    #[inline]
    fn span(self, place: usize) -> Option<Range<usize>> {
        let end_of = |place: usize| match self.is_wide {
            false => self.ends.get(place).map(|end| usize::from(*end)),
            true => u16_at(self.ends, 2 * place).map(usize::from),
        };
        let start = if place == 0 { 0 } else { end_of(place - 1)? };
        Some(start..end_of(place)?)
    }

    /// The field of this name; `hint` as [`Shape::place_of`] has it.
    #[inline]
    pub(super) fn get(self, name: &[u8], hint: &mut usize) -> Option<Field<'a>> {
        let place = self.shape.place_of(name, hint)?;
        self.field(place)
    }

    /// The value of every field.
    pub(super) fn values(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.shape.len()).filter_map(move |place| self.value(place))
    }

    /// Every field.
    pub(super) fn iter(self) -> impl Iterator<Item = Field<'a>> + Clone {
        (0..self.shape.len()).filter_map(move |place| self.field(place))
    }

    fn field(self, place: usize) -> Option<Field<'a>> {
        Some(Field { name: self.shape.name(place)?, value: self.value(place)?, end: None })
    }
}
