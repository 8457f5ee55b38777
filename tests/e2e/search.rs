//! What spans say is found, by words, whatever it lies in.

use std::collections::HashSet;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use prost::Message as _;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http;
use crate::otlp::{hex, now, post_accepted, request, span, text};

fn chat(number: u8, start: u64, question: &str) -> Span {
    let messages = json!([{"role": "user", "parts": [{"type": "text", "content": question}]}]);
    let mut span = span(&[number; 16], &[number; 8], "chat model-1");
    span.start_time_unix_nano = start;
    span.end_time_unix_nano = start + 1_000_000;
    span.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "model-1"),
        text("gen_ai.input.messages", &messages.to_string()),
        text("tenant.note", "refund desk"),
    ];
    span
}

fn ids(items: &[Value]) -> Vec<&str> {
    let ids = items.iter().map(|item| item["trace_id"].as_str().unwrap());
    ids.collect()
}

// Scenario: forty chats in many requests, some of which say a word, one in an exception, and later
// ones while a search is under way that has no time for more than a step a page.
// Guarantees: each that says it is found exactly once, newest first, with the text around it; the
// scope and filters narrow it; a page that runs out of time says so and goes on; a wrong question
// names what is wrong with it.
fn what_spans_say_is_found(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    let start = now() - 60_000_000_000;
    for number in 1..=40_u8 {
        let question = match number % 4 {
            0 => "My \"Widget\" from Zürich is broken",
            _ => "Hello there",
        };
        let mut span = chat(number, start + u64::from(number) * 1_000_000, question);
        if number == 7 {
            span.events = vec![Event {
                name: "exception".to_owned(),
                attributes: vec![text("exception.message", "widget service unavailable")],
                ..Event::default()
            }];
        }
        let service = if number <= 20 { "shop" } else { "desk" };
        post_accepted(daemon.addresses().http, &request(service, vec![span]));
    }
    daemon.await_counted();

    let search = |query: &str| daemon.list(&format!("/api/v1/search?{query}"));
    let found = search("q=widget");
    let expected: Vec<u8> = vec![40, 36, 32, 28, 24, 20, 16, 12, 8, 7, 4];
    let expected_ids: Vec<_> = expected.iter().map(|number| hex(&[*number; 16])).collect();
    assert_eq!(ids(&found), expected_ids);
    assert_eq!(
        (&found[0]["model"], &found[0]["service_name"]),
        (&json!("model-1"), &json!("desk"))
    );
    let place = &found[0]["matches"][0];
    assert_eq!(place["field"], "gen_ai.input.messages");
    let snippet: Vec<char> = place["snippet"].as_str().unwrap().chars().collect();
    let offset = usize::try_from(place["offset"].as_u64().unwrap()).unwrap();
    assert_eq!(
        snippet[offset..offset + 6].iter().collect::<String>(),
        "Widget"
    );
    assert_eq!(found[9]["matches"][0]["event"], "exception");

    assert_eq!(
        ids(&search("q=widget%20-unavailable&service=shop")).len(),
        5
    );
    assert_eq!(ids(&search("q=z%C3%BCrich%20%22is%20broken%22")).len(), 10);
    assert_eq!(ids(&search("q=%22my%20%5C%22widget%5C%22%22")).len(), 10);
    assert_eq!(ids(&search("q=refund&in=messages")).len(), 0);
    assert_eq!(ids(&search("q=refund&in=attributes&limit=9")).len(), 40);
    assert_eq!(ids(&search("q=model-1&in=name")).len(), 40);
    assert_eq!(ids(&search("q=gen_ai.input.messages")).len(), 0);

    let mut late = 100_u8;
    let (mut steps, mut paged, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/search?q=widget&timeout=1ns{cursor}");
        let page = daemon.api(&path).json();
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else {
            assert_eq!(page["complete"], true);
            break;
        };
        assert!(page["searched_spans"].as_u64().unwrap() > 0, "{page}");
        cursor = format!("&cursor={next}");
        steps += 1;
        if steps == 1 {
            let newer = chat(late, now(), "another widget");
            late += 1;
            post_accepted(daemon.addresses().http, &request("shop", vec![newer]));
            daemon.await_counted();
        }
    }
    assert_eq!(ids(&paged), expected_ids);
    assert_eq!(ids(&paged).into_iter().collect::<HashSet<_>>().len(), 11);
    assert_eq!(search("q=widget").len(), if late > 100 { 12 } else { 11 });

    let wrong = daemon.api("/api/v1/search?q=a&timeout=1h");
    assert_eq!(wrong.status, 400);
    let fields = wrong.json()["fields"].clone();
    assert_eq!(
        (&fields[0]["path"], &fields[1]["path"]),
        (&json!("q"), &json!("timeout"))
    );
}

/// Log records as an instrumentation of the OTel conventions sends them beside its spans.
fn said(trace: u8, at: u64, said: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: at,
        event_name: "gen_ai.user.message".to_owned(),
        body: Some(AnyValue {
            value: Some(Any::KvlistValue(KeyValueList {
                values: vec![text("content", said)],
            })),
        }),
        trace_id: vec![trace; 16],
        span_id: vec![trace; 8],
        ..LogRecord::default()
    }
}

// Scenario: chats some of which say a word in their span and others in a log record beside it, in
// pages of one and in pages without time; another project has such a record, too.
// Guarantees: both are found in one list, newest first, each once, with where the word is; the record
// names its span; `kind` and filters that only spans know narrow it.
fn what_log_records_say_is_found(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    let http = daemon.addresses().http;
    let start = now() - 60_000_000_000;
    let at = |number: u8| start + u64::from(number) * 1_000_000;
    for number in 1..=12_u8 {
        let question = if number % 3 == 0 { "a widget" } else { "hello" };
        let span = chat(number, at(number), question);
        post_accepted(http, &request("shop", vec![span]));
        let said_beside = if number % 4 == 0 {
            "Widget again"
        } else {
            "hello"
        };
        let logs = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                scope_logs: vec![ScopeLogs {
                    log_records: vec![said(number, at(number) + 500, said_beside)],
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let headers = [("content-type", "application/x-protobuf")];
        let answer = http::post(http, "/v1/logs", &headers, &logs.encode_to_vec()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    daemon.await_counted();
    eventually("events to be stored", Duration::from_secs(30), || {
        (daemon.list("/api/v1/events").len() == 12).then_some(())
    });

    let place = |item: &Value| {
        let trace = item["trace_id"].as_str().unwrap()[..2].to_owned();
        (
            item["kind"].as_str().unwrap().to_owned(),
            u8::from_str_radix(&trace, 16).unwrap(),
        )
    };
    let search = |query: &str| -> Vec<_> {
        let found = daemon.list(&format!("/api/v1/search?q=widget{query}"));
        found.iter().map(place).collect()
    };
    let of = |kind: &str, number| (kind.to_owned(), number);
    let expected = vec![
        of("event", 12),
        of("span", 12),
        of("span", 9),
        of("event", 8),
        of("span", 6),
        of("event", 4),
        of("span", 3),
    ];
    assert_eq!(search(""), expected);
    for paging in [
        "&limit=1",
        "&limit=2",
        "&timeout=1ns",
        "&timeout=1ns&limit=1",
    ] {
        assert_eq!(search(paging), expected, "{paging}");
    }
    assert_eq!(search("&kind=event").len(), 3);
    assert_eq!(search("&kind=span").len(), 4);
    assert_eq!(search("&operation=chat").len(), 4);
    assert_eq!(
        search("%20again&in=messages"),
        [expected[0].clone(), of("event", 8), of("event", 4)]
    );
    assert_eq!(search("&in=name").len(), 0);
    let found = daemon.list("/api/v1/search?q=widget&limit=1&kind=event");
    assert_eq!(found[0]["span_id"], hex(&[12; 8]));
    assert_eq!(found[0]["name"], "gen_ai.user.message");
    let hit = &found[0]["matches"][0];
    assert_eq!(
        (&hit["field"], &hit["snippet"]),
        (&json!("body"), &json!("Widget again"))
    );
    let event = found[0]["event_id"].as_str().unwrap();
    let event = daemon.api(&format!("/api/v1/events/{event}")).json();
    assert_eq!(event["body"]["content"], "Widget again");
    let wrong = daemon
        .api("/api/v1/search?q=widget&kind=event&model=m")
        .json();
    assert_eq!(wrong["fields"][0]["path"], "kind");
}

on_both_stores! {
    what_spans_say_is_found,
    what_log_records_say_is_found,
}
