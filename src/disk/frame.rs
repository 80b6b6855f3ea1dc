//! What all files of ours share: the first sixteen bytes, the checksums, reading by field.
//!
//! Every file of ours (log segment, snapshot, manifest) begins with a header that begins with this
//! preamble, little-endian, and these sixteen bytes never change their meaning, so that an old
//! program can tell a newer directory from a damaged one:
//!
//! ```text
//! offset  size  field
//!      0     4  magic: what kind of file this is
//!      4     4  crc32 of the header from offset 8 to its end
//!      8     2  format version
//!     10     2  header length in bytes, with this preamble
//!     12     4  feature bits: each one that is set must be known to whoever reads on
//! ```
//! Invariants
//! - Reading is total: any bytes give fields or `None`, and no length is believed unchecked.
//! - A version or a feature bit that we do not know is no damage: the error says "newer nowthen".

use crate::error::{Error, Result};
use std::path::Path;

/// The length of the preamble.
pub const PREAMBLE_BYTES: usize = 4 + 4 + 2 + 2 + 4;

/// Where the checksummed part of a header begins.
const CHECKED_FROM: usize = 8;
const FEATURE_BITS_AT: usize = 12;

/// A kind of file: what its preamble must say.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The first four bytes.
    pub magic: [u8; 4],
    /// The newest version we can read, and the one we write.
    pub version: u16,
    /// The feature bits we know.
    pub feature_bits_known: u32,
    /// What to call it: "a log segment".
    pub name: &'static str,
}

/// The crc32 of `bytes` under `seed`: the same bytes in another place have another checksum.
pub fn checksum(seed: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial((seed ^ (seed >> 32)) as u32);
    hasher.update(bytes);
    hasher.finalize()
}

/// A header of `kind`: the preamble, then `body`.
pub fn encode_header(kind: &Kind, feature_bits: u32, body: &[u8]) -> Vec<u8> {
    let header_bytes = (PREAMBLE_BYTES + body.len()) as u16;
    let mut checked = Vec::with_capacity(header_bytes.into());
    checked.extend_from_slice(&kind.version.to_le_bytes());
    checked.extend_from_slice(&header_bytes.to_le_bytes());
    checked.extend_from_slice(&feature_bits.to_le_bytes());
    checked.extend_from_slice(body);

    let mut header = kind.magic.to_vec();
    header.extend_from_slice(&checksum(0, &checked).to_le_bytes());
    header.append(&mut checked);
    header
}

/// The body of the header of `kind` at the start of `bytes`, which were read from `path`.
pub fn decode_header<'a>(kind: &Kind, bytes: &'a [u8], path: &Path) -> Result<Fields<'a>> {
    let damaged = || Error::corrupt(path, 0, format!("the header of {}", kind.name));
    let mut fields = Fields::new(bytes);
    if fields.array() != Some(kind.magic) {
        return Err(damaged());
    }
    let stored = fields.u32().ok_or_else(damaged)?;
    let version = fields.u16().ok_or_else(damaged)?;
    let header_bytes = usize::from(fields.u16().ok_or_else(damaged)?);
    let feature_bits = fields.u32().ok_or_else(damaged)?;
    let checked = bytes.get(CHECKED_FROM..header_bytes).ok_or_else(damaged)?;
    if checksum(0, checked) != stored {
        return Err(damaged());
    }
    if version != kind.version || feature_bits & !kind.feature_bits_known != 0 {
        return Err(newer(kind, version, feature_bits, path));
    }
    bytes.get(PREAMBLE_BYTES..header_bytes).map(Fields::new).ok_or_else(damaged)
}

fn newer(kind: &Kind, version: u16, feature_bits: u32, path: &Path) -> Error {
    let unknown_bits = feature_bits & !kind.feature_bits_known;
    let offset = if version == kind.version { FEATURE_BITS_AT } else { CHECKED_FROM };
    Error::refused_as(
        "VERSION",
        format!(
            "{} was written by a newer nowthen: at byte {offset} {} of version {version} with \
             unknown feature bits {unknown_bits:#x}, this one reads version {}; nothing was \
             changed, start the newer",
            path.display(),
            kind.name,
            kind.version
        ),
    )
}

/// Bytes from outside, read field by field.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// All of `bytes` is still to read.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes as a number with a sign.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// The next sixteen bytes as a number.
    pub fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// The next run of bytes that has its length, four bytes, before it.
    pub fn prefixed(&mut self) -> Option<&'a [u8]> {
        let bytes = usize::try_from(self.u32()?).ok()?;
        self.take(bytes)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// The bytes of a golden test: sixteen to a line, a run of zero lines as one `*`.
#[cfg(test)]
pub(crate) fn hex_dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut in_zeros = false;
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let zeros = chunk.iter().all(|byte| *byte == 0);
        if !zeros {
            let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{:04x}  {}\n", line * 16, hex.join(" "));
        } else if !in_zeros {
            text += "*\n";
        }
        in_zeros = zeros;
    }
    text + &format!("{:04x}\n", bytes.len())
}

/// The bytes that [`hex_dump`] shows.
#[cfg(test)]
pub(crate) fn bytes_of_dump(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| *line != "*") {
        let mut words = line.split_whitespace();
        let offset = words.next().and_then(|offset| usize::from_str_radix(offset, 16).ok());
        bytes.resize(offset.unwrap_or_default(), 0);
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap_or_default()));
    }
    bytes
}

/// The dump in a document that stands between ```` ```text name ```` and the end of the fence.
#[cfg(test)]
pub(crate) fn dump_in(document: &str, name: &str) -> String {
    let fence = format!("```text {name}\n");
    let rest = document.split_once(&fence).map_or("", |(_, rest)| rest);
    rest.split_once("```").map_or("", |(dump, _)| dump).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: Kind =
        Kind { magic: *b"NTxx", version: 3, feature_bits_known: 0b1, name: "a test file" };

    fn decode(bytes: &[u8]) -> String {
        match decode_header(&KIND, bytes, Path::new("/d/f")) {
            Ok(body) => format!("{:?}", body.rest()),
            Err(error) => format!("{} {error}", error.code()),
        }
    }

    #[test]
    fn a_header_reads_back_as_written_and_stands_as_documented() {
        let header = encode_header(&KIND, 1, b"body");
        assert_eq!(decode(&header), format!("{:?}", b"body"));
        assert_eq!(
            hex_dump(&header),
            "0000  4e 54 78 78 3d e1 48 14 03 00 14 00 01 00 00 00\n0010  62 6f 64 79\n0014\n"
        );
    }

    #[test]
    fn a_newer_version_or_an_unknown_feature_bit_is_refused_as_newer_and_not_as_damage() {
        let version = encode_header(&Kind { version: 4, ..KIND }, 0, b"");
        let bit = encode_header(&KIND, 0b101, b"");
        for header in [version, bit] {
            assert!(decode(&header).starts_with("VERSION /d/f was written by a newer nowthen"));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_found() {
        let header = encode_header(&KIND, 0, b"the body of a header");
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).starts_with("IOERR"), "bit {bit}");
        }
    }

    #[test]
    fn the_same_bytes_elsewhere_have_another_checksum() {
        assert_ne!(checksum(512, b"frame"), checksum(1024, b"frame"));
        assert_ne!(checksum(7 << 32, b"frame"), checksum(8 << 32, b"frame"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_fields_or_none(bytes: Vec<u8>, count: usize) {
            let _ = decode(&bytes);
            let mut fields = Fields::new(&bytes);
            let _ = (fields.prefixed(), fields.take(count), fields.u128(), fields.u16());
        }
    }
}
