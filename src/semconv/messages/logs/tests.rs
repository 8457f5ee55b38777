use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue as PbValue, ArrayValue, KeyValue as PbPair, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord as PbRecord;
use opentelemetry_proto::tonic::trace::v1::Span as PbSpan;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::otlp::protobuf::Span;
use crate::semconv::messages::Messages;

fn value(json: &serde_json::Value) -> PbValue {
    let value = match json {
        serde_json::Value::String(text) => Value::StringValue(text.clone()),
        serde_json::Value::Number(number) => Value::IntValue(number.as_i64().unwrap()),
        serde_json::Value::Array(items) => Value::ArrayValue(ArrayValue {
            values: items.iter().map(value).collect(),
        }),
        serde_json::Value::Object(entries) => Value::KvlistValue(KeyValueList {
            values: entries.iter().map(|(key, it)| pair(key, it)).collect(),
        }),
        other => panic!("{other}"),
    };
    PbValue { value: Some(value) }
}

fn pair(key: &str, json: &serde_json::Value) -> PbPair {
    PbPair {
        key: key.to_owned(),
        value: Some(value(json)),
        ..PbPair::default()
    }
}

fn named(name: &str, body: &serde_json::Value) -> PbRecord {
    PbRecord {
        event_name: name.to_owned(),
        body: Some(value(body)),
        ..PbRecord::default()
    }
}

/// As Semantic Kernel and AutoGen write it: the name as an attribute, the body as JSON text.
fn as_text(name: &str, body: &serde_json::Value) -> PbRecord {
    PbRecord {
        attributes: vec![pair("event.name", &json!(name))],
        body: Some(value(&json!(body.to_string()))),
        ..PbRecord::default()
    }
}

/// The messages of a chat span with some attributes and log records.
fn joined(attributes: &serde_json::Value, records: &[PbRecord]) -> serde_json::Value {
    let mut span = PbSpan {
        attributes: vec![pair("gen_ai.operation.name", &json!("chat"))],
        ..PbSpan::default()
    };
    for (key, it) in attributes.as_object().unwrap() {
        span.attributes.push(pair(key, it));
    }
    let span = span.encode_to_vec();
    let encoded: Vec<_> = records.iter().map(|it| it.encode_to_vec()).collect();
    let records: Vec<_> = encoded
        .iter()
        .map(|it| LogRecord::parse(it).unwrap())
        .collect();
    let messages = Messages::joined(&Span::parse(&span).unwrap(), "scope", &records);
    serde_json::to_value(messages).unwrap()
}

fn text(role: &str, content: &str) -> serde_json::Value {
    json!({"role": role, "parts": [{"type": "text", "content": content}]})
}

// Scenario: an event for each message, with structured bodies and with bodies that are JSON text.
// Guarantees: both give the same messages, in the order of the records.
#[test]
fn an_event_for_each_message_is_one_message() {
    let bodies = [
        ("gen_ai.system.message", json!({"content": "be brief"})),
        ("gen_ai.user.message", json!({"content": "weather?"})),
        (
            "gen_ai.assistant.message",
            json!({"tool_calls": [{"id": "c1", "type": "function",
                "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}}]}),
        ),
        (
            "gen_ai.tool.message",
            json!({"content": "rain", "id": "c1"}),
        ),
        (
            "gen_ai.choice",
            json!({"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "It rains."}}),
        ),
    ];
    let structured: Vec<_> = bodies.iter().map(|(name, it)| named(name, it)).collect();
    let texts: Vec<_> = bodies.iter().map(|(name, it)| as_text(name, it)).collect();
    let found = joined(&json!({}), &structured);
    assert_eq!(found, joined(&json!({}), &texts));
    let input = found["input_messages"].as_array().unwrap();
    assert_eq!(
        input[..2],
        [text("system", "be brief"), text("user", "weather?")]
    );
    assert_eq!(input[2]["role"], "assistant");
    assert_eq!(input[2]["parts"][0]["name"], "weather");
    assert_eq!((&input[3]["role"], input.len()), (&json!("tool"), 4));
    let output = &found["output_messages"];
    assert_eq!(output[0]["parts"], text("", "It rains.")["parts"]);
    assert_eq!(
        (&output[0]["finish_reason"], &output[1]),
        (&json!("stop"), &json!(null))
    );
}

// Scenario: one event with everything, sent before the answer and after it; beside it an event for
// each message.
// Guarantees: each list is there once, the last one sent.
#[test]
fn one_event_can_hold_a_whole_call() {
    let message = |role: &str, content: &str| json!([text(role, content)]);
    let details = |attributes: &[(&str, serde_json::Value)]| PbRecord {
        event_name: DETAILS.to_owned(),
        attributes: attributes.iter().map(|(key, it)| pair(key, it)).collect(),
        ..PbRecord::default()
    };
    let input = ("gen_ai.input.messages", message("user", "hi"));
    let before = details(std::slice::from_ref(&input));
    let after = details(&[
        input,
        (
            "gen_ai.output.messages",
            json!(message("assistant", "hello").to_string()),
        ),
        (
            "gen_ai.system_instructions",
            json!([{"type": "text", "content": "be kind"}]),
        ),
        ("gen_ai.tool.definitions", json!([{"name": "t"}])),
    ]);
    let beside = named("gen_ai.user.message", &json!({"content": "hi"}));
    let found = joined(&json!({}), &[before, beside, after]);
    assert_eq!(found["input_messages"], message("user", "hi"));
    assert_eq!(found["output_messages"], message("assistant", "hello"));
    assert_eq!(found["system_instructions"][0]["content"], "be kind");
    assert_eq!(found["tool_definitions"], json!([{"name": "t"}]));
}

#[test]
fn log_lines_of_spring_ai_are_messages() {
    let line = |text: &str| PbRecord {
        body: Some(value(&json!(text))),
        ..PbRecord::default()
    };
    let records = [
        line("starting"),
        line("Chat Model Prompt Content:\n[\"tell me a joke\"]"),
        line("Chat Model Completion:\nno"),
    ];
    let found = joined(&json!({}), &records);
    assert_eq!(
        found["input_messages"],
        json!([text("user", "tell me a joke")])
    );
    assert_eq!(found["output_messages"], json!([text("assistant", "no")]));
}

// Scenario: a span has its input as an attribute and an answer without a reason; the records tell of
// both, and of a tool's span, and of a span that has nothing to do with models.
// Guarantees: what the span says stays, what it lacks comes from the records, and records make no
// model call of a span that is none.
#[test]
fn records_fill_in_what_the_span_does_not_say() {
    let records = [
        named("gen_ai.user.message", &json!({"content": "from the log"})),
        named(
            "gen_ai.choice",
            &json!({"finish_reason": "length", "message": {"content": "from the log"}}),
        ),
    ];
    let own = json!({"gen_ai.input.messages": json!([text("user", "own")]).to_string()});
    let found = joined(&own, &records);
    assert_eq!(found["input_messages"], json!([text("user", "own")]));
    assert_eq!(
        found["output_messages"][0]["parts"][0]["content"],
        "from the log"
    );
    let own = json!({"gen_ai.output.messages": json!([text("assistant", "own")]).to_string()});
    let found = joined(&own, &records);
    assert_eq!(
        found["input_messages"][0]["parts"][0]["content"],
        "from the log"
    );
    let output = &found["output_messages"][0];
    assert_eq!(
        (&output["parts"][0]["content"], &output["finish_reason"]),
        (&json!("own"), &json!("length"))
    );
    assert_eq!(joined(&json!({}), &[]), json!(null));
    let other = PbSpan::default().encode_to_vec();
    let encoded = records[0].encode_to_vec();
    let record = LogRecord::parse(&encoded).unwrap();
    assert_eq!(
        Messages::joined(&Span::parse(&other).unwrap(), "", &[record]),
        None
    );
}
