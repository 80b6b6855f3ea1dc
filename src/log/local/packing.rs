//! Packs records into frames and frames into segments, before anything is written.
//!
//! ```text
//! record ─> last batch ─ full? ─> new batch ─ no room? ─> next spare ─ too short or none? ─> None
//!           └─────────────── one batch is one frame of one segment ───────────────┘
//! ```
//! Invariants
//! - What is planned for a segment fits in it even if nothing compresses: the writer never looks
//!   for space.
//! - LSNs, batches and segments are in one order.
//! - At most one spare has nothing planned for it, and it is the last.

use super::{
    log_frame::{RECORD_LENGTH_BYTES, frame_bytes, push_record},
    segment::Spare,
};
use crate::log::contract::Lsn;
use std::collections::VecDeque;

/// A frame takes no further record from here on.
const FRAME_RAW_BYTES_TARGET: usize = 1024 * 1024;

/// The records of one frame.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) segment: u64,
    pub(super) first_lsn: Lsn,
    pub(super) count: u32,
    pub(super) raw: Vec<u8>,
}

impl Batch {
    /// The LSN of its last record.
    pub(super) fn last_lsn(&self) -> Lsn {
        self.first_lsn.after(u64::from(self.count)).previous()
    }
}

/// The segment that the next record goes to, and how many bytes of frames it can still take.
#[derive(Clone, Copy, Debug)]
struct Plan {
    segment: u64,
    free_bytes: usize,
}

/// What is packed and not yet taken by the writer.
pub(super) struct Packing {
    batches: VecDeque<Batch>,
    last_lsn: Lsn,
    queued_bytes: usize,
    plan: Option<Plan>,
    /// Whether the next record goes to another segment than the planned one.
    rolls: bool,
    /// Space that the writer has not named yet.
    spares: VecDeque<Spare>,
    next_segment: u64,
}

impl Packing {
    pub(super) fn new(last_lsn: Lsn, next_segment: u64) -> Self {
        let (batches, spares) = (VecDeque::new(), VecDeque::new());
        Self { batches, last_lsn, queued_bytes: 0, plan: None, rolls: false, spares, next_segment }
    }

    pub(super) fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// What was packed and is not yet written.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn next_segment(&self) -> u64 {
        self.next_segment
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn take_batches(&mut self) -> Vec<Batch> {
        self.batches.drain(..).collect()
    }

    /// The batches at the front that were planned for this segment.
    pub(super) fn take_batches_for(&mut self, segment: u64) -> Vec<Batch> {
        let count = self.batches.partition_point(|batch| batch.segment <= segment);
        self.batches.drain(..count).collect()
    }

    pub(super) fn has_unplanned_spare(&self) -> bool {
        self.unplanned_spare().is_some()
    }

    pub(super) fn add_spare(&mut self, spare: Spare) {
        self.next_segment = self.next_segment.max(spare.number + 1);
        self.spares.push_back(spare);
    }

    /// The space of a segment that batches were planned for.
    pub(super) fn take_spare(&mut self, number: u64) -> Option<Spare> {
        let index = self.spares.iter().position(|spare| spare.number == number)?;
        self.spares.remove(index)
    }

    /// A batch was written and took only `used_bytes` of what was planned for it.
    pub(super) fn written(&mut self, batch: &Batch, used_bytes: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(batch.raw.len());
        if let Some(plan) = self.plan.as_mut().filter(|plan| plan.segment == batch.segment) {
            plan.free_bytes += frame_bytes(batch.raw.len()).saturating_sub(used_bytes);
        }
    }

    /// The spare that nothing is planned for yet.
    fn unplanned_spare(&self) -> Option<usize> {
        let planned = self.plan.map_or(0, |plan| plan.segment);
        self.spares.iter().position(|spare| spare.number > planned)
    }

    pub(super) fn take_unplanned_spare(&mut self) -> Option<Spare> {
        self.spares.remove(self.unplanned_spare()?)
    }

    /// Puts a record where it fits; `None` if it fits nowhere.
    pub(super) fn place(&mut self, record: &[u8]) -> Option<Lsn> {
        if !self.fits_last_batch(record) {
            self.start_batch(frame_bytes(RECORD_LENGTH_BYTES + record.len()))?;
        }
        let batch = self.batches.back_mut()?;
        push_record(&mut batch.raw, record);
        batch.count += 1;
        self.queued_bytes += RECORD_LENGTH_BYTES + record.len();
        self.last_lsn = self.last_lsn.next();
        Some(self.last_lsn)
    }

    /// Lets the next record begin a new segment, if there is one already.
    pub(super) fn roll(&mut self) {
        self.rolls = self.plan.is_some();
    }

    fn fits_last_batch(&mut self, record: &[u8]) -> bool {
        if self.rolls {
            return false;
        }
        let (Some(plan), Some(batch)) = (&mut self.plan, self.batches.back()) else {
            return false;
        };
        let raw_bytes = batch.raw.len() + RECORD_LENGTH_BYTES + record.len();
        if batch.segment != plan.segment || raw_bytes > FRAME_RAW_BYTES_TARGET {
            return false;
        }
        let more_bytes = frame_bytes(raw_bytes) - frame_bytes(batch.raw.len());
        if more_bytes > plan.free_bytes {
            return false;
        }
        plan.free_bytes -= more_bytes;
        true
    }

    /// Begins a batch for a frame of `bytes`, in the planned segment or the one after.
    fn start_batch(&mut self, bytes: usize) -> Option<()> {
        let plan = match self.plan.filter(|plan| plan.free_bytes >= bytes && !self.rolls) {
            Some(plan) => plan,
            None => {
                let spare = self.spares.get(self.unplanned_spare()?)?;
                Plan { segment: spare.number, free_bytes: spare.capacity_bytes() }
            }
        };
        let free_bytes = plan.free_bytes.checked_sub(bytes)?;
        self.plan = Some(Plan { free_bytes, ..plan });
        self.rolls = false;
        let (segment, first_lsn) = (plan.segment, self.last_lsn.next());
        self.batches.push_back(Batch { segment, first_lsn, ..Batch::default() });
        Some(())
    }
}
