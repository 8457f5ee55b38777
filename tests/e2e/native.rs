//! The native protobuf: columns of a model call without attributes, and streams that lose and double
//! nothing whatever happens to them.

#[path = "../../examples/native_stream/client.rs"]
mod client;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pulse_collector::receivers::native::proto::trace_ingest_client::TraceIngestClient;
use pulse_collector::receivers::native::proto::{
    Agent, Cost, ExportRequest, GenAi, ResourceSpans, ScopeSpans, Span, Usage,
};
use serde_json::json;

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::fault_proxy::FaultProxy;
use crate::otlp::{hex, now, runtime};
use crate::random::Random;

const PATIENCE: Duration = Duration::from_secs(60);
/// Batches of the ledger, a trace each: one page of the list.
const BATCHES: usize = 900;
/// Times that the connection or the daemon goes away.
const FAULTS: u64 = 50;

fn spans(trace_id: &[u8], count: u64) -> Vec<ResourceSpans> {
    let start = now();
    let spans = (1..=count).map(|number| Span {
        trace_id: trace_id.to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: "chat".to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1000,
        gen_ai: Some(GenAi {
            operation: "chat".to_owned(),
            request_model: "gpt-4o".to_owned(),
            ..GenAi::default()
        }),
        ..Span::default()
    });
    vec![ResourceSpans {
        scope_spans: vec![ScopeSpans {
            spans: spans.collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }]
}

// Scenario: a span with the columns of a model call, sent by the generated client.
// Guarantees: what it holds is in the columns and messages that attributes would have given.
fn columns_need_no_attributes(store: Store) {
    let mut random = Random::new(now());
    let daemon = Daemon::spawn_on(store, &[]);
    let trace_id = random.id::<16>();
    let mut resource_spans = spans(&trace_id, 1);
    resource_spans[0].scope_spans[0].spans[0].gen_ai = Some(GenAi {
        operation: "chat".to_owned(),
        provider: "openai".to_owned(),
        request_model: "gpt-4o".to_owned(),
        response_model: "gpt-4o-2024-08-06".to_owned(),
        finish_reasons: vec!["stop".to_owned()],
        streaming: Some(true),
        time_to_first_token_ns: Some(250_000_000),
        usage: Some(Usage {
            input_tokens: Some(1000),
            output_tokens: Some(50),
            cache_read_tokens: Some(400),
            ..Usage::default()
        }),
        cost: Some(Cost {
            total_nano_usd: Some(7_000_001),
            ..Cost::default()
        }),
        session_id: "s-1".to_owned(),
        user_id: "u-1".to_owned(),
        agent: Some(Agent {
            name: "planner".to_owned(),
            ..Agent::default()
        }),
        tags: vec!["blue".to_owned()],
        input_messages: r#"[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]"#.to_owned(),
        ..GenAi::default()
    });
    runtime().block_on(async {
        let address = format!("http://{}", daemon.addresses().grpc);
        let mut client = TraceIngestClient::connect(address).await.unwrap();
        let answer = client
            .export(ExportRequest { resource_spans })
            .await
            .unwrap();
        assert_eq!(answer.into_inner().partial_success, None);
    });
    let trace = daemon.await_trace(&trace_id, 1);
    let span = &trace["spans"][0];
    for (path, expected) in [
        ("/operation", json!("chat")),
        ("/provider", json!("openai")),
        ("/request_model", json!("gpt-4o")),
        ("/response_model", json!("gpt-4o-2024-08-06")),
        ("/genai/usage/input_tokens", json!(1000)),
        ("/genai/usage/output_tokens", json!(50)),
        ("/genai/usage/cache_read_tokens", json!(400)),
        ("/genai/cost/total_nano_usd", json!(7_000_001)),
        ("/genai/cost/source", json!("reported")),
        ("/genai/agent_name", json!("planner")),
        ("/genai/time_to_first_token_ns", json!(250_000_000)),
        ("/genai/streaming", json!(true)),
        ("/genai/finish_reason", json!("stop")),
        (
            "/attributes/gen_ai.input.messages",
            json!(r#"[{"role":"user","parts":[{"type":"text","content":"Hi"}]}]"#),
        ),
    ] {
        assert_eq!(span.pointer(path), Some(&expected), "{path} in {span}");
    }
    assert_eq!(
        (&span["session_id"], &span["user_id"]),
        (&json!("s-1"), &json!("u-1"))
    );
    let tagged = daemon.list("/api/v1/spans?tag=blue&user_id=u-1");
    assert_eq!(tagged.len(), 1);
}

// Scenario: a client streams batches through a network that cuts its connections, to a daemon that is
// killed and stopped, fifty times, and sends what was not acknowledged again.
// Guarantees: every batch is acknowledged in the end, and stored exactly once.
fn a_resuming_stream_loses_and_doubles_nothing(store: Store) {
    let mut random = Random::from_environment("native");
    let mut daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "50ms")]);
    let proxy = FaultProxy::start(daemon.addresses().grpc);
    let mut expected = BTreeMap::new();
    let batches = (0..BATCHES).map(|_| {
        let (trace_id, count) = (random.id::<16>(), 1 + random.below(20));
        expected.insert(hex(&trace_id), count);
        spans(&trace_id, count)
    });
    let batches: Vec<_> = batches.collect();
    let acknowledged = AtomicU64::new(0);
    let endpoint = format!("http://{}", proxy.address());
    let report = std::thread::scope(|scope| {
        let acknowledged = &acknowledged;
        let sending = scope.spawn(move || {
            let count = |_| {
                acknowledged.fetch_add(1, Ordering::SeqCst);
                // Slow enough that every fault meets the stream.
                std::thread::sleep(Duration::from_millis(1));
            };
            runtime().block_on(client::send(&endpoint, None, batches, count))
        });
        for fault in 1..=FAULTS {
            let due = fault * BATCHES as u64 / (FAULTS + 1);
            eventually("batches to be acknowledged", PATIENCE, || {
                let now = acknowledged.load(Ordering::SeqCst);
                (now >= due || sending.is_finished()).then_some(())
            });
            std::thread::sleep(Duration::from_millis(random.below(5)));
            match random.below(5) {
                0 => {
                    daemon.process.kill9();
                    daemon.restart();
                }
                1 => {
                    daemon.process.sigterm();
                    assert!(daemon.process.wait_exit(PATIENCE).success());
                    daemon.restart();
                }
                _ => proxy.cut(),
            }
        }
        sending.join().unwrap()
    });
    let report = report.unwrap();
    assert_eq!(report.acknowledged, BATCHES as u64, "{report:?}");
    assert_eq!((report.rejected_spans, report.refused.len()), (0, 0));
    assert!(
        report.streams > FAULTS / 2,
        "the faults met no stream: {report:?}"
    );
    daemon.await_stored();
    let stored = daemon.list("/api/v1/traces?limit=1000&model=gpt-4o");
    let stored: BTreeMap<String, u64> = stored
        .iter()
        .map(|trace| {
            let id = trace["trace_id"].as_str().unwrap().to_owned();
            (id, trace["span_count"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(stored, expected);
}

on_both_stores! {
    columns_need_no_attributes,
    a_resuming_stream_loses_and_doubles_nothing,
}

// Scenario: the example of the documentation against a daemon.
// Guarantees: it says that everything is durable, and it is.
#[test]
fn the_example_streams() {
    let daemon = Daemon::spawn(&[]);
    let endpoint = format!("http://{}", daemon.addresses().grpc);
    // Cargo builds it: a run of the tests alone does not.
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--example", "native_stream", "--"])
        .arg(endpoint)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.starts_with("20 batches are durable, 0 spans were rejected"),
        "{output:?}"
    );
    daemon.await_stored();
    let calls = daemon.list("/api/v1/spans?service=native-example&agent=planner&limit=1000");
    assert_eq!(calls.len(), 200);
}

// Scenario: the load tool streams, and asks for everything that was acknowledged.
// Guarantees: nothing is lost, nothing is doubled.
#[test]
fn the_load_tool_streams() {
    let daemon = Daemon::spawn(&[]);
    let addresses = daemon.addresses();
    let (grpc, gateway) = (addresses.grpc, addresses.gateway);
    let [endpoint, query_url, metrics_url] = [
        format!("http://{grpc}"),
        format!("http://{gateway}"),
        format!("http://{}/metrics", addresses.metrics),
    ];
    let arguments = [
        "bench",
        "--protocol",
        "native-stream",
        "--spans",
        "20480",
        "--connections",
        "2",
        "--verify",
        "--json",
        "--quiet",
        "--endpoint",
        &endpoint,
        "--query-url",
        &query_url,
        "--metrics-url",
        &metrics_url,
    ];
    let output = daemon.setup.run(&arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let verified = &report["verification"];
    for (member, expected) in [
        ("spans_expected", 20_480),
        ("spans_lost", 0),
        ("spans_duplicated", 0),
    ] {
        assert_eq!(verified[member], expected, "{report}");
    }
}
