//! Async Rust client of the nowthen feature store: any command, and helpers for the common ones.
//!
//! ```no_run
//! use nowthen_client::{Client, FeatureStatus, Result};
//!
//! async fn spend_of(user: &str) -> Result<Option<f64>> {
//!     let mut client = Client::connect("redis://127.0.0.1:6379").await?;
//!     let features = ["user_stats:spend", "user_stats:genre"];
//!     let rows = client.get_online_features(&features, &["user_id"], &[[user]], None).await?;
//!     let spend = rows.cell(0, "user_stats:spend");
//!     let present = spend.filter(|cell| cell.status == FeatureStatus::Present);
//!     Ok(present.and_then(|cell| cell.value.as_double()))
//! }
//! ```
//! Invariants
//! - A reply is given to the command it answers. A connection where that can no longer be told,
//!   because a future was dropped half way, gives errors and no replies.
//! - An error tells what to do, and never shows a password.
//!
//! Not here: RESP itself (`protocol/`), a pool of connections, TLS, reconnecting. A tokio runtime
//! with its I/O and time drivers must be running.

mod commands;

mod client;

mod feature_matrix;

mod feature_rows;

mod connection;

mod address;

mod error;

pub use address::{Address, Login};
pub use client::Client;
pub use error::{ClientError, Result};
pub use feature_matrix::{FeatureMatrix, MatrixValues};
pub use feature_rows::{FeatureCell, FeatureRows, FeatureStatus};
pub use nowthen_protocol::Value;
