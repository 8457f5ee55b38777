//! What redaction costs a request on its way to the log: nothing is configured, rules find nothing,
//! rules find something in every span. Each is measured with the check that every request has, which
//! is all that is left of it when nothing is configured. Times are per request of [`SPANS`] spans.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use pulse_collector::model::ProjectId;
use pulse_collector::otlp::protobuf;
use pulse_collector::processors::redaction::{Config, Detector, Redactor, Rule};

/// Spans in a request, as SDKs batch them.
const SPANS: u64 = 512;

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        key_strindex: 0,
    }
}

/// A span of a web service, about 540 bytes.
fn service_attributes(index: u64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        text("url.path", format!("/api/v1/users/{index}/orders")),
        text("url.scheme", "https"),
        text("server.address", "orders.internal.example.com"),
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
fn chat_attributes(index: u64) -> Vec<KeyValue> {
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
        text("gen_ai.response.id", format!("chatcmpl-{index:024}")),
        text("gen_ai.input.messages", messages),
        text("gen_ai.output.messages", turn.repeat(10)),
    ]
}

fn with_secret(mut attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let secret = "Write to bob@example.com, card 4111 1111 1111 1111.";
    attributes.push(text("note", secret));
    attributes
}

fn request(attributes: impl Fn(u64) -> Vec<KeyValue>) -> Vec<u8> {
    let span = |index: u64| Span {
        trace_id: u128::from(index + 1)
            .wrapping_mul(u128::MAX / 977)
            .to_be_bytes()
            .to_vec(),
        span_id: (index + 1).to_be_bytes().to_vec(),
        name: "GET /api/v1/users/{id}/orders".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_790_000_000_000_000_000 + index,
        end_time_unix_nano: 1_790_000_000_012_345_678 + index,
        attributes: attributes(index),
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn redactor(rules: Vec<Rule>) -> Option<Redactor> {
    let config = Config {
        enabled: true,
        rules,
        ..Config::default()
    };
    config.compile().unwrap_or_default()
}

/// The way of a request that is checked and redacted.
fn take(request: &[u8], redactor: Option<&Redactor>) -> usize {
    let checked = protobuf::check_spans(black_box(request), |_| {});
    let redacted = redactor.map(|redactor| {
        let redacted = redactor.redact(
            ProjectId(1),
            pulse_collector::otlp::Signal::Traces,
            request,
            &mut |_| Ok(()),
        );
        redacted.ok().and_then(|redacted| redacted.request)
    });
    let length = redacted.flatten().map_or(request.len(), |it| it.len());
    length + usize::from(checked.is_ok())
}

fn redaction(criterion: &mut Criterion) {
    let detectors = Rule {
        detectors: Detector::ALL.to_vec(),
        ..Rule::default()
    };
    let keys = Rule {
        keys: vec!["*.password".to_owned(), "user.email".to_owned()],
        ..Rule::default()
    };
    let content = Rule {
        drop_content: true,
        ..Rule::default()
    };
    let patterns = Rule {
        patterns: vec![r"EMP-\d{6}".to_owned()],
        ..Rule::default()
    };
    let rules = [
        ("off", None),
        ("detectors", redactor(vec![detectors.clone()])),
        ("keys", redactor(vec![keys.clone()])),
        ("content", redactor(vec![content])),
        ("pattern", redactor(vec![patterns.clone()])),
        ("all", redactor(vec![keys, detectors, patterns])),
    ];
    let requests = [
        ("service, no hit", request(service_attributes)),
        (
            "service, hit",
            request(|it| with_secret(service_attributes(it))),
        ),
        ("chat, no hit", request(chat_attributes)),
        ("chat, hit", request(|it| with_secret(chat_attributes(it)))),
    ];
    let mut group = criterion.benchmark_group("redaction");
    group.throughput(Throughput::Elements(SPANS));
    for (name, bytes) in &requests {
        for (what, redactor) in &rules {
            group.bench_function(format!("{name}, {what}"), |bencher| {
                bencher.iter(|| take(bytes, redactor.as_ref()));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = redaction
}
criterion_main!(benches);
