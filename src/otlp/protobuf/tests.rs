use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

mod logs;
mod metrics;

use crate::otlp::{Failure, generate};

/// Builds the generated messages back from the views.
fn rebuild(bytes: &[u8]) -> ExportTraceServiceRequest {
    let resource_spans = Request::new(bytes)
        .resource_spans()
        .map(|it| trace::ResourceSpans {
            resource: Some(Resource::decode(&*it.resource).unwrap()),
            scope_spans: it.scope_spans().map(|it| scope_spans(&it)).collect(),
            schema_url: it.schema_url.to_owned(),
        });
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}

fn scope_spans(view: &ScopeSpans<'_>) -> trace::ScopeSpans {
    let decoded = common::InstrumentationScope::decode(&*view.scope).unwrap();
    let scope = Scope::parse(&view.scope).unwrap();
    assert_eq!(scope.attributes.len(), decoded.attributes.len());
    trace::ScopeSpans {
        scope: Some(common::InstrumentationScope {
            name: scope.name.to_owned(),
            version: scope.version.to_owned(),
            attributes: attributes(&scope.attributes),
            dropped_attributes_count: scope.dropped_attributes_count,
        }),
        spans: view
            .spans()
            .map(|it| span(&Span::parse(it).unwrap()))
            .collect(),
        schema_url: view.schema_url.to_owned(),
    }
}

fn span(view: &Span<'_>) -> trace::Span {
    let built = trace::Span {
        trace_id: view.trace_id.to_vec(),
        span_id: view.span_id.to_vec(),
        trace_state: view.trace_state.to_owned(),
        parent_span_id: view.parent_span_id.to_vec(),
        flags: view.flags,
        name: view.name.to_owned(),
        kind: view.kind,
        start_time_unix_nano: view.start_unix_nano,
        end_time_unix_nano: view.end_unix_nano,
        attributes: attributes(&view.attributes),
        dropped_attributes_count: view.dropped_attributes_count,
        events: view.events().map(|it| event(&it)).collect(),
        dropped_events_count: view.dropped_events_count,
        links: view.links().map(|it| link(&it)).collect(),
        dropped_links_count: view.dropped_links_count,
        status: Some(trace::Status {
            message: view.status.message.to_owned(),
            code: view.status.code,
        }),
    };
    assert_eq!(built.attributes.len(), view.attributes.len());
    assert_eq!(built.events.len(), view.event_count());
    assert_eq!(built.links.len(), view.link_count());
    built
}

fn event(view: &Event<'_>) -> trace::span::Event {
    trace::span::Event {
        time_unix_nano: view.time_unix_nano,
        name: view.name.to_owned(),
        attributes: attributes(&view.attributes),
        dropped_attributes_count: view.dropped_attributes_count,
    }
}

fn link(view: &Link<'_>) -> trace::span::Link {
    trace::span::Link {
        trace_id: view.trace_id.to_vec(),
        span_id: view.span_id.to_vec(),
        trace_state: view.trace_state.to_owned(),
        attributes: attributes(&view.attributes),
        dropped_attributes_count: view.dropped_attributes_count,
        flags: view.flags,
    }
}

fn attributes(view: &KeyValues<'_>) -> Vec<common::KeyValue> {
    view.iter().map(|it| key_value(&it)).collect()
}

fn key_value(view: &KeyValue<'_>) -> common::KeyValue {
    common::KeyValue {
        key: view.key.to_owned(),
        value: Some(any_value(&view.value)),
        key_strindex: 0,
    }
}

fn any_value(view: &AnyValue<'_>) -> common::AnyValue {
    let value = match view {
        AnyValue::Empty => None,
        AnyValue::Str(text) => Some(any_value::Value::StringValue((*text).to_owned())),
        AnyValue::Bool(value) => Some(any_value::Value::BoolValue(*value)),
        AnyValue::Int(value) => Some(any_value::Value::IntValue(*value)),
        AnyValue::Double(value) => Some(any_value::Value::DoubleValue(*value)),
        AnyValue::Bytes(bytes) => Some(any_value::Value::BytesValue(bytes.to_vec())),
        AnyValue::Array(array) => Some(any_value::Value::ArrayValue(common::ArrayValue {
            values: array.iter().map(|it| any_value(&it)).collect(),
        })),
        AnyValue::KvList(list) => Some(any_value::Value::KvlistValue(common::KeyValueList {
            values: list.iter().map(|it| key_value(&it)).collect(),
        })),
    };
    common::AnyValue { value }
}

/// Removes the differences that views don't show: absent against empty messages, and references
/// to the string table of profiles.
fn normalise(mut request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    for resource_spans in &mut request.resource_spans {
        resource_spans.resource.get_or_insert_default();
        for scope_spans in &mut resource_spans.scope_spans {
            let scope = scope_spans.scope.get_or_insert_default();
            normalise_attributes(&mut scope.attributes);
            for span in &mut scope_spans.spans {
                span.status.get_or_insert_default();
                normalise_attributes(&mut span.attributes);
                for event in &mut span.events {
                    normalise_attributes(&mut event.attributes);
                }
                for link in &mut span.links {
                    normalise_attributes(&mut link.attributes);
                }
            }
        }
    }
    request
}

fn normalise_attributes(attributes: &mut [common::KeyValue]) {
    for attribute in attributes {
        attribute.key_strindex = 0;
        normalise_value(attribute.value.get_or_insert_default());
    }
}

fn normalise_value(value: &mut common::AnyValue) {
    match &mut value.value {
        Some(any_value::Value::StringValueStrindex(_)) => value.value = None,
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.iter_mut().for_each(normalise_value);
        }
        Some(any_value::Value::KvlistValue(list)) => normalise_attributes(&mut list.values),
        _ => {}
    }
}

/// The two properties that hold for any bytes.
fn agrees_with_the_generated_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    let expected = ExportTraceServiceRequest::decode(bytes);
    let checked = check_spans(bytes, |_| {});
    prop_assert_eq!(
        checked.is_ok(),
        expected.is_ok(),
        "{:?} / {:?}",
        checked,
        expected
    );
    match (checked, expected) {
        (Ok(checked), Ok(expected)) => {
            let spans = || {
                expected
                    .resource_spans
                    .iter()
                    .flat_map(|it| it.scope_spans.iter().flat_map(|it| &it.spans))
            };
            let invalid = spans().filter(|it| !has_valid_ids(it)).count();
            prop_assert_eq!(checked.items, u64::try_from(spans().count()).unwrap());
            prop_assert_eq!(checked.rejected, u64::try_from(invalid).unwrap());
            prop_assert_eq!(checked.first_rejection.is_some(), invalid > 0);
            // As bytes, because NaN does not equal itself.
            prop_assert_eq!(
                rebuild(bytes).encode_to_vec(),
                normalise(expected).encode_to_vec()
            );
        }
        (Err(error), _) => prop_assert!(error.to_string().len() < 200, "{}", error),
        _ => {}
    }
    Ok(())
}

fn has_valid_ids(span: &trace::Span) -> bool {
    let valid = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
    valid(&span.trace_id, 16)
        && valid(&span.span_id, 8)
        && matches!(span.parent_span_id.len(), 0 | 8)
}

/// A field made by hand, so that everything occurs in any order, twice, unknown, wrongly typed.
#[derive(Debug, Clone)]
enum Soup {
    Varint(u32, u64),
    Fixed64(u32, u64),
    Bytes(u32, Vec<u8>),
    Message(u32, Vec<Self>),
    Group(u32, Vec<Self>),
    Fixed32(u32, u32),
}

fn soup(depth: u32) -> BoxedStrategy<Vec<Soup>> {
    let number =
        || prop_oneof![8 => 1..9_u32, 4 => 9..17_u32, 1 => any::<u32>().prop_map(|it| it >> 3)];
    let payload = prop_oneof![
        Just(Vec::new()),
        "[a-zé]{0,6}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..4),
        vec(any::<u8>(), 16),
        vec(any::<u8>(), 8),
    ];
    let leaf = prop_oneof![
        (number(), any::<u64>()).prop_map(|(number, it)| Soup::Varint(number, it)),
        (number(), any::<u64>()).prop_map(|(number, it)| Soup::Fixed64(number, it)),
        (number(), payload).prop_map(|(number, it)| Soup::Bytes(number, it)),
        (number(), any::<u32>()).prop_map(|(number, it)| Soup::Fixed32(number, it)),
    ];
    leaf.prop_recursive(depth, 48, 5, move |inner| {
        prop_oneof![
            9 => (number(), vec(inner.clone(), 0..5)).prop_map(|(n, it)| Soup::Message(n, it)),
            1 => (number(), vec(inner, 0..3)).prop_map(|(n, it)| Soup::Group(n, it)),
        ]
    })
    .prop_flat_map(|field| Just(vec![field]))
    .boxed()
}

/// Values and attributes in parts: the fields of `AnyValue` and `KeyValue` only, well typed.
fn value_soup() -> BoxedStrategy<Vec<Soup>> {
    let leaf = prop_oneof![
        "[a-z]{0,3}".prop_map(|it| Soup::Bytes(1, it.into_bytes())),
        any::<u64>().prop_map(|it| Soup::Varint(2, it)),
        any::<u64>().prop_map(|it| Soup::Varint(3, it)),
        any::<u64>().prop_map(|it| Soup::Fixed64(4, it)),
        any::<u64>().prop_map(|it| Soup::Varint(8, it)),
        any::<u64>().prop_map(|it| Soup::Varint(77, it)),
    ];
    let values = vec(leaf, 0..3).prop_recursive(5, 64, 4, |inner| {
        let array = vec(inner.clone(), 0..3).prop_map(|values| {
            let values = values.into_iter().map(|value| Soup::Message(1, value));
            Soup::Message(5, values.collect())
        });
        let list = vec(inner.clone(), 0..3).prop_map(|values| {
            let pairs = values
                .into_iter()
                .map(|value| Soup::Message(1, vec![Soup::Message(2, value)]));
            Soup::Message(6, pairs.collect())
        });
        let part = prop_oneof![4 => array, 4 => list];
        (inner, vec(part, 0..4), any::<bool>()).prop_map(|(mut fields, parts, front)| {
            let at = if front { 0 } else { fields.len() };
            fields.splice(at..at, parts);
            fields
        })
    });
    vec(values, 0..3)
        .prop_map(|values| {
            let mut pair: Vec<_> = values.into_iter().map(|it| Soup::Message(2, it)).collect();
            pair.push(Soup::Bytes(1, b"key".to_vec()));
            pair
        })
        .boxed()
}

fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    let number = number.clamp(1, (1 << 29) - 1);
    prost::encoding::encode_varint(u64::from(number << 3 | wire_type), out);
}

fn cook(soup: &[Soup]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in soup {
        match field {
            Soup::Varint(number, value) => {
                put_key(&mut out, *number, 0);
                prost::encoding::encode_varint(*value, &mut out);
            }
            Soup::Fixed64(number, value) => {
                put_key(&mut out, *number, 1);
                out.extend(value.to_le_bytes());
            }
            Soup::Bytes(number, bytes) => put_bytes(&mut out, *number, bytes),
            Soup::Message(number, inner) => put_bytes(&mut out, *number, &cook(inner)),
            Soup::Group(number, inner) => {
                put_key(&mut out, *number, 3);
                out.extend(cook(inner));
                put_key(&mut out, *number, 4);
            }
            Soup::Fixed32(number, value) => {
                put_key(&mut out, *number, 5);
                out.extend(value.to_le_bytes());
            }
        }
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, 2);
    prost::encoding::encode_varint(u64::try_from(bytes.len()).unwrap(), out);
    out.extend(bytes);
}

/// Wraps bytes in length-delimited fields, innermost number last.
fn wrap(numbers: &[u32], bytes: &[u8]) -> Vec<u8> {
    numbers.iter().rev().fold(bytes.to_vec(), |inner, number| {
        let mut out = Vec::new();
        put_bytes(&mut out, *number, &inner);
        out
    })
}

const SPAN: [u32; 3] = [1, 2, 2];

proptest! {
    // Random bytes, as a broken client or a scanner would send.
    // Guarantees that the check refuses exactly what the generated decoder refuses.
    #[test]
    fn any_bytes_are_judged_as_the_generated_decoder_does(bytes in vec(any::<u8>(), 0..64)) {
        agrees_with_the_generated_decoder(&bytes)?;
        agrees_with_the_generated_decoder(&wrap(&SPAN, &bytes))?;
    }

    // Requests of any content.
    // Guarantees that they are accepted and that the views show every field.
    #[test]
    fn generated_requests_are_shown_field_by_field(request in generate::request()) {
        let bytes = request.encode_to_vec();
        prop_assert!(validate(&bytes).is_ok());
        agrees_with_the_generated_decoder(&bytes)?;
    }

    // Requests damaged in transit: a byte changed, inserted, removed, or the end cut off.
    // Guarantees the same verdict and the same content as the generated decoder.
    #[test]
    fn damaged_requests_are_judged_as_the_generated_decoder_does(
        request in generate::request(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (index, byte, kind) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => _ = bytes.remove(at),
                _ => bytes.truncate(at),
            }
        }
        agrees_with_the_generated_decoder(&bytes)?;
    }

    // Fields in any order, repeated, unknown, wrongly typed, in groups.
    // Guarantees that merging, skipping and refusing follow the generated decoder.
    #[test]
    fn fields_in_any_order_are_read_as_the_generated_decoder_does(
        fields in vec(soup(6), 0..8),
        level in 0..5_usize,
    ) {
        let levels = [&[][..], &[1], &[1, 2], &SPAN, &[1, 2, 2, 9]];
        agrees_with_the_generated_decoder(&wrap(levels[level], &cook(&fields.concat())))?;
    }

    // Values that come in parts and change their kind in between.
    // Guarantees that parts are merged at both levels and that the last kind wins.
    #[test]
    fn values_in_parts_are_merged(pairs in vec(value_soup(), 1..3)) {
        let pairs: Vec<_> = pairs.into_iter().map(|it| Soup::Message(9, it)).collect();
        let bytes = wrap(&SPAN, &cook(&pairs));
        prop_assert!(validate(&bytes).is_ok());
        agrees_with_the_generated_decoder(&bytes)?;
    }

    // Messages in two parts, as a proxy that appends fields would leave them.
    // Guarantees that resource, scope and status are merged, and the last scalar wins.
    #[test]
    fn messages_in_two_parts_are_merged(
        [first, second] in [generate::request(), generate::request()],
        [one, other] in [generate::span(), generate::span()],
    ) {
        let (first, second) = (first.resource_spans, second.resource_spans);
        for (a, b) in first.iter().zip(&second) {
            let both = [a.encode_to_vec(), b.encode_to_vec()].concat();
            agrees_with_the_generated_decoder(&wrap(&[1], &both))?;
            for (a, b) in a.scope_spans.iter().zip(&b.scope_spans) {
                let both = [a.encode_to_vec(), b.encode_to_vec()].concat();
                agrees_with_the_generated_decoder(&wrap(&[1, 2], &both))?;
            }
        }
        let both = [one.encode_to_vec(), other.encode_to_vec()].concat();
        agrees_with_the_generated_decoder(&wrap(&SPAN, &both))?;
    }

    // Any bytes, read through the views without a check.
    // Guarantees that views never panic and always end.
    #[test]
    fn views_of_unchecked_bytes_end_without_panic(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(value) = AnyValue::parse(&bytes) {
            let _text = value.text();
        }
        if let Ok(span) = Span::parse(&bytes) {
            span.attributes.iter().count();
            span.events().count();
            span.links().count();
        }
        Request::new(&bytes)
            .resource_spans()
            .flat_map(|it| it.scope_spans())
            .flat_map(|it| it.spans())
            .count();
    }
}

#[test]
fn nesting_is_accepted_up_to_the_same_depth_as_the_generated_decoder() {
    let mut deepest = 0;
    for levels in 1..120 {
        // Attribute, value, then array and value in turn, with a string at the bottom.
        let mut numbers = SPAN.to_vec();
        numbers.extend([9, 2]);
        numbers.extend((0..levels).map(|level| if level % 2 == 0 { 5 } else { 1 }));
        for bottom in [&b"\x0a\x01a"[..], b"", b"\x98\x06\x01", b"\x9b\x06\x9c\x06"] {
            let bytes = wrap(&numbers, bottom);
            let is_accepted = ExportTraceServiceRequest::decode(&*bytes).is_ok();
            assert_eq!(validate(&bytes).is_ok(), is_accepted, "{levels} {bottom:?}");
            if is_accepted {
                deepest = levels;
                agrees_with_the_generated_decoder(&bytes).unwrap();
            }
        }
    }
    assert_eq!(deepest, 95);

    let hostile = wrap(
        &[1, 2, 2, 9, 2]
            .into_iter()
            .chain([5, 1].repeat(5_000))
            .collect::<Vec<_>>(),
        b"",
    );
    let error = validate(&hostile).unwrap_err();
    assert_eq!(error.fault(), Fault::Depth);
    assert!(error.to_string().len() < 200, "{error}");
    // Unchecked, it is cut off rather than followed to the end of the stack.
    let value = wrap(&[5, 1].repeat(50_000), b"");
    let cut = format!("{}null{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(AnyValue::parse(&value).unwrap().text(), cut);
}

#[test]
fn groups_are_skipped_to_the_same_depth_as_the_generated_decoder() {
    for levels in 90..110 {
        let mut bytes = [0xfb, 0x06].repeat(levels);
        bytes.extend([0x08, 0x01]);
        bytes.extend([0xfc, 0x06].repeat(levels));
        agrees_with_the_generated_decoder(&bytes).unwrap();
        agrees_with_the_generated_decoder(&wrap(&[1, 2], &bytes)).unwrap();
    }
    let unbalanced = [0xfb, 0x06, 0xf4, 0x06];
    assert_eq!(validate(&unbalanced).unwrap_err().fault(), Fault::Group);
}

#[test]
fn errors_name_the_field_and_become_a_malformed_request() {
    let broken_name = wrap(&[1, 2, 2, 5], b"\xff");
    let error = validate(&broken_name).unwrap_err();
    assert_eq!(error.path(), "resource_spans.scope_spans.spans.name");
    assert_eq!(error.fault(), Fault::Utf8);
    let Failure::Malformed { message, field } = Failure::from(error) else {
        panic!("not malformed");
    };
    assert_eq!(field.unwrap(), "resource_spans.scope_spans.spans.name");
    assert_eq!(
        message,
        "not a valid protobuf export request: \
         resource_spans.scope_spans.spans.name is not valid UTF-8"
    );

    let deep = wrap(&[1, 2, 2, 9, 2, 5, 1, 5, 1, 5, 1, 1], b"\xff");
    assert_eq!(
        validate(&deep).unwrap_err().path(),
        "resource_spans.scope_spans.spans.attributes.value.array_value.values.….string_value"
    );
    assert_eq!(
        validate(b"\x07").unwrap_err().to_string(),
        "not a valid protobuf export request: it has an invalid field tag"
    );
}

#[test]
fn bad_spans_are_reported_one_by_one_and_the_first_is_named() {
    let good = trace::Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        links: vec![trace::span::Link::default()],
        ..Default::default()
    };
    let bad = trace::Span {
        trace_id: vec![3; 12],
        ..good.clone()
    };
    let zero = trace::Span {
        span_id: vec![0; 8],
        ..good.clone()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![trace::ResourceSpans {
            scope_spans: vec![trace::ScopeSpans {
                spans: vec![good.clone(), bad, good, zero],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    let mut outcomes = Vec::new();
    let checked = check_spans(&request.encode_to_vec(), |outcome| {
        outcomes.push(outcome.err())
    })
    .unwrap();
    assert_eq!((checked.items, checked.rejected), (4, 2));
    assert_eq!(
        outcomes,
        [
            None,
            Some(InvalidId::TraceIdLength(12)),
            None,
            Some(InvalidId::SpanIdZero)
        ]
    );
    assert_eq!(
        checked.first_rejection.unwrap().reason,
        InvalidId::TraceIdLength(12)
    );
    assert!(!checked.uses_string_table);
}

#[test]
fn references_to_the_string_table_read_as_empty_and_are_noticed() {
    for reference in [&[9, 2][..], &[9]] {
        let number = if reference.len() == 2 { 8 } else { 3 };
        let mut index = Vec::new();
        put_key(&mut index, number, 0);
        index.push(4);
        let bytes = wrap(&[&SPAN[..], reference].concat(), &index);
        let checked = check_spans(&bytes, |_| {}).unwrap();
        assert!(checked.uses_string_table);
        agrees_with_the_generated_decoder(&bytes).unwrap();
    }
}

#[test]
fn values_have_a_text_for_filters() {
    use any_value::Value as V;
    let text = |value: V| {
        let bytes = common::AnyValue { value: Some(value) }.encode_to_vec();
        AnyValue::parse(&bytes).unwrap().text().into_owned()
    };
    let wrapped = |value: V| common::AnyValue { value: Some(value) };
    let pair = |key: &str, value: Option<V>| common::KeyValue {
        key: key.to_owned(),
        value: value.map(wrapped),
        key_strindex: 0,
    };
    assert_eq!(text(V::StringValue("a \"b\"".to_owned())), "a \"b\"");
    assert_eq!(text(V::IntValue(i64::MIN)), "-9223372036854775808");
    assert_eq!(text(V::BoolValue(true)), "true");
    assert_eq!(text(V::BytesValue(vec![0xfb, 0xff])), "+/8=");
    for (double, expected) in [
        (1.0, "1"),
        (0.1, "0.1"),
        (-0.0, "-0"),
        (1e300, "1e300"),
        (1.5e-7, "1.5e-7"),
        (123_456_789.25, "123456789.25"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        assert_eq!(text(V::DoubleValue(double)), expected);
    }
    assert_eq!(
        text(V::ArrayValue(common::ArrayValue {
            values: vec![
                wrapped(V::StringValue("a\"".to_owned())),
                wrapped(V::DoubleValue(f64::INFINITY)),
                common::AnyValue::default(),
                wrapped(V::KvlistValue(common::KeyValueList {
                    values: vec![
                        pair("n", Some(V::IntValue(7))),
                        pair("b", Some(V::BytesValue(vec![1]))),
                        pair("none", None),
                    ],
                })),
            ],
        })),
        r#"["a\"","Infinity",null,{"n":7,"b":"AQ==","none":null}]"#
    );
    assert_eq!(AnyValue::parse(b"").unwrap().text(), "");
}

#[test]
fn the_fields_of_any_message_can_be_listed() {
    let bytes = cook(&[
        Soup::Varint(1, 300),
        Soup::Fixed64(2, 7),
        Soup::Bytes(3, b"abc".to_vec()),
        Soup::Group(4, vec![Soup::Varint(1, 1)]),
        Soup::Fixed32(5, 9),
    ]);
    let listed: Vec<_> = fields(&bytes).map(Result::unwrap).collect();
    let values = [
        Value::Varint(300),
        Value::Fixed64(7),
        Value::Bytes(b"abc"),
        Value::Group,
        Value::Fixed32(9),
    ];
    let expected = (1..)
        .zip(values)
        .map(|(number, value)| Field { number, value });
    assert!(listed.into_iter().eq(expected));
    // After an error there is nothing more.
    assert_eq!(fields(b"\x0a\x05a").count(), 1);
}
