//! The one binary of nowthen.

fn main() {}
