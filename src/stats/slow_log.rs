//! The slow log: the last requests that took long, cut as Redis cuts them.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

/// So many arguments are kept of a request; the last place tells how many more there were.
const ARGUMENTS_MAX: usize = 32;
/// So many bytes are kept of an argument.
const ARGUMENT_BYTES_MAX: usize = 128;
/// Redis' defaults.
const THRESHOLD_US: i64 = 10_000;
const ENTRIES_MAX: usize = 128;

/// One slow request.
#[derive(Debug)]
pub struct SlowEntry {
    /// Counts up over all entries there ever were.
    pub id: u64,
    /// When it ended, in seconds since 1970.
    pub time_s: i64,
    /// How long it took.
    pub duration_us: u64,
    /// The request, cut.
    pub arguments: Vec<Vec<u8>>,
    /// Address and port of the client.
    pub peer: String,
    /// The name of the client.
    pub client: Vec<u8>,
}

/// The slow log.
#[derive(Debug)]
pub struct SlowLog {
    threshold_us: AtomicI64,
    threshold_ns: AtomicU64,
    max_len: AtomicUsize,
    next_id: AtomicU64,
    entries: Mutex<VecDeque<Arc<SlowEntry>>>,
}

impl Default for SlowLog {
    fn default() -> Self {
        let log = Self {
            threshold_us: AtomicI64::new(0),
            threshold_ns: AtomicU64::new(0),
            max_len: AtomicUsize::new(ENTRIES_MAX),
            next_id: AtomicU64::new(0),
            entries: Mutex::default(),
        };
        log.set_threshold_us(THRESHOLD_US);
        log
    }
}

impl SlowLog {
    /// Requests that take at least so many µs are noted from here on; a negative number: none.
    pub fn set_threshold_us(&self, us: i64) {
        let ns = u64::try_from(us).map_or(u64::MAX, |us| us.saturating_mul(1000));
        self.threshold_us.store(us, Ordering::Relaxed);
        self.threshold_ns.store(ns, Ordering::Relaxed);
    }

    /// `slowlog-log-slower-than`, in µs.
    pub fn threshold_us(&self) -> i64 {
        self.threshold_us.load(Ordering::Relaxed)
    }

    /// The same in ns; the greatest number there is for never.
    pub fn threshold_ns(&self) -> u64 {
        self.threshold_ns.load(Ordering::Relaxed)
    }

    /// Keeps so many entries from here on.
    pub fn set_max_len(&self, max_len: usize) {
        self.max_len.store(max_len, Ordering::Relaxed);
        self.entries.lock().truncate(max_len);
    }

    /// `slowlog-max-len`
    pub fn max_len(&self) -> usize {
        self.max_len.load(Ordering::Relaxed)
    }

    /// Notes a request. Its arguments come in already without secrets.
    pub fn note<'a>(
        &self,
        time_s: i64,
        duration_us: u64,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
        peer: String,
        client: Vec<u8>,
    ) {
        let arguments = cut(arguments);
        // Numbers follow the order of the entries.
        let mut entries = self.entries.lock();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let entry = SlowEntry { id, time_s, duration_us, arguments, peer, client };
        entries.push_front(Arc::new(entry));
        entries.truncate(self.max_len());
    }

    /// The newest `count` entries, newest first.
    pub fn newest(&self, count: usize) -> Vec<Arc<SlowEntry>> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there ever were.
    pub fn total(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    /// Removes all entries; numbers go on.
    pub fn clear(&self) {
        self.entries.lock().clear();
    }
}

fn cut<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = arguments.len();
    let kept = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut cut: Vec<Vec<u8>> = arguments.take(kept).map(cut_argument).collect();
    if kept < count {
        cut.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    cut
}

fn cut_argument(argument: &[u8]) -> Vec<u8> {
    let Some(kept) = argument.get(..ARGUMENT_BYTES_MAX) else { return argument.to_vec() };
    let more_bytes = argument.len() - kept.len();
    let mut cut = kept.to_vec();
    if more_bytes > 0 {
        cut.extend_from_slice(format!("... ({more_bytes} more bytes)").as_bytes());
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(log: &SlowLog, words: &[&str]) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        log.note(1, 2, words.into_iter(), "127.0.0.1:1".into(), b"me".to_vec());
    }

    fn told(log: &SlowLog) -> Vec<(u64, String)> {
        let text = |entry: &SlowEntry| {
            let words = entry.arguments.iter().map(|word| String::from_utf8_lossy(word));
            words.collect::<Vec<_>>().join(" ")
        };
        log.newest(usize::MAX).iter().map(|entry| (entry.id, text(entry))).collect()
    }

    #[test]
    fn a_log_keeps_the_newest_and_their_numbers_go_on() {
        let log = SlowLog::default();
        log.set_max_len(2);
        (0..5).for_each(|i| note(&log, &["get", &i.to_string()]));
        assert_eq!(told(&log), [(4, "get 4".into()), (3, "get 3".into())]);
        assert_eq!(log.newest(1).len(), 1);
        log.set_max_len(1);
        assert_eq!(log.len(), 1);
        log.clear();
        note(&log, &["get", "5"]);
        assert_eq!((told(&log), log.total()), (vec![(5, "get 5".into())], 6));
    }

    #[test]
    fn long_arguments_and_many_are_cut_as_redis_does() {
        let log = SlowLog::default();
        for (bytes, more) in [(128, ""), (129, "... (1 more bytes)")] {
            note(&log, &["set", "k", &"A".repeat(bytes)]);
            let wanted = format!("set k {}{more}", "A".repeat(128));
            assert_eq!(told(&log)[0].1, wanted);
        }
        note(&log, &["x"; 32]);
        assert_eq!(log.newest(1)[0].arguments.len(), 32);
        note(&log, &["x"; 33]);
        assert!(told(&log)[0].1.ends_with("x ... (2 more arguments)"));
        assert_eq!(log.newest(1)[0].arguments.len(), 32);
    }

    #[test]
    fn a_threshold_of_minus_one_is_never_met_and_zero_always() {
        let log = SlowLog::default();
        assert_eq!((log.threshold_us(), log.threshold_ns()), (10_000, 10_000_000));
        log.set_threshold_us(-1);
        assert_eq!((log.threshold_us(), log.threshold_ns()), (-1, u64::MAX));
        log.set_threshold_us(0);
        assert_eq!(log.threshold_ns(), 0);
    }
}
