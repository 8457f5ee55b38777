use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::super::tests::{record, text as string};
use super::*;
use prost::Message as _;

fn of(name: &str, scope: &str, attributes: &[(&str, Value)]) -> Option<RecordedCall<'static>> {
    let bytes: &'static [u8] = record(name, attributes).encode_to_vec().leak();
    recorded_call(&LogRecord::parse(bytes).unwrap(), scope)
}

const CLAUDE: &str = "com.anthropic.claude_code.events";

#[test]
fn a_record_of_an_agent_tells_of_its_call() {
    let attributes = [
        ("session.id", string("s")),
        ("prompt.id", string("p")),
        ("request_id", string("req_1")),
        ("duration_ms", string("1500")),
        ("error", string("no failure")),
    ];
    let expected = RecordedCall {
        name: "claude_code.api_request",
        failed: false,
        message: "",
        duration_ns: 1_500_000_000,
        session: Some("s"),
        prompt: Some("p"),
        request: Some("req_1"),
    };
    assert_eq!(of("api_request", CLAUDE, &attributes), Some(expected));
    let whole = of("claude_code.api_request", "", &attributes);
    assert_eq!(whole, Some(expected));
    let failed = of("api_error", CLAUDE, &attributes).unwrap();
    assert_eq!(
        (failed.name, failed.failed, failed.message),
        ("claude_code.api_error", true, "no failure")
    );
    let gemini = of(
        "gemini_cli.api_response",
        "",
        &[("prompt_id", string("s########0"))],
    );
    assert_eq!(gemini.unwrap().prompt, Some("s########0"));
}

#[test]
fn codex_tells_of_a_call_where_it_counts() {
    let of = |attributes: &[_]| of("codex.sse_event", "codex_otel.log_only", attributes);
    let completed = ("event.kind", string("response.completed"));
    let counted = ("input_token_count", string("7"));
    let conversation = ("conversation.id", string("c"));
    let call = of(&[completed.clone(), counted.clone(), conversation]).unwrap();
    assert_eq!((call.name, call.session), ("codex.sse_event", Some("c")));
    let other = ("event.kind", string("response.output_item.done"));
    let broken = ("input_token_count", string("many"));
    assert_eq!(of(std::slice::from_ref(&completed)), None);
    assert_eq!(of(&[completed, broken]), None);
    assert_eq!(of(std::slice::from_ref(&counted)), None);
    assert_eq!(of(&[other, counted]), None);
}

#[test]
fn other_records_tell_of_none() {
    let counts = [("input_tokens", Value::IntValue(1))];
    for (name, scope) in [
        ("api_request", "app"),
        ("", CLAUDE),
        ("request", CLAUDE),
        ("tool_result", CLAUDE),
        ("api_response", CLAUDE),
        ("gemini_cli.api_request", "gemini-cli"),
        ("gen_ai.client.inference.operation.details", "gemini-cli"),
        ("codex.api_request", "codex_otel.log_only"),
    ] {
        assert_eq!(of(name, scope, &counts), None, "{name} of {scope}");
    }
}
