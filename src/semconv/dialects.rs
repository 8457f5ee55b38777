//! The rows of each dialect, and what is peculiar to it.

pub(super) mod agent_framework;
pub(super) mod agents;
pub(super) mod ai_sdk;
pub(super) mod anthropic;
pub(super) mod autogen;
pub(super) mod claude_code;
pub(super) mod codex;
pub(super) mod copilot;
pub(super) mod crewai;
pub(super) mod gemini_cli;
pub(super) mod genkit;
pub(super) mod google_adk;
pub(super) mod haystack;
pub(super) mod identity;
pub(super) mod laminar;
pub(super) mod langfuse;
pub(super) mod langsmith;
pub(super) mod litellm;
pub(super) mod livekit;
pub(super) mod logfire;
pub(super) mod mastra;
pub(super) mod mlflow;
pub(super) mod openinference;
pub(super) mod openlit;
pub(super) mod openllmetry;
pub(super) mod openrouter;
pub(super) mod otel;
pub(super) mod plain;
pub(super) mod pulse;
pub(super) mod pydantic_ai;
pub(super) mod semantic_kernel;
pub(super) mod spring_ai;
pub(super) mod strands;

/// What the files of the dialects are written with.
mod prelude {
    pub(super) use crate::otlp::protobuf::AnyValue;
    pub(super) use crate::semconv::dialect::Dialect;
    pub(super) use crate::semconv::draft::Draft;
    pub(super) use crate::semconv::names::Op;
    pub(super) use crate::semconv::names::operation;
    pub(super) use crate::semconv::rows::{Money, Row, Take, Text};
    pub(super) use crate::semconv::usage::Count;
}
