//! Async Rust client of the nowthen feature store.
