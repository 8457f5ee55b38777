//! What the spans of sessions add up to, and the orders of the list. Pure.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};

use http::StatusCode;

use super::super::answer::Refused;
use super::super::record::{Record, cost_of, count, kind_of};
use crate::model::TraceId;
use crate::model::span::Status;
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;
use crate::storage::SpanSummary;

/// Sessions and their traces that are added up at most.
const SESSIONS_MAX: usize = 100_000;
const TRACES_MAX: usize = 500_000;

/// How a list is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Recent,
    Oldest,
    Duration,
    Errors,
    Volume,
}

impl Sort {
    pub(super) const NAMES: &'static [&'static str] =
        &["recent", "oldest", "duration", "errors", "volume"];

    /// By its name; the most recent first where there is none.
    pub(super) fn of(name: Option<&str>) -> Self {
        match name {
            Some("oldest") => Self::Oldest,
            Some("duration") => Self::Duration,
            Some("errors") => Self::Errors,
            Some("volume") => Self::Volume,
            _ => Self::Recent,
        }
    }

    pub(super) fn compare(self, one: &Session, other: &Session) -> Ordering {
        let recent = other.last.cmp(&one.last);
        let order = match self {
            Self::Recent => recent,
            Self::Oldest => one.first.cmp(&other.first),
            Self::Duration => other
                .duration_ms()
                .total_cmp(&one.duration_ms())
                .then(recent),
            Self::Errors => other.errors.total_cmp(&one.errors).then(recent),
            Self::Volume => other.spans.total_cmp(&one.spans).then(recent),
        };
        order.then_with(|| one.id.cmp(&other.id))
    }
}

/// One session.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) id: String,
    /// Earliest and latest start, ns.
    first: u64,
    last: u64,
    spans: f64,
    errors: f64,
    agent_runs: f64,
    input_tokens: f64,
    output_tokens: f64,
    cost_cents: f64,
    /// Longest that an end of the session told of, ms.
    told_ms: Option<f64>,
    /// Traces of more than beginning and end.
    traces: HashSet<TraceId>,
    pub(super) all_traces: HashSet<TraceId>,
}

/// What only the spans themselves tell.
#[derive(Debug, Default)]
pub(super) struct Details {
    tools: BTreeSet<String>,
    sources: BTreeSet<String>,
    cwd: Option<String>,
    model: Option<String>,
    agent_name: Option<String>,
}

impl Details {
    pub(super) fn add(&mut self, record: Record) {
        if record.kind == "tool_use" {
            self.tools
                .insert(record.tool_use_id.unwrap_or(record.span_id));
        }
        self.sources.insert(record.source);
        for (most, value) in [
            (&mut self.cwd, record.cwd),
            (&mut self.model, record.model),
            (&mut self.agent_name, record.agent_name),
        ] {
            *most = std::mem::take(most).max(value);
        }
    }
}

impl Session {
    /// What the end of the session told, else the time from the first span to the last.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are doubles here")]
    fn duration_ms(&self) -> f64 {
        let between = self.last.saturating_sub(self.first) / 1_000_000;
        self.told_ms.unwrap_or(between as f64)
    }

    pub(super) fn answer(&self, details: &Details) -> Json {
        let time = |ns: u64| Json::text(scalar::iso(i128::from(ns)));
        let status = if self.errors > 0.0 {
            "error"
        } else {
            "success"
        };
        let sources: Vec<_> = details.sources.iter().map(Json::text).collect();
        let only = details
            .sources
            .first()
            .filter(|_| sources.len() == 1)
            .cloned();
        let mut entries = vec![
            ("sessionId", Json::text(&self.id)),
            ("firstTimestamp", time(self.first)),
            ("lastTimestamp", time(self.last)),
            ("status", Json::text(status)),
            ("durationMs", Json::Number(self.duration_ms())),
            ("agentRuns", Json::Number(self.agent_runs)),
            ("toolCalls", Json::count(details.tools.len())),
            ("totalSpans", Json::Number(self.spans)),
            ("errorCount", Json::Number(self.errors)),
            ("traceCount", Json::count(self.traces.len())),
            ("inputTokens", Json::Number(self.input_tokens)),
            ("outputTokens", Json::Number(self.output_tokens)),
            ("costCents", Json::Number(self.cost_cents)),
            ("sources", Json::List(sources)),
        ];
        for (key, value) in [
            ("source", &only),
            ("cwd", &details.cwd),
            ("model", &details.model),
            ("agentName", &details.agent_name),
        ] {
            entries.extend(value.as_ref().map(|value| (key, Json::text(value))));
        }
        Json::map(entries)
    }
}

/// Sessions, by their ids.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    found: HashMap<String, Session>,
    traces: usize,
}

fn too_many() -> Refused {
    let sentence = "There are too many sessions; narrow the dates";
    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, sentence)
}

impl Sessions {
    /// Adds a span, and the trace that it makes.
    pub(super) fn add(
        &mut self,
        id: &str,
        span: &SpanSummary,
        trace: Option<TraceId>,
    ) -> Result<(), Refused> {
        let start = span.start_unix_nano;
        let session = self.of(id)?;
        if session.spans == 0.0 {
            (session.first, session.last) = (start, start);
        }
        session.first = session.first.min(start);
        session.last = session.last.max(start);
        session.spans += 1.0;
        session.errors += f64::from(u8::from(span.status == Status::Error));
        session.agent_runs += f64::from(u8::from(kind_of(span) == "agent_run"));
        if let Some(genai) = &span.genai {
            session.input_tokens += genai.usage.input.map_or(0.0, count);
            session.output_tokens += genai.usage.output.map_or(0.0, count);
            session.cost_cents += cost_of(span).unwrap_or_default();
        }
        let is_new = session.all_traces.insert(span.trace_id);
        self.traces += usize::from(is_new);
        if self.traces > TRACES_MAX {
            return Err(too_many());
        }
        trace.map_or(Ok(()), |trace| self.trace(id, trace))
    }

    fn of(&mut self, id: &str) -> Result<&mut Session, Refused> {
        if self.found.len() >= SESSIONS_MAX && !self.found.contains_key(id) {
            return Err(too_many());
        }
        let session = self.found.entry(id.to_owned());
        Ok(session.or_insert_with(|| Session {
            id: id.to_owned(),
            ..Session::default()
        }))
    }

    /// A trace of more than beginning and end.
    pub(super) fn trace(&mut self, id: &str, trace: TraceId) -> Result<(), Refused> {
        self.of(id)?.traces.insert(trace);
        Ok(())
    }

    /// The end of a session tells how long it was.
    pub(super) fn ended(&mut self, id: &str, ms: Option<f64>) -> Result<(), Refused> {
        let session = self.of(id)?;
        session.told_ms = match (session.told_ms, ms) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        Ok(())
    }

    /// Keeps those of these ids.
    pub(super) fn keep(&mut self, ids: &HashSet<String>) {
        self.found.retain(|id, _| ids.contains(id));
    }

    /// Those with a trace.
    pub(super) fn listed(self) -> Vec<Session> {
        let sessions = self.found.into_values();
        sessions
            .filter(|session| !session.traces.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, first: u64, last: u64, errors: f64, spans: f64) -> Session {
        Session {
            id: id.to_owned(),
            first: first * 1_000_000,
            last: last * 1_000_000,
            errors,
            spans,
            ..Session::default()
        }
    }

    #[test]
    fn every_order_is_a_whole_order() {
        let mut all = [
            session("b", 1, 9, 2.0, 5.0),
            session("a", 2, 9, 2.0, 5.0),
            session("d", 0, 8, 0.0, 7.0),
            Session {
                told_ms: Some(100.0),
                ..session("c", 5, 6, 3.0, 1.0)
            },
        ];
        for (name, expected) in [
            (None, "abdc"),
            (Some("recent"), "abdc"),
            (Some("oldest"), "dbac"),
            (Some("duration"), "cbda"),
            (Some("errors"), "cabd"),
            (Some("volume"), "dabc"),
        ] {
            let sort = Sort::of(name);
            for _ in 0..all.len() {
                all.rotate_left(1);
                all.sort_by(|one, other| sort.compare(one, other));
                let ids: String = all.iter().map(|session| session.id.as_str()).collect();
                assert_eq!(ids, expected, "{name:?}");
            }
        }
    }

    #[test]
    fn an_end_tells_how_long_a_session_was() {
        let mut sessions = Sessions::default();
        for ms in [None, Some(5.0), Some(7.0), Some(6.0), None] {
            sessions.ended("s", ms).unwrap();
        }
        assert_eq!(sessions.found["s"].told_ms, Some(7.0));
        assert!(sessions.listed().is_empty(), "no trace");
    }
}
