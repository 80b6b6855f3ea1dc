//! A snapshot reads back as written, or says which file is damaged.

use super::{SnapshotFile, SnapshotHeader, SnapshotWriter, read_snapshot_bytes};
use crate::{
    disk::{FileSystem, SimulatedFs},
    error::{Error, Result},
    log::{Generation, Lsn, StateDigest},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, io, path::Path, sync::Arc};

const HEADER: SnapshotHeader =
    SnapshotHeader { snapshot_id: 4, store_id: 0x5709e, shards: 3, lsn: Lsn(100) };

fn disk() -> SimulatedFs {
    let fs = SimulatedFs::new();
    fs.create_dir_all(Path::new("/snapshots")).unwrap();
    fs
}

/// Writes the entries, each to the shard of its length, and one of meta.
fn write(fs: &SimulatedFs, entries: &[Vec<u8>]) -> Result<Generation> {
    let mut writer = SnapshotWriter::create(Arc::new(fs.clone()), Path::new("/"), HEADER)?;
    for entry in entries {
        writer.add(entry.len() as u32 % HEADER.shards, entry)?;
    }
    writer.add_meta(b"the catalog")?;
    writer.finish(Lsn(104))
}

fn read(fs: &SimulatedFs, generation: &Generation) -> Result<BTreeMap<Option<u32>, Vec<Vec<u8>>>> {
    let mut read: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for listed in &generation.files {
        let file = SnapshotFile::open(fs, Path::new("/"), listed)?;
        assert_eq!(*file.header(), HEADER);
        let entries = read.entry(file.shard()).or_default();
        let summary = file.for_each(|entry| {
            entries.push(entry.to_vec());
            Ok(())
        })?;
        assert_eq!(summary.last_lsn, Lsn(104));
    }
    Ok(read)
}

/// Entries of many lengths, and one that needs more than a block.
fn entries() -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = (0..2000u32).map(|n| n.to_le_bytes().repeat(30)).collect();
    entries.extend((0..9).map(|bytes| vec![1; bytes]));
    entries.push(vec![9; 200_000]);
    entries
}

#[test]
fn a_snapshot_reads_back_as_written_with_the_digest_of_its_entries() {
    let fs = disk();
    let generation = write(&fs, &entries()).unwrap();
    let read = read(&fs, &generation).unwrap();
    assert_eq!(read[&None], [b"the catalog"]);
    let mut digest = StateDigest::default();
    for shard in 0..3 {
        let of_shard: Vec<_> = entries().into_iter().filter(|e| e.len() % 3 == shard).collect();
        of_shard.iter().for_each(|entry| digest.add(entry));
        assert_eq!(read[&Some(shard as u32)], of_shard);
    }
    assert_eq!((generation.entries, generation.digest), (2010, digest));
    assert_eq!((generation.lsn, generation.last_lsn), (Lsn(100), Lsn(104)));
    let names: Vec<_> = fs.read_dir(Path::new("/snapshots")).unwrap();
    assert!(names.iter().all(|entry| entry.name.ends_with(".snap")));
    assert_eq!(names.len(), 4);
}

#[test]
fn an_unfinished_snapshot_leaves_no_file_and_a_failure_names_none() {
    let fs = disk();
    write(&fs, &entries()).unwrap();
    for call in 0..fs.calls() {
        let failing = disk();
        failing.fail_call(failing.calls() + call, io::ErrorKind::StorageFull, false);
        let failed = write(&failing, &entries()).is_err();
        let names = failing.read_dir(Path::new("/snapshots")).unwrap();
        assert!(names.iter().all(|entry| failed || !entry.name.ends_with(".tmp")), "call {call}");
    }
}

#[test]
fn a_file_of_another_length_or_hash_is_named() {
    let fs = disk();
    let generation = write(&fs, &entries()).unwrap();
    for change in [|b: &mut Vec<u8>| b.push(0), |b: &mut Vec<u8>| b[70] ^= 1] {
        let damaged = fs.crash(0, crate::disk::Cut::Process);
        let path = Path::new("/").join(&generation.files[1].name);
        damaged.damage(&path, change).unwrap();
        let Err(Error::Corrupt { path: named, .. }) = read(&damaged, &generation) else {
            panic!("the damage was not found");
        };
        assert_eq!(named, path);
    }
}

proptest! {
    /// Without the hash of the manifest, checksums and digest alone must find a flipped bit.
    #[test]
    fn a_flipped_bit_of_a_snapshot_file_is_found_by_the_file_itself(
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let fs = disk();
        let generation = write(&fs, &[vec![5; 300], vec![6; 30], b"abc".to_vec()]).unwrap();
        for listed in generation.files {
            let mut bytes = fs.map(&Path::new("/").join(listed.name)).unwrap().to_vec();
            prop_assert!(read_snapshot_bytes(&bytes).is_ok());
            let offset = at.index(bytes.len());
            bytes[offset] ^= 1 << bit;
            prop_assert!(read_snapshot_bytes(&bytes).is_err(), "byte {offset}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        let _ = read_snapshot_bytes(&bytes);
        let mut file = HEADER.encode(1);
        file.extend_from_slice(&bytes);
        prop_assert!(read_snapshot_bytes(&file).is_err());
    }
}
