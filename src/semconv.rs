//! Which attributes become columns, and which make up the messages. Pure: a property of the span,
//! its scope's name and the prices alone, so that a replay of the log gives the same row whatever
//! the order of the attributes.
//!
//! Attributes stay stored as they came; a column is a copy for filtering, grouping and adding up.
//!
//! # Dialects
//!
//! Every library has its own words for the same call of a model. The words are rows of a table
//! (`rows`), one file a dialect (`dialects`). A span's dialect is told by the name of its scope,
//! else by the first dialect, in the order of `dialect::Dialect`, that it has a key of. Keys that
//! mean something in one dialect only (`model`, `input_tokens`) count in its spans alone.
//!
//! A span can follow several dialects at once. Then, column by column, the first *usable* value
//! counts (of the right type, not empty, not what libraries write for nothing), in this order:
//!
//! 1. what the application says of itself: `session.id`, `user.id`, then vendors' keys for them,
//!    then conversations and threads (`dialects::identity`);
//! 2. the Pulse SDKs' own keys;
//! 3. `langfuse.*`;
//! 4. OpenInference;
//! 5. the AI SDK's `ai.*`, which know more of cache and reasoning than its copies in `gen_ai.*`;
//! 6. the OpenTelemetry conventions: names of today, then older ones, then variants;
//! 7. what only one framework sends: Anthropic's SDKs, ADK, MLflow, LangSmith, Genkit, … Laminar;
//! 8. OpenLLMetry's indexed keys and `traceloop.*`.
//!
//! Usage is taken from one vocabulary only; others fill in details that fit (`usage`). The
//! provider's name is the conventions' where it has one; frameworks are not providers, and a client
//! of OpenAI's protocol that says `openai` is believed unless the host it calls is another
//! provider's. An operation that is not known stays as sent.
//!
//! # What counts
//!
//! Tokens, cost and calls of traces, sessions and rollups come from *model calls*
//! (`GenAi::is_model_call`): operations that are one call of a language, embedding or reranking
//! model. Agents, chains, workflows, tools and wrappers repeat what their calls used. Decided from
//! the span alone, besides:
//!
//! - the AI SDK's outer spans are wrappers, whatever usage they have; of its two spans per
//!   embedding the one with usage counts;
//! - LiteLLM's raw request and its proxy's request repeat the call;
//! - Mastra's generation counts, its steps and chunks do not;
//! - Logfire's announcement of an open span counts nothing; of a streamed call, the span that has
//!   the answer counts;
//! - Codex: `handle_responses` with usage; Anthropic's `count_tokens` never;
//! - an HTTP client's span below a call is no model call; the kind of a span decides nothing, since
//!   providers send server spans of calls.
//!
//! Coding agents tell of a call in a log record, and most of them in no span. A record that names no
//! span becomes one (`event::recorded_call`), in which the agent's words mean what they mean in its
//! spans.
//!
//! # What takes more than one span to decide
//!
//! Which model calls of a trace are the same call, told of by several spans (a package's span with
//! the SDK's own below it, a framework's with the provider's, one response id twice), and whether
//! agents' own usage is all there is: `storage::calls` decides that, where the spans of a trace meet,
//! with rules of its own. To it go, per span: whether it is a model call, usage and cost, models,
//! response id and dialect.
//!
//! Nobody decides, so that it counts twice:
//!
//! 1. *One call, two traces*, with one response id. (Response ids would have to be kept for all of
//!    a project, and the trace that arrives last would be the one that counts less.)
//! 2. *One call, two spans without a response id*, of which neither is known to be above the other
//!    because something that is neither a call nor has usage lies between.
//! 3. *Sums of several calls in a span that passes as a call*, where no dialect is known for it.

mod coerce;
mod columns;
mod dialect;
mod dialects;
mod draft;
pub mod event;
mod json;
pub mod messages;
mod names;
mod plain;
mod rows;
mod usage;

use std::borrow::Cow;

pub use coerce::cut;
use columns::{failure, fill};
use dialects::agents;
pub use draft::SpanFacts;
use draft::{Draft, ScopeFacts};
use plain::PlainColumns;
use rows::{Plain, Take, Text, Weight};

use crate::model::span::Basics;
use crate::otlp::protobuf::AnyValue;
use crate::pricing::{Pricer, Table};

pub use crate::model::genai::DERIVED_FROM;

/// Collects the columns of one span after another from attributes and events, in any order. Keeps
/// what it allocated, and the prices it looked up.
#[derive(Debug)]
pub struct Collector<'a, 't> {
    pricer: Pricer<'t>,
    scope: ScopeFacts,
    basics: Basics<'a>,
    plain: PlainColumns,
    /// Numbers and values of rows that are decided when all are known.
    found: Vec<(u16, AnyValue<'a>)>,
    /// Whether any of them is a dialect's own.
    has_evidence: bool,
    /// Earliest event that tells of a first token, ns since the Unix epoch.
    first_token_at: Option<u64>,
    /// Reason in an event that carries the answer.
    finish_reason: Option<AnyValue<'a>>,
}

/// The name that a provider has in columns, whatever name it is sent by.
#[must_use]
pub fn provider_name(sent: &str) -> Cow<'_, str> {
    match names::provider::named(sent) {
        names::provider::Named::Provider(name) => name,
        names::provider::Named::Framework => Cow::Borrowed(sent),
    }
}

/// Whether spans that are sent with this name for a provider may have another in columns: by their
/// host or model only is known whose it is.
#[must_use]
pub fn is_ambiguous_provider(sent: &str) -> bool {
    match names::provider::named(sent) {
        names::provider::Named::Provider(name) => name == names::provider::SHARED,
        names::provider::Named::Framework => true,
    }
}

/// What an event is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Its attributes tell of an exception.
    Exception,
    /// Its attributes tell why the model stopped.
    Answer,
    /// Nothing in its attributes becomes a column.
    Other,
}

impl<'a, 't> Collector<'a, 't> {
    /// Starts with a table of prices.
    #[must_use]
    pub fn new(prices: &'t Table) -> Self {
        Self {
            pricer: Pricer::new(prices),
            scope: ScopeFacts::default(),
            basics: Basics::default(),
            plain: PlainColumns::default(),
            found: Vec::new(),
            has_evidence: false,
            first_token_at: None,
            finish_reason: None,
        }
    }

    /// Names the scope of the spans that follow.
    pub fn scope(&mut self, name: &str) {
        self.scope = ScopeFacts::of(name);
    }

    /// Takes an attribute of the span. The value is read only if the key feeds a column. Of equal
    /// keys the last counts.
    #[inline]
    pub fn attribute(&mut self, key: &[u8], value: impl FnOnce() -> AnyValue<'a>) {
        let Some(number) = rows::find(key) else {
            return;
        };
        let Some(row) = rows::row(number) else {
            return;
        };
        if let Take::Plain(column, rank) = row.take {
            self.plain.take(&mut self.basics, column, rank, value());
            return;
        }
        self.has_evidence |= matches!(row.weight, Weight::Evidence | Weight::Hint);
        self.found.push((number, value()));
    }

    /// Takes an event, and says what its attributes are good for.
    pub fn event(&mut self, name: &str, time_unix_nano: u64) -> EventKind {
        match name {
            "exception" => EventKind::Exception,
            "gen_ai.choice" => EventKind::Answer,
            "ai.stream.firstChunk"
            | "llm.content.completion.chunk"
            | "gen_ai.content.completion.chunk"
            | "First Token Stream Event" => {
                let earliest = self
                    .first_token_at
                    .map_or(time_unix_nano, |at| at.min(time_unix_nano));
                self.first_token_at = Some(earliest);
                EventKind::Other
            }
            _ => EventKind::Other,
        }
    }

    /// Takes an attribute of an event of some kind; the last exception wins.
    pub fn event_attribute(&mut self, kind: EventKind, key: &str, value: AnyValue<'a>) {
        match (kind, key) {
            (EventKind::Exception, "exception.type") => {
                // An `error.type` on the span itself is the better source.
                let column = Plain::ErrorType;
                self.plain.take(&mut self.basics, column, 2, value);
            }
            (EventKind::Exception, "exception.message") => {
                if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
                    self.basics.error_message = Some(Cow::Borrowed(cut(text)));
                }
            }
            (EventKind::Answer, "finish_reason") => self.finish_reason = Some(value),
            _ => {}
        }
    }

    /// The columns of the span whose attributes and events were taken. The collector is ready for
    /// the next one.
    pub fn finish(&mut self, span: SpanFacts<'a>) -> Basics<'a> {
        let mut basics = std::mem::take(&mut self.basics);
        let plain = std::mem::take(&mut self.plain);
        let first_token_at = self.first_token_at.take();
        let finish_reason = self.finish_reason.take();
        basics.operation = plain.operation();
        if self.has_evidence || self.scope.dialect.is_some() {
            let mut draft = Draft {
                span,
                scope: self.scope,
                ..Draft::default()
            };
            self.draft(&mut draft);
            if let Some(value) = finish_reason {
                draft.finish_reason(&value);
            }
            let after = first_token_at.and_then(|at| at.checked_sub(span.start_unix_nano));
            let after = after.and_then(|after| i64::try_from(after).ok());
            draft.first_token = draft.first_token.or(after);
            draft.settle();
            fill(&mut basics, draft, &mut self.pricer);
        } else {
            basics.session_id = self.identity(Text::Session);
            basics.user_id = self.identity(Text::User);
        }
        self.found.clear();
        self.has_evidence = false;
        if span.failed || basics.error_type.is_some() {
            basics.error_kind = Some(failure(&basics, span).kind());
        }
        basics
    }

    /// Applies what was found, in order of precedence.
    fn draft(&mut self, draft: &mut Draft<'a>) {
        // Stable: of equal keys the last stays last. Of Codex's `thread.id`, one is the number of a
        // thread of its process, the other the text that names the session.
        self.found
            .sort_by_key(|(number, value)| (*number, value.as_str().is_some()));
        let mut followed = dialect::Set::default();
        let mut span_type = None;
        let mut has_session = false;
        for (number, value) in &self.found {
            let Some(row) = rows::row(*number) else {
                continue;
            };
            match row.weight {
                Weight::Evidence => {
                    followed.add(row.dialect);
                    // Of the two that share a prefix, only one reports totals.
                    if self.scope.is_instrumentation && row.key == "gen_ai.usage.total_tokens" {
                        followed.add(dialect::Dialect::OpenLlmetry);
                    }
                }
                Weight::Hint if row.key == DERIVED_FROM => {
                    if let Some(dialect) = value.as_str().and_then(agents::dialect_of) {
                        followed.add(dialect);
                    }
                }
                Weight::Hint => span_type = value.as_str(),
                Weight::Neutral if row.key == "session.id" => has_session = true,
                _ => {}
            }
        }
        let is_claude_code = span_type
            .and_then(dialects::claude_code::of_span_type)
            .is_some();
        if is_claude_code && has_session {
            followed.add(dialect::Dialect::ClaudeCode);
        }
        draft.dialect = self.scope.dialect.or_else(|| followed.first());
        for (index, (number, value)) in self.found.iter().enumerate() {
            let is_repeated = self
                .found
                .get(index + 1)
                .is_some_and(|(next, _)| next == number);
            let Some(row) = rows::row(*number).filter(|_| !is_repeated) else {
                continue;
            };
            let is_meant = !matches!(row.weight, Weight::Bare | Weight::Hint)
                || draft.dialect == Some(row.dialect)
                || followed.has(row.dialect);
            if is_meant {
                draft.apply(row, *value);
            }
        }
    }

    /// Session or user of a span that has nothing to do with models: of the best name, the last
    /// value, if any is usable.
    fn identity(&self, column: Text) -> Option<Cow<'a, str>> {
        let mut best: Option<(u16, &'a str)> = None;
        for (number, value) in &self.found {
            let names = rows::row(*number).is_some_and(|row| {
                row.weight == Weight::Neutral
                    && matches!(row.take, Take::Text(text) if text == column)
            });
            if names
                && best.is_none_or(|(rank, _)| *number <= rank)
                && let Some(text) = coerce::text(value).filter(|it| draft::is_usable(column, it))
            {
                best = Some((*number, text));
            }
        }
        best.map(|(_, text)| Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests;
