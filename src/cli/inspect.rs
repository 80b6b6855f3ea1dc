//! `nowthen inspect`: what stands in a segment, a snapshot file or a manifest, line by line.
//!
//! ```text
//! offset  LSN  time  kind  key  name=value ...      columns are parted by tabs; - is none
//! ```
//! Keys, names and values are in quotes and escaped as redis-cli does it. With `--json` each line
//! is an object: `piece` (`segment`, `record`, `footer`, `open`, `snapshot`, `entry`, `end`,
//! `manifest`, `generation`, `damage`) and what it has; bytes are text, escaped where they are no
//! UTF-8.

use super::{options::InspectOptions, output::Output};
use crate::{
    disk::{FileSystem, RealFs},
    error::{Error, Result},
    feature::Timestamp,
    log::{self, Generation, HistoryPart, ListedFile, Piece, Severity},
    store::{Teller, Told, ToldField, ToldValue},
};
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};

/// Prints what stands in a file, or in every file of a data directory; gives the worst of it.
pub fn inspect(options: &InspectOptions) -> Result<Severity> {
    let (path, fs) = (&options.file, &RealFs);
    let metadata = fs.metadata(path).map_err(Error::io("looking at", path))?;
    let files = if metadata.is_directory { files_of(fs, path)? } else { vec![path.clone()] };
    let mut printer = Printer {
        options,
        output: Output::new(),
        teller: Teller::default(),
        worst: Severity::Note,
        is_read: true,
    };
    printer.learn_names(&snapshots_of(path, metadata.is_directory));
    for file in &files {
        if metadata.is_directory && printer.is_read && !options.json {
            printer.is_read = printer.output.line(&format!("# {}", file.display()))?;
        }
        if printer.is_read {
            log::inspect(fs, file, &mut |piece| printer.piece(file, &piece))?;
        }
    }
    printer.output.finish()?;
    Ok(printer.worst)
}

/// The files of a data directory: manifests, snapshots with their meta files first, segments.
fn files_of(fs: &dyn FileSystem, root: &Path) -> Result<Vec<PathBuf>> {
    let names = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs.read_dir(folder).map_err(Error::io("listing", folder))?;
        let files = entries.into_iter().filter(|entry| !entry.is_directory);
        Ok(files.map(|entry| folder.join(entry.name)).collect())
    };
    let mut files = names(root)?;
    files.retain(|path| file_name(path).starts_with("MANIFEST-"));
    if files.is_empty() {
        let shown = root.display();
        return Err(Error::refused(format!("{shown} holds no manifest of a store of nowthen")));
    }
    let mut snapshots = names(&root.join("snapshots"))?;
    snapshots.retain(|path| path.extension().is_some_and(|ending| ending == "snap"));
    let mut segments = names(&root.join("log"))?;
    segments.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    files.append(&mut snapshots);
    files.append(&mut segments);
    Ok(files)
}

/// Where the snapshots are to which a file, or a directory, belongs.
fn snapshots_of(path: &Path, is_directory: bool) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    match path.extension().and_then(|ending| ending.to_str()) {
        _ if is_directory => path.join("snapshots"),
        Some("snap") => folder.to_path_buf(),
        _ => folder.join("../snapshots"),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

struct Printer<'a> {
    options: &'a InspectOptions,
    output: Output,
    teller: Teller,
    worst: Severity,
    /// Whether anybody still reads what is printed.
    is_read: bool,
}

impl Printer<'_> {
    /// Learns the names of features from the meta files of snapshots. What cannot be read there is
    /// told when its turn comes; here it costs names at most.
    fn learn_names(&mut self, snapshots: &Path) {
        let entries = RealFs.read_dir(snapshots).unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.name.ends_with("-meta.snap")) {
            let teller = &mut self.teller;
            let mut learn = |piece: Piece<'_>| {
                if let Piece::Entry { entry, is_meta: true, .. } = piece {
                    drop(teller.meta(entry));
                }
                Ok(true)
            };
            drop(log::inspect(&RealFs, &snapshots.join(&entry.name), &mut learn));
        }
    }

    /// Prints a piece; whether more is wanted.
    fn piece(&mut self, file: &Path, piece: &Piece<'_>) -> Result<bool> {
        match piece {
            Piece::Record { offset, lsn, clock_us, record } => {
                let time = Timestamp(*clock_us);
                let told = self.teller.record(lsn.0, record);
                self.told(file, (*offset, Some(lsn.0), Some(time)), "record", told)?;
            }
            Piece::Entry { offset, is_meta, entry } => {
                let told = match is_meta {
                    true => self.teller.meta(entry),
                    false => self.teller.row(entry),
                };
                self.told(file, (*offset, None, None), "entry", told.map(|told| vec![told]))?;
            }
            Piece::Damage { offset, expected } => self.damage(file, *offset, expected)?,
            Piece::Manifest(number, store_id, generations, history) => {
                let store_id = format!("{store_id:032x}");
                self.line(&json!({ "piece": "manifest", "number": number, "store_id": store_id }))?;
                for generation in *generations {
                    self.line(&of_generation(generation))?;
                    for listed in &generation.files {
                        self.line(&of_listed(listed))?;
                    }
                }
                let (reaches, parts) = (history.reaches.0, history.parts.len());
                self.line(&json!({ "piece": "history", "lsn": reaches, "files": parts }))?;
                for part in &history.parts {
                    self.line(&of_part(part))?;
                    self.line(&of_listed(&part.file))?;
                }
            }
            other => self.line(&of_frame(other))?,
        }
        Ok(self.is_read)
    }

    fn damage(&mut self, file: &Path, offset: u64, expected: &str) -> Result<()> {
        self.worst = Severity::Damage;
        let file = file.display().to_string();
        let line = json!({
            "piece": "damage", "offset": offset, "file": file, "expected": expected,
        });
        self.line(&line)
    }

    fn told(
        &mut self,
        file: &Path,
        (offset, lsn, time): (u64, Option<u64>, Option<Timestamp>),
        piece: &'static str,
        told: Result<Vec<Told>, String>,
    ) -> Result<()> {
        let told = match told {
            Ok(told) => told,
            Err(why) => {
                let of = lsn.map_or_else(|| "an entry".to_owned(), |lsn| format!("record {lsn}"));
                return self.damage(file, offset, &format!("{of} of this version ({why})"));
            }
        };
        for told in told {
            let lsn = lsn.or(told.lsn);
            if !self.is_wanted(lsn, told.key.as_deref()) || !self.is_read {
                continue;
            }
            self.is_read = match self.options.json {
                true => {
                    self.output.line(&to_json(piece, (offset, lsn, time), &told).to_string())?
                }
                false => self.output.line(&to_text((offset, lsn, time), &told))?,
            };
        }
        Ok(())
    }

    fn is_wanted(&self, lsn: Option<u64>, key: Option<&[u8]>) -> bool {
        let InspectOptions { key: wanted, from_lsn, to_lsn, .. } = self.options;
        wanted.as_ref().is_none_or(|wanted| key == Some(wanted.as_bytes()))
            && from_lsn.is_none_or(|from| lsn.is_some_and(|lsn| lsn >= from))
            && to_lsn.is_none_or(|to| lsn.is_some_and(|lsn| lsn <= to))
    }

    /// Prints what is neither a record nor an entry.
    fn line(&mut self, line: &Json) -> Result<()> {
        if !self.is_read {
            return Ok(());
        }
        let text = match (line, self.options.json) {
            (Json::Object(fields), false) => plain_line(fields),
            _ => line.to_string(),
        };
        self.is_read = self.output.line(&text)?;
        Ok(())
    }
}

/// `# segment number=1 ...`
fn plain_line(fields: &Map<String, Json>) -> String {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut line = format!("# {}", fields.get("piece").map(text).unwrap_or_default());
    for (name, value) in fields.iter().filter(|(name, _)| *name != "piece") {
        line += &format!(" {name}={}", text(value));
    }
    line
}

fn of_frame(piece: &Piece<'_>) -> Json {
    match piece {
        Piece::Segment(head) => json!({
            "piece": "segment",
            "number": head.number,
            "store_id": format!("{:032x}", head.store_id),
            "first_lsn": head.base_lsn.0,
            "salt": format!("{:016x}", head.salt),
            "chain_before": format!("{:016x}", head.chain_before),
        }),
        Piece::Footer { offset, last_lsn } => {
            json!({ "piece": "footer", "offset": offset, "last_lsn": last_lsn.0 })
        }
        Piece::Open { offset, next_lsn, rest_bytes } => json!({
            "piece": "open",
            "offset": offset,
            "next_lsn": next_lsn.0,
            "torn_bytes": rest_bytes,
        }),
        Piece::Snapshot(head) => json!({
            "piece": "snapshot",
            "snapshot_id": head.snapshot_id,
            "store_id": format!("{:032x}", head.store_id),
            "shard": head.shard,
            "shards": head.shards,
            "lsn": head.lsn.0,
        }),
        Piece::SnapshotEnd { offset, entries, digest, last_lsn } => json!({
            "piece": "end",
            "offset": offset,
            "entries": entries,
            "digest": digest.to_string(),
            "last_lsn": last_lsn.0,
        }),
        _ => Json::Null,
    }
}

fn of_generation(generation: &Generation) -> Json {
    json!({
        "piece": "generation",
        "snapshot_id": generation.snapshot_id,
        "lsn": generation.lsn.0,
        "last_lsn": generation.last_lsn.0,
        "entries": generation.entries,
        "digest": generation.digest.to_string(),
        "files": generation.files.len(),
    })
}

fn of_part(part: &HistoryPart) -> Json {
    json!({
        "piece": "part",
        "view": part.view,
        "generation": part.generation,
        "first_lsn": part.first.0,
        "last_lsn": part.last.0,
        "rows": part.rows,
    })
}

fn of_listed(listed: &ListedFile) -> Json {
    json!({
        "piece": "file",
        "name": listed.name,
        "bytes": listed.bytes,
        "blake3": blake3::Hash::from(listed.hash).to_string(),
    })
}

type Place = (u64, Option<u64>, Option<Timestamp>);

fn to_text((offset, lsn, time): Place, told: &Told) -> String {
    let lsn = lsn.map_or_else(|| "-".to_owned(), |lsn| lsn.to_string());
    let time = time.map_or_else(|| "-".to_owned(), Timestamp::to_iso);
    let key = told.key.as_deref().map_or_else(|| "-".to_owned(), quoted);
    let mut parts: Vec<String> =
        told.about.iter().map(|(name, text)| format!("{name}={}", word(text))).collect();
    parts.extend(told.fields.iter().map(field_text));
    format!("{offset}\t{lsn}\t{time}\t{}\t{key}\t{}", told.kind, parts.join(" "))
}

fn field_text(field: &ToldField) -> String {
    let mut text = quoted(&field.name);
    match &field.value {
        ToldValue::Text(value) => text += &format!("={}", quoted(value)),
        ToldValue::Null => text += "=null",
        ToldValue::Deleted => text += "=deleted",
        ToldValue::Untold => {}
    }
    text += &field.event.map(|at| format!(" at {}", at.to_iso())).unwrap_or_default();
    text + &field.end.map(|at| format!(" until {}", at.to_iso())).unwrap_or_default()
}

fn to_json(piece: &str, (offset, lsn, time): Place, told: &Told) -> Json {
    let field = |field: &ToldField| {
        let mut json = Map::from_iter([("name".to_owned(), Json::from(text(&field.name)))]);
        let told = match &field.value {
            ToldValue::Text(value) => Some(("value", Json::from(text(value)))),
            ToldValue::Null => Some(("value", Json::Null)),
            ToldValue::Deleted => Some(("is_deleted", true.into())),
            ToldValue::Untold => None,
        };
        let event = field.event.map(|at| ("event", at.to_iso().into()));
        let end = field.end.map(|at| ("expires_at", at.to_iso().into()));
        let all = [told, event, end].into_iter().flatten();
        json.extend(all.map(|(name, value)| (name.to_owned(), value)));
        Json::Object(json)
    };
    let about = told.about.iter().map(|(name, text)| ((*name).to_owned(), Json::from(&**text)));
    json!({
        "piece": piece,
        "offset": offset,
        "lsn": lsn,
        "time": time.map(Timestamp::to_iso),
        "kind": told.kind,
        "key": told.key.as_deref().map(text),
        "about": about.collect::<Map<_, _>>(),
        "fields": told.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

/// Bytes as the text they are, or else as redis-cli would show them.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| quoted(bytes), str::to_owned)
}

/// A text that is one word stands as it is.
fn word(text: &str) -> String {
    let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_word { text.to_owned() } else { quoted(text.as_bytes()) }
}

/// Bytes in quotes, as redis-cli shows them (`sdscatrepr` of Redis).
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from('"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text += "\\n",
            b'\r' => text += "\\r",
            b'\t' => text += "\\t",
            7 => text += "\\a",
            8 => text += "\\b",
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_escaped_as_redis_cli_does_it() {
        assert_eq!(quoted(b"a\"\\\r\n\t\x07\x08 \x00\xff~"), r#""a\"\\\r\n\t\a\b \x00\xff~""#);
    }
}
