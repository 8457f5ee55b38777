//! Metrics: series, and the points measured of them.

use super::{SpanId, TraceId};

/// Exemplars kept of a point.
pub const EXEMPLARS_MAX: usize = 4;

/// Identity of a series within its project: half a SHA-256 over all that makes it one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeriesId(pub [u8; 16]);

impl SeriesId {
    /// What tells points of this series from others where several share one; never zero.
    #[must_use]
    pub fn origin(self) -> u64 {
        let (first, _) = self.0.split_at(8);
        let first = first.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(first).max(1)
    }
}

/// What a metric is. The numbers lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MetricKind {
    /// A value at a time.
    Gauge = 0,
    /// A total.
    Sum = 1,
    /// A distribution over buckets with bounds of its own.
    Histogram = 2,
    /// A distribution over buckets whose bounds are powers.
    Exponential = 3,
    /// Quantiles that the sender computed.
    Summary = 4,
}

impl MetricKind {
    /// All kinds, by their numbers.
    pub const ALL: [Self; 5] = [
        Self::Gauge,
        Self::Sum,
        Self::Histogram,
        Self::Exponential,
        Self::Summary,
    ];

    /// Reads the number stored.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        let place = usize::try_from(number).ok()?;
        Self::ALL.get(place).copied()
    }

    /// Lower-case name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::Exponential => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

/// What a total is of. The numbers are OTLP's, and lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Temporality {
    /// No total, as a gauge's.
    None = 0,
    /// Of the time since the point before.
    Delta = 1,
    /// Of the time since the start.
    Cumulative = 2,
}

impl Temporality {
    /// Reads the number stored or sent.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Delta,
            2 => Self::Cumulative,
            _ => Self::None,
        }
    }

    /// Lower-case name used in the API; absent where there is none.
    #[must_use]
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Delta => Some("delta"),
            Self::Cumulative => Some("cumulative"),
        }
    }
}

/// A point of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When it was taken, ns since the Unix epoch; not zero, 63 bits.
    pub time_unix_nano: u64,
    /// Since when it counts, ns since the Unix epoch; zero when unknown.
    pub start_unix_nano: u64,
    /// What was measured.
    pub value: Value,
    /// Measurements it was made of that have a trace, [`EXEMPLARS_MAX`] at most.
    pub exemplars: Vec<Exemplar>,
}

/// What a point says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// That there is no value at this time.
    Absent,
    /// An integer.
    Int(i64),
    /// A floating-point number, possibly NaN or infinite.
    Double(f64),
    /// A distribution.
    Histogram(Box<Histogram>),
    /// A distribution.
    Exponential(Box<Exponential>),
    /// Quantiles.
    Summary(Box<Summary>),
}

/// What distributions have in common.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// Measurements.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// A distribution over buckets with bounds of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Count, sum, smallest and largest.
    pub totals: Totals,
    /// Between which values the buckets lie, increasing.
    pub bounds: Vec<f64>,
    /// Measurements by bucket, one more than bounds; none when only totals are known.
    pub counts: Vec<u64>,
}

/// A distribution over buckets whose bounds are powers of `2^(2^-scale)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exponential {
    /// Count, sum, smallest and largest.
    pub totals: Totals,
    /// How fine the buckets are.
    pub scale: i32,
    /// Measurements that count as zero.
    pub zero_count: u64,
    /// Up to which they do.
    pub zero_threshold: f64,
    /// Buckets above zero.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
}

/// Buckets in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buckets {
    /// Index of the first.
    pub offset: i32,
    /// Measurements by bucket.
    pub counts: Vec<u64>,
}

/// Quantiles that the sender computed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Measurements.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Quantiles, 0 to 1, and their values.
    pub quantiles: Vec<(f64, f64)>,
}

/// A measurement of a point, and the trace it was taken in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// When it was taken, ns since the Unix epoch.
    pub time_unix_nano: u64,
    /// What was measured.
    pub value: f64,
    /// Trace.
    pub trace_id: TraceId,
    /// Span of it.
    pub span_id: Option<SpanId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_disk_are_read_back() {
        for kind in MetricKind::ALL {
            assert_eq!(MetricKind::from_number(kind as i64), Some(kind));
        }
        assert_eq!(MetricKind::from_number(5), None);
        for temporality in [
            Temporality::None,
            Temporality::Delta,
            Temporality::Cumulative,
        ] {
            assert_eq!(Temporality::from_number(temporality as i64), temporality);
        }
        assert_eq!(SeriesId([0; 16]).origin(), 1);
        assert_eq!(SeriesId([1; 16]).origin(), 0x0101_0101_0101_0101);
    }
}
