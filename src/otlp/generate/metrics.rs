//! Arbitrary metrics.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, number_data_point,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::{attributes, double, id, number, resource, scope, small_enum, text};

fn exemplar() -> BoxedStrategy<Exemplar> {
    let value = prop_oneof![
        double().prop_map(exemplar::Value::AsDouble),
        number().prop_map(|it| exemplar::Value::AsInt(it.cast_signed())),
    ];
    (attributes(), number(), of(value), id(16), id(8))
        .prop_map(
            |(filtered_attributes, time_unix_nano, value, trace_id, span_id)| Exemplar {
                filtered_attributes,
                time_unix_nano,
                span_id,
                trace_id,
                value,
            },
        )
        .boxed()
}

fn flags() -> BoxedStrategy<u32> {
    prop_oneof![3 => Just(0), 1 => any::<u32>()].boxed()
}

fn number_point() -> BoxedStrategy<NumberDataPoint> {
    let value = prop_oneof![
        double().prop_map(number_data_point::Value::AsDouble),
        number().prop_map(|it| number_data_point::Value::AsInt(it.cast_signed())),
    ];
    let parts = (attributes(), vec(exemplar(), 0..2), flags());
    (parts, number(), number(), of(value))
        .prop_map(|(parts, start, time, value)| NumberDataPoint {
            attributes: parts.0,
            start_time_unix_nano: start,
            time_unix_nano: time,
            exemplars: parts.1,
            flags: parts.2,
            value,
        })
        .boxed()
}

fn bounds() -> BoxedStrategy<(Vec<f64>, Vec<u64>)> {
    prop_oneof![
        2 => Just((vec![1.0, 2.5], vec![1, 2, 3])),
        1 => (vec(double(), 0..4), vec(number(), 0..4)),
    ]
    .boxed()
}

fn histogram_point() -> BoxedStrategy<HistogramDataPoint> {
    let parts = (attributes(), vec(exemplar(), 0..2), flags());
    let totals = (number(), of(double()), of(double()), of(double()));
    (parts, number(), number(), totals, bounds())
        .prop_map(|(parts, start, time, totals, buckets)| HistogramDataPoint {
            attributes: parts.0,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count: totals.0,
            sum: totals.1,
            bucket_counts: buckets.1,
            explicit_bounds: buckets.0,
            exemplars: parts.1,
            flags: parts.2,
            min: totals.2,
            max: totals.3,
        })
        .boxed()
}

fn buckets() -> BoxedStrategy<Buckets> {
    (small_enum(), vec(number(), 0..4))
        .prop_map(|(offset, bucket_counts)| Buckets {
            offset,
            bucket_counts,
        })
        .boxed()
}

fn exponential_point() -> BoxedStrategy<ExponentialHistogramDataPoint> {
    let parts = (attributes(), vec(exemplar(), 0..2), flags());
    let totals = (number(), of(double()), of(double()), of(double()));
    let zero = (number(), double());
    let buckets = (small_enum(), of(buckets()), of(buckets()));
    (parts, number(), number(), totals, zero, buckets)
        .prop_map(
            |(parts, start, time, totals, zero, buckets)| ExponentialHistogramDataPoint {
                attributes: parts.0,
                start_time_unix_nano: start,
                time_unix_nano: time,
                count: totals.0,
                sum: totals.1,
                scale: buckets.0,
                zero_count: zero.0,
                positive: buckets.1,
                negative: buckets.2,
                flags: parts.2,
                exemplars: parts.1,
                min: totals.2,
                max: totals.3,
                zero_threshold: zero.1,
            },
        )
        .boxed()
}

fn summary_point() -> BoxedStrategy<SummaryDataPoint> {
    let pair =
        (double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (
        attributes(),
        number(),
        number(),
        number(),
        double(),
        vec(pair, 0..3),
        flags(),
    )
        .prop_map(
            |(attributes, start, time, count, sum, quantile_values, flags)| SummaryDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                count,
                sum,
                quantile_values,
                flags,
            },
        )
        .boxed()
}

fn data() -> BoxedStrategy<Data> {
    let temporality = || prop_oneof![3 => 0..3_i32, 1 => any::<i32>()];
    prop_oneof![
        vec(number_point(), 0..4).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 0..4), temporality(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic,
            })
        ),
        (vec(histogram_point(), 0..4), temporality()).prop_map(
            |(data_points, aggregation_temporality)| Data::Histogram(Histogram {
                data_points,
                aggregation_temporality,
            })
        ),
        (vec(exponential_point(), 0..4), temporality()).prop_map(
            |(data_points, aggregation_temporality)| {
                Data::ExponentialHistogram(ExponentialHistogram {
                    data_points,
                    aggregation_temporality,
                })
            }
        ),
        vec(summary_point(), 0..4).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ]
    .boxed()
}

fn metric() -> BoxedStrategy<Metric> {
    (text(), text(), text(), of(data()), attributes())
        .prop_map(|(name, description, unit, data, metadata)| Metric {
            name,
            description,
            unit,
            metadata,
            data,
        })
        .boxed()
}

/// A request of metrics of any content, valid or not.
pub(crate) fn metric_request() -> BoxedStrategy<ExportMetricsServiceRequest> {
    let scope_metrics =
        (of(scope()), vec(metric(), 0..3), text()).prop_map(|(scope, metrics, schema_url)| {
            ScopeMetrics {
                scope,
                metrics,
                schema_url,
            }
        });
    let resource_metrics = (of(resource()), vec(scope_metrics, 0..3), text()).prop_map(
        |(resource, scope_metrics, schema_url)| ResourceMetrics {
            resource,
            scope_metrics,
            schema_url,
        },
    );
    vec(resource_metrics, 0..3)
        .prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
        .boxed()
}
