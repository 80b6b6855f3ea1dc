//! What a backup says about itself: its files with sizes and hashes, and which records it reaches.
//!
//! Behind the preamble (`disk/frame.rs`, magic "NTbk"), little-endian:
//!
//! ```text
//! offset  size  field
//!     16    16  store id
//!     32     8  number of the manifest of the store that it was made by
//!     40     8  when it was begun, in µs since 1970, by the clock of the machine
//!     48     8  first LSN of the log in it
//!     56     8  last LSN
//!     64     8  clock of the last record, in µs since 1970; 0 without one
//!     72     4  length of the body
//!     76     4  crc32 of the body
//!     80        the body: number of files, 4 bytes; of each
//!            4+n    path below the backup, after its length
//!            8      length of the file
//!           32      blake3 of the file
//! ```
//! Invariants
//! - It has its name only after all that it lists, and itself, is synced.
//! - A listed path is `MANIFEST-<n>`, or stands directly in `log/` or `snapshots/`.

use super::{
    contract::Lsn,
    directory_setup::LOG,
    manifest::{HISTORY, ListedFile, SNAPSHOTS, is_directly_below, manifest_number},
    marks::BACKUP,
};
use crate::{
    disk::{
        FileSystem,
        frame::{Fields, Kind, checksum, decode_header, encode_header},
    },
    error::{Error, Result},
};
use std::path::Path;

const KIND: Kind =
    Kind { magic: *b"NTbk", version: 1, feature_bits_known: 0, name: "a backup's list" };
const HEADER_BYTES: usize = 80;

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupManifest {
    /// The store it was made of.
    pub store_id: u128,
    /// The number of the manifest that counted then.
    pub manifest_number: u64,
    /// When it was begun, in µs since 1970, by the clock of the machine.
    pub begun_us: i64,
    /// The first LSN of its log, or of the record that would be the first.
    pub first_lsn: Lsn,
    /// The last LSN in it.
    pub last_lsn: Lsn,
    /// The clock of the last record, in µs since 1970; 0 without one.
    pub last_clock_us: i64,
    /// All files but this one.
    pub files: Vec<ListedFile>,
}

impl BackupManifest {
    /// Reads what the backup in `root` says.
    pub(super) fn read(fs: &dyn FileSystem, root: &Path) -> Result<Self> {
        let path = root.join(BACKUP);
        let bytes = fs.map(&path).map_err(Error::io("reading the backup's list", &path))?;
        Self::decode(&bytes, &path)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = (self.files.len() as u32).to_le_bytes().to_vec();
        self.files.iter().for_each(|file| file.encode(&mut body));
        let mut fields = self.store_id.to_le_bytes().to_vec();
        fields.extend_from_slice(&self.manifest_number.to_le_bytes());
        fields.extend_from_slice(&self.begun_us.to_le_bytes());
        fields.extend_from_slice(&self.first_lsn.0.to_le_bytes());
        fields.extend_from_slice(&self.last_lsn.0.to_le_bytes());
        fields.extend_from_slice(&self.last_clock_us.to_le_bytes());
        fields.extend_from_slice(&(body.len() as u32).to_le_bytes());
        fields.extend_from_slice(&checksum(self.last_lsn.0, &body).to_le_bytes());
        let mut bytes = encode_header(&KIND, 0, &fields);
        bytes.append(&mut body);
        bytes
    }

    /// What `bytes` of `path` say. Total.
    fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |offset, expected| Error::corrupt(path, offset, expected);
        let mut header = decode_header(&KIND, bytes, path)?;
        let mut read = || {
            let manifest = Self {
                store_id: header.u128()?,
                manifest_number: header.u64()?,
                begun_us: header.i64()?,
                first_lsn: Lsn(header.u64()?),
                last_lsn: Lsn(header.u64()?),
                last_clock_us: header.i64()?,
                files: Vec::new(),
            };
            Some((manifest, header.u32()?, header.u32()?))
        };
        let (manifest, body_bytes, stored) =
            read().ok_or_else(|| damaged(0, "a whole header of a backup's list"))?;
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let is_whole = body.len() as u64 == u64::from(body_bytes)
            && checksum(manifest.last_lsn.0, body) == stored;
        if !is_whole {
            return Err(damaged(HEADER_BYTES as u64, "a body with a valid checksum"));
        }
        let mut fields = Fields::new(body);
        let files = decode_files(&mut fields).filter(|_| fields.rest().is_empty());
        let files = files.ok_or_else(|| damaged(HEADER_BYTES as u64, "a list of files"))?;
        Ok(Self { files, ..manifest })
    }
}

/// Whether `bytes` are the list of a backup, and what it says. Total: for fuzzing and for tools.
pub fn read_backup_bytes(bytes: &[u8]) -> Result<BackupManifest> {
    BackupManifest::decode(bytes, Path::new("bytes"))
}

fn decode_files(fields: &mut Fields<'_>) -> Option<Vec<ListedFile>> {
    let mut files = Vec::new();
    for _ in 0..fields.u32()? {
        let is_ours = |name: &str| {
            let mut folders = [LOG, SNAPSHOTS, HISTORY].into_iter();
            manifest_number(name).is_some() || folders.any(|f| is_directly_below(name, f))
        };
        files.push(ListedFile::decode(fields, is_ours)?);
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::frame::hex_dump;
    use proptest::prelude::*;

    fn manifest() -> BackupManifest {
        let file = |name: &str| ListedFile { name: name.into(), bytes: 77, hash: [0xab; 32] };
        BackupManifest {
            store_id: 0x5709e,
            manifest_number: 3,
            begun_us: 1_000_000,
            first_lsn: Lsn(5),
            last_lsn: Lsn(1000),
            last_clock_us: 999_000,
            files: vec![file("MANIFEST-3"), file("log/wal-7"), file("snapshots/a")],
        }
    }

    #[test]
    fn a_backups_list_reads_back_as_written_and_stands_as_documented() {
        let bytes = manifest().encode();
        assert_eq!(BackupManifest::decode(&bytes, Path::new("/b")).unwrap(), manifest());
        assert_eq!(hex_dump(&bytes), GOLDEN);
    }

    #[test]
    fn any_flipped_bit_of_a_backups_list_is_found() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(BackupManifest::decode(&flipped, Path::new("/b")).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn no_listed_path_leaves_the_backup() {
        let names =
            ["/etc/passwd", "log/../x", "log/..", "LOCK", "log/a/b", "aside/a", "log/", "BACKUP"];
        for name in names {
            let mut manifest = manifest();
            manifest.files[0].name = name.into();
            let decoded = BackupManifest::decode(&manifest.encode(), Path::new("/b"));
            assert!(decoded.is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(body: Vec<u8>) {
            let _ = decode_files(&mut Fields::new(&body));
            let _ = BackupManifest::decode(&body, Path::new("/b"));
        }
    }

    const GOLDEN: &str = "\
0000  4e 54 62 6b 01 2a 4e 13 01 00 50 00 00 00 00 00
0010  9e 70 05 00 00 00 00 00 00 00 00 00 00 00 00 00
0020  03 00 00 00 00 00 00 00 40 42 0f 00 00 00 00 00
0030  05 00 00 00 00 00 00 00 e8 03 00 00 00 00 00 00
0040  58 3e 0f 00 00 00 00 00 a6 00 00 00 dd 50 a7 20
0050  03 00 00 00 0a 00 00 00 4d 41 4e 49 46 45 53 54
0060  2d 33 4d 00 00 00 00 00 00 00 ab ab ab ab ab ab
0070  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab
0080  ab ab ab ab ab ab ab ab ab ab 09 00 00 00 6c 6f
0090  67 2f 77 61 6c 2d 37 4d 00 00 00 00 00 00 00 ab
00a0  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab
00b0  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab 0b
00c0  00 00 00 73 6e 61 70 73 68 6f 74 73 2f 61 4d 00
00d0  00 00 00 00 00 00 ab ab ab ab ab ab ab ab ab ab
00e0  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab
00f0  ab ab ab ab ab ab
00f6
";
}
