//! Spans made of the records of coding agents.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue as PbValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord as PbRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message as _;

use super::super::{Assembler, Remapper, Sampling};
use super::*;
use crate::model::ProjectId;
use crate::model::sampling::Reason;
use crate::otlp::protobuf::Span;
use crate::pricing::Book;
use crate::processors::limits;
use crate::processors::sampling::{Config, HeadRule};
use crate::queue::{PayloadKind, Position};
use crate::storage::Batch;
use crate::storage::remap::Mapper as _;

const MS: u64 = 1_000_000;

fn attribute(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(PbValue {
            value: Some(Value::StringValue(text.to_owned())),
        }),
        ..KeyValue::default()
    }
}

/// A request to a model, as Claude Code tells of it.
fn call(at_ms: u64, request: &str, prompt: &str) -> PbRecord {
    let mut attributes = vec![
        attribute("event.name", "api_request"),
        attribute("session.id", "s"),
        attribute("model", "claude-sonnet-4-5-20250929"),
        attribute("input_tokens", "10"),
        attribute("output_tokens", "5"),
        attribute("cache_read_tokens", "30"),
        attribute("cost_usd", "0.5"),
        attribute("duration_ms", "20"),
    ];
    for (key, text) in [("request_id", request), ("prompt.id", prompt)] {
        if !text.is_empty() {
            attributes.push(attribute(key, text));
        }
    }
    PbRecord {
        time_unix_nano: at_ms * MS,
        attributes,
        ..PbRecord::default()
    }
}

fn record(project: u32, log_records: Vec<PbRecord>) -> Record {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                scope: Some(InstrumentationScope {
                    name: "com.anthropic.claude_code.events".to_owned(),
                    ..InstrumentationScope::default()
                }),
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    Record {
        position: Position(1),
        project: ProjectId(project),
        received_unix_nano: 1_000 * MS,
        kind: PayloadKind::OtlpLogs,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

fn assemble<'a>(records: &'a [Record], limits: &limits::Config) -> Batch<'a> {
    Assembler::new(0, limits).assemble(records).0
}

fn one(sent: PbRecord) -> Option<SpanRow<'static>> {
    let records = vec![record(1, vec![sent])].leak();
    let limits = limits::Config::default();
    let batch = assemble(records, &limits);
    assert_eq!(batch.events.len(), 1, "the event is there in any case");
    batch.spans.into_iter().next()
}

#[test]
fn a_record_of_a_call_becomes_a_span() {
    let sent = call(100, "req_1", "p");
    let row = one(sent.clone()).unwrap();
    assert_eq!(row.name, "claude_code.api_request");
    assert_eq!(
        (row.start_unix_nano, row.end_unix_nano, row.kind),
        (80 * MS, 100 * MS, Kind::Client)
    );
    assert_eq!((row.parent_span_id, row.status), (None, Status::Unset));
    let span = Span::parse(&row.message).unwrap();
    let ids = span.ids().unwrap();
    assert_eq!((ids.trace_id, ids.span_id), (row.trace_id, row.span_id));
    assert_eq!((span.name, span.kind), (&*row.name, 3));
    assert_eq!(
        (span.start_unix_nano, span.end_unix_nano),
        (row.start_unix_nano, row.end_unix_nano)
    );
    let kept: Vec<_> = span.attributes.iter().map(|it| it.key).collect();
    let given: Vec<_> = sent.attributes.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(kept.split_first(), Some((&DERIVED_FROM, given.as_slice())));
    let genai = row.basics.genai.as_deref().unwrap();
    assert!(genai.is_model_call);
    assert_eq!((genai.usage.input, genai.usage.output), (Some(40), Some(5)));
    assert_eq!(genai.cost.total, Some(500_000_000));
    assert_eq!(row.basics.session_id.as_deref(), Some("s"));
}

#[test]
fn a_failed_call_says_why() {
    let mut sent = call(100, "req_1", "p");
    sent.attributes[0] = attribute("event.name", "api_error");
    sent.attributes.push(attribute("error", "Overloaded"));
    let row = one(sent).unwrap();
    assert_eq!(
        (row.status, &*row.status_message),
        (Status::Error, "Overloaded")
    );
    let span = Span::parse(&row.message).unwrap();
    assert_eq!((span.status.code, span.status.message), (2, "Overloaded"));
    assert!(row.basics.error_kind.is_some());
}

// Guarantees: such a span is sampled as any other: by the head, which may go by its service, and by what
// was decided about its trace.
#[test]
fn spans_of_records_are_sampled() {
    let of_trace = |trace: u8| {
        let mut sent = call(100, "req", "");
        sent.trace_id = vec![trace; 16];
        record(1, vec![sent])
    };
    let records = [of_trace(0x10), of_trace(0xe0), of_trace(0xf0)];
    let key = (ProjectId(1), TraceId([0xe0; 16]));
    let verdicts = HashMap::from([(key, Some(Reason::Tail))]);
    let reasons = |config: &Config| {
        let sampler = config.compile().unwrap();
        let sampling = Sampling {
            sampler: &sampler,
            verdicts: Some(&verdicts),
        };
        let limits = limits::Config::default();
        let assembler = Assembler::new(0, &limits).sampled(Some(sampling));
        let (batch, _) = assembler.assemble(&records);
        assert_eq!(batch.events.len(), 3, "events are not sampled");
        let reasons = batch.spans.iter().map(|span| span.sampled_out);
        reasons.collect::<Vec<_>>()
    };
    let mut config = Config::default();
    config.head.percentage = 50.0;
    let expected = [Some(Reason::Head), Some(Reason::Tail), None];
    assert_eq!(reasons(&config), expected);
    config.head.rules = vec![HeadRule {
        projects: Vec::new(),
        services: vec!["unknown_service".to_owned()],
        genai: Some(true),
        percentage: 0.0,
    }];
    assert_eq!(reasons(&config), [Some(Reason::Head); 3]);
}

// Guarantees: a record that names a span makes none, one that names a trace makes one in it.
#[test]
fn what_belongs_to_a_span_is_left_to_it() {
    let mut sent = call(100, "req_1", "p");
    sent.trace_id = vec![7; 16];
    assert_eq!(one(sent.clone()).unwrap().trace_id, TraceId([7; 16]));
    sent.span_id = vec![8; 8];
    assert!(one(sent).is_none());
    let plain = PbRecord {
        time_unix_nano: 5,
        ..PbRecord::default()
    };
    assert!(one(plain).is_none());
}

#[test]
fn ids_follow_from_what_is_told() {
    let ids = |sent| {
        let row = one(sent).unwrap();
        (row.trace_id, row.span_id)
    };
    let first = ids(call(100, "req_1", "p"));
    // Told once more in other words, it is the same call.
    let mut again = call(101, "req_1", "p");
    again.attributes.reverse();
    assert_eq!(ids(again), first);
    let second = ids(call(100, "req_2", "p"));
    assert_eq!((second.0, second.1 == first.1), (first.0, false));
    assert_ne!(ids(call(100, "req_1", "q")).0, first.0);
    // Without an id or a prompt a call is known by its record, and has a trace of its own.
    let alone = ids(call(100, "", ""));
    assert_eq!(ids(call(100, "", "")), alone);
    let later = ids(call(101, "", ""));
    assert!(later.0 != alone.0 && later.1 != alone.1);
    // A failure and the answer to the request of one id are two.
    let mut failed = call(100, "req_1", "p");
    failed.attributes[0] = attribute("event.name", "api_error");
    assert_ne!(ids(failed).1, first.1);
}

#[test]
fn limits_hold_and_keep_what_the_span_was_made_of() {
    let limits = limits::Config {
        attributes_per_span: 3,
        ..limits::Config::default()
    };
    let records = [record(1, vec![call(100, "req_1", "p")])];
    let batch = assemble(&records, &limits);
    let [row] = batch.spans.as_slice() else {
        panic!("{:?}", batch.spans);
    };
    let span = Span::parse(&row.message).unwrap();
    let keys: Vec<_> = span.attributes.iter().map(|it| it.key).collect();
    assert_eq!(keys, [DERIVED_FROM, "event.name", "session.id"]);
    assert!(span.dropped_attributes_count > 0);
}

/// What a store would hold, by identity.
fn stored(records: &[Record]) -> BTreeMap<(ProjectId, TraceId, SpanId), String> {
    let limits = limits::Config::default();
    let batch = assemble(records, &limits);
    let row = |row: &SpanRow<'_>| {
        let times = (row.start_unix_nano, row.end_unix_nano);
        let shown = format!("{times:?} {:?} {:?}", row.basics, row.message);
        ((row.project, row.trace_id, row.span_id), shown)
    };
    batch.spans.iter().map(row).collect()
}

proptest! {
    // Scenario: distinct records of calls, in any order, in any batches, some twice.
    // Guarantees: the same spans, and as many as there are calls.
    #[test]
    fn any_order_and_split_gives_the_same_spans(
        (calls, shuffled) in prop::collection::vec((0_u64..50, any::<bool>(), 0_u8..3), 1..8)
            .prop_flat_map(|calls| (Just(calls.clone()), Just(calls).prop_shuffle())),
        size in 1_usize..4,
    ) {
        let sent = |(at, has_id, prompt): &(u64, bool, u8)| {
            let id = if *has_id { format!("req_{at}") } else { String::new() };
            let prompt = ["", "p", "q"][usize::from(*prompt)];
            call(100 + at, &id, prompt)
        };
        let mut distinct: Vec<_> = calls.iter().map(sent).collect();
        distinct.sort_by_key(|record| record.encode_to_vec());
        distinct.dedup();
        let once = stored(&[record(1, distinct.clone())]);
        let apart: Vec<_> = shuffled
            .chunks(size)
            .flat_map(|some| {
                // Equal records of one request are events of their own.
                let mut some: Vec<_> = some.iter().map(sent).collect();
                some.sort_by_key(|record| record.encode_to_vec());
                some.dedup();
                [record(1, some.clone()), record(1, some)]
            })
            .collect();
        let apart = stored(&apart);
        prop_assert_eq!(
            once.keys().collect::<Vec<_>>(),
            apart.keys().collect::<Vec<_>>()
        );
        // Two records with one id of a request are one call: which of them is kept goes by arrival.
        let is_unique = once.len() == distinct.len();
        prop_assert!(!is_unique || once == apart);
    }

    // Guarantees: a stored span is mapped anew as it was mapped at first.
    #[test]
    fn mapped_anew_it_is_the_same(at in 0_u64..1_000, has_id in any::<bool>()) {
        let id = if has_id { "req" } else { "" };
        let row = one(call(at, id, "p")).unwrap();
        let remapper = Remapper {
            limits: limits::Config::default(),
            prices: Book::builtin().clone(),
        };
        for scope in ["com.anthropic.claude_code.events", "unknown"] {
            let anew = remapper.map(ProjectId(1), &[(scope, &row.message)]);
            prop_assert_eq!(anew, vec![Some(row.basics.clone())], "{}", scope);
        }
    }
}
