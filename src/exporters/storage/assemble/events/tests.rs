//! Identities and columns of log records.

use std::collections::BTreeSet;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord as PbRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::super::Assembler;
use super::*;
use crate::config::ByteSize;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::queue::{PayloadKind, Position};

fn value(text: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(Value::StringValue(text.to_owned())),
    })
}

fn log(body: &str) -> PbRecord {
    PbRecord {
        time_unix_nano: 7,
        body: value(body),
        ..PbRecord::default()
    }
}

fn request(service: &str, log_records: Vec<PbRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![KeyValue {
                    key: "service.name".to_owned(),
                    value: value(service),
                    ..KeyValue::default()
                }],
                ..Resource::default()
            }),
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope::default()),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

fn record(project: u32, position: u64, request: &ExportLogsServiceRequest) -> Record {
    Record {
        position: Position(position),
        project: ProjectId(project),
        received_unix_nano: 100 + position,
        kind: PayloadKind::OtlpLogs,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

fn ids(records: &[Record]) -> Vec<EventId> {
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits).assemble(records);
    batch.events.iter().map(|event| event.id).collect()
}

// Scenario: a request with equal records, sent again later; another project, resource or time.
// Guarantees: equal records of a request are several events, a resend gives the same ids, and
// whatever differs gives others.
#[test]
fn an_event_is_identified_by_what_was_sent() {
    let sent = request("api", vec![log("a"), log("a"), log("b"), log("a")]);
    let first = ids(&[record(1, 1, &sent)]);
    assert_eq!(first.len(), 4);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 4);
    assert!(first.iter().all(|id| id.unix_nano == 7));
    assert_eq!(ids(&[record(1, 9, &sent)]), first);
    let elsewhere = [
        ids(&[record(2, 1, &sent)]),
        ids(&[record(1, 1, &request("web", vec![log("a")]))]),
    ];
    let known: BTreeSet<_> = first.iter().collect();
    assert!(elsewhere.iter().flatten().all(|id| !known.contains(id)));
    let observed = PbRecord {
        time_unix_nano: 0,
        observed_time_unix_nano: u64::MAX,
        ..log("a")
    };
    let times = ids(&[record(1, 1, &request("api", vec![observed]))]);
    assert_eq!(times[0].unix_nano, TIME_MAX);
}

// Scenario: log records in slices of two rows, between them records with spans of none.
// Guarantees: nothing is left out or doubled, equal records of one request keep their ids however it
// is cut, and the checkpoint ends after the last.
#[test]
fn slices_hold_the_same_events() {
    let sent = request(
        "api",
        vec![log("a"), log("a"), log("a"), log("b"), log("c")],
    );
    let records = [record(1, 1, &sent), record(1, 2, &sent)];
    let whole = ids(&records);
    let limits = limits::Config::default();
    let mut seen = Vec::new();
    let mut next = Position(0);
    let done: Result<(), std::convert::Infallible> =
        Assembler::new(0, &limits).slices(&records, 2, &mut |slice| {
            assert!(slice.batch.events.len() <= 2);
            let resources = slice.batch.resources.len();
            assert!(
                slice
                    .batch
                    .events
                    .iter()
                    .all(|event| event.resource < resources)
            );
            seen.extend(slice.batch.events.iter().map(|event| event.id));
            next = next.max(slice.batch.next);
            Ok(())
        });
    assert!(done.is_ok());
    assert_eq!((seen, next), (whole, Position(3)));
}

#[test]
fn limits_and_links() {
    let linked = PbRecord {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        severity_number: 99,
        event_name: "a long name".to_owned(),
        ..log("a long body")
    };
    let zeros = PbRecord {
        trace_id: vec![0; 16],
        span_id: vec![0; 8],
        severity_number: 17,
        ..log("b")
    };
    let lone = PbRecord {
        span_id: vec![2; 8],
        ..log("c")
    };
    let limits = limits::Config {
        name_length: ByteSize(6),
        attribute_value_length: ByteSize(6),
        ..limits::Config::default()
    };
    let records = [record(1, 1, &request("api", vec![linked, zeros, lone]))];
    let (batch, truncated) = Assembler::new(0, &limits).assemble(&records);
    assert_eq!(truncated, 1);
    let links: Vec<_> = batch
        .events
        .iter()
        .map(|it| (it.trace_id, it.span_id))
        .collect();
    let none = (None, None);
    assert_eq!(
        links,
        [(Some(TraceId([1; 16])), Some(SpanId([2; 8]))), none, none]
    );
    let severities: Vec<_> = batch.events.iter().map(|it| it.severity).collect();
    assert_eq!(severities, [0, 17, 0]);
    let cut = PbRecord::decode(&*batch.events[0].message).unwrap();
    assert_eq!(
        (cut.event_name.as_str(), cut.body),
        ("a long", value("a long"))
    );
}
