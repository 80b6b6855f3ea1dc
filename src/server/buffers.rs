//! Buffers that the connections of a core share: a connection that waits for a request has none.

use std::cell::RefCell;

/// So much is read at once; a pipeline longer than this is answered in parts.
const BUFFER_BYTES: usize = 64 * 1024;
/// A larger buffer goes back to the allocator.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// So many wait for use at most.
const KEPT_COUNT_MAX: usize = 16;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = RefCell::default();
}

/// An empty buffer with room.
pub(super) fn take() -> Vec<u8> {
    let kept = BUFFERS.with_borrow_mut(Vec::pop);
    kept.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// Gives a buffer back; nothing in it is needed any more.
pub(super) fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    BUFFERS.with_borrow_mut(|kept| {
        let is_kept = (1..=KEPT_BYTES_MAX).contains(&buffer.capacity());
        if is_kept && kept.len() < KEPT_COUNT_MAX {
            kept.push(buffer);
        }
    });
}
