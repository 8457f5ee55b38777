//! LLM spans after the OpenTelemetry GenAI conventions: an agent, then chat calls with their
//! messages and the tool calls they ask for.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;

use super::super::words;
use super::{Rng, Shape, Slot, Times, attribute, fail, number, placeholder, text};
use crate::bench::template::CONVERSATION_PREFIX;

pub(super) const SERVICES: [&str; 6] = [
    "support-agent",
    "research-agent",
    "sales-assistant",
    "code-reviewer",
    "billing-bot",
    "travel-planner",
];

const MODELS: [(&str, &str, &str); 5] = [
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    (
        "anthropic",
        "claude-sonnet-4-5",
        "claude-sonnet-4-5-20250929",
    ),
    (
        "aws.bedrock",
        "amazon.nova-pro-v1:0",
        "amazon.nova-pro-v1:0",
    ),
    ("gcp.gemini", "gemini-2.5-flash", "gemini-2.5-flash"),
];

const TOOLS: [(&str, &str); 6] = [
    (
        "search_documents",
        "Searches the knowledge base and returns passages",
    ),
    ("get_order_status", "Looks up an order by its number"),
    ("run_sql", "Runs a read-only query against the warehouse"),
    ("send_email", "Sends an email to a customer"),
    ("get_weather", "Returns the forecast for a city"),
    ("create_ticket", "Opens a ticket in the help desk"),
];

const STEP_NS: u64 = 900_000_000;

pub(super) fn span(slot: Slot, shape: &Shape, failed: bool, rng: &mut Rng) -> (u32, Span) {
    let steps = u64::from(shape.layout.spans_per_trace).max(2) - 1;
    let mut span = match slot.position {
        0 => {
            let times = Times {
                start: 0,
                end: steps * STEP_NS + 4_000_000,
            };
            agent(placeholder(slot, None, times), shape, rng)
        }
        position => {
            let start = u64::from(position - 1) * STEP_NS + 2_000_000;
            let times = Times {
                start,
                end: start + STEP_NS - 10_000_000 - rng.below(STEP_NS / 2),
            };
            let span = placeholder(slot, Some(0), times);
            if position.is_multiple_of(2) {
                tool(span, rng)
            } else {
                chat(span, shape.message_bytes, rng)
            }
        }
    };
    let marker = format!("{CONVERSATION_PREFIX}{:016x}", 0);
    span.attributes.push(text("gen_ai.conversation.id", marker));
    if failed {
        let message = "Rate limit reached for requests per minute; try again in 20 s";
        fail(&mut span, "RateLimitError", message);
    }
    (slot.trace % shape.services.max(1), span)
}

fn agent(mut span: Span, shape: &Shape, rng: &mut Rng) -> Span {
    let (provider, model, _) = rng.skewed(&MODELS, ("openai", "gpt-4o", "gpt-4o"));
    let name = rng.skewed(&SERVICES, "agent");
    span.name = format!("invoke_agent {name}");
    span.kind = SpanKind::Internal.into();
    let instructions = json!([{"type": "text", "content": words::text(rng, 240)}]);
    span.attributes = vec![
        text("gen_ai.operation.name", "invoke_agent"),
        text("gen_ai.provider.name", provider),
        text("gen_ai.agent.name", name),
        text(
            "gen_ai.agent.id",
            format!("asst_{:012x}", rng.below(1 << 48)),
        ),
        text("gen_ai.request.model", model),
        text("gen_ai.system_instructions", instructions.to_string()),
        text("user.id", format!("user-{:06}", rng.below(5_000))),
        number("gen_ai.usage.input_tokens", shape.message_bytes as u64 / 5),
        number(
            "gen_ai.usage.output_tokens",
            shape.message_bytes as u64 / 14,
        ),
    ];
    span
}

fn chat(mut span: Span, message_bytes: usize, rng: &mut Rng) -> Span {
    let (provider, model, response_model) = rng.skewed(&MODELS, ("openai", "gpt-4o", "gpt-4o"));
    let (input, output) = messages(message_bytes, rng);
    let finish = AnyValue {
        value: Some(Value::StringValue("stop".to_owned())),
    };
    span.name = format!("chat {model}");
    span.kind = SpanKind::Client.into();
    span.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", provider),
        text("gen_ai.request.model", model),
        text("gen_ai.response.model", response_model),
        text(
            "gen_ai.response.id",
            format!("chatcmpl-{:016x}", rng.next()),
        ),
        decimal("gen_ai.request.temperature", 0.2),
        number("gen_ai.request.max_tokens", 4096),
        number("gen_ai.usage.input_tokens", input.len() as u64 / 4),
        number("gen_ai.usage.output_tokens", output.len() as u64 / 4),
        number(
            "gen_ai.usage.cache_read.input_tokens",
            input.len() as u64 / 16,
        ),
        attribute(
            "gen_ai.response.finish_reasons",
            Value::ArrayValue(ArrayValue {
                values: vec![finish],
            }),
        ),
        text("server.address", format!("api.{provider}.example")),
        text("gen_ai.input.messages", input),
        text("gen_ai.output.messages", output),
    ];
    span
}

/// Input and output messages as JSON, about `bytes` together: a question, an answer, a tool's
/// result and the next question, then the model's answer.
fn messages(bytes: usize, rng: &mut Rng) -> (String, String) {
    let part = |content: String| json!([{"type": "text", "content": content}]);
    // Roles, keys and escapes take about 330 bytes of any conversation.
    let prose = bytes.saturating_sub(330);
    let call = format!("call_{:012x}", rng.below(1 << 48));
    let (tool, _) = rng.skewed(&TOOLS, ("search_documents", ""));
    let input = json!([
        {"role": "user", "parts": part(words::text(rng, prose * 12 / 100))},
        {"role": "assistant", "parts": [
            {"type": "tool_call", "id": call, "name": tool,
             "arguments": {"query": words::text(rng, 40)}}]},
        {"role": "tool", "parts": [
            {"type": "tool_call_response", "id": call,
             "result": words::text(rng, prose * 45 / 100)}]},
        {"role": "user", "parts": part(words::text(rng, prose * 10 / 100))},
    ]);
    let output = json!([
        {"role": "assistant", "parts": part(words::text(rng, prose * 33 / 100)),
         "finish_reason": "stop"},
    ]);
    (input.to_string(), output.to_string())
}

fn tool(mut span: Span, rng: &mut Rng) -> Span {
    let (name, description) = rng.skewed(&TOOLS, ("search_documents", ""));
    let arguments = json!({"query": words::text(rng, 60), "limit": 1 + rng.below(20)});
    let result = json!({"status": "ok", "content": words::text(rng, 200)});
    span.name = format!("execute_tool {name}");
    span.kind = SpanKind::Internal.into();
    span.attributes = vec![
        text("gen_ai.operation.name", "execute_tool"),
        text("gen_ai.tool.name", name),
        text("gen_ai.tool.type", "function"),
        text("gen_ai.tool.description", description),
        text(
            "gen_ai.tool.call.id",
            format!("call_{:012x}", rng.below(1 << 48)),
        ),
        text("gen_ai.tool.call.arguments", arguments.to_string()),
        text("gen_ai.tool.call.result", result.to_string()),
    ];
    span
}

fn decimal(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}
