//! Which data points can be stored, and how one that can't is named to its sender.
//!
//! The bounds are fixed, so that what was accepted once is never rejected when it is read again.

use std::fmt;

use super::{Metric, Point, PointValue};
use crate::model::metric::MetricKind;
use crate::otlp::protobuf::NumberPoint;
use crate::otlp::protobuf::error::DecodeError;

/// Buckets of one point at most, those above and below zero together. SDKs make at most 160.
pub const BUCKETS_MAX: usize = 2048;
/// Attributes of one point at most.
const ATTRIBUTES_MAX: usize = 128;
/// Bytes of the attributes of one point at most, as encoded.
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;
/// Quantiles of one point at most.
const QUANTILES_MAX: usize = 256;
/// Bytes of the name of a metric at most; OpenTelemetry asks for 255 characters.
const NAME_BYTES_MAX: usize = 1024;
/// Scales that can be told apart in a double, and more.
const SCALES: std::ops::RangeInclusive<i32> = -32..=32;
/// Bytes of a name that are shown.
const SHOWN_NAME_BYTES: usize = 64;

/// Why a data point is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPoint {
    /// The metric has no name.
    #[error("name is empty")]
    NoName,
    /// The name of the metric holds what a text in a database can't.
    #[error("name holds the character U+0000")]
    NulName,
    /// The name of the metric is too long.
    #[error("name has {0} bytes, more than {NAME_BYTES_MAX}")]
    LongName(usize),
    /// A total that says neither that it is of an interval nor that it is of all time.
    #[error("aggregation_temporality is neither delta nor cumulative")]
    Temporality,
    /// There is no time.
    #[error("time_unix_nano is zero")]
    NoTime,
    /// A time after the year 2262.
    #[error("time_unix_nano or start_time_unix_nano is out of range")]
    Time,
    /// It starts after it ends.
    #[error("start_time_unix_nano is after time_unix_nano")]
    Start,
    /// There is no value, and no flag that says so.
    #[error("has no value")]
    NoValue,
    /// Too many attributes.
    #[error("has {0} attributes, more than {ATTRIBUTES_MAX}")]
    Attributes(usize),
    /// Attributes that are too long.
    #[error("has {0} bytes of attributes, more than {ATTRIBUTE_BYTES_MAX}")]
    AttributeBytes(usize),
    /// Too many buckets.
    #[error("has more than {BUCKETS_MAX} buckets")]
    TooManyBuckets,
    /// Buckets and bounds don't fit together.
    #[error("has {buckets} bucket_counts for {bounds} explicit_bounds")]
    Buckets {
        /// Buckets.
        buckets: usize,
        /// Bounds between them.
        bounds: usize,
    },
    /// Bounds are not numbers, or do not grow.
    #[error("explicit_bounds are not in increasing order")]
    Bounds,
    /// The scale is out of range.
    #[error("scale is {0}, not from -32 to 32")]
    Scale(i32),
    /// The index of a bucket is out of range.
    #[error("offset is out of range")]
    Offset,
    /// Too many quantiles.
    #[error("has {0} quantile_values, more than {QUANTILES_MAX}")]
    Quantiles(usize),
    /// It can't be read, though the request was checked.
    #[error("can't be read")]
    Unreadable,
}

/// The first rejected data point of a request, for the partial success message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedPoint {
    /// The metric's name, shortened.
    pub metric: String,
    /// Why.
    pub reason: InvalidPoint,
}

impl RejectedPoint {
    #[cold]
    pub(in crate::otlp::protobuf) fn new(metric: &str, reason: InvalidPoint) -> Self {
        let shown = metric.floor_char_boundary(SHOWN_NAME_BYTES);
        let shown = metric.get(..shown).unwrap_or_default();
        let more = if shown.len() < metric.len() {
            "…"
        } else {
            ""
        };
        Self {
            metric: format!("{shown}{more}"),
            reason,
        }
    }
}

impl fmt::Display for RejectedPoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "metric {:?}: {}", self.metric, self.reason)
    }
}

impl Metric<'_> {
    /// Whether its points can be stored, as far as it is not up to each of them.
    ///
    /// # Errors
    /// None of them can.
    pub fn check(&self) -> Result<(), InvalidPoint> {
        if self.name.is_empty() {
            return Err(InvalidPoint::NoName);
        }
        if self.name.contains('\0') {
            return Err(InvalidPoint::NulName);
        }
        if self.name.len() > NAME_BYTES_MAX {
            return Err(InvalidPoint::LongName(self.name.len()));
        }
        let has_temporality = !matches!(
            self.kind,
            None | Some(MetricKind::Gauge | MetricKind::Summary)
        );
        if has_temporality && !matches!(self.temporality, 1 | 2) {
            return Err(InvalidPoint::Temporality);
        }
        Ok(())
    }

    /// Whether one of its points can be stored.
    ///
    /// # Errors
    /// It must not be stored.
    pub fn judge(&self, point: Result<Point<'_>, DecodeError>) -> Result<(), InvalidPoint> {
        let point = point.map_err(|_| InvalidPoint::Unreadable)?;
        point.check()
    }
}

impl Point<'_> {
    /// Whether the point can be stored.
    ///
    /// # Errors
    /// It must not be stored.
    pub fn check(&self) -> Result<(), InvalidPoint> {
        const TIME_MAX: u64 = i64::MAX.cast_unsigned();
        let (start, time) = (self.start_unix_nano, self.time_unix_nano);
        if time == 0 {
            return Err(InvalidPoint::NoTime);
        }
        if time > TIME_MAX || start > TIME_MAX {
            return Err(InvalidPoint::Time);
        }
        if start > time {
            return Err(InvalidPoint::Start);
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(InvalidPoint::Attributes(self.attributes.len()));
        }
        let bytes = self.attributes.encoded().map(<[u8]>::len).sum();
        if bytes > ATTRIBUTE_BYTES_MAX {
            return Err(InvalidPoint::AttributeBytes(bytes));
        }
        if self.has_no_recorded_value() {
            return Ok(());
        }
        self.value.check()
    }
}

impl PointValue<'_> {
    fn check(&self) -> Result<(), InvalidPoint> {
        match self {
            Self::Number(NumberPoint::Absent) => Err(InvalidPoint::NoValue),
            Self::Number(_) => Ok(()),
            Self::Histogram(point) => {
                let (buckets, bounds) = (point.bucket_counts.count, point.bounds.count);
                if buckets > BUCKETS_MAX {
                    return Err(InvalidPoint::TooManyBuckets);
                }
                // Without buckets there is only a count and a sum.
                if buckets != bounds + 1 && (buckets, bounds) != (0, 0) {
                    return Err(InvalidPoint::Buckets { buckets, bounds });
                }
                let mut bounds = point.bounds();
                let mut last = bounds.next();
                let is_number = last.is_none_or(|first| !first.is_nan());
                let grow = bounds.all(|bound| last.replace(bound).is_some_and(|it| it < bound));
                (is_number && grow)
                    .then_some(())
                    .ok_or(InvalidPoint::Bounds)
            }
            Self::Exponential(point) => {
                if !SCALES.contains(&point.scale) {
                    return Err(InvalidPoint::Scale(point.scale));
                }
                let buckets = point.positive().chain(point.negative());
                if buckets.take(BUCKETS_MAX + 1).count() > BUCKETS_MAX {
                    return Err(InvalidPoint::TooManyBuckets);
                }
                // Leaves room for all indexes of buckets.
                let is_low = |offset: i32| offset.unsigned_abs() <= 1 << 30;
                (is_low(point.positive_offset) && is_low(point.negative_offset))
                    .then_some(())
                    .ok_or(InvalidPoint::Offset)
            }
            Self::Summary(point) => {
                let quantiles = point.quantiles.count;
                (quantiles <= QUANTILES_MAX)
                    .then_some(())
                    .ok_or(InvalidPoint::Quantiles(quantiles))
            }
        }
    }
}
