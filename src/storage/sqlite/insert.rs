//! One batch, one transaction: which spans are new, their blocks, summaries and rollups, and the
//! checkpoint.

use rusqlite::Transaction;

use super::blocks::BlockWriter;
use super::dimensions::{self, Remembered};
use super::error::storage_error;
use super::ids::{IdIndex, Space};
use super::sampled::Sampled;
use super::traces::{KnownTrace, TraceWriter};
use super::{events, metrics, rollups, sessions, sources};
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::calls::{Change, Fresh};
use crate::storage::content::Packer;
use crate::storage::metrics::directory::Known;
use crate::storage::rollup::{Crowd, Rollups};
use crate::storage::sampled::LeftOut;
use crate::storage::session::Sessions;
use crate::storage::sources::Sources;
use crate::storage::summary::{Summary, clamp_time};
use crate::storage::write::{Batch, ResourceRow, SpanRow, WriteReport, by_trace};

/// Row ids of what a batch's spans refer to.
pub(super) struct Dimensions {
    pub(super) resources: Vec<i64>,
    pub(super) scopes: Vec<i64>,
}

/// What the writer keeps in memory of the committed state.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) dimensions: Remembered,
    pub(super) traces: IdIndex,
    pub(super) sessions: IdIndex,
    pub(super) series: Known,
    /// Whether spans that were sampled out are remembered, if that is known.
    pub(super) sampled: Option<bool>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            dimensions: Remembered::default(),
            traces: IdIndex::new(Space::Traces),
            sessions: IdIndex::new(Space::Sessions),
            series: Known::default(),
            sampled: None,
        }
    }

    /// Forgets everything: after a rollback it may be ahead of the store.
    pub(super) fn forget(&mut self) {
        self.dimensions.forget();
        self.traces.forget();
        self.sessions.forget();
        self.series.forget();
        self.sampled = None;
    }
}

/// The new spans of one trace, in start order.
struct Group<'b> {
    known: Option<Box<KnownTrace>>,
    /// Those that were left out before.
    left_out: LeftOut,
    /// Whether these are left out, too.
    is_out: bool,
    project: ProjectId,
    trace_id: TraceId,
    start: i64,
    spans: Vec<&'b SpanRow<'b>>,
}

/// What a batch adds to sums.
struct Added<'b> {
    crowd: Crowd<'b>,
    totals: Rollups<'b>,
    conversations: Sessions<'b, i64>,
    told: Sources<'b>,
    changes: Vec<(ProjectId, Change<'b>)>,
    /// Spans.
    stored: u64,
}

impl<'b> Added<'b> {
    /// Adds up the new spans of a trace, and what they have to do with usage.
    fn count(&mut self, group: &Group<'b>, batch: &'b Batch<'b>) -> Result<Fresh<'b>, Error> {
        let mut calls = Fresh::default();
        for span in &group.spans {
            let service = &resource_of(batch, span)?.service_name;
            self.totals.add(span, service, &self.crowd);
            calls.add(span, service, || self.crowd.has_no_room_for(span, service));
        }
        Ok(calls)
    }

    /// Takes what changes with the new spans of a trace.
    fn change(&mut self, group: &Group<'b>, changes: Vec<Change<'b>>) {
        if self.told.take(&group.spans, &changes) {
            let of_project = changes.into_iter().map(|it| (group.project, it));
            self.changes.extend(of_project);
        }
    }

    /// Saves the sums.
    fn save(mut self, transaction: &Transaction<'_>, ids: &mut IdIndex) -> Result<(), Error> {
        self.changes
            .extend(sources::settle(transaction, self.told)?);
        for (project, change) in &self.changes {
            self.totals.change(*project, change);
            self.conversations.change(*project, change);
        }
        rollups::save(transaction, &self.totals)?;
        sessions::save(transaction, ids, &self.conversations)
    }
}

/// Writes a batch into an open transaction. The caller commits.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    batch: &Batch<'_>,
    packer: &mut Packer,
    memory: &mut Memory,
    now: i64,
) -> Result<WriteReport, Error> {
    let remembered = &mut memory.dimensions;
    let dimensions = Dimensions {
        resources: dimensions::resource_ids(transaction, remembered, &batch.resources, now)?,
        scopes: dimensions::scope_ids(transaction, remembered, &batch.scopes, now)?,
    };
    let mut sampled = Sampled::new(transaction, batch.remember_ns, &mut memory.sampled)?;
    let mut traces = TraceWriter::new(transaction)?;
    let order = by_trace(&batch.spans);
    let groups = new_spans(&mut traces, &mut memory.traces, &sampled, &order)?;
    let mut blocks = BlockWriter::new(transaction, packer, &dimensions, batch)?;
    let mut added = Added {
        crowd: Crowd::of(&batch.spans, &batch.resources),
        totals: Rollups::default(),
        conversations: Sessions::default(),
        told: Sources::default(),
        changes: Vec::new(),
        stored: 0,
    };
    for mut group in groups {
        let of = (group.project, group.trace_id);
        let calls = added.count(&group, batch)?;
        let changes = if group.is_out {
            for span in &group.spans {
                added.conversations.add_unstored(span);
            }
            let left_out = std::mem::take(&mut group.left_out);
            sampled.leave_out(of, left_out, &group.spans, &calls)?
        } else {
            let Some(summary) = summarize(&group.spans, batch)? else {
                continue;
            };
            let (known, unstored) = (group.known.take(), &group.left_out.calls);
            let saved = traces.save(&mut memory.traces, known, of, summary, &calls, unstored)?;
            if group.left_out.has_calls() {
                sampled.taken_over(of)?;
            }
            blocks.add_trace(saved.key, group.trace_id, &group.spans)?;
            for span in &group.spans {
                added.conversations.add(span, saved.key);
            }
            added.stored += group.spans.len() as u64;
            saved.changes
        };
        added.change(&group, changes);
    }
    blocks.flush()?;
    drop(blocks);
    traces.maintain(&mut memory.traces)?;
    let (stored, sampled_out) = (added.stored, sampled.counts);
    added.save(transaction, &mut memory.sessions)?;
    let events_stored = events::insert(transaction, batch, &dimensions, packer)?;
    let points = metrics::insert(transaction, &batch.metrics, &mut memory.series)?;
    save_checkpoint(transaction, batch)?;
    Ok(WriteReport {
        spans_stored: stored,
        spans_duplicate: batch.spans.len() as u64 - stored - sampled_out.total(),
        spans_sampled_out: sampled_out,
        events_stored,
        events_duplicate: batch.events.len() as u64 - events_stored,
        points_stored: points.stored,
        points_duplicate: batch.metrics.points.len() as u64 - points.stored,
        points_overflow: points.overflow,
    })
}

/// What is not stored yet, trace by trace in start order: neighbours in time become neighbours in
/// the store.
fn new_spans<'b>(
    traces: &mut TraceWriter<'_>,
    ids: &mut IdIndex,
    sampled: &Sampled<'_>,
    order: &[&'b SpanRow<'b>],
) -> Result<Vec<Group<'b>>, Error> {
    let trace_of = |span: &SpanRow<'_>| (span.project, span.trace_id);
    let mut groups = Vec::new();
    for group in order.chunk_by(|a, b| trace_of(a) == trace_of(b)) {
        let Some(first) = group.first() else { continue };
        let (project, trace_id) = trace_of(first);
        let left_out = sampled.find((project, trace_id))?;
        let mut group = group.to_vec();
        group.retain(|span| !left_out.holds(span));
        let mut known = traces.find(ids, project, trace_id)?;
        let mut spans = match &mut known {
            Some(known) => traces.without_stored(known, &group)?,
            None => group,
        };
        spans.sort_unstable_by_key(|span| (clamp_time(span.start_unix_nano), span.span_id));
        if let Some(first) = spans.first() {
            groups.push(Group {
                is_out: known.is_none() && left_out.takes(&spans),
                known,
                left_out,
                project,
                trace_id,
                start: clamp_time(first.start_unix_nano),
                spans,
            });
        }
    }
    groups.sort_unstable_by_key(|group| (group.project, group.start, group.trace_id));
    Ok(groups)
}

fn resource_of<'b>(batch: &'b Batch<'b>, span: &SpanRow<'_>) -> Result<&'b ResourceRow<'b>, Error> {
    batch
        .resources
        .get(span.resource)
        .ok_or_else(|| Error::Corrupt {
            context: "a span refers to a resource that is not in its batch".to_owned(),
        })
}

fn summarize<'b>(
    spans: &[&'b SpanRow<'b>],
    batch: &'b Batch<'b>,
) -> Result<Option<Summary<'b>>, Error> {
    let mut total: Option<Summary<'b>> = None;
    for span in spans {
        let resource = resource_of(batch, span)?;
        match &mut total {
            Some(total) => total.add(span, resource),
            None => total = Some(Summary::of(span, resource)),
        }
    }
    Ok(total)
}

fn save_checkpoint(transaction: &Transaction<'_>, batch: &Batch<'_>) -> Result<(), Error> {
    let failed = storage_error("store the log checkpoint");
    let mut upsert = transaction
        .prepare_cached(
            "INSERT INTO log_checkpoint VALUES (?1, ?2)
             ON CONFLICT (partition)
                DO UPDATE SET next_position = max(next_position, excluded.next_position)",
        )
        .map_err(&failed)?;
    upsert
        .execute((batch.partition, clamp_time(batch.next.0)))
        .map_err(&failed)?;
    Ok(())
}
