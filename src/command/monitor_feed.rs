//! What clients in MONITOR mode are sent: a line for every request, into a queue for each of them.
//!
//! Invariants
//! - While nobody monitors, a request pays one load.
//! - A queue has a bound. A client that reads too slowly loses its connection, not our memory.

use parking_lot::Mutex;
use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Notify;

/// The most bytes that wait for one client.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Everybody who monitors.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    count: AtomicUsize,
    feeds: Mutex<Vec<Weak<MonitorFeed>>>,
}

/// The lines that wait for one client.
#[derive(Debug, Default)]
pub struct MonitorFeed {
    queue: Mutex<Queue>,
    has_lines: Notify,
    has_overflowed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    lines: Vec<u8>,
    is_overflowed: bool,
}

impl Monitors {
    /// Whether anybody monitors.
    pub(super) fn is_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// One more. Who drops the feed monitors no longer.
    pub(super) fn begin(&self) -> Arc<MonitorFeed> {
        let feed = Arc::new(MonitorFeed::default());
        let mut feeds = self.feeds.lock();
        feeds.push(Arc::downgrade(&feed));
        self.count.store(feeds.len(), Ordering::Relaxed);
        feed
    }

    /// Tells everybody.
    pub(super) fn tell(&self, line: &[u8]) {
        let mut feeds = self.feeds.lock();
        feeds.retain(|feed| feed.upgrade().is_some_and(|feed| feed.push(line)));
        self.count.store(feeds.len(), Ordering::Relaxed);
    }
}

impl MonitorFeed {
    /// Whether there was room.
    fn push(&self, line: &[u8]) -> bool {
        let mut queue = self.queue.lock();
        if queue.lines.len() + line.len() > QUEUE_BYTES_MAX {
            *queue = Queue { lines: Vec::new(), is_overflowed: true };
            self.has_overflowed.notify_one();
        } else {
            queue.lines.extend_from_slice(line);
        }
        self.has_lines.notify_one();
        !queue.is_overflowed
    }

    /// The lines that wait, once there are some; none for ever after the queue was full.
    pub async fn lines(&self) -> Option<Vec<u8>> {
        loop {
            match self.take() {
                Some(lines) if lines.is_empty() => self.has_lines.notified().await,
                other => return other,
            }
        }
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut queue = self.queue.lock();
        if queue.is_overflowed { None } else { Some(std::mem::take(&mut queue.lines)) }
    }

    /// Returns once the queue was full.
    pub async fn overflowed(&self) {
        while !self.queue.lock().is_overflowed {
            self.has_overflowed.notified().await;
        }
    }
}

/// A request as MONITOR tells it: when, who, and the words in quotes.
pub(super) fn line(now_us: i64, peer: std::net::SocketAddr, words: &[&[u8]]) -> Vec<u8> {
    let (seconds, us) = (now_us.div_euclid(1_000_000), now_us.rem_euclid(1_000_000));
    let mut line = format!("+{seconds}.{us:06} [0 {peer}]").into_bytes();
    for word in words {
        line.extend_from_slice(b" \"");
        word.iter().for_each(|byte| quote(*byte, &mut line));
        line.push(b'"');
    }
    line.extend_from_slice(b"\r\n");
    line
}

fn quote(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x07 => out.extend_from_slice(b"\\a"),
        0x08 => out.extend_from_slice(b"\\b"),
        b' '..=b'~' => out.push(byte),
        _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_quoted_as_redis_does() {
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 60_866));
        let told = line(
            1_339_518_083_007_412,
            peer,
            &[b"set", b"a \"b\\\r\n\t\x07\x08", b"\0\xff\x7f", b""],
        );
        let wanted =
            r#"+1339518083.007412 [0 127.0.0.1:60866] "set" "a \"b\\\r\n\t\a\b" "\x00\xff\x7f" """#;
        assert_eq!(String::from_utf8(told).unwrap(), format!("{wanted}\r\n"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_feed_gives_lines_in_order_until_its_client_is_too_slow() {
        let monitors = Monitors::default();
        assert!(!monitors.is_any());
        let (quick, slow) = (monitors.begin(), monitors.begin());
        monitors.tell(b"one");
        monitors.tell(b"two");
        assert_eq!(quick.lines().await, Some(b"onetwo".to_vec()));
        let half = vec![b'x'; QUEUE_BYTES_MAX / 2];
        (0..2).for_each(|_| monitors.tell(&half));
        assert_eq!(quick.lines().await.map(|lines| lines.len()), Some(QUEUE_BYTES_MAX));
        monitors.tell(&half);
        slow.overflowed().await;
        assert_eq!(slow.lines().await, None);
        assert!(monitors.is_any());
        drop(quick);
        monitors.tell(b"nobody hears");
        assert!(!monitors.is_any());
    }
}
