//! What Claude Code, Codex CLI and Gemini CLI really sent (`tests/golden/record/agents.py`): their spans,
//! log records and metrics together.

use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http;
use crate::sdk;

/// Where the recordings lie in time.
const RANGE: &str = "start=1768470000000000000&end=1768490000000000000";

/// Tokens by kind, as the metric of an agent tells them.
type Tokens = &'static [(&'static str, f64)];

/// An agent and what it told of its two calls (Gemini CLI: one), by hand from what the models answered.
struct Agent {
    name: &'static str,
    service: &'static str,
    /// Calls that count, and input, output and cached tokens and nano-USD of the session.
    session: [i64; 5],
    /// A metric, what it is asked, and the answer.
    metric: (&'static str, &'static str, Tokens),
}

const AGENTS: [Agent; 3] = [
    Agent {
        name: "claude_code",
        service: "claude-code",
        // Twice 10 + 60 read + 30 written, and 20. As the agent says itself.
        session: [2, 200, 40, 120, 1_535_000],
        metric: (
            "claude_code.token.usage",
            "group_by=type",
            &[
                ("cacheCreation", 60.0),
                ("cacheRead", 120.0),
                ("input", 20.0),
                ("output", 40.0),
            ],
        ),
    },
    Agent {
        name: "codex",
        service: "codex_exec",
        // The turn is what counts: 120 × 2,500 + 80 × 1,250 + 40 × 10,000.
        session: [1, 200, 40, 80, 800_000],
        metric: (
            "codex.turn.token_usage",
            "group_by=token_type&aggregation=sum",
            &[
                ("cache_write_input", 0.0),
                ("cached_input", 80.0),
                ("input", 200.0),
                ("output", 40.0),
                ("reasoning_output", 10.0),
                ("total", 240.0),
            ],
        ),
    },
    Agent {
        name: "gemini_cli",
        service: "gemini-cli",
        // 60 × 300 + 40 × 30 + (15 + 5 thoughts) × 2,500.
        session: [1, 100, 20, 40, 69_200],
        metric: (
            "gemini_cli.token.usage",
            "group_by=type",
            &[
                ("cache", 40.0),
                ("input", 100.0),
                ("output", 15.0),
                ("thought", 5.0),
                ("tool", 0.0),
            ],
        ),
    },
];

fn send(daemon: &Daemon, agent: &str, signal: &str) {
    let file = format!("tests/golden/{agent}/recorded-{signal}.json");
    let body = std::fs::read(sdk::root().join(file)).unwrap();
    let headers = [("content-type", "application/json")];
    let path = format!("/v1/{signal}");
    let answer = http::post(daemon.addresses().http, &path, &headers, &body).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
}

fn ok(daemon: &Daemon, path: &str) -> Value {
    let answer = daemon.api(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn assert_told(daemon: &Daemon, agent: &Agent) {
    let name = agent.name;
    let sessions = daemon.list(&format!("/api/v1/sessions?{RANGE}"));
    let [session] = sessions.as_slice() else {
        panic!("{name}: {sessions:#?}");
    };
    let [calls, input, output, cached, cost] = agent.session;
    let totals = json!({
        "llm_call_count": calls, "input_tokens": input, "output_tokens": output,
        "cache_read_tokens": cached, "cost_nano_usd": cost,
    });
    assert_eq!(session["totals"], totals, "{name}");

    let measures = "measures=llm_calls,input_tokens,output_tokens,cost_nano_usd";
    let told = ok(
        daemon,
        &format!("/api/v1/analytics?{RANGE}&{measures}&group_by=service"),
    );
    let [row] = told["rows"].as_array().unwrap().as_slice() else {
        panic!("{name}: {told:#}");
    };
    assert_eq!(row["group"]["service"], agent.service);
    let sums = json!({
        "llm_calls": calls, "input_tokens": input, "output_tokens": output,
        "cost_nano_usd": cost,
    });
    assert_eq!(row["measures"], sums, "{name}");

    let (metric, question, expected) = agent.metric;
    let told = ok(
        daemon,
        &format!("/api/v1/metrics/{metric}?{RANGE}&{question}"),
    );
    let groups = told["groups"].as_array().unwrap().iter();
    let found: Vec<_> = groups
        .map(|group| {
            let kinds = group["group"].as_object().unwrap();
            let kind = kinds.values().next().unwrap().as_str().unwrap();
            (kind, group["points"][0]["value"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(found, expected, "{name}: {told:#}");
}

// Scenario: each agent's signals come, in two orders, each request twice.
// Guarantees: session and analytics tell of its calls once, with model, tokens and cost, and its metric
// agrees with them.
fn recorded_agents_are_counted_once(store: Store) {
    for agent in &AGENTS {
        for order in [["traces", "logs", "metrics"], ["metrics", "logs", "traces"]] {
            let daemon = Daemon::spawn_on(store, &[]);
            for signal in order.iter().chain(&order) {
                send(&daemon, agent.name, signal);
            }
            daemon.await_stored();
            assert_told(&daemon, agent);
        }
    }
}

on_both_stores!(recorded_agents_are_counted_once);
