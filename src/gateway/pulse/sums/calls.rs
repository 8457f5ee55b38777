//! Sums over calls of models. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sum, TOP, percent, period, ratio};
use crate::gateway::pulse::lists::is_first_generation;
use crate::gateway::pulse::record::{self, cost_of, duration_of, kind_of};
use crate::model::span::Status;
use crate::model::{SpanId, TraceId};
use crate::receivers::pulse::json::Json;
use crate::storage::SpanSummary;

/// What the calls of a group add up to.
#[derive(Debug, Clone, Default)]
struct Calls {
    requests: f64,
    errors: f64,
    cost: f64,
    input: f64,
    output: f64,
    latency: Sum,
}

impl Calls {
    fn add(&mut self, span: &SpanSummary) {
        let usage = span.genai.as_ref().map(|it| it.usage).unwrap_or_default();
        let tokens = |count: Option<i64>| count.map_or(0.0, record::count);
        self.requests += 1.0;
        self.errors += f64::from(u8::from(span.status == Status::Error));
        self.cost += cost_of(span).unwrap_or_default();
        self.input += tokens(usage.input);
        self.output += tokens(usage.output);
        if let Some(ms) = duration_of(span) {
            self.latency.add(ms);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.cost += other.cost;
        self.input += other.input;
        self.output += other.output;
        self.latency.merge(other.latency);
    }
}

/// All calls, and what answers show of them.
#[derive(Debug, Default)]
pub(super) struct Sums {
    by_hour: bool,
    all: Calls,
    sessions: BTreeSet<String>,
    over_time: BTreeMap<(String, String), f64>,
    by_provider: BTreeMap<String, Calls>,
    by_model: BTreeMap<(String, String), Calls>,
    /// The latest call of each provider.
    latest: BTreeMap<String, (TraceId, SpanId)>,
}

impl Sums {
    pub(super) fn new(by_hour: bool) -> Self {
        Self {
            by_hour,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, span: &SpanSummary) {
        if kind_of(span) != "llm_call" {
            return;
        }
        let provider = span.provider.as_deref().unwrap_or("sdk").to_owned();
        if span.provider.is_some() && !self.latest.contains_key(&provider) {
            let ids = (span.trace_id, span.span_id);
            self.latest.insert(provider.clone(), ids);
        }
        let model = span.request_model.as_deref();
        let model = model.or(span.response_model.as_deref());
        let model = model.unwrap_or("unknown").to_owned();
        match &span.session_id {
            Some(session) => {
                self.sessions.insert(session.clone());
            }
            // A span is in the session of its trace; a trace of the first generation may be in none.
            None if !is_first_generation(span) => {
                self.sessions.insert(span.trace_id.to_string());
            }
            None => {}
        }
        let period = period(span, self.by_hour);
        let cost = cost_of(span).unwrap_or_default();
        *self
            .over_time
            .entry((period, provider.clone()))
            .or_default() += cost;
        self.all.add(span);
        self.by_provider
            .entry(provider.clone())
            .or_default()
            .add(span);
        self.by_model
            .entry((provider, model))
            .or_default()
            .add(span);
    }

    /// Each provider by the name that it has with us, and its latest call.
    pub(super) fn providers(&self) -> impl Iterator<Item = (&str, (TraceId, SpanId))> {
        let latest = self.latest.iter();
        latest.map(|(provider, ids)| (provider.as_str(), *ids))
    }

    /// Calls providers by other names. What was sent under one name may have several with us: a
    /// provider that another's library is used for is told from it by its host.
    pub(super) fn rename(&mut self, names: &BTreeMap<String, String>) {
        let renamed = |name: String| names.get(&name).cloned().unwrap_or(name);
        let costs = std::mem::take(&mut self.over_time);
        for ((period, provider), cost) in costs {
            *self
                .over_time
                .entry((period, renamed(provider)))
                .or_default() += cost;
        }
        for (name, calls) in std::mem::take(&mut self.by_provider) {
            self.by_provider
                .entry(renamed(name))
                .or_default()
                .merge(&calls);
        }
        for ((name, model), calls) in std::mem::take(&mut self.by_model) {
            self.by_model
                .entry((renamed(name), model))
                .or_default()
                .merge(&calls);
        }
    }

    pub(super) fn answer(self) -> Json {
        let all = &self.all;
        let sessions = Json::count(self.sessions.len());
        let session_count = sessions.as_number().unwrap_or_default();
        let tokens = all.input + all.output;
        Json::map([
            ("totalCost", Json::Number(all.cost)),
            ("totalRequests", Json::Number(all.requests)),
            ("totalSessions", sessions),
            (
                "totalTokens",
                numbers([
                    ("input", all.input),
                    ("output", all.output),
                    ("total", tokens),
                ]),
            ),
            ("avgLatency", Json::Number(all.latency.mean())),
            ("errorRate", Json::Number(percent(all.errors, all.requests))),
            ("costOverTime", over_time(&self.over_time)),
            ("costByProvider", by_provider(self.by_provider)),
            ("topModels", top_models(self.by_model)),
            (
                "computed",
                numbers([
                    ("costPerRequest", ratio(all.cost, all.requests)),
                    ("tokensPerRequest", ratio(tokens, all.requests)),
                    ("costPer1kTokens", ratio(all.cost, tokens) * 1000.0),
                    ("tracesPerSession", ratio(all.requests, session_count)),
                    ("avgInputTokens", ratio(all.input, all.requests)),
                    ("avgOutputTokens", ratio(all.output, all.requests)),
                ]),
            ),
        ])
    }
}

fn numbers<const N: usize>(entries: [(&str, f64); N]) -> Json {
    let entries = entries.into_iter();
    Json::map(entries.map(|(key, number)| (key, Json::Number(number))))
}

fn over_time(costs: &BTreeMap<(String, String), f64>) -> Json {
    let rows = costs.iter().map(|((period, provider), cost)| {
        Json::map([
            ("period", Json::text(period.as_str())),
            ("provider", Json::text(provider.as_str())),
            ("costCents", Json::Number(*cost)),
        ])
    });
    Json::List(rows.collect())
}

fn by_provider(providers: BTreeMap<String, Calls>) -> Json {
    let mut rows: Vec<_> = providers.into_iter().collect();
    rows.sort_by(|(_, one), (_, other)| other.cost.total_cmp(&one.cost));
    let rows = rows.into_iter().map(|(provider, calls)| {
        Json::map([
            ("provider", Json::text(provider)),
            ("costCents", Json::Number(calls.cost)),
            ("requests", Json::Number(calls.requests)),
        ])
    });
    Json::List(rows.collect())
}

fn top_models(models: BTreeMap<(String, String), Calls>) -> Json {
    let mut rows: Vec<_> = models.into_iter().collect();
    rows.sort_by(|(_, one), (_, other)| other.requests.total_cmp(&one.requests));
    let rows = rows
        .into_iter()
        .take(TOP)
        .map(|((provider, model), calls)| {
            Json::map([
                ("provider", Json::text(provider)),
                ("model", Json::text(model)),
                ("requests", Json::Number(calls.requests)),
                ("costCents", Json::Number(calls.cost)),
                ("avgLatency", Json::Number(calls.latency.mean())),
                ("totalTokens", Json::Number(calls.input + calls.output)),
                (
                    "errorRate",
                    Json::Number(percent(calls.errors, calls.requests)),
                ),
            ])
        });
    Json::List(rows.collect())
}
