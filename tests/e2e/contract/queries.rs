//! Queries (§1.1, §3.5, §3.7, §4.2, §5.2, §5.4): what each parameter may be, what is said of what it may
//! not, and sums over nothing.

use serde_json::json;

use super::issues::{
    self, not_a_datetime, not_a_number, not_a_uuid, not_one_of, not_safe, not_whole, too_big,
    too_small, wrong_type,
};
use super::{error, in_project, people, pulse, sign_in};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, Table, get, post};

const SOURCES: &[&str] = &["claude_code", "codex", "opencode", "openclaw", "sdk"];
const KINDS: &[&str] = &[
    "llm_call",
    "tool_use",
    "agent_run",
    "session",
    "user_prompt",
    "llm_response",
    "notification",
];
const STATUSES: &[&str] = &["success", "error"];
const SORTS: &[&str] = &["recent", "oldest", "duration", "errors", "volume"];

fn refused(path: &str, query: &str, issues: &[String]) -> Row {
    let row = get(format!("refused: {query}"), format!("{path}?{query}"));
    row.is(400, issues::query(issues))
}

/// What `limit` and `offset` may not be, in every list.
fn pages(path: &str) -> Vec<Row> {
    let (limit, offset) = ("\"limit\"", "\"offset\"");
    let mut rows = Vec::new();
    for (query, issue) in [
        ("limit=abc", not_a_number(limit)),
        ("limit=2.5", not_whole(limit)),
        ("limit=", too_small(limit, 1)),
        ("limit=0", too_small(limit, 1)),
        ("limit=-1", too_small(limit, 1)),
        ("limit=1001", too_big(limit, 1000)),
        ("limit=1x", not_a_number(limit)),
        ("offset=abc", not_a_number(offset)),
        ("offset=-1", too_small(offset, 0)),
        ("offset=0.5", not_whole(offset)),
        ("offset=9007199254740992", not_safe(offset)),
    ] {
        rows.push(refused(path, query, &[issue]));
    }
    let both = [not_a_number(limit), too_small(offset, 0)];
    rows.push(refused(path, "offset=-1&limit=x", &both));
    for (query, limit, offset) in [
        ("", 100, 0),
        ("limit=1&offset=7", 1, 7),
        ("limit=1000", 1000, 0),
        ("limit=%202", 2, 0),
        ("limit=0x2", 2, 0),
        ("limit=1e2", 100, 0),
        ("limit=3.0", 3, 0),
        ("limit=5&limit=x", 5, 0),
        ("offset=", 100, 0),
        ("nonsense=1&page=2", 100, 0),
    ] {
        let row = get(format!("taken: {query}"), format!("{path}?{query}"));
        rows.push(row.has("/limit", limit).has("/offset", offset));
    }
    for (name, value) in [
        ("date_from", "soon"),
        ("date_from", ""),
        ("date_to", "2026-13-01"),
        ("date_to", ""),
        ("date_to", "-"),
    ] {
        let row = get(
            format!("no date: {value}"),
            format!("{path}?{name}={value}"),
        );
        rows.push(row.is(400, error(&format!("Invalid {name} parameter"))));
    }
    rows
}

/// A parameter that is one of a few words.
fn words(path: &str, name: &str, words: &[&str]) -> Vec<Row> {
    let issue = not_one_of(&format!("\"{name}\""), words);
    let wrong = ["nonsense", "", &words[0].to_uppercase()].map(|it| format!("{name}={it}"));
    let refused = |query: &String| refused(path, query, std::slice::from_ref(&issue));
    let mut rows: Vec<_> = wrong.iter().map(refused).collect();
    for word in words {
        rows.push(get(
            format!("taken: {name}={word}"),
            format!("{path}?{name}={word}"),
        ));
    }
    rows
}

// Scenario: lists of traces, spans and sessions with parameters of every form.
// Guarantees: each is taken or refused as by the older servers, word by word, in the order in which they
// were declared.
fn lists_judge_their_parameters(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let mut rows = pages("/v1/traces");
    rows.extend(pages("/v1/spans"));
    rows.extend(words("/v1/traces", "source", SOURCES));
    rows.extend(words("/v1/traces", "status", STATUSES));
    rows.extend(words("/v1/spans", "source", SOURCES));
    rows.extend(words("/v1/spans", "kind", KINDS));
    rows.extend(words("/v1/spans", "status", STATUSES));
    for wrong in ["x", "", "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11"] {
        let query = format!("session_id={wrong}");
        rows.push(refused(
            "/v1/traces",
            &query,
            &[not_a_uuid("\"session_id\"")],
        ));
    }
    let all = [
        not_a_uuid("\"session_id\""),
        not_one_of("\"source\"", SOURCES),
        not_one_of("\"status\"", STATUSES),
        too_small("\"limit\"", 1),
        too_small("\"offset\"", 0),
    ];
    let query = "offset=-1&limit=0&status=x&source=x&session_id=x&date_from=soon";
    rows.push(refused("/v1/traces", query, &all));
    let all = [
        not_one_of("\"source\"", SOURCES),
        not_one_of("\"kind\"", KINDS),
        not_one_of("\"status\"", STATUSES),
        not_whole("\"limit\""),
    ];
    rows.push(refused(
        "/v1/spans",
        "limit=1.5&status=x&kind=x&source=x",
        &all,
    ));
    let any = "session_id=free%20text&tool_name=x&trace_id=y&service=z";
    rows.push(get("free text in spans", format!("/v1/spans?{any}")).has("/total", 0));
    rows.push(get("any provider", "/v1/traces?provider=Google&model=x").has("/total", 0));
    pulse(&daemon).check(rows);
    let (member, _) = in_project(&sign_in(&people(&daemon), "ada"));
    let path = "/dashboard/api/agent-sessions";
    let mut rows = pages(path);
    rows.extend(words(path, "source", SOURCES));
    rows.extend(words(path, "sort", SORTS));
    let impossible = get(
        "a day that there is not",
        format!("{path}?date_to=2026-02-30"),
    );
    rows.push(impossible.is(400, error("Invalid date_to parameter")));
    rows.push(
        get("no sessions", path).is(200, r#"{"sessions":[],"total":0,"limit":100,"offset":0}"#),
    );
    member.check(rows);
}

/// Three traces, one of them a millisecond before midnight.
fn three(table: &Table) {
    let times = [
        "2026-02-01T10:00:00.000Z",
        "2026-02-01T23:59:59.999Z",
        "2026-02-02T00:00:00.000Z",
    ];
    let traces = (1..).zip(times).map(|(number, time)| {
        json!({"trace_id": format!("{number:08x}-0000-4000-8000-000000000000"), "timestamp": time,
            "provider": "openai", "model_requested": "m", "request_body": {}, "status": "success",
            "latency_ms": 1})
    });
    let body = json!(traces.collect::<Vec<_>>()).to_string();
    table.kept(
        &post("three traces", "/v1/traces/batch", body)
            .status(202)
            .has("/count", 3),
    );
}

// Scenario: bounds in every form that a date has, around three traces.
// Guarantees: both are included; a day begins at its first and ends at its last millisecond.
fn dates_have_the_forms_of_the_contract(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    three(&table);
    table.check(
        [
            ("date_from=2026-02-01&date_to=2026-02-01", 2),
            ("date_from=2026-02-02", 1),
            ("date_to=2026-01-31", 0),
            ("date_to=2026-02-02", 3),
            ("date_from=1769940000&date_to=1769940000", 1),
            ("date_from=1769940000000&date_to=1769940000000", 1),
            ("date_from=1769940000001", 2),
            ("date_to=1769990399999", 2),
            ("date_to=1769990399998", 1),
            (
                "date_from=2026-02-01T23:59:59.999Z&date_to=2026-02-01T23:59:59.999Z",
                1,
            ),
            ("date_from=2026-02-02T01:00:00%2B01:00", 1),
            ("date_from=2026-02-01T10:00:00", 3),
            ("date_from=Feb%202,%202026", 1),
            ("date_from=2026-02&date_to=2026-03", 3),
            ("date_from=Sun,%2001%20Feb%202026%2010:00:01%20GMT", 2),
            ("date_from=2026-02-03&date_to=2026-02-01", 0),
            ("date_from=2026-02-02&date_from=soon", 1),
        ]
        .map(|(query, total)| get(query, format!("/v1/traces?{query}")).has("/total", total)),
    );
}

const NO_CALLS: &str = r#"{"totalCost":0,"totalRequests":0,"totalSessions":0,"totalTokens":{"input":0,"output":0,"total":0},"avgLatency":0,"errorRate":0,"costOverTime":[],"costByProvider":[],"topModels":[],"computed":{"costPerRequest":0,"tokensPerRequest":0,"costPer1kTokens":0,"tracesPerSession":0,"avgInputTokens":0,"avgOutputTokens":0}}"#;
const NO_SPANS: &str = r#"{"agentRuns":0,"toolCalls":0,"avgSessionDurationMs":0,"successRate":0,"topTools":[],"totalSpans":0,"errorRate":0,"avgDurationMs":0,"spansByKind":[],"spansBySource":[],"spansOverTime":[]}"#;

// Scenario: sums with dates that are missing, have no time or no zone; groups that there are not; nothing to
// add up.
// Guarantees: refused in the words of the contract; sums over nothing are zero, and no error.
fn sums_judge_their_parameters(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    three(&table);
    let (from, to) = ("\"date_from\"", "\"date_to\"");
    let missing = |path: &str| wrong_type(path, "string", "undefined");
    let good = "date_from=2026-03-01T00:00:00Z&date_to=2026-03-02T00:00:00%2B02:00";
    let mut rows = Vec::new();
    for (path, groups, nothing) in [
        (
            "/v1/analytics",
            &["day", "hour", "model", "provider"][..],
            NO_CALLS,
        ),
        ("/v1/analytics/spans", &["day", "hour"], NO_SPANS),
    ] {
        rows.push(refused(path, "", &[missing(from), missing(to)]));
        rows.push(refused(
            path,
            "date_to=2026-02-01T00:00:00Z",
            &[missing(from)],
        ));
        for wrong in [
            "2026-02-01",
            "2026-02-01T00:00:00",
            "1769940000",
            "",
            "2026-02-30T00:00:00Z",
        ] {
            let query = format!("date_from={wrong}&date_to={wrong}");
            rows.push(refused(
                path,
                &query,
                &[not_a_datetime(from), not_a_datetime(to)],
            ));
        }
        for wrong in ["week", "", "DAY"] {
            let issue = not_one_of("\"group_by\"", groups);
            rows.push(refused(path, &format!("{good}&group_by={wrong}"), &[issue]));
        }
        for group in groups {
            let path = format!("{path}?{good}&group_by={group}");
            rows.push(get("nothing to add up", path).is(200, nothing));
        }
        let path = format!("{path}?date_from=2026-02-03T00:00:00Z&date_to=2026-02-01T00:00:00Z");
        rows.push(get("an end before the beginning", path).is(200, nothing));
    }
    let both = "date_from=2026-02-01T10:00:00Z&date_to=2026-02-02T00:00:00Z";
    let row = get(
        "both bounds are included",
        format!("/v1/analytics?{both}&group_by=hour"),
    );
    let period = |at: usize| format!("/costOverTime/{at}/period");
    rows.push(
        row.has("/totalRequests", 3)
            .has(&period(0), "2026-02-01 10:00:00")
            .has(&period(1), "2026-02-01 23:00:00")
            .has(&period(2), "2026-02-02 00:00:00"),
    );
    let row = get(
        "days are days of UTC",
        format!("/v1/analytics?{both}&group_by=provider"),
    );
    rows.push(
        row.has(&period(0), "2026-02-01")
            .has(&period(1), "2026-02-02"),
    );
    table.check(rows);
}

on_both_stores! {
    lists_judge_their_parameters,
    dates_have_the_forms_of_the_contract,
    sums_judge_their_parameters,
}
