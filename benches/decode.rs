//! What it costs to take in a request: checking protobuf, against decoding it with the generated
//! types; reading it through the views; decoding JSON; inflating gzip and zstd. Times are per
//! request of [`SPANS`] spans.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use pulse_collector::otlp::compression::{Encoding, decode};
use pulse_collector::otlp::{json, protobuf};

/// Spans in a request, as SDKs batch them.
const SPANS: u64 = 512;
const LIMIT: usize = 64 << 20;

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        key_strindex: 0,
    }
}

fn number(key: &str, value: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(value)),
        }),
        key_strindex: 0,
    }
}

/// A span of a web service, about 540 bytes.
fn service_attributes(index: i64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("url.path", format!("/api/v1/users/{index}/orders")),
        text("url.scheme", "https"),
        text("server.address", "orders.internal.example.com"),
        number("server.port", 8443),
        number("http.response.status_code", 200),
        text("http.route", "/api/v1/users/{id}/orders"),
        text("network.protocol.version", "1.1"),
        text(
            "user_agent.original",
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101",
        ),
        text("client.address", "10.42.17.201"),
    ]
}

/// A span of a chat completion with its messages, about 4 KB.
fn chat_attributes(index: i64) -> Vec<KeyValue> {
    let turn = format!(
        "Question {index}: which of the \"orders\" shipped late, and why?\nAnswer briefly; quote \
         the carrier's note. Größe {}. ",
        index * 7919 % 1000
    );
    let messages = format!(
        r#"[{{"role":"user","parts":[{{"type":"text","content":{:?}}}]}}]"#,
        turn.repeat(14)
    );
    vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "gpt-5-mini"),
        text("gen_ai.response.model", "gpt-5-mini-2026-01-31"),
        text("gen_ai.response.id", format!("chatcmpl-{index:024}")),
        number("gen_ai.usage.input_tokens", 812 + index),
        number("gen_ai.usage.output_tokens", 240),
        text("gen_ai.input.messages", messages),
        text("gen_ai.output.messages", turn.repeat(10)),
    ]
}

fn request(attributes: fn(i64) -> Vec<KeyValue>) -> ExportTraceServiceRequest {
    let span = |index: u64| {
        let start = 1_790_000_000_000_000_000 + index * 1_000_003;
        Span {
            trace_id: u128::from(index + 1)
                .wrapping_mul(u128::MAX / 977)
                .to_be_bytes()
                .to_vec(),
            span_id: (index + 1)
                .wrapping_mul(u64::MAX / 977)
                .to_be_bytes()
                .to_vec(),
            parent_span_id: vec![7; 8],
            flags: 257,
            name: "GET /api/v1/users/{id}/orders".to_owned(),
            kind: 2,
            start_time_unix_nano: start,
            end_time_unix_nano: start + 12_345_678,
            attributes: attributes(i64::try_from(index).unwrap_or_default()),
            ..Span::default()
        }
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "orders"), text("host.name", "web-17")],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "io.opentelemetry.http".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// Reads every field and attribute of every span, as the mapper does.
fn read(bytes: &[u8]) -> usize {
    protobuf::Request::new(bytes)
        .resource_spans()
        .flat_map(|it| it.scope_spans())
        .flat_map(|it| it.spans())
        .filter_map(|it| protobuf::Span::parse(it).ok())
        .map(|span| {
            let of_attributes: usize = span
                .attributes
                .iter()
                .map(|it| it.key.len() + it.value.as_str().map_or(1, str::len))
                .sum();
            of_attributes + span.name.len()
        })
        .sum()
}

fn gzip(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}

fn zstd(bytes: &[u8]) -> std::io::Result<Bytes> {
    zstd::bulk::compress(bytes, 3).map(Bytes::from)
}

fn run(criterion: &mut Criterion) {
    for (name, attributes) in [
        ("service", service_attributes as fn(i64) -> _),
        ("chat", chat_attributes),
    ] {
        let message = request(attributes);
        let bytes = message.encode_to_vec();
        let text = json::encode(&message.resource_spans);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(SPANS));
        group.bench_function("validate", |it| it.iter(|| protobuf::validate(&bytes)));
        group.bench_function("check_spans", |it| {
            it.iter(|| protobuf::check_spans(black_box(&bytes), |ids| _ = black_box(ids)));
        });
        group.bench_function("read", |it| it.iter(|| read(black_box(&bytes))));
        group.bench_function("prost", |it| {
            it.iter(|| ExportTraceServiceRequest::decode(black_box(&bytes[..])));
        });
        group.bench_function("json", |it| it.iter(|| json::decode(black_box(&text))));
        group.bench_function("json_then_protobuf", |it| {
            it.iter(|| json::decode(black_box(&text)).map(|it| it.encode_to_vec()));
        });
        for (encoding, compressed) in [
            (Encoding::Gzip, gzip(&bytes)),
            (Encoding::Zstd, zstd(&bytes)),
        ] {
            let body = compressed.unwrap_or_default();
            group.bench_function(encoding.name(), |it| {
                it.iter(|| decode(encoding, body.clone(), LIMIT, &mut |_| Ok(())));
            });
        }
        group.finish();
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = settings(); targets = run }
criterion_main!(benches);
