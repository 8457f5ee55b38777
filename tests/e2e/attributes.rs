//! What becomes of attributes that are not as the specification has them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::json;

use crate::daemon::Daemon;
use crate::http;
use crate::otlp::{JSON, key_value, post_accepted, request, span, text};
use crate::otlp_json;

fn list(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}

fn array(values: Vec<Value>) -> Value {
    let values = values
        .into_iter()
        .map(|value| AnyValue { value: Some(value) });
    Value::ArrayValue(ArrayValue {
        values: values.collect(),
    })
}

/// A request with attributes of the same shape at every level.
fn with_attributes(trace_id: &[u8], attributes: &[KeyValue]) -> ExportTraceServiceRequest {
    let event = Event {
        name: "event".to_owned(),
        attributes: attributes.to_vec(),
        ..Event::default()
    };
    let link = Link {
        trace_id: vec![9; 16],
        span_id: vec![9; 8],
        attributes: attributes.to_vec(),
        ..Link::default()
    };
    let span = Span {
        attributes: attributes.to_vec(),
        events: vec![event],
        links: vec![link],
        ..span(trace_id, &[1; 8], "attributes")
    };
    let mut request = request("attributes", vec![span]);
    let resource_spans = &mut request.resource_spans[0];
    let resource = resource_spans.resource.as_mut().unwrap();
    resource.attributes.extend_from_slice(attributes);
    let scope = resource_spans.scope_spans[0].scope.as_mut().unwrap();
    scope.attributes = attributes.to_vec();
    request
}

/// The attributes at every level of a trace of one span, and how many were dropped there.
fn levels(stored: &ExportTraceServiceRequest) -> Vec<(Vec<KeyValue>, u32)> {
    let resource_spans = &stored.resource_spans[0];
    let resource = resource_spans.resource.as_ref().unwrap();
    let scope_spans = &resource_spans.scope_spans[0];
    let scope = scope_spans.scope.as_ref().unwrap();
    let span = &scope_spans.spans[0];
    let (event, link) = (&span.events[0], &span.links[0]);
    let own = resource.attributes[1..].to_vec();
    vec![
        (own, resource.dropped_attributes_count),
        (scope.attributes.clone(), scope.dropped_attributes_count),
        (span.attributes.clone(), span.dropped_attributes_count),
        (event.attributes.clone(), event.dropped_attributes_count),
        (link.attributes.clone(), link.dropped_attributes_count),
    ]
}

// Scenario: attributes without a key on a resource, a scope, a span, an event and a link, and in
// lists within their values; in protobuf and in JSON.
// Guarantees: none is stored, each is counted for what it belonged to, everything else is as it was
// sent, and the metrics tell of them.
#[test]
fn attributes_without_a_key_are_dropped_and_counted_at_every_level() {
    let daemon = Daemon::spawn(&[]);
    let nameless = || text("", "gone");
    let sent = [
        nameless(),
        text("Kept", "x"),
        key_value("list", list(vec![nameless(), text("in", "y"), nameless()])),
        key_value(
            "array",
            array(vec![list(vec![nameless()]), Value::IntValue(1)]),
        ),
        nameless(),
    ];
    let kept = vec![
        text("Kept", "x"),
        key_value("list", list(vec![text("in", "y")])),
        key_value("array", array(vec![list(vec![]), Value::IntValue(1)])),
    ];
    let request = with_attributes(&[1; 16], &sent);
    post_accepted(daemon.addresses().http, &request);
    let body = otlp_json::encode(&with_attributes(&[2; 16], &sent)).to_string();
    let http = daemon.addresses().http;
    let answer = http::post(http, "/v1/traces", &[JSON], body.as_bytes()).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    daemon.await_stored();
    for trace_id in [[1; 16], [2; 16]] {
        let stored = daemon.trace_otlp(&trace_id).unwrap();
        for level in levels(&stored) {
            assert_eq!(level, (kept.clone(), 5));
        }
    }
    let counted = daemon.metric("pulse_receiver_unnamed_attributes_total");
    assert_eq!(counted, 2.0 * 5.0 * 5.0);
}

// Scenario: a key is used twice at every level.
// Guarantees: OTLP has both, in the order they were sent; our own form has the last; the case of
// keys is kept.
#[test]
fn of_attributes_with_one_key_the_last_is_shown() {
    let daemon = Daemon::spawn(&[]);
    let sent = [
        text("key", "first"),
        text("Key", "other"),
        text("key", "last"),
        key_value("list", list(vec![text("a", "first"), text("a", "last")])),
    ];
    post_accepted(daemon.addresses().http, &with_attributes(&[1; 16], &sent));
    let trace = daemon.await_trace(&[1; 16], 1);
    let shown = json!({"key": "last", "Key": "other", "list": {"a": "last"}});
    let span = &trace["spans"][0];
    assert_eq!(span["attributes"], shown);
    assert_eq!(span["events"][0]["attributes"], shown);
    let stored = daemon.trace_otlp(&[1; 16]).unwrap();
    for level in levels(&stored) {
        assert_eq!(level, (sent.to_vec(), 0));
    }
}
