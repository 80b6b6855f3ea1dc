//! Where segments come from: parts of one size, cut from allocations of 1 MiB.
//!
//! Allocated one by one between what lives for a moment, segments would leave holes in the heap
//! that nothing fits, an eighth of everything. An allocation this large is mapped by itself, and
//! of a part that nobody has written to yet no page is there.
//!
//! What is given back waits here to be taken again; when nothing is in use, all of it goes.

use bytes::BytesMut;
use parking_lot::Mutex;

/// What a segment has room for.
pub(super) const SEGMENT_BYTES: usize = 16 * 1024;
const ALLOCATION_BYTES: usize = 1024 * 1024;

/// The segments that nobody uses.
#[derive(Debug, Default)]
pub(super) struct SegmentPool(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    vacant: Vec<BytesMut>,
    in_use: usize,
}

impl SegmentPool {
    /// An empty segment, with room for [`SEGMENT_BYTES`].
    pub(super) fn take(&self) -> BytesMut {
        let mut parts = self.0.lock();
        parts.in_use += 1;
        if let Some(part) = parts.vacant.pop() {
            return part;
        }
        let mut rest = BytesMut::zeroed(ALLOCATION_BYTES);
        while rest.len() > SEGMENT_BYTES {
            let mut part = rest.split_to(SEGMENT_BYTES);
            part.clear();
            parts.vacant.push(part);
        }
        rest.clear();
        rest
    }

    /// Segments are no longer used.
    pub(super) fn give(&self, segments: impl Iterator<Item = BytesMut>) {
        let mut parts = self.0.lock();
        for mut segment in segments.filter(|segment| segment.capacity() > 0) {
            debug_assert!(segment.capacity() >= SEGMENT_BYTES, "it never gave up its room");
            segment.clear();
            parts.in_use -= 1;
            parts.vacant.push(segment);
        }
        if parts.in_use == 0 {
            let all = std::mem::take(&mut *parts);
            drop(parts);
            drop(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_taken_and_given_and_share_no_byte() {
        let pool = SegmentPool::default();
        let mut taken: Vec<BytesMut> = (0..200).map(|_| pool.take()).collect();
        for (number, segment) in taken.iter_mut().enumerate() {
            assert!(segment.is_empty() && segment.capacity() >= SEGMENT_BYTES);
            segment.extend_from_slice(&[number as u8; SEGMENT_BYTES]);
        }
        let is_of =
            |(number, segment): (usize, &BytesMut)| **segment == [number as u8; SEGMENT_BYTES];
        assert!(taken.iter().enumerate().all(is_of));
        pool.give(taken.drain(..100));
        assert_eq!(pool.0.lock().vacant.len(), 256 - 100);
        taken.extend((0..100).map(|_| pool.take()));
        assert_eq!(pool.0.lock().vacant.len(), 256 - 200);
        pool.give(taken.into_iter());
        assert!(pool.0.lock().vacant.is_empty());
    }
}
