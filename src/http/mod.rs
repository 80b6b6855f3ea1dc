//! The JSON API, health and metrics.
//!
//! ```text
//! POST /get-online-features   the JSON that Feast's feature server takes and gives
//! GET  /health                200 while the server takes writes, 503 after a failed sync
//! GET  /ready                 the same, and 503 while the server loads its data, as all but /live
//! GET  /live                  200
//! GET  /metrics               counters and histograms for Prometheus
//! ```
//! Not here: what a feature is and when it may be seen (`store/`).

mod serve;

mod metrics;
mod online_features;

mod refusal;

pub use serve::serve;
