//! Applying definitions: all or nothing, one log record.

use super::{engine::Store, schema::Schema};
use crate::{
    error::{Error, Result},
    feature::{Change, FileStamp, Run, RunState, Timestamp},
    online::{Body, Seen},
    registry::{Definitions, Plan, canonical_text, definitions_without, plan},
};

/// A view must leave room for its slots in a packed row.
const SLOTS_MAX: usize = u16::MAX as usize;

const FLUSHED: &str = "every key was flushed while it ran; run it again";

/// What applying definitions did, or would do.
#[derive(Debug)]
pub struct Applied {
    /// The difference to what was applied before.
    pub plan: Plan,
    /// Whether it is true now; false for a dry run and where nothing changed.
    pub is_changed: bool,
}

impl Store {
    /// Makes `definitions` the whole truth; returns once that is durable. With `is_dry_run`
    /// everything is checked and nothing changes.
    pub fn apply_definitions(
        &self,
        definitions: &Definitions,
        is_dry_run: bool,
    ) -> Result<Applied> {
        let _one_at_a_time = self.applying.lock();
        self.apply_alone(definitions, is_dry_run)
    }

    /// Drops one definition, in the same way: `kind` is `entity`, `view` or `service`.
    pub fn drop_definition(&self, kind: &str, name: &str, is_dry_run: bool) -> Result<Applied> {
        let _one_at_a_time = self.applying.lock();
        let definitions = definitions_without(&self.schema().catalog, kind, name)?;
        self.apply_alone(&definitions, is_dry_run)
    }

    fn apply_alone(&self, definitions: &Definitions, is_dry_run: bool) -> Result<Applied> {
        let now = self.now();
        let schema = self.schema();
        let plan = plan(&schema.catalog, definitions)?;
        let next = Schema::new(schema.catalog.apply(definitions, now)?);
        let is_changed = next.catalog.catalog_version() != schema.catalog.catalog_version();
        check_slots(&next)?;
        let is_new = |name: &str| schema.catalog.entity(name).is_none();
        let new = next.catalog.entities().map(|entity| &entity.name).filter(|name| is_new(name));
        let new: Vec<String> = new.cloned().collect();
        // Kept until the new schema is there: what is written meanwhile is not found by a look.
        let _registering = match new.is_empty() {
            true => None,
            false => {
                let registering = (!is_dry_run).then(|| self.registration.begin(new));
                self.check_plain_keys(&next, now)?;
                registering
            }
        };
        if is_dry_run || !is_changed {
            return Ok(Applied { plan, is_changed: false });
        }
        let definitions = canonical_text(definitions);
        self.commit_durably(|| Change::Apply { definitions, at: now })?;
        Ok(Applied { plan, is_changed })
    }

    /// A key belongs to one tier: an entity cannot be registered over plain keys of its name.
    fn check_plain_keys(&self, next: &Schema, now: Timestamp) -> Result<()> {
        for index in 0..self.table.shard_count() {
            let shard = self.table.shard(index);
            // What waits for its sync stands there, too.
            for row in shard.iter_seen(Seen::Latest) {
                let entity = next.catalog.entity_of_key(row.key());
                let is_plain = !matches!(row.body(), Some(Body::Entity(_)));
                if let Some(entity) = entity.filter(|_| is_plain && !row.is_expired(now)) {
                    return Err(Error::refused(format!(
                        "entity {} cannot be registered: the plain key {} stands under its name; \
                         delete or rename such keys first",
                        entity.name,
                        crate::error::echo(row.key())
                    )));
                }
            }
        }
        Ok(())
    }

    /// Begins a run of materialization; refused while another of the same view runs.
    pub fn begin_run(&self, run: Run) -> Result<Run> {
        let mut jobs = self.jobs.lock();
        if let Some(other) = jobs.running(&run.view) {
            return Err(Error::refused(format!(
                "view {} is being materialized already: run {} since {}",
                other.view,
                other.id,
                other.started.to_iso()
            )));
        }
        Ok(jobs.begin(run))
    }

    /// Notes how far a run is.
    pub fn run_progress(&self, run: &Run) {
        self.jobs.lock().progress(run);
    }

    /// Notes durably how a run ended, and returns that; its files are the cursor from here on if
    /// it is done. It failed after all if a flush came in between: what it wrote before is gone.
    pub fn end_run(&self, mut run: Run) -> Result<Run> {
        let ended = self.commit_durably(|| {
            let is_flushed = self.jobs.lock().is_flushed_since_begin(&run.view);
            if run.state == RunState::Done && is_flushed {
                run.state = RunState::Failed(FLUSHED.into());
            }
            Change::RunEnded(run.clone())
        });
        if ended.is_err() {
            self.abandon_run(&run);
        }
        ended.map(|()| run)
    }

    /// Forgets a run that will never end; another one of its view may begin.
    pub fn abandon_run(&self, run: &Run) {
        self.jobs.lock().abandon(run);
    }

    /// The last run of this version and generation, if reading `files` again would bring nothing.
    pub fn cursor(
        &self,
        view: &str,
        version: u32,
        generation: u32,
        files: &[FileStamp],
    ) -> Option<Run> {
        let jobs = self.jobs.lock();
        let last = jobs.cursor(view, version, generation)?;
        let is_same = last.files.len() == files.len()
            && last.files.iter().zip(files).all(|(last, now)| last.is_same_file(now));
        is_same.then(|| last.clone())
    }
}

fn check_slots(schema: &Schema) -> Result<()> {
    let has_too_many = |(id, generation)| schema.catalog.slots(id, generation).len() > SLOTS_MAX;
    if schema.catalog.generations().any(has_too_many) {
        return Err(Error::refused(format!("a view has at most {SLOTS_MAX} features")));
    }
    Ok(())
}
