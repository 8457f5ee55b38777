use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;

use super::super::proto::{
    Agent, AnyValue, ArrayValue, Cost, ExportRequest, ResourceSpans, ScopeSpans, Tool, Usage,
};
use super::*;
use crate::otlp::generate;
use crate::otlp::protobuf::as_otlp;

/// The span as it is stored: with attributes in the place of `gen_ai`.
fn stored(span: Span) -> Span {
    let request = ExportRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let request = request.encode_to_vec();
    let otlp = as_otlp(&request, &mut |_| Ok(())).unwrap();
    let otlp = ExportRequest::decode(otlp.unwrap_or(request).as_slice()).unwrap();
    otlp.resource_spans[0].scope_spans[0].spans[0].clone()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn amount() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(prop_oneof![0..10_u64, 0..(1_u64 << 53) / 1000])
}

fn usage() -> impl Strategy<Value = Option<Usage>> {
    prop::option::of(
        prop::array::uniform9(amount()).prop_map(|[a, b, c, d, e, f, g, h, i]| Usage {
            input_tokens: a,
            output_tokens: b,
            cache_read_tokens: c,
            cache_write_tokens: d,
            reasoning_tokens: e,
            audio_input_tokens: f,
            audio_output_tokens: g,
            image_input_tokens: h,
            image_output_tokens: i,
        }),
    )
}

fn gen_ai() -> impl Strategy<Value = GenAi> {
    let texts = prop::collection::vec(".{0,3}", 17..=17);
    let lists = prop::collection::vec(prop::collection::vec(".{0,3}", 0..3), 2..=2);
    let amounts = prop::array::uniform4(amount());
    let flag = prop::option::of(any::<bool>());
    (texts, lists, amounts, flag, usage()).prop_map(|(texts, lists, amounts, flag, usage)| {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap();
        let [first_token, total, input, output] = amounts;
        let mut gen_ai = GenAi {
            operation: text(),
            provider: text(),
            request_model: text(),
            response_model: text(),
            response_id: text(),
            finish_reasons: lists[0].clone(),
            streaming: flag,
            time_to_first_token_ns: first_token,
            usage,
            cost: Some(Cost {
                total_nano_usd: total,
                input_nano_usd: input,
                output_nano_usd: output,
                ..Cost::default()
            }),
            session_id: text(),
            user_id: text(),
            agent: Some(Agent {
                name: text(),
                id: text(),
            }),
            tool: Some(Tool {
                name: text(),
                call_id: text(),
                arguments: text(),
                result: text(),
            }),
            tags: lists[1].clone(),
            input_messages: text(),
            output_messages: text(),
            system_instructions: text(),
            tool_definitions: text(),
        };
        tidy(&mut gen_ai);
        gen_ai
    })
}

/// What attributes say: of equal keys the last counts.
fn said(span: &Span) -> BTreeMap<String, Option<AnyValue>> {
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

// Scenario: attributes that a field could hold, but not exactly: of another type, empty, negative, finer
// than a billionth; and one key twice.
// Guarantees: they stay attributes; of equal keys the last is taken.
#[test]
fn what_no_field_holds_exactly_stays_an_attribute() {
    let list = |values| Value::ArrayValue(ArrayValue { values });
    let number = AnyValue {
        value: Some(Value::IntValue(1)),
    };
    let kept = vec![
        attribute("gen_ai.request.model", Value::IntValue(4)),
        attribute("gen_ai.provider.name", text("")),
        attribute("gen_ai.response.finish_reasons", list(Vec::new())),
        attribute("pulse.tags", list(vec![number])),
        attribute("gen_ai.usage.input_tokens", Value::IntValue(-1)),
        attribute("gen_ai.usage.cost", Value::DoubleValue(1e-10)),
        attribute("gen_ai.usage.input_cost", Value::DoubleValue(f64::INFINITY)),
        attribute("gen_ai.usage.output_cost", Value::DoubleValue(-0.0)),
        attribute("gen_ai.usage.total_tokens", Value::IntValue(3)),
        attribute("gen_ai.tool.type", text("function")),
        attribute("user.id", text("first")),
        attribute("session.id", text("first")),
        attribute("session.id", Value::BoolValue(true)),
    ];
    let mut attributes = kept.clone();
    attributes.push(attribute("user.id", text("last")));
    let mut span = Span {
        attributes,
        ..Span::default()
    };
    lift(&mut span);
    assert_eq!(span.attributes, kept);
    let expected = GenAi {
        user_id: "last".to_owned(),
        ..GenAi::default()
    };
    assert_eq!(span.gen_ai, Some(expected));
}

proptest! {
    // Guarantees: what is sent in fields is answered in the same fields, and nowhere else.
    #[test]
    fn what_was_sent_comes_back(gen_ai in gen_ai(), key in "[a-z.]{1,5}") {
        let sent = Span {
            name: "chat".to_owned(),
            attributes: vec![attribute(&key, text("x"))],
            gen_ai: (gen_ai != GenAi::default()).then_some(gen_ai),
            ..Span::default()
        };
        let mut answered = stored(sent.clone());
        prop_assert!(answered.gen_ai.is_none());
        lift(&mut answered);
        prop_assert_eq!(answered, sent);
    }

    // Scenario: any spans of OTLP, and any values under the keys that there are fields for, are answered
    // and sent again.
    // Guarantees: they have the attributes that they had.
    #[test]
    fn spans_of_otlp_can_be_sent_again(
        request in generate::request(),
        chosen in prop::collection::vec((0..6_usize, -2..3_i64), 0..8),
    ) {
        let keys = [
            "gen_ai.request.model",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.cost",
            "gen_ai.request.stream",
            "pulse.tags",
            "gen_ai.tool.name",
        ];
        let request = ExportRequest::decode(request.encode_to_vec().as_slice()).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|item| item.scope_spans);
        for mut span in scopes.flat_map(|scope| scope.spans) {
            for (key, number) in &chosen {
                let value = match number {
                    -2 => text("t"),
                    -1 => Value::BoolValue(true),
                    0 => Value::DoubleValue(0.25),
                    number => Value::IntValue(*number),
                };
                span.attributes.push(attribute(keys[*key], value));
            }
            let mut answered = span.clone();
            lift(&mut answered);
            let again = stored(answered);
            prop_assert_eq!(again.attributes.len(), span.attributes.len());
            let (told, meant) = (said(&again), said(&span));
            // A number that is none is unequal to itself.
            prop_assert_eq!(format!("{told:?}"), format!("{meant:?}"));
        }
    }
}
