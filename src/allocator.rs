//! What malloc does with memory that was freed: it stays with the process, up to a bound.
//!
//! A scan of Parquet files makes and drops a buffer of some hundred KiB for each page. The malloc
//! of glibc gives each back to the kernel, which clears it when the next one asks for it: a sixth
//! of the time of a small join (docs/benchmarks.md). By itself it stops doing so once a buffer of
//! the largest kind was freed, so a process that runs for long comes to these bounds anyway.

/// Up to here a buffer comes from an arena, and goes back into it. It is the most that glibc
/// takes: half of one of its heaps.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FROM_ARENA_BYTES_MAX: i32 = 32 << 20;

/// So much may lie free at the end of an arena; twice the former, as glibc has it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const FREE_BYTES_MAX: i32 = 2 * FROM_ARENA_BYTES_MAX;

/// Makes malloc keep what was freed for the next one who asks. To be called before there are other
/// threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a function of C")]
pub fn keep_freed_memory() {
    for (name, bytes) in
        [(libc::M_MMAP_THRESHOLD, FROM_ARENA_BYTES_MAX), (libc::M_TRIM_THRESHOLD, FREE_BYTES_MAX)]
    {
        // SAFETY: it takes two numbers, sets one under malloc's own lock, and touches no memory of
        // ours. Where it knows better it returns 0, and nothing changes.
        unsafe { libc::mallopt(name, bytes) };
    }
}

/// Other allocators do as they think best.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed_memory() {}
