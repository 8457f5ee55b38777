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
    /// User.
    User,
    /// Name of the agent, else its id.
    Agent,
    /// Name of the tool called.
    Tool,
    /// Deployment environment.
    Environment,
    /// Tag. A span with several tags counts for each of them.
    Tag,
    /// Kind of failure of a failed span.
    ErrorKind,
    /// Where the cost comes from, see [`crate::model::genai::CostSource`].
    CostSource,
}

impl Dimension {
    /// All dimensions.
    pub const ALL: [Self; 11] = [
        Self::Service,
        Self::Operation,
        Self::Provider,
        Self::Model,
        Self::User,
        Self::Agent,
        Self::Tool,
        Self::Environment,
        Self::Tag,
        Self::ErrorKind,
        Self::CostSource,
    ];

    /// Whether rollups have it.
    #[must_use]
    pub const fn is_rolled_up(self) -> bool {
        matches!(
            self,
            Self::Service | Self::Operation | Self::Provider | Self::Model
        )
    }
}

/// A question about sums over time.
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
    /// Whether [`Measures::details`] are wanted, which rollups don't have.
    pub details: bool,
    /// Most rows answered: the first in (bucket, group) order.
    pub limit: usize,
}

impl AnalyticsQuery {
    /// Whether rollups don't have what is asked for.
    #[must_use]
    pub fn is_of_spans(&self) -> bool {
        let filtered = self.filters.iter().map(|(dimension, _)| dimension);
        let mut dimensions = self.group_by.iter().chain(filtered);
        self.details || dimensions.any(|dimension| !dimension.is_rolled_up())
    }

    /// Whether a dimension is a group's or filtered by.
    #[must_use]
    pub fn has(&self, dimension: Dimension) -> bool {
        let filtered = self.filters.iter().map(|(dimension, _)| dimension);
        self.group_by
            .iter()
            .chain(filtered)
            .any(|it| *it == dimension)
    }
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
    /// What rollups don't have; empty unless it was asked for.
    pub details: Details,
}

impl Measures {
    /// Adds other spans' sums. They stop at the largest integer that a store keeps.
    pub fn merge(&mut self, other: &Self) {
        let sum = |ours: u64, theirs: u64| ours.saturating_add(theirs).min(i64::MAX.unsigned_abs());
        self.span_count = sum(self.span_count, other.span_count);
        self.error_count = sum(self.error_count, other.error_count);
        self.duration_sum_ns = sum(self.duration_sum_ns, other.duration_sum_ns);
        self.durations.merge(&other.durations);
        self.totals.add(other.totals);
        let (details, other) = (&mut self.details, &other.details);
        let pairs = [
            (&mut details.cache_write_tokens, other.cache_write_tokens),
            (&mut details.reasoning_tokens, other.reasoning_tokens),
            (&mut details.audio_input_tokens, other.audio_input_tokens),
            (&mut details.audio_output_tokens, other.audio_output_tokens),
            (&mut details.image_input_tokens, other.image_input_tokens),
            (&mut details.image_output_tokens, other.image_output_tokens),
            (&mut details.unpriced_calls, other.unpriced_calls),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
        details.first_tokens.merge(&other.first_tokens);
    }
}

/// What model calls add up to beyond [`Totals`]. Sums stop at the largest integer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Input tokens written to a cache.
    pub cache_write_tokens: i64,
    /// Output tokens spent on reasoning.
    pub reasoning_tokens: i64,
    /// Audio tokens of the input.
    pub audio_input_tokens: i64,
    /// Audio tokens of the output.
    pub audio_output_tokens: i64,
    /// Image tokens of the input.
    pub image_input_tokens: i64,
    /// Image tokens of the output.
    pub image_output_tokens: i64,
    /// Calls with tokens and no price.
    pub unpriced_calls: i64,
    /// Times from the start of a call to its first token, ns.
    pub first_tokens: Histogram,
}

/// Rows of an analytics answer, in (bucket, group) order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnalyticsAnswer {
    /// The rows.
    pub rows: Vec<AnalyticsRow>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
    /// Where the work that a query may do did not suffice for the whole range: only spans that
    /// start here or later are counted, ns since the Unix epoch.
    pub counted_from_unix_nano: Option<u64>,
}
