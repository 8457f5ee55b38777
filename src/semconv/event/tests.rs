use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue as PbValue, KeyValue as PbPair};
use opentelemetry_proto::tonic::logs::v1::LogRecord as PbRecord;
use prost::Message as _;

use super::*;

fn value(value: Value) -> Option<PbValue> {
    Some(PbValue { value: Some(value) })
}

pub(super) fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

pub(super) fn record(name: &str, attributes: &[(&str, Value)]) -> PbRecord {
    let attributes = attributes.iter().map(|(key, any)| PbPair {
        key: (*key).to_owned(),
        value: value(any.clone()),
        ..PbPair::default()
    });
    let mut record = PbRecord {
        attributes: attributes.collect(),
        ..PbRecord::default()
    };
    if !name.is_empty() {
        record.attributes.push(PbPair {
            key: "event.name".to_owned(),
            value: value(text(name)),
            ..PbPair::default()
        });
    }
    record
}

fn of(record: &PbRecord, scope: &str) -> EventFacts<'static> {
    let bytes: &'static [u8] = record.encode_to_vec().leak();
    facts(&LogRecord::parse(bytes).unwrap(), scope)
}

#[test]
fn agents_tell_of_their_calls_in_words_of_their_own() {
    let claude = record(
        "api_request",
        &[
            ("model", text("claude-sonnet-4-5-20250929")),
            ("session.id", text("s")),
            ("input_tokens", Value::IntValue(10)),
            ("output_tokens", text("5")),
            ("cache_read_tokens", Value::IntValue(60)),
            ("cache_creation_tokens", Value::IntValue(30)),
            ("cost_usd", Value::DoubleValue(0.25)),
            ("duration_ms", text("1500")),
        ],
    );
    let facts = of(&claude, "com.anthropic.claude_code.events");
    assert_eq!(facts.name.as_deref(), Some("api_request"));
    assert_eq!(facts.model.as_deref(), Some("claude-sonnet-4-5-20250929"));
    assert_eq!(facts.session_id.as_deref(), Some("s"));
    let expected = Usage {
        input: Some(100),
        output: Some(5),
        cache_read: Some(60),
        cache_write: Some(30),
        ..Usage::default()
    };
    assert_eq!(facts.usage, expected);
    assert_eq!(facts.cost_nano_usd, Some(250_000_000));
    assert_eq!(facts.duration_ns, Some(1_500_000_000));
    // Where the cost is told exactly, it is that.
    let mut exact = claude.clone();
    exact.attributes.push(PbPair {
        key: "cost_usd_micros".to_owned(),
        value: value(text("250001")),
        ..PbPair::default()
    });
    let exact = of(&exact, "com.anthropic.claude_code.events");
    assert_eq!(exact.cost_nano_usd, Some(250_001_000));
    // The same words of somebody else mean nothing.
    let other = of(&claude, "app");
    assert_eq!((other.model, other.usage), (None, Usage::default()));

    let gemini = record(
        "gemini_cli.api_response",
        &[
            ("model", text("gemini-2.5-pro")),
            ("input_token_count", Value::IntValue(20)),
            ("output_token_count", Value::IntValue(15)),
            ("thoughts_token_count", Value::IntValue(5)),
        ],
    );
    let usage = of(&gemini, "").usage;
    assert_eq!(
        (usage.input, usage.output, usage.reasoning),
        (Some(20), Some(20), Some(5))
    );

    let codex = record(
        "codex.sse_event",
        &[
            ("conversation.id", text("c")),
            ("input_token_count", text("7")),
            ("output_token_count", text("8")),
            ("reasoning_token_count", Value::IntValue(3)),
        ],
    );
    let facts = of(&codex, "codex_otel.log_only");
    assert_eq!(facts.session_id.as_deref(), Some("c"));
    assert_eq!((facts.usage.input, facts.usage.output), (Some(7), Some(8)));
}

#[test]
fn the_conventions_words_count_for_everybody() {
    let mut details = record(
        "",
        &[
            ("gen_ai.request.model", text("gpt-4o")),
            ("gen_ai.response.model", text("gpt-4o-2024-08-06")),
            ("gen_ai.usage.input_tokens", Value::IntValue(3)),
            ("gen_ai.usage.output_tokens", Value::IntValue(4)),
        ],
    );
    "gen_ai.client.inference.operation.details".clone_into(&mut details.event_name);
    let facts = of(&details, "any");
    assert_eq!(
        facts.name.as_deref(),
        Some("gen_ai.client.inference.operation.details")
    );
    assert_eq!(facts.model.as_deref(), Some("gpt-4o-2024-08-06"));
    assert_eq!((facts.usage.input, facts.usage.output), (Some(3), Some(4)));
    assert_eq!(facts.fingerprint, None);
}

#[test]
fn errors_that_differ_by_numbers_only_are_alike() {
    let error = |severity_number, body: &str| PbRecord {
        severity_number,
        body: value(text(body)),
        ..PbRecord::default()
    };
    let print = |body: &str| of(&error(17, body), "").fingerprint.unwrap();
    let first = print("user 17 of 0x1f3a: timeout after 30ms\nat line 3");
    assert_eq!(
        first,
        print("user 4 of 0xbeef0: timeout after 30ms\nat line 9")
    );
    assert_ne!(first, print("user 17 of 0x1f3a: refused after 30ms"));
    assert_eq!(of(&error(9, "user 17"), "").fingerprint, None);
    let thrown = record("", &[("exception.type", text("IoError"))]);
    assert!(of(&thrown, "").fingerprint.is_some());
}

#[test]
fn errors_of_one_place_in_the_code_are_alike() {
    let print = |message: &str, stack: &str| {
        let thrown = record(
            "",
            &[
                ("exception.type", text("KeyError")),
                ("exception.message", text(message)),
                ("exception.stacktrace", text(stack)),
            ],
        );
        of(&thrown, "").fingerprint.unwrap()
    };
    let stack = |line: u32, function: &str| {
        format!(
            "Traceback (most recent call last):\n  File \"/app/cart.py\", line {line}, in {function}\n"
        )
    };
    let first = print("can't find 'cart-a' in \"x y\"", &stack(3, "checkout"));
    assert_eq!(
        first,
        print("can't find 'it' in \"\"", &stack(9, "checkout"))
    );
    assert_ne!(first, print("can't find 'it' in \"\"", &stack(3, "refund")));
    assert_ne!(
        first,
        print("can't open 'it' in \"\"", &stack(3, "checkout"))
    );
    assert_eq!(unquoted("it's 'a' `b' \"c"), "it's '' `b' \"c");
}

#[test]
fn a_sender_may_say_what_is_one_issue() {
    let own = |text_: &str| record("", &[("pulse.event.fingerprint", text(text_))]);
    let print = |text: &str| of(&own(text), "").fingerprint.unwrap();
    assert_eq!(print("00000000000000ff"), 255);
    assert_ne!(print("mine"), print("yours"));
}

#[test]
fn an_outline_is_type_and_message() {
    let outlined = |record: &PbRecord| {
        let bytes: &'static [u8] = record.encode_to_vec().leak();
        outline(&LogRecord::parse(bytes).unwrap())
    };
    let thrown = [
        ("exception.type", text("E")),
        ("exception.message", text("m")),
    ];
    let found = outlined(&record("name", &thrown));
    assert_eq!((&*found.kind, &*found.message), ("E", "m"));
    let mut plain = record("name", &[]);
    plain.body = value(text("said"));
    let found = outlined(&plain);
    assert_eq!((&*found.kind, &*found.message), ("name", "said"));
    assert_eq!(outlined(&record("", &[])), Outline::default());
}
