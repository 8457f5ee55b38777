//! Which attribute becomes which field of a span.

use serde_json::{Value, json};

use super::{check, merged, says, text};
use crate::daemon::{Store, on_both_stores};

// Scenario: for each field of a span every attribute that it may come from, alone and beside those that
// come later in the list.
// Guarantees: the first that is there and not empty counts; the span's own before the resource's.
fn attributes_become_the_fields_of_the_contract(store: Store) {
    let one = |rule, key: &str, value: Value, expected| says(rule, json!({key: value}), expected);
    let kind = |kind: &str| json!({"pulse.kind": text(kind)});
    check(
        store,
        &[
            one(
                "pulse.trace_id before the trace's id",
                "pulse.trace_id",
                text("other"),
                json!({"traceId": "other", "sessionId": "other"}),
            ),
            says(
                "pulse.session_id first",
                json!({"pulse.session_id": text("s"), "gen_ai.conversation.id": text("c")}),
                json!({"sessionId": "s"}),
            ),
            says(
                "an empty text does not count",
                json!({"pulse.session_id": text(""), "gen_ai.conversation.id": text("c")}),
                json!({"sessionId": "c"}),
            ),
            one(
                "the source is sdk if nothing else",
                "pulse.kind",
                text("llm_call"),
                json!({"source": "sdk"}),
            ),
            one(
                "pulse.source",
                "pulse.source",
                text("openclaw"),
                json!({"source": "openclaw"}),
            ),
            one(
                "an event is a provider's call",
                "pulse.kind",
                text("notification"),
                json!({"eventType": "provider_call", "kind": "notification"}),
            ),
            one(
                "pulse.event_type",
                "pulse.event_type",
                text("stop"),
                json!({"eventType": "stop", "kind": "tool_use"}),
            ),
            one(
                "a provider's call is a call",
                "pulse.event_type",
                text("provider_call"),
                json!({"eventType": "provider_call", "kind": "llm_call"}),
            ),
            says(
                "of pulse.* without an event too",
                json!({"pulse.cwd": text("/w")}),
                json!({"cwd": "/w", "kind": "llm_call"}),
            ),
            says(
                "a tool is called as the span",
                kind("tool_use"),
                json!({"toolName": "named"}),
            ),
            says(
                "gen_ai.tool.name before that",
                merged(&kind("tool_use"), &json!({"gen_ai.tool.name": text("g")})),
                json!({"toolName": "g"}),
            ),
            says(
                "pulse.tool.name before that",
                merged(
                    &kind("tool_use"),
                    &json!({"gen_ai.tool.name": text("g"), "pulse.tool.name": text("p")}),
                ),
                json!({"toolName": "p"}),
            ),
            says(
                "only tools have tool names",
                merged(&kind("llm_call"), &json!({"pulse.tool.name": text("p")})),
                json!({"toolName": null}),
            ),
            says(
                "pulse.tool.id first",
                json!({"pulse.tool.id": text("p"), "gen_ai.tool.call.id": text("g")}),
                json!({"toolUseId": "p"}),
            ),
            one(
                "gen_ai.tool.call.id",
                "gen_ai.tool.call.id",
                text("g"),
                json!({"toolUseId": "g"}),
            ),
            says(
                "pulse.tool.input first, and read",
                json!({"pulse.tool.input": text(r#"{"a":[1]}"#), "gen_ai.tool.input": text("g")}),
                json!({"toolInput": {"a": [1]}}),
            ),
            one(
                "gen_ai.tool.input, which is no JSON",
                "gen_ai.tool.input",
                text("{a"),
                json!({"toolInput": "{a"}),
            ),
            says(
                "pulse.tool.response first",
                json!({"pulse.tool.response": text("p"), "gen_ai.tool.output": text("g")}),
                json!({"toolResponse": "p"}),
            ),
            one(
                "gen_ai.tool.output, a number in a text",
                "gen_ai.tool.output",
                text("7"),
                json!({"toolResponse": 7}),
            ),
            says(
                "pulse.error first",
                json!({"pulse.error": text(r#"{"name":"E"}"#), "exception.message": text("m")}),
                json!({"error": {"name": "E"}}),
            ),
            one(
                "exception.message",
                "exception.message",
                text("m"),
                json!({"error": "m"}),
            ),
            one(
                "pulse.is_interrupt",
                "pulse.is_interrupt",
                json!({"boolValue": true}),
                json!({"isInterrupt": true}),
            ),
            one(
                "pulse.is_interrupt is a boolean only",
                "pulse.is_interrupt",
                text("true"),
                json!({"isInterrupt": null}),
            ),
            one(
                "pulse.agent.name",
                "pulse.agent.name",
                text("a"),
                json!({"agentName": "a"}),
            ),
            says(
                "pulse.model first",
                json!({"pulse.model": text("p"), "gen_ai.request.model": text("q"), "gen_ai.response.model": text("r")}),
                json!({"model": "p", "modelUsed": "r"}),
            ),
            says(
                "gen_ai.request.model",
                json!({"gen_ai.request.model": text("q"), "gen_ai.response.model": text("r")}),
                json!({"model": "q"}),
            ),
            one(
                "gen_ai.response.model",
                "gen_ai.response.model",
                text("r"),
                json!({"model": "r", "modelUsed": "r"}),
            ),
            says(
                "gen_ai.provider.name first",
                json!({"gen_ai.provider.name": text("p"), "gen_ai.system": text("s"), "pulse.provider": text("q")}),
                json!({"provider": "p"}),
            ),
            says(
                "gen_ai.system",
                json!({"gen_ai.system": text("s"), "pulse.provider": text("q")}),
                json!({"provider": "s"}),
            ),
            one(
                "pulse.provider",
                "pulse.provider",
                text("q"),
                json!({"provider": "q"}),
            ),
            one(
                "tokens in a text",
                "gen_ai.usage.input_tokens",
                text("10"),
                json!({"inputTokens": 10}),
            ),
            one(
                "tokens as an integer's text",
                "gen_ai.usage.output_tokens",
                json!({"intValue": "5"}),
                json!({"outputTokens": 5}),
            ),
            one(
                "tokens as a number",
                "gen_ai.usage.output_tokens",
                json!({"intValue": 5}),
                json!({"outputTokens": 5}),
            ),
            one(
                "whole tokens with a point",
                "gen_ai.usage.input_tokens",
                json!({"doubleValue": 10.0}),
                json!({"inputTokens": 10}),
            ),
            one(
                "cost",
                "pulse.cost_cents",
                json!({"doubleValue": 0.00045}),
                json!({"costCents": 0.00045}),
            ),
            one(
                "a reason",
                "gen_ai.response.finish_reasons",
                text("stop"),
                json!({"finishReason": "stop"}),
            ),
            one(
                "the first of a list in a text",
                "gen_ai.response.finish_reasons",
                text(r#"["stop", "length"]"#),
                json!({"finishReason": "stop"}),
            ),
            one(
                "the first of a list",
                "gen_ai.response.finish_reasons",
                json!({"arrayValue": {"values": [text("length")]}}),
                json!({"finishReason": "length"}),
            ),
            one(
                "one reason",
                "gen_ai.response.finish_reason",
                text("stop"),
                json!({"finishReason": "stop"}),
            ),
            one(
                "an answer",
                "pulse.output_text",
                text("Hi"),
                json!({"outputText": "Hi"}),
            ),
            one(
                "an answer's id",
                "gen_ai.response.id",
                text("r"),
                json!({"providerRequestId": "r"}),
            ),
            says(
                "a service and a source of the resource",
                json!({}),
                json!({"service": "shop", "source": "codex"}),
            )
            .of(json!({"service.name": text("shop"), "pulse.source": text("codex")})),
            one(
                "the span's own source wins",
                "pulse.source",
                text("opencode"),
                json!({"source": "opencode"}),
            )
            .of(json!({"pulse.source": text("codex")})),
        ],
    );
}

on_both_stores! {
    attributes_become_the_fields_of_the_contract,
}
