//! Which tellings of an agent's session count. Pure.
//!
//! A coding agent may tell of its calls twice: in log records, of which spans are made, and in spans of
//! its own. Nothing that both have names the call for every agent, and the two are never in one
//! trace, so it is decided for a session as a whole: once it has tokens in a span that the agent
//! sent (of a call, or of a turn that has the sum of its calls), what only its records tell of adds nothing to the sums. Before that, it counts.
//!
//! Which comes first does not matter. What records added is kept by session; when the first such
//! span comes, all of it is taken away again, and what records tell later is not added at all. So the
//! sums are a function of the set of spans: of the session's own if there are any, else of its
//! records.
//!
//! A session is (agent, session id). Only sums over traces change: rollups and sessions. A trace of
//! spans that were made of records shows what its calls used.
//!
//! Mapping anew leaves traces of such spans alone, so that what is taken away is what was added.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::calls::Change;
use super::write::SpanRow;
use crate::model::genai::{DERIVED_FROM, GenAi, Totals};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::otlp::protobuf::Span;
use crate::storage::Error;
use crate::storage::summary::clamp_time;

/// Dialects of agents that tell of calls in log records.
const AGENTS: [&str; 3] = ["claude_code", "codex", "gemini_cli"];

/// Arrivals are noted in steps this long, ns.
const ARRIVAL_STEP_NS: u64 = 3600 * 1_000_000_000;

/// An agent's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Owner.
    pub project: ProjectId,
    /// Digest of the agent and the id of the session.
    pub session: [u8; 16],
}

/// What a batch tells of a session.
#[derive(Debug, Default)]
pub struct Told<'a> {
    /// Whether a span of the agent's own does.
    pub by_span: bool,
    /// What changes because of records.
    pub by_records: Vec<Change<'a>>,
    /// One of the spans that were made of these records: no other batch has it.
    pub span: Option<(TraceId, SpanId)>,
    /// A time after the latest arrival, ns: in steps, so that the index on it is left alone.
    pub received: i64,
}

/// What a batch tells of sessions of agents, in key order.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// By session.
    pub sessions: BTreeMap<Key, Told<'a>>,
}

/// Whether a stored span was made of a log record, which its attributes say.
#[must_use]
pub fn is_derived(genai: Option<&GenAi<'_>>, message: &[u8]) -> bool {
    let dialect = genai.and_then(|genai| genai.dialect.as_deref());
    // Others are not looked into.
    dialect.is_some_and(|dialect| AGENTS.contains(&dialect))
        && Span::parse(message).is_ok_and(|span| {
            let mut attributes = span.attributes.iter();
            attributes.any(|attribute| attribute.key == DERIVED_FROM)
        })
}

impl Key {
    /// The session of a span of an agent.
    fn of(span: &SpanRow<'_>) -> Option<Self> {
        let session = span.basics.session_id.as_deref()?;
        let dialect = span.basics.genai.as_deref()?.dialect.as_deref()?;
        if !AGENTS.contains(&dialect) {
            return None;
        }
        let mut hasher = Sha256::new();
        hasher.update(dialect);
        hasher.update([0]);
        hasher.update(session);
        let digest: [u8; 32] = hasher.finalize().into();
        Some(Self {
            project: span.project,
            session: digest.first_chunk().copied().unwrap_or_default(),
        })
    }
}

impl<'a> Sources<'a> {
    /// Takes the new spans of a trace and what changes with them; answers whether the changes are to be
    /// made whatever else is told of a session.
    #[must_use]
    pub fn take(&mut self, spans: &[&SpanRow<'_>], changes: &[Change<'a>]) -> bool {
        for span in spans.iter().filter(|span| has_own_usage(span)) {
            if let Some(key) = Key::of(span) {
                self.told(key, span).by_span = true;
            }
        }
        let (Some(first), false) = (spans.first(), changes.is_empty()) else {
            return true;
        };
        if !spans.iter().all(|span| span.is_recorded) {
            return true;
        }
        let Some(key) = Key::of(first) else {
            return true;
        };
        let told = self.told(key, first);
        told.span.get_or_insert((first.trace_id, first.span_id));
        told.by_records.extend(changes.iter().cloned());
        false
    }

    fn told(&mut self, key: Key, span: &SpanRow<'_>) -> &mut Told<'a> {
        let told = self.sessions.entry(key).or_default();
        told.received = told.received.max(step_after(span.received_unix_nano));
        told
    }
}

/// The step after an arrival.
fn step_after(received: u64) -> i64 {
    clamp_time((received / ARRIVAL_STEP_NS + 1).saturating_mul(ARRIVAL_STEP_NS))
}

/// Whether a span, as its sender made it, tells what was used.
fn has_own_usage(span: &SpanRow<'_>) -> bool {
    let amounts = span.basics.genai.as_deref().map(GenAi::amounts);
    let amounts = amounts.unwrap_or_default();
    !span.is_derived && (amounts.input_tokens > 0 || amounts.output_tokens > 0)
}

/// A change as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept<'k> {
    start: i64,
    crowded_at: Option<i64>,
    texts: [Cow<'k, str>; 4],
    session: Option<Cow<'k, str>>,
    added: [i64; 5],
    removed: [i64; 5],
}

/// Changes as a store keeps them.
///
/// # Errors
/// [`Error::Corrupt`], which nothing that was read from a batch is the reason for.
pub fn keep(changes: &[Change<'_>]) -> Result<String, Error> {
    let kept: Vec<_> = changes.iter().map(kept).collect();
    serde_json::to_string(&kept).map_err(|_| corrupt())
}

/// What takes away again what kept changes did.
///
/// # Errors
/// [`Error::Corrupt`] when they were not kept like this.
pub fn undo(kept: &str) -> Result<Vec<Change<'static>>, Error> {
    let kept: Vec<Kept<'static>> = serde_json::from_str(kept).map_err(|_| corrupt())?;
    Ok(kept.into_iter().map(undone).collect())
}

fn corrupt() -> Error {
    Error::Corrupt {
        context: "what log records added to a session".to_owned(),
    }
}

fn kept<'k>(change: &'k Change<'_>) -> Kept<'k> {
    let texts = [
        &change.service,
        &change.operation,
        &change.provider,
        &change.model,
    ];
    Kept {
        start: change.start,
        crowded_at: change.crowded_at,
        texts: texts.map(|text| Cow::Borrowed(&**text)),
        session: change.session.as_deref().map(Cow::Borrowed),
        added: figures(&change.added),
        removed: figures(&change.removed),
    }
}

fn undone(kept: Kept<'static>) -> Change<'static> {
    let [service, operation, provider, model] = kept.texts;
    Change {
        start: kept.start,
        crowded_at: kept.crowded_at,
        service,
        operation,
        provider,
        model,
        session: kept.session,
        added: totals(kept.removed),
        removed: totals(kept.added),
    }
}

const fn figures(totals: &Totals) -> [i64; 5] {
    [
        totals.llm_calls,
        totals.input_tokens,
        totals.output_tokens,
        totals.cache_read_tokens,
        totals.cost_nano_usd,
    ]
}

const fn totals(figures: [i64; 5]) -> Totals {
    let [
        llm_calls,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cost_nano_usd,
    ] = figures;
    Totals {
        llm_calls,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cost_nano_usd,
    }
}

#[cfg(test)]
mod tests;
