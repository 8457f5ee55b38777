use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_767_225_600_000_000_000;
const MISSING: Missing = Missing {
    now_unix_nano: NOW,
    seed: 7,
};

fn read(body: &str) -> Result<Export, Refusal> {
    export(&Json::parse(body.as_bytes()).unwrap(), MISSING)
}

fn one(span: &str) -> Export {
    let body = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"pulse.source","value":{{"stringValue":"codex"}}}}]}},"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#
    );
    read(&body).unwrap()
}

fn only(span: &str) -> Span {
    let export = one(span);
    assert_eq!(export.rejected, 0, "{}", export.error_message);
    let spans = &export.request.resource_spans[0].scope_spans[0].spans;
    spans[0].clone()
}

fn attribute<'s>(span: &'s Span, key: &str) -> Option<&'s str> {
    checks::text(&span.attributes, key)
}

#[test]
fn an_export_has_a_list_of_at_most_a_thousand_spans() {
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"resourceSpans":null}"#,
        r#"{"resource_spans":[]}"#,
    ] {
        assert_eq!(read(body).unwrap_err(), Refusal::MissingResourceSpans);
    }
    let many = |count: usize| {
        let spans = vec!["null"; count].join(",");
        read(&format!(
            r#"{{"resourceSpans":[null,5,{{"scopeSpans":[null,{{"spans":[{spans}]}}]}}]}}"#
        ))
    };
    assert_eq!(many(1001).unwrap_err(), Refusal::TooManySpans);
    let export = many(1000).unwrap();
    assert_eq!((export.accepted, export.rejected), (0, 1000));
    assert_eq!(export.error_message, "Invalid input: expected object");
}

#[test]
fn ids_are_any_text_and_are_kept() {
    let span = only(
        r#"{"traceId":"My Trace","spanId":"0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11","parentSpanId":"p"}"#,
    );
    assert_eq!(span.trace_id, ids::trace_id("My Trace").0);
    assert_eq!(attribute(&span, names::TRACE_ID), Some("My Trace"));
    assert_eq!(attribute(&span, names::PARENT_SPAN_ID), Some("p"));
    let hex = only(
        r#"{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","parentSpanId":""}"#,
    );
    assert_eq!(attribute(&hex, names::TRACE_ID), None);
    assert_eq!(attribute(&hex, names::SPAN_ID), None);
    assert!(hex.parent_span_id.is_empty());
    let none = one("{},{}");
    let spans = &none.request.resource_spans[0].scope_spans[0].spans;
    assert_ne!(spans[0].trace_id, spans[1].trace_id);
    let named = only(
        r#"{"traceId":"x","attributes":[{"key":"pulse.trace_id","value":{"stringValue":"y"}}]}"#,
    );
    assert_eq!(named.trace_id, ids::trace_id("y").0);
}

#[test]
fn times_may_be_missing_and_never_run_backwards() {
    let times = |json: &str| {
        let span = only(json);
        (span.start_time_unix_nano, span.end_time_unix_nano)
    };
    assert_eq!(times("{}"), (NOW, 0));
    assert_eq!(
        times(r#"{"startTimeUnixNano":"x","endTimeUnixNano":"5"}"#),
        (NOW, 0)
    );
    assert_eq!(
        times(r#"{"startTimeUnixNano":"5","endTimeUnixNano":7}"#),
        (5, 7)
    );
    assert_eq!(times(r#"{"startTimeUnixNano":5}"#), (5, 0));
    let backwards = one(r#"{"startTimeUnixNano":"5","endTimeUnixNano":"4"}"#);
    assert_eq!(
        backwards.error_message,
        "Too small: expected number to be >=0"
    );
}

#[test]
fn what_otlp_does_not_know_is_overlooked_and_what_pulse_refuses_is_refused() {
    let span = only(
        r#"{"kind":"SPAN_KIND_INTERNAL","status":{"code":"STATUS_CODE_ERROR","message":"m"}}"#,
    );
    assert_eq!((span.kind, span.status.unwrap().code), (1, 2));
    let span = only(r#"{"kind":"whatever","status":{"code":99,"message":5}}"#);
    assert_eq!((span.kind, span.status.unwrap().code), (0, 0));
    assert_eq!(only(r#"{"status":7}"#).status.unwrap().code, 0);
    for (key, value, message) in [
        (
            "gen_ai.usage.input_tokens",
            r#"{"doubleValue":1.5}"#,
            "Invalid input: expected int, received number",
        ),
        (
            "gen_ai.usage.output_tokens",
            r#"{"stringValue":"-1"}"#,
            "Too small: expected number to be >=0",
        ),
        (
            "pulse.source",
            r#"{"stringValue":"x"}"#,
            "Invalid option: expected one of \"claude_code\"|\"codex\"|\"opencode\"|\"openclaw\"|\"sdk\"",
        ),
    ] {
        let export = one(&format!(
            r#"{{"attributes":[{{"key":"{key}","value":{value}}}]}},{{}}"#
        ));
        assert_eq!((export.accepted, export.rejected), (1, 1));
        assert_eq!(export.error_message, message);
    }
}

#[test]
fn what_the_resource_says_counts_and_kinds_follow_from_events() {
    let span = only("{}");
    assert_eq!(attribute(&span, names::SOURCE), Some("codex"));
    assert_eq!(attribute(&span, names::KIND), Some("llm_call"));
    let tool = only(
        r#"{"attributes":[{"key":"pulse.event_type","value":{"stringValue":"tool_request"}}]}"#,
    );
    assert_eq!(attribute(&tool, names::KIND), Some("tool_use"));
    let plain = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"GET /"}]}]}]}"#;
    let export = read(plain).unwrap();
    let span = &export.request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(attribute(span, names::KIND), None);
}

proptest! {
    // Scenario: an export with any JSON in place of its parts.
    // Guarantees: never a panic; every span is taken or rejected, and those taken have ids.
    #[test]
    fn reading_never_panics(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "null", "1", "\"x\"", "[]", "{}", "[null]", "[1]", "{\"key\":\"k\"}",
                "[{\"key\":\"k\",\"value\":{\"stringValue\":5}}]", "{\"attributes\":[7]}",
            ]),
            6,
        ),
    ) {
        let names = ["traceId", "attributes", "events", "status", "startTimeUnixNano", "name"];
        let fields: Vec<_> = names.iter().zip(&parts).map(|(name, part)| format!("\"{name}\":{part}")).collect();
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{},"scopeSpans":[{{"scope":{},"spans":[{{{}}},{}]}}]}}]}}"#,
            parts[0], parts[1], fields.join(","), parts[2]
        );
        let export = read(&body).unwrap();
        prop_assert_eq!(export.accepted + export.rejected, 2);
        for span in export.request.resource_spans.iter().flat_map(|it| &it.scope_spans).flat_map(|it| &it.spans) {
            prop_assert!(TraceId::from_bytes(&span.trace_id).is_some());
        }
    }
}

use crate::model::TraceId;
