//! Waiting until replies may leave: of the connections of one core, one asks the store for all.
//!
//! ```text
//! decided ─> the others of the core decide too ─> one write, one sync for all
//! the first waits for the store ─> awake ─> wakes the others, who look whether theirs is done
//! ```
//! To wake a task from another thread costs a call of the kernel, from its own thread nothing: so
//! the thread that writes wakes one task for each core, not one for each connection.
//!
//! Invariants
//! - While anybody waits, one of them asks the store; if it goes away, the others look again.

use crate::{error::Result, log::Lsn, store::Store};
use parking_lot::Mutex;
use std::{
    cell::RefCell,
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
};

thread_local! {
    static OF_THIS_CORE: RefCell<Arc<Waiting>> = RefCell::default();
}

/// Those who wait together.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_asking: bool,
    others: Vec<Waker>,
}

/// The one who asks the store.
struct Asking<'a>(&'a Waiting);

impl Waiting {
    /// Those of the core that this thread serves.
    pub(super) fn of_this_core() -> Arc<Self> {
        OF_THIS_CORE.with_borrow(Arc::clone)
    }

    /// Returns once record `lsn` may be acknowledged: see [`Store::acknowledged`].
    pub(super) async fn acknowledged(&self, store: &Store, lsn: Lsn) -> Result<()> {
        if store.is_acknowledged(lsn) {
            return Ok(());
        }
        // Whoever else has a request on this core decides first, and shares the write.
        tokio::task::yield_now().await;
        if store.is_acknowledged(lsn) {
            return Ok(());
        }
        // In mode `always` this wakes who writes; in the others it writes.
        store.write_soon();
        while !store.is_acknowledged(lsn) {
            match self.ask() {
                Some(_asking) => store.acknowledged(lsn).await?,
                None => self.told().await,
            }
        }
        Ok(())
    }

    fn ask(&self) -> Option<Asking<'_>> {
        let mut state = self.state.lock();
        if state.is_asking {
            return None;
        }
        state.is_asking = true;
        Some(Asking(self))
    }

    /// Returns when it is time to look again.
    async fn told(&self) {
        let mut has_waited = false;
        poll_fn(|context| {
            let mut state = self.state.lock();
            if has_waited || !state.is_asking {
                return Poll::Ready(());
            }
            has_waited = true;
            state.others.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_asking = false;
        let others = std::mem::take(&mut state.others);
        drop(state);
        others.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feature::{Change, PlainChange},
        server::connection_tests::server,
    };

    #[test]
    fn many_who_wait_at_once_are_all_told_and_one_that_goes_away_holds_up_nobody() {
        let app = server();
        let waiting = Arc::new(Waiting::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for index in 0..40 {
                let (app, waiting) = (Arc::clone(&app), Arc::clone(&waiting));
                tasks.push(tokio::spawn(async move {
                    for round in 0..20 {
                        let key = format!("{index} {round}").into_bytes();
                        let value = PlainChange::SetString { value: vec![7], expires_at: None };
                        let change = Change::Plain { key: key.clone(), change: value };
                        let keyspace = app.store.keyspace();
                        let committed = keyspace.commit(&[&key], |_| Ok((vec![change], ())));
                        let lsn = committed.unwrap().wait_for.unwrap();
                        waiting.acknowledged(&app.store, lsn).await.unwrap();
                        assert!(app.store.is_acknowledged(lsn));
                    }
                }));
            }
            // The first one asks for all.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            tasks.remove(0).abort();
            for task in tasks {
                task.await.unwrap();
            }
        });
        app.store.close().unwrap();
    }
}
