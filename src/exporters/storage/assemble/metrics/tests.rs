use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

use crate::exporters::storage::assemble::Assembler;
use crate::model::ProjectId;
use crate::model::metric::{MetricKind, Temporality, Value};
use crate::otlp::json::decode_metrics;
use crate::otlp::{Signal, protobuf};
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};

const REQUEST: &[u8] = br#"{"resourceMetrics":[{
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"api"}}]},
    "scopeMetrics":[{"scope":{"name":"meter"},"metrics":[
        {"name":"requests","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
            {"startTimeUnixNano":"5","timeUnixNano":"10","asInt":"7",
             "attributes":[{"key":"a","value":{"stringValue":"x"}},{"key":"b","value":{"intValue":"1"}}]},
            {"startTimeUnixNano":"5","timeUnixNano":"20","asInt":"9",
             "attributes":[{"key":"b","value":{"intValue":"1"}},{"key":"a","value":{"stringValue":"x"}}]},
            {"timeUnixNano":"0","asInt":"9"},
            {"timeUnixNano":"30"},
            {"timeUnixNano":"30","flags":1}
        ]}},
        {"name":"","gauge":{"dataPoints":[{"timeUnixNano":"1","asDouble":1}]}},
        {"name":"untold","histogram":{"dataPoints":[{"timeUnixNano":"1"}]}},
        {"name":"latency","histogram":{"aggregationTemporality":1,"dataPoints":[
            {"timeUnixNano":"10","count":"3","sum":4.5,"bucketCounts":["1","2"],"explicitBounds":[2],
             "exemplars":[{"timeUnixNano":"9","asDouble":1.5,"traceId":"0102030405060708090a0b0c0d0e0f10",
                "spanId":"0102030405060708"},{"timeUnixNano":"9","asDouble":1.5}]},
            {"timeUnixNano":"11","count":"3","bucketCounts":["1","2"],"explicitBounds":[2,3]},
            {"timeUnixNano":"12","count":"3","bucketCounts":["1","2","3"],"explicitBounds":[3,3]}
        ]}}
    ]}]}]}"#;

fn record(request: &ExportMetricsServiceRequest) -> Record {
    Record {
        position: Position(1),
        project: ProjectId::DEFAULT,
        received_unix_nano: 100,
        kind: PayloadKind::OtlpMetrics,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

// Scenario: good and bad points of several metrics; the same attributes in another order.
// Guarantees: what was counted as accepted when it came is what is stored, series by series.
#[test]
fn points_become_rows_unless_they_were_rejected() {
    let request = decode_metrics(REQUEST).unwrap();
    let records = [record(&request)];
    let checked = protobuf::check(Signal::Metrics, &records[0].payload).unwrap();
    assert_eq!((checked.items, checked.rejected), (10, 6));
    let first = checked.first_point.unwrap().to_string();
    assert_eq!(first, "metric \"requests\": time_unix_nano is zero");
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    let rows = &batch.metrics;
    assert_eq!((rows.points.len(), rows.series.len()), (4, 3));
    assert_eq!((rows.resources.len(), rows.scopes.len()), (1, 1));
    assert_eq!(rows.resources[0].service_name, "api");
    let series: Vec<_> = rows.points.iter().map(|it| it.series).collect();
    assert_eq!(series, [0, 0, 1, 2]);
    let requests = &rows.series[0].instrument;
    assert_eq!((requests.name, requests.unit), ("requests", "1"));
    assert_eq!(requests.kind, MetricKind::Sum);
    assert_eq!(requests.temporality, Temporality::Cumulative);
    assert!(requests.is_monotonic);
    assert_eq!(rows.points[0].point.value, Value::Int(7));
    assert_eq!(rows.points[0].point.start_unix_nano, 5);
    assert_eq!(rows.points[2].point.value, Value::Absent);
    let latency = &rows.points[3].point;
    let Value::Histogram(histogram) = &latency.value else {
        panic!("{latency:?}");
    };
    assert_eq!(
        (histogram.counts.as_slice(), histogram.totals.sum),
        (&[1, 2][..], Some(4.5))
    );
    assert_eq!(latency.exemplars.len(), 1);
    assert_eq!(latency.exemplars[0].trace_id.0[15], 16);
    assert_eq!(rows.series_max, 50_000);
}

// Scenario: a request with more points than a slice may have.
// Guarantees: every point is in one slice, with its series.
#[test]
fn slices_have_all_points_with_their_series() {
    let request = decode_metrics(REQUEST).unwrap();
    let records = [record(&request), record(&request)];
    let limits = limits::Config::default();
    let mut names = Vec::new();
    Assembler::new(0, &limits)
        .slices(&records, 3, &mut |slice| {
            let rows = &slice.batch.metrics;
            assert!(rows.points.len() <= 3);
            names.extend(rows.points.iter().map(|point| {
                let series = &rows.series[point.series];
                assert_eq!(rows.resources[series.resource].service_name, "api");
                assert_eq!(rows.scopes[series.scope].name, "meter");
                series.instrument.name.to_owned()
            }));
            Ok::<(), ()>(())
        })
        .unwrap();
    let each = ["requests", "requests", "requests", "latency"];
    assert_eq!(names, [each, each].concat());
}
