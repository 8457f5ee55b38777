//! The attributes in which what came in is kept, beside those of the OpenTelemetry conventions.

/// How to read the other attributes of a span: [`TRACE_RECORD`] or [`SPAN_RECORD`]. A span without
/// it came as OTLP.
pub const RECORD: &str = "pulse.record";
/// The span is a trace of the first generation.
pub const TRACE_RECORD: &str = "trace";
/// The span came as JSON of its own.
pub const SPAN_RECORD: &str = "span";

/// The trace id as it came, where it is not 32 lower-case hex digits.
pub const TRACE_ID: &str = "pulse.trace_id";
/// The span id as it came, where it is not 16 lower-case hex digits.
pub const SPAN_ID: &str = "pulse.span_id";
/// The parent's id as it came, where it is not 16 lower-case hex digits.
pub const PARENT_SPAN_ID: &str = "pulse.parent_span_id";
/// The time as it came, where OTLP has no such time.
pub const TIMESTAMP: &str = "pulse.timestamp";
/// The latency or duration as it came, ms.
pub const DURATION_MS: &str = "pulse.duration_ms";
/// The service as it came.
pub const SERVICE: &str = "pulse.service";

/// Session.
pub const SESSION_ID: &str = "pulse.session_id";
/// Name of the session.
pub const SESSION_NAME: &str = "pulse.session_name";
/// What sends: `sdk`, `claude_code`, ….
pub const SOURCE: &str = "pulse.source";
/// What a span is: `llm_call`, `tool_use`, ….
pub const KIND: &str = "pulse.kind";
/// Which event it tells of.
pub const EVENT_TYPE: &str = "pulse.event_type";
/// Model asked for, of events of agents.
pub const MODEL: &str = "pulse.model";
/// Provider, where the conventions' attribute is missing.
pub const PROVIDER: &str = "pulse.provider";
/// Cost, in US cents.
pub const COST_CENTS: &str = "pulse.cost_cents";
/// Text of the answer.
pub const OUTPUT_TEXT: &str = "pulse.output_text";
/// Body of the request to the provider, JSON.
pub const REQUEST: &str = "pulse.request";
/// The provider's answer, JSON.
pub const RESPONSE: &str = "pulse.response";
/// What went wrong, JSON.
pub const ERROR: &str = "pulse.error";
/// What the application says of the call, JSON.
pub const METADATA: &str = "pulse.metadata";
/// Id of a tool call.
pub const TOOL_ID: &str = "pulse.tool.id";
/// Name of a tool.
pub const TOOL_NAME: &str = "pulse.tool.name";
/// Input of a tool, JSON.
pub const TOOL_INPUT: &str = "pulse.tool.input";
/// Output of a tool, JSON.
pub const TOOL_RESPONSE: &str = "pulse.tool.response";
/// Whether a person interrupted.
pub const IS_INTERRUPT: &str = "pulse.is_interrupt";
/// Working directory.
pub const CWD: &str = "pulse.cwd";
/// Name of an agent.
pub const AGENT_NAME: &str = "pulse.agent.name";

/// Provider, by the conventions.
pub const GENAI_PROVIDER: &str = "gen_ai.provider.name";
/// Model asked for, by the conventions.
pub const GENAI_REQUEST_MODEL: &str = "gen_ai.request.model";
/// Model that answered, by the conventions.
pub const GENAI_RESPONSE_MODEL: &str = "gen_ai.response.model";
/// Id of the answer, by the conventions.
pub const GENAI_RESPONSE_ID: &str = "gen_ai.response.id";
/// Why the model stopped, by the conventions.
pub const GENAI_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Input tokens, by the conventions.
pub const GENAI_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Output tokens, by the conventions.
pub const GENAI_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
