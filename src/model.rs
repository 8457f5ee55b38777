//! What we store and serve: identifiers, canonical spans and summaries.
//!
//! Pure data. Nothing here knows sockets, SQL or the clock.

pub mod access;
pub mod event;
pub mod failure;
pub mod fingerprint;
pub mod genai;
pub mod histogram;
pub mod ids;
pub mod metric;
pub mod quota;
pub mod sampling;
pub mod span;

pub use ids::{ProjectId, SpanId, TraceId};
