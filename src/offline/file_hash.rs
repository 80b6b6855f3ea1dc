//! Which files something was made from and written to: their hashes, by which one can tell later
//! whether they are still the same.

use super::{
    dataset::DataFile,
    parquet_file::{damaged, failed},
};
use crate::{
    error::{Error, Result},
    parallel::map,
};
use blake3::{Hash, Hasher};
use parquet::file::reader::ChunkReader;
use std::{fs::File, mem, path::Path, sync::Arc};

/// So many bytes are read at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// The blake3 hash of all bytes of each of `files`, in their order. A file that was changed since
/// it was opened is an error: nobody knows what was read of it.
pub fn hash_files(files: &[&DataFile], threads: usize) -> Result<Vec<Hash>> {
    map(threads, files, |file| hash_file(file))
}

fn hash_file(file: &DataFile) -> Result<Hash> {
    let open = file.open(&Arc::default())?;
    let mut hasher = Hasher::new();
    let mut at = 0;
    let fetch = |at: u64| file.fetch_range(at..at.saturating_add(CHUNK_BYTES).min(file.bytes()));
    let mut ahead = fetch(0);
    while at < file.bytes() {
        let length = CHUNK_BYTES.min(file.bytes() - at);
        let fetched = mem::replace(&mut ahead, fetch(at + length));
        if let Some(fetched) = &fetched {
            fetched.wait().map_err(|failure| failed("reading", file.path(), &failure))?;
        }
        let bytes = open.get_bytes(at, usize::try_from(length).unwrap_or_default());
        hasher.update(&bytes.map_err(|error| damaged(file.path(), &error.to_string()))?);
        at += length;
    }
    file.refuse_changed()?;
    Ok(hasher.finalize())
}

/// The size of a file and the blake3 hash of all its bytes.
pub fn hash_path(path: &Path) -> Result<(u64, Hash)> {
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let mut hasher = Hasher::new();
    hasher.update_reader(file).map_err(Error::io("reading", path))?;
    Ok((hasher.count(), hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::{Dataset, write_batch};
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use std::fs;

    fn write(path: &Path, rows: i64) {
        let column: ArrayRef = Arc::new(
            (0..rows)
                .map(|row| {
                    Some(
                        row.wrapping_mul(row).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()),
                    )
                })
                .collect::<Int64Array>(),
        );
        write_batch(&RecordBatch::try_from_iter([("x", column)]).unwrap(), path, None).unwrap();
    }

    #[test]
    fn the_hash_is_that_of_all_bytes_and_a_file_that_changed_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write(&path, 500_000);
        let whole = fs::read(&path).unwrap();
        assert!(whole.len() as u64 > CHUNK_BYTES);
        let dataset = Dataset::open(path.to_str().unwrap()).unwrap();
        let file = dataset.files()[0].open().unwrap();
        assert_eq!(hash_files(&[file], 2).unwrap(), [blake3::hash(&whole)]);
        assert_eq!(hash_path(&path).unwrap(), (whole.len() as u64, blake3::hash(&whole)));
        write(&path, 600_000);
        let why = hash_files(&[file], 1).unwrap_err().to_string();
        assert!(why.contains("a.parquet: the file was changed"), "{why}");
    }
}
