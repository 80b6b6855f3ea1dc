//! All that can happen to a store, and how it stands in a log record.
//!
//! Invariants
//! - A change is absolute: it says what is, never "one more", so applying it twice is harmless.
//! - Cells carry their own stamps, so applying them in any order gives the same state. The other
//!   changes are applied in the order of the log.
//! - Decoding is total: any bytes give a record or an error, and no claimed length is believed.
//!
//! Format: a record is one [`Record`] in the postcard wire format
//! (<https://postcard.jamesmunns.com>); new variants go to the end of an `enum`, and nothing that
//! was ever written changes its place.

use super::{run::Run, time::Timestamp, value::Value, view::ViewId, visible::Stamp};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// What one acknowledged command did: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Cells of one view of one registered entity, all with one stamp.
    Cells(CellsWrite),
    /// Something about a key that belongs to no registered entity.
    Plain {
        /// The whole key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// What is now true of it.
        change: PlainChange,
    },
    /// Every key is gone, and every cursor of materialization with it; definitions stay.
    FlushAll,
    /// Definitions were applied.
    Apply {
        /// The whole feature repository as canonical text.
        definitions: String,
        /// When.
        at: Timestamp,
    },
    /// A run of materialization ended. Its files are the cursor of its view if it is done.
    RunEnded(Run),
    /// An entity is gone with all that was ever written about it, and what was true of it before
    /// that moment is kept out.
    Forget {
        /// Its canonical key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// When.
        at: Timestamp,
    },
}

impl Change {
    /// The key of the row that it changes; `None` if it is about more or less than a row.
    pub fn row_key(&self) -> Option<&[u8]> {
        match self {
            Self::Cells(write) => Some(&write.key),
            Self::Plain { key, .. } => Some(key),
            // Replay applies it by itself: it is about more than the row.
            Self::FlushAll | Self::Apply { .. } | Self::RunEnded(_) | Self::Forget { .. } => None,
        }
    }
}

/// Who wrote cells: what was materialized can be read again from its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A client.
    Pushed,
    /// Materialization.
    Materialized,
}

/// Cells of one view of one registered entity that share a stamp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellsWrite {
    /// The canonical key of the entity: `airport:JFK`.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// The view.
    pub view: ViewId,
    /// The generation of the view that these cells belong to.
    pub generation: u32,
    /// When they were true, and when they became known.
    pub stamp: Stamp,
    /// Who wrote them.
    pub origin: Origin,
    /// The slot of each feature, ascending and without repetition, and what is in it.
    pub cells: Vec<(u32, CellWrite)>,
}

/// What is written to one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CellWrite {
    /// A value.
    Value(Value),
    /// Null: known to be without value.
    Null,
    /// Deleted: older cells no longer answer.
    Tombstone,
}

/// What is now true of a plain key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlainChange {
    /// It is a string with this value and this end of life.
    SetString {
        /// The value.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        /// When it is gone.
        expires_at: Option<Timestamp>,
    },
    /// It is a hash, and these fields of it have these values.
    SetFields(Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf)>),
    /// It is a hash, and these fields are gone; without a field left the key is gone.
    DeleteFields(Vec<serde_bytes::ByteBuf>),
    /// It is gone.
    Delete,
    /// It is gone at that time; `None` for never.
    ExpireAt(Option<Timestamp>),
    /// It is a hash of these fields and no others, without an end of life: what stood here before
    /// was gone. Replay knows no time, and would add to what was over.
    SetHash(Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf)>),
    /// These fields of a hash, which are there, are gone at that time; `None` for never. The other
    /// changes of fields take away the end that a field had.
    EndFields {
        /// The fields.
        names: Vec<serde_bytes::ByteBuf>,
        /// When they are gone.
        at: Option<Timestamp>,
    },
    /// It is a hash, and these fields of it have these values and these ends of life.
    SetEndingFields {
        /// Whether it has no others and no end of life of its own: what stood here before was gone.
        is_whole: bool,
        /// The fields.
        fields: Vec<EndingField>,
    },
}

/// A field of a plain hash that has an end of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndingField {
    /// Its name.
    pub name: serde_bytes::ByteBuf,
    /// Its value.
    pub value: serde_bytes::ByteBuf,
    /// When it is gone; `None` for never.
    pub end: Option<Timestamp>,
}

/// Writes behind what a vector holds.
struct Behind<'a>(&'a mut Vec<u8>);

impl Flavor for Behind<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The bytes of a record.
pub fn encode_record(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_record(record, &mut bytes);
    bytes
}

/// Appends the bytes of a record.
pub fn write_record(record: &Record, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and every type here knows its length beforehand.
    let written = postcard::serialize_with_flavor(record, Behind(out));
    debug_assert!(written.is_ok(), "a vector takes every record");
}

/// The record that `bytes` hold; `Err` says in a few words why they hold none.
pub fn decode_record(bytes: &[u8]) -> Result<Record, String> {
    let (record, rest) =
        postcard::take_from_bytes::<Record>(bytes).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(record) } else { Err(format!("{} bytes too many", rest.len())) }
}

/// As `Record` begins: how many changes, and which is the first.
type Start = (usize, u32);
/// The number of [`Change::Cells`].
pub(super) const CELLS: u32 = 0;
/// The number of [`Change::Plain`].
const PLAIN: u32 = 1;

/// The key of the row that the record in `bytes` changes, if it is one change of one row: read
/// without the rest, which may still turn out to be no record.
pub fn sole_row_key(bytes: &[u8]) -> Option<&[u8]> {
    // Both of these begin with the key. What is about no row need not have as many bytes as its
    // third field says.
    type Changed<'a> = (Start, &'a serde_bytes::Bytes);
    let (((count, change), key), _) = postcard::take_from_bytes::<Changed<'_>>(bytes).ok()?;
    (count == 1 && matches!(change, CELLS | PLAIN)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        let cells = CellsWrite {
            key: b"airport:JFK".to_vec(),
            view: ViewId(3),
            generation: 1,
            stamp: Stamp::new(Timestamp(-5), None),
            origin: Origin::Pushed,
            cells: vec![
                (0, CellWrite::Value(Value::Float64(12.5))),
                (4, CellWrite::Null),
                (5, CellWrite::Tombstone),
            ],
        };
        let plain = PlainChange::SetString { value: b"\0\r\n".to_vec(), expires_at: None };
        Record {
            changes: vec![
                Change::Cells(cells),
                Change::Plain { key: b"k".to_vec(), change: plain },
                Change::FlushAll,
            ],
        }
    }

    #[test]
    fn a_record_reads_back_as_written_and_with_nothing_behind_it() {
        let mut bytes = encode_record(&record());
        assert_eq!(decode_record(&bytes).unwrap(), record());
        bytes.push(0);
        assert_eq!(decode_record(&bytes).unwrap_err(), "1 bytes too many");
    }

    #[test]
    fn the_example_of_the_document_is_read_and_written_again_as_it_stands() {
        let document = include_str!("../../docs/formats/records.md");
        let hex = document.split_once("```text example\n").unwrap().1.split_once("```").unwrap().0;
        let bytes = hex.lines().flat_map(|line| {
            let hex = line.split("  ").next().unwrap_or_default().split_whitespace();
            hex.map(|byte| u8::from_str_radix(byte, 16).unwrap())
        });
        let bytes: Vec<u8> = bytes.collect();
        assert_eq!(decode_record(&bytes).unwrap(), record());
        assert_eq!(encode_record(&record()), bytes);
    }

    #[test]
    fn the_bytes_of_ends_of_fields_never_change() {
        let bytes = |text: &str| serde_bytes::ByteBuf::from(text);
        let key = || b"k".to_vec();
        let ending = PlainChange::EndFields { names: vec![bytes("f")], at: Some(Timestamp(-5)) };
        let end = Some(Timestamp(4));
        let fields = vec![EndingField { name: bytes("f"), value: bytes("v"), end }];
        let set = PlainChange::SetEndingFields { is_whole: true, fields };
        let record = Record {
            changes: vec![
                Change::Plain { key: key(), change: ending },
                Change::Plain { key: key(), change: set },
            ],
        };
        let bytes = encode_record(&record);
        assert_eq!(decode_record(&bytes).unwrap(), record);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "02 01016b 06 010166 0109 01016b 07 01 01 0166 0176 0108".replace(' ', ""));
    }

    #[test]
    fn the_bytes_of_a_record_never_change() {
        let hex: String = encode_record(&record()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "03000b616972706f72743a4a464b030109000003000004000000000000294004010502\
             01016b000300 0d0a0002"
                .replace([' ', '\n'], "")
        );
    }

    #[test]
    fn the_key_of_a_sole_change_is_found_without_the_rest() {
        let changes = record().changes;
        let sole = |change: &Change| encode_record(&Record { changes: vec![change.clone()] });
        let (cells, plain, flush) = (sole(&changes[0]), sole(&changes[1]), sole(&changes[2]));
        assert_eq!(sole_row_key(&cells), Some(&b"airport:JFK"[..]));
        assert_eq!(sole_row_key(&plain), Some(&b"k"[..]));
        let at = Timestamp(4);
        let apply = sole(&Change::Apply { definitions: "k".into(), at });
        for other in [flush, apply, encode_record(&record()), vec![]] {
            assert_eq!(sole_row_key(&other), None);
        }
    }

    proptest! {
        #[test]
        fn a_key_that_is_found_is_that_of_the_record(bytes: Vec<u8>) {
            if let (Some(key), Ok(record)) = (sole_row_key(&bytes), decode_record(&bytes)) {
                assert_eq!(record.changes.len(), 1);
                assert_eq!(record.changes[0].row_key(), Some(key));
            }
        }

        #[test]
        fn any_bytes_give_a_record_or_an_error(bytes: Vec<u8>) {
            let _ = decode_record(&bytes);
        }
    }
}
