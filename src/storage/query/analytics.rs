//! Sums over time.

use crate::model::genai::Totals;
use crate::model::histogram::Histogram;

/// What analytics groups by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Service name.
    Service,
    /// Operation name.
    Operation,
    /// Provider.
    Provider,
    /// Model that answered, else the one asked for.
    Model,
}

/// A question about sums over time, answered from rollups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalyticsQuery {
    /// First minute included, minutes since the Unix epoch.
    pub start_minute: i64,
    /// First minute excluded.
    pub end_minute: i64,
    /// Minutes in one time bucket, counted from the Unix epoch; absent: one bucket for the range.
    pub step_minutes: Option<u32>,
    /// Dimensions of a row's group, in this order.
    pub group_by: Vec<Dimension>,
    /// Values that dimensions must have.
    pub filters: Vec<(Dimension, String)>,
    /// Whether [`Measures::durations`] are wanted; a store may leave them out when they are not.
    pub durations: bool,
    /// Most rows answered: the first in (bucket, group) order.
    pub limit: usize,
}

/// One bucket and group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalyticsRow {
    /// Start of the time bucket, minutes since the Unix epoch.
    pub bucket_minute: i64,
    /// Values of [`AnalyticsQuery::group_by`]; empty where unknown.
    pub group: Vec<String>,
    /// What the spans add up to.
    pub measures: Measures,
}

/// Sums over spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measures {
    /// Spans.
    pub span_count: u64,
    /// Those with status error.
    pub error_count: u64,
    /// Sum of durations, ns.
    pub duration_sum_ns: u64,
    /// Durations.
    pub durations: Histogram,
    /// Tokens and cost of model calls.
    pub totals: Totals,
}

/// Rows of an analytics answer, in (bucket, group) order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnalyticsAnswer {
    /// The rows.
    pub rows: Vec<AnalyticsRow>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
}
