//! Providers that are told by their hosts, and traces too large for a list.

use super::Client;
use crate::daemon::{Store, on_both_stores};
use crate::otlp::{post_accepted, request, span, text};

/// Sends a call through OpenAI's library to a host.
fn call(client: &Client, number: u8, host: &str) {
    let mut call = span(&[number; 16], &[number; 8], "chat");
    call.start_time_unix_nano += u64::from(number);
    call.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.system", "openai"),
        text("gen_ai.request.model", "m"),
        text("server.address", host),
    ];
    post_accepted(client.0.addresses().http, &request("shop", vec![call]));
}

// Scenario: calls of three hosts through one library, so that they have one provider as it was sent
// and three in columns.
// Guarantees: each is found by the provider that answers show, and none is missing in sums by it.
fn a_provider_is_found_by_the_name_that_was_sent(store: Store) {
    let client = Client::on(store);
    let hosts = ["api.openai.com", "api.groq.com", "shop.openai.azure.com"];
    for (number, host) in (1..).zip(hosts) {
        call(&client, number, host);
    }
    client.0.await_counted();
    let models = client.0.list("/api/v1/models");
    assert_eq!(models.len(), 3, "{models:?}");
    let found = client.ok("/v1/traces?provider=openai");
    assert_eq!(found["total"], 3, "{found}");
    assert_eq!(client.ok("/v1/traces?provider=groq")["total"], 0);
    let sums =
        client.ok("/v1/analytics?date_from=2020-01-01T00:00:00Z&date_to=2099-01-01T00:00:00Z");
    let by_provider = sums["costByProvider"].as_array().unwrap();
    assert_eq!(by_provider.len(), 1, "{sums}");
    assert_eq!(by_provider[0]["provider"], "openai");
    assert_eq!(by_provider[0]["requests"], 3);
    let models = sums["topModels"].as_array().unwrap();
    assert_eq!(models.len(), 1, "{sums}");
    assert_eq!(models[0]["requests"], 3);
}

// Scenario: a trace has more bytes than an answer may, and is newer than another.
// Guarantees: lists show the beginning of it and say so; filters that read traces find the other.
fn a_trace_that_is_too_large_is_listed_in_part(store: Store) {
    let client = Client::on(store);
    call(&client, 1, "api.openai.com");
    let large = "x".repeat(3 << 20);
    let spans = (1..=12).map(|number| {
        let mut part = span(&[9; 16], &[number; 8], "part");
        part.start_time_unix_nano += 1_000_000;
        part.attributes = vec![text("text", &large)];
        part
    });
    let spans: Vec<_> = spans.collect();
    for spans in spans.chunks(2) {
        post_accepted(client.0.addresses().http, &request("shop", spans.to_vec()));
    }
    client.0.await_counted();
    let listed = client.ok("/v1/traces?limit=1");
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["traces"][0]["isPartial"], true);
    assert_eq!(listed["traces"][0]["spanCount"], 2);
    let found = client.ok("/v1/traces?provider=openai");
    assert_eq!(found["total"], 1);
}

on_both_stores! {
    a_provider_is_found_by_the_name_that_was_sent,
    a_trace_that_is_too_large_is_listed_in_part,
}
