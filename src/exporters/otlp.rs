//! Sends what was accepted to another OTLP backend as well, from the log and at its own pace.
//!
//! A thread per partition reads the log beside the one that stores ([`crate::queue::Tee`]) and sends
//! each record as one request, as it lies in the log: what was redacted is redacted, and what the
//! client sent is what the backend gets, byte for byte each time. Only what was rejected from a
//! request is left out, and what the filter does not want. Records are not put together: a log record
//! has no id, so that a backend like this one tells a resend by the request it came in.
//!
//! Delivery is at least once. The position moves over what was answered, in order; what is sent
//! again after a crash is what a client would send again. An answer that forbids a retry drops that
//! request, counted; all others are tried until they succeed, or as long as is configured. Meanwhile
//! the log is the queue, the store does not wait, and what is held back has its own limit.

mod answer;
mod backoff;
mod client;
mod config;
mod filter;
mod health;
mod prepare;
mod sender;
mod worker;

pub use client::ConnectError;
pub use config::{Compression, Config, Protocol, Queue, Retry, SignalName, Tls};
pub use health::Health;
pub use sender::Sender;
pub use worker::Worker;
