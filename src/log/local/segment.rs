//! One segment file: its name, its header, how it comes to be.
//!
//! ```text
//! wal-00000000000000000007.spare   space only: nothing in it was ever acknowledged
//!        │ header written, synced, renamed, folder synced
//! wal-00000000000000000007.log     header sector, frames, footer, zeros
//!        │ after an unclean stop: the valid prefix is copied to a fresh file that takes the name
//! wal-00000000000000000007.0.aside what was found; never read, never deleted by us
//! ```
//! The header fills the first 512 bytes. Behind the preamble (`disk/frame.rs`, magic "NTwl"):
//!
//! ```text
//! offset  size  field
//!     16    16  store id
//!     32     8  segment number
//!     40     8  base LSN: of the first record in it
//!     48     8  salt, random: the seed of every checksum in it
//!     56     8  last chain value of the segment before; 0 for the first
//!     64        zeros to 512
//! ```
//! Invariants
//! - Nothing in a segment is acknowledged before its header and then its name are synced.
//! - A segment that is not the last ends with a footer frame.

use super::log_frame::{FRAME_ALIGNMENT, Place};
use crate::{
    disk::{
        File, FileSystem,
        frame::{Kind, decode_header, encode_header},
    },
    error::{Error, Result},
    log::contract::Lsn,
    planted::planted,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The length of the header of a segment, and the offset of its first frame.
pub(super) const SEGMENT_HEADER_BYTES: usize = 512;
const _: () = assert!(SEGMENT_HEADER_BYTES.is_multiple_of(FRAME_ALIGNMENT));

/// What a segment has no room for records in: its header and its footer.
pub(super) const SEGMENT_OVERHEAD_BYTES: usize = SEGMENT_HEADER_BYTES + FRAME_ALIGNMENT;

const KIND: Kind =
    Kind { magic: *b"NTwl", version: 1, feature_bits_known: 0, name: "a log segment" };

/// What a segment says at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) store_id: u128,
    pub(super) number: u64,
    pub(super) base_lsn: Lsn,
    pub(super) salt: u64,
    pub(super) chain_before: u64,
}

impl SegmentHeader {
    /// Where a frame of this segment stands.
    pub(super) fn place(&self, offset: usize) -> Place {
        Place { salt: self.salt, segment: self.number, offset: offset as u64 }
    }

    /// The first sector.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = self.store_id.to_le_bytes().to_vec();
        for field in [self.number, self.base_lsn.0, self.salt, self.chain_before] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        let mut sector = encode_header(&KIND, 0, &body);
        sector.resize(SEGMENT_HEADER_BYTES, 0);
        sector
    }

    /// The header of the segment that `bytes` of `path` begin.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut fields = decode_header(&KIND, bytes, path)?;
        let mut read = || {
            Some(Self {
                store_id: fields.u128()?,
                number: fields.u64()?,
                base_lsn: Lsn(fields.u64()?),
                salt: fields.u64()?,
                chain_before: fields.u64()?,
            })
        };
        let header = read().ok_or_else(|| Error::corrupt(path, 0, "a whole segment header"))?;
        let sector = bytes.get(..SEGMENT_HEADER_BYTES);
        if sector == Some(header.encode().as_slice()) {
            return Ok(header);
        }
        Err(Error::corrupt(path, 0, "a segment header and zeros behind it"))
    }
}

/// What a file in the folder of the log is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum LogFile {
    Segment(u64),
    Spare,
    Other,
}

/// What `name` stands for.
pub(in crate::log) fn log_file(name: &str) -> LogFile {
    let number = |digits: &str| match digits.len() {
        20 => digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten(),
        _ => None,
    };
    let Some((stem, ending)) = name.strip_prefix("wal-").and_then(|rest| rest.split_once('.'))
    else {
        return LogFile::Other;
    };
    match (number(stem), ending) {
        (Some(number), "log") => LogFile::Segment(number),
        (Some(_), "spare") => LogFile::Spare,
        _ => LogFile::Other,
    }
}

/// The path of a segment.
pub(super) fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("wal-{number:020}.log"))
}

/// The path under which what was found as segment `number` is set aside.
pub(super) fn aside_path(directory: &Path, number: u64, copy: u64) -> PathBuf {
    directory.join(format!("wal-{number:020}.{copy}.aside"))
}

fn spare_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("wal-{number:020}.spare"))
}

/// Space for a segment: preallocated, and without a header or a name that counts.
pub(super) struct Spare {
    pub(super) number: u64,
    pub(super) bytes: u64,
    path: PathBuf,
    file: Box<dyn File>,
}

impl Spare {
    /// Reserves `bytes` for segment `number`; nothing is left of it if that fails.
    pub(super) fn allocate(
        fs: &dyn FileSystem,
        directory: &Path,
        number: u64,
        bytes: u64,
    ) -> io::Result<Self> {
        let path = spare_path(directory, number);
        let file = match fs.create_new(&path) {
            // Left by an attempt that could not even remove it; nothing in it was acknowledged.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs.remove(&path)?;
                fs.create_new(&path)?
            }
            created => created?,
        };
        match file.allocate(bytes) {
            Ok(()) => Ok(Self { number, bytes, path, file }),
            Err(error) => {
                // If it stays, the next start removes it.
                let _ = fs.remove(&path);
                Err(error)
            }
        }
    }

    /// Reserves more.
    pub(super) fn grow(&mut self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)?;
        self.bytes = self.bytes.max(bytes);
        Ok(())
    }

    /// How many bytes of frames fit.
    pub(super) fn capacity_bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX).saturating_sub(SEGMENT_OVERHEAD_BYTES)
    }

    /// Writes `content`, which begins with a header, syncs it, and only then gives it the name of
    /// its segment.
    pub(super) fn name(
        self,
        fs: &dyn FileSystem,
        directory: &Path,
        content: &[u8],
    ) -> Result<(PathBuf, Box<dyn File>)> {
        let Self { number, path, file, .. } = self;
        file.write_all_at(0, content).map_err(Error::io("writing a segment header to", &path))?;
        if !planted("segment header not synced") {
            file.sync_data().map_err(Error::io("syncing a segment header to", &path))?;
        }
        let named = segment_path(directory, number);
        fs.rename(&path, &named).map_err(Error::io("naming the segment", &named))?;
        if !planted("segment name not synced") {
            fs.sync_dir(directory).map_err(Error::io("syncing the folder", directory))?;
        }
        Ok((named, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{SimulatedFs, frame::hex_dump};

    const HEADER: SegmentHeader = SegmentHeader {
        store_id: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
        number: 7,
        base_lsn: Lsn(1001),
        salt: 0xdead_beef_0000_5a17,
        chain_before: 0x1122_3344_5566_7788,
    };

    #[test]
    fn a_segment_header_stands_as_documented_and_reads_back() {
        let path = Path::new("/log/wal");
        assert_eq!(SegmentHeader::decode(&HEADER.encode(), path).unwrap(), HEADER);
        assert_eq!(hex_dump(&HEADER.encode()), GOLDEN);
    }

    #[test]
    fn any_flipped_bit_of_the_first_sector_is_found() {
        for bit in 0..SEGMENT_HEADER_BYTES * 8 {
            let mut flipped = HEADER.encode();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&flipped, Path::new("/f")).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_twenty_digits_and_a_known_ending_name_a_file_of_the_log() {
        let name = |path: PathBuf| log_file(path.file_name().unwrap().to_str().unwrap());
        assert_eq!(name(segment_path(Path::new("/"), 7)), LogFile::Segment(7));
        assert_eq!(name(spare_path(Path::new("/"), 7)), LogFile::Spare);
        for other in ["wal-7.log", "wal-+0000000000000000007.log", "wal-x", "a"] {
            assert_eq!(log_file(other), LogFile::Other);
        }
        assert_eq!(name(aside_path(Path::new("/"), 7, 0)), LogFile::Other);
    }

    #[test]
    fn what_is_left_of_a_spare_does_not_stand_in_the_way_of_the_next_one() {
        let fs = SimulatedFs::new();
        fs.fail_call(fs.calls() + 1, io::ErrorKind::StorageFull, true);
        assert!(Spare::allocate(&fs, Path::new("/"), 1, 8192).is_err());
        assert_eq!(fs.contents().len(), 1, "it could not be removed either");
        fs.heal();
        assert!(Spare::allocate(&fs, Path::new("/"), 1, 8192).is_ok());
    }

    #[test]
    fn a_full_disk_leaves_nothing_of_a_spare() {
        let fs = SimulatedFs::new();
        fs.limit_bytes(Some(4000));
        assert!(Spare::allocate(&fs, Path::new("/"), 1, 8192).is_err());
        assert!(fs.contents().is_empty());
    }

    const GOLDEN: &str = "\
0000  4e 54 77 6c dd c2 33 47 01 00 40 00 00 00 00 00
0010  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f
0020  07 00 00 00 00 00 00 00 e9 03 00 00 00 00 00 00
0030  17 5a 00 00 ef be ad de 88 77 66 55 44 33 22 11
*
0200
";
}
