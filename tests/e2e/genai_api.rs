//! What the API tells of sessions, users, models, tools and prices is what was sent.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::otlp::{hex, key_value, now, post_accepted, request, span, text};

const MINUTE: u64 = 60_000_000_000;

fn of(trace: u8, number: u8, start: u64, operation: &str, user: &str) -> Span {
    let mut span = span(&[trace; 16], &[number; 8], operation);
    span.start_time_unix_nano = start;
    span.end_time_unix_nano = start + 2_000_000;
    span.attributes = vec![
        text("gen_ai.operation.name", operation),
        text("session.id", "talk/1"),
        text("user.id", user),
    ];
    span
}

fn chat(trace: u8, number: u8, start: u64, user: &str, model: &str, said: &str) -> Span {
    let mut span = of(trace, number, start, "chat", user);
    let messages = json!([{"role": "user", "parts": [{"type": "text", "content": said}]}]);
    span.attributes.extend([
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", model),
        text("gen_ai.input.messages", &messages.to_string()),
        key_value("gen_ai.usage.input_tokens", Any::IntValue(1_000_000)),
        key_value("gen_ai.usage.output_tokens", Any::IntValue(1_000)),
    ]);
    span
}

/// Two turns of a conversation and a call of a model without a price by another user.
fn conversation(now: u64) -> Vec<Span> {
    let mut tool = of(2, 4, now + 1_000, "execute_tool", "ada");
    tool.attributes.push(text("gen_ai.tool.name", "search"));
    tool.attributes.push(text("error.type", "TimeoutError"));
    tool.status = Some(Status {
        code: 2,
        message: "timed out".to_owned(),
    });
    let mut agent = of(2, 5, now + 500, "invoke_agent", "ada");
    agent.attributes.push(text("gen_ai.agent.name", "writer"));
    let mut other = chat(3, 6, now, "bob", "homegrown", "Other");
    other.attributes.retain(|it| it.key != "session.id");
    vec![
        chat(2, 3, now, "ada", "gpt-4o", "Second"),
        tool,
        agent,
        chat(1, 1, now - MINUTE, "ada", "gpt-4o", "First"),
        other,
    ]
}

struct Api<'d>(&'d Daemon);

impl Api<'_> {
    fn ok(&self, path: &str) -> Value {
        let answer = self.0.api(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    fn trace_ids(&self, query: &str) -> Vec<String> {
        let traces = self.0.list(&format!("/api/v1/traces?{query}"));
        let ids = traces.iter().map(|trace| trace["trace_id"].as_str());
        ids.map(|id| id.unwrap().to_owned()).collect()
    }
}

fn assert_filters(api: &Api<'_>) {
    let [first, second, third] = [[1; 16], [2; 16], [3; 16]].map(|id| hex(&id));
    for (query, expected) in [
        ("tool=search&provider=openai", vec![second.clone()]),
        ("agent=writer", vec![second.clone()]),
        ("error_kind=timeout", vec![second.clone()]),
        ("model=homegrown", vec![third.clone()]),
        ("user_id=bob", vec![third]),
        ("min_cost=2.5&user_id=ada", vec![second.clone(), first]),
        ("min_cost=2.52", vec![]),
        ("min_tokens=1001001", vec![]),
        ("operation=execute_tool&status=error", vec![second]),
        ("tag=none", vec![]),
    ] {
        assert_eq!(api.trace_ids(query), expected, "{query}");
    }
    let spans = api
        .0
        .list("/api/v1/spans?session_id=talk/1&error_kind=timeout");
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0]["genai"]["tool_name"], "search");
    let answer = api.0.api("/api/v1/traces?error_kind=bad&min_cost=x&tol=1");
    let problem = answer.json();
    let fields = problem["fields"].as_array().unwrap().iter();
    let fields: Vec<_> = fields
        .map(|field| field["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        (answer.status, fields),
        (400, vec!["tol", "error_kind", "min_cost"])
    );
}

fn assert_session(api: &Api<'_>) {
    let first = api.ok("/api/v1/sessions/talk%2F1?limit=1");
    assert_eq!(first["session"]["trace_count"], 2);
    assert_eq!(first["session"]["totals"]["llm_call_count"], 2);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.ok(&format!(
        "/api/v1/sessions/talk%2F1?limit=1&cursor={cursor}"
    ));
    for (page, said, calls) in [(&first, "First", 1), (&second, "Second", 1)] {
        let found = page["traces"][0]["calls"].as_array().unwrap();
        assert_eq!(found.len(), calls, "{page}");
        let messages = &found[0]["messages"]["input_messages"];
        assert_eq!(messages[0]["parts"][0]["content"], said);
    }
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(api.0.api("/api/v1/sessions/nobody").status, 404);
}

fn assert_sums(api: &Api<'_>) {
    let users = api.ok("/api/v1/users");
    assert_eq!(users["complete"], true);
    let ada = crate::api::item(users["items"].as_array().unwrap(), "user_id", "ada");
    assert_eq!(
        (&ada["trace_count"], &ada["failed_trace_count"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(ada["totals"]["input_tokens"], 2_000_000);

    let models = api.ok("/api/v1/models");
    let items = models["items"].as_array().unwrap();
    let priced = crate::api::item(items, "model", "gpt-4o");
    assert_eq!(priced["totals"]["llm_call_count"], 2);
    assert_eq!(priced["totals"]["cost_nano_usd"], 2 * 2_510_000_000_i64);

    let unpriced = api.ok("/api/v1/prices/unpriced");
    let expected = json!([{
        "provider": "openai", "model": "homegrown", "llm_call_count": 1,
        "input_tokens": 1_000_000, "output_tokens": 1_000, "cache_read_tokens": 0,
    }]);
    assert_eq!(unpriced["items"], expected, "{unpriced}");
    let price = api.ok("/api/v1/prices?provider=openai&model=gpt-4o");
    assert_eq!(price["found"]["source"], "builtin");

    let sums = api.ok(
        "/api/v1/analytics?group_by=user_id,tool&measures=requests,errors,unpriced_calls&user_id=ada",
    );
    assert_eq!(sums["complete"], true);
    let rows: Vec<_> = sums["rows"].as_array().unwrap().iter().collect();
    let row = |tool: Value, requests: u64, errors: u64| {
        let measures = json!({"requests": requests, "errors": errors, "unpriced_calls": 0});
        (json!({"user_id": "ada", "tool": tool}), measures)
    };
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row["group"].clone(), row["measures"].clone()))
        .collect();
    assert_eq!(found, [row(Value::Null, 3, 0), row(json!("search"), 1, 1)]);
}

// Scenario: a conversation of two turns with an agent, a failed tool and priced calls, and a call of
// a model without a price by somebody else, sent twice.
// Guarantees: filters find exactly the traces and spans that were sent so; the conversation is
// answered in its order with what was said; users, models and sums count each span once; the model
// without a price is named, and a metric counts its calls.
fn the_api_tells_what_was_sent(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    let sent = request("chat", conversation(now()));
    for _ in 0..2 {
        post_accepted(daemon.addresses().http, &sent);
    }
    daemon.await_counted();
    let api = Api(&daemon);
    assert_filters(&api);
    assert_session(&api);
    assert_sums(&api);
    let unpriced = "pulse_processor_model_calls_total{cost_source=\"unpriced\"}";
    let text = crate::http::get(daemon.addresses().metrics, "/metrics")
        .unwrap()
        .text();
    let line = text.lines().find_map(|line| line.strip_prefix(unpriced));
    assert_eq!(line.map(str::trim), Some("2"), "{text}");
}

on_both_stores! {
    the_api_tells_what_was_sent,
}
