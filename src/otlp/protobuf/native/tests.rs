use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message as _;

use super::super::{Checked, check};
use super::*;
use crate::otlp::Signal;
use crate::otlp::generate;
use crate::receivers::native::proto;

fn expanded(request: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    as_otlp(request, &mut |_| Ok(()))
}

fn with(gen_ai: proto::GenAi) -> proto::ExportRequest {
    let key = |key: &str| proto::KeyValue {
        key: key.to_owned(),
        value: Some(proto::AnyValue {
            value: Some(proto::any_value::Value::StringValue("as sent".to_owned())),
        }),
    };
    let span = |gen_ai| proto::Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        name: "chat".to_owned(),
        attributes: vec![key("before")],
        gen_ai,
        ..proto::Span::default()
    };
    proto::ExportRequest {
        resource_spans: vec![proto::ResourceSpans {
            scope_spans: vec![proto::ScopeSpans {
                spans: vec![span(None), span(Some(gen_ai)), span(None)],
                ..proto::ScopeSpans::default()
            }],
            schema_url: "https://example.org".to_owned(),
            ..proto::ResourceSpans::default()
        }],
    }
}

/// The second of three spans, after the request was read as OTLP.
fn read(request: &[u8]) -> Span {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    assert_eq!(request.resource_spans[0].schema_url, "https://example.org");
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    assert_eq!(spans.len(), 3);
    assert_eq!(spans[0].attributes.len(), 1);
    assert_eq!(spans[0], spans[2]);
    spans[1].clone()
}

fn attributes(gen_ai: proto::GenAi) -> Vec<(String, Value)> {
    let request = with(gen_ai).encode_to_vec();
    let otlp = expanded(&request).unwrap().unwrap();
    let checked = check(Signal::Traces, &otlp).unwrap();
    assert_eq!((checked.items, checked.rejected), (3, 0));
    let span = read(&otlp);
    let pairs = span.attributes.into_iter().skip(1);
    pairs
        .map(|pair| (pair.key, pair.value.unwrap().value.unwrap()))
        .collect()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn texts(values: &[&str]) -> Value {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
    let values = values.iter().map(|value| AnyValue {
        value: Some(text(value)),
    });
    Value::ArrayValue(ArrayValue {
        values: values.collect(),
    })
}

// Scenario: a span with every field of a model call.
// Guarantees: each becomes the attribute that the definition names, with its unit.
#[test]
fn every_field_is_the_attribute_it_stands_for() {
    let long = "ü".repeat(5000);
    let call = proto::GenAi {
        operation: "chat".to_owned(),
        finish_reasons: vec!["stop".to_owned(), "length".to_owned()],
        streaming: Some(false),
        time_to_first_token_ns: Some(1_250_000_000),
        usage: Some(proto::Usage {
            input_tokens: Some(0),
            output_tokens: Some(u64::MAX),
            cache_read_tokens: Some(3),
            ..proto::Usage::default()
        }),
        cost: Some(proto::Cost {
            total_nano_usd: Some(123_456_789),
            ..proto::Cost::default()
        }),
        agent: Some(proto::Agent {
            name: "planner".to_owned(),
            id: String::new(),
        }),
        tool: Some(proto::Tool {
            arguments: long.clone(),
            ..proto::Tool::default()
        }),
        tags: vec!["a".to_owned()],
        ..proto::GenAi::default()
    };
    let expected = [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.request.stream", Value::BoolValue(false)),
        (
            "gen_ai.response.time_to_first_chunk",
            Value::DoubleValue(1.25),
        ),
        ("gen_ai.usage.input_tokens", Value::IntValue(0)),
        ("gen_ai.usage.output_tokens", Value::IntValue(i64::MAX)),
        ("gen_ai.usage.cache_read.input_tokens", Value::IntValue(3)),
        ("gen_ai.usage.cost", Value::DoubleValue(0.123_456_789)),
        ("gen_ai.agent.name", text("planner")),
        ("gen_ai.tool.call.arguments", text(&long)),
        ("gen_ai.response.finish_reasons", texts(&["stop", "length"])),
        ("pulse.tags", texts(&["a"])),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(attributes(call), expected);
}

// Scenario: a span that a collector answered, with the cost that it computed, is sent again.
// Guarantees: that cost is not taken for the sender's; all else is.
#[test]
fn a_cost_that_a_collector_computed_is_left_out() {
    let call = |source: proto::CostSource| proto::GenAi {
        cost: Some(proto::Cost {
            total_nano_usd: Some(1_000_000_000),
            source: source.into(),
            price_version: "2026-11".to_owned(),
            ..proto::Cost::default()
        }),
        user_id: "u".to_owned(),
        ..proto::GenAi::default()
    };
    let of_user = ("user.id".to_owned(), text("u"));
    let cost = ("gen_ai.usage.cost".to_owned(), Value::DoubleValue(1.0));
    assert_eq!(
        attributes(call(proto::CostSource::Unspecified)),
        [cost, of_user.clone()]
    );
    for source in [proto::CostSource::Computed, proto::CostSource::Unpriced] {
        assert_eq!(attributes(call(source)), std::slice::from_ref(&of_user));
    }
}

// Guarantees: the table here and the definition name the same fields, and its comment names the
// attribute.
#[test]
fn the_table_is_that_of_the_definition() {
    let definition = include_str!("../../../../proto/pulse/trace/v1/trace.proto");
    let fields_of = |message: &str| {
        let (_, rest) = definition
            .split_once(&format!("message {message} {{"))
            .unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        let mut comment = String::new();
        let mut fields = Vec::new();
        for line in body.lines().map(str::trim) {
            if line.starts_with("//") {
                comment.push_str(line);
            } else if let Some((declared, number)) = line.split_once(" = ") {
                let name = declared.rsplit(' ').next().unwrap().to_owned();
                let number: u32 = number.trim_end_matches(';').parse().unwrap();
                fields.push((number, name, std::mem::take(&mut comment)));
            }
        }
        fields
    };
    let tables = [
        ("GenAi", ENTRIES),
        ("Usage", USAGE),
        ("Cost", COST),
        ("Agent", AGENT),
    ];
    for (message, table) in tables.into_iter().chain([("Tool", TOOL)]) {
        let mut fields = fields_of(message);
        if message == "Cost" {
            let of_collectors = fields.split_off(table.len());
            let names = of_collectors
                .iter()
                .map(|(number, name, _)| (*number, name.as_str()));
            let names: Vec<_> = names.collect();
            assert_eq!(names, [(COST_SOURCE, "source"), (5, "price_version")]);
        }
        assert_eq!(fields.len(), table.len(), "{message}");
        for ((number, name, comment), entry) in fields.iter().zip(table) {
            assert_eq!((*number, name.as_str()), (entry.number, entry.name));
            assert!(comment.contains(entry.key), "{message}.{name}: {comment}");
        }
    }
}

// Guarantees: what is malformed is said with its place; what is too large is not written.
#[test]
fn wrong_requests_are_refused() {
    let call = proto::GenAi {
        operation: "rerank".to_owned(),
        ..proto::GenAi::default()
    };
    let request = with(call).encode_to_vec();
    let at = request
        .windows(6)
        .position(|bytes| bytes == b"rerank")
        .unwrap();
    let mut broken = request.clone();
    broken[at] = 0xff;
    let Failure::Malformed { message, .. } = expanded(&broken).unwrap_err() else {
        panic!("not UTF-8");
    };
    assert!(message.contains("gen_ai.operation"), "{message}");
    let full = as_otlp(&request, &mut |_| Err(Failure::ShuttingDown));
    assert_eq!(full.unwrap_err(), Failure::ShuttingDown);
    for end in 0..request.len() {
        // Never panics.
        let _ended = expanded(&request[..end]);
    }
}

proptest! {
    // Guarantees: a request of OTLP is taken as it is.
    #[test]
    fn requests_of_otlp_are_not_touched(request in generate::request()) {
        prop_assert_eq!(expanded(&request.encode_to_vec()).unwrap(), None);
    }

    // Guarantees: no bytes make it panic, and what it writes is as valid as what it read.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut span = vec![0xa2, 0x06];
        put_varint(&mut span, bytes.len() as u64);
        span.extend_from_slice(&bytes);
        let mut request = Vec::new();
        put_message(&mut request, 1, |resource| put_message(resource, 2, |scope| {
            put_message(scope, 2, |out| out.extend_from_slice(&span));
        }));
        if let Ok(Some(written)) = expanded(&request) {
            let checked: Result<Checked, _> = check(Signal::Traces, &written);
            prop_assert!(checked.is_ok());
        }
    }
}
