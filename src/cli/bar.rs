//! A progress bar on standard error, where that is a terminal; elsewhere nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{borrow::Cow, io::IsTerminal};

/// A bar that tells how much of how much is done. It is gone when it is dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Counts bytes of what is called so.
    pub(super) fn of_bytes(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "{prefix} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
    }

    /// Counts rows of what is called so.
    pub(super) fn of_rows(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "{prefix} {wide_bar} {human_pos}/{human_len} rows, {per_sec}, {eta} left")
    }

    /// Counts row groups of what is called so.
    pub(super) fn of_row_groups(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "{prefix} {wide_bar} {human_pos}/{human_len} row groups, {eta} left")
    }

    /// Tells of what is called so how long it has taken, since there is nothing to count.
    pub(super) fn of_time(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(name, "{prefix}, {elapsed}")
    }

    fn new(name: impl Into<Cow<'static, str>>, template: &str) -> Self {
        let bar = ProgressBar::new(0);
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar.with_prefix(name))
    }

    /// So much of so much is done.
    pub(super) fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Shows the time as it is now.
    pub(super) fn tick(&self) {
        self.0.tick();
    }

    /// Whether there is no terminal to show it on.
    pub(super) fn is_hidden(&self) -> bool {
        self.0.is_hidden()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
