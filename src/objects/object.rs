//! One object, read by range; what will be read soon is fetched ahead.
//!
//! ```text
//! wanted     ━━━━━ ━━      ━━━━         ranges that lie close together are one request
//! fetched    ══════════    ════         and held until whoever wanted them is done
//! ```

use super::{
    Bucket,
    failure::Failure,
    found::Found,
    io_thread::{spawn, wait},
};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::{ops::Range, sync::Arc};

/// To read over this many bytes that nobody wants costs less than another request.
const GAP_BYTES: u64 = 512 * 1024;
/// But what grew so long by that is one request.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

/// An object, as it was found.
#[derive(Clone, Debug)]
pub struct Object {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bucket: Arc<Bucket>,
    found: Found,
    held: Mutex<Vec<Arc<Piece>>>,
}

/// Bytes on their way.
#[derive(Debug)]
struct Piece {
    range: Range<u64>,
    bytes: Mutex<Option<Result<Bytes, Failure>>>,
    arrived: Condvar,
}

impl Piece {
    fn arrive(&self, bytes: Result<Bytes, Failure>) {
        self.bytes.lock().get_or_insert(bytes);
        self.arrived.notify_all();
    }

    fn wait(&self) -> Result<Bytes, Failure> {
        let mut bytes = self.bytes.lock();
        loop {
            if let Some(bytes) = bytes.as_ref() {
                return bytes.clone();
            }
            self.arrived.wait(&mut bytes);
        }
    }
}

/// Ranges that are held as long as this is.
#[derive(Debug)]
pub struct Fetched {
    object: Object,
    pieces: Vec<Arc<Piece>>,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let mut held = self.object.inner.held.lock();
        held.retain(|piece| !self.pieces.iter().any(|own| Arc::ptr_eq(own, piece)));
    }
}

impl Fetched {
    /// Waits until all of it is there.
    pub fn wait(&self) -> Result<(), Failure> {
        self.pieces.iter().try_for_each(|piece| piece.wait().map(drop))
    }
}

impl Object {
    /// The object that was found in `bucket`.
    pub fn new(bucket: &Arc<Bucket>, found: Found) -> Self {
        let inner = Inner { bucket: Arc::clone(bucket), found, held: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// As it was found.
    pub fn found(&self) -> &Found {
        &self.inner.found
    }

    /// Begins to fetch ranges, and does not wait for them.
    pub fn fetch(&self, ranges: impl IntoIterator<Item = Range<u64>>) -> Fetched {
        let ranges = requests(ranges.into_iter().collect());
        let pieces: Vec<Arc<Piece>> = ranges.into_iter().map(|r| self.begin(r)).collect();
        self.inner.held.lock().extend(pieces.iter().cloned());
        Fetched { object: self.clone(), pieces }
    }

    fn begin(&self, range: Range<u64>) -> Arc<Piece> {
        let piece =
            Piece { range: range.clone(), bytes: Mutex::default(), arrived: Condvar::new() };
        let piece = Arc::new(piece);
        let (own, get) = (Arc::clone(&piece), self.get(range));
        let begun = spawn(async move {
            // A task that is given up must not leave anyone waiting.
            let given_up = GivenUp(own);
            let bytes = get.await;
            given_up.0.arrive(bytes);
        });
        if let Err(failure) = begun {
            piece.arrive(Err(failure));
        }
        piece
    }

    fn get(
        &self,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Bytes, Failure>> + Send + 'static {
        let Inner { bucket, found, .. } = self.inner.as_ref();
        Arc::clone(bucket).get(found.key.clone(), found.tag.clone(), range)
    }

    /// Some bytes: out of what was fetched, or by a request for them alone.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let holds =
            |piece: &&Arc<Piece>| piece.range.start <= range.start && range.end <= piece.range.end;
        let piece = self.inner.held.lock().iter().find(holds).cloned();
        let Some(piece) = piece else { return wait(self.get(range)) };
        let bytes = piece.wait()?;
        let place = |at: u64| usize::try_from(at - piece.range.start).unwrap_or(usize::MAX);
        Ok(bytes.slice(place(range.start)..place(range.end)))
    }

    /// The bytes from `at` on, at least one and at most so many: as many as were fetched together.
    pub fn read_some(&self, at: u64, most: usize) -> Result<Bytes, Failure> {
        let end = at.saturating_add(most as u64).min(self.inner.found.bytes);
        let holds = |piece: &&Arc<Piece>| piece.range.contains(&at);
        let held = self.inner.held.lock().iter().find(holds).map(|piece| piece.range.end);
        self.read(at.min(end)..held.map_or(end, |held| end.min(held)))
    }

    /// Whether the store still has it as it was found.
    pub fn is_as_found(&self) -> Result<bool, Failure> {
        let found = self.inner.bucket.find(&self.inner.found.key)?;
        Ok(found.as_ref() == Some(&self.inner.found))
    }
}

struct GivenUp(Arc<Piece>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.arrive(Err(Failure::new("the request was given up")));
    }
}

/// The ranges to ask for, so that each of `wanted` lies in one of them.
fn requests(mut wanted: Vec<Range<u64>>) -> Vec<Range<u64>> {
    wanted.retain(|range| !range.is_empty());
    wanted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut requests: Vec<Range<u64>> = Vec::new();
    for range in wanted {
        match requests.last_mut() {
            Some(last)
                if range.start <= last.end.saturating_add(GAP_BYTES)
                    && (range.end <= last.end || range.end - last.start <= REQUEST_BYTES_MAX) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => requests.push(range),
        }
    }
    requests
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_close_together_are_one_request_unless_that_grows_too_long() {
        let (far, all) = (GAP_BYTES + 1, |end: u64| 0..end);
        assert_eq!(requests(vec![10..20, 0..10, 5..6, 7..7]), vec![all(20)]);
        assert_eq!(requests(vec![0..10, 10 + far..11 + far]), [0..10, 10 + far..11 + far]);
        let long = REQUEST_BYTES_MAX;
        assert_eq!(requests(vec![0..long, long..long + 1]), [0..long, long..long + 1]);
        assert_eq!(requests(vec![0..2 * long, 5..6]), vec![all(2 * long)]);
    }

    proptest! {
        #[test]
        fn whatever_is_fetched_ahead_each_range_reads_the_bytes_of_the_object(
            length in 1_u64..3000,
            fetched in prop::collection::vec((0_u64..3000, 0_u64..3000), 0..5),
            read in prop::collection::vec((0_u64..3000, 0_u64..3000), 1..6),
        ) {
            let range = |(a, b): (u64, u64)| a.min(b).min(length)..a.max(b).min(length);
            let contents: Bytes = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            let bucket = Bucket::in_memory(&[("a/b".into(), contents.clone())]);
            let found = bucket.find("a/b").unwrap().unwrap();
            let object = Object::new(&bucket, found);
            let held = object.fetch(fetched.into_iter().map(range));
            for range in read.into_iter().map(range) {
                let own = contents.slice(range.start as usize..range.end as usize);
                prop_assert_eq!(object.read(range).unwrap(), own);
            }
            drop(held);
            prop_assert!(object.inner.held.lock().is_empty());
            prop_assert!(object.is_as_found().unwrap());
        }
    }

    #[test]
    fn what_is_not_there_or_was_changed_is_told() {
        let bucket = Bucket::in_memory(&[("a".into(), Bytes::from_static(b"0123"))]);
        let found = bucket.find("a").unwrap().unwrap();
        assert_eq!((found.bytes, bucket.find("b").unwrap()), (4, None));
        let gone = Object::new(&bucket, Found { key: "b".into(), ..found.clone() });
        let _held = gone.fetch(Some(0..2));
        for range in [0..2, 2..4] {
            let failure = gone.read(range).unwrap_err();
            assert_eq!(
                failure,
                Failure { why: "there is no such object".into(), is_missing: true }
            );
        }
        let other = Object::new(&bucket, Found { tag: Some("other".into()), ..found });
        assert_eq!(other.read(0..2).unwrap_err().why, "the object was changed while it was read");
        assert!(!other.is_as_found().unwrap());
    }
}
