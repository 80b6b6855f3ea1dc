//! Question: what does the newest row of every entity cost, and how far is that from only decoding
//! the file? Guess: as much as decoding keys and times, since few rows win.
//!
//! `run.py` beside this starts each job in a process of its own, beside its peers:
//! `cargo bench --bench asof -- latest REPOSITORY VIEW [--rows FILE]` or `... decode FOLDER
//! COLUMNS`. Each prints a line of JSON. Two threads. With `--test`, as with nothing, it only says
//! so.

use arrow_array::RecordBatch;
use nowthen::{
    allocator,
    feature::{KeyPart, Timestamp, Value},
    offline::{Dataset, LatestRow, Window, latest},
    registry::{Catalog, parse_repository, read_repository, with_sources_below},
};
use parquet::arrow::{ProjectionMask, arrow_reader::ParquetRecordBatchReaderBuilder};
use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const THREADS: NonZero<usize> = NonZero::new(2).unwrap();
const BATCH_ROWS: usize = 16 * 1024;

fn main() -> Result<()> {
    allocator::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["latest", repository, view] => newest(Path::new(repository), view, None),
        ["latest", repository, view, "--rows", rows] => {
            newest(Path::new(repository), view, Some(Path::new(rows)))
        }
        ["decode", folder, columns] => decode(folder, columns),
        _ => {
            println!("python3 benches/asof/run.py runs this, beside its peers");
            Ok(())
        }
    }
}

fn newest(repository: &Path, view: &str, rows: Option<&Path>) -> Result<()> {
    let definitions = parse_repository(&read_repository(repository)?)?;
    let definitions = with_sources_below(definitions, &std::path::absolute(repository)?);
    let catalog = Catalog::empty().apply(&definitions, Timestamp(0))?;
    let view = catalog.view(view).ok_or("no such view")?;
    let entity = catalog.entity_by_id(view.entity).ok_or("no such entity")?;
    let start = Instant::now();
    let dataset = Dataset::open(view.source.as_deref().unwrap_or_default())?;
    let window = Window { from: None, to: Timestamp(i64::MAX) };
    let mut found = latest(view, entity, &dataset, window, Some(THREADS), &|_| ())?;
    let mut all = Vec::with_capacity(found.entities());
    while let Some(batch) = found.next_batch(BATCH_ROWS)? {
        all.extend(batch);
    }
    report(start.elapsed(), all.len() as u64);
    match rows {
        Some(path) => write_rows(path, &all),
        None => Ok(()),
    }
}

fn report(elapsed: Duration, rows: u64) {
    println!("{{\"seconds\": {}, \"rows\": {rows}}}", elapsed.as_secs_f64());
}

/// A line of JSON per row: key, times in µs, values.
fn write_rows(path: &Path, rows: &[LatestRow]) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for row in rows {
        let mut line: Vec<serde_json::Value> = Vec::new();
        for part in &row.key {
            line.push(match part {
                KeyPart::Int64(key) => (*key).into(),
                KeyPart::Bytes(key) => String::from_utf8_lossy(key).into(),
            });
        }
        line.push(row.stamp.event.us().into());
        line.push(row.stamp.created.map(Timestamp::us).into());
        for cell in &row.cells {
            line.push(match cell {
                Some(Value::Float64(value)) => (*value).into(),
                Some(Value::Int64(value)) => (*value).into(),
                Some(Value::String(value)) => value.as_str().into(),
                _ => serde_json::Value::Null,
            });
        }
        writeln!(out, "{}", serde_json::Value::from(line))?;
    }
    Ok(out.flush()?)
}

/// What any reader pays: these columns of all rows from pages to Arrow, and nothing more.
fn decode(folder: &str, columns: &str) -> Result<()> {
    let start = Instant::now();
    let mut row_groups: Vec<(PathBuf, usize)> = Vec::new();
    for path in files(folder)? {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(&path)?)?;
        let count = builder.metadata().num_row_groups();
        row_groups.extend((0..count).map(|row_group| (path.clone(), row_group)));
    }
    let next = AtomicUsize::new(0);
    let work = || -> Result<u64> {
        let mut rows = 0;
        while let Some((path, row_group)) = row_groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.split(','));
            let builder = builder.with_row_groups(vec![*row_group]).with_projection(mask);
            for batch in builder.with_batch_size(BATCH_ROWS).build()? {
                let batch: RecordBatch = batch?;
                rows += batch.num_rows() as u64;
            }
        }
        Ok(rows)
    };
    let rows: Result<Vec<u64>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS.get()).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().map_err(|_| "a thread panicked")?).collect()
    });
    report(start.elapsed(), rows?.iter().sum());
    Ok(())
}

/// The Parquet files of a folder, sorted.
fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let entries: std::io::Result<Vec<_>> = fs::read_dir(folder)?.collect();
    let mut paths: Vec<PathBuf> = entries?.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    paths.sort();
    Ok(paths)
}
