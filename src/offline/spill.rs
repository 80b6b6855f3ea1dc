//! Rows that wait on the disk because memory is bounded.
//!
//! Invariants
//! - The files have no name: whatever ends the process, nothing is left of them.

use crate::error::{Error, Result};
use arrow_array::RecordBatch;
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{ArrowError, Schema};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// What goes to a file without a name.
pub(super) struct SpillWriter {
    folder: PathBuf,
    writer: StreamWriter<BufWriter<File>>,
}

/// What comes back from it, in the order written.
pub(super) struct SpillReader {
    folder: PathBuf,
    reader: StreamReader<BufReader<File>>,
}

impl SpillWriter {
    /// Begins a file in `folder`.
    pub(super) fn create(folder: &Path, schema: &Schema) -> Result<Self> {
        let file = BufWriter::new(unnamed_file(folder)?);
        let writer = StreamWriter::try_new(file, schema);
        let writer = writer.map_err(|error| failed(folder, error))?;
        Ok(Self { folder: folder.to_owned(), writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| failed(&self.folder, error))
    }

    /// Reads from the beginning.
    pub(super) fn read(self) -> Result<SpillReader> {
        let Self { folder, writer } = self;
        let file = writer.into_inner().map_err(|error| failed(&folder, error))?;
        let file = rewound(file, &folder)?;
        let reader = StreamReader::try_new(file, None).map_err(|error| failed(&folder, error))?;
        Ok(SpillReader { folder, reader })
    }
}

impl SpillReader {
    /// The next rows; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.reader.next().transpose().map_err(|error| failed(&self.folder, error))
    }
}

/// Numbers below 256, one for each row of a spine.
pub(super) struct ByteWriter {
    folder: PathBuf,
    file: BufWriter<File>,
}

/// The same, in the order written.
pub(super) struct ByteReader {
    folder: PathBuf,
    file: BufReader<File>,
}

impl ByteWriter {
    /// Begins a file in `folder`.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_owned(), file: BufWriter::new(unnamed_file(folder)?) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("writing to a file in", &self.folder))
    }

    /// Reads from the beginning.
    pub(super) fn read(self) -> Result<ByteReader> {
        let file = rewound(self.file, &self.folder)?;
        Ok(ByteReader { folder: self.folder, file })
    }
}

impl ByteReader {
    /// The next ones, as many as there is room for.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(Error::io("reading a file in", &self.folder))
    }
}

fn rewound(file: BufWriter<File>, folder: &Path) -> Result<BufReader<File>> {
    let file = file.into_inner().map_err(|error| error.into_error());
    let file = file.and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file));
    Ok(BufReader::new(file.map_err(Error::io("writing to a file in", folder))?))
}

/// A file that has no name in its folder.
fn unnamed_file(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).map_err(Error::io("creating a file in", folder))
}

fn failed(folder: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("keeping rows in a file in", folder)(source),
        other => Error::refused(format!("rows kept in a file in {}: {other}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, DictionaryArray, StringArray, types::Int32Type};
    use std::{fs, sync::Arc};

    #[test]
    fn what_is_written_comes_back_from_a_file_that_nobody_sees() {
        let folder = tempfile::tempdir().unwrap();
        let batch = |texts: Vec<&str>| {
            let coded: DictionaryArray<Int32Type> = texts.iter().copied().collect();
            let columns =
                [("a", Arc::new(coded) as ArrayRef), ("b", Arc::new(StringArray::from(texts)))];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let batches = [batch(vec!["x", "y", "x"]), batch(vec!["z"]), batch(vec![])];
        let mut writer = SpillWriter::create(folder.path(), batches[0].schema_ref()).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        let mut bytes = ByteWriter::create(folder.path()).unwrap();
        bytes.write(&[1, 2, 3]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut reader = writer.read().unwrap();
        for batch in &batches {
            assert_eq!(reader.next().unwrap().as_ref(), Some(batch));
        }
        assert_eq!(reader.next().unwrap(), None);
        let (mut bytes, mut two) = (bytes.read().unwrap(), [0; 2]);
        bytes.read(&mut two).unwrap();
        assert_eq!(two, [1, 2]);
        assert!(bytes.read(&mut two).is_err());
    }
}
