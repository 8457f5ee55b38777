//! Metric exports against the generated decoder.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{exemplar, number_data_point};

use super::{attributes, check, cook, generate, normalise_attributes, soup, vec, wrap};
use crate::model::metric::MetricKind;
use crate::model::{SpanId, TraceId};
use crate::otlp::Signal;
use crate::otlp::protobuf::{Metric, NumberPoint, Point, PointValue, Request, without_empty_keys};
use proptest::prelude::*;
use prost::Message as _;

const METRIC: [u32; 3] = [1, 2, 2];

/// The points of the views, in the words of the generated messages.
fn points(bytes: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    for resource in Request::new(bytes).resource_spans() {
        for scope in resource.scope_spans() {
            for message in scope.spans() {
                let metric = Metric::parse(message).unwrap();
                let head = (metric.name, metric.unit, metric.description);
                for point in metric.points() {
                    let point = Point::parse(&metric, point).unwrap();
                    told.push(format!("{head:?} {}", tell(&metric, &point)));
                }
            }
        }
    }
    told
}

fn tell(metric: &Metric<'_>, point: &Point<'_>) -> String {
    let kind = metric.kind.unwrap();
    let of_all = !matches!(kind, MetricKind::Gauge | MetricKind::Summary);
    let of = (
        kind,
        of_all.then_some(metric.temporality),
        metric.is_monotonic,
    );
    let attributes = attributes(&point.attributes);
    let times = (point.start_unix_nano, point.time_unix_nano, point.flags);
    let exemplars: Vec<_> = point.exemplars().collect();
    let value = match &point.value {
        PointValue::Number(value) => format!("{value:?}"),
        PointValue::Histogram(it) => format!(
            "{:?}",
            (
                it.count,
                (it.sum, it.min, it.max),
                it.bucket_counts().collect::<Vec<_>>(),
                it.bounds().collect::<Vec<_>>()
            )
        ),
        PointValue::Exponential(it) => format!(
            "{:?}",
            (
                it.count,
                (it.sum, it.min, it.max),
                (it.scale, it.zero_count, it.zero_threshold),
                (it.positive_offset, it.positive().collect::<Vec<_>>()),
                (it.negative_offset, it.negative().collect::<Vec<_>>())
            )
        ),
        PointValue::Summary(it) => {
            format!(
                "{:?}",
                (it.count, it.sum, it.quantiles().collect::<Vec<_>>())
            )
        }
    };
    format!("{of:?} {times:?} {value} {attributes:?} {exemplars:?}")
}

type Parts<'m> = (
    String,
    (u64, u64, u32),
    Vec<super::common::KeyValue>,
    &'m [proto::Exemplar],
);

/// The same of the generated messages.
fn expected(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|it| &it.scope_metrics);
    let metrics = scopes.flat_map(|it| &it.metrics);
    metrics
        .flat_map(|metric| {
            let head = (&*metric.name, &*metric.unit, &*metric.description);
            let (of, parts) = parts(metric);
            parts
                .into_iter()
                .map(move |(value, times, mut attributes, exemplars)| {
                    normalise_attributes(&mut attributes);
                    let exemplars: Vec<_> = exemplars.iter().map(exemplar_of).collect();
                    format!("{head:?} {of} {times:?} {value} {attributes:?} {exemplars:?}")
                })
        })
        .collect()
}

fn exemplar_of(it: &proto::Exemplar) -> crate::otlp::protobuf::Exemplar {
    crate::otlp::protobuf::Exemplar {
        time_unix_nano: it.time_unix_nano,
        value: match it.value {
            None => NumberPoint::Absent,
            Some(exemplar::Value::AsDouble(value)) => NumberPoint::Double(value),
            Some(exemplar::Value::AsInt(value)) => NumberPoint::Int(value),
        },
        trace_id: TraceId::from_bytes(&it.trace_id),
        span_id: SpanId::from_bytes(&it.span_id),
    }
}

fn number_parts(points: &[proto::NumberDataPoint]) -> Vec<Parts<'_>> {
    let tell = |it: &number_data_point::Value| match it {
        number_data_point::Value::AsDouble(value) => NumberPoint::Double(*value),
        number_data_point::Value::AsInt(value) => NumberPoint::Int(*value),
    };
    let each = points.iter().map(|it| {
        let value = it.value.as_ref().map_or(NumberPoint::Absent, tell);
        (
            format!("{value:?}"),
            (it.start_time_unix_nano, it.time_unix_nano, it.flags),
            it.attributes.clone(),
            it.exemplars.as_slice(),
        )
    });
    each.collect()
}

fn exponential_parts(points: &[proto::ExponentialHistogramDataPoint]) -> Vec<Parts<'_>> {
    let each = points.iter().map(|it| {
        let buckets = |it: &Option<Buckets>| {
            it.clone()
                .map_or((0, Vec::new()), |it| (it.offset, it.bucket_counts))
        };
        let value = (
            it.count,
            (it.sum, it.min, it.max),
            (it.scale, it.zero_count, it.zero_threshold),
            buckets(&it.positive),
            buckets(&it.negative),
        );
        (
            format!("{value:?}"),
            (it.start_time_unix_nano, it.time_unix_nano, it.flags),
            it.attributes.clone(),
            it.exemplars.as_slice(),
        )
    });
    each.collect()
}

fn parts(metric: &proto::Metric) -> (String, Vec<Parts<'_>>) {
    let of = |kind: MetricKind, temporality: Option<i32>, is_monotonic: bool| {
        format!("{:?}", (kind, temporality, is_monotonic))
    };
    match metric.data.as_ref() {
        None => (String::new(), Vec::new()),
        Some(Data::Gauge(it)) => (
            of(MetricKind::Gauge, None, false),
            number_parts(&it.data_points),
        ),
        Some(Data::Sum(it)) => (
            of(
                MetricKind::Sum,
                Some(it.aggregation_temporality),
                it.is_monotonic,
            ),
            number_parts(&it.data_points),
        ),
        Some(Data::Histogram(it)) => {
            let each = it.data_points.iter().map(|it| {
                let totals = (it.sum, it.min, it.max);
                let value = (it.count, totals, &it.bucket_counts, &it.explicit_bounds);
                (
                    format!("{value:?}"),
                    (it.start_time_unix_nano, it.time_unix_nano, it.flags),
                    it.attributes.clone(),
                    it.exemplars.as_slice(),
                )
            });
            let temporality = Some(it.aggregation_temporality);
            (
                of(MetricKind::Histogram, temporality, false),
                each.collect(),
            )
        }
        Some(Data::ExponentialHistogram(it)) => {
            let temporality = Some(it.aggregation_temporality);
            let of = of(MetricKind::Exponential, temporality, false);
            (of, exponential_parts(&it.data_points))
        }
        Some(Data::Summary(it)) => {
            let each = it.data_points.iter().map(|it| {
                let quantiles = it.quantile_values.iter().map(|it| (it.quantile, it.value));
                let value = (it.count, it.sum, quantiles.collect::<Vec<_>>());
                (
                    format!("{value:?}"),
                    (it.start_time_unix_nano, it.time_unix_nano, it.flags),
                    it.attributes.clone(),
                    &[][..],
                )
            });
            (of(MetricKind::Summary, None, false), each.collect())
        }
    }
}

fn agrees_with_the_generated_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    let decoded = ExportMetricsServiceRequest::decode(bytes);
    let checked = check(Signal::Metrics, bytes);
    prop_assert_eq!(
        checked.is_ok(),
        decoded.is_ok(),
        "{:?} / {:?}",
        checked,
        decoded
    );
    match (checked, decoded) {
        (Ok(checked), Ok(decoded)) => {
            let told = points(bytes);
            prop_assert_eq!(checked.items, told.len() as u64);
            prop_assert_eq!(checked.first_point.is_some(), checked.rejected > 0);
            prop_assert!(checked.rejected <= checked.items);
            prop_assert_eq!(told, expected(&decoded));
        }
        (Err(error), _) => prop_assert!(error.to_string().len() < 250, "{}", error),
        _ => {}
    }
    Ok(())
}

proptest! {
    // Random bytes; requests of any content, damaged or not; fields in any order, repeated, unknown,
    // wrongly typed; data in parts, and of several kinds.
    // Guarantees the same verdict and the same content as the generated decoder.
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..64)) {
        agrees_with_the_generated_decoder(&bytes)?;
        agrees_with_the_generated_decoder(&wrap(&METRIC, &bytes))?;
    }

    #[test]
    fn any_request(
        request in generate::metric_request(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (index, byte, kind) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => _ = bytes.remove(at),
                _ => bytes.truncate(at),
            }
        }
        agrees_with_the_generated_decoder(&bytes)?;
    }

    #[test]
    fn any_fields(fields in vec(soup(6), 0..8), level in 0..9_usize) {
        let levels = [
            &[][..], &[1], &[1, 2], &METRIC, &[1, 2, 2, 5], &[1, 2, 2, 7, 1], &[1, 2, 2, 9, 1],
            &[1, 2, 2, 10, 1], &[1, 2, 2, 11, 1],
        ];
        agrees_with_the_generated_decoder(&wrap(levels[level], &cook(&fields.concat())))?;
    }

    // Guarantees: metrics of which parts follow each other are merged, and of several kinds the last
    // counts.
    #[test]
    fn data_in_parts_is_merged(requests in vec(generate::metric_request(), 1..4)) {
        let metrics = requests.iter().flat_map(|it| &it.resource_metrics);
        let metrics = metrics.flat_map(|it| &it.scope_metrics).flat_map(|it| &it.metrics);
        let bytes: Vec<u8> = metrics.flat_map(prost::Message::encode_to_vec).collect();
        agrees_with_the_generated_decoder(&wrap(&METRIC, &bytes))?;
    }

    // Guarantees: views of bytes that were never checked end without a panic.
    #[test]
    fn unchecked_bytes_end_without_panic(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(metric) = Metric::parse(&bytes) {
            metric.points().count();
            let _judged = metric.judge(Point::parse(&metric, &bytes));
        }
        for kind in MetricKind::ALL {
            let mut metric = Metric::default();
            metric.kind = Some(kind);
            if let Ok(point) = Point::parse(&metric, &bytes) {
                tell(&metric, &point);
                let _judged = point.check();
            }
        }
    }

    // Guarantees: no attribute and no pair without a key is left, at any level.
    #[test]
    fn no_empty_key_is_left(request in generate::metric_request()) {
        let bytes = request.encode_to_vec();
        let before = check(Signal::Metrics, &bytes).unwrap();
        let rewritten = without_empty_keys(Signal::Metrics, &bytes).unwrap();
        prop_assert_eq!(rewritten.is_some(), before.empty_keys > 0);
        if let Some(rewritten) = rewritten {
            let after = check(Signal::Metrics, &rewritten).unwrap();
            prop_assert_eq!((after.items, after.empty_keys), (before.items, 0));
        }
    }
}
