//! Whole joins: over small files against the plainest join there is, over real files, and over
//! damaged ones.

mod flights;
mod history_document;
mod history_entity;

mod history_merges;

mod bloom_skips;
mod claims;
mod drift;

mod history_files;
mod history_shapes;
mod hostile;
mod naive;
mod page_skips;
mod partitions;
mod picked;
mod pushed_rows;
mod sources;

mod drifting_source;
mod naive_source;
mod fixture;
