//! Thrift's compact protocol, walked through before it is decoded.
//!
//! ```text
//! field      0xDT   D: its number less the one before; where 0, a varint tells the number
//! list, set  0xCT   C elements of type T; where C is 15, a varint tells how many
//! map        varint, then 0xKV where it is not 0: so many keys of type K, values of type V
//! ```
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
//!
//! The decoder takes counts on trust. It makes room for as many elements as a list claims, and a
//! claim of 50 GB would end the whole process: no `catch_unwind` helps. In a field that it skips
//! it reads no byte for a boolean, so a map of some bytes keeps it busy for half a minute, nested
//! lists for years. And it does not ask whether a field that it knows is of the type that it
//! reads: what it skips then is not what was written. What passes here has fields of the types
//! that the [format] gives them, and every element takes a byte or more: decoding ends.
//!
//! [format]: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift

use parquet::errors::ParquetError;
use std::{error, fmt};

/// Deeper than this the decoder does not go either.
const DEPTH_MAX: usize = 64;

/// Why bytes are no struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// They end before it does.
    Cut,
    /// No Parquet file has this.
    Senseless,
}

impl fmt::Display for Flaw {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Cut => "a header claims more than there is",
            Self::Senseless => "a header makes no sense",
        })
    }
}

impl error::Error for Flaw {}

impl From<Flaw> for ParquetError {
    fn from(flaw: Flaw) -> Self {
        Self::General(flaw.to_string())
    }
}

/// The type of a field or an element.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    Byte,
    Integer,
    Double,
    Bytes,
    List(&'static Kind),
    Struct(Fields),
    /// The list of a schema, of elements with these fields: each tells in its fifth how many of
    /// those behind it are its children.
    Schema(Fields),
}

use Kind::{Bool, Byte, Bytes, Double, Integer, List, Schema, Struct};

/// The fields of a struct that the decoder knows (`headers.rs`).
pub(super) type Fields = &'static [(i16, Kind)];

impl Kind {
    /// Whether the type is the one that these four bits stand for.
    fn is(self, bits: u8) -> bool {
        match self {
            Bool => matches!(bits, 1 | 2),
            Byte => bits == 3,
            // The decoder reads one of 16, 32 or 64 bits alike.
            Integer => matches!(bits, 4..=6),
            Double => bits == 7,
            Bytes => bits == 8,
            List(_) | Schema(_) => bits == 9,
            Struct(_) => bits == 12,
        }
    }
}

/// A struct that can keep its claims.
#[derive(Debug, PartialEq)]
pub(super) struct Walked {
    /// How many bytes it takes.
    pub(super) bytes: usize,
    /// Its integers by number, 0 where there is none; of a boolean 1 for true, 2 for false.
    pub(super) integers: Integers,
    /// Where the structs in it begin, by number; 0 where there is none.
    pub(super) structs: Structs,
}

type Integers = [i64; 8];
type Structs = [usize; 9];

/// Walks through the struct that `bytes` begin with.
pub(super) fn walk(bytes: &[u8], fields: Fields) -> Result<Walked, Flaw> {
    let mut rest = bytes;
    let (integers, mut structs) = skip_struct(&mut rest, fields, DEPTH_MAX)?;
    // What was left there.
    structs.iter_mut().filter(|at| **at > 0).for_each(|at| *at = bytes.len() - *at);
    Ok(Walked { bytes: bytes.len() - rest.len(), integers, structs })
}

/// Its integers, and of each struct in it how many bytes there were from it on.
fn skip_struct(
    rest: &mut &[u8],
    fields: Fields,
    depth: usize,
) -> Result<(Integers, Structs), Flaw> {
    let (mut integers, mut structs) = (Integers::default(), Structs::default());
    let mut id = 0_i16;
    loop {
        let header = byte(rest)?;
        let bits = header & 0x0f;
        if bits == 0 {
            return Ok((integers, structs));
        }
        id = match header >> 4 {
            0 => zigzag(varint(rest)?) as i16,
            step => id.checked_add(step.into()).ok_or(Flaw::Senseless)?,
        };
        let known = fields.iter().find(|(known, _)| *known == id).map(|(_, kind)| *kind);
        if known.is_some_and(|kind| !kind.is(bits)) {
            return Err(Flaw::Senseless);
        }
        let number = usize::try_from(id).unwrap_or(usize::MAX);
        match bits {
            // A boolean is told by its type.
            1 | 2 => {
                integers.get_mut(number).into_iter().for_each(|slot| *slot = bits.into());
            }
            4..=6 => {
                let value = zigzag(varint(rest)?);
                integers.get_mut(number).into_iter().for_each(|slot| *slot = value);
            }
            12 => {
                structs.get_mut(number).into_iter().for_each(|slot| *slot = rest.len());
                skip_value(rest, bits, known, depth)?;
            }
            _ => skip_value(rest, bits, known, depth)?,
        }
    }
}

/// A value that is no field of type boolean. As an element one takes a byte, but only where the
/// decoder does not skip it, and in Parquet's headers only in a list that is known.
fn skip_value(rest: &mut &[u8], bits: u8, known: Option<Kind>, depth: usize) -> Result<(), Flaw> {
    let depth = depth.checked_sub(1).ok_or(Flaw::Senseless)?;
    if known.is_some_and(|kind| !kind.is(bits)) {
        return Err(Flaw::Senseless);
    }
    match bits {
        1 | 2 if known.is_some() => take(rest, 1),
        3 => take(rest, 1),
        4..=6 => varint(rest).map(drop),
        7 => take(rest, 8),
        8 => {
            let length = varint(rest)?;
            take(rest, length)
        }
        9 | 10 => {
            let header = byte(rest)?;
            let count = match header >> 4 {
                15 => varint(rest)?,
                few => u64::from(few),
            };
            // Some writers give an empty list no type.
            if header == 0 {
                return Ok(());
            }
            if let Some(Schema(fields)) = known {
                return skip_schema(rest, (header & 0x0f, fields), count, depth);
            }
            let known = match known {
                Some(List(kind)) => Some(*kind),
                _ => None,
            };
            (0..count).try_for_each(|_| skip_value(rest, header & 0x0f, known, depth))
        }
        11 => match varint(rest)? {
            0 => Ok(()),
            count => {
                let kinds = byte(rest)?;
                (0..count).try_for_each(|_| {
                    skip_value(rest, kinds >> 4, None, depth)?;
                    skip_value(rest, kinds & 0x0f, None, depth)
                })
            }
        },
        12 => {
            let fields = match known {
                Some(Struct(fields)) => fields,
                _ => &[],
            };
            skip_struct(rest, fields, depth).map(drop)
        }
        13 => take(rest, 16),
        _ => Err(Flaw::Senseless),
    }
}

/// The decoder makes room for as many children as an element claims, and goes down as deep.
fn skip_schema(
    rest: &mut &[u8],
    (bits, fields): (u8, Fields),
    count: u64,
    depth: usize,
) -> Result<(), Flaw> {
    if !Struct(fields).is(bits) {
        return Err(Flaw::Senseless);
    }
    // Of each element that is not at its end how many children are missing, the root first.
    let mut open: Vec<i64> = Vec::new();
    for index in 0..count {
        let (integers, _) = skip_struct(rest, fields, depth)?;
        let [_, _, _, _, _, children, ..] = integers;
        let left = i64::try_from(count - index - 1).map_err(|_| Flaw::Senseless)?;
        if !(0..=left).contains(&children) {
            return Err(Flaw::Senseless);
        }
        while open.pop_if(|missing| *missing == 0).is_some() {}
        open.last_mut().into_iter().for_each(|missing| *missing -= 1);
        open.push(children);
        if open.len() > DEPTH_MAX {
            return Err(Flaw::Senseless);
        }
    }
    Ok(())
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn byte(rest: &mut &[u8]) -> Result<u8, Flaw> {
    rest.split_off_first().copied().ok_or(Flaw::Cut)
}

fn take(rest: &mut &[u8], length: u64) -> Result<(), Flaw> {
    let length = usize::try_from(length).map_err(|_| Flaw::Cut)?;
    rest.split_off(..length).map(drop).ok_or(Flaw::Cut)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Flaw> {
    let mut value = 0_u64;
    for index in 0..10 {
        let next = byte(rest)?;
        value |= u64::from(next & 0x7f) << (7 * index);
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Flaw::Senseless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: &[u8], fields: Fields) -> Result<usize, Flaw> {
        walk(bytes, fields).map(|walked| walked.bytes)
    }

    fn any(bytes: &[u8]) -> Result<usize, Flaw> {
        known(bytes, &[])
    }

    #[test]
    fn a_struct_ends_where_its_last_field_does() {
        // 1: i32, 2: text, 3: list of two i64, 4: true, 30: false, 31: a map, 32: a struct, empty.
        let fields = [
            0x15, 0x86, 0x01, 0x18, 2, b'h', b'i', 0x19, 0x26, 2, 0x80, 1, 0x11, 0x02, 60, 0x1b, 1,
            0x85, 1, b'a', 7, 0x1c, 0, 0,
        ];
        assert_eq!(any(&fields), Ok(fields.len()));
        assert_eq!(any(&[&fields[..], &[1, 2, 3]].concat()), Ok(fields.len()));
        for length in 0..fields.len() {
            assert_eq!(any(&fields[..length]), Err(Flaw::Cut), "{length} bytes");
        }
        const KNOWN: Fields = &[(1, Integer), (2, Bytes), (3, List(&Integer)), (30, Bool)];
        assert_eq!(known(&fields, KNOWN), Ok(fields.len()));
    }

    #[test]
    fn integers_are_told_by_number() {
        let fields = [0x15, 0x86, 0x01, 0x15, 1, 0x2c, 0x25, 0x0a, 0, 0x12, 0x11, 0];
        let Walked { bytes, integers, structs } = walk(&fields, &[]).unwrap();
        assert_eq!((bytes, integers), (12, [0, 67, -1, 0, 0, 2, 1, 0]));
        assert_eq!(structs, [0, 0, 0, 0, 6, 0, 0, 0, 0]);
        assert_eq!(walk(&fields[6..], &[]).unwrap().integers, [0, 0, 5, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_known_field_has_its_type() {
        let wrong: [(Fields, &[u8]); 6] = [
            (&[(1, Bytes)], &[0x15, 2, 0]),
            (&[(1, Bool)], &[0x15, 2, 0]),
            (&[(2, Integer)], &[0x21, 0]),
            (&[(2, Integer)], &[0x08, 4, 0, 0]),
            (&[(1, List(&Integer))], &[0x19, 0x18, 0, 0]),
            (&[(1, Struct(&[(3, Integer)]))], &[0x1c, 0x38, 0, 0, 0]),
        ];
        for (fields, bytes) in wrong {
            assert_eq!(any(bytes), Ok(bytes.len()), "{bytes:?}");
            assert_eq!(known(bytes, fields), Err(Flaw::Senseless), "{bytes:?}");
        }
        // 65,538 is 2 where a number has 16 bits.
        let wide = [0x08, 0x84, 0x80, 0x08, 0, 0];
        assert_eq!((any(&wide), known(&wide, &[(2, Integer)])), (Ok(6), Err(Flaw::Senseless)));
    }

    #[test]
    fn a_schema_has_as_many_elements_as_it_claims_and_is_not_too_deep() {
        let schema = |children: &[i8]| {
            let element = |children: &i8| [0x55, (*children as u8) << 1, 0];
            let elements: Vec<u8> = children.iter().flat_map(element).collect();
            let header = [0x19, 0xfc, children.len() as u8];
            known(&[&header[..], &elements, &[0]].concat(), &[(1, Schema(&[(5, Integer)]))])
                .map(drop)
        };
        assert_eq!(schema(&[3, 0, 1, 0, 0]), Ok(()));
        assert_eq!(schema(&[3, 0, 0]), Err(Flaw::Senseless));
        assert_eq!(schema(&[2, 0, 1]), Err(Flaw::Senseless));
        assert_eq!(schema(&[1, 63]), Err(Flaw::Senseless));
        let chain = |length: usize| [vec![1; length - 1], vec![0]].concat();
        assert_eq!(schema(&chain(DEPTH_MAX)), Ok(()));
        assert_eq!(schema(&chain(DEPTH_MAX + 1)), Err(Flaw::Senseless));
    }

    #[test]
    fn booleans_of_a_list_that_is_known_take_a_byte_each() {
        let fields = [0x19, 0x32, 1, 2, 0, 0];
        assert_eq!(known(&fields, &[(1, List(&Bool))]), Ok(fields.len()));
        assert_eq!(known(&fields[..4], &[(1, List(&Bool))]), Err(Flaw::Cut));
        assert_eq!(any(&fields), Err(Flaw::Senseless));
    }

    #[test]
    fn an_empty_list_may_lack_a_type() {
        assert_eq!(known(&[0x19, 0, 0], &[(1, List(&Integer))]), Ok(3));
    }

    #[test]
    fn claims_need_bytes() {
        assert_eq!(any(&[0x19, 0x5c, 0, 0, 0]), Err(Flaw::Cut));
        assert_eq!(any(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]), Err(Flaw::Cut));
        assert_eq!(any(&[0x18, 0xff, 0xff, 0x03, 0]), Err(Flaw::Cut));
    }

    #[test]
    fn what_takes_no_byte_is_refused() {
        // A list, a set and a map of two thousand million booleans; lists of lists of nothing.
        let many = [0xff, 0xff, 0xff, 0xff, 0x07];
        for kind in [0x19, 0x1a] {
            let list = [&[kind, 0xf1], &many[..], &[0, 0]].concat();
            assert_eq!(any(&list), Err(Flaw::Senseless));
        }
        let map = [&[0x1b], &many[..], &[0x12, 0, 0]].concat();
        assert_eq!(any(&map), Err(Flaw::Senseless));
        assert_eq!(any(&[&[0x19][..], &[0x19; 80]].concat()), Err(Flaw::Senseless));
        assert_eq!(any(&[0x15, 0x80, 0x80, 0x80]), Err(Flaw::Cut));
        assert_eq!(any(&[&[0x15][..], &[0x80; 11]].concat()), Err(Flaw::Senseless));
    }
}
