//! The log and its snapshots: what was acknowledged survives.
