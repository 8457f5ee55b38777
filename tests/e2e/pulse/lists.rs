//! Lists of traces and spans of the second generation: which spans and traces each filter means.

use serde_json::{Value, json};

use super::Client;
use crate::daemon::{Store, on_both_stores};
use crate::otlp::{post_accepted, request, span, text};

const ONE: &str = "6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";
const TWO: &str = "6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a22";

/// A span of the second generation, at a time of one day.
fn event(id: &str, trace: &str, at: &str, rest: &Value) -> Value {
    let mut span = json!({"span_id": id, "trace_id": trace, "session_id": ONE,
        "timestamp": format!("2026-01-25T{at}:00Z"), "source": "sdk", "kind": "tool_use",
        "event_type": "x", "status": "success"});
    let fields = span.as_object_mut().unwrap();
    fields.extend(rest.as_object().unwrap().clone());
    span
}

fn send(client: &Client, spans: &[Value]) {
    let answer = client.post("/v1/spans/batch", &json!(spans).to_string());
    assert_eq!(answer.json()["count"], spans.len(), "{}", answer.text());
}

/// Ids of what a list answers, and that it counts as many.
fn listed(client: &Client, path: &str, key: &str) -> Vec<String> {
    let list = client.ok(path);
    let (items, id) = match key {
        "traces" => (&list["traces"], "traceId"),
        _ => (&list["spans"], "spanId"),
    };
    let items = items.as_array().unwrap().iter();
    let ids: Vec<_> = items
        .map(|it| it[id].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(list["total"], ids.len(), "{path}");
    ids
}

/// Six traces: a call and a tool of two services and sessions, one nameless call, a tool, two calls
/// of different providers, the events of a session alone, and these with another.
fn six(client: &Client) {
    let call = |rest: Value| {
        let mut call = json!({"kind": "llm_call"});
        let fields = call.as_object_mut().unwrap();
        fields.extend(rest.as_object().unwrap().clone());
        call
    };
    let start = json!({"kind": "session", "event_type": "session_start"});
    let end = json!({"kind": "session", "event_type": "session_end"});
    let hook = json!({"source": "claude_code", "service": "hooks", "session_id": TWO,
        "status": "error"});
    send(
        client,
        &[
            event(
                "a1",
                "a",
                "10:00",
                &call(json!({"provider": "openai", "model": "gpt-4o",
                "service": "shop"})),
            ),
            event("a2", "a", "12:00", &hook),
            event("b1", "b", "11:00", &call(json!({}))),
            event("c1", "c", "09:00", &json!({"source": "codex"})),
            event(
                "d1",
                "d",
                "07:00",
                &call(json!({"provider": "anthropic", "model": "claude"})),
            ),
            event("d2", "d", "07:01", &call(json!({"provider": "openai"}))),
            event("e1", "e", "14:00", &start),
            event("e2", "e", "14:01", &end),
            event("f1", "f", "08:00", &start),
            event(
                "f2",
                "f",
                "13:00",
                &json!({"kind": "notification", "event_type": "notification"}),
            ),
        ],
    );
}

// Scenario: traces of several spans, asked for with filters of which one span may pass each, and
// none all.
// Guarantees: a trace is listed if one span passes all filters of rows; its provider, its model, its
// status and its place are those of such spans; what only tells of a session is no trace.
fn a_trace_is_listed_by_its_spans(store: Store) {
    let client = Client::on(store);
    six(&client);
    for (query, expected) in [
        ("source=sdk", "f b a d"),
        ("source=claude_code", "a"),
        ("source=codex", "c"),
        ("service=shop", "a"),
        ("service=claude_code", ""),
        ("service=shop&source=claude_code", ""),
        ("service=hooks&source=claude_code", "a"),
        (&format!("session_id={TWO}"), "a"),
        (&format!("session_id={TWO}&source=sdk"), ""),
        (
            &format!("session_id={TWO}&date_to=2026-01-25T11:59:00Z"),
            "",
        ),
        ("status=error", "a"),
        ("status=error&source=sdk", ""),
        ("status=success&source=sdk", "f b a d"),
        ("status=error&source=claude_code", "a"),
        ("date_from=2026-01-25T10:30:00Z", "f a b"),
        (
            "date_from=2026/01/25&date_to=Jan%2025,%202026%2009:30",
            "c d",
        ),
        ("date_from=2026-01-26&date_to=9999-12-31", ""),
        ("date_to=9999-12-31", "f b a c d"),
        ("provider=openai", "a d"),
        ("provider=anthropic", ""),
        ("provider=OpenAI", ""),
        ("provider=sdk", "f b"),
        ("provider=codex", "c"),
        ("provider=openai&source=claude_code", ""),
        ("model=gpt-4o", "a"),
        ("model=claude", "d"),
        ("model=unknown", "f b c"),
        ("model=gpt-4o&service=hooks", ""),
    ] {
        let found = listed(&client, &format!("/v1/traces?{query}"), "traces");
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(found, expected, "{query}");
    }
    // Of all, the place is that of the first span; `e` is none.
    let all = listed(&client, "/v1/traces", "traces");
    assert_eq!(all, ["b", "a", "c", "f", "d"]);
    let page = client.ok("/v1/traces?source=sdk&limit=2&offset=1");
    assert_eq!(page["total"], 4);
    assert_eq!(
        (&page["traces"][0]["traceId"], &page["traces"][1]["traceId"]),
        (&json!("b"), &json!("a"))
    );
    // A summary has all spans, those that don't pass too.
    let one = client.ok("/v1/traces?service=hooks");
    assert_eq!(one["traces"][0]["spanCount"], 2);
}

// Scenario: OTLP spans of which only the event tells that they begin a session, and one that is only
// called so.
// Guarantees: the event decides.
fn events_of_sessions_are_told_by_the_event(store: Store) {
    let client = Client::on(store);
    let mut begins = span(&[1; 16], &[1; 8], "any name");
    begins.attributes = vec![
        text("pulse.event_type", "session_start"),
        text("pulse.kind", "session"),
    ];
    let called = span(&[2; 16], &[2; 8], "session_start");
    post_accepted(
        client.0.addresses().http,
        &request("shop", vec![begins, called]),
    );
    client.0.await_stored();
    let second = "02020202020202020202020202020202";
    let found = crate::daemon::eventually("the other", crate::api::VISIBLE_WITHIN, || {
        let found = listed(&client, "/v1/traces?service=shop", "traces");
        (!found.is_empty()).then_some(found)
    });
    assert_eq!(found, [second]);
    // Those of a probe are there too.
    let all = client.get("/v1/traces").text();
    let first = "01010101010101010101010101010101";
    assert!(all.contains(second) && !all.contains(first), "{all}");
}

// Scenario: an OTLP span that failed with a message and nothing else, and a tool without an event.
// Guarantees: the message is no error of the contract; what names no event is a call's.
fn what_otlp_spans_do_not_say_is_filled_in(store: Store) {
    let client = Client::on(store);
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "t", "spanId": "tool", "name": "Bash", "startTimeUnixNano": "1767225600000000000",
         "status": {"code": 2, "message": "broke"},
         "attributes": [{"key": "pulse.kind", "value": {"stringValue": "tool_use"}}]},
        {"traceId": "t", "spanId": "call", "name": "x", "startTimeUnixNano": "1767225600000000001",
         "attributes": [
            {"key": "pulse.kind", "value": {"stringValue": "llm_call"}},
            {"key": "pulse.metadata", "value": {"stringValue": "{\"turn\":1}"}},
            {"key": "gen_ai.provider.name", "value": {"stringValue": "Google"}},
            {"key": "pulse.output_text", "value": {"stringValue": "é".repeat(40_000)}}]},
    ]}]}]});
    let answer = client.post("/v1/traces", &body.to_string());
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    client.await_found("/v1/spans/call");
    let tool = client.ok("/v1/spans/tool");
    assert_eq!(
        (&tool["error"], &tool["eventType"], &tool["status"]),
        (&Value::Null, &json!("provider_call"), &json!("error"))
    );
    let call = client.ok("/v1/spans/call");
    assert_eq!(call["outputText"].as_str().unwrap().len(), 65_536);
    assert_eq!(call["metadata"], json!({"pulse.metadata": {"turn": 1}}));
    // The names of providers are those that were sent, in sums too.
    let range = "date_from=2026-01-01T00:00:00Z&date_to=2026-01-02T00:00:00Z";
    let sums = client.ok(&format!("/v1/analytics?{range}"));
    assert_eq!(sums["costByProvider"][0]["provider"], "Google");
    assert_eq!(sums["topModels"][0]["provider"], "Google");
    assert_eq!(sums["costOverTime"][0]["provider"], "Google");
    assert_eq!(
        listed(&client, "/v1/traces?provider=Google", "traces"),
        ["t"]
    );
    assert_eq!(
        listed(&client, "/v1/traces?provider=gcp.gemini", "traces"),
        [""; 0]
    );
}

// Scenario: a trace of more spans than one answer of our own API has at once.
// Guarantees: by its id all spans of it, in a session too; a list says what it cut.
fn long_traces_are_whole(store: Store) {
    let client = Client(crate::daemon::Daemon::spawn_on(
        store,
        &[("gateway.trace_spans_max", "10")],
    ));
    let spans: Vec<_> = (0..25)
        .map(|it| event(&format!("s{it}"), "long", "10:00", &json!({})))
        .collect();
    send(&client, &spans);
    let whole = client.ok("/v1/traces/long");
    assert_eq!(whole["spanCount"], 25);
    assert_eq!(whole.get("isPartial"), None);
    let session = client.ok(&format!("/v1/sessions/{ONE}"));
    assert_eq!(session["traces"][0]["spanCount"], 25);
    let listed = client.ok("/v1/traces");
    assert_eq!(listed["traces"][0]["spanCount"], 10);
    assert_eq!(listed["traces"][0]["isPartial"], true);
}

// Scenario: spans of different sources, kinds, tools, traces, sessions, services and times.
// Guarantees: each filter leaves out what it should, newest first; pages are cut out of that; a
// session's spans come oldest first; a batch is answered in the order in which it came.
fn spans_are_listed_by_every_filter(store: Store) {
    let client = Client::on(store);
    let spans = [
        event(
            "s1",
            "t1",
            "10:01",
            &json!({"tool_name": "Edit", "service": "shop"}),
        ),
        event(
            "s4",
            "t2",
            "10:04",
            &json!({"kind": "notification", "session_id": TWO}),
        ),
        event(
            "s2",
            "t1",
            "10:02",
            &json!({"source": "codex", "tool_name": "Bash"}),
        ),
        event(
            "s3",
            "t2",
            "10:03",
            &json!({"status": "error", "session_id": "free text"}),
        ),
        event("s5", "t1", "10:05", &json!({})),
    ];
    let answer = client.post("/v1/spans/batch", &json!(spans).to_string());
    let order: Vec<_> = answer.json()["spans"].as_array().unwrap().clone();
    let order: Vec<_> = order
        .iter()
        .map(|it| it["spanId"].as_str().unwrap())
        .collect();
    assert_eq!(order, ["s1", "s4", "s2", "s3", "s5"]);
    for (query, expected) in [
        ("", "s5 s4 s3 s2 s1"),
        ("source=codex", "s2"),
        ("source=sdk", "s5 s4 s3 s1"),
        ("kind=notification", "s4"),
        ("kind=tool_use", "s5 s3 s2 s1"),
        ("tool_name=Edit", "s1"),
        ("status=error", "s3"),
        ("status=success", "s5 s4 s2 s1"),
        ("trace_id=t2", "s4 s3"),
        ("service=shop", "s1"),
        ("session_id=free%20text", "s3"),
        (&format!("session_id={TWO}"), "s4"),
        ("date_from=2026-01-25T10:04:00Z", "s5 s4"),
        ("date_to=2026-01-25T10:02:00Z", "s2 s1"),
        ("date_from=2026-01-25&date_to=2026-01-25", "s5 s4 s3 s2 s1"),
        ("date_from=2026-01-26", ""),
        ("trace_id=t1&source=sdk&kind=tool_use", "s5 s1"),
    ] {
        let found = listed(&client, &format!("/v1/spans?{query}"), "spans");
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(found, expected, "{query}");
    }
    let page = client.ok("/v1/spans?limit=2&offset=1");
    let told = (&page["spans"][0]["spanId"], &page["spans"][1]["spanId"]);
    assert_eq!(told, (&json!("s4"), &json!("s3")));
    let counts = (&page["total"], &page["limit"], &page["offset"]);
    assert_eq!(counts, (&json!(5), &json!(2), &json!(1)));
    let session = client.ok(&format!("/v1/sessions/{ONE}/spans"));
    let session = session["spans"].as_array().unwrap().iter();
    let ascending: Vec<_> = session.map(|it| it["spanId"].as_str().unwrap()).collect();
    assert_eq!(ascending, ["s1", "s2", "s5"]);
    let many: Vec<_> = (0..7)
        .map(|it| {
            event(
                &format!("m{it}"),
                "m",
                "11:00",
                &json!({"tool_name": format!("T{it}")}),
            )
        })
        .collect();
    send(&client, &many);
    let range = "date_from=2026-01-25T00:00:00Z&date_to=2026-01-26T00:00:00Z";
    let sums = client.ok(&format!("/v1/analytics/spans?{range}&group_by=hour"));
    assert_eq!(sums["topTools"].as_array().unwrap().len(), 5);
    assert_eq!(
        sums["spansOverTime"],
        json!([{"period": "2026-01-25 10:00:00", "count": 5},
            {"period": "2026-01-25 11:00:00", "count": 7}])
    );
    let issue = |field: &str| {
        format!(
            r#"{{"expected":"string","code":"invalid_type","path":["{field}"],"message":"Invalid input: expected string, received undefined"}}"#
        )
    };
    let invalid =
        |details: &str| format!(r#"{{"error":"Invalid query parameters","details":[{details}]}}"#);
    client.refused(
        "/v1/analytics/spans?group_by=day",
        400,
        &invalid(&format!("{},{}", issue("date_from"), issue("date_to"))),
    );
    let group = r#"{"code":"invalid_value","values":["day","hour"],"path":["group_by"],"message":"Invalid option: expected one of \"day\"|\"hour\""}"#;
    let path = format!("/v1/analytics/spans?{range}&group_by=model");
    client.refused(&path, 400, &invalid(group));
}

// Scenario: calls of seven models, and a trace of a call that says all that a summary may have, and
// one that says nothing.
// Guarantees: five models at most; keys of a summary in their order, with those that may be left
// out and without; what is not told falls back as it did.
fn calls_are_summed_up(store: Store) {
    let client = Client::on(store);
    let calls: Vec<_> = (0..7)
        .map(|it| {
            let rest = json!({"kind": "llm_call", "model": format!("m{it}"), "provider": "openai"});
            event(&format!("c{it}"), "calls", "09:00", &rest)
        })
        .collect();
    send(&client, &calls);
    let range = "date_from=2026-01-25T00:00:00Z&date_to=2026-01-26T00:00:00Z";
    let sums = client.ok(&format!("/v1/analytics?{range}"));
    assert_eq!(sums["topModels"].as_array().unwrap().len(), 5);
    assert_eq!(sums["totalRequests"], 7);

    let failed = json!({"status": "error", "service": "tools", "error": {"m": 1}});
    let full = json!({"kind": "llm_call", "service": "shop", "model": "gpt-4o",
        "model_used": "gpt-4o-1", "provider": "openai", "provider_request_id": "r",
        "output_text": "Hi", "finish_reason": "stop", "input_tokens": 3, "output_tokens": 4,
        "cost_cents": 0.5, "duration_ms": 10,
        "metadata": {"pulse.request": {"q": 1}, "response": {"a": 2}}});
    let other = json!({"kind": "llm_call", "input_tokens": 5, "duration_ms": 2});
    send(
        &client,
        &[
            event("f1", "full", "10:00", &failed),
            event("f2", "full", "10:01", &full),
            event("f3", "full", "10:02", &other),
        ],
    );
    let answer = client.get("/v1/traces/full");
    assert_eq!(
        super::keys(&answer.text()),
        [
            "traceId",
            "sessionId",
            "timestamp",
            "latencyMs",
            "source",
            "services",
            "spanCount",
            "summary",
            "toolCallCount",
            "filesEdited",
            "providerRequestId",
            "outputText",
            "finishReason",
            "status",
            "error",
            "errorService",
            "metadata",
            "spans",
            "provider",
            "modelRequested",
            "modelUsed",
            "inputTokens",
            "outputTokens",
            "costCents",
            "requestBody",
            "responseBody",
            "projectId",
        ]
    );
    let full = answer.json();
    for (key, value) in [
        ("timestamp", json!("2026-01-25T10:01:00.000Z")),
        ("latencyMs", json!(12)),
        ("services", json!(["tools", "shop"])),
        ("summary", json!("gpt-4o")),
        ("status", json!("error")),
        ("error", json!({"m": 1})),
        ("errorService", json!("tools")),
        ("provider", json!("openai")),
        ("modelRequested", json!("gpt-4o")),
        ("modelUsed", json!("gpt-4o-1")),
        ("inputTokens", json!(8)),
        ("outputTokens", json!(4)),
        ("costCents", json!(0.5)),
        ("requestBody", json!({"q": 1})),
        ("responseBody", json!({"a": 2})),
    ] {
        assert_eq!(full[key], value, "{key}");
    }
    let nothing = json!({"kind": "llm_call", "model_used": "m-1"});
    send(&client, &[event("n1", "bare", "11:00", &nothing)]);
    let answer = client.get("/v1/traces/bare");
    assert_eq!(
        super::keys(&answer.text()),
        [
            "traceId",
            "sessionId",
            "timestamp",
            "latencyMs",
            "source",
            "services",
            "spanCount",
            "summary",
            "toolCallCount",
            "filesEdited",
            "status",
            "errorService",
            "metadata",
            "spans",
            "provider",
            "modelRequested",
            "modelUsed",
            "inputTokens",
            "outputTokens",
            "costCents",
            "projectId",
        ]
    );
    let bare = answer.json();
    for (key, value) in [
        ("summary", json!("unknown")),
        ("provider", json!("sdk")),
        ("modelRequested", json!("unknown")),
        ("modelUsed", json!("m-1")),
        ("errorService", Value::Null),
        ("inputTokens", Value::Null),
        ("costCents", Value::Null),
    ] {
        assert_eq!(bare[key], value, "{key}");
    }
}

// Scenario: HEAD, another project's header beside a key, a route of the plans, a NUL in a query.
// Guarantees: what the contract says of each.
fn small_print_is_kept(store: Store) {
    let client = Client::on(store);
    send(&client, &[event("s", "t", "10:00", &json!({}))]);
    let address = client.0.addresses().gateway;
    let (name, key) = super::KEY;
    let ask = |method: &str, path: &str, header: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{name}: {key}\r\n{header}content-length: 0\r\n\r\n"
        );
        crate::http::connect(address)
            .and_then(|mut stream| {
                std::io::Write::write_all(&mut stream, head.as_bytes())?;
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut stream, &mut bytes)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            })
            .unwrap()
    };
    for path in [
        "/health",
        "/v1/traces",
        "/v1/traces/t",
        "/v1/spans/s",
        "/v1/spans",
    ] {
        let answer = ask("HEAD", path, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{path}: {answer}");
    }
    let answer = ask("HEAD", "/v1/traces/none", "");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = ask("GET", "/v1/spans", "x-project-id: 99\r\n");
    assert!(answer.contains(r#""total":1"#), "{answer}");
    let answer = ask("POST", "/admin/projects", "x-admin-key: k\r\n");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let nul = r#"{"origin":"string","code":"invalid_format","format":"regex","pattern":"/^[^\\0]*$/","path":["service"],"message":"Invalid string: must not have a NUL"}"#;
    let nul = format!(r#"{{"error":"Invalid query parameters","details":[{nul}]}}"#);
    for path in ["/v1/traces?service=a%00", "/v1/spans?service=%00"] {
        client.refused(path, 400, &nul);
        let stranger = crate::http::get(address, path).unwrap();
        assert_eq!(stranger.status, 401, "{path}");
    }
}

on_both_stores!(
    a_trace_is_listed_by_its_spans,
    events_of_sessions_are_told_by_the_event,
    what_otlp_spans_do_not_say_is_filled_in,
    long_traces_are_whole,
    spans_are_listed_by_every_filter,
    calls_are_summed_up,
    small_print_is_kept,
);
