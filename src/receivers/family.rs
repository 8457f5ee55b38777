//! What the SDKs of PulseKit, PulseBoard and DebugQueue send, as OTLP log records.
//!
//! Every event becomes a log record that takes the same way as any other: it is checked, redacted,
//! made durable and stored like what comes in on the OTLP ports. What OTLP has no place for goes into
//! attributes ([`names`]). Pure: no sockets, no store, no clock.
//!
//! **Identity.** None of these clients gives its events an id. PulseKit's and DebugQueue's put failed
//! ones back and send them again as they were, time included, in whatever batch comes next. So an
//! event that has a time is identified by its content ([`identity`]): the same content is the same
//! event, and equal ones of one body are told apart by their number there. What has no time can't be
//! told from another one that is alike; each counts as new, and a client that repeats it doubles it.

pub mod identity;
pub mod names;
pub mod pulseboard;
pub mod pulsekit;
pub mod record;
pub mod schema;
pub mod tracepulse;
pub mod value;

/// Events of one body at most.
pub const EVENTS_MAX: usize = 10_000;
