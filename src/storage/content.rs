//! How span messages are packed and compressed.
