//! The online store: the newest value of each feature, in memory.
