//! Reading by gRPC: what was sent comes back as it was sent, in pages that clients can read; lists and
//! the feed are those of the query API; nobody reads what is another project's.

mod clients;
mod lists;
mod refused;
mod served;
mod tail;

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use prost::Message as _;
use pulse_collector::receivers::native::proto::any_value::Value;
use pulse_collector::receivers::native::proto::trace_ingest_client::TraceIngestClient;
use pulse_collector::receivers::native::proto::trace_query_client::TraceQueryClient;
use pulse_collector::receivers::native::proto::{
    Agent, AnyValue, Cost, CostSource, Event, ExportRequest, Filter, GenAi, GetTraceRequest,
    GetTraceResponse, KeyValue, Link, ListTracesRequest, Resource, ResourceSpans, Scope,
    ScopeSpans, Span, SpanKind, Status, StatusCode, Tool, Usage,
};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status as Refusal};

use crate::access::create_key;
use crate::cluster::Cluster;
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::otlp::{hex, key_value, now, post_accepted, request, runtime, span, text};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// What clients read unless told otherwise.
const CLIENT_BYTES_MAX: usize = 4 << 20;

fn channel(daemon: &Daemon) -> Channel {
    let address = format!("http://{}", daemon.addresses().grpc);
    Channel::from_shared(address).unwrap().connect_lazy()
}

/// A question with a key, where there is one.
fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    if !key.is_empty() {
        let key: MetadataValue<_> = format!("Bearer {key}").parse().unwrap();
        request.metadata_mut().insert("authorization", key);
    }
    request
}

async fn get(
    channel: &Channel,
    key: &str,
    question: GetTraceRequest,
) -> Result<GetTraceResponse, Refusal> {
    let mut client = TraceQueryClient::new(channel.clone());
    let answer = client.get_trace(with_key(question, key)).await?;
    Ok(answer.into_inner())
}

/// All pages of a trace.
async fn whole(
    channel: &Channel,
    key: &str,
    trace_id: &[u8],
    page_size: u32,
) -> Vec<GetTraceResponse> {
    let mut pages: Vec<GetTraceResponse> = Vec::new();
    let mut page_token = String::new();
    loop {
        let question = GetTraceRequest {
            trace_id: trace_id.to_vec(),
            page_size,
            page_token,
        };
        let page = get(channel, key, question).await.unwrap();
        assert!(page.encoded_len() <= CLIENT_BYTES_MAX);
        page_token = page.next_page_token.clone();
        pages.push(page);
        if page_token.is_empty() {
            return pages;
        }
    }
}

async fn export(channel: &Channel, key: &str, resource_spans: Vec<ResourceSpans>) {
    let mut client = TraceIngestClient::new(channel.clone());
    let request = with_key(ExportRequest { resource_spans }, key);
    let answer = client.export(request).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

fn string(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

/// A call of a model that uses every field.
fn call() -> GenAi {
    let message = |role: &str, text: &str| {
        format!(r#"[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]"#)
    };
    GenAi {
        operation: "chat".to_owned(),
        provider: "openai".to_owned(),
        request_model: "gpt-4o".to_owned(),
        response_model: "gpt-4o-2024-08-06".to_owned(),
        response_id: "chatcmpl-1".to_owned(),
        finish_reasons: vec!["stop".to_owned()],
        streaming: Some(true),
        time_to_first_token_ns: Some(250_000_001),
        usage: Some(Usage {
            input_tokens: Some(1000),
            output_tokens: Some(50),
            cache_read_tokens: Some(400),
            cache_write_tokens: Some(0),
            reasoning_tokens: Some(20),
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
            id: "p-1".to_owned(),
        }),
        tool: Some(Tool {
            name: "search".to_owned(),
            call_id: "call-1".to_owned(),
            arguments: r#"{"q":"tea"}"#.to_owned(),
            result: "none".to_owned(),
        }),
        tags: vec!["blue".to_owned(), "a,b".to_owned()],
        input_messages: message("user", "Hi"),
        output_messages: message("assistant", "Hello"),
        system_instructions: r#"[{"type":"text","content":"Be kind"}]"#.to_owned(),
        tool_definitions: r#"[{"type":"function","name":"search"}]"#.to_owned(),
    }
}

/// A trace of two services: a call of a model below a request.
fn sent(trace_id: &[u8]) -> Vec<ResourceSpans> {
    let start = now();
    let call = Span {
        trace_id: trace_id.to_vec(),
        span_id: vec![2; 8],
        parent_span_id: vec![1; 8],
        name: "chat gpt-4o".to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: start + 10,
        end_time_unix_nano: start + 90,
        attributes: vec![
            attribute("tier", string("gold")),
            attribute("numbers", Value::IntValue(-3)),
        ],
        dropped_attributes_count: 2,
        gen_ai: Some(call()),
        ..Span::default()
    };
    let root = Span {
        trace_id: trace_id.to_vec(),
        span_id: vec![1; 8],
        trace_state: "a=b".to_owned(),
        name: "GET /".to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 100,
        events: vec![Event {
            time_unix_nano: start + 50,
            name: "exception".to_owned(),
            attributes: vec![attribute("exception.type", string("TimeoutError"))],
            dropped_attributes_count: 1,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![9; 16],
            span_id: vec![8; 8],
            attributes: vec![attribute("why", Value::DoubleValue(0.5))],
            ..Link::default()
        }],
        status: Some(Status {
            message: "late".to_owned(),
            code: StatusCode::Error.into(),
        }),
        flags: 0x101,
        ..Span::default()
    };
    let of_service = |service: &str, span: Span| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", string(service))],
            dropped_attributes_count: 1,
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(Scope {
                name: "library".to_owned(),
                version: "1.2".to_owned(),
                attributes: vec![attribute("scope", Value::BoolValue(true))],
                dropped_attributes_count: 0,
            }),
            spans: vec![span],
            schema_url: "https://example.com/scope".to_owned(),
        }],
        schema_url: "https://example.com/resource".to_owned(),
    };
    vec![of_service("shop", root), of_service("writer", call)]
}

// Scenario: a trace is sent natively with every field, read, sent again to another project as it was
// read, and read there.
// Guarantees: what is read is what was sent, both times; its summary is that of the query API.
fn what_was_sent_natively_comes_back(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let trace_id = [7; 16];
    let sent = sent(&trace_id);
    let all = create_key(&daemon.setup, "default", "ingest,read");
    daemon.setup.run(&["project", "create", "second"]);
    let other = create_key(&daemon.setup, "second", "ingest,read");
    runtime().block_on(async {
        let channel = channel(&daemon);
        export(&channel, &all.text, sent.clone()).await;
        let found = await_trace(&channel, &all.text, &trace_id, 2).await;
        assert_eq!(found.resource_spans, sent);
        let trace = found.trace.unwrap();
        assert_eq!(
            (trace.name.as_str(), trace.service_name.as_str()),
            ("GET /", "shop")
        );
        assert_eq!(
            (trace.span_count, trace.error_count, trace.gen_ai_span_count),
            (2, 1, 1)
        );
        assert_eq!(
            (trace.services, trace.models.len()),
            (vec!["shop".to_owned(), "writer".to_owned()], 1)
        );
        assert_eq!(
            (trace.session_id.as_str(), trace.user_id.as_str()),
            ("s-1", "u-1")
        );
        let totals = trace.totals.unwrap();
        assert_eq!(
            (
                totals.llm_call_count,
                totals.input_tokens,
                totals.output_tokens
            ),
            (1, 1000, 50)
        );
        assert_eq!(
            (totals.cache_read_tokens, totals.cost_nano_usd),
            (400, 7_000_001)
        );
        let first_error = trace.first_error.unwrap();
        assert_eq!(
            (first_error.span_id, first_error.message.as_str()),
            (vec![1; 8], "late")
        );
        export(&channel, &other.text, found.resource_spans).await;
        let again = await_trace(&channel, &other.text, &trace_id, 2).await;
        assert_eq!(again.resource_spans, sent);
    });
}

async fn await_trace(
    channel: &Channel,
    key: &str,
    trace_id: &[u8],
    spans: u64,
) -> GetTraceResponse {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let question = GetTraceRequest {
            trace_id: trace_id.to_vec(),
            ..GetTraceRequest::default()
        };
        match get(channel, key, question).await {
            Ok(found)
                if found
                    .trace
                    .as_ref()
                    .is_some_and(|trace| trace.span_count >= spans) =>
            {
                return found;
            }
            Ok(_) => {}
            Err(refused) => assert_eq!(refused.code(), tonic::Code::NotFound, "{refused}"),
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

// Scenario: spans of OTLP with the words of OpenTelemetry, with those of another convention, and without
// anything of models; the answer is sent again.
// Guarantees: the columns and messages are in the fields, whoever's words they were; attributes that a
// field does not hold exactly are there; a cost that the collector computed is told apart, and is not
// the sender's when it is sent again.
fn spans_of_otlp_have_the_fields(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let trace_id = [8; 16];
    let mut otel = span(&trace_id, &[1; 8], "chat");
    otel.attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-4o"),
        key_value("gen_ai.usage.input_tokens", OtlpValue::IntValue(10)),
        key_value("gen_ai.usage.output_tokens", OtlpValue::IntValue(2)),
        text("tier", "gold"),
    ];
    let mut other = span(&trace_id, &[2; 8], "llm");
    other.parent_span_id = vec![1; 8];
    other.attributes = vec![
        text("openinference.span.kind", "LLM"),
        text("llm.provider", "openai"),
        text("llm.model_name", "gpt-4o"),
        key_value("llm.token_count.prompt", OtlpValue::IntValue(100)),
        key_value("llm.token_count.completion", OtlpValue::IntValue(20)),
        text("llm.input_messages.0.message.role", "user"),
        text("llm.input_messages.0.message.content", "Hi"),
    ];
    let mut plain = span(&trace_id, &[3; 8], "GET /");
    plain.attributes = vec![text("http.request.method", "GET")];
    let spans = vec![otel, other.clone(), plain];
    post_accepted(daemon.addresses().http, &request("shop", spans));
    daemon.await_trace(&trace_id, 3);
    runtime().block_on(async {
        let channel = channel(&daemon);
        let found = await_trace(&channel, "", &trace_id, 3).await;
        let spans = &found.resource_spans[0].scope_spans[0].spans;
        let of = |number: u8| {
            spans
                .iter()
                .find(|span| span.span_id == [number; 8])
                .unwrap()
        };
        let gen_ai = of(1).gen_ai.clone().unwrap();
        assert_eq!(
            (gen_ai.operation.as_str(), gen_ai.request_model.as_str()),
            ("chat", "gpt-4o")
        );
        assert_eq!(gen_ai.usage.unwrap().input_tokens, Some(10));
        let cost = gen_ai.cost.unwrap();
        assert_eq!(cost.source(), CostSource::Computed);
        assert!(cost.total_nano_usd.unwrap() > 0 && !cost.price_version.is_empty());
        let keys: Vec<_> = of(1).attributes.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["tier"]);
        let gen_ai = of(2).gen_ai.clone().unwrap();
        assert_eq!(
            (gen_ai.operation.as_str(), gen_ai.provider.as_str()),
            ("chat", "openai")
        );
        let usage = gen_ai.usage.unwrap();
        assert_eq!(
            (usage.input_tokens, usage.output_tokens),
            (Some(100), Some(20))
        );
        let messages: serde_json::Value = serde_json::from_str(&gen_ai.input_messages).unwrap();
        assert_eq!(messages[0]["parts"][0]["content"], "Hi");
        assert_eq!(of(2).attributes.len(), other.attributes.len());
        assert_eq!(of(3).gen_ai, None);
        assert_eq!(of(3).attributes.len(), 1);
        // Nothing is stored twice, and nothing is changed by it.
        export(&channel, "", found.resource_spans.clone()).await;
        export(&channel, "", sent(&[6; 16])).await;
        await_trace(&channel, "", &[6; 16], 2).await;
        assert_eq!(await_trace(&channel, "", &trace_id, 3).await, found);
    });
    let answer = daemon.trace(&trace_id).unwrap();
    assert_eq!(answer["spans"][0]["genai"]["cost"]["source"], "computed");
}

// Scenario: a trace of 26,000 spans in several requests is read, with pages of the server's size and of
// smaller ones; some of its spans are large.
// Guarantees: every page is one that clients read unless told otherwise, and together they are all
// spans, once, in order.
fn a_long_trace_comes_in_pages(store: Store) {
    const SPANS: u64 = 26_000;
    let daemon = Daemon::spawn_on(store, &[]);
    let trace_id = [5; 16];
    let start = now();
    for first in (0..SPANS).step_by(2_000) {
        let spans = (first..first + 2_000).map(|number| {
            let mut span = span(&trace_id, &(number + 1).to_be_bytes(), "step");
            span.start_time_unix_nano = start + number;
            span.end_time_unix_nano = start + number + 1;
            let length = if number % 100 == 0 { 20_000 } else { 50 };
            span.attributes = vec![text("note", &"x".repeat(length))];
            span
        });
        post_accepted(daemon.addresses().http, &request("agent", spans.collect()));
    }
    daemon.await_stored();
    runtime().block_on(async {
        let channel = channel(&daemon);
        for page_size in [0, 10_000] {
            let pages = whole(&channel, "", &trace_id, page_size).await;
            let spans = pages.iter().flat_map(|page| &page.resource_spans);
            let scopes = spans.flat_map(|item| &item.scope_spans);
            let ids = scopes.flat_map(|scope| &scope.spans).map(|span| {
                let id: [u8; 8] = span.span_id.as_slice().try_into().unwrap();
                u64::from_be_bytes(id)
            });
            let ids: Vec<_> = ids.collect();
            assert_eq!(ids.len() as u64, SPANS, "{page_size}");
            assert!(ids.is_sorted() && ids.first() == Some(&1));
            assert!(
                pages
                    .iter()
                    .all(|page| page.trace.as_ref().unwrap().span_count == SPANS)
            );
        }
    });
}

// Scenario: one process takes spans and answers questions, another stores them.
// Guarantees: the first answers by gRPC what the second stored; the second listens to nobody.
#[test]
fn the_process_that_answers_http_answers_grpc() {
    let cluster = Cluster::new(&[("processors.batch.timeout", "10ms")]);
    let (api, listener) = (cluster.start("api"), cluster.start("listener"));
    runtime().block_on(async {
        let channel = channel(&api);
        let trace_id = [3; 16];
        export(&channel, "", sent(&trace_id)).await;
        let found = await_trace(&channel, "", &trace_id, 2).await;
        assert_eq!(found.resource_spans, sent_like(&found));
    });
    let refused = std::net::TcpStream::connect(listener.addresses().grpc);
    assert!(refused.is_err());
}

/// The same trace, at the time at which it was sent.
fn sent_like(found: &GetTraceResponse) -> Vec<ResourceSpans> {
    let trace = found.trace.as_ref().unwrap();
    let mut like = sent(&trace.trace_id);
    let was = like[0].scope_spans[0].spans[0].start_time_unix_nano;
    let shift = |time: &mut u64| *time = *time - was + trace.start_time_unix_nano;
    let scopes = like.iter_mut().flat_map(|item| &mut item.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        shift(&mut span.start_time_unix_nano);
        shift(&mut span.end_time_unix_nano);
        for event in &mut span.events {
            shift(&mut event.time_unix_nano);
        }
    }
    like
}

on_both_stores! {
    what_was_sent_natively_comes_back,
    spans_of_otlp_have_the_fields,
    a_long_trace_comes_in_pages,
}
