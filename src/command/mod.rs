//! The commands, from one table.
