//! Writing a training set: to a file of the format its name asks for, or as an Arrow stream.
//!
//! Invariants
//! - A file is there whole or not at all: it is written beside its place and then renamed.
//! - The spine is never overwritten by what was made from it.

use crate::error::{Error, Result};
use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray, types};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

/// Rows of a batch in an Arrow file.
const IPC_ROWS: usize = 64 * 1024;

/// The formats that a result is written in, by extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Parquet,
    Arrow,
    Csv,
}

/// Writes `batch` to `path`, which ends in `.parquet`, `.arrow` or `.csv`, and returns the size of
/// the file. What was at `path` is replaced, unless it is the spine.
pub fn write_batch(batch: &RecordBatch, path: &Path, spine: Option<&Path>) -> Result<u64> {
    let mut file = ResultFile::create(batch.schema_ref(), path, spine, None)?;
    file.write(batch)?;
    file.finish()
}

/// A result that is written batch by batch. Unless it is finished nothing is left of it.
pub struct ResultFile {
    path: PathBuf,
    beside: PathBuf,
    /// Told by its format; `None` if it could not be begun.
    writer: Option<Writer>,
    is_finished: bool,
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Arrow(FileWriter<BufWriter<File>>),
    Csv(arrow_csv::Writer<BufWriter<File>>),
}

impl ResultFile {
    /// Begins a file that will be at `path`, whose ending tells the format: `.parquet`, `.arrow` or
    /// `.csv`. What is there is replaced at the end, unless it is the spine. Of a row group of
    /// Parquet about `row_group_bytes` are kept in memory until it is written, `None` for any.
    pub fn create(
        schema: &SchemaRef,
        path: &Path,
        spine: Option<&Path>,
        row_group_bytes: Option<usize>,
    ) -> Result<Self> {
        let format = format_of(path)?;
        if spine.is_some_and(|spine| same_file(spine, path)) {
            return Err(Error::refused(format!(
                "{} is the spine: write the result to another file",
                path.display()
            )));
        }
        let beside = beside(path);
        let file = File::create(&beside).map_err(Error::io("creating", &beside))?;
        let mut result = Self { path: path.to_owned(), beside, writer: None, is_finished: false };
        let writer = Writer::new(format, BufWriter::new(file), schema, row_group_bytes);
        result.writer = Some(writer.map_err(|error| unwritable(error, path))?);
        Ok(result)
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = self.writer.as_mut().map_or(Ok(()), |writer| writer.write(batch));
        written.map_err(|error| unwritable(error, &self.path))
    }

    /// Puts the file in its place; its size.
    pub fn finish(mut self) -> Result<u64> {
        let (path, beside) = (&self.path, &self.beside);
        let Some(writer) = self.writer.as_mut() else { return Ok(0) };
        writer.finish().map_err(|error| unwritable(error, path))?;
        let file =
            File::options().write(true).open(beside).map_err(Error::io("syncing", beside))?;
        file.sync_all().map_err(Error::io("syncing", beside))?;
        let bytes = file.metadata().map_err(Error::io("writing", beside))?.len();
        fs::rename(beside, path).map_err(Error::io("renaming the result to", path))?;
        self.is_finished = true;
        let folder = folder_of(&self.path);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(Error::io("syncing the folder", folder))?;
        Ok(bytes)
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // The error that counts was the first; the rest of the file is of no use to anyone.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

impl Writer {
    fn new(
        format: Format,
        file: BufWriter<File>,
        schema: &SchemaRef,
        row_group_bytes: Option<usize>,
    ) -> Result<Self, ArrowError> {
        Ok(match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_bytes(row_group_bytes.map(|bytes| bytes.max(1)))
                    .build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))?;
                Self::Parquet(Box::new(writer))
            }
            Format::Arrow => Self::Arrow(FileWriter::try_new(file, schema)?),
            Format::Csv => {
                let mut writer = Self::Csv(arrow_csv::Writer::new(file));
                // The names come even where no row does.
                writer.write(&RecordBatch::new_empty(Arc::clone(schema)))?;
                writer
            }
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Parquet(writer) => Ok(writer.write(batch)?),
            // The writer copies each batch before it goes out.
            Self::Arrow(writer) => (0..batch.num_rows()).step_by(IPC_ROWS).try_for_each(|first| {
                writer.write(&batch.slice(first, IPC_ROWS.min(batch.num_rows() - first)))
            }),
            Self::Csv(writer) => write_csv(batch, writer),
        }
    }

    fn finish(&mut self) -> Result<(), ArrowError> {
        match self {
            Self::Parquet(writer) => {
                writer.finish()?;
                Ok(writer.inner_mut().flush()?)
            }
            Self::Arrow(writer) => {
                writer.finish()?;
                Ok(writer.get_mut().flush()?)
            }
            // It flushes whatever it writes.
            Self::Csv(_) => Ok(()),
        }
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn format_of(path: &Path) -> Result<Format> {
    match path.extension().and_then(OsStr::to_str) {
        Some("parquet") => Ok(Format::Parquet),
        Some("arrow") => Ok(Format::Arrow),
        Some("csv") => Ok(Format::Csv),
        _ => Err(Error::refused(format!(
            "{}: the name of a result ends in .parquet, .arrow or .csv",
            path.display()
        ))),
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs::canonicalize(a), fs::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// A name that no reader of `*.parquet` takes for a finished file.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.unfinished", process::id()))
}

fn unwritable(error: ArrowError, path: &Path) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("writing", path)(source),
        ArrowError::ExternalError(source) => match source.downcast::<io::Error>() {
            Ok(source) => Error::io("writing", path)(*source),
            Err(other) => Error::refused(format!("{}: {other}", path.display())),
        },
        other => Error::refused(format!("{}: {other}", path.display())),
    }
}

fn write_csv(
    batch: &RecordBatch,
    writer: &mut arrow_csv::Writer<BufWriter<File>>,
) -> Result<(), ArrowError> {
    let fields = batch.schema_ref().fields();
    if let Some(field) = fields.iter().find(|field| field.data_type().is_nested()) {
        return Err(ArrowError::CsvError(format!(
            "column '{}' holds {}, which CSV cannot: write .parquet or .arrow",
            field.name(),
            field.data_type()
        )));
    }
    let columns: Vec<ArrayRef> = batch.columns().iter().map(in_utc).collect();
    let fields = fields.iter().zip(&columns).map(|(field, column)| {
        Field::new(field.name(), column.data_type().clone(), field.is_nullable())
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    writer.write(&RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// Instants with a named zone as UTC: the offset of a name would need a table of zones.
fn in_utc(column: &ArrayRef) -> ArrayRef {
    macro_rules! utc {
        ($unit:ty) => {
            Arc::new(column.as_primitive::<$unit>().clone().with_timezone("+00:00"))
        };
    }
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, Some(_)) => utc!(types::TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, Some(_)) => {
            utc!(types::TimestampMillisecondType)
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            utc!(types::TimestampMicrosecondType)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) => utc!(types::TimestampNanosecondType),
        _ => Arc::clone(column),
    }
}

/// `batch` as one Arrow IPC stream.
pub fn to_ipc_stream(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut stream = IpcStream::new(batch.schema_ref())?;
    stream.write(batch)?;
    stream.finish()
}

/// An Arrow IPC stream in memory, batch by batch.
pub struct IpcStream(StreamWriter<Vec<u8>>);

impl IpcStream {
    /// Begins one.
    pub fn new(schema: &Schema) -> Result<Self> {
        let writer = StreamWriter::try_new(Vec::new(), schema);
        writer.map(Self).map_err(|error| unwritable_stream(&error))
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).map_err(|error| unwritable_stream(&error))
    }

    /// All bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        // It also writes the end of the stream.
        self.0.into_inner().map_err(|error| unwritable_stream(&error))
    }
}

/// The error for what does not fit a stream.
pub(super) fn unwritable_stream(error: &ArrowError) -> Error {
    Error::refused(format!("as an Arrow stream: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::{Spine, SpineFile};
    use arrow_array::{
        FixedSizeListArray, Float64Array, StringArray, TimestampMicrosecondArray,
        types::Float32Type,
    };

    fn batch() -> RecordBatch {
        let times = TimestampMicrosecondArray::from(vec![0, 1_500_000]).with_timezone("UTC");
        RecordBatch::try_from_iter([
            ("t", Arc::new(times) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec![Some("a,b"), None]))),
            ("x", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
        ])
        .unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        let bytes = write_batch(&batch(), &path, None).unwrap();
        assert_eq!(bytes, fs::metadata(&path).unwrap().len());
        assert_eq!(SpineFile::open(&path).unwrap().read(None, None).unwrap().batch(), &batch());
        let stream = to_ipc_stream(&batch()).unwrap();
        assert_eq!(Spine::from_ipc_stream(&stream, None).unwrap().batch(), &batch());
        let path = folder.path().join("out.arrow");
        write_batch(&batch(), &path, None).unwrap();
        let reader = arrow_ipc::reader::FileReader::try_new(File::open(path).unwrap(), None);
        assert_eq!(reader.unwrap().next().unwrap().unwrap(), batch());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn csv_has_a_header_times_in_utc_and_nothing_for_null() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        write_batch(&batch(), &path, None).unwrap();
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            "t,name,x\n1970-01-01T00:00:00Z,\"a,b\",1.5\n1970-01-01T00:00:01.500Z,,\n"
        );
    }

    #[test]
    fn a_result_in_no_known_format_or_over_the_spine_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let why = |name: &str, spine: Option<&Path>| {
            write_batch(&batch(), &folder.path().join(name), spine).unwrap_err().to_string()
        };
        assert!(why("out.txt", None).contains(".parquet, .arrow or .csv"));
        let spine = folder.path().join("spine.parquet");
        write_batch(&batch(), &spine, None).unwrap();
        assert!(why("./spine.parquet", Some(&spine)).contains("is the spine"));
        let lists = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            [Some(vec![Some(1.0)])],
            1,
        );
        let lists = RecordBatch::try_from_iter([("embedding", Arc::new(lists) as ArrayRef)]);
        let path = folder.path().join("out.csv");
        let why = write_batch(&lists.unwrap(), &path, None).unwrap_err().to_string();
        assert!(why.contains("column 'embedding'"), "{why}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
