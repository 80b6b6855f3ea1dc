//! Requests that were resolved before: a model asks for the same features each time, so their
//! names and join keys are resolved once per catalog, and compared from then on.

use super::{arguments::Args, feature_request::FeatureRequest, vector_columns::VectorColumns};
use crate::{error::Result, store::Schema};
use std::sync::{Arc, OnceLock};

/// So many at most: each is compared in turn, and mostly differs in its first words. One more takes
/// the place of the one that was asked for longest ago.
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
    /// What was asked for last comes first.
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
        let place = self.known.iter().position(|(words, _)| args.take_all(words));
        if let Some(asked) = place.and_then(|place| self.known.get_mut(..=place)) {
            asked.rotate_right(1);
            if let Some((_, known)) = asked.first() {
                return Ok(Arc::clone(known));
            }
        }
        let (words, before) = (args.rest(), args.len());
        let resolved = Arc::new(resolve(schema, args)?);
        self.known.truncate(REQUESTS_MAX - 1);
        let words = words.take(before - args.len()).map(Box::from).collect();
        self.known.insert(0, (words, Arc::clone(&resolved)));
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{feature::Timestamp, registry::Catalog};
    use nowthen_protocol::{RequestLimits, RequestParser, encode_request};

    #[test]
    fn one_more_takes_the_place_of_the_one_asked_for_longest_ago() {
        let catalog = Catalog::empty().apply(&Default::default(), Timestamp(1)).unwrap();
        let schema = Arc::new(Schema::new(catalog));
        let mut cache = RequestCache::default();
        // Whether the request of that number was known.
        let mut is_known = |number: usize| {
            let (mut bytes, mut was_known) = (Vec::new(), true);
            encode_request(&["FS.GET", &format!("f{number}"), "ROWS"], &mut bytes);
            let mut parser = RequestParser::new(RequestLimits::DEFAULT);
            parser.parse(&bytes).unwrap().unwrap();
            let mut args = Args::new(parser.arguments(&bytes));
            let resolve = |schema: &Schema, args: &mut Args<'_>| {
                was_known = false;
                let request = FeatureRequest::new(schema, Vec::new(), &[])?;
                Ok(Resolved::new(request, vec![args.text("name")?.to_owned()]))
            };
            let asked = cache.resolve(&schema, &mut args, resolve).unwrap();
            assert_eq!(asked.join_keys, [format!("f{number}")]);
            assert_eq!(args.len(), 1, "what follows is left");
            was_known
        };
        let mut known = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
            numbers.filter(|number| is_known(*number)).collect()
        };
        assert!(known(&mut (0..REQUESTS_MAX)).is_empty());
        // All are known; number 1 is now the one asked for longest ago.
        let all: Vec<usize> = (1..REQUESTS_MAX).chain([0]).collect();
        assert_eq!(known(&mut all.iter().copied()), all);
        assert!(known(&mut [REQUESTS_MAX].into_iter()).is_empty());
        let left: Vec<usize> = (2..=REQUESTS_MAX).chain([0]).collect();
        assert_eq!(known(&mut left.iter().copied()), left);
        assert!(known(&mut [1].into_iter()).is_empty());
    }
}
