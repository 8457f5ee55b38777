//! Sampled spans: what speaks for a trace is kept whole, and sums stay those of all that was sent.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Sent;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::Value;

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::otlp::{key_value, now, post_accepted, request, span, text};
use crate::random::Random;

const TRACES: usize = 120;
const SPANS_PER_TRACE: u64 = 3;
const SECOND: u64 = 1_000_000_000;
const WITHIN: Duration = Duration::from_secs(120);

/// What is sampled: 10 %, and what speaks for itself.
const TAIL: &[(&str, &str)] = &[
    ("processors.batch.timeout", "20ms"),
    ("processors.sampling.tail.enabled", "true"),
    ("processors.sampling.tail.decision_wait", "4s"),
    ("processors.sampling.tail.slow", "5s"),
    ("processors.sampling.tail.expensive_usd", "0.5"),
    ("processors.sampling.tail.keep", "[{service: vip}]"),
];

/// A trace, and whether something speaks for it.
struct Sample {
    id: Vec<u8>,
    /// Its root, and its other spans.
    requests: [ExportTraceServiceRequest; 2],
    speaks: bool,
}

impl Sample {
    /// Whether ten percent have it, by OpenTelemetry's rules.
    fn is_among_ten_percent(&self) -> bool {
        let mut low = [0; 8];
        low[1..].copy_from_slice(&self.id[9..]);
        u64::from_be_bytes(low) as f64 >= 0.9 * (1_u64 << 56) as f64
    }
}

/// A wrapper and two calls below it, of which some are told in a later request.
fn sample(number: usize, random: &mut Random) -> Sample {
    let id = random.id::<16>();
    let start = now() - 60 * SECOND;
    let call = |number: u8, cost: f64| {
        let mut call = span(&id, &[number; 8], "call");
        call.parent_span_id = vec![1; 8];
        call.start_time_unix_nano = start + u64::from(number);
        call.end_time_unix_nano = start + 1_000_000;
        call.attributes = vec![
            text("session.id", &format!("session-{}", id[0] % 5)),
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.request.model", "model"),
            key_value("gen_ai.usage.input_tokens", Sent::IntValue(10)),
            key_value("gen_ai.usage.cost", Sent::DoubleValue(cost)),
        ];
        call
    };
    let cost = if number % 12 == 2 { 0.3 } else { 0.001 };
    let mut spans: [Span; 3] = [call(1, cost), call(2, cost), call(3, cost)];
    spans[0].parent_span_id = Vec::new();
    spans[0].attributes[1] = text("gen_ai.operation.name", "invoke_agent");
    let mut service = "shop";
    match number % 12 {
        0 => {
            spans[2].status = Some(Status {
                code: 2,
                ..Status::default()
            });
        }
        1 => spans[1].end_time_unix_nano = start + 6 * SECOND,
        3 => spans[1]
            .attributes
            .push(key_value("sampling.priority", Sent::IntValue(1))),
        4 => service = "vip",
        _ => {}
    }
    let [root, rest @ ..] = spans;
    Sample {
        id,
        requests: [request("shop", vec![root]), request(service, rest.to_vec())],
        speaks: number % 12 <= 4,
    }
}

fn samples() -> Vec<Sample> {
    let mut random = Random::new(7);
    (0..TRACES)
        .map(|number| sample(number, &mut random))
        .collect()
}

fn send(daemon: &Daemon, samples: &[Sample]) {
    for request in samples.iter().flat_map(|sample| &sample.requests) {
        post_accepted(daemon.addresses().http, request);
    }
}

/// All sums that do not depend on which spans are stored.
fn sums(daemon: &Daemon) -> Vec<Value> {
    let measures = "requests,errors,llm_calls,input_tokens,cost_nano_usd,duration_p99_ns";
    let mut answers = Vec::new();
    for group_by in ["", "&group_by=service,model,operation"] {
        let path = format!("/api/v1/analytics?measures={measures}{group_by}");
        let answer = daemon.api(&path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut rows = answer.json()["rows"].clone();
        for row in rows.as_array_mut().unwrap() {
            // The minute of the question.
            let row = row.as_object_mut().unwrap();
            row.retain(|key, _| !key.starts_with("bucket_time"));
        }
        answers.push(rows);
    }
    for path in ["/api/v1/services", "/api/v1/sessions"] {
        let mut items = daemon.list(path);
        for item in &mut items {
            let members = item.as_object_mut().unwrap();
            members.remove("trace_count");
            members.retain(|key, _| !key.starts_with("received"));
        }
        answers.push(items.into());
    }
    answers
}

/// Waits until all of the log is stored and all spans are counted.
fn await_all(daemon: &Daemon) {
    let spans = TRACES as u64 * SPANS_PER_TRACE;
    eventually("all spans to be counted", WITHIN, || {
        let rows = &daemon.api("/api/v1/analytics?measures=requests").json()["rows"];
        let counted = rows[0]["measures"]["requests"].as_u64();
        assert!(counted.unwrap_or(0) <= spans, "{rows}");
        let waiting = daemon.metric("pulse_sampling_waiting_records");
        let unstored = daemon.metric("pulse_queue_unstored_records");
        (counted == Some(spans) && waiting == 0.0 && unstored == 0.0).then_some(())
    });
}

/// What all of it adds up to where nothing is sampled.
fn unsampled(store: Store, samples: &[Sample]) -> Vec<Value> {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    send(&daemon, samples);
    await_all(&daemon);
    sums(&daemon)
}

/// Each trace is stored whole or not at all, and the right ones are.
fn assert_kept(daemon: &Daemon, samples: &[Sample]) {
    let mut kept = 0;
    for (number, sample) in samples.iter().enumerate() {
        let stored = daemon.trace(&sample.id);
        let expected = sample.speaks || sample.is_among_ten_percent();
        let spans = stored.map(|trace| trace["trace"]["span_count"].as_u64().unwrap());
        let whole = expected.then_some(SPANS_PER_TRACE);
        assert_eq!(spans, whole, "trace {number} of {}", number % 12);
        kept += usize::from(expected);
    }
    let listed = daemon.list("/api/v1/traces");
    assert_eq!(listed.len(), kept);
    assert!(kept < samples.len() * 2 / 3, "{kept}");
}

// Scenario: traces come in two requests each, and all again; one in twelve each fails, is slow, is
// expensive, is flagged, or is of a service to be kept.
// Guarantees: these are stored whole, of the others the ten percent that any OpenTelemetry sampler
// would keep; sums, services and sessions are those of a daemon that stores all. Every span is
// counted as stored, known or sampled out.
fn what_speaks_for_a_trace_is_kept_and_sums_are_of_all(store: Store) {
    let samples = samples();
    let expected = unsampled(store, &samples);
    let daemon = Daemon::spawn_on(store, TAIL);
    send(&daemon, &samples);
    send(&daemon, &samples);
    daemon.await_counted();
    await_all(&daemon);
    assert_kept(&daemon, &samples);
    assert_eq!(sums(&daemon), expected);
    let early = daemon.metric("pulse_sampling_early_records_total");
    assert_eq!(early, 0.0);
    let kept = daemon.metric("pulse_sampling_kept_traces_total");
    assert!(kept >= (TRACES * 5 / 12) as f64, "{kept}");
    // Late, and sent again: a trace that was left out stays so, one that is stored grows.
    send(&daemon, &samples[..12]);
    let late: Vec<_> = samples
        .iter()
        .filter(|sample| sample.speaks)
        .take(3)
        .collect();
    for sample in &late {
        let span = span(&sample.id, &[9; 8], "late");
        post_accepted(daemon.addresses().http, &request("shop", vec![span]));
    }
    daemon.await_counted();
    for sample in late {
        daemon.await_trace(&sample.id, SPANS_PER_TRACE + 1);
    }
}

// Scenario: the daemon is killed while requests wait, while some are stored, and while it reads its
// log back; what was sent before is sent again each time.
// Guarantees: as without kills.
fn kills_change_nothing_about_it(store: Store) {
    let samples = samples();
    let expected = unsampled(store, &samples);
    let mut daemon = Daemon::spawn_on(store, TAIL);
    let (first, second) = samples.split_at(TRACES / 2);
    send(&daemon, first);
    daemon.process.kill9();
    daemon.restart();
    send(&daemon, first);
    eventually("some to be decided about", WITHIN, || {
        let decided = daemon.metric("pulse_writer_spans_sampled_out_total")
            + daemon.metric("pulse_writer_spans_stored_total");
        (decided > 0.0).then_some(())
    });
    daemon.process.kill9();
    daemon.restart();
    send(&daemon, second);
    let mut starting = {
        daemon.process.kill9();
        daemon.setup.launch()
    };
    std::thread::sleep(Duration::from_millis(100));
    starting.kill9();
    daemon.restart();
    send(&daemon, &samples);
    await_all(&daemon);
    assert_kept(&daemon, &samples);
    assert_eq!(sums(&daemon), expected);
}

// Scenario: more waits than may be held in memory; traces are sampled by the head besides.
// Guarantees: what does not fit is decided about early, and counted; memory keeps its bound; sums are
// those of all.
#[test]
fn memory_keeps_its_bound() {
    let samples = samples();
    let expected = unsampled(Store::Sqlite, &samples);
    let settings = [
        ("processors.batch.timeout", "20ms"),
        ("processors.sampling.head.percentage", "80"),
        ("processors.sampling.tail.enabled", "true"),
        ("processors.sampling.tail.decision_wait", "1h"),
        ("processors.sampling.tail.decision_memory", "20KiB"),
    ];
    let mut daemon = Daemon::spawn(&settings);
    for sample in samples.iter().flat_map(|sample| &sample.requests) {
        post_accepted(daemon.addresses().http, sample);
        let waiting = daemon.metric("pulse_sampling_waiting_bytes");
        assert!(waiting <= 24.0 * 1024.0, "{waiting}");
    }
    eventually("some to be decided about early", WITHIN, || {
        let early = daemon.metric("pulse_sampling_early_records_total");
        (early > TRACES as f64).then_some(())
    });
    // The rest is decided about at the end, and not left behind.
    daemon.process.sigterm();
    let status = daemon.process.wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{status}");
    daemon.restart();
    await_all(&daemon);
    assert_eq!(sums(&daemon), expected);
}

on_both_stores! {
    what_speaks_for_a_trace_is_kept_and_sums_are_of_all,
    kills_change_nothing_about_it,
}
