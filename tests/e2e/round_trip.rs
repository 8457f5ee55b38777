//! What is sent is what is served, whatever it holds.

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use prost::Message as _;

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http;
use crate::otlp::{JSON, PROTOBUF, now, post_accepted};
use crate::otlp_json;

/// Nothing generated may be deleted for its age or cut for its size; batches are small and quick.
const SETTINGS: &[(&str, &str)] = &[
    ("storage.retention.max_age", "0s"),
    ("processors.batch.timeout", "5ms"),
];

fn short_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z.]{1,12}",
        "\\PC{0,8}",
        select(vec![
            "\u{0}",
            "a\u{0}b",
            "\u{feff}",
            "\u{202e}",
            "🥊",
            "\"\\\n",
            "\u{2028}",
            "\u{10ffff}"
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        short_text().prop_map(Value::StringValue),
        "[a-z ]{1200,1300}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        prop_oneof![any::<i64>(), select(vec![i64::MIN, i64::MAX, 0])].prop_map(Value::IntValue),
        prop_oneof![
            any::<f64>().prop_filter("one NaN is enough", |number| !number.is_nan()),
            select(vec![
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                -0.0,
                5e-324,
                f64::MAX,
                1e23,
                3.0
            ]),
        ]
        .prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..20).prop_map(Value::BytesValue),
    ];
    let leaf = prop_oneof![
        1 => Just(AnyValue { value: None }),
        12 => leaf.prop_map(|value| AnyValue { value: Some(value) }),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        let array =
            vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let list = vec(("[a-z]{1,6}", inner), 0..4).prop_map(|members| {
            let members = members
                .into_iter()
                .map(|(key, value)| attribute(key, Some(value)));
            Value::KvlistValue(KeyValueList {
                values: members.collect(),
            })
        });
        prop_oneof![array, list].prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attribute(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

/// Keys that the columns are made from get values of every kind too.
fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let known = select(vec![
        "service.name",
        "session.id",
        "user.id",
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "http.response.status_code",
        "db.system.name",
        "exception.message",
    ]);
    let key = prop_oneof![known.prop_map(str::to_owned), "[a-z.]{1,10}", "\\PC{1,6}"];
    vec((key, any_value()), 0..5).prop_map(|members| {
        let mut members: Vec<_> = members
            .into_iter()
            .map(|(key, value)| attribute(key, Some(value)))
            .collect();
        // Keys are unique in OTLP; which one of equals counts is another question.
        let mut seen = std::collections::BTreeSet::new();
        members.retain(|member| seen.insert(member.key.clone()));
        members
    })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0..1_000_000_000_u64).prop_map(|offset| now() - offset),
        1 => any::<u64>(),
        1 => select(vec![0, 1, u64::MAX, i64::MAX as u64, i64::MAX as u64 + 1]),
    ]
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![select(vec![0, 1, 0x101, 0x301, u32::MAX]), any::<u32>()]
}

fn count() -> impl Strategy<Value = u32> {
    select(vec![0, 0, 1, 7, u32::MAX])
}

fn event() -> impl Strategy<Value = Event> {
    (time(), short_text(), attributes(), count()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    let ids = (vec(any::<u8>(), 16), vec(any::<u8>(), 8));
    (ids, short_text(), attributes(), count(), flags()).prop_map(
        |((trace_id, span_id), trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn status() -> impl Strategy<Value = Option<Status>> {
    let code = prop_oneof![0..3, select(vec![7, -1, i32::MAX])];
    prop::option::of((short_text(), code).prop_map(|(message, code)| Status { message, code }))
}

/// A span without its identity.
fn span() -> impl Strategy<Value = Span> {
    let origin = (
        short_text(),
        prop_oneof![Just(Vec::new()), vec(1..=u8::MAX, 8)],
        flags(),
    );
    let what = (
        short_text(),
        prop_oneof![0..6, select(vec![99, -1, i32::MIN])],
        time(),
        time(),
    );
    let held = (
        attributes(),
        vec(event(), 0..3),
        vec(link(), 0..3),
        status(),
    );
    (origin, what, held, (count(), count(), count())).prop_map(|(origin, what, held, dropped)| {
        let (trace_state, parent_span_id, flags) = origin;
        let (name, kind, start_time_unix_nano, end_time_unix_nano) = what;
        let (attributes, events, links, status) = held;
        Span {
            trace_state,
            parent_span_id,
            flags,
            name,
            kind,
            start_time_unix_nano,
            end_time_unix_nano,
            attributes,
            dropped_attributes_count: dropped.0,
            events,
            dropped_events_count: dropped.1,
            links,
            dropped_links_count: dropped.2,
            status,
            ..Span::default()
        }
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    let entity = (
        "[a-z]{1,8}",
        "[a-z:/]{0,12}",
        vec("[a-z.]{1,8}".prop_map(String::from), 0..3),
    );
    let entity = entity.prop_map(|(r#type, schema_url, id_keys)| EntityRef {
        schema_url,
        r#type,
        description_keys: id_keys.clone(),
        id_keys,
    });
    (attributes(), count(), vec(entity, 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    )
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (short_text(), short_text(), attributes(), count()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans =
        (scope(), short_text(), vec(span(), 0..4)).prop_map(|(scope, schema_url, spans)| {
            ScopeSpans {
                scope: Some(scope),
                schema_url,
                spans,
            }
        });
    let resource_spans = (resource(), short_text(), vec(scope_spans, 0..3)).prop_map(
        |(resource, schema_url, scope_spans)| ResourceSpans {
            resource: Some(resource),
            schema_url,
            scope_spans,
        },
    );
    vec(resource_spans, 1..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Puts all spans into one trace and answers how many there are.
fn identify(request: &mut ExportTraceServiceRequest, trace_id: &[u8; 16]) -> u64 {
    let scopes = request
        .resource_spans
        .iter_mut()
        .flat_map(|item| &mut item.scope_spans);
    let mut count: u64 = 0;
    for span in scopes.flat_map(|item| &mut item.spans) {
        count += 1;
        span.trace_id = trace_id.to_vec();
        span.span_id = count.to_be_bytes().to_vec();
    }
    count
}

/// Every span with all it belongs to, one a line, in order of span id. Encoded, because NaN is not
/// equal to itself.
fn flat(request: &ExportTraceServiceRequest) -> Vec<(Vec<u8>, String, Vec<u8>)> {
    let mut spans = Vec::new();
    for resource_spans in &request.resource_spans {
        for scope_spans in &resource_spans.scope_spans {
            for span in &scope_spans.spans {
                let alone = ResourceSpans {
                    resource: Some(resource_spans.resource.clone().unwrap_or_default()),
                    schema_url: resource_spans.schema_url.clone(),
                    scope_spans: vec![ScopeSpans {
                        scope: Some(scope_spans.scope.clone().unwrap_or_default()),
                        schema_url: scope_spans.schema_url.clone(),
                        spans: vec![span.clone()],
                    }],
                };
                spans.push((
                    span.span_id.clone(),
                    format!("{alone:#?}"),
                    alone.encode_to_vec(),
                ));
            }
        }
    }
    spans.sort();
    spans
}

/// Runs a property on requests in traces of their own.
fn check(
    cases: u32,
    property: impl Fn(&ExportTraceServiceRequest, [u8; 16], u64) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let number = std::cell::Cell::new(0_u64);
    let result = TestRunner::new(config).run(&request(), |mut request| {
        number.set(number.get() + 1);
        let mut trace_id = [0xab; 16];
        trace_id[8..].copy_from_slice(&number.get().to_be_bytes());
        let spans = identify(&mut request, &trace_id);
        if spans == 0 {
            Ok(())
        } else {
            property(&request, trace_id, spans)
        }
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

// Scenario: generated requests with every kind of value, unknown enum numbers, all flags, strange
// text and times, and dropped counts are sent as protobuf and read back as OTLP.
// Guarantees: every span, its scope, its resource and both schema URLs are served as they were sent.
fn what_is_sent_is_served(store: Store) {
    let daemon = Daemon::spawn_on(store, SETTINGS);
    check(60, |request, trace_id, spans| {
        post_accepted(daemon.addresses().http, request);
        daemon.await_trace(&trace_id, spans);
        let served = daemon.trace_otlp(&trace_id).expect("it is known");
        let (served, sent) = (flat(&served), flat(request));
        prop_assert_eq!(served.len(), sent.len());
        for ((_, served, served_bytes), (_, sent, sent_bytes)) in served.iter().zip(&sent) {
            prop_assert_eq!(served, sent);
            prop_assert_eq!(served_bytes, sent_bytes);
        }
        Ok(())
    });
}

// Scenario: the same generated requests go as protobuf to one daemon and as JSON to another.
// Guarantees: both answer the same, in our own shape and as OTLP.
fn json_and_protobuf_of_the_same_data_are_stored_alike(store: Store) {
    let (of_protobuf, of_json) = (
        Daemon::spawn_on(store, SETTINGS),
        Daemon::spawn_on(store, SETTINGS),
    );
    check(40, |request, trace_id, spans| {
        post_accepted(of_protobuf.addresses().http, request);
        let body = otlp_json::encode(request).to_string();
        let answer = http::post(
            of_json.addresses().http,
            "/v1/traces",
            &[JSON],
            body.as_bytes(),
        )
        .unwrap();
        prop_assert_eq!((answer.status, answer.text()), (200, "{}".to_owned()));
        let mut one = of_protobuf.await_trace(&trace_id, spans);
        let mut other = of_json.await_trace(&trace_id, spans);
        for span in [&mut one, &mut other]
            .into_iter()
            .flat_map(|trace| trace["spans"].as_array_mut().unwrap())
        {
            let members = span.as_object_mut().unwrap();
            members.remove("received_time").unwrap();
            members.remove("received_time_unix_nano").unwrap();
            // The time of receipt decides what is in the future.
            members.remove("time_marks").unwrap();
        }
        prop_assert_eq!(one, other);
        let one = flat(&of_protobuf.trace_otlp(&trace_id).unwrap());
        let other = flat(&of_json.trace_otlp(&trace_id).unwrap());
        prop_assert_eq!(one, other);
        Ok(())
    });
}

// Scenario: a request of a newer client, with fields that no released protocol has, at every level.
// Guarantees: it is accepted and everything that is known is stored.
#[test]
fn fields_of_newer_clients_are_no_obstacle() {
    let daemon = Daemon::spawn(SETTINGS);
    // Field 999, a string.
    const UNKNOWN: &[u8] = b"\xba\x3e\x06future";
    let nest = |tag: u8, parts: &[&[u8]]| {
        let inner = parts.concat();
        let mut outer = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    };
    let span = crate::otlp::span(&[1; 16], &[1; 8], "known").encode_to_vec();
    let span = nest(0x12, &[UNKNOWN, &span, UNKNOWN]);
    let resource = nest(0x0a, &[UNKNOWN]);
    let scope_spans = nest(0x12, &[UNKNOWN, &nest(0x0a, &[UNKNOWN]), &span]);
    let body = [UNKNOWN, &nest(0x0a, &[&resource, UNKNOWN, &scope_spans])].concat();
    let answer = http::post(daemon.addresses().http, "/v1/traces", &[PROTOBUF], &body).unwrap();
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, 0),
        "{}",
        answer.text()
    );
    assert_eq!(daemon.await_trace(&[1; 16], 1)["spans"][0]["name"], "known");
}

// Scenario: JSON in every spelling that clients use: ids in upper case, numbers as text and as
// numbers, `null`, unknown members, empty messages, base64 in four forms, a byte order mark.
// Guarantees: each is accepted and means the same.
#[test]
fn every_spelling_of_json_is_understood() {
    let daemon = Daemon::spawn(SETTINGS);
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xfb, 0xff]);
    let body = format!(
        "\u{feff}{}",
        serde_json::json!({ "future": [1], "resourceSpans": [
            { "resource": null, "scopeSpans": null },
            { "resource": { "attributes": null }, "scopeSpans": [{ "spans": [{
                "traceId": "0AF7651916CD43DD8448EB211C80319C",
                "spanId": "00f067AA0BA902b7",
                "parentSpanId": null,
                "name": "spelled",
                "kind": null,
                "startTimeUnixNano": now(),
                "endTimeUnixNano": now().to_string(),
                "future": { "a": [1, { "b": null }] },
                "status": {},
                "events": null,
                "links": [{}],
                "attributes": [
                    { "key": "number", "value": { "intValue": 9_223_372_036_854_775_807_i64 } },
                    { "key": "text", "value": { "intValue": "-9223372036854775808" } },
                    { "key": "nan", "value": { "doubleValue": "NaN" } },
                    { "key": "quoted", "value": { "doubleValue": "0.5" } },
                    { "key": "bytes", "value": { "bytesValue": base64 } },
                    { "key": "array", "value": { "arrayValue": {} } },
                    { "key": "list", "value": { "kvlistValue": { "values": null } } },
                    { "key": "future", "value": { "futureValue": 1 } },
                    { "key": "none" },
                ],
            }] }] },
        ]})
    );
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let answer = http::post(
        daemon.addresses().http,
        "/v1/traces",
        &headers,
        body.as_bytes(),
    )
    .unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    let trace = daemon.await_trace(&trace_id, 1);
    assert_eq!(
        trace["spans"][0]["attributes"],
        serde_json::json!({
            "number": "9223372036854775807",
            "text": "-9223372036854775808",
            "nan": "NaN",
            "quoted": 0.5,
            "bytes": "+/8=",
            "array": [],
            "list": {},
            "future": null,
            "none": null,
        })
    );
}

on_both_stores! {
    what_is_sent_is_served,
    json_and_protobuf_of_the_same_data_are_stored_alike,
}
