//! Compares what an SDK says it sent with what the gateway answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Kind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Map, Value, json};

use crate::daemon::Daemon;
use crate::otlp::hex;

/// Where `tests/run` puts what the SDK tests need.
pub(crate) fn tool(path: &str) -> PathBuf {
    let cache = std::env::var_os("PULSE_TEST_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| root().join("target/test-tools"));
    let tool = cache.join(path);
    assert!(
        tool.exists(),
        "{} is missing: run tests/run, which installs the SDKs that this test sends with",
        tool.display()
    );
    tool
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs an exporter script and reads what it says it sent.
pub(crate) fn run(command: &mut Command) -> Vec<Value> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}: {stderr}",
        output.status
    );
    // The exporters log what they could not deliver.
    assert!(
        !stderr.to_lowercase().contains("fail"),
        "{command:?}: {stderr}"
    );
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// Every span an SDK sent is served, field by field, as OTLP and in our own shape.
pub(crate) fn assert_served(daemon: &Daemon, sent: &[Value]) {
    assert_eq!(sent.len(), 3, "the scripts send three spans");
    let mut traces: Vec<&str> = sent
        .iter()
        .filter_map(|span| span["traceId"].as_str())
        .collect();
    traces.sort_unstable();
    traces.dedup();
    for trace in traces {
        let mut expected: Vec<&Value> = sent
            .iter()
            .filter(|span| span["traceId"] == trace)
            .collect();
        expected.sort_by_key(|span| span["spanId"].as_str());
        let trace_id = unhex(trace);
        let native = daemon.await_trace(&trace_id, expected.len() as u64);
        let stored = daemon.trace_otlp(&trace_id).expect("it is known");
        let mut found: Vec<Value> = stored
            .resource_spans
            .iter()
            .flat_map(describe_resource)
            .collect();
        found.sort_by_key(|span| span["spanId"].as_str().map(str::to_owned));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_same(found, expected);
        }
        for expected in expected {
            assert_native(&native, expected);
        }
    }
}

/// The bytes of a hexadecimal number.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Member by member, so that a difference is readable.
fn assert_same(found: &Value, expected: &Value) {
    let expected = expected.as_object().expect("an object");
    let found = found.as_object().expect("an object");
    for (member, expected) in expected {
        assert_eq!(&found[member], expected, "{member} of {:?}", found["name"]);
    }
    assert_eq!(found.len(), expected.len());
}

/// The columns of our own shape agree with what was sent.
fn assert_native(trace: &Value, sent: &Value) {
    let spans = trace["spans"].as_array().expect("spans");
    let span = crate::api::item(spans, "span_id", sent["spanId"].as_str().unwrap());
    assert_eq!(span["trace_id"], sent["traceId"]);
    assert_eq!(span["name"], sent["name"]);
    assert_eq!(span["start_time_unix_nano"], sent["start"]);
    assert_eq!(span["end_time_unix_nano"], sent["end"]);
    assert_eq!(span["trace_state"], sent["traceState"]);
    assert_eq!(
        span["parent_span_id"].as_str().unwrap_or_default(),
        sent["parentSpanId"]
    );
    let kinds = ["", "internal", "server", "client", "producer", "consumer"];
    assert_eq!(span["kind"], kinds[sent["kind"].as_u64().unwrap() as usize]);
    let codes = ["unset", "ok", "error"];
    assert_eq!(
        span["status"]["code"],
        codes[sent["status"]["code"].as_u64().unwrap() as usize]
    );
    assert_eq!(span["status"]["message"], sent["status"]["message"]);
    assert_eq!(span["time_marks"], json!([]));
    assert_eq!(span["attributes"], plain(&sent["attributes"]));
    assert_eq!(span["resource"]["attributes"], plain(&sent["resource"]));
    assert_eq!(
        span["service_name"],
        sent["resource"]["service.name"]["string"]
    );
    assert_eq!(span["scope"]["name"], sent["scope"]["name"]);
    assert_eq!(
        span["events"].as_array().unwrap().len(),
        sent["events"].as_array().unwrap().len()
    );
    assert_eq!(
        span["links"].as_array().unwrap().len(),
        sent["links"].as_array().unwrap().len()
    );
    let columns = [
        ("session_id", "session.id"),
        ("user_id", "user.id"),
        ("operation", "gen_ai.operation.name"),
        ("provider", "gen_ai.provider.name"),
        ("request_model", "gen_ai.request.model"),
        ("response_model", "gen_ai.response.model"),
        ("http_method", "http.request.method"),
        ("http_route", "http.route"),
        ("db_system", "db.system.name"),
    ];
    for (column, attribute) in columns {
        if let Some(sent) = sent["attributes"].get(attribute) {
            assert_eq!(span[column], sent["string"], "{column}");
        }
    }
}

/// `{"int": "5"}` and so on, as our own shape writes them.
fn plain(attributes: &Value) -> Value {
    let attributes = attributes.as_object().expect("attributes");
    attributes
        .iter()
        .map(|(key, value)| (key.clone(), plain_value(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn plain_value(value: &Value) -> Value {
    let (kind, value) = value
        .as_object()
        .and_then(|value| value.iter().next())
        .expect("a value");
    match kind.as_str() {
        "int" => {
            let number: i64 = value.as_str().unwrap().parse().unwrap();
            if number.unsigned_abs() <= 1 << 53 {
                number.into()
            } else {
                value.clone()
            }
        }
        "array" => value.as_array().unwrap().iter().map(plain_value).collect(),
        _ => value.clone(),
    }
}

fn describe_resource(item: &ResourceSpans) -> Vec<Value> {
    let resource = item.resource.as_ref().map_or(json!({}), |resource| {
        describe_attributes(&resource.attributes)
    });
    let spans = item
        .scope_spans
        .iter()
        .flat_map(|scope| scope.spans.iter().map(move |span| (scope, span)));
    spans
        .map(|(scope, span)| describe(&resource, scope, span))
        .collect()
}

/// A span in the shape that the scripts print.
fn describe(resource: &Value, scope: &ScopeSpans, span: &Span) -> Value {
    let status = span.status.clone().unwrap_or_default();
    let scope = scope.scope.clone().unwrap_or_default();
    let events = span.events.iter().map(|event| {
        json!({
            "time": event.time_unix_nano.to_string(),
            "name": event.name,
            "attributes": describe_attributes(&event.attributes),
        })
    });
    let links = span.links.iter().map(|link| {
        json!({
            "traceId": hex(&link.trace_id),
            "spanId": hex(&link.span_id),
            "attributes": describe_attributes(&link.attributes),
        })
    });
    json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "parentSpanId": hex(&span.parent_span_id),
        "traceState": span.trace_state,
        "name": span.name,
        "kind": span.kind,
        "start": span.start_time_unix_nano.to_string(),
        "end": span.end_time_unix_nano.to_string(),
        "status": { "code": status.code, "message": status.message },
        "attributes": describe_attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "resource": resource,
        "scope": {
            "name": scope.name,
            "version": scope.version,
            "attributes": describe_attributes(&scope.attributes),
        },
    })
}

fn describe_attributes(attributes: &[KeyValue]) -> Value {
    let members = attributes.iter().map(|attribute| {
        (
            attribute.key.clone(),
            attribute.value.as_ref().map_or(Value::Null, describe_value),
        )
    });
    members.collect::<Map<_, _>>().into()
}

fn describe_value(value: &AnyValue) -> Value {
    match value
        .value
        .as_ref()
        .expect("SDKs send no empty values here")
    {
        Kind::StringValue(text) => json!({ "string": text }),
        Kind::BoolValue(value) => json!({ "bool": value }),
        Kind::IntValue(value) => json!({ "int": value.to_string() }),
        Kind::DoubleValue(value) => json!({ "double": value }),
        Kind::BytesValue(bytes) => json!({ "bytes": hex(bytes) }),
        Kind::ArrayValue(array) => {
            json!({ "array": array.values.iter().map(describe_value).collect::<Vec<_>>() })
        }
        other => panic!("SDKs send no {other:?}"),
    }
}
