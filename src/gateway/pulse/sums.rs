//! Sums over the calls and the spans of some time.

mod calls;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query as Parameters, State};
use axum::response::Response;
use http::StatusCode;

use super::super::Shared;
use super::answer::{self, Refused};
use super::caller::Keyed;
use super::lists::{Pairs, is_first_generation, range, walk};
use super::load;
use super::query::{Dates, Query};
use super::record::{Record, duration_of, kind_of};
use crate::model::span::Status;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;
use crate::storage::{PageRequest, SpanFilter, SpanSummary};

/// Rows of the lists of the most.
const TOP: usize = 5;
/// Providers that are called as they were sent, at most; the others are by the names we have.
const PROVIDERS_NAMED: usize = 64;

/// Numbers that are added up.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: f64,
    total: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.total += value;
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.total += other.total;
    }

    fn mean(self) -> f64 {
        ratio(self.total, self.count)
    }
}

/// Zero when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

fn percent(part: f64, whole: f64) -> f64 {
    ratio(part, whole) * 100.0
}

/// The start of the hour or day of a time, as answers name it.
fn period(span: &SpanSummary, by_hour: bool) -> String {
    let time = scalar::iso(i128::from(span.start_unix_nano));
    match (time.get(..10), time.get(11..13)) {
        (Some(day), Some(hour)) if by_hour => format!("{day} {hour}:00:00"),
        (Some(day), _) => day.to_owned(),
        _ => time,
    }
}

/// All spans, and what answers show of them.
#[derive(Debug, Default)]
struct SpanSums {
    by_hour: bool,
    spans: f64,
    errors: f64,
    durations: Sum,
    sessions: Sum,
    kinds: BTreeMap<String, f64>,
    sources: BTreeMap<String, f64>,
    tools: BTreeMap<String, f64>,
    over_time: BTreeMap<String, f64>,
}

impl SpanSums {
    fn add(&mut self, span: &SpanSummary) {
        if is_first_generation(span) {
            return;
        }
        let kind = kind_of(span);
        self.spans += 1.0;
        self.errors += f64::from(u8::from(span.status == Status::Error));
        if let Some(ms) = duration_of(span) {
            self.durations.add(ms);
            if kind == "session" {
                self.sessions.add(ms);
            }
        }
        *self.kinds.entry(kind.to_owned()).or_default() += 1.0;
        *self
            .over_time
            .entry(period(span, self.by_hour))
            .or_default() += 1.0;
        let tool = span.genai.as_ref().and_then(|it| it.tool_name.as_deref());
        if let Some(tool) = tool.filter(|_| kind == "tool_use") {
            *self.tools.entry(tool.to_owned()).or_default() += 1.0;
        }
    }

    fn answer(self) -> Json {
        let of_kind = |kind: &str| Json::Number(self.kinds.get(kind).copied().unwrap_or_default());
        let error_rate = percent(self.errors, self.spans);
        let success = if self.spans == 0.0 {
            0.0
        } else {
            100.0 - error_rate
        };
        let over_time = self.over_time.iter().map(|(period, count)| {
            Json::map([
                ("period", Json::text(period.as_str())),
                ("count", Json::Number(*count)),
            ])
        });
        Json::map([
            ("agentRuns", of_kind("agent_run")),
            ("toolCalls", of_kind("tool_use")),
            ("avgSessionDurationMs", Json::Number(self.sessions.mean())),
            ("successRate", Json::Number(success)),
            ("topTools", most("name", &self.tools, TOP)),
            ("totalSpans", Json::Number(self.spans)),
            ("errorRate", Json::Number(error_rate)),
            ("avgDurationMs", Json::Number(self.durations.mean())),
            ("spansByKind", most("kind", &self.kinds, usize::MAX)),
            ("spansBySource", most("source", &self.sources, usize::MAX)),
            ("spansOverTime", Json::List(over_time.collect())),
        ])
    }
}

fn most(key: &str, counts: &BTreeMap<String, f64>, most: usize) -> Json {
    let mut rows: Vec<_> = counts.iter().collect();
    rows.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let rows = rows.into_iter().take(most).map(|(name, count)| {
        Json::map([
            (key, Json::text(name.as_str())),
            ("count", Json::Number(*count)),
        ])
    });
    Json::List(rows.collect())
}

/// The dates that must be given, and whether hours are wanted.
fn asked(pairs: Vec<(String, String)>, groups: &[&str]) -> Result<(Dates, bool), Refused> {
    let mut query = Query::new(pairs);
    let from = query.datetime("date_from");
    let to = query.datetime("date_to");
    let group = query.one_of("group_by", groups);
    query.checked()?;
    let dates = Dates {
        from: Some(from),
        to: Some(to),
    };
    Ok((dates, group.as_deref() == Some("hour")))
}

/// `GET /v1/analytics`.
pub(super) async fn calls(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Parameters(pairs): Pairs,
) -> Result<Response, Refused> {
    let (dates, by_hour) = asked(pairs, &["day", "hour", "model", "provider"])?;
    let mut sums = calls::Sums::new(by_hour);
    let _turn = load::turn(&shared).await?;
    let asked = Asked::new(&shared, keyed.project, dates);
    asked
        .each(SpanFilter::default(), |span| sums.add(span))
        .await?;
    let names = asked.names(sums.providers()).await?;
    sums.rename(&names);
    Ok(answer::json(StatusCode::OK, &sums.answer()))
}

/// `GET /v1/analytics/spans`.
pub(super) async fn spans(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    Parameters(pairs): Pairs,
) -> Result<Response, Refused> {
    let (dates, by_hour) = asked(pairs, &["day", "hour"])?;
    let mut sums = SpanSums {
        by_hour,
        ..SpanSums::default()
    };
    let _turn = load::turn(&shared).await?;
    let asked = Asked::new(&shared, keyed.project, dates);
    asked
        .each(SpanFilter::default(), |span| sums.add(span))
        .await?;
    sums.sources = asked.sources(sums.spans).await?;
    Ok(answer::json(StatusCode::OK, &sums.answer()))
}

/// What is added up, and until when all of it must be.
struct Asked<'s> {
    shared: &'s Shared,
    project: ProjectId,
    dates: Dates,
    deadline: Instant,
}

impl<'s> Asked<'s> {
    fn new(shared: &'s Shared, project: ProjectId, dates: Dates) -> Self {
        Self {
            shared,
            project,
            dates,
            deadline: load::deadline(shared),
        }
    }

    /// How the latest call of each provider calls it, as `/v1/traces` shows it: columns have the
    /// names that providers have with us.
    async fn names(
        &self,
        providers: impl Iterator<Item = (&str, (TraceId, SpanId))>,
    ) -> Result<BTreeMap<String, String>, Refused> {
        let (known, ids): (Vec<_>, Vec<_>) = providers.take(PROVIDERS_NAMED).unzip();
        let stored = load::stored(self.shared, self.project, &ids).await?;
        let mut names = BTreeMap::new();
        for (known, stored) in known.into_iter().zip(stored) {
            let sent = stored.and_then(|it| Record::of(&it).provider);
            if let Some(sent) = sent.filter(|sent| !sent.is_empty() && sent != known) {
                names.insert(known.to_owned(), sent);
            }
        }
        Ok(names)
    }

    /// Spans by what sent them, which no column tells: one question a source.
    async fn sources(&self, spans: f64) -> Result<BTreeMap<String, f64>, Refused> {
        let mut counts = BTreeMap::new();
        let mut others = spans;
        for (source, attribute) in super::lists::named_sources() {
            let filter = SpanFilter {
                attributes: vec![attribute],
                ..SpanFilter::default()
            };
            let mut count = 0.0;
            self.each(filter, |span| {
                count += f64::from(u8::from(!is_first_generation(span)));
            })
            .await?;
            if count > 0.0 {
                counts.insert(source.to_owned(), count);
            }
            others -= count;
        }
        if others > 0.0 {
            counts.insert("sdk".to_owned(), others);
        }
        Ok(counts)
    }

    async fn each(
        &self,
        mut filter: SpanFilter,
        mut add: impl FnMut(&SpanSummary),
    ) -> Result<(), Refused> {
        let Some(range) = range(self.dates) else {
            return Ok(());
        };
        filter.range = range;
        let (reader, filter) = (&self.shared.reader, &filter);
        let ask =
            |page: PageRequest| async move { reader.list_spans(self.project, filter, &page).await };
        let each = |span: SpanSummary| {
            add(&span);
            Ok::<(), Infallible>(())
        };
        match walk(self.deadline, ask, each).await {
            Ok(ended) => Ok(ended?),
            Err(never) => match never {},
        }
    }
}
