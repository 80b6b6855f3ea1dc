//! Materialization: the newest rows of a batch source go to the online store.
