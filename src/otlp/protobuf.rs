//! `ExportTraceServiceRequest`, `ExportLogsServiceRequest` and `ExportMetricsServiceRequest` in
//! protobuf, read where they lie.
//!
//! [`check`] walks a whole request once and accepts exactly the bytes that the generated
//! `prost` decoder accepts, its depth limit included; it allocates nothing unless it has something
//! to complain about. The views ([`Request`], [`Span`], [`LogRecord`], [`AnyValue`] and the others) then read the
//! same bytes lazily, and give what that decoder would give: the last of several scalars wins,
//! parts of one message are merged.
//!
//! [`without_empty_keys`] and [`bounded_span`] rewrite the few messages that carry what is not kept;
//! [`revise`] changes attributes and texts as a [`Reviser`] says; [`select`] leaves out what was not
//! accepted.
//!
//! Views are meant for bytes that passed a check. On other bytes nothing panics: parsing a view
//! fails, and its iterators end at the first malformed element.

mod check;
mod derive;
mod edit;
mod error;
mod ids;
mod kind;
mod metric;
mod native;
mod record;
mod revise;
mod rewrite;
mod select;
mod span;
mod value;
mod view;
mod wire;

#[cfg(test)]
mod tests;

pub use check::{Checked, check, check_spans, validate};
pub use derive::Derived;
pub use edit::TextEdits;
pub use error::{DecodeError, Fault};
pub use ids::{InvalidId, Rejection, SpanIds};
pub use metric::{
    BUCKETS_MAX, Exemplar, ExponentialPoint, HistogramPoint, InvalidPoint, Metric, NumberPoint,
    Point, PointValue, RejectedPoint, SummaryPoint,
};
pub use native::as_otlp;
pub use record::LogRecord;
pub use revise::{Place, Reviser, Verdict, revise};
pub use rewrite::{Bounds, bounded_record, bounded_span, without_empty_keys};
pub use select::select;
pub use span::{Event, Link, Span, Status};
pub(super) use value::non_finite_text;
pub use value::{AnyValue, Array, KeyValue, KvList};
pub use view::{KeyValues, Request, ResourceSpans, Scope, ScopeSpans};
pub use wire::{Field, RECURSION_LIMIT, Reader, Value, fields};
