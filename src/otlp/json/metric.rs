//! The messages of a metric export and the names of their fields in JSON.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge,
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde::de::MapAccess;

use super::Memory;
use super::message::{Codec, List, Member, Message, Object, ignore, message, read, set, set_some};
use super::scalar::{Boolean, Double, HexId, Integer, Named, Text};

message!(ExportMetricsServiceRequest {
    b"resourceMetrics" => resource_metrics: set List<Object<ResourceMetrics>>,
});

message!(ResourceMetrics {
    b"resource" => resource: set_some Object<Resource>,
    b"scopeMetrics" => scope_metrics: set List<Object<ScopeMetrics>>,
    b"schemaUrl" => schema_url: set Text,
});

message!(ScopeMetrics {
    b"scope" => scope: set_some Object<InstrumentationScope>,
    b"metrics" => metrics: set List<Object<Metric>>,
    b"schemaUrl" => schema_url: set Text,
});

/// Replaces the one of several fields that a message has.
fn set_one<'de, C: Codec, A: MapAccess<'de>, O>(
    field: &mut Option<O>,
    map: &mut A,
    memory: &Memory,
    variant: fn(C::Value) -> O,
) -> Result<(), A::Error> {
    if let Some(value) = read::<C, A>(map, memory)? {
        *field = Some(variant(value));
    }
    Ok(())
}

impl Message for Metric {
    fn member<'de, A: MapAccess<'de>>(name: &[u8]) -> Member<'de, Self, A> {
        match name {
            b"name" => |it, map, memory| set::<Text, A>(&mut it.name, map, memory),
            b"description" => |it, map, memory| set::<Text, A>(&mut it.description, map, memory),
            b"unit" => |it, map, memory| set::<Text, A>(&mut it.unit, map, memory),
            b"metadata" => {
                |it, map, memory| set::<List<Object<KeyValue>>, A>(&mut it.metadata, map, memory)
            }
            b"gauge" => |it, map, memory| {
                set_one::<Object<Gauge>, A, _>(&mut it.data, map, memory, Data::Gauge)
            },
            b"sum" => {
                |it, map, memory| set_one::<Object<Sum>, A, _>(&mut it.data, map, memory, Data::Sum)
            }
            b"histogram" => |it, map, memory| {
                set_one::<Object<Histogram>, A, _>(&mut it.data, map, memory, Data::Histogram)
            },
            b"exponentialHistogram" => |it, map, memory| {
                let variant = Data::ExponentialHistogram;
                set_one::<Object<ExponentialHistogram>, A, _>(&mut it.data, map, memory, variant)
            },
            b"summary" => |it, map, memory| {
                set_one::<Object<Summary>, A, _>(&mut it.data, map, memory, Data::Summary)
            },
            _ => ignore,
        }
    }
}

message!(Gauge {
    b"dataPoints" => data_points: set List<Object<NumberDataPoint>>,
});

message!(Sum {
    b"dataPoints" => data_points: set List<Object<NumberDataPoint>>,
    b"aggregationTemporality" => aggregation_temporality: set Named<AggregationTemporality>,
    b"isMonotonic" => is_monotonic: set Boolean,
});

message!(Histogram {
    b"dataPoints" => data_points: set List<Object<HistogramDataPoint>>,
    b"aggregationTemporality" => aggregation_temporality: set Named<AggregationTemporality>,
});

message!(ExponentialHistogram {
    b"dataPoints" => data_points: set List<Object<ExponentialHistogramDataPoint>>,
    b"aggregationTemporality" => aggregation_temporality: set Named<AggregationTemporality>,
});

message!(Summary {
    b"dataPoints" => data_points: set List<Object<SummaryDataPoint>>,
});

impl Message for NumberDataPoint {
    fn member<'de, A: MapAccess<'de>>(name: &[u8]) -> Member<'de, Self, A> {
        use number_data_point::Value;
        match name {
            b"attributes" => {
                |it, map, memory| set::<List<Object<KeyValue>>, A>(&mut it.attributes, map, memory)
            }
            b"startTimeUnixNano" => {
                |it, map, memory| set::<Integer<u64>, A>(&mut it.start_time_unix_nano, map, memory)
            }
            b"timeUnixNano" => {
                |it, map, memory| set::<Integer<u64>, A>(&mut it.time_unix_nano, map, memory)
            }
            b"asDouble" => |it, map, memory| {
                set_one::<Double, A, _>(&mut it.value, map, memory, Value::AsDouble)
            },
            b"asInt" => |it, map, memory| {
                set_one::<Integer<i64>, A, _>(&mut it.value, map, memory, Value::AsInt)
            },
            b"exemplars" => {
                |it, map, memory| set::<List<Object<Exemplar>>, A>(&mut it.exemplars, map, memory)
            }
            b"flags" => |it, map, memory| set::<Integer<u32>, A>(&mut it.flags, map, memory),
            _ => ignore,
        }
    }
}

message!(HistogramDataPoint {
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"startTimeUnixNano" => start_time_unix_nano: set Integer<u64>,
    b"timeUnixNano" => time_unix_nano: set Integer<u64>,
    b"count" => count: set Integer<u64>,
    b"sum" => sum: set_some Double,
    b"bucketCounts" => bucket_counts: set List<Integer<u64>>,
    b"explicitBounds" => explicit_bounds: set List<Double>,
    b"exemplars" => exemplars: set List<Object<Exemplar>>,
    b"flags" => flags: set Integer<u32>,
    b"min" => min: set_some Double,
    b"max" => max: set_some Double,
});

message!(ExponentialHistogramDataPoint {
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"startTimeUnixNano" => start_time_unix_nano: set Integer<u64>,
    b"timeUnixNano" => time_unix_nano: set Integer<u64>,
    b"count" => count: set Integer<u64>,
    b"sum" => sum: set_some Double,
    b"scale" => scale: set Integer<i32>,
    b"zeroCount" => zero_count: set Integer<u64>,
    b"positive" => positive: set_some Object<Buckets>,
    b"negative" => negative: set_some Object<Buckets>,
    b"flags" => flags: set Integer<u32>,
    b"exemplars" => exemplars: set List<Object<Exemplar>>,
    b"min" => min: set_some Double,
    b"max" => max: set_some Double,
    b"zeroThreshold" => zero_threshold: set Double,
});

message!(Buckets {
    b"offset" => offset: set Integer<i32>,
    b"bucketCounts" => bucket_counts: set List<Integer<u64>>,
});

message!(SummaryDataPoint {
    b"attributes" => attributes: set List<Object<KeyValue>>,
    b"startTimeUnixNano" => start_time_unix_nano: set Integer<u64>,
    b"timeUnixNano" => time_unix_nano: set Integer<u64>,
    b"count" => count: set Integer<u64>,
    b"sum" => sum: set Double,
    b"quantileValues" => quantile_values: set List<Object<ValueAtQuantile>>,
    b"flags" => flags: set Integer<u32>,
});

message!(ValueAtQuantile {
    b"quantile" => quantile: set Double,
    b"value" => value: set Double,
});

impl Message for Exemplar {
    fn member<'de, A: MapAccess<'de>>(name: &[u8]) -> Member<'de, Self, A> {
        use exemplar::Value;
        match name {
            b"filteredAttributes" => |it, map, memory| {
                set::<List<Object<KeyValue>>, A>(&mut it.filtered_attributes, map, memory)
            },
            b"timeUnixNano" => {
                |it, map, memory| set::<Integer<u64>, A>(&mut it.time_unix_nano, map, memory)
            }
            b"asDouble" => |it, map, memory| {
                set_one::<Double, A, _>(&mut it.value, map, memory, Value::AsDouble)
            },
            b"asInt" => |it, map, memory| {
                set_one::<Integer<i64>, A, _>(&mut it.value, map, memory, Value::AsInt)
            },
            b"spanId" => |it, map, memory| set::<HexId, A>(&mut it.span_id, map, memory),
            b"traceId" => |it, map, memory| set::<HexId, A>(&mut it.trace_id, map, memory),
            _ => ignore,
        }
    }
}
