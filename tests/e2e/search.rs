//! What spans say is found, by words, whatever it lies in.

use std::collections::HashSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, on_both_stores};
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

on_both_stores! {
    what_spans_say_is_found,
}
