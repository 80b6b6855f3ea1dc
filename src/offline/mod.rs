//! The offline store: the only door to arrow and parquet.
