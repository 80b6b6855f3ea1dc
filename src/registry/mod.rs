//! The registry: definitions as code, the catalog they make, and its history.
