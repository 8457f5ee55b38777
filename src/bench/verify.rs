//! Asks the store for what was acknowledged. A span is *lost* when its request was acknowledged
//! and the query API does not have it in the end, *duplicated* when it is listed more than once.
//! Spans of requests that were sent and not acknowledged may be there or not; both are right.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::Instant;

use super::layout::{Ids, Rng};
use super::ledger::Acknowledged;
use super::target::Getter;
use crate::model::{SpanId, TraceId};

/// What is asked, and how patiently.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Base of the query API.
    pub(super) url: String,
    pub(super) getter: Getter,
    /// Traces asked for; more than that are sampled.
    pub(super) traces_max: u64,
    /// How long the store may take to show what it acknowledged.
    pub(super) timeout: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Report {
    /// Traces with at least one acknowledged span.
    pub(super) traces: u64,
    /// Of those, traces asked for.
    pub(super) traces_checked: u64,
    /// Whether they are a random sample.
    pub(super) sampled: bool,
    /// Acknowledged spans of the checked traces.
    pub(super) spans_expected: u64,
    /// Acknowledged spans that are missing.
    pub(super) spans_lost: u64,
    /// Surplus copies of spans.
    pub(super) spans_duplicated: u64,
    /// Traces whose `span_count` differs from the spans listed.
    pub(super) wrong_counts: u64,
    /// Spans of requests that were not acknowledged and are stored all the same.
    pub(super) spans_unacknowledged: u64,
    /// Spans that were never sent.
    pub(super) spans_unknown: u64,
    /// Traces that could not be asked for, after retries.
    pub(super) errors: u64,
    /// Up to five lost spans or failing traces, for a first look.
    pub(super) examples: Vec<String>,
}

impl Report {
    /// Whether the store holds what it acknowledged, once.
    pub(super) const fn is_good(&self) -> bool {
        self.spans_lost == 0
            && self.spans_duplicated == 0
            && self.wrong_counts == 0
            && self.spans_unknown == 0
            && self.errors == 0
    }
}

/// Traces asked for at once.
const CONCURRENCY: usize = 8;
const PAGE: usize = 1000;
const POLL: Duration = Duration::from_millis(250);
const EXAMPLES_MAX: usize = 5;

/// One trace, checked.
#[derive(Debug, Default)]
struct Checked {
    expected: u64,
    lost: Vec<SpanId>,
    duplicated: u64,
    wrong_count: bool,
    unacknowledged: u64,
    unknown: u64,
    error: Option<String>,
}

impl Checked {
    const fn may_improve(&self) -> bool {
        !self.lost.is_empty() || self.error.is_some() || self.wrong_count
    }
}

/// Checks all traces, or a sample of them.
pub(super) async fn run(settings: &Settings, ids: &Ids, acknowledged: &Acknowledged) -> Report {
    let (traces, all) = choose(settings.traces_max, ids, acknowledged);
    let mut report = Report {
        traces: all,
        traces_checked: traces.len() as u64,
        sampled: (traces.len() as u64) < all,
        ..Report::default()
    };
    let deadline = Instant::now() + settings.timeout;
    let mut answers = futures_util::stream::iter(traces)
        .map(|trace| async move {
            let checked = check_patiently(settings, ids, acknowledged, trace, deadline).await;
            (ids.trace_id(trace), checked)
        })
        .buffer_unordered(CONCURRENCY);
    while let Some((trace, checked)) = answers.next().await {
        add(&mut report, trace, &checked);
    }
    report
}

fn add(report: &mut Report, trace: TraceId, checked: &Checked) {
    report.spans_expected += checked.expected;
    report.spans_lost += checked.lost.len() as u64;
    report.spans_duplicated += checked.duplicated;
    report.wrong_counts += u64::from(checked.wrong_count);
    report.spans_unacknowledged += checked.unacknowledged;
    report.spans_unknown += checked.unknown;
    let mut example = None;
    if let Some(error) = &checked.error {
        report.errors += 1;
        example = Some(format!("trace {trace}: {error}"));
    } else if let Some(span) = checked.lost.first() {
        let lost = checked.lost.len();
        example = Some(format!("trace {trace}: {lost} spans lost, first {span}"));
    }
    if report.examples.len() < EXAMPLES_MAX {
        report.examples.extend(example);
    }
}

/// Numbers of the traces to check, in order, and how many there are.
pub(super) fn choose(traces_max: u64, ids: &Ids, acknowledged: &Acknowledged) -> (Vec<u64>, u64) {
    let layout = ids.layout;
    let is_acknowledged = |trace: &u64| {
        let mut requests = layout.requests_of(*trace);
        requests.any(|(request, _)| acknowledged.contains(request))
    };
    let end = layout.traces_below(acknowledged.end());
    let total = (0..end).filter(is_acknowledged).count() as u64;
    if total <= traces_max {
        return ((0..end).filter(is_acknowledged).collect(), total);
    }
    // Knuth's selection sampling: each is taken with the share of those still wanted.
    let mut rng = Rng::new(acknowledged.count() ^ end);
    let (mut wanted, mut left) = (traces_max, total);
    let chosen = (0..end).filter(is_acknowledged).filter(|_| {
        let take = rng.below(left) < wanted;
        left -= 1;
        wanted -= u64::from(take);
        take
    });
    (chosen.collect(), total)
}

async fn check_patiently(
    settings: &Settings,
    ids: &Ids,
    acknowledged: &Acknowledged,
    trace: u64,
    deadline: Instant,
) -> Checked {
    loop {
        let checked = check(settings, ids, acknowledged, trace).await;
        if !checked.may_improve() || Instant::now() >= deadline {
            return checked;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn check(settings: &Settings, ids: &Ids, acknowledged: &Acknowledged, trace: u64) -> Checked {
    let mut expected = HashSet::new();
    let mut sent = HashSet::new();
    for (request, positions) in ids.layout.requests_of(trace) {
        for position in positions {
            let span = ids.span_id(trace, position);
            sent.insert(span);
            if acknowledged.contains(request) {
                expected.insert(span);
            }
        }
    }
    let mut checked = Checked {
        expected: expected.len() as u64,
        ..Checked::default()
    };
    let (found, count) = match fetch(settings, ids.trace_id(trace)).await {
        Ok(stored) => stored,
        Err(error) => {
            checked.error = Some(format!("{error:#}"));
            return checked;
        }
    };
    let listed: u64 = found.values().sum();
    checked.wrong_count = count.is_some_and(|count| count != listed);
    for (span, copies) in &found {
        checked.duplicated += copies - 1;
        if !sent.contains(span) {
            checked.unknown += 1;
        } else if !expected.contains(span) {
            checked.unacknowledged += 1;
        }
    }
    let lost = expected
        .into_iter()
        .filter(|span| !found.contains_key(span));
    checked.lost = lost.collect();
    checked
}

/// The spans of a trace with the times each is listed, and the count the store gives.
async fn fetch(
    settings: &Settings,
    trace: TraceId,
) -> anyhow::Result<(HashMap<SpanId, u64>, Option<u64>)> {
    let mut found: HashMap<SpanId, u64> = HashMap::new();
    let mut count = None;
    let first = format!("{}/api/v1/traces/{trace}?limit={PAGE}", settings.url);
    let mut next = Some(first.clone());
    while let Some(url) = next.take() {
        let Some(page) = settings.getter.json(&url).await? else {
            break;
        };
        count = page
            .pointer("/trace/span_count")
            .and_then(serde_json::Value::as_u64);
        let spans = page.get("spans").and_then(serde_json::Value::as_array);
        let spans = spans.ok_or_else(|| anyhow::anyhow!("the answer has no spans"))?;
        for span in spans {
            let id = span.get("span_id").and_then(serde_json::Value::as_str);
            let id = id.ok_or_else(|| anyhow::anyhow!("a span has no span_id"))?;
            *found.entry(id.parse()?).or_default() += 1;
        }
        let cursor = page.get("next_cursor").and_then(serde_json::Value::as_str);
        next = cursor.map(|cursor| format!("{first}&cursor={cursor}"));
    }
    Ok((found, count))
}
