//! Durability, proven: the store on a simulated disk that loses power, fails and rots, against a
//! model too simple to be wrong.
//!
//! ```text
//!  random steps ──┬──> store on a simulated disk ──> cut, fault, flipped bit ──> opened again ─┐
//!                 └──> model, one for each LSN ────────────────────────── the same state? <────┘
//! ```
//! Each campaign is one test. Its short form runs with all tests; the long one is asked for:
//!
//! ```text
//! CAMPAIGN_COUNT=1000000 cargo test --profile campaign --test durability crash_states \
//!     -- --nocapture
//! CAMPAIGN_SEED=17 CAMPAIGN_COUNT=1 ...    replays the history of that seed
//! CAMPAIGN_TRACE=1 ...                     tells each step
//! ```
//! Invariants
//! - A campaign prints its figures, and on a failure the seed and the command that replays it; what
//!   was on the disk is left as files, to become a fixture.
//! - The model knows nothing of logs, snapshots and rows: only what each step means.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a test may fail it by a panic"
)]

#[cfg(feature = "planted-bugs")]
mod planted;

mod state_machine;

mod faults;

mod bit_flips;

mod crash_states;

mod subject;

mod commit;

mod model;

mod step;

mod campaign;
