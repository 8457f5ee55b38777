use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::otlp::generate;
use crate::otlp::protobuf::check_spans;

/// The same rules, on the generated messages.
struct Reference<'b>(&'b Bounds);

impl Reference<'_> {
    fn request(&self, request: &mut ExportTraceServiceRequest) {
        for resource_spans in &mut request.resource_spans {
            if let Some(Resource {
                attributes,
                dropped_attributes_count,
                ..
            }) = &mut resource_spans.resource
            {
                self.attributes(attributes, dropped_attributes_count, usize::MAX);
            }
            for scope_spans in &mut resource_spans.scope_spans {
                if let Some(InstrumentationScope {
                    attributes,
                    dropped_attributes_count,
                    ..
                }) = &mut scope_spans.scope
                {
                    self.attributes(attributes, dropped_attributes_count, usize::MAX);
                }
                scope_spans.spans.iter_mut().for_each(|it| self.span(it));
            }
        }
    }

    fn span(&self, span: &mut Span) {
        let bounds = self.0;
        cut(&mut span.name, bounds.name_bytes);
        let dropped = &mut span.dropped_attributes_count;
        self.attributes(&mut span.attributes, dropped, bounds.attributes_per_span);
        let dropped = &mut span.dropped_events_count;
        keep_first(&mut span.events, dropped, bounds.events_per_span);
        for Event {
            name,
            attributes,
            dropped_attributes_count,
            ..
        } in &mut span.events
        {
            cut(name, bounds.name_bytes);
            let keep = bounds.attributes_per_event;
            self.attributes(attributes, dropped_attributes_count, keep);
        }
        let dropped = &mut span.dropped_links_count;
        keep_first(&mut span.links, dropped, bounds.links_per_span);
        for Link {
            attributes,
            dropped_attributes_count,
            ..
        } in &mut span.links
        {
            let keep = bounds.attributes_per_link;
            self.attributes(attributes, dropped_attributes_count, keep);
        }
    }

    fn attributes(&self, attributes: &mut Vec<KeyValue>, dropped: &mut u32, keep: usize) {
        named_only(attributes, dropped);
        keep_first(attributes, dropped, keep);
        for value in attributes.iter_mut().filter_map(|it| it.value.as_mut()) {
            self.value(value, dropped);
        }
    }

    fn value(&self, value: &mut AnyValue, dropped: &mut u32) {
        let max = self.0.value_bytes;
        match &mut value.value {
            Some(Any::StringValue(text)) => cut(text, max),
            Some(Any::BytesValue(bytes)) => bytes.truncate(max),
            Some(Any::ArrayValue(array)) => {
                array
                    .values
                    .iter_mut()
                    .for_each(|it| self.value(it, dropped));
            }
            Some(Any::KvlistValue(list)) => {
                named_only(&mut list.values, dropped);
                let values = list.values.iter_mut().filter_map(|it| it.value.as_mut());
                values.for_each(|it| self.value(it, dropped));
            }
            _ => {}
        }
    }
}

fn named_only(pairs: &mut Vec<KeyValue>, dropped: &mut u32) {
    let before = pairs.len();
    pairs.retain(|pair| !pair.key.is_empty());
    raise(dropped, before - pairs.len());
}

fn keep_first<T>(items: &mut Vec<T>, dropped: &mut u32, keep: usize) {
    raise(dropped, items.len().saturating_sub(keep));
    items.truncate(keep);
}

fn raise(dropped: &mut u32, by: usize) {
    *dropped = dropped.saturating_add(u32::try_from(by).unwrap());
}

fn cut(text: &mut String, bytes: usize) {
    text.truncate(text.floor_char_boundary(bytes));
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let count = || prop_oneof![Just(usize::MAX), 0_usize..3];
    let length = || prop_oneof![Just(usize::MAX), 0_usize..12];
    let counts = (count(), count(), count(), count(), count());
    (counts, length(), length()).prop_map(|(counts, value_bytes, name_bytes)| Bounds {
        attributes_per_span: counts.0,
        events_per_span: counts.1,
        links_per_span: counts.2,
        attributes_per_event: counts.3,
        attributes_per_link: counts.4,
        value_bytes,
        name_bytes,
    })
}

/// Compares what is stored, since a NaN is not equal to itself.
fn assert_same<M: prost::Message + Default>(
    rewritten: Option<Vec<u8>>,
    original: &M,
    expected: &M,
) {
    let rewritten = rewritten.unwrap_or_else(|| original.encode_to_vec());
    let decoded = M::decode(rewritten.as_slice()).unwrap();
    assert_eq!(decoded.encode_to_vec(), expected.encode_to_vec());
}

proptest! {
    // Scenario: any span and any bounds.
    // Guarantees: the result is the same as that of the same rules on decoded messages.
    #[test]
    fn spans_are_cut_as_decoded_ones_would_be(span in generate::span(), bounds in bounds()) {
        let mut expected = span.clone();
        Reference(&bounds).span(&mut expected);
        let rewritten = bounded_span(&span.encode_to_vec(), &bounds).unwrap();
        let changed = expected.encode_to_vec() != span.encode_to_vec();
        prop_assert_eq!(rewritten.is_some(), changed);
        assert_same(rewritten, &span, &expected);
    }

    // Scenario: any request.
    // Guarantees: the check says whether anything in it has no key; afterwards nothing has, at any
    // level, the rest is as it was, and each is counted.
    #[test]
    fn no_empty_key_is_left_at_any_level(request in generate::request()) {
        let mut expected = request.clone();
        Reference(&Bounds::NONE).request(&mut expected);
        let bytes = request.encode_to_vec();
        let checked = check_spans(&bytes, |_| {}).unwrap();
        let rewritten = without_empty_keys(Signal::Traces, &bytes).unwrap();
        prop_assert_eq!(rewritten.is_some(), checked.empty_keys > 0);
        if let Some(rewritten) = &rewritten {
            let again = check_spans(rewritten, |_| {}).unwrap();
            prop_assert_eq!(again.empty_keys, 0);
            prop_assert_eq!((again.items, again.rejected), (checked.items, checked.rejected));
        }
        assert_same(rewritten, &request, &expected);
    }

    // Scenario: bytes that are no request, though they look like one.
    // Guarantees: no panic.
    #[test]
    fn damaged_messages_do_not_panic(
        request in generate::request(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(without_empty_keys(Signal::Traces, &bytes));
        drop(bounded_span(&bytes, &Bounds::NONE));
    }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn list(values: Vec<KeyValue>) -> Any {
    Any::KvlistValue(KeyValueList { values })
}

#[test]
fn each_thing_without_a_key_counts_for_what_it_belongs_to() {
    let nameless = pair("", Any::IntValue(1));
    let nested = list(vec![
        nameless.clone(),
        pair("in", list(vec![nameless.clone(), nameless.clone()])),
    ]);
    let array = Any::ArrayValue(ArrayValue {
        values: vec![AnyValue {
            value: Some(list(vec![nameless.clone()])),
        }],
    });
    let resource = Resource {
        attributes: vec![nameless.clone(), pair("a", nested)],
        dropped_attributes_count: 7,
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        attributes: vec![pair("b", array), nameless.clone()],
        ..InstrumentationScope::default()
    };
    let link = Link {
        attributes: vec![nameless],
        dropped_attributes_count: u32::MAX,
        ..Link::default()
    };
    let span = Span {
        links: vec![link],
        ..Span::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let rewritten = without_empty_keys(Signal::Traces, &request.encode_to_vec())
        .unwrap()
        .unwrap();
    let rewritten = ExportTraceServiceRequest::decode(rewritten.as_slice()).unwrap();
    let resource_spans = &rewritten.resource_spans[0];
    let resource = resource_spans.resource.as_ref().unwrap();
    assert_eq!(resource.dropped_attributes_count, 7 + 4);
    assert_eq!(
        resource.attributes,
        [pair("a", list(vec![pair("in", list(vec![]))]))]
    );
    let scope_spans = &resource_spans.scope_spans[0];
    let scope = scope_spans.scope.as_ref().unwrap();
    assert_eq!(scope.dropped_attributes_count, 2);
    assert_eq!(scope.attributes.len(), 1);
    let link = &scope_spans.spans[0].links[0];
    assert_eq!(link.dropped_attributes_count, u32::MAX);
    assert!(link.attributes.is_empty());
    assert_eq!(scope_spans.spans[0].dropped_attributes_count, 0);
}

// Scenario: a nameless attribute among fields that no version of the protocol has yet.
// Guarantees: they stay where and as they are. The last of several keys counts.
#[test]
fn what_is_not_known_stays() {
    let unknown = [0xf8, 0x3f, 1]; // Field 1023, a varint.
    let named = [0x4a, 3, 0x0a, 1, b'k'];
    let renamed = [0x4a, 5, 0x0a, 0, 0x0a, 1, b'k'];
    let nameless = [0x4a, 5, 0x0a, 1, b'k', 0x0a, 0];
    let span = [&unknown[..], &named, &nameless, &renamed, &unknown].concat();
    let rewritten = bounded_span(&span, &Bounds::NONE).unwrap().unwrap();
    let counted = [0x50, 1];
    let expected = [&unknown[..], &named, &renamed, &unknown, &counted].concat();
    assert_eq!(rewritten, expected);
}

// Scenario: values nested as deeply as the decoders take them, a nameless pair at the bottom; and
// deeper.
// Guarantees: it is left out and counted; deeper is an error, not a stack overflow.
#[test]
fn nesting_is_followed_to_the_depth_that_is_accepted() {
    let nested = |levels: usize| {
        let mut value = Vec::new();
        let wrap = |field: u8, content: &[u8]| {
            let mut out = vec![field << 3 | 2];
            put_varint(&mut out, content.len() as u64);
            out.extend_from_slice(content);
            out
        };
        for level in 0..levels {
            let pair = match level {
                0 => wrap(1, b""),
                _ => [wrap(1, b"k"), wrap(2, &value)].concat(),
            };
            value = wrap(6, &wrap(1, &pair));
        }
        let attribute = [wrap(1, b"k"), wrap(2, &value)].concat();
        let resource = wrap(1, &wrap(1, &attribute));
        (wrap(1, &resource), levels)
    };
    let deepest = (1..60)
        .map(nested)
        .take_while(|(request, _)| check_spans(request, |_| {}).is_ok());
    let (request, levels) = deepest.last().unwrap();
    assert!(levels > 25, "{levels}");
    let rewritten = without_empty_keys(Signal::Traces, &request)
        .unwrap()
        .unwrap();
    assert_eq!(check_spans(&rewritten, |_| {}).unwrap().empty_keys, 0);
    for levels in [60, 1000] {
        let (request, _) = nested(levels);
        assert!(
            without_empty_keys(Signal::Traces, &request).is_err(),
            "{levels}"
        );
    }
}
