//! A mergeable latency histogram.
