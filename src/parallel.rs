//! Work shared out over threads, with an outcome that does not depend on how it was shared; threads
//! that stand back behind others; and one of those that drops what takes long to drop.

use crate::error::{Error, Result};
use parking_lot::Mutex;
use rustix::process::{getpriority_process, setpriority_process};
use std::{
    cell::Cell,
    num::NonZero,
    panic::resume_unwind,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

/// Fewer bytes than this are read, verified and taken apart sooner than a thread is started.
const BYTES_A_THREAD: u64 = 256 * 1024;

/// More threads than this help nobody.
const THREADS_MAX: usize = 1024;

/// How nice a thread is that works beside those that serve: a tenth of a core that is wanted by
/// both, and all of one that is not (`sched(7)`).
const NICE_BESIDE_SERVING: i32 = 10;

/// Makes this thread, and those that it starts from now on, stand back behind the threads that
/// serve. Where the kernel does not let it, it works as before.
pub(crate) fn stand_back() {
    // To Linux "this process" is this thread here.
    let stood_back = match getpriority_process(None) {
        Ok(nice) if nice >= NICE_BESIDE_SERVING => Ok(()),
        _ => setpriority_process(None, NICE_BESIDE_SERVING),
    };
    if let Err(error) = stood_back {
        tracing::debug!(%error, "a thread could not stand back behind those that serve");
    }
}

/// Who works beside those that serve goes on for so long before others may go first.
const GIVES_WAY_EVERY: Duration = Duration::from_micros(200);

thread_local! {
    /// When this thread let others go first.
    static GAVE_WAY: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Lets threads go first that wait for this core, if it was long ago that they could. Who works
/// beside those that serve calls it some times in [`GIVES_WAY_EVERY`]: a thread that wakes up and
/// has used up its share of the core is otherwise let in at the next tick of the kernel only, up to
/// 4 ms later, however nice the one that runs is.
pub(crate) fn give_way() {
    let is_due = |at: Instant| at.elapsed() >= GIVES_WAY_EVERY;
    if GAVE_WAY.get().is_none_or(is_due) {
        thread::yield_now();
        GAVE_WAY.set(Some(Instant::now()));
    }
}

/// What waits to be dropped, on a thread that begins with the first of it; none could be started.
static DROPPED: LazyLock<Option<Sender<Box<dyn Send>>>> = LazyLock::new(|| {
    let (sender, dropped) = mpsc::channel();
    let run = move || {
        stand_back();
        dropped.into_iter().for_each(drop);
    };
    thread::Builder::new().name("drop".to_owned()).spawn(run).ok().map(|_| sender)
});

/// Drops `value` soon, on a thread that stands back behind those that serve. A million allocations
/// take as long to go as to come, and whoever gives them up need not wait for that.
pub(crate) fn drop_later(value: impl Send + 'static) {
    if let Some(dropped) = &*DROPPED {
        // A thread that is gone gives it back, and it is dropped here.
        drop(dropped.send(Box::new(value)));
    }
}

/// As many threads as `bytes` are worth, at most one for each core.
pub(crate) fn threads_for(bytes: u64) -> usize {
    let worth = usize::try_from(bytes / BYTES_A_THREAD).unwrap_or(usize::MAX);
    thread_count(None).min(worth.max(1))
}

/// As many threads as asked for, or as the machine has cores for `None`; never more than anybody
/// has cores.
pub(crate) fn thread_count(threads: Option<NonZero<usize>>) -> usize {
    let threads = threads.or_else(|| thread::available_parallelism().ok());
    threads.map_or(1, NonZero::get).min(THREADS_MAX)
}

/// Does `work` for each of `items`, each thread with a state of its own, and returns the states.
/// Where several items fail, the error is that of the first one.
pub(crate) fn for_each<S: Send>(
    threads: usize,
    items: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<()> + Sync,
) -> Result<Vec<S>> {
    let next = AtomicUsize::new(0);
    let first_failed = AtomicUsize::new(usize::MAX);
    let worker = || -> (S, Option<(usize, Error)>) {
        let mut state = state();
        loop {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= items || item > first_failed.load(Ordering::Relaxed) {
                return (state, None);
            }
            if let Err(error) = work(&mut state, item) {
                first_failed.fetch_min(item, Ordering::Relaxed);
                return (state, Some((item, error)));
            }
        }
    };
    let others = threads.min(items).saturating_sub(1);
    let outcomes = thread::scope(|scope| {
        let handles: Vec<_> = (0..others).map(|_| scope.spawn(worker)).collect();
        let mut outcomes = vec![worker()];
        for handle in handles {
            outcomes.push(handle.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        outcomes
    });
    let mut states = Vec::with_capacity(outcomes.len());
    let mut failed: Option<(usize, Error)> = None;
    for (state, error) in outcomes {
        states.push(state);
        failed = [failed, error].into_iter().flatten().min_by_key(|(item, _)| *item);
    }
    failed.map_or(Ok(states), |(_, error)| Err(error))
}

/// Does `work` with each of `items`, which are its own: pieces of something that is changed, say.
pub(crate) fn for_all<T: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    let items: Vec<Mutex<Option<T>>> =
        items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let take = |index: usize| items.get(index).and_then(|item| item.lock().take());
    for_each(threads, items.len(), || (), |(), index| take(index).map_or(Ok(()), &work)).map(drop)
}

/// What `work` makes of each of `items`, in their order. Where several fail, the error is that of
/// the first one.
pub(crate) fn map<T: Sync, U: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    let made = for_each(threads, items.len(), Vec::new, |made, index| {
        if let Some(item) = items.get(index) {
            made.push((index, work(item)?));
        }
        Ok(())
    })?;
    let mut made: Vec<(usize, U)> = made.into_iter().flatten().collect();
    made.sort_unstable_by_key(|(index, _)| *index);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stands_back_with_those_that_it_starts_and_no_other() {
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let those = thread::spawn(move || {
            stand_back();
            [nice(), thread::spawn(nice).join().unwrap()]
        });
        assert_eq!(those.join().unwrap(), [NICE_BESIDE_SERVING.max(before); 2]);
        assert_eq!(nice(), before);
    }

    #[test]
    fn every_item_is_done_once_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let done = for_each(threads, 100, Vec::new, |done, item| {
                done.push(item);
                Ok(())
            });
            let mut done = done.unwrap().concat();
            done.sort_unstable();
            assert_eq!(done, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_piece_is_changed_once_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let mut numbers: Vec<usize> = (0..100).collect();
            let pieces = numbers.chunks_mut(7).collect();
            let add = |piece: &mut [usize]| {
                piece.iter_mut().for_each(|number| *number += 1);
                Ok(())
            };
            for_all(threads, pieces, add).unwrap();
            assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_made_is_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [1, 2, 5] {
            assert_eq!(map(threads, &items, |item| Ok(*item)).unwrap(), items);
        }
    }

    #[test]
    fn what_is_dropped_later_is_dropped_by_another_thread_that_stands_back() {
        struct Told(Sender<(thread::ThreadId, i32)>);
        impl Drop for Told {
            fn drop(&mut self) {
                let nice = getpriority_process(None).unwrap();
                self.0.send((thread::current().id(), nice)).unwrap();
            }
        }
        let (sender, told) = mpsc::channel();
        drop_later(Told(sender.clone()));
        drop_later(Told(sender));
        for (thread, nice) in [told.recv().unwrap(), told.recv().unwrap()] {
            assert_ne!(thread, thread::current().id());
            assert!(nice >= NICE_BESIDE_SERVING);
        }
    }

    #[test]
    fn few_bytes_are_not_worth_a_thread() {
        assert_eq!(threads_for(0), 1);
        assert_eq!(threads_for(2 * BYTES_A_THREAD - 1), 1);
        assert_eq!(threads_for(u64::MAX), thread_count(None));
    }

    #[test]
    fn the_error_is_that_of_the_first_item_that_fails() {
        for threads in [1, 2, 5] {
            let outcome = for_each(
                threads,
                100,
                || (),
                |(), item| match item {
                    30.. => Err(Error::refused(item.to_string())),
                    _ => Ok(()),
                },
            );
            assert_eq!(outcome.unwrap_err().to_string(), "30");
        }
    }
}
