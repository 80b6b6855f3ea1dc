//! nowthen: a feature store in one binary. Features as of now for serving, as of then for training,
//! from one write, by one rule.
//!
//! The folders are floors of a house: each imports only from floors below it, never from a room
//! beside it (`tests/tidy.rs` holds that). Read them from the bottom up.

pub mod allocator; // floor 0
pub mod error;
mod planted;

pub mod disk; // floor 1
pub mod feature;
pub mod objects;
mod parallel;
pub mod stats;

pub mod log; // floor 2
pub mod offline;
pub mod online;
pub mod registry;

pub mod store; // floor 3

pub mod materialize; // floor 4

pub mod command; // floor 5

pub mod http; // floor 6
pub mod server;

pub mod cli; // floor 7
