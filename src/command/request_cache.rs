//! Requests that were resolved before: a model asks for the same features each time, so their
//! names and join keys are resolved once per catalog, and compared from then on.

use super::{arguments::Args, feature_request::FeatureRequest, vector_columns::VectorColumns};
use crate::{error::Result, store::Schema};
use std::sync::{Arc, OnceLock};

/// So many at most: each is compared in turn, and mostly differs in its first words.
const REQUESTS_MAX: usize = 16;

/// What one FS.GET asks for, whichever rows.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Features and where they stand.
    pub(super) request: FeatureRequest,
    /// The names of the columns of its rows.
    pub(super) join_keys: Vec<String>,
    /// Once somebody asked for a vector.
    vector: OnceLock<VectorColumns>,
}

impl Resolved {
    pub(super) fn new(request: FeatureRequest, join_keys: Vec<String>) -> Self {
        Self { request, join_keys, vector: OnceLock::new() }
    }

    /// The columns of the request as a vector; refused if a feature is not of numbers.
    pub(super) fn vector_columns(&self) -> Result<&VectorColumns> {
        if let Some(columns) = self.vector.get() {
            return Ok(columns);
        }
        let columns = VectorColumns::of(&self.request.features)?;
        Ok(self.vector.get_or_init(|| columns))
    }
}

/// The words of a request, as they came.
type Words = Box<[Box<[u8]>]>;

/// Requests by the words they were resolved from. Each thread has its own.
#[derive(Debug, Default)]
pub(super) struct RequestCache {
    /// Whose requests they are. Held, so that no other schema can have its address.
    schema: Option<Arc<Schema>>,
    known: Vec<(Words, Arc<Resolved>)>,
}

impl RequestCache {
    /// Takes the words from `args` that say what is asked for, and resolves them by `resolve` if
    /// they were not met before. They say themselves where they end, so what begins like a
    /// request that is known is that request.
    pub(super) fn resolve(
        &mut self,
        schema: &Arc<Schema>,
        args: &mut Args<'_>,
        resolve: impl FnOnce(&Schema, &mut Args<'_>) -> Result<Resolved>,
    ) -> Result<Arc<Resolved>> {
        if self.schema.as_ref().is_none_or(|known| !Arc::ptr_eq(known, schema)) {
            self.known.clear();
            self.schema = Some(Arc::clone(schema));
        }
        if let Some((_, known)) = self.known.iter().find(|(words, _)| args.take_all(words)) {
            return Ok(Arc::clone(known));
        }
        let (words, before) = (args.rest(), args.len());
        let resolved = Arc::new(resolve(schema, args)?);
        if self.known.len() >= REQUESTS_MAX {
            self.known.clear();
        }
        let words = words.take(before - args.len()).map(Box::from).collect();
        self.known.push((words, Arc::clone(&resolved)));
        Ok(resolved)
    }
}
