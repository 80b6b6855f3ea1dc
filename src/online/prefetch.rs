//! Asking for memory before it is needed: the one line of `unsafe` of the online store.
//!
//! A read of a row that is in no cache waits some 100 ns for each line that leads there, and a lock
//! keeps the processor from waiting for two rows at once. A prefetch is not kept: it waits for
//! nothing, so those of many rows are under way together.

/// The bytes of a line of the cache on the machines that we know.
const LINE_BYTES: usize = 64;

/// Asks for the memory that `items` begin with, `lines` of it at most. Nothing is read.
#[inline]
pub(super) fn prefetch<T>(items: &[T], lines: usize) {
    let bytes = size_of_val(items).min(lines * LINE_BYTES);
    for at in (0..bytes).step_by(LINE_BYTES) {
        prefetch_line(items.as_ptr().wrapping_byte_add(at).cast());
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[allow(unsafe_code, reason = "the instruction takes an address")]
#[inline]
fn prefetch_line(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction reads no memory that the program could see, and faults on no address;
    // it is part of SSE, which every x86_64 has.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
}

/// Elsewhere rows come when they are read.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn prefetch_line(_: *const i8) {}
