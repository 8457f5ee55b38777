//! The list of sessions of agents: what their spans add up to, in every order.

use serde_json::{Value, json};

use super::Browser;
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http;

/// A span as the older servers' command line sends it.
fn span(number: u32, session: &str, time: &str, event: &str, more: &Value) -> Value {
    let kind = match event {
        "session_start" | "session_end" => "session",
        "provider_call" => "llm_call",
        "agent" => "agent_run",
        "stop" => "notification",
        _ => "tool_use",
    };
    let mut span = json!({"span_id": format!("span-{number}"), "session_id": session,
        "timestamp": format!("2026-01-05T{time}Z"), "source": "claude_code", "kind": kind,
        "event_type": event, "status": "success"});
    for (key, value) in more.as_object().unwrap() {
        span[key] = value.clone();
    }
    span
}

/// Three sessions with traces, and one that only begins and ends.
fn spans() -> Value {
    let tool = json!({"trace_id": "t-1", "tool_use_id": "u-1", "tool_name": "Bash", "cwd": "/a"});
    let call = json!({"trace_id": "t-2", "model": "m-1", "provider": "openai", "cwd": "/b",
        "input_tokens": 10, "output_tokens": 5, "cost_cents": 1.5});
    let agent = json!({"trace_id": "t-2", "agent_name": "coder", "model": "m-2"});
    let failed = json!({"trace_id": "t-3", "source": "codex", "status": "error", "tool_name": "x"});
    json!([
        span(1, "s-a", "10:00:00", "session_start", &json!({})),
        span(2, "s-a", "10:00:01", "pre_tool_use", &tool),
        span(3, "s-a", "10:00:02", "post_tool_use", &tool),
        span(4, "s-a", "10:00:03", "provider_call", &call),
        span(5, "s-a", "10:00:04", "agent", &agent),
        span(
            6,
            "s-a",
            "10:00:05",
            "stop",
            &json!({"duration_ms": 99_999_999})
        ),
        span(
            7,
            "s-a",
            "10:00:10",
            "session_end",
            &json!({"duration_ms": 5000})
        ),
        span(
            8,
            "s-b",
            "12:00:00",
            "session_start",
            &json!({"trace_id": "t-9"})
        ),
        span(
            9,
            "s-b",
            "12:00:01",
            "session_end",
            &json!({"trace_id": "t-9"})
        ),
        span(10, "s-c", "11:00:00", "tool", &failed),
        span(
            11,
            "s-d",
            "09:00:00",
            "tool",
            &json!({"trace_id": "t-4", "tool_use_id": "u-1"})
        ),
        span(
            12,
            "s-d",
            "09:10:00.5",
            "tool",
            &json!({"trace_id": "t-5", "source": "codex"})
        ),
        span(
            13,
            "s-d",
            "09:10:00.25",
            "tool",
            &json!({"source": "opencode"})
        ),
    ])
}

fn first(daemon: &Daemon) -> (Browser<'_>, String) {
    let mut browser = Browser::new(daemon);
    assert_eq!(browser.sign_up("ada").status, 201);
    assert_eq!(browser.sign_in("ada").status, 200);
    let made = browser.post("/dashboard/api/projects", &json!({"name": "agents"}));
    let made = made.json();
    browser.project = made["projectId"].as_str().unwrap().to_owned();
    (browser, made["apiKey"].as_str().unwrap().to_owned())
}

// Scenario: sessions of several sources, with errors, tools, calls and ends that tell how long they
// were; one that only begins and ends; asked for in every order, by source, by date and in pages.
// Guarantees: each session with a trace is listed once with what its spans add up to; what is wrong
// with a question is told.
fn sessions_of_agents_are_listed(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let (browser, key) = first(&daemon);
    let bearer = format!("Bearer {key}");
    let body = spans().to_string();
    let headers = [("authorization", bearer.as_str())];
    let gateway = daemon.addresses().gateway;
    let sent = http::post(gateway, "/v1/spans/batch", &headers, body.as_bytes()).unwrap();
    assert_eq!(
        (sent.status, &sent.json()["count"]),
        (202, &json!(13)),
        "{}",
        sent.text()
    );

    let path = "/dashboard/api/agent-sessions";
    let ask = |query: &str| browser.get(&format!("{path}?{query}"));
    let ids = |query: &str| {
        let answer = ask(query);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let sessions = answer.json()["sessions"].clone();
        let ids = sessions.as_array().unwrap().iter();
        ids.map(|it| it["sessionId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let whole = browser.get(path).text();
    let ada = r#"{"sessionId":"s-a","firstTimestamp":"2026-01-05T10:00:00.000Z","lastTimestamp":"2026-01-05T10:00:10.000Z","status":"success","durationMs":5000,"agentRuns":1,"toolCalls":1,"totalSpans":7,"errorCount":0,"traceCount":2,"inputTokens":10,"outputTokens":5,"costCents":1.5,"sources":["claude_code"],"source":"claude_code","cwd":"/b","model":"m-2","agentName":"coder"}"#;
    let failed = r#"{"sessionId":"s-c","firstTimestamp":"2026-01-05T11:00:00.000Z","lastTimestamp":"2026-01-05T11:00:00.000Z","status":"error","durationMs":0,"agentRuns":0,"toolCalls":1,"totalSpans":1,"errorCount":1,"traceCount":1,"inputTokens":0,"outputTokens":0,"costCents":0,"sources":["codex"],"source":"codex"}"#;
    let mixed = r#"{"sessionId":"s-d","firstTimestamp":"2026-01-05T09:00:00.000Z","lastTimestamp":"2026-01-05T09:10:00.500Z","status":"success","durationMs":600500,"agentRuns":0,"toolCalls":3,"totalSpans":3,"errorCount":0,"traceCount":2,"inputTokens":0,"outputTokens":0,"costCents":0,"sources":["claude_code","codex","opencode"]}"#;
    let expected =
        format!(r#"{{"sessions":[{failed},{ada},{mixed}],"total":3,"limit":100,"offset":0}}"#);
    assert_eq!(whole, expected);
    for (query, expected) in [
        ("sort=recent", &["s-c", "s-a", "s-d"][..]),
        ("sort=oldest", &["s-d", "s-a", "s-c"]),
        ("sort=duration", &["s-d", "s-a", "s-c"]),
        ("sort=errors", &["s-c", "s-a", "s-d"]),
        ("sort=volume", &["s-a", "s-d", "s-c"]),
        ("source=codex", &["s-c", "s-d"]),
        ("source=claude_code&sort=oldest", &["s-d", "s-a"]),
        // Its only span of that source is of no trace.
        ("source=opencode", &[]),
        ("source=openclaw", &[]),
        ("sort=oldest&limit=1&offset=1", &["s-a"]),
        ("offset=3", &[]),
        ("date_from=2026-01-05T10:30:00Z", &["s-c"]),
        ("date_to=2026-01-05T10:30:00Z", &["s-a", "s-d"]),
        ("date_from=2026-01-06", &[]),
    ] {
        assert_eq!(ids(query), expected, "{query}");
    }
    let paged = ask("limit=1").json();
    assert_eq!((&paged["total"], &paged["limit"]), (&json!(3), &json!(1)));
    for (query, wrong) in [
        ("source=cursor", r#""path":["source"]"#),
        ("sort=best", r#""path":["sort"]"#),
        ("limit=0", r#""path":["limit"]"#),
        ("offset=-1", r#""path":["offset"]"#),
    ] {
        let answer = ask(query);
        let text = answer.text();
        assert_eq!(answer.status, 400, "{text}");
        let start = r#"{"error":"Invalid query parameters","details":["#;
        assert!(text.starts_with(start) && text.contains(wrong), "{text}");
    }
    let answer = ask("date_from=2026-02-30");
    let told = (answer.status, answer.text());
    assert_eq!(
        told,
        (400, r#"{"error":"Invalid date_from parameter"}"#.to_owned())
    );
}

on_both_stores! {
    sessions_of_agents_are_listed,
}
