//! Arbitrary requests for property tests.

mod metrics;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

pub(crate) use metrics::metric_request;

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        "[a-z._]{1,12}",
        any::<String>(),
        Just("\0 \u{feff} \u{10ffff} \"\\/\n".to_owned()),
        "[x]{100,300}",
    ]
    .boxed()
}

fn id(length: usize) -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), length),
        1 => Just(vec![0; length]),
        1 => Just(Vec::new()),
        1 => vec(any::<u8>(), 0..20),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 53),
        any::<u64>(),
        0..300_u64
    ]
    .boxed()
}

fn count() -> BoxedStrategy<u32> {
    prop_oneof![Just(0), Just(u32::MAX), any::<u32>()].boxed()
}

fn small_enum() -> BoxedStrategy<i32> {
    prop_oneof![0..7_i32, any::<i32>()].boxed()
}

fn double() -> BoxedStrategy<f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(f64::MIN_POSITIVE),
        Just(1e21),
        Just(0.1),
    ]
    .boxed()
}

fn any_value() -> BoxedStrategy<AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|it| Some(Value::StringValue(it))),
        any::<bool>().prop_map(|it| Some(Value::BoolValue(it))),
        number().prop_map(|it| Some(Value::IntValue(it.cast_signed()))),
        double().prop_map(|it| Some(Value::DoubleValue(it))),
        vec(any::<u8>(), 0..10).prop_map(|it| Some(Value::BytesValue(it))),
        small_enum().prop_map(|it| Some(Value::StringValueStrindex(it))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 16, 4, |inner| {
        let pair = (text(), of(inner.clone())).prop_map(|(key, value)| KeyValue {
            key,
            value,
            key_strindex: 0,
        });
        prop_oneof![
            vec(inner, 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(pair, 0..4).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
    .boxed()
}

pub(super) fn attributes() -> BoxedStrategy<Vec<KeyValue>> {
    let pair = (
        text(),
        of(any_value()),
        prop_oneof![9 => Just(0), 1 => any::<i32>()],
    )
        .prop_map(|(key, value, key_strindex)| KeyValue {
            key,
            value,
            key_strindex,
        });
    vec(pair, 0..4).boxed()
}

fn event() -> BoxedStrategy<Event> {
    (number(), text(), attributes(), count())
        .prop_map(
            |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
                time_unix_nano,
                name,
                attributes,
                dropped_attributes_count,
            },
        )
        .boxed()
}

fn link() -> BoxedStrategy<Link> {
    (id(16), id(8), text(), attributes(), count(), any::<u32>())
        .prop_map(
            |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
                trace_id,
                span_id,
                trace_state,
                attributes,
                dropped_attributes_count,
                flags,
            },
        )
        .boxed()
}

pub(super) fn span() -> BoxedStrategy<Span> {
    let ids = (id(16), id(8), id(8), text(), any::<u32>());
    let basics = (text(), small_enum(), number(), number());
    let parts = (attributes(), vec(event(), 0..3), vec(link(), 0..3));
    let dropped = (count(), count(), count());
    let status = of((text(), small_enum()).prop_map(|(message, code)| Status { message, code }));
    (ids, basics, parts, dropped, status)
        .prop_map(|(ids, basics, parts, dropped, status)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            trace_state: ids.3,
            parent_span_id: ids.2,
            flags: ids.4,
            name: basics.0,
            kind: basics.1,
            start_time_unix_nano: basics.2,
            end_time_unix_nano: basics.3,
            attributes: parts.0,
            dropped_attributes_count: dropped.0,
            events: parts.1,
            dropped_events_count: dropped.1,
            links: parts.2,
            dropped_links_count: dropped.2,
            status,
        })
        .boxed()
}

fn scope() -> BoxedStrategy<InstrumentationScope> {
    (text(), text(), attributes(), count())
        .prop_map(
            |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
                name,
                version,
                attributes,
                dropped_attributes_count,
            },
        )
        .boxed()
}

fn resource() -> BoxedStrategy<Resource> {
    let entity = (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type,
            id_keys,
            description_keys,
        },
    );
    (attributes(), count(), vec(entity, 0..3))
        .prop_map(
            |(attributes, dropped_attributes_count, entity_refs)| Resource {
                attributes,
                dropped_attributes_count,
                entity_refs,
            },
        )
        .boxed()
}

/// A request of any content, valid or invalid identifiers included.
pub(crate) fn request() -> BoxedStrategy<ExportTraceServiceRequest> {
    let scope_spans =
        (of(scope()), vec(span(), 0..3), text()).prop_map(|(scope, spans, schema_url)| {
            ScopeSpans {
                scope,
                spans,
                schema_url,
            }
        });
    let resource_spans = (of(resource()), vec(scope_spans, 0..3), text()).prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans {
            resource,
            scope_spans,
            schema_url,
        },
    );
    vec(resource_spans, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
        .boxed()
}

fn log_record() -> BoxedStrategy<LogRecord> {
    let ids = (id(16), id(8), any::<u32>());
    let basics = (number(), number(), small_enum(), text(), text());
    let parts = (of(any_value()), attributes(), count());
    (ids, basics, parts)
        .prop_map(|(ids, basics, parts)| LogRecord {
            time_unix_nano: basics.0,
            observed_time_unix_nano: basics.1,
            severity_number: basics.2,
            severity_text: basics.3,
            body: parts.0,
            attributes: parts.1,
            dropped_attributes_count: parts.2,
            flags: ids.2,
            trace_id: ids.0,
            span_id: ids.1,
            event_name: basics.4,
        })
        .boxed()
}

/// A request of logs of any content.
pub(crate) fn log_request() -> BoxedStrategy<ExportLogsServiceRequest> {
    let scope_logs = (of(scope()), vec(log_record(), 0..4), text()).prop_map(
        |(scope, log_records, schema_url)| ScopeLogs {
            scope,
            log_records,
            schema_url,
        },
    );
    let resource_logs = (of(resource()), vec(scope_logs, 0..3), text()).prop_map(
        |(resource, scope_logs, schema_url)| ResourceLogs {
            resource,
            scope_logs,
            schema_url,
        },
    );
    vec(resource_logs, 0..3)
        .prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
        .boxed()
}
