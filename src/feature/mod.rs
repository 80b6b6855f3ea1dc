//! The words of a feature store, and the one rule of visibility.
