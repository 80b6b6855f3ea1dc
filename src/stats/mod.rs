//! Counters and latency histograms. Imports nothing.
