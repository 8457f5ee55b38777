//! A stored span as the older servers knew spans: read back from the attributes in which it was
//! kept, or worked out from what any OTLP span says. Pure.

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::values::Values;
use crate::model::span::Status;
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::{names, scalar};
use crate::storage::{SpanSummary, StoredSpan};

/// Longest text of an answer of a span that came as OTLP, in bytes.
const OUTPUT_TEXT_MAX: usize = 65_536;
const NS_PER_MS: u64 = 1_000_000;
const NANO_USD_PER_CENT: f64 = 1e7;
/// How a span's times are marked that has no end, or one before its start.
const NO_END: &str = "end_before_start";

/// Kind of spans that the older servers did not know.
const OF_OTHERS: &str = "span";

/// Where OTLP spans say what a tool was given, the first that is there.
const TOOL_INPUTS: [&str; 3] = [
    names::TOOL_INPUT,
    "gen_ai.tool.input",
    "gen_ai.tool.call.arguments",
];
/// Where they say what it answered.
const TOOL_RESPONSES: [&str; 3] = [
    names::TOOL_RESPONSE,
    "gen_ai.tool.output",
    "gen_ai.tool.call.result",
];
/// Where they say which model was asked.
const MODELS: [&str; 3] = [
    names::MODEL,
    names::GENAI_REQUEST_MODEL,
    names::GENAI_RESPONSE_MODEL,
];

/// How a span came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// As a trace of the first generation.
    Trace,
    /// As JSON of its own.
    Span,
    /// As OTLP.
    Otlp,
}

/// A span. What is absent is `None`, or null where null can come in.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) origin: Origin,
    pub(super) span_id: String,
    /// Absent when it came without a trace.
    pub(super) trace_id: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) parent_span_id: Option<String>,
    pub(super) timestamp: String,
    pub(super) duration_ms: Option<f64>,
    pub(super) source: String,
    pub(super) service: Option<String>,
    pub(super) kind: String,
    pub(super) event_type: String,
    /// Whether it says which event it tells of.
    pub(super) has_event: bool,
    pub(super) failed: bool,
    pub(super) tool_use_id: Option<String>,
    pub(super) tool_name: Option<String>,
    pub(super) tool_input: Json,
    pub(super) tool_response: Json,
    pub(super) error: Json,
    pub(super) is_interrupt: Json,
    pub(super) cwd: Option<String>,
    pub(super) model: Option<String>,
    pub(super) agent_name: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) model_used: Option<String>,
    pub(super) input_tokens: Option<f64>,
    pub(super) output_tokens: Option<f64>,
    pub(super) cost_cents: Option<f64>,
    pub(super) finish_reason: Option<String>,
    pub(super) output_text: Option<String>,
    pub(super) provider_request_id: Option<String>,
    pub(super) metadata: Json,
    /// The application's own metadata, without what the SDKs keep there.
    pub(super) user_metadata: Json,
    pub(super) request: Option<Json>,
    pub(super) response: Option<Json>,
}

/// What kind of span the columns tell of: one of the older servers' kinds, or `span` for what they
/// did not know.
pub(super) fn kind_of(summary: &SpanSummary) -> &str {
    let is_call = summary.genai.as_ref().is_some_and(|it| it.is_model_call);
    match summary.operation.as_str() {
        "chat" | "text_completion" | "generate_content" | "embeddings" | "rerank" => "llm_call",
        "execute_tool" => "tool_use",
        "invoke_agent" | "create_agent" | "workflow" | "chain" => "agent_run",
        kind @ ("session" | "user_prompt" | "llm_response" | "notification") => kind,
        _ if is_call => "llm_call",
        _ => OF_OTHERS,
    }
}

/// Duration by the columns, ms; absent where there is no end.
pub(super) fn duration_of(summary: &SpanSummary) -> Option<f64> {
    let has_end = summary.time_marks.names().all(|mark| mark != NO_END);
    has_end.then(|| ms(summary.duration_ns))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are doubles here")]
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Cost by the columns, cents: of spans of Pulse's own clients what these reported, else what is
/// known.
pub(super) fn cost_of(summary: &SpanSummary) -> Option<f64> {
    let genai = summary.genai.as_ref()?;
    let is_reported = genai.cost.source == Some(crate::model::genai::CostSource::Reported);
    let is_pulse = genai.dialect.as_deref() == Some("pulse");
    let total = genai.cost.total.filter(|_| is_reported || !is_pulse)?;
    #[expect(clippy::cast_precision_loss, reason = "cents are doubles here")]
    Some(total as f64 / NANO_USD_PER_CENT)
}

#[expect(clippy::cast_precision_loss, reason = "numbers are doubles here")]
pub(super) fn count(count: i64) -> f64 {
    count as f64
}

impl Record {
    /// Reads a stored span. Messages were checked when they came, so that none fails to decode.
    pub(super) fn of(stored: &StoredSpan) -> Self {
        let span = Span::decode(stored.message.as_slice()).unwrap_or_default();
        let resource = Resource::decode(stored.resource.message.as_slice()).unwrap_or_default();
        let values = Values::new(&span.attributes, &resource.attributes);
        let origin = match values.text(names::RECORD) {
            Some(names::TRACE_RECORD) => Origin::Trace,
            Some(names::SPAN_RECORD) => Origin::Span,
            _ => Origin::Otlp,
        };
        match origin {
            Origin::Trace | Origin::Span => Self::kept(origin, stored, &values),
            Origin::Otlp => Self::worked_out(stored, &span, &values),
        }
    }

    /// What both ways of reading have in common.
    fn common(origin: Origin, stored: &StoredSpan, values: &Values<'_>) -> Self {
        let summary = &stored.summary;
        let owned = |key| values.text(key).map(str::to_owned);
        let start = i128::from(summary.start_unix_nano);
        let parent = summary.parent_span_id.map(|id| id.to_string());
        Self {
            origin,
            span_id: owned(names::SPAN_ID).unwrap_or_else(|| summary.span_id.to_string()),
            trace_id: owned(names::TRACE_ID),
            session_id: owned(names::SESSION_ID),
            parent_span_id: owned(names::PARENT_SPAN_ID).or(parent),
            timestamp: owned(names::TIMESTAMP).unwrap_or_else(|| scalar::iso(start)),
            duration_ms: None,
            source: owned(names::SOURCE).unwrap_or_else(|| "sdk".to_owned()),
            service: None,
            kind: owned(names::KIND).unwrap_or_else(|| kind_of(summary).to_owned()),
            event_type: owned(names::EVENT_TYPE).unwrap_or_default(),
            has_event: values.text(names::EVENT_TYPE).is_some(),
            failed: summary.status == Status::Error,
            tool_use_id: owned(names::TOOL_ID),
            tool_name: owned(names::TOOL_NAME),
            tool_input: Json::Null,
            tool_response: Json::Null,
            error: Json::Null,
            is_interrupt: values
                .flag(names::IS_INTERRUPT)
                .map_or(Json::Null, Json::Bool),
            cwd: owned(names::CWD),
            model: owned(names::MODEL),
            agent_name: owned(names::AGENT_NAME),
            provider: owned(names::GENAI_PROVIDER),
            model_used: owned(names::GENAI_RESPONSE_MODEL),
            input_tokens: values.number(names::GENAI_INPUT_TOKENS),
            output_tokens: values.number(names::GENAI_OUTPUT_TOKENS),
            cost_cents: values.number(names::COST_CENTS),
            finish_reason: values.first_text(names::GENAI_FINISH_REASONS),
            output_text: owned(names::OUTPUT_TEXT),
            provider_request_id: owned(names::GENAI_RESPONSE_ID),
            metadata: Json::Null,
            user_metadata: Json::Null,
            request: None,
            response: None,
        }
    }

    /// Reads back what was kept word by word.
    fn kept(origin: Origin, stored: &StoredSpan, values: &Values<'_>) -> Self {
        let json = |key| values.kept_json(key);
        let metadata = json(names::METADATA).unwrap_or(Json::Null);
        let mut record = Self {
            duration_ms: values.number(names::DURATION_MS),
            service: values.text_as_is(names::SERVICE),
            tool_input: json(names::TOOL_INPUT).unwrap_or(Json::Null),
            tool_response: json(names::TOOL_RESPONSE).unwrap_or(Json::Null),
            error: json(names::ERROR).unwrap_or(Json::Null),
            user_metadata: metadata.clone(),
            metadata,
            request: json(names::REQUEST),
            response: json(names::RESPONSE),
            ..Self::common(origin, stored, values)
        };
        // Texts without a character came in as such.
        let texts = [
            (&mut record.tool_use_id, names::TOOL_ID),
            (&mut record.tool_name, names::TOOL_NAME),
            (&mut record.cwd, names::CWD),
            (&mut record.model, names::MODEL),
            (&mut record.agent_name, names::AGENT_NAME),
            (&mut record.provider, names::GENAI_PROVIDER),
            (&mut record.model_used, names::GENAI_RESPONSE_MODEL),
            (&mut record.output_text, names::OUTPUT_TEXT),
            (&mut record.provider_request_id, names::GENAI_RESPONSE_ID),
        ];
        for (text, key) in texts {
            *text = values.text_as_is(key);
        }
        if origin == Origin::Trace {
            record.model = values.text_as_is(names::GENAI_REQUEST_MODEL);
            record.span_id = record.trace_id.clone().unwrap_or_default();
        }
        record
    }

    /// Works out what an OTLP span would have been to the older servers.
    fn worked_out(stored: &StoredSpan, span: &Span, values: &Values<'_>) -> Self {
        let summary = &stored.summary;
        let common = Self::common(Origin::Otlp, stored, values);
        let trace_id = common.trace_id.clone();
        let trace_id = trace_id.unwrap_or_else(|| summary.trace_id.to_string());
        let owned = |keys: &[&str]| values.first_of(keys);
        let kind = common.kind.clone();
        let event_type = values.text(names::EVENT_TYPE).map(str::to_owned);
        // What they did not know is called by its name, not as a call of a model.
        let event_type = event_type.unwrap_or_else(|| match kind.as_str() {
            OF_OTHERS => span.name.clone(),
            _ => "provider_call".to_owned(),
        });
        let column = |text: &Option<String>| text.clone();
        let tool = owned(&[names::TOOL_NAME, "gen_ai.tool.name"]);
        let named = || (!span.name.is_empty()).then(|| span.name.clone());
        let is_whole = duration_of(summary).is_some();
        let worked_out = Self {
            session_id: owned(&[names::SESSION_ID, "gen_ai.conversation.id"])
                .or_else(|| column(&summary.session_id))
                .or_else(|| Some(trace_id.clone())),
            trace_id: Some(trace_id),
            duration_ms: is_whole.then(|| ms(summary.duration_ns / NS_PER_MS * NS_PER_MS)),
            service: values.text("service.name").map(str::to_owned),
            tool_name: (kind == "tool_use").then(|| tool.or_else(named)).flatten(),
            event_type,
            tool_use_id: owned(&[names::TOOL_ID, "gen_ai.tool.call.id"]),
            tool_input: values.payload(&TOOL_INPUTS),
            tool_response: values.payload(&TOOL_RESPONSES),
            error: values.payload(&[names::ERROR, "exception.message"]),
            request: values
                .of_metadata(names::REQUEST)
                .or_else(|| values.of_metadata("request")),
            response: values
                .of_metadata(names::RESPONSE)
                .or_else(|| values.of_metadata("response")),
            user_metadata: values.user_metadata(is_python_sdk(stored)),
            metadata: values.metadata(),
            ..common
        };
        worked_out.with_call(summary, values)
    }

    /// Adds what a call of a model says, in whatever words, which columns know.
    fn with_call(self, summary: &SpanSummary, values: &Values<'_>) -> Self {
        let owned = |keys: &[&str]| values.first_of(keys);
        let column = |text: &Option<String>| text.clone();
        let genai = summary.genai.as_deref();
        let usage = genai.map(|genai| genai.usage).unwrap_or_default();
        Self {
            model: owned(&MODELS)
                .or_else(|| column(&summary.request_model))
                .or_else(|| column(&summary.response_model)),
            agent_name: owned(&[names::AGENT_NAME]).or_else(|| {
                let name = genai.and_then(|genai| genai.agent_name.as_deref());
                name.map(str::to_owned)
            }),
            provider: owned(&[names::GENAI_PROVIDER, "gen_ai.system", names::PROVIDER])
                .or_else(|| column(&summary.provider)),
            model_used: owned(&[names::GENAI_RESPONSE_MODEL])
                .or_else(|| column(&summary.response_model)),
            input_tokens: self.input_tokens.or(usage.input.map(count)),
            output_tokens: self.output_tokens.or(usage.output.map(count)),
            cost_cents: self.cost_cents.or_else(|| cost_of(summary)),
            finish_reason: values
                .first_text(names::GENAI_FINISH_REASONS)
                .or_else(|| owned(&["gen_ai.response.finish_reason"])),
            output_text: owned(&[names::OUTPUT_TEXT]).map(|text| {
                let end = text.floor_char_boundary(OUTPUT_TEXT_MAX);
                text.get(..end).unwrap_or_default().to_owned()
            }),
            ..self
        }
    }
}

/// Whether a span is of the SDK that sends the application's metadata under its bare keys.
fn is_python_sdk(stored: &StoredSpan) -> bool {
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    let scope = InstrumentationScope::decode(stored.scope.message.as_slice());
    scope.is_ok_and(|scope| scope.name == "pulse-trace-sdk")
}
