use std::collections::{HashMap, HashSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;
use crate::bench::layout::Layout;
use crate::bench::profile::{self, Profile, Shape};

const NOW: u64 = 1_790_000_000_123_456_789;

fn shape(profile: Profile, split: bool) -> Shape {
    Shape {
        profile,
        layout: Layout::new(
            profile.spans_per_request(),
            profile.spans_per_trace(),
            split,
        ),
        services: 6,
        errors_per_10_000: 200,
        message_bytes: crate::bench::MESSAGE_BYTES,
    }
}

fn template(shape: &Shape, variant: u64, encoding: Encoding) -> Template {
    let message = profile::message(shape, variant, &mut Rng::new(variant + 99));
    Template::new(&message, encoding, |_| Vec::new())
}

fn filled(template: &Template, ids: &Ids, request: u64) -> Vec<u8> {
    let mut buffer = template.body().to_vec();
    template.fill(&mut buffer, ids, request, NOW);
    buffer
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|item| &item.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

// Requests are filled from one template and decoded by prost. Guarantees that what is sent has
// exactly the ids that verification derives, plausible times, and parents within the trace.
#[test]
fn filled_requests_decode_with_the_derived_ids_and_plausible_times() {
    for (profile, split) in [
        (Profile::Small, false),
        (Profile::Genai, false),
        (Profile::Small, true),
    ] {
        let shape = shape(profile, split);
        let ids = Ids::new(5, shape.layout);
        for request in [0_u64, 8, 4_000_000_000] {
            let template = template(&shape, 0, Encoding::Protobuf);
            let decoded =
                ExportTraceServiceRequest::decode(filled(&template, &ids, request).as_slice())
                    .unwrap();
            let expected: HashSet<_> = shape
                .layout
                .slots(request)
                .map(|slot| {
                    let trace = shape.layout.trace_number(request, slot.trace);
                    (
                        ids.trace_id(trace).0.to_vec(),
                        ids.span_id(trace, slot.position).0.to_vec(),
                    )
                })
                .collect();
            let all = spans(&decoded);
            let sent: HashSet<_> = all
                .iter()
                .map(|span| (span.trace_id.clone(), span.span_id.clone()))
                .collect();
            assert_eq!(sent.len(), all.len());
            assert_eq!(sent, expected);
            for span in &all {
                assert!(span.start_time_unix_nano < span.end_time_unix_nano);
                assert!(span.end_time_unix_nano <= NOW);
                assert!(span.start_time_unix_nano > NOW - 10_000_000_000);
                for event in &span.events {
                    assert_eq!(event.time_unix_nano, span.end_time_unix_nano);
                }
                let parent = (span.trace_id.clone(), span.parent_span_id.clone());
                assert!(split || span.parent_span_id.is_empty() || sent.contains(&parent));
            }
        }
    }
}

#[test]
fn spans_have_the_size_of_their_profile() {
    for (profile, expected) in [(Profile::Small, 540.0), (Profile::Genai, 2200.0)] {
        let shape = shape(profile, false);
        let bytes = template(&shape, 0, Encoding::Protobuf).body().len();
        let average = bytes as f64 / f64::from(shape.layout.spans_per_request);
        let off = (average / expected - 1.0).abs();
        assert!(off < 0.1, "{profile:?}: {average} bytes a span");
    }
    let mut large = shape(Profile::Genai, false);
    large.message_bytes = 9_800;
    let bytes = template(&large, 0, Encoding::Protobuf).body().len();
    let average = bytes / 510;
    assert!((3700..4500).contains(&average), "{average}");
}

#[test]
fn small_spans_have_eleven_attributes_and_chat_spans_over_4_kb_of_messages() {
    let mut small = shape(Profile::Small, false);
    small.errors_per_10_000 = 0;
    let message = profile::message(&small, 0, &mut Rng::new(1));
    assert!(
        spans(&message)
            .iter()
            .all(|span| span.attributes.len() == 11)
    );
    let genai = shape(Profile::Genai, false);
    let message = profile::message(&genai, 0, &mut Rng::new(1));
    let chat: Vec<usize> = spans(&message)
        .iter()
        .filter(|span| span.name.starts_with("chat"))
        .map(|span| {
            let messages = span
                .attributes
                .iter()
                .filter(|item| item.key.ends_with("put.messages"));
            messages.map(prost::Message::encoded_len).sum()
        })
        .collect();
    assert_eq!(chat.len(), 170);
    assert!(chat.iter().all(|bytes| *bytes > 4_096), "{chat:?}");
}

// The same request is filled in both encodings and the JSON is decoded by the reference serde of
// opentelemetry-proto. Guarantees that both carry the same data.
#[test]
fn the_json_template_is_valid_and_equals_the_protobuf_content() {
    for profile in [Profile::Small, Profile::Genai] {
        let shape = shape(profile, false);
        let ids = Ids::new(77, shape.layout);
        let protobuf = filled(&template(&shape, 0, Encoding::Protobuf), &ids, 31);
        let json = filled(&template(&shape, 0, Encoding::Json), &ids, 31);
        let protobuf = ExportTraceServiceRequest::decode(protobuf.as_slice()).unwrap();
        let json: ExportTraceServiceRequest = serde_json::from_slice(&json).unwrap();
        let (mut one, mut two) = (spans(&protobuf), spans(&json));
        assert_eq!(one.len(), two.len());
        // Words are drawn per occurrence; escapes in JSON may hide the odd word.
        for span in one.iter_mut().chain(&mut two) {
            for attribute in &mut span.attributes {
                if attribute.encoded_len() >= LONG_TEXT_BYTES {
                    attribute.value = None;
                }
            }
        }
        assert_eq!(one, two);
        let resources = |request: &ExportTraceServiceRequest| -> Vec<_> {
            let items = request.resource_spans.iter();
            items
                .map(|item| (item.resource.clone(), item.scope_spans[0].scope.clone()))
                .collect()
        };
        assert_eq!(resources(&protobuf), resources(&json));
    }
}

#[test]
fn texts_and_conversations_differ_between_requests_and_stay_json() {
    let shape = shape(Profile::Genai, false);
    let ids = Ids::new(3, shape.layout);
    let template = template(&shape, 0, Encoding::Protobuf);
    let values = |request| -> HashMap<String, Vec<String>> {
        let bytes = filled(&template, &ids, request);
        let decoded = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for attribute in spans(&decoded).into_iter().flat_map(|span| span.attributes) {
            if let Some(Some(Value::StringValue(text))) = attribute.value.map(|value| value.value) {
                values.entry(attribute.key).or_default().push(text);
            }
        }
        values
    };
    let (one, two) = (values(1), values(2));
    for key in ["gen_ai.input.messages", "gen_ai.output.messages"] {
        for (first, second) in one[key].iter().zip(&two[key]) {
            assert_ne!(first, second);
            assert_eq!(first.len(), second.len());
            serde_json::from_str::<serde_json::Value>(second).unwrap();
        }
    }
    let conversations: HashSet<_> = one["gen_ai.conversation.id"].iter().collect();
    assert_eq!(conversations.len(), 34, "170 traces, five a conversation");
}

#[test]
fn a_filled_buffer_can_be_filled_again() {
    let shape = shape(Profile::Small, false);
    let ids = Ids::new(3, shape.layout);
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let template = template(&shape, 0, encoding);
        let mut reused = filled(&template, &ids, 1);
        template.fill(&mut reused, &ids, 2, NOW);
        assert_eq!(reused, filled(&template, &ids, 2));
    }
}
