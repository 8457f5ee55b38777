//! What it costs to turn a request into rows: reading each span, against reading it and taking its
//! columns, and against that with prices. By what a service sends, and by what an agent sends. Times
//! are per request of [`SPANS`] spans.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use pulse_collector::exporters::storage::assemble::Assembler;
use pulse_collector::model::ProjectId;
use pulse_collector::otlp::protobuf;
use pulse_collector::pricing::{Book, Table};
use pulse_collector::processors::limits;
use pulse_collector::queue::{PayloadKind, Position, Record};

/// Spans in a request, as SDKs batch them.
const SPANS: u64 = 510;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        key_strindex: 0,
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

/// A span of a web service, about 540 bytes.
fn service(index: u64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("url.path", format!("/api/v1/users/{index}/orders")),
        text("url.scheme", "https"),
        text("server.address", "orders.internal.example.com"),
        number("server.port", 8443),
        number("http.response.status_code", 200),
        text("http.route", "/api/v1/users/{id}/orders"),
        text("network.protocol.version", "1.1"),
        text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)"),
        text("client.address", "10.42.17.201"),
    ]
}

/// An agent, its call with over 4 KB of messages, and its tool, in turns: about 2.2 KB a span.
fn agent(index: u64) -> Vec<KeyValue> {
    let turn = format!("Which of the orders {index} shipped late, and why? Quote the note. ");
    let session = text("session.id", format!("session-{}", index / 30));
    match index % 3 {
        0 => vec![
            text("gen_ai.operation.name", "invoke_agent"),
            text("gen_ai.agent.name", "support"),
            text("gen_ai.conversation.id", format!("talk-{index}")),
            session,
            number("gen_ai.usage.input_tokens", 2000),
            number("gen_ai.usage.output_tokens", 350),
        ],
        1 => vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", "gpt-4o-mini"),
            text("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
            text("gen_ai.response.id", format!("chatcmpl-{index:024}")),
            session,
            number("gen_ai.usage.input_tokens", 2000),
            number("gen_ai.usage.cache_read.input_tokens", 1024),
            number("gen_ai.usage.output_tokens", 350),
            text(
                "gen_ai.input.messages",
                format!(
                    r#"[{{"role":"user","parts":[{{"type":"text","content":{:?}}}]}}]"#,
                    turn.repeat(50)
                ),
            ),
            text("gen_ai.output.messages", turn.repeat(22)),
        ],
        _ => vec![
            text("gen_ai.operation.name", "execute_tool"),
            text("gen_ai.tool.name", "search"),
            text("gen_ai.tool.call.id", format!("call-{index}")),
            text("gen_ai.tool.call.arguments", turn.repeat(6)),
            text("gen_ai.tool.call.result", turn.repeat(12)),
        ],
    }
}

fn record(attributes: fn(u64) -> Vec<KeyValue>) -> Record {
    let span = |index: u64| Span {
        trace_id: u128::from(index / 3 + 1)
            .wrapping_mul(u128::MAX / 977)
            .to_be_bytes()
            .to_vec(),
        span_id: (index + 1).to_be_bytes().to_vec(),
        name: "an operation".to_owned(),
        kind: 3,
        start_time_unix_nano: 1_790_000_000_000_000_000 + index,
        end_time_unix_nano: 1_790_000_000_000_000_000 + index + 12_345_678,
        attributes: attributes(index),
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "opentelemetry.instrumentation.openai_v2".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    Record {
        position: Position(1),
        project: ProjectId::DEFAULT,
        received_unix_nano: 1_790_000_000_000_000_000,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

/// Finds every span and the keys of its attributes, which nothing can do without.
fn read(payload: &[u8]) -> usize {
    protobuf::Request::new(payload)
        .resource_spans()
        .flat_map(|it| it.scope_spans())
        .flat_map(|it| it.spans())
        .filter_map(|it| protobuf::Span::parse(it).ok())
        .map(|span| {
            let keys = span.attributes.encoded();
            let keys = keys.map(|it| protobuf::KeyValue::key_of(it).len());
            span.name.len() + keys.sum::<usize>()
        })
        .sum()
}

fn mapping(criterion: &mut Criterion) {
    let limits = limits::Config::default();
    let unpriced = Book::new(Table::disabled());
    for (name, attributes) in [
        ("service", service as fn(u64) -> Vec<KeyValue>),
        ("agent", agent),
    ] {
        let records = [record(attributes)];
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(SPANS));
        group.bench_function("read", |bencher| {
            bencher.iter(|| read(black_box(&records[0].payload)));
        });
        group.bench_function("columns", |bencher| {
            let assembler = Assembler::new(0, &limits).priced(&unpriced);
            bencher.iter(|| assembler.assemble(black_box(&records)).0.spans.len());
        });
        group.bench_function("columns_and_prices", |bencher| {
            let assembler = Assembler::new(0, &limits);
            bencher.iter(|| assembler.assemble(black_box(&records)).0.spans.len());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(30);
    targets = mapping
}
criterion_main!(benches);
