//! The manifest: which snapshots and which files of history count. Small, whole, checksummed,
//! numbered.
//!
//! ```text
//! MANIFEST.tmp ─ written, synced ─ renamed ─> MANIFEST-<n> ─ folder synced ─> n-1 removed
//! ```
//! Behind the preamble (`disk/frame.rs`, magic "NTmf"), little-endian:
//!
//! ```text
//! offset  size  field
//!     16     8  number n, as in the name
//!     24    16  store id
//!     40     4  length of the body
//!     44     4  crc32 of the body
//!     48        the body: number of generations, 4 bytes, newest first; of each
//!            8    snapshot id
//!            8    LSN: the log goes on after it
//!            8    last LSN that may be in it
//!            8    number of entries
//!           16    state digest
//!            4    number of files; of each
//!            4+n    path below the data directory, after its length
//!            8      length of the file
//!           32      blake3 of the file
//!        with feature bit 0, the history follows:
//!            8    LSN: what was pushed up to here is in its files
//!            4    number of files; of each
//!            4      number of the view
//!            4      generation of the view
//!            8      first LSN of the range of the log that it stands for
//!            8      last LSN of that range
//!            8      number of rows
//!           48+n    path, length and blake3, as of a file of a snapshot
//! ```
//! Invariants
//! - A manifest has its name only after it is whole and synced, so a damaged one is never the trace
//!   of a crash: the highest number counts, and if it is damaged we stop.
//! - A listed path stays below `snapshots/` or `history/`, as what it is.

use super::{
    contract::{LogIdentity, Lsn},
    digest::StateDigest,
};
use crate::{
    disk::{
        FileSystem,
        frame::{Fields, Kind, checksum, decode_header, encode_header},
    },
    error::{Error, Result},
    planted::planted,
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The folder of all snapshots, below the data directory.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// The folder of the history, below the data directory; older stores may be without it.
pub(super) const HISTORY: &str = "history";

/// The history is told behind the generations.
const HAS_HISTORY: u32 = 1;

const KIND: Kind =
    Kind { magic: *b"NTmf", version: 1, feature_bits_known: HAS_HISTORY, name: "a manifest" };
const PREFIX: &str = "MANIFEST-";
const UNFINISHED: &str = "MANIFEST.tmp";
const HEADER_BYTES: usize = 48;

/// A file that a manifest lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path below the data directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The blake3 hash of all of it.
    pub hash: [u8; 32],
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Counts up.
    pub snapshot_id: u64,
    /// All records up to here are in it: the log goes on after this LSN.
    pub lsn: Lsn,
    /// Some records up to here may be in it: the log must have been durable up to this LSN.
    pub last_lsn: Lsn,
    /// The number of entries in its shards.
    pub entries: u64,
    /// The digest of the entries in its shards.
    pub digest: StateDigest,
    /// Its shards in order, then its meta file.
    pub files: Vec<ListedFile>,
}

/// A file with what was pushed to one generation of one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPart {
    /// The number of the view.
    pub view: u32,
    /// Its generation.
    pub generation: u32,
    /// The first LSN of the range of the log that it stands for.
    pub first: Lsn,
    /// The last LSN of that range.
    pub last: Lsn,
    /// The number of its rows.
    pub rows: u64,
    /// The file.
    pub file: ListedFile,
}

/// What was pushed, as far as it stands in files of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// All cells that were pushed up to here are in the parts: the log goes on after this LSN.
    pub reaches: Lsn,
    /// The files, in no order that means anything.
    pub parts: Vec<HistoryPart>,
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) number: u64,
    pub(super) store_id: u128,
    /// Newest first.
    pub(super) generations: Vec<Generation>,
    pub(super) history: History,
}

/// The number that the name of a manifest ends with.
pub(super) fn manifest_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

/// Whether a file is what is left of a manifest that was never finished.
pub(super) fn is_unfinished_manifest(name: &str) -> bool {
    name == UNFINISHED
}

/// The path of a manifest.
pub(super) fn manifest_path(root: &Path, number: u64) -> PathBuf {
    root.join(format!("{PREFIX}{number}"))
}

impl Manifest {
    /// That of a new store.
    pub(super) fn first(store_id: u128) -> Self {
        Self { number: 1, store_id, generations: Vec::new(), history: History::default() }
    }

    /// What the log must hold for these snapshots.
    pub(super) fn log_identity(&self) -> LogIdentity {
        LogIdentity {
            store_id: self.store_id,
            kept_after: self.generations.last().map_or(Lsn(0), |oldest| oldest.lsn),
            reaches: self.generations.first().map_or(Lsn(0), |newest| newest.last_lsn),
        }
    }

    /// The manifest that counts, if there is one.
    pub(super) fn read_newest(fs: &dyn FileSystem, root: &Path) -> Result<Option<Self>> {
        let names = fs.read_dir(root).map_err(Error::io("listing", root))?;
        let Some(number) = names.iter().filter_map(|entry| manifest_number(&entry.name)).max()
        else {
            return Ok(None);
        };
        let path = manifest_path(root, number);
        let bytes = fs.map(&path).map_err(Error::io("reading the manifest", &path))?;
        let manifest = Self::decode(&bytes, &path)?;
        if manifest.number != number {
            return Err(Error::corrupt(path, 16, format!("number {number}, as its name says")));
        }
        Ok(Some(manifest))
    }

    /// Makes this the manifest that counts.
    pub(super) fn write(&self, fs: &dyn FileSystem, root: &Path) -> Result<()> {
        self.write_aside(fs, root)?;
        self.name(fs, root)
    }

    /// Writes and syncs it under a name that does not count; nothing is left of it if that fails.
    pub(super) fn write_aside(&self, fs: &dyn FileSystem, root: &Path) -> Result<()> {
        let unfinished = root.join(UNFINISHED);
        match fs.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing", unfinished)(error));
            }
            _ => {}
        }
        let file = fs.create_new(&unfinished).map_err(Error::io("creating", &unfinished))?;
        let written = file.write_all_at(0, &self.encode());
        let written = written.map_err(Error::io("writing the manifest", &unfinished));
        let synced = |()| match planted("manifest not synced") {
            true => Ok(()),
            false => file.sync_data().map_err(Error::io("syncing the manifest", &unfinished)),
        };
        written.and_then(synced).inspect_err(|_| drop(fs.remove(&unfinished)))
    }

    /// Lets it count. If that fails, nobody knows whether it does.
    pub(super) fn name(&self, fs: &dyn FileSystem, root: &Path) -> Result<()> {
        let path = manifest_path(root, self.number);
        let renamed = fs.rename(&root.join(UNFINISHED), &path);
        renamed.map_err(Error::io("naming the manifest", &path))?;
        if planted("manifest name not synced") {
            return Ok(());
        }
        fs.sync_dir(root).map_err(Error::io("syncing the folder", root))
    }

    /// All files that it lists.
    pub(super) fn files(&self) -> impl Iterator<Item = &ListedFile> {
        let snapshots = self.generations.iter().flat_map(|generation| &generation.files);
        snapshots.chain(self.history.parts.iter().map(|part| &part.file))
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = (self.generations.len() as u32).to_le_bytes().to_vec();
        for generation in &self.generations {
            let Generation { snapshot_id, lsn, last_lsn, entries, digest, files } = generation;
            for field in [*snapshot_id, lsn.0, last_lsn.0, *entries] {
                body.extend_from_slice(&field.to_le_bytes());
            }
            body.extend_from_slice(&digest.0.to_le_bytes());
            body.extend_from_slice(&(files.len() as u32).to_le_bytes());
            files.iter().for_each(|file| file.encode(&mut body));
        }
        let has_history = self.history != History::default();
        if has_history {
            encode_history(&self.history, &mut body);
        }
        let mut fields = self.number.to_le_bytes().to_vec();
        fields.extend_from_slice(&self.store_id.to_le_bytes());
        fields.extend_from_slice(&(body.len() as u32).to_le_bytes());
        fields.extend_from_slice(&checksum(self.number, &body).to_le_bytes());
        let feature_bits = if has_history { HAS_HISTORY } else { 0 };
        let mut bytes = encode_header(&KIND, feature_bits, &fields);
        bytes.append(&mut body);
        bytes
    }

    /// The manifest that `bytes` of `path` hold. Total.
    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |offset, expected| Error::corrupt(path, offset, expected);
        let mut header = decode_header(&KIND, bytes, path)?;
        let mut read = || Some((header.u64()?, header.u128()?, header.u32()?, header.u32()?));
        let (number, store_id, body_bytes, stored) =
            read().ok_or_else(|| damaged(0, "a whole manifest header"))?;
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let is_valid = checksum(number, body) == stored || planted("manifest unverified");
        if body.len() as u64 != u64::from(body_bytes) || !is_valid {
            return Err(damaged(HEADER_BYTES as u64, "a body with a valid checksum"));
        }
        let mut fields = Fields::new(body);
        let listed = decode_generations(&mut fields).zip(decode_history(&mut fields));
        let listed = listed.filter(|_| fields.rest().is_empty());
        let (generations, history) =
            listed.ok_or_else(|| damaged(HEADER_BYTES as u64, "a list of generations"))?;
        Ok(Self { number, store_id, generations, history })
    }
}

fn encode_history(history: &History, body: &mut Vec<u8>) {
    body.extend_from_slice(&history.reaches.0.to_le_bytes());
    body.extend_from_slice(&(history.parts.len() as u32).to_le_bytes());
    for HistoryPart { view, generation, first, last, rows, file } in &history.parts {
        body.extend_from_slice(&view.to_le_bytes());
        body.extend_from_slice(&generation.to_le_bytes());
        for field in [first.0, last.0, *rows] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        file.encode(body);
    }
}

/// The snapshots that a manifest lists, newest first, from its bytes alone. Total: for fuzzing and
/// for tools.
pub fn read_manifest_bytes(bytes: &[u8]) -> Result<Vec<Generation>> {
    Manifest::decode(bytes, Path::new("bytes")).map(|manifest| manifest.generations)
}

fn decode_generations(fields: &mut Fields<'_>) -> Option<Vec<Generation>> {
    let mut generations = Vec::new();
    for _ in 0..fields.u32()? {
        let mut generation = Generation {
            snapshot_id: fields.u64()?,
            lsn: Lsn(fields.u64()?),
            last_lsn: Lsn(fields.u64()?),
            entries: fields.u64()?,
            digest: StateDigest(fields.u128()?),
            files: Vec::new(),
        };
        for _ in 0..fields.u32()? {
            let is_allowed = |name: &str| is_directly_below(name, SNAPSHOTS);
            generation.files.push(ListedFile::decode(fields, is_allowed)?);
        }
        generations.push(generation);
    }
    Some(generations)
}

/// Nothing behind the generations is no history.
fn decode_history(fields: &mut Fields<'_>) -> Option<History> {
    if fields.rest().is_empty() {
        return Some(History::default());
    }
    let mut history = History { reaches: Lsn(fields.u64()?), parts: Vec::new() };
    for _ in 0..fields.u32()? {
        history.parts.push(HistoryPart {
            view: fields.u32()?,
            generation: fields.u32()?,
            first: Lsn(fields.u64()?),
            last: Lsn(fields.u64()?),
            rows: fields.u64()?,
            file: ListedFile::decode(fields, |name| is_directly_below(name, HISTORY))?,
        });
    }
    Some(history)
}

/// Whether `name` is that of a file directly below `folder`, and stays there.
pub(super) fn is_directly_below(name: &str, folder: &str) -> bool {
    let below = name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    below.is_some_and(|file| {
        !file.is_empty() && !file.contains(['/', '\0']) && !file.starts_with('.')
    })
}

impl HistoryPart {
    /// Of which range of which history it is: the same for all buckets of one.
    pub fn range(&self) -> (u32, u32, Lsn) {
        (self.view, self.generation, self.first)
    }
}

impl ListedFile {
    /// Appends its path, after its length, its length and its hash.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.name.len() as u32).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.hash);
    }

    /// Reads one whose path is allowed.
    pub(super) fn decode(
        fields: &mut Fields<'_>,
        is_allowed: impl FnOnce(&str) -> bool,
    ) -> Option<Self> {
        let name = std::str::from_utf8(fields.prefixed()?).ok()?;
        is_allowed(name).then_some(())?;
        Some(Self { name: name.to_string(), bytes: fields.u64()?, hash: fields.array()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{
        SimulatedFs,
        frame::{bytes_of_dump, dump_in, hex_dump},
    };
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let name = |name: &str| ListedFile { name: name.into(), bytes: 77, hash: [0xab; 32] };
        let generation = Generation {
            snapshot_id: 2,
            lsn: Lsn(1000),
            last_lsn: Lsn(1003),
            entries: 5,
            digest: StateDigest(0xd),
            files: vec![name("snapshots/a"), name("snapshots/b")],
        };
        let history = History::default();
        Manifest { number: 3, store_id: 0x5709e, generations: vec![generation], history }
    }

    fn with_history() -> Manifest {
        let file = ListedFile { name: "history/a".into(), bytes: 99, hash: [0xcd; 32] };
        let part =
            HistoryPart { view: 7, generation: 2, first: Lsn(5), last: Lsn(8), rows: 3, file };
        let other = HistoryPart { generation: 3, ..part.clone() };
        let history = History { reaches: Lsn(1000), parts: vec![part, other] };
        Manifest { history, ..manifest() }
    }

    #[test]
    fn a_manifest_reads_back_as_written_and_stands_as_documented() {
        let (fs, root) = (SimulatedFs::new(), Path::new("/"));
        assert_eq!(Manifest::read_newest(&fs, root).unwrap(), None);
        let older = Manifest { number: 2, ..manifest() };
        older.write(&fs, root).unwrap();
        manifest().write(&fs, root).unwrap();
        assert_eq!(Manifest::read_newest(&fs, root).unwrap(), Some(manifest()));
        assert_eq!(hex_dump(&manifest().encode()), GOLDEN);
    }

    #[test]
    fn the_example_of_the_document_is_read_and_written_again_as_it_stands() {
        let dump = dump_in(include_str!("../../docs/formats/manifest.md"), "example");
        assert_eq!(dump, GOLDEN);
        let bytes = bytes_of_dump(&dump);
        let read = Manifest::decode(&bytes, Path::new("manifest.md")).unwrap();
        assert_eq!((&read, read.encode()), (&manifest(), bytes));
    }

    #[test]
    fn any_flipped_bit_of_a_manifest_is_found_and_no_older_one_takes_its_place() {
        for bytes in [manifest().encode(), with_history().encode()] {
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Manifest::decode(&flipped, Path::new("/m")).is_err(), "bit {bit}");
            }
        }
        let (fs, root) = (SimulatedFs::new(), Path::new("/"));
        Manifest { number: 2, ..manifest() }.write(&fs, root).unwrap();
        manifest().write(&fs, root).unwrap();
        fs.damage(&manifest_path(root, 3), |bytes| bytes[60] ^= 1).unwrap();
        assert!(matches!(Manifest::read_newest(&fs, root), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_history_reads_back_as_written_and_its_paths_stay_in_its_folder() {
        let bytes = with_history().encode();
        assert_eq!(bytes[12], 1, "a feature bit keeps away who would not read it");
        assert_eq!(Manifest::decode(&bytes, Path::new("/m")).unwrap(), with_history());
        assert_eq!(with_history().files().count(), 4);
        for name in ["snapshots/a", "history/", "history/../x", "history/a/b", "history"] {
            let mut manifest = with_history();
            manifest.history.parts[1].file.name = name.into();
            let is_read = Manifest::decode(&manifest.encode(), Path::new("/m")).is_ok();
            assert!(!is_read, "{name}");
        }
    }

    #[test]
    fn no_listed_path_leaves_the_folder_of_snapshots() {
        for name in ["/etc/passwd", "snapshots/../x", "snapshots/..", "log/a", "snapshots/a/b"] {
            let mut manifest = manifest();
            manifest.generations[0].files[0].name = name.into();
            assert!(Manifest::decode(&manifest.encode(), Path::new("/m")).is_err(), "{name}");
        }
    }

    #[test]
    fn only_a_plain_number_makes_the_name_of_a_manifest() {
        let names = ["MANIFEST-1", "MANIFEST-207", "MANIFEST-", "MANIFEST-01", "MANIFEST-+1", "x"];
        assert_eq!(names.map(manifest_number), [Some(1), Some(207), None, None, None, None]);
    }

    proptest! {
        #[test]
        fn any_bytes_behind_a_valid_header_are_read_without_a_panic(body: Vec<u8>) {
            let mut fields = Fields::new(&body);
            let _ = decode_generations(&mut fields);
            let _ = decode_history(&mut fields);
            let _ = Manifest::decode(&body, Path::new("/m"));
        }
    }

    const GOLDEN: &str = "\
0000  4e 54 6d 66 96 2e 92 a4 01 00 30 00 00 00 00 00
0010  03 00 00 00 00 00 00 00 9e 70 05 00 00 00 00 00
0020  00 00 00 00 00 00 00 00 a6 00 00 00 47 db 52 70
0030  01 00 00 00 02 00 00 00 00 00 00 00 e8 03 00 00
0040  00 00 00 00 eb 03 00 00 00 00 00 00 05 00 00 00
0050  00 00 00 00 0d 00 00 00 00 00 00 00 00 00 00 00
0060  00 00 00 00 02 00 00 00 0b 00 00 00 73 6e 61 70
0070  73 68 6f 74 73 2f 61 4d 00 00 00 00 00 00 00 ab
0080  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab
0090  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab 0b
00a0  00 00 00 73 6e 61 70 73 68 6f 74 73 2f 62 4d 00
00b0  00 00 00 00 00 00 ab ab ab ab ab ab ab ab ab ab
00c0  ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab
00d0  ab ab ab ab ab ab
00d6
";
}
