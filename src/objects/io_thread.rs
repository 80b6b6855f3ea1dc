//! The one thread that talks to stores, for all that wait for them.

use super::failure::Failure;
use std::{
    future::{Future, pending},
    sync::{OnceLock, mpsc},
    thread,
};
use tokio::runtime::{Builder, Handle};

/// It begins with the first request and ends with the process.
static THREAD: OnceLock<Handle> = OnceLock::new();

/// Begins some work there.
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Failure> {
    handle()?.spawn(work);
    Ok(())
}

/// Does some work there and waits for it. Never called on that thread itself.
pub(super) fn wait<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, receiver) = mpsc::sync_channel(1);
    spawn(async move {
        let _ = sender.send(work.await);
    })?;
    receiver.recv().unwrap_or_else(|_| Err(Failure::new("the request was given up")))
}

fn handle() -> Result<Handle, Failure> {
    if let Some(handle) = THREAD.get() {
        return Ok(handle.clone());
    }
    let begun = Builder::new_current_thread().enable_io().enable_time().build().and_then(|own| {
        let handle = own.handle().clone();
        let work = move || own.block_on(pending::<()>());
        thread::Builder::new().name("objects".into()).spawn(work).map(|_| handle)
    });
    // Of two that begin at once one is left over, without work, until the process ends.
    let begun = begun.map_err(|error| Failure::new(format!("starting a thread: {error}")))?;
    Ok(THREAD.get_or_init(|| begun).clone())
}
