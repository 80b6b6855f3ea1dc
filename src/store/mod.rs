//! The store: open, read, write. `commit` is the only way anything changes.
