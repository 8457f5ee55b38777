//! Rows of data points.
//!
//! A point that was rejected when it came is skipped by the same judgement here. What limits cut from
//! spans is not cut from points: a series without some of its attributes would be another one.

use std::collections::HashMap;

use super::{Building, Envelope, origin};
use crate::model::ProjectId;
use crate::model::metric::{self, EXEMPLARS_MAX, SeriesId, Temporality, Totals, Value};
use crate::otlp::protobuf::{
    ExponentialPoint, HistogramPoint, Metric, NumberPoint, Point, PointValue, Request, Scope,
};
use crate::queue::Record;
use crate::storage::metrics::identity::{Identity, Instrument};
use crate::storage::{MetricRows, PointRow, SeriesRow};

/// Where series, and the resource and scope at hand, are among the rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Places {
    series: HashMap<(ProjectId, SeriesId), usize>,
    resource: Option<usize>,
    scope: Option<usize>,
}

/// A metric of a scope.
struct Of<'e, 'a> {
    envelope: Envelope<'e, 'a>,
    metric: Metric<'a>,
    instrument: Instrument<'a>,
    identity: Identity,
}

impl<'a, E> Building<'a, '_, E> {
    /// Adds the data points of a record of the log.
    pub(super) fn add_metrics(&mut self, record: &'a Record) -> Result<(), E> {
        for resource in Request::new(&record.payload).resource_spans() {
            let of_resource = Identity::of_resource(&resource.resource);
            self.metric_places.resource = None;
            for scope in resource.scope_spans() {
                let named = Scope::parse(&scope.scope).unwrap_or_default();
                let of_scope = of_resource.scope(&named);
                self.metric_places.scope = None;
                for message in scope.spans() {
                    let Some((metric, instrument)) = instrument(message) else {
                        continue;
                    };
                    let of = Of {
                        envelope: Envelope {
                            record,
                            resource: &resource,
                            scope: &scope,
                            scope_digest: 0,
                            service: None,
                        },
                        metric,
                        instrument,
                        identity: of_scope.instrument(&instrument),
                    };
                    for point in metric.points() {
                        self.add_point(&of, point)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_point(&mut self, of: &Of<'_, 'a>, message: &'a [u8]) -> Result<(), E> {
        let Ok(point) = Point::parse(&of.metric, message) else {
            return Ok(());
        };
        if point.check().is_err() {
            return Ok(());
        }
        if self.batch.rows() >= self.rows_max {
            self.hand_on()?;
        }
        let rows = &mut self.batch.metrics;
        rows.series_max = self.limits.max_metric_series;
        let series = place(rows, &mut self.metric_places, of, &point);
        rows.points.push(PointRow {
            series,
            received_unix_nano: of.envelope.record.received_unix_nano,
            point: owned(&point),
        });
        Ok(())
    }
}

fn instrument(message: &[u8]) -> Option<(Metric<'_>, Instrument<'_>)> {
    let metric = Metric::parse(message).ok()?;
    metric.check().ok()?;
    let instrument = Instrument {
        name: metric.name,
        unit: metric.unit,
        kind: metric.kind?,
        temporality: Temporality::from_number(metric.temporality.into()),
        is_monotonic: metric.is_monotonic,
    };
    Some((metric, instrument))
}

/// Where the series of a point is among the rows; adds it if it is not.
fn place<'a>(
    rows: &mut MetricRows<'a>,
    places: &mut Places,
    of: &Of<'_, 'a>,
    point: &Point<'a>,
) -> usize {
    let Envelope {
        record,
        resource,
        scope,
        ..
    } = of.envelope;
    let id = of.identity.series(&point.attributes);
    let owned = (record.project, id);
    let received_unix_nano = record.received_unix_nano;
    if let Some(place) = places.series.get(&owned) {
        if let Some(series) = rows.series.get_mut(*place) {
            series.received_unix_nano = received_unix_nano.max(series.received_unix_nano);
        }
        return *place;
    }
    let resource = *places.resource.get_or_insert_with(|| {
        rows.resources.push(origin::resource_row(record, resource));
        rows.resources.len() - 1
    });
    let scope = *places.scope.get_or_insert_with(|| {
        rows.scopes.push(origin::scope_row(record, scope));
        rows.scopes.len() - 1
    });
    rows.series.push(SeriesRow {
        project: record.project,
        id,
        instrument: of.instrument,
        description: of.metric.description,
        attributes: point.attributes,
        resource,
        scope,
        received_unix_nano,
    });
    let place = rows.series.len() - 1;
    places.series.insert(owned, place);
    place
}

fn owned(point: &Point<'_>) -> metric::Point {
    let value = if point.has_no_recorded_value() {
        Value::Absent
    } else {
        value(&point.value)
    };
    let exemplars = point.exemplars().filter_map(|exemplar| {
        Some(metric::Exemplar {
            time_unix_nano: exemplar.time_unix_nano,
            value: match exemplar.value {
                NumberPoint::Absent => return None,
                NumberPoint::Int(value) => value as f64,
                NumberPoint::Double(value) => value,
            },
            trace_id: exemplar.trace_id?,
            span_id: exemplar.span_id,
        })
    });
    metric::Point {
        time_unix_nano: point.time_unix_nano,
        start_unix_nano: point.start_unix_nano,
        value,
        exemplars: exemplars.take(EXEMPLARS_MAX).collect(),
    }
}

fn value(value: &PointValue<'_>) -> Value {
    match value {
        PointValue::Number(NumberPoint::Absent) => Value::Absent,
        PointValue::Number(NumberPoint::Int(value)) => Value::Int(*value),
        PointValue::Number(NumberPoint::Double(value)) => Value::Double(*value),
        PointValue::Histogram(point) => Value::Histogram(Box::new(histogram(point))),
        PointValue::Exponential(point) => Value::Exponential(Box::new(exponential(point))),
        PointValue::Summary(point) => Value::Summary(Box::new(metric::Summary {
            count: point.count,
            sum: point.sum,
            quantiles: point.quantiles().collect(),
        })),
    }
}

fn histogram(point: &HistogramPoint<'_>) -> metric::Histogram {
    metric::Histogram {
        totals: Totals {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
        },
        bounds: point.bounds().collect(),
        counts: point.bucket_counts().collect(),
    }
}

fn exponential(point: &ExponentialPoint<'_>) -> metric::Exponential {
    metric::Exponential {
        totals: Totals {
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
        },
        scale: point.scale,
        zero_count: point.zero_count,
        zero_threshold: point.zero_threshold,
        positive: metric::Buckets {
            offset: point.positive_offset,
            counts: point.positive().collect(),
        },
        negative: metric::Buckets {
            offset: point.negative_offset,
            counts: point.negative().collect(),
        },
    }
}

#[cfg(test)]
mod tests;
