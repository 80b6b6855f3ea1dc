//! Buffers that the connections of a core share: a connection that waits for a request, or for the
//! log with a short reply, has none.
//!
//! What was used a moment ago is in the cache of the core, and needs no allocation. If each of
//! fifty connections that wait for one write of the log kept its own, neither would be so.

use std::{cell::RefCell, mem};

/// So much is read at once; a pipeline longer than this is answered in parts.
const BUFFER_BYTES: usize = 64 * 1024;
/// A larger buffer goes back to the allocator.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// So many wait for use at most.
const KEPT_COUNT_MAX: usize = 16;
/// A reply that waits for the log is kept elsewhere if it is no longer than this.
const SHORT_BYTES: usize = 1024;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = RefCell::default();
}

/// Gives `buffer` room, if it has none at all.
pub(super) fn provide(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        let kept = BUFFERS.with_borrow_mut(Vec::pop);
        *buffer = kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
    }
}

/// Gives `buffer` back for as long as its connection waits, if what is in it is short.
pub(super) fn spare(buffer: &mut Vec<u8>) {
    if buffer.len() <= SHORT_BYTES {
        let short = buffer.as_slice().to_vec();
        give(mem::replace(buffer, short));
    }
}

/// Gives a buffer back; nothing in it is needed any more.
pub(super) fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    BUFFERS.with_borrow_mut(|kept| {
        let is_kept = (BUFFER_BYTES..=KEPT_BYTES_MAX).contains(&buffer.capacity());
        if is_kept && kept.len() < KEPT_COUNT_MAX {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_with_a_short_reply_leaves_its_buffer_to_the_next() {
        let mut first = Vec::new();
        provide(&mut first);
        first.extend_from_slice(b"+OK\r\n");
        let place = first.as_ptr();
        spare(&mut first);
        assert_eq!(first, b"+OK\r\n");
        assert_ne!(first.as_ptr(), place);
        let mut second = Vec::new();
        provide(&mut second);
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
        second.resize(SHORT_BYTES + 1, b'x');
        spare(&mut second);
        assert_eq!((second.as_ptr(), second.len()), (place, SHORT_BYTES + 1));
        // What was made for a short reply is no buffer for the next.
        give(first);
        let mut third = Vec::new();
        provide(&mut third);
        assert!(third.capacity() >= BUFFER_BYTES);
    }
}
