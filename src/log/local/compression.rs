//! Whether a frame is worth compressing: to compress costs more than to write as it is.
//!
//! Numbers of many digits hardly get shorter, and then each write would pay for nothing. So frames
//! that gain little let the next ones go as they are, until one is tried again.

use super::log_frame::pack;

/// A shorter frame is one write of a few sectors either way.
const RAW_BYTES_MIN: usize = 2048;
/// So many frames are written as they are after one that gained too little.
const FRAMES_LEFT_OUT: u32 = 15;

/// What the last frames gained.
#[derive(Debug, Default)]
pub(super) struct Compression {
    left_out: u32,
}

impl Compression {
    /// `raw` compressed, if it was tried and makes the frame shorter.
    pub(super) fn pack(&mut self, raw: &[u8]) -> Option<Vec<u8>> {
        if raw.len() < RAW_BYTES_MIN {
            return None;
        }
        if self.left_out > 0 {
            self.left_out -= 1;
            return None;
        }
        let packed = pack(raw);
        // What takes no more than half pays for itself on any disk.
        if packed.as_ref().is_none_or(|packed| packed.len() > raw.len() / 2) {
            self.left_out = FRAMES_LEFT_OUT;
        }
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gains_little_is_left_out_mostly_and_what_gains_much_never() {
        let mut random = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as u8
        })
        .take(8192)
        .collect();
        let half_noise = [&noise[..5000], &[0; 3192]].concat();
        let mut compression = Compression::default();
        let packed = |compression: &mut Compression, raw: &[u8], frames: u32| {
            (0..frames).filter(|_| compression.pack(raw).is_some()).count() as u32
        };
        assert_eq!(packed(&mut compression, &[7; 8192], 40), 40);
        assert_eq!(packed(&mut compression, &[7; 2000], 40), 0);
        assert_eq!(packed(&mut compression, &half_noise, 3 * (FRAMES_LEFT_OUT + 1)), 3);
        assert_eq!(packed(&mut compression, &noise, 3 * (FRAMES_LEFT_OUT + 1)), 0);
        // It is tried again, and pays again.
        assert_eq!(packed(&mut compression, &[7; 8192], 40), 40);
    }
}
