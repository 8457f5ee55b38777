//! Data points, read in place.

use super::Metric;
use super::numbers::{Fixed64s, Varints};
use crate::model::metric::MetricKind;
use crate::model::{SpanId, TraceId};
use crate::otlp::protobuf::error::DecodeError;
use crate::otlp::protobuf::view::{KeyValues, Repeated};
use crate::otlp::protobuf::wire::{Field, fields};

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u32 = 1;

/// A data point of any kind of metric.
#[derive(Debug, Clone, Copy, Default)]
pub struct Point<'a> {
    /// Attributes.
    pub attributes: KeyValues<'a>,
    /// Since when it counts, ns since the Unix epoch; zero when unknown.
    pub start_unix_nano: u64,
    /// When it was taken, ns since the Unix epoch.
    pub time_unix_nano: u64,
    /// Flags.
    pub flags: u32,
    /// What was measured.
    pub value: PointValue<'a>,
    exemplars: Repeated<'a>,
}

/// What a data point says.
#[derive(Debug, Clone, Copy)]
pub enum PointValue<'a> {
    /// A gauge or a sum.
    Number(NumberPoint),
    /// A histogram.
    Histogram(HistogramPoint<'a>),
    /// An exponential histogram.
    Exponential(ExponentialPoint<'a>),
    /// A summary.
    Summary(SummaryPoint<'a>),
}

impl Default for PointValue<'_> {
    fn default() -> Self {
        Self::Number(NumberPoint::Absent)
    }
}

/// A number, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum NumberPoint {
    /// None.
    #[default]
    Absent,
    /// An integer.
    Int(i64),
    /// A floating-point number, possibly NaN or infinite.
    Double(f64),
}

/// A distribution over buckets with bounds of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistogramPoint<'a> {
    /// Measurements.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    pub(super) bucket_counts: Fixed64s<'a>,
    pub(super) bounds: Fixed64s<'a>,
}

/// A distribution over buckets whose bounds are powers of `2^(2^-scale)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExponentialPoint<'a> {
    /// Measurements.
    pub count: u64,
    /// Their sum.
    pub sum: Option<f64>,
    /// The smallest.
    pub min: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
    /// How fine the buckets are.
    pub scale: i32,
    /// Measurements that count as zero.
    pub zero_count: u64,
    /// Up to which they do.
    pub zero_threshold: f64,
    /// Index of the first bucket above zero.
    pub positive_offset: i32,
    /// Index of the first bucket below zero.
    pub negative_offset: i32,
    positive: Repeated<'a>,
    negative: Repeated<'a>,
}

/// Quantiles that the sender computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SummaryPoint<'a> {
    /// Measurements.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    pub(super) quantiles: Repeated<'a>,
}

/// A measurement that a point was made of, and what it was taken in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// When it was taken, ns since the Unix epoch.
    pub time_unix_nano: u64,
    /// What was measured.
    pub value: NumberPoint,
    /// Trace; absent when there is none or its id can't be one.
    pub trace_id: Option<TraceId>,
    /// Span of it.
    pub span_id: Option<SpanId>,
}

fn double(field: &Field<'_>, name: &'static str) -> Result<f64, DecodeError> {
    field.fixed64(name).map(f64::from_bits)
}

/// A `sint32` is a varint that folds negative numbers between the others.
fn sint32(field: &Field<'_>, name: &'static str) -> Result<i32, DecodeError> {
    let folded = field.uint32(name)?;
    Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
}

impl<'a> Point<'a> {
    /// Reads an encoded point of a metric.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read: attributes and exemplars are
    /// not looked into.
    pub fn parse(metric: &Metric<'_>, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match metric.kind {
            None | Some(MetricKind::Gauge | MetricKind::Sum) => Self::number(bytes),
            Some(MetricKind::Histogram) => Self::histogram(bytes),
            Some(MetricKind::Exponential) => Self::exponential(bytes),
            Some(MetricKind::Summary) => Self::summary(bytes),
        }
    }

    fn number(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut point, mut value) = (Self::default(), NumberPoint::Absent);
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => point.start_unix_nano = field.fixed64("start_time_unix_nano")?,
                3 => point.time_unix_nano = field.fixed64("time_unix_nano")?,
                4 => value = NumberPoint::Double(double(&field, "as_double")?),
                5 => point.exemplars.add(&field, before, reader.rest()),
                6 => value = NumberPoint::Int(field.fixed64("as_int")?.cast_signed()),
                7 => point.attributes.add(&field, before, reader.rest()),
                8 => point.flags = field.uint32("flags")?,
                _ => {}
            }
            before = reader.rest();
        }
        point.value = PointValue::Number(value);
        Ok(point)
    }

    fn histogram(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut point = Self::default();
        let mut value = HistogramPoint {
            bucket_counts: Fixed64s::new(bytes, 6),
            bounds: Fixed64s::new(bytes, 7),
            ..HistogramPoint::default()
        };
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => point.start_unix_nano = field.fixed64("start_time_unix_nano")?,
                3 => point.time_unix_nano = field.fixed64("time_unix_nano")?,
                4 => value.count = field.fixed64("count")?,
                5 => value.sum = Some(double(&field, "sum")?),
                6 => value.bucket_counts.add(field.value),
                7 => value.bounds.add(field.value),
                8 => point.exemplars.add(&field, before, reader.rest()),
                9 => point.attributes.add(&field, before, reader.rest()),
                10 => point.flags = field.uint32("flags")?,
                11 => value.min = Some(double(&field, "min")?),
                12 => value.max = Some(double(&field, "max")?),
                _ => {}
            }
            before = reader.rest();
        }
        point.value = PointValue::Histogram(value);
        Ok(point)
    }

    fn exponential(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut point, mut value) = (Self::default(), ExponentialPoint::default());
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => point.attributes.add(&field, before, reader.rest()),
                2 => point.start_unix_nano = field.fixed64("start_time_unix_nano")?,
                3 => point.time_unix_nano = field.fixed64("time_unix_nano")?,
                4 => value.count = field.fixed64("count")?,
                5 => value.sum = Some(double(&field, "sum")?),
                6 => value.scale = sint32(&field, "scale")?,
                7 => value.zero_count = field.fixed64("zero_count")?,
                8 => {
                    value.positive.add(&field, before, reader.rest());
                    merge_offset(&mut value.positive_offset, field.bytes("positive")?)?;
                }
                9 => {
                    value.negative.add(&field, before, reader.rest());
                    merge_offset(&mut value.negative_offset, field.bytes("negative")?)?;
                }
                10 => point.flags = field.uint32("flags")?,
                11 => point.exemplars.add(&field, before, reader.rest()),
                12 => value.min = Some(double(&field, "min")?),
                13 => value.max = Some(double(&field, "max")?),
                14 => value.zero_threshold = double(&field, "zero_threshold")?,
                _ => {}
            }
            before = reader.rest();
        }
        point.value = PointValue::Exponential(value);
        Ok(point)
    }

    fn summary(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut point, mut value) = (Self::default(), SummaryPoint::default());
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => point.start_unix_nano = field.fixed64("start_time_unix_nano")?,
                3 => point.time_unix_nano = field.fixed64("time_unix_nano")?,
                4 => value.count = field.fixed64("count")?,
                5 => value.sum = double(&field, "sum")?,
                6 => value.quantiles.add(&field, before, reader.rest()),
                7 => point.attributes.add(&field, before, reader.rest()),
                8 => point.flags = field.uint32("flags")?,
                _ => {}
            }
            before = reader.rest();
        }
        point.value = PointValue::Summary(value);
        Ok(point)
    }

    /// Whether the sender says that there is no value at this time.
    #[must_use]
    pub const fn has_no_recorded_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    /// Iterates over the exemplars.
    pub fn exemplars(&self) -> impl Iterator<Item = Exemplar> + Clone + use<'a> {
        let encoded = self.exemplars.encoded();
        encoded.map_while(|bytes| Exemplar::parse(bytes).ok())
    }
}

fn merge_offset(offset: &mut i32, buckets: &[u8]) -> Result<(), DecodeError> {
    let mut reader = fields(buckets);
    while let Some(field) = reader.next_field()? {
        if field.number == 1 {
            *offset = sint32(&field, "offset")?;
        }
    }
    Ok(())
}

impl<'a> HistogramPoint<'a> {
    /// How many measurements each bucket has; one more than there are bounds.
    pub fn bucket_counts(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        self.bucket_counts.iter()
    }

    /// Between which values the buckets lie.
    pub fn bounds(&self) -> impl Iterator<Item = f64> + Clone + use<'a> {
        self.bounds.iter().map(f64::from_bits)
    }
}

impl<'a> ExponentialPoint<'a> {
    /// How many measurements each bucket above zero has.
    pub fn positive(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let parts = self.positive.encoded();
        parts.flat_map(|part| Varints::new(part, 2).iter())
    }

    /// How many measurements each bucket below zero has.
    pub fn negative(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let parts = self.negative.encoded();
        parts.flat_map(|part| Varints::new(part, 2).iter())
    }
}

impl<'a> SummaryPoint<'a> {
    /// Quantiles, 0 to 1, and their values.
    pub fn quantiles(&self) -> impl Iterator<Item = (f64, f64)> + Clone + use<'a> {
        self.quantiles.encoded().map(|pair| {
            let (mut quantile, mut value) = (0.0, 0.0);
            for field in fields(pair).map_while(Result::ok) {
                match field.number {
                    1 => quantile = double(&field, "quantile").unwrap_or_default(),
                    2 => value = double(&field, "value").unwrap_or_default(),
                    _ => {}
                }
            }
            (quantile, value)
        })
    }
}

impl Exemplar {
    fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut exemplar = Self {
            time_unix_nano: 0,
            value: NumberPoint::Absent,
            trace_id: None,
            span_id: None,
        };
        let mut reader = fields(bytes);
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => exemplar.time_unix_nano = field.fixed64("time_unix_nano")?,
                3 => exemplar.value = NumberPoint::Double(double(&field, "as_double")?),
                4 => exemplar.span_id = SpanId::from_bytes(field.bytes("span_id")?),
                5 => exemplar.trace_id = TraceId::from_bytes(field.bytes("trace_id")?),
                6 => exemplar.value = NumberPoint::Int(field.fixed64("as_int")?.cast_signed()),
                _ => {}
            }
        }
        Ok(exemplar)
    }
}
