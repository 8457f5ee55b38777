//! The rules that hold for all dialects; what each dialect looks like is in `tests/golden`.

use proptest::prelude::*;

use super::*;
use crate::model::failure::ErrorKind;
use crate::model::genai::CostSource;
use crate::model::span::Operation;

fn basics<'a>(attributes: &[(&str, AnyValue<'a>)]) -> Basics<'a> {
    of_scope("", attributes)
}

fn of_scope<'a>(scope: &str, attributes: &[(&str, AnyValue<'a>)]) -> Basics<'a> {
    let mut collector = Collector::new(Table::builtin());
    collector.scope(scope);
    for (key, value) in attributes {
        collector.attribute(key.as_bytes(), || *value);
    }
    collector.finish(SpanFacts::default())
}

const fn text(text: &str) -> AnyValue<'_> {
    AnyValue::Str(text)
}

#[test]
fn newer_names_win_in_either_order() {
    let new = ("http.request.method", text("GET"));
    let old = ("http.method", text("POST"));
    assert_eq!(basics(&[new, old]).http_method.as_deref(), Some("GET"));
    assert_eq!(basics(&[old, new]).http_method.as_deref(), Some("GET"));
    assert_eq!(basics(&[old]).http_method.as_deref(), Some("POST"));
    assert_eq!(basics(&[old]).operation, Operation::Http);
}

#[test]
fn the_operation_is_the_most_specific_one() {
    let http = ("http.request.method", text("POST"));
    let rpc = ("rpc.system", text("grpc"));
    let chat = ("gen_ai.operation.name", text("chat"));
    assert_eq!(basics(&[http, rpc]).operation, Operation::Rpc);
    assert_eq!(basics(&[chat, http]).operation, Operation::GenAi("chat"));
    assert_eq!(basics(&[]).operation, Operation::Other);
}

#[test]
fn unusable_values_leave_the_column_to_the_next_name() {
    let empty = ("session.id", text(""));
    let other = ("session.id", AnyValue::Int(7));
    let older = ("gen_ai.conversation.id", text("c1"));
    assert_eq!(basics(&[empty, older]).session_id.as_deref(), Some("c1"));
    assert_eq!(basics(&[older, other]).session_id.as_deref(), Some("c1"));
    let response = ("gen_ai.conversation.id", text("resp_1"));
    assert_eq!(basics(&[response]).session_id, None);
}

#[test]
fn of_equal_keys_the_last_counts() {
    let both = [("session.id", text("a")), ("session.id", text("b"))];
    assert_eq!(basics(&both).session_id.as_deref(), Some("b"));
    let models = [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.request.model", text("a")),
        ("gen_ai.request.model", text("b")),
    ];
    assert_eq!(basics(&models).request_model.as_deref(), Some("b"));
}

#[test]
fn status_codes_come_as_numbers_or_text() {
    let number = ("http.response.status_code", AnyValue::Int(503));
    let older = ("http.status_code", text("404"));
    assert_eq!(basics(&[number]).http_status_code, Some(503));
    assert_eq!(basics(&[older]).http_status_code, Some(404));
}

#[test]
fn exceptions_name_the_error_unless_the_span_does() {
    let exception = |collector: &mut Collector<'static, '_>, key, value| {
        let kind = collector.event("exception", 1);
        collector.event_attribute(kind, key, text(value));
    };
    let mut collector = Collector::new(Table::builtin());
    exception(&mut collector, "exception.type", "First");
    exception(&mut collector, "exception.type", "ValueError");
    exception(&mut collector, "exception.message", "bad");
    let found = collector.finish(SpanFacts::default());
    assert_eq!(found.error_type.as_deref(), Some("ValueError"));
    assert_eq!(found.error_message.as_deref(), Some("bad"));
    assert_eq!(found.error_kind, Some(ErrorKind::Other));

    collector.attribute(b"error.type", || text("timeout"));
    exception(&mut collector, "exception.type", "ValueError");
    let found = collector.finish(SpanFacts::default());
    assert_eq!(found.error_type.as_deref(), Some("timeout"));
    assert_eq!(found.error_kind, Some(ErrorKind::Timeout));

    let class = ("error.type", text("<class 'openai.RateLimitError'>"));
    let found = basics(&[class]);
    assert_eq!(found.error_type.as_deref(), Some("openai.RateLimitError"));
    assert_eq!(found.error_kind, Some(ErrorKind::RateLimited));
}

#[test]
fn nothing_is_left_for_the_next_span() {
    let mut collector = Collector::new(Table::builtin());
    let attributes = [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.system", text("openai")),
        ("http.request.method", text("POST")),
        ("error.type", text("timeout")),
    ];
    for (key, value) in attributes {
        collector.attribute(key.as_bytes(), || value);
    }
    collector.event("ai.stream.firstChunk", 7);
    let kind = collector.event("gen_ai.choice", 7);
    collector.event_attribute(kind, "finish_reason", text("stop"));
    collector.finish(SpanFacts::default());
    assert_eq!(collector.finish(SpanFacts::default()), Basics::default());
}

#[test]
fn spans_without_models_have_no_genai_columns() {
    let plain = [
        ("http.request.method", text("GET")),
        ("server.address", text("api.openai.com")),
        ("session.id", text("s")),
        ("user.id", text("u")),
        ("thread.id", AnyValue::Int(12)),
        ("model", text("T-800")),
        ("error", text("true")),
        ("tool.name", text("hammer")),
    ];
    for scope in ["", "logfire.httpx"] {
        let found = of_scope(scope, &plain);
        assert_eq!(found.operation, Operation::Http);
        assert_eq!(found.session_id.as_deref(), Some("s"));
        assert_eq!(found.user_id.as_deref(), Some("u"));
        assert_eq!((&found.genai, &found.provider), (&None, &None));
    }
}

#[test]
fn frameworks_are_not_providers() {
    let chat = ("gen_ai.operation.name", text("chat"));
    let langchain = ("gen_ai.system", text("langchain"));
    let model = ("gen_ai.request.model", text("openai/gpt-4o"));
    assert_eq!(basics(&[chat, langchain]).provider, None);
    let found = basics(&[chat, langchain, model]);
    assert_eq!(found.provider.as_deref(), Some("openai"));
    let host = ("server.address", text("openrouter.ai"));
    let openai = ("gen_ai.system", text("openai"));
    let found = basics(&[chat, openai, host]);
    assert_eq!(found.provider.as_deref(), Some("openrouter"));
}

#[test]
fn what_the_client_reports_wins_over_what_is_computed() {
    let call = [
        ("gen_ai.operation.name", text("chat")),
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.usage.input_tokens", AnyValue::Int(1_000)),
        ("gen_ai.usage.output_tokens", AnyValue::Int(100)),
    ];
    let cost = |more: &[(&str, AnyValue<'static>)]| {
        let all: Vec<_> = call.iter().chain(more).copied().collect();
        basics(&all).genai.unwrap().cost
    };
    // 1,000 × 2,500 + 100 × 10,000.
    let computed = cost(&[]);
    assert_eq!(computed.total, Some(3_500_000));
    assert_eq!(computed.source, Some(CostSource::Computed));
    let reported = cost(&[("gen_ai.usage.cost", AnyValue::Double(0.25))]);
    assert_eq!(reported.total, Some(250_000_000));
    assert_eq!(reported.source, Some(CostSource::Reported));
    assert_eq!(reported.price_version, None);
    // Zero is what a library without a price list says.
    let zero = cost(&[("gen_ai.usage.cost", AnyValue::Int(0))]);
    assert_eq!(zero, computed);
}

#[test]
fn only_model_calls_are_priced_and_counted() {
    let usage = [
        ("gen_ai.provider.name", text("openai")),
        ("gen_ai.request.model", text("gpt-4o")),
        ("gen_ai.usage.input_tokens", AnyValue::Int(1_000)),
    ];
    for (operation, counts) in [
        ("chat", true),
        ("text_completion", true),
        ("generate_content", true),
        ("embeddings", true),
        ("invoke_agent", false),
        ("execute_tool", false),
        ("invoke_workflow", false),
        ("something_new", false),
    ] {
        let mut attributes = usage.to_vec();
        attributes.push(("gen_ai.operation.name", text(operation)));
        let found = basics(&attributes);
        let genai = found.genai.as_deref().unwrap();
        assert_eq!(genai.is_model_call, counts, "{operation}");
        assert_eq!(genai.cost.total.is_some(), counts, "{operation}");
        assert_eq!(genai.usage.input, Some(1_000), "{operation}");
    }
}

#[test]
fn first_tokens_are_told_by_attributes_or_by_the_first_event() {
    let mut collector = Collector::new(Table::builtin());
    collector.attribute(b"gen_ai.operation.name", || text("chat"));
    for time in [1_500, 1_200, 1_900] {
        collector.event("gen_ai.content.completion.chunk", time);
    }
    let span = SpanFacts {
        start_unix_nano: 1_000,
        ..SpanFacts::default()
    };
    let genai = collector.finish(span).genai.unwrap();
    assert_eq!(genai.time_to_first_token_ns, Some(200));
    assert_eq!(genai.streaming, None);
    let attribute = [
        ("gen_ai.operation.name", text("chat")),
        (
            "gen_ai.response.time_to_first_chunk",
            AnyValue::Double(0.25),
        ),
    ];
    let genai = basics(&attribute).genai.unwrap();
    assert_eq!(genai.time_to_first_token_ns, Some(250_000_000));
    assert_eq!(genai.streaming, Some(true));
}

#[test]
fn tags_are_bounded_and_distinct() {
    let many = (0..100)
        .map(|it| format!("t{}", it / 2))
        .collect::<Vec<_>>();
    let many = many.join(", ");
    let found = basics(&[
        ("langsmith.span.kind", text("llm")),
        ("langsmith.span.tags", text(&many)),
    ]);
    let tags = found.genai.unwrap().tags;
    assert_eq!(tags.len(), 16);
    assert_eq!((tags[0].as_ref(), tags[15].as_ref()), ("t0", "t15"));
}

/// Keys of the table, and some that are not in it.
fn key() -> impl Strategy<Value = String> {
    let known = (0..2_000_u16).prop_filter_map("a row", rows::row);
    prop_oneof![
        8 => known.prop_map(|row| row.key.to_owned()),
        1 => "[a-z._]{0,30}",
    ]
}

/// A value that libraries may send, or may not.
#[derive(Debug, Clone)]
enum Sent {
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Empty,
}

fn sent() -> impl Strategy<Value = Sent> {
    let words = prop::sample::select(vec![
        "chat",
        "LLM",
        "AGENT",
        "generation",
        "ai.streamText.doStream",
        "model_step",
        "llm_request",
        "pending_span",
        "openai",
        "langchain",
        "gpt-4o",
        "anthropic/claude-haiku-4-5",
        "[\"stop\"]",
        "[\"",
        "{\"input\":5,\"output\":7}",
        "{\"usage_metadata\":{\"prompt_token_count\":5}}",
        "\"\\\"LLM\\\"\"",
        "{'cache_read': 40}",
        "2026-01-01T00:00:00Z",
        "{}",
        "None",
    ]);
    prop_oneof![
        4 => words.prop_map(|it| Sent::Text(it.to_owned())),
        2 => ".{0,40}".prop_map(Sent::Text),
        3 => prop_oneof![0..1_000_i64, any::<i64>()].prop_map(Sent::Int),
        1 => any::<f64>().prop_map(Sent::Double),
        1 => any::<bool>().prop_map(Sent::Bool),
        1 => Just(Sent::Empty),
    ]
}

fn value(sent: &Sent) -> AnyValue<'_> {
    match sent {
        Sent::Text(text) => AnyValue::Str(text),
        Sent::Int(number) => AnyValue::Int(*number),
        Sent::Double(number) => AnyValue::Double(*number),
        Sent::Bool(truth) => AnyValue::Bool(*truth),
        Sent::Empty => AnyValue::Empty,
    }
}

fn scope() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "ai",
        "gen_ai",
        "langfuse-sdk",
        "openinference.instrumentation.agno",
        "gcp.vertex.agent",
        "com.anthropic.claude_code.tracing",
        "litellm",
        "logfire",
        "mlflow.openai",
        "strands.telemetry.tracer",
        "openlit.otel",
    ])
}

proptest! {
    /// Any attributes make a row without a panic, the same one in any order, and counts in it that
    /// fit into each other.
    #[test]
    fn any_order_of_attributes_gives_the_same_row(
        attributes in prop::collection::btree_map(key(), sent(), 0..24),
        scope in scope(),
        seed in any::<u64>(),
        failed in any::<bool>(),
    ) {
        let sorted: Vec<_> = attributes.iter().collect();
        let mut shuffled = sorted.clone();
        let mut state = seed | 1;
        for place in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let other = usize::try_from(state >> 33).unwrap() % (place + 1);
            shuffled.swap(place, other);
        }
        // One collector for both: nothing may be left of the first.
        let mut collector = Collector::new(Table::builtin());
        collector.scope(scope);
        let mut rows = Vec::new();
        for order in [&sorted, &shuffled] {
            for (key, sent) in order {
                collector.attribute(key.as_bytes(), || value(sent));
            }
            rows.push(collector.finish(SpanFacts {
                failed,
                start_unix_nano: 1_768_478_400_000_000_000,
                ..SpanFacts::default()
            }));
        }
        prop_assert_eq!(&rows[0], &rows[1]);
    }
}
