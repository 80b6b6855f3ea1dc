//! Features as one matrix: a frame of numbers, row after row, with a status byte per cell.
//!
//! ```text
//! offset  size  field                                                     (all little-endian)
//!      0     4  magic, "NTFV"
//!      4     1  version, 1
//!      5     1  type of a cell: 1 f32, 2 f64, 3 i64
//!      6     2  flags; bit 0: some integer had to be rounded; the other bits are 0
//!      8     8  rows
//!     16     8  columns
//!     24     n  the matrix, row after row
//!   24+n     m  a status per cell, in the same order: 0 PRESENT, 1 NULL_VALUE,
//!               2 OUTSIDE_MAX_AGE, 3 NOT_FOUND
//! ```
//! Invariants
//! - A cell whose status is not PRESENT is NaN, or 0 in a matrix of integers.
//! - The header is a multiple of 8 bytes: in memory that is aligned to 8 the matrix is too.
//! - The writer writes into room that is there: nothing is allocated for a cell, or at all.
//! - Decoding is total, and its frame is whole: every status is known, no byte is left over.
//!
//! Not here: which features go into a matrix, and of which type it is (`src/command/`).

use crate::error::ProtocolError;

/// The bytes before the matrix.
pub const VECTOR_HEADER_BYTES: usize = 24;
const _: () = assert!(VECTOR_HEADER_BYTES.is_multiple_of(8));

const MAGIC: [u8; 4] = *b"NTFV";
const VERSION: u8 = 1;
const FLAG_ROUNDED: u16 = 1;
/// Quiet NaN with no payload: one spelling, so that equal answers are equal bytes.
const NAN_F32: u32 = 0x7fc0_0000;
const NAN_F64: u64 = 0x7ff8_0000_0000_0000;

/// The type of every cell of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorElement {
    /// 4 bytes.
    F32,
    /// 8 bytes.
    F64,
    /// 8 bytes.
    I64,
}

impl VectorElement {
    /// The bytes of a cell.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::F32 => 1,
            Self::F64 => 2,
            Self::I64 => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::F32, Self::F64, Self::I64].into_iter().find(|element| element.code() == code)
    }
}

/// What a read of a cell met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorStatus {
    /// The number is there.
    Present,
    /// The newest value is null.
    NullValue,
    /// There is a value, older than the TTL of its view.
    OutsideMaxAge,
    /// There is none.
    NotFound,
}

impl VectorStatus {
    /// Its byte: 0 for what is there, so that the bytes are the mask of a masked array.
    pub fn byte(self) -> u8 {
        match self {
            Self::Present => 0,
            Self::NullValue => 1,
            Self::OutsideMaxAge => 2,
            Self::NotFound => 3,
        }
    }

    /// The status of that byte.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Present, Self::NullValue, Self::OutsideMaxAge, Self::NotFound]
            .into_iter()
            .find(|status| status.byte() == byte)
    }
}

/// A number on its way into a matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VectorNumber {
    /// A whole number.
    Integer(i64),
    /// A float of 32 bits.
    Float32(f32),
    /// A float of 64 bits.
    Float64(f64),
}

/// How large a matrix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorShape {
    /// The type of its cells.
    pub element: VectorElement,
    /// How many rows.
    pub rows: usize,
    /// How many cells in each.
    pub columns: usize,
}

impl VectorShape {
    /// The bytes of the whole frame; `None` if no memory could hold it.
    pub fn frame_bytes(self) -> Option<usize> {
        let cells = self.rows.checked_mul(self.columns)?;
        cells.checked_mul(self.element.bytes() + 1)?.checked_add(VECTOR_HEADER_BYTES)
    }
}

/// Fills a frame, cell by cell and in any order.
///
/// ```
/// use nowthen_protocol::vector::*;
///
/// let shape = VectorShape { element: VectorElement::F64, rows: 1, columns: 2 };
/// let mut frame = vec![0; shape.frame_bytes().unwrap()];
/// let mut writer = VectorWriter::begin(shape, &mut frame).unwrap();
/// assert!(writer.set_number(1, VectorNumber::Integer(7)));
///
/// let frame = VectorFrame::decode(&frame).unwrap();
/// assert_eq!(frame.f64s().skip(1).collect::<Vec<_>>(), [7.0]);
/// let statuses: Vec<_> = frame.statuses().collect();
/// assert_eq!(statuses, [VectorStatus::NotFound, VectorStatus::Present]);
/// ```
#[derive(Debug)]
pub struct VectorWriter<'a> {
    element: VectorElement,
    header: &'a mut [u8],
    cells: &'a mut [u8],
    statuses: &'a mut [u8],
}

impl<'a> VectorWriter<'a> {
    /// Begins a frame in which nothing is found yet. `None` if `frame` is not as long as
    /// [`VectorShape::frame_bytes`] says.
    pub fn begin(shape: VectorShape, frame: &'a mut [u8]) -> Option<Self> {
        if shape.frame_bytes() != Some(frame.len()) {
            return None;
        }
        let count = shape.rows.checked_mul(shape.columns)?;
        let (header, rest) = frame.split_at_mut_checked(VECTOR_HEADER_BYTES)?;
        let (cells, statuses) = rest.split_at_mut_checked(count * shape.element.bytes())?;
        let [m0, m1, m2, m3] = MAGIC;
        let first = [m0, m1, m2, m3, VERSION, shape.element.code(), 0, 0];
        let fields =
            [first, (shape.rows as u64).to_le_bytes(), (shape.columns as u64).to_le_bytes()];
        header.copy_from_slice(fields.as_flattened());
        match shape.element {
            VectorElement::F32 => fill(cells, NAN_F32.to_le_bytes()),
            VectorElement::F64 => fill(cells, NAN_F64.to_le_bytes()),
            VectorElement::I64 => cells.fill(0),
        }
        statuses.fill(VectorStatus::NotFound.byte());
        Some(Self { element: shape.element, header, cells, statuses })
    }

    /// Says why the cell at `place` (row times columns, plus column) has no number.
    #[inline]
    pub fn set_status(&mut self, place: usize, status: VectorStatus) {
        if let Some(byte) = self.statuses.get_mut(place) {
            *byte = status.byte();
        }
    }

    /// Writes the number at `place`, which is present then. An integer that the type of the
    /// matrix cannot tell exactly becomes the nearest float, and the frame says that this
    /// happened. `false`, and nothing is written, if there is no such place, or for a float where
    /// integers are and a double where floats of 32 bits are.
    #[must_use]
    #[inline(always)]
    pub fn set_number(&mut self, place: usize, number: VectorNumber) -> bool {
        use VectorNumber as N;
        let is_written = match (self.element, number) {
            (VectorElement::I64, N::Integer(number)) => self.put(place, number.to_le_bytes()),
            (VectorElement::F64, N::Float64(number)) => self.put(place, number.to_le_bytes()),
            (VectorElement::F64, N::Float32(number)) => {
                self.put(place, f64::from(number).to_le_bytes())
            }
            (VectorElement::F64, N::Integer(number)) => {
                let nearest = number as f64;
                self.note_rounding(nearest, number);
                self.put(place, nearest.to_le_bytes())
            }
            (VectorElement::F32, N::Float32(number)) => self.put(place, number.to_le_bytes()),
            (VectorElement::F32, N::Integer(number)) => {
                let nearest = number as f32;
                self.note_rounding(f64::from(nearest), number);
                self.put(place, nearest.to_le_bytes())
            }
            (VectorElement::I64, N::Float32(_) | N::Float64(_))
            | (VectorElement::F32, N::Float64(_)) => false,
        };
        if is_written {
            self.set_status(place, VectorStatus::Present);
        }
        is_written
    }

    /// Writes floats from `place` on, each in the bytes it has in the frame, and as many as there
    /// are places; they are present then. Each piece is some of them, one behind the other.
    #[inline]
    pub fn set_floats<'f>(&mut self, place: usize, pieces: impl Iterator<Item = &'f [u8]>) {
        let bytes = self.element.bytes();
        let first = place.checked_mul(bytes).filter(|_| self.element != VectorElement::I64);
        let mut cells = first.and_then(|at| self.cells.get_mut(at..)).unwrap_or_default();
        let mut statuses = self.statuses.get_mut(place..).unwrap_or_default();
        for piece in pieces {
            let taken = cells.len().min(piece.len());
            let Some((now, later)) = cells.split_at_mut_checked(taken) else { return };
            let Some((their, others)) = statuses.split_at_mut_checked(taken / bytes) else {
                return;
            };
            now.copy_from_slice(piece.get(..taken).unwrap_or_default());
            their.fill(VectorStatus::Present.byte());
            (cells, statuses) = (later, others);
        }
    }

    #[inline]
    fn put<const N: usize>(&mut self, place: usize, bytes: [u8; N]) -> bool {
        let cell = place.checked_mul(N).and_then(|at| self.cells.get_mut(at..)?.first_chunk_mut());
        cell.map(|cell| *cell = bytes).is_some()
    }

    fn note_rounding(&mut self, nearest: f64, number: i64) {
        // Every i64, and the nearest float to one, is a whole number that i128 holds.
        if nearest as i128 != i128::from(number)
            && let Some(flags) = self.header.get_mut(6..8)
        {
            flags.copy_from_slice(&FLAG_ROUNDED.to_le_bytes());
        }
    }
}

fn fill<const N: usize>(cells: &mut [u8], bytes: [u8; N]) {
    cells.as_chunks_mut::<N>().0.fill(bytes);
}

/// A frame as it came, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct VectorFrame<'a> {
    shape: VectorShape,
    is_rounded: bool,
    cells: &'a [u8],
    statuses: &'a [u8],
}

impl<'a> VectorFrame<'a> {
    /// The frame that `bytes` are, from the first to the last.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        let (header, rest) = bytes
            .split_first_chunk::<VECTOR_HEADER_BYTES>()
            .ok_or(ProtocolError::InvalidVector("a header of 24 bytes"))?;
        let [m0, m1, m2, m3, version, element, f0, f1, rest_of_header @ ..] = *header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(ProtocolError::InvalidVector("NTFV at its beginning"));
        }
        if version != VERSION {
            return Err(ProtocolError::InvalidVector("version 1"));
        }
        let element = VectorElement::from_code(element)
            .ok_or(ProtocolError::InvalidVector("a type that is f32, f64 or i64"))?;
        let flags = u16::from_le_bytes([f0, f1]);
        if flags & !FLAG_ROUNDED != 0 {
            return Err(ProtocolError::InvalidVector("no flag but that of rounding"));
        }
        let too_large = || ProtocolError::InvalidVector("as many bytes as its rows and columns");
        let (rows, columns) = rest_of_header.split_at(8);
        let rows = length(rows).ok_or_else(too_large)?;
        let columns = length(columns).ok_or_else(too_large)?;
        let shape = VectorShape { element, rows, columns };
        if shape.frame_bytes() != Some(bytes.len()) {
            return Err(too_large());
        }
        let (cells, statuses) =
            rest.split_at_checked(rows * columns * element.bytes()).ok_or_else(too_large)?;
        if statuses.iter().any(|byte| VectorStatus::from_byte(*byte).is_none()) {
            return Err(ProtocolError::InvalidVector("a status that this client knows"));
        }
        Ok(Self { shape, is_rounded: flags & FLAG_ROUNDED != 0, cells, statuses })
    }

    /// How large it is.
    pub fn shape(&self) -> VectorShape {
        self.shape
    }

    /// Whether some integer did not fit the type and is the nearest float to it.
    pub fn is_rounded(&self) -> bool {
        self.is_rounded
    }

    /// All statuses, row after row.
    pub fn statuses(&self) -> impl Iterator<Item = VectorStatus> + use<'a> {
        let statuses = self.statuses.iter();
        statuses.map(|byte| VectorStatus::from_byte(*byte).unwrap_or(VectorStatus::NotFound))
    }

    /// All cells, row after row; none if they are not f32.
    pub fn f32s(&self) -> impl Iterator<Item = f32> + use<'a> {
        self.chunks(VectorElement::F32).map(f32::from_le_bytes)
    }

    /// All cells, row after row; none if they are not f64.
    pub fn f64s(&self) -> impl Iterator<Item = f64> + use<'a> {
        self.chunks(VectorElement::F64).map(f64::from_le_bytes)
    }

    /// All cells, row after row; none if they are not i64.
    pub fn i64s(&self) -> impl Iterator<Item = i64> + use<'a> {
        self.chunks(VectorElement::I64).map(i64::from_le_bytes)
    }

    fn chunks<const N: usize>(
        &self,
        element: VectorElement,
    ) -> impl Iterator<Item = [u8; N]> + use<'a, N> {
        let cells = if self.shape.element == element { self.cells } else { &[] };
        cells.as_chunks::<N>().0.iter().copied()
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(element: VectorElement, numbers: &[Option<VectorNumber>]) -> Vec<u8> {
        let shape = VectorShape { element, rows: numbers.len(), columns: 1 };
        let mut frame = vec![0xaa; shape.frame_bytes().unwrap()];
        let mut writer = VectorWriter::begin(shape, &mut frame).unwrap();
        for (place, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                assert!(writer.set_number(place, *number));
            }
        }
        frame
    }

    #[test]
    fn an_integer_that_a_double_cannot_tell_is_rounded_and_the_frame_says_so() {
        let exact = 1_i64 << 53;
        for (number, is_rounded) in [
            (exact, false),
            (exact + 1, true),
            (i64::MAX, true),
            (i64::MIN, false),
            (i64::MIN + 1, true),
            (-exact - 1, true),
        ] {
            let frame = frame(VectorElement::F64, &[Some(VectorNumber::Integer(number))]);
            let frame = VectorFrame::decode(&frame).unwrap();
            assert_eq!(frame.is_rounded(), is_rounded, "{number}");
            assert_eq!(frame.f64s().collect::<Vec<_>>(), [number as f64]);
        }
    }

    #[test]
    fn what_is_not_there_is_nan_or_zero_and_has_a_status() {
        let bytes = frame(VectorElement::F32, &[None]);
        assert_eq!(bytes[24..], [0, 0, 0xc0, 0x7f, 3]);
        let bytes = frame(VectorElement::I64, &[None]);
        assert_eq!(bytes[24..], [0, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert!(VectorFrame::decode(&bytes).unwrap().f32s().next().is_none());
    }

    #[test]
    fn a_number_that_does_not_belong_there_is_not_written() {
        let shape = VectorShape { element: VectorElement::I64, rows: 1, columns: 1 };
        let mut frame = vec![0; shape.frame_bytes().unwrap()];
        assert!(VectorWriter::begin(shape, &mut frame[1..]).is_none());
        let mut writer = VectorWriter::begin(shape, &mut frame).unwrap();
        assert!(!writer.set_number(0, VectorNumber::Float64(1.0)));
        assert!(!writer.set_number(1, VectorNumber::Integer(1)));
        assert!(!writer.set_number(usize::MAX, VectorNumber::Integer(1)));
        writer.set_floats(0, std::iter::once(&1.0_f64.to_le_bytes()[..]));
        assert_eq!(VectorFrame::decode(&frame).unwrap().statuses().next().unwrap().byte(), 3);
    }

    #[test]
    fn floats_in_a_row_are_those_written_one_by_one() {
        let numbers = [f64::NAN, -0.0, 1.5, f64::INFINITY];
        let shape = VectorShape { element: VectorElement::F64, rows: 2, columns: 3 };
        let filled = |fill: &dyn Fn(&mut VectorWriter<'_>)| {
            let mut frame = vec![0; shape.frame_bytes().unwrap()];
            fill(&mut VectorWriter::begin(shape, &mut frame).unwrap());
            frame
        };
        for first in [0, 1, 4, 6, 1000] {
            let bytes = numbers.map(f64::to_le_bytes);
            let together = filled(&|writer| {
                writer.set_floats(first, bytes.chunks(3).map(|piece| piece.as_flattened()));
            });
            let one_by_one = filled(&|writer| {
                for (number, place) in numbers.iter().zip(first..) {
                    let _ = writer.set_number(place, VectorNumber::Float64(*number));
                }
            });
            assert_eq!(together, one_by_one, "from {first} on");
        }
    }

    #[test]
    fn a_frame_that_claims_what_is_not_there_is_refused() {
        let whole = frame(VectorElement::F64, &[Some(VectorNumber::Float64(1.5)), None]);
        assert!(VectorFrame::decode(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(VectorFrame::decode(&whole[..length]).is_err(), "{length}");
        }
        for (at, byte) in [(0, b'M'), (4, 2), (5, 0), (5, 4), (6, 2), (7, 1), (8, 3), (23, 0x80)] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            assert!(VectorFrame::decode(&damaged).is_err(), "{at}");
        }
        let mut damaged = whole;
        *damaged.last_mut().unwrap() = 4;
        assert!(VectorFrame::decode(&damaged).is_err());
    }

    proptest! {
        #[test]
        fn every_bit_of_a_matrix_comes_back(numbers: Vec<Option<u64>>) {
            let floats = |bits: u64| VectorNumber::Float64(f64::from_bits(bits));
            let bytes = frame(
                VectorElement::F64,
                &numbers.iter().map(|bits| bits.map(floats)).collect::<Vec<_>>(),
            );
            let decoded = VectorFrame::decode(&bytes).unwrap();
            let back: Vec<Option<u64>> = decoded
                .f64s()
                .zip(decoded.statuses())
                .map(|(cell, status)| (status.byte() == 0).then_some(cell.to_bits()))
                .collect();
            prop_assert_eq!(back, numbers);
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes: Vec<u8>) {
            let _ = VectorFrame::decode(&bytes);
        }
    }
}
