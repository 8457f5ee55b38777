//! Sums over time are what the spans sent add up to.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::json;

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::otlp::{key_value, now, post_accepted, request, span, text};

const HOUR: u64 = 3_600_000_000_000;

fn call(number: u8, start: u64, model: &str, input: i64) -> Span {
    let mut span = span(&[number; 16], &[number; 8], "call");
    span.start_time_unix_nano = start;
    span.end_time_unix_nano = start + 1_000_000;
    span.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "provider"),
        text("gen_ai.response.model", model),
        key_value("gen_ai.usage.input_tokens", Value::IntValue(input)),
    ];
    span
}

// Scenario: model calls and other spans of two services, one of them hours ago, some sent twice.
// Guarantees: requests, errors, tokens and durations by service, model and time are as sent, each
// span once; trace totals agree; a wrong question names what is wrong with it.
fn sums_are_what_was_sent(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    let now = now();
    let mut failed = call(3, now, "large", 5);
    failed.status = Some(Status {
        code: 2,
        ..Status::default()
    });
    let shop = request(
        "shop",
        vec![
            call(1, now, "small", 10),
            call(2, now - 3 * HOUR, "small", 7),
        ],
    );
    let chat = request("chat", vec![failed, span(&[4; 16], &[4; 8], "plain")]);
    for request in [&shop, &chat, &shop] {
        post_accepted(daemon.addresses().http, request);
    }
    daemon.await_counted();

    let ask = |query: &str| {
        let answer = daemon.api(&format!("/api/v1/analytics?{query}"));
        (answer.status, answer.json())
    };
    let (status, all) =
        ask("measures=requests,errors,error_rate,llm_calls,input_tokens,duration_avg_ns");
    assert_eq!(status, 200, "{all}");
    assert_eq!(
        all["rows"][0]["measures"],
        json!({
            "requests": 4, "errors": 1, "error_rate": 0.25, "llm_calls": 3, "input_tokens": 22,
            "duration_avg_ns": 1_000_000,
        })
    );
    let (_, grouped) = ask("group_by=service,model&measures=requests,input_tokens&model=small");
    let rows: Vec<_> = grouped["rows"].as_array().unwrap().iter().collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0]["group"],
        json!({"service": "shop", "model": "small"})
    );
    assert_eq!(
        rows[0]["measures"],
        json!({"requests": 2, "input_tokens": 17})
    );

    let recent = now - HOUR;
    let (_, recent) = ask(&format!(
        "start={recent}&group_by=model&measures=requests,duration_p99_ns"
    ));
    let groups: Vec<_> = recent["rows"].as_array().unwrap().iter().collect();
    let models: Vec<_> = groups
        .iter()
        .map(|row| row["group"]["model"].clone())
        .collect();
    assert_eq!(models, [json!(null), json!("large"), json!("small")]);
    for row in groups {
        assert_eq!(row["measures"]["requests"], 1);
        let p99 = row["measures"]["duration_p99_ns"].as_u64().unwrap();
        assert!((1_000_000..1_250_000).contains(&p99), "{p99}");
    }
    let (_, stepped) = ask("step=1h&service=shop&measures=requests");
    let buckets = stepped["rows"].as_array().unwrap();
    assert_eq!(buckets.len(), 2, "{stepped}");
    let bucket = |row: &serde_json::Value| {
        let time = row["bucket_time_unix_nano"].as_str().unwrap();
        time.parse::<u64>().unwrap()
    };
    assert_eq!(bucket(&buckets[0]), (now - 3 * HOUR) / HOUR * HOUR);
    assert_eq!(bucket(&buckets[1]), now / HOUR * HOUR);

    let trace = daemon.await_trace(&[1; 16], 1);
    assert_eq!(trace["trace"]["totals"]["input_tokens"], 10);
    assert_eq!(trace["spans"][0]["genai"]["usage"]["input_tokens"], 10);

    let (status, problem) = ask("group_by=colour&step=90s");
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("invalid_parameter"))
    );
    assert_eq!(problem["fields"].as_array().unwrap().len(), 2, "{problem}");
}

on_both_stores! {
    sums_are_what_was_sent,
}
