//! Talking to a running server from the command line.

use crate::error::{Error, Result};
use nowthen_client::{Client, ClientError};
use std::future::Future;

/// Runs one conversation with a server to its end.
pub(super) fn converse<T>(
    url: &str,
    talk: impl AsyncFnOnce(&mut Client) -> Result<T>,
) -> Result<T> {
    block_on(async {
        let mut client = Client::connect(url).await.map_err(refusal)?;
        talk(&mut client).await
    })
}

/// Runs a future on this thread.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("starting", "a runtime"))?.block_on(future)
}

/// What the client says, as an error of ours.
#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
pub(super) fn refusal(error: ClientError) -> Error {
    match error {
        // The code is for programs.
        ClientError::Server { message, .. } => Error::refused(message),
        other => Error::refused(other.to_string()),
    }
}
