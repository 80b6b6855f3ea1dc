//! What a training set is asked for: features of views, and how to find them.

use super::{dataset::Dataset, winners::KnownBy};
use crate::feature::{Entity, View};
use std::num::NonZero;

/// Features of one view that a training set asks for.
#[derive(Clone, Debug)]
pub struct ViewRequest<'a> {
    /// The view.
    pub view: &'a View,
    /// Its entity.
    pub entity: &'a Entity,
    /// Its source, opened; `None` for a view that is only pushed to.
    pub dataset: Option<&'a Dataset>,
    /// Which features, by their index in the view.
    pub features: Vec<usize>,
    /// (join key, spine column) where the names differ.
    pub map: &'a [(String, String)],
    /// The name of the column of each feature.
    pub output_names: Vec<String>,
}

/// How a join is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinOptions {
    /// How many threads; as many as the machine has cores for `None`.
    pub threads: Option<NonZero<usize>>,
    /// What a row may know.
    pub known_by: KnownBy,
    /// Whether to tell the status and the event timestamp of every cell.
    pub with_status: bool,
    /// Whether to tell how old the values of each feature are.
    pub with_ages: bool,
}
