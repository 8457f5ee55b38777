//! Metrics, read in place.

mod invalid;
mod numbers;
mod point;

use super::error::DecodeError;
use super::view::messages;
use super::wire::fields;
use crate::model::metric::MetricKind;

pub use invalid::{BUCKETS_MAX, InvalidPoint, RejectedPoint};
pub use point::{
    Exemplar, ExponentialPoint, HistogramPoint, NumberPoint, Point, PointValue, SummaryPoint,
};

/// The kind of the data in a field of a metric.
pub(super) const fn of_field(number: u32) -> Option<MetricKind> {
    match number {
        5 => Some(MetricKind::Gauge),
        7 => Some(MetricKind::Sum),
        9 => Some(MetricKind::Histogram),
        10 => Some(MetricKind::Exponential),
        11 => Some(MetricKind::Summary),
        _ => None,
    }
}

const fn field_of(kind: MetricKind) -> u32 {
    match kind {
        MetricKind::Gauge => 5,
        MetricKind::Sum => 7,
        MetricKind::Histogram => 9,
        MetricKind::Exponential => 10,
        MetricKind::Summary => 11,
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metric<'a> {
    /// Name.
    pub name: &'a str,
    /// What it is, for people.
    pub description: &'a str,
    /// Unit.
    pub unit: &'a str,
    /// What it is; absent when it has no data.
    pub kind: Option<MetricKind>,
    /// Aggregation temporality as sent, known or not: 1 delta, 2 cumulative.
    pub temporality: i32,
    /// Whether the sum never falls.
    pub is_monotonic: bool,
    /// From the first part of its data on.
    data: &'a [u8],
}

impl<'a> Metric<'a> {
    /// Reads an encoded `Metric` in one pass over its fields. Its data is what came last; parts of it
    /// that follow each other are one.
    ///
    /// # Errors
    /// The bytes are not such a message, as far as they had to be read: points are not looked into.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut metric = Self::default();
        let mut reader = fields(bytes);
        let mut before = reader.rest();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => metric.name = field.text("name")?,
                2 => metric.description = field.text("description")?,
                3 => metric.unit = field.text("unit")?,
                number => {
                    if let Some(kind) = of_field(number) {
                        metric.take_data(kind, before, field.bytes("data")?)?;
                    }
                }
            }
            before = reader.rest();
        }
        Ok(metric)
    }

    fn take_data(
        &mut self,
        kind: MetricKind,
        from: &'a [u8],
        part: &'a [u8],
    ) -> Result<(), DecodeError> {
        if self.kind != Some(kind) {
            self.kind = Some(kind);
            self.temporality = 0;
            self.is_monotonic = false;
            self.data = from;
        }
        if matches!(kind, MetricKind::Gauge | MetricKind::Summary) {
            return Ok(());
        }
        let mut reader = fields(part);
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => self.temporality = field.int32("aggregation_temporality")?,
                3 if kind == MetricKind::Sum => {
                    self.is_monotonic = field.varint("is_monotonic")? != 0;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Iterates over the encoded points; [`Point::parse`] reads them.
    pub fn points(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let data = self.data;
        let number = self.kind.map_or(0, field_of);
        let parts = messages(data, number);
        parts.flat_map(|part| messages(part, 1))
    }
}
