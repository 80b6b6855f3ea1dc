//! Bugs that are planted on purpose, to see that the campaigns of `tests/durability` catch them.
//!
//! ```text
//! if planted("reply before sync") { ... }        what a hasty change of this line would do
//! ```
//! Invariants
//! - Without the feature `planted-bugs` every question is answered by the constant `false`.
//! - With it, one process has at most one bug: the one that `NOWTHEN_PLANTED_BUG` names.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("planted bugs are for tests: no build without assertions has them");

/// Whether the bug of that name is planted.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) const fn planted(_bug: &str) -> bool {
    false
}

/// Whether the bug of that name is planted.
#[cfg(feature = "planted-bugs")]
pub(crate) fn planted(bug: &str) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("NOWTHEN_PLANTED_BUG").ok());
    CHOSEN.as_deref() == Some(bug)
}
