//! Calls of models that only a log record tells of.
//!
//! Coding agents send a record for each call of a model, and most of them no spans. Such a record
//! says all that a span would, so a span is made of it where the record belongs to none. Only what
//! tells of a *whole* call counts: Codex sends two records at the end of each answer, of which one
//! has no counts, and Gemini CLI one before each call.

use super::Agent;
use crate::otlp::protobuf::{AnyValue, LogRecord};
use crate::semconv::coerce::{count, nanos, number, text};

const NS_PER_MS: f64 = 1e6;

/// What a log record tells of one call of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecordedCall<'a> {
    /// The event, with the agent it is of; also the name of the span that is made of it.
    pub name: &'static str,
    /// Whether the call failed.
    pub failed: bool,
    /// Why, as far as it says.
    pub message: &'a str,
    /// How long the call took, ns; zero when it does not say. The record comes at its end.
    pub duration_ns: u64,
    /// Session of the agent.
    pub session: Option<&'a str>,
    /// What the person asked for that the call is part of.
    pub prompt: Option<&'a str>,
    /// The provider's id of the call.
    pub request: Option<&'a str>,
}

/// The call that a log record of a scope tells of, if it tells of a whole one.
#[must_use]
pub fn recorded_call<'a>(record: &LogRecord<'a>, scope: &str) -> Option<RecordedCall<'a>> {
    let name = record.name();
    let agent = Agent::of(name, scope)?;
    let (name, failed) = agent.event_of_call(name)?;
    let mut call = RecordedCall {
        name,
        failed,
        message: "",
        duration_ns: 0,
        session: None,
        prompt: None,
        request: None,
    };
    let (mut kind, mut counts) = (None, false);
    for attribute in record.attributes.iter() {
        let value = attribute.value;
        match attribute.key {
            "session.id" => call.session = text(&value).or(call.session),
            "conversation.id" if agent == Agent::Codex => {
                call.session = call.session.or(text(&value));
            }
            "prompt.id" | "prompt_id" => call.prompt = text(&value).or(call.prompt),
            "request_id" => call.request = text(&value).or(call.request),
            "duration_ms" => call.duration_ns = duration(&value).unwrap_or(0),
            "error" | "error.message" if failed => {
                call.message = text(&value).unwrap_or(call.message);
            }
            "event.kind" => kind = value.as_str(),
            "input_token_count" | "output_token_count" => counts |= count(&value).is_some(),
            _ => {}
        }
    }
    let is_whole = agent != Agent::Codex || (kind == Some("response.completed") && counts);
    is_whole.then_some(call)
}

fn duration(value: &AnyValue<'_>) -> Option<u64> {
    let duration = nanos(number(value)?, NS_PER_MS)?;
    u64::try_from(duration).ok()
}

impl Agent {
    /// The whole name of an event that may tell of a call, and whether the call failed.
    fn event_of_call(self, name: &str) -> Option<(&'static str, bool)> {
        const EVENTS: [(Agent, &str, bool); 5] = [
            (Agent::ClaudeCode, "claude_code.api_request", false),
            (Agent::ClaudeCode, "claude_code.api_error", true),
            (Agent::Codex, "codex.sse_event", false),
            (Agent::GeminiCli, "gemini_cli.api_response", false),
            (Agent::GeminiCli, "gemini_cli.api_error", true),
        ];
        // Claude Code's attribute leaves out the agent, which its scope tells.
        let is_named = |whole: &str| {
            let short = whole.split_once('.').map(|(_, short)| short);
            name == whole || short == Some(name)
        };
        EVENTS
            .into_iter()
            .find(|(agent, whole, _)| *agent == self && is_named(whole))
            .map(|(_, whole, failed)| (whole, failed))
    }
}

#[cfg(test)]
mod tests;
