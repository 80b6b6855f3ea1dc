//! A training set in the making: its views are opened, and what clients pushed is at hand.

use super::{
    engine::Store,
    history::{Opened, PushedSeen, PushedSource, TrainingRequest, column_names, join, open_views},
    pushed_files::PushedPart,
    schema::Schema,
    training_sets::{InTheMaking, TrainingProgress},
};
use crate::{
    error::{Error, Result, echo},
    feature::{Entity, ViewId},
    log::Lsn,
    offline::{
        BatchSink, Dataset, IpcStream, JoinReport, JoinShape, Joined, PartedJoin, Phase,
        ResultFile, Spine, SpineSource,
    },
    parallel::thread_count,
    registry::Catalog,
};
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a training set is made of, but for its spine.
pub struct Training<'a> {
    pub(super) request: &'a TrainingRequest,
    pub(super) opened: Vec<Opened>,
    /// `None` for files alone.
    pub(super) pushed: Option<PushedSource<'a>>,
    /// `None` for files alone, too.
    making: Option<InTheMaking<'a>>,
    seen: Mutex<SeenInAll>,
}

/// What was looked at of what was pushed, in all parts of a set.
#[derive(Clone, Default)]
pub(super) struct SeenInAll {
    /// How many rows of it were of entities of the spine, by view and generation.
    pub(super) rows: HashMap<(ViewId, u32), u64>,
    pub(super) files: Vec<Arc<PushedPart>>,
    /// The log behind this record was read in every part; `None` if nothing was looked at.
    pub(super) log_after: Option<Lsn>,
}

impl SeenInAll {
    fn add(&mut self, seen: &PushedSeen) {
        for (generation, rows) in &seen.rows {
            *self.rows.entry(*generation).or_default() += rows;
        }
        for part in &seen.files.parts {
            if self.files.iter().all(|known| known.listed != part.listed) {
                self.files.push(Arc::clone(part));
            }
        }
        let reaches = seen.files.reaches;
        self.log_after = Some(self.log_after.map_or(reaches, |after| after.min(reaches)));
    }
}

impl<'a> Training<'a> {
    /// Opens the files of `catalog` alone: nothing that was pushed to a server.
    pub fn of_files(catalog: &Catalog, request: &'a TrainingRequest) -> Result<Self> {
        let opened = open_views(catalog, &request.features)?;
        Ok(Self { request, opened, pushed: None, making: None, seen: Mutex::default() })
    }

    /// Writes the set for `spine` to `path`, as [`ResultFile`] does. It takes about `memory` bytes,
    /// `None` for any: what does not fit waits on the disk beside `path`. `watch` is told whenever
    /// a phase begins.
    pub fn write(
        &self,
        spine: &SpineSource<'_>,
        path: &Path,
        memory: Option<u64>,
        watch: &dyn Fn(Phase),
    ) -> Result<JoinReport> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let spine_path = match spine {
            SpineSource::File(spine) => Some(spine.path()),
            SpineSource::Memory(_) => None,
        };
        let row_group_bytes =
            memory.map(|memory| usize::try_from(memory / 8).unwrap_or(usize::MAX));
        let mut file: Option<ResultFile> = None;
        let folder = folder.unwrap_or(Path::new("."));
        let report = self.make(spine, folder, memory, watch, &mut |batch| {
            if file.is_none() {
                let schema = batch.schema_ref();
                file = Some(ResultFile::create(schema, path, spine_path, row_group_bytes)?);
            }
            file.as_mut().map_or(Ok(()), |file| file.write(batch))
        })?;
        file.map_or(Ok(0), ResultFile::finish)?;
        Ok(report)
    }

    /// The set for `spine` as an Arrow IPC stream. What is made takes about `memory` bytes beside
    /// the stream, `None` for any: what does not fit waits on the disk in `folder`.
    pub fn stream(
        &self,
        spine: &SpineSource<'_>,
        folder: &Path,
        memory: Option<u64>,
    ) -> Result<Vec<u8>> {
        let mut stream: Option<IpcStream> = None;
        self.make(spine, folder, memory, &|_| (), &mut |batch| {
            if stream.is_none() {
                stream = Some(IpcStream::new(batch.schema_ref())?);
            }
            let stream = stream.as_mut().filter(|_| batch.num_rows() > 0);
            stream.map_or(Ok(()), |stream| stream.write(batch))
        })?;
        stream.map_or(Ok(Vec::new()), IpcStream::finish)
    }

    /// Makes the set, in parts if it takes more than `memory`, and hands it to `out`, which is
    /// called at least once.
    fn make(
        &self,
        spine: &SpineSource<'_>,
        folder: &Path,
        memory: Option<u64>,
        watch: &dyn Fn(Phase),
        out: &mut BatchSink<'_>,
    ) -> Result<JoinReport> {
        let making = self.making.as_ref();
        making.inspect(|making| making.has_rows(spine.rows()));
        let watch: &dyn Fn(Phase) = &|phase| {
            tracing::debug!(phase = phase.name(), "making a training set");
            making.inspect(|making| making.enter(&phase));
            watch(phase);
        };
        let request = self.request;
        let event_timestamp = request.event_timestamp.as_deref();
        // The rows are split by the keys that most of the history is looked through for.
        let mut views: Vec<&Opened> = self.opened.iter().collect();
        views.sort_by_key(|view| Reverse(view.dataset.as_ref().map_or(0, Dataset::bytes)));
        let mut entities: Vec<&Entity> = Vec::new();
        for entity in views.iter().map(|view| &view.entity) {
            if entities.iter().all(|known| known.id != entity.id) {
                entities.push(entity);
            }
        }
        let features = request.features.iter();
        let features = features.filter_map(|of| of.view.features.get(of.feature));
        let shape = JoinShape {
            types: features.map(|feature| feature.value_type).collect(),
            entities: entities.len(),
            pushed_rows: self.pushed.map_or(0, |pushed| pushed.rows_at_most(&self.opened)),
            threads: thread_count(request.threads),
        };
        let split = memory.and_then(|memory| shape.split(spine, memory));
        if let Some(split) = split.filter(|_| !entities.is_empty()) {
            let (spine, map) = (*spine, request.map.as_slice());
            let parted = PartedJoin { spine, event_timestamp, entities, map, split, folder };
            return parted.run(&|spine| self.join(spine, watch), watch, out);
        }
        watch(Phase::Spine);
        let joined = match spine {
            SpineSource::File(file) => {
                self.join(&file.read(event_timestamp, request.threads)?, watch)?
            }
            SpineSource::Memory(spine) => self.join(spine, watch)?,
        };
        watch(Phase::Write);
        out(&joined.batch)?;
        Ok(joined.report)
    }

    /// The rows of `spine` with the features of the request behind them, each as of its own time.
    fn join(&self, spine: &Spine, watch: &dyn Fn(Phase)) -> Result<Joined> {
        let names = column_names(&self.request.features, self.request.full_names);
        let pushed = self.pushed.as_ref();
        let (joined, seen) =
            join(&self.opened, pushed, self.request, &names, spine, (false, watch))?;
        if let Some(seen) = seen {
            self.seen.lock().add(&seen);
        }
        Ok(joined)
    }

    /// What was looked at of what was pushed, by now.
    pub(super) fn seen(&self) -> SeenInAll {
        self.seen.lock().clone()
    }
}

impl Store {
    /// Opens the sources of a training set, which sees all that was pushed before.
    pub fn training<'a>(
        &'a self,
        schema: &Schema,
        request: &'a TrainingRequest,
    ) -> Result<Training<'a>> {
        let making = {
            // Whoever lists a merge holds it, too, and asks before what sets in the making see.
            let _directory = self.directory.lock();
            self.training_sets.begin(self.log.last())
        };
        let opened = open_views(&schema.catalog, &request.features)?;
        // A set can be made again, also after a power cut.
        self.log.flush()?;
        let pushed = Some(PushedSource { store: self, asked: None, until: making.until() });
        Ok(Training { request, opened, pushed, making: Some(making), seen: Mutex::default() })
    }

    /// The training sets in the making, each with its number, the first begun first.
    pub fn training_sets(&self) -> Vec<(u64, Arc<TrainingProgress>)> {
        self.training_sets.all()
    }

    /// Where training sets go, and what is made on the way: `training` in the data directory. It is
    /// there then.
    pub fn training_folder(&self) -> Result<PathBuf> {
        let folder = self.root.join("training");
        std::fs::create_dir_all(&folder).map_err(Error::io("creating", &folder))?;
        Ok(folder)
    }

    /// Where a training set of that name goes: `<name>.<extension>` in the folder of these.
    pub fn training_path(&self, name: &str, extension: &str) -> Result<PathBuf> {
        let is_plain = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !is_plain {
            return Err(Error::refused(format!(
                "{} cannot name a training set: letters, digits, _ and - are allowed",
                echo(name.as_bytes())
            )));
        }
        Ok(self.training_folder()?.join(format!("{name}.{extension}")))
    }
}
