//! Streams model calls to a collector in its native protobuf.
//!
//! ```sh
//! cargo run --example native_stream -- http://127.0.0.1:4317 [API KEY]
//! ```

#![expect(clippy::print_stdout, reason = "it reports to who runs it")]

mod client;

use std::time::{SystemTime, UNIX_EPOCH};

use pulse_collector::receivers::native::proto::{
    Agent, GenAi, ResourceSpans, ScopeSpans, Span, SpanKind, Usage, any_value,
};
use pulse_collector::receivers::native::proto::{AnyValue, KeyValue, Resource, Scope};

/// Batches sent, and calls in each.
const BATCHES: u64 = 20;
const CALLS: u64 = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next();
    let endpoint = endpoint.unwrap_or_else(|| "http://127.0.0.1:4317".to_owned());
    let key = arguments.next();
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let batches = (0..BATCHES).map(|number| batch(now, number)).collect();
    let report = client::send(&endpoint, key.as_deref(), batches, |_| {}).await?;
    println!(
        "{} batches are durable, {} spans were rejected, {} batches refused, {} streams",
        report.acknowledged,
        report.rejected_spans,
        report.refused.len(),
        report.streams
    );
    Ok(())
}

/// Calls of a model by an agent.
fn batch(now: u64, number: u64) -> Vec<ResourceSpans> {
    let calls = (0..CALLS).map(|call| call_span(now, number * CALLS + call));
    vec![ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", "native-example")],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(Scope {
                name: "native_stream".to_owned(),
                ..Scope::default()
            }),
            spans: calls.collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }]
}

fn call_span(now: u64, number: u64) -> Span {
    let trace_id = [now.to_be_bytes(), number.to_be_bytes()].concat();
    let start = now.saturating_sub(1_000_000_000 * (number + 1));
    Span {
        trace_id,
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: "chat gpt-4o".to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 800_000_000,
        gen_ai: Some(GenAi {
            operation: "chat".to_owned(),
            provider: "openai".to_owned(),
            request_model: "gpt-4o".to_owned(),
            usage: Some(Usage {
                input_tokens: Some(1200),
                output_tokens: Some(80),
                ..Usage::default()
            }),
            agent: Some(Agent {
                name: "planner".to_owned(),
                ..Agent::default()
            }),
            input_messages: r#"[{"role":"user","parts":[{"type":"text","content":"Hello"}]}]"#
                .to_owned(),
            ..GenAi::default()
        }),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(any_value::Value::StringValue(value.to_owned())),
        }),
    }
}
