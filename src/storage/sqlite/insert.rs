//! One batch, one transaction: which spans are new, their parts, rows, summaries and rollups, and
//! the checkpoint.

use rusqlite::{Statement, Transaction};

use super::dimensions::{self, Remembered};
use super::error::storage_error;
use super::traces::{TraceWriter, insert_part};
use super::{rollups, sessions};
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::content::Packer;
use crate::storage::rollup::Rollups;
use crate::storage::session::Sessions;
use crate::storage::summary::{Summary, clamp_time};
use crate::storage::write::{Batch, SpanRow, WriteReport};

/// A span that is new to the store, with what its row refers to.
pub(super) struct NewSpan<'b> {
    pub(super) span: &'b SpanRow<'b>,
    pub(super) trace_key: i64,
    pub(super) part_id: i64,
}

/// Row ids of what a batch's spans refer to.
pub(super) struct Dimensions {
    pub(super) resources: Vec<i64>,
    pub(super) scopes: Vec<i64>,
}

/// Writes a batch into an open transaction. The caller commits.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    batch: &Batch<'_>,
    packer: &mut Packer,
    remembered: &mut Remembered,
    now: i64,
) -> Result<WriteReport, Error> {
    let dimensions = Dimensions {
        resources: dimensions::resource_ids(transaction, remembered, &batch.resources, now)?,
        scopes: dimensions::scope_ids(transaction, remembered, &batch.scopes, now)?,
    };
    let order = distinct_spans_by_trace(&batch.spans);
    let mut new_spans = Vec::with_capacity(order.len());
    let mut totals = Rollups::default();
    let mut conversations = Sessions::default();
    let mut traces = TraceWriter::new(transaction)?;
    for group in order.chunk_by(|a, b| trace_of(a) == trace_of(b)) {
        let Some(first) = group.first() else { continue };
        let mut known = traces.find(first.project, first.trace_id)?;
        let fresh = match &mut known {
            Some(known) => traces.without_stored(known, group)?,
            None => group.to_vec(),
        };
        let Some(summary) = summarize(&fresh, batch)? else {
            continue;
        };
        let trace_key = traces.save(known, first.project, first.trace_id, summary)?;
        let part_id = insert_part(transaction, packer, &dimensions, &fresh, trace_key)?;
        for span in fresh {
            let resource = resource_of(batch, span)?;
            totals.add(span, &resource.service_name);
            conversations.add(span, trace_key);
            new_spans.push(NewSpan {
                span,
                trace_key,
                part_id,
            });
        }
    }
    drop(traces);
    insert_span_rows(transaction, &dimensions, &mut new_spans)?;
    rollups::save(transaction, &totals)?;
    sessions::save(transaction, &conversations)?;
    save_checkpoint(transaction, batch)?;
    let stored = new_spans.len() as u64;
    Ok(WriteReport {
        spans_stored: stored,
        spans_duplicate: batch.spans.len() as u64 - stored,
    })
}

fn trace_of(span: &SpanRow<'_>) -> (ProjectId, TraceId) {
    (span.project, span.trace_id)
}

/// Spans grouped by trace; of spans with one identity only the first that arrived.
fn distinct_spans_by_trace<'b>(spans: &'b [SpanRow<'b>]) -> Vec<&'b SpanRow<'b>> {
    let mut order: Vec<_> = spans.iter().collect();
    // Stable, so that among equals the first to arrive stays first.
    order.sort_by_key(|span| (span.project, span.trace_id, span.span_id));
    order.dedup_by_key(|span| (span.project, span.trace_id, span.span_id));
    order
}

fn resource_of<'b>(
    batch: &'b Batch<'b>,
    span: &SpanRow<'_>,
) -> Result<&'b crate::storage::write::ResourceRow<'b>, Error> {
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

const INSERT_SPAN: &str = "INSERT INTO span (
    project_id, start_unix_nano, trace_key, span_id, parent_span_id, name, kind, status,
    status_message, duration_ns, time_marks, resource_id, scope_id, part_id, operation, provider,
    request_model, response_model, session_id, user_id, error_type, http_method, http_route,
    http_status_code, db_system, db_operation, rpc_system, rpc_service, rpc_method
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
    ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)";

/// Inserts the rows in key order: new spans are mostly the newest, so that this appends.
fn insert_span_rows(
    transaction: &Transaction<'_>,
    dimensions: &Dimensions,
    spans: &mut [NewSpan<'_>],
) -> Result<(), Error> {
    let failed = storage_error("store spans");
    spans.sort_unstable_by_key(|new| {
        let span = new.span;
        (
            span.project,
            clamp_time(span.start_unix_nano),
            new.trace_key,
            span.span_id,
        )
    });
    let mut insert = transaction.prepare_cached(INSERT_SPAN).map_err(&failed)?;
    for new in spans {
        bind_span(&mut insert, new, dimensions).map_err(&failed)?;
        insert.raw_execute().map_err(&failed)?;
    }
    Ok(())
}

/// Binds the values of a row. Most columns of most spans are NULL, and an unbound parameter is.
fn bind_span(
    insert: &mut Statement<'_>,
    new: &NewSpan<'_>,
    dimensions: &Dimensions,
) -> rusqlite::Result<()> {
    let span = new.span;
    let basics = &span.basics;
    insert.clear_bindings();
    insert.raw_bind_parameter(1, span.project.0)?;
    insert.raw_bind_parameter(2, clamp_time(span.start_unix_nano))?;
    insert.raw_bind_parameter(3, new.trace_key)?;
    insert.raw_bind_parameter(4, span.span_id.0)?;
    if let Some(parent) = span.parent_span_id {
        insert.raw_bind_parameter(5, parent.0)?;
    }
    insert.raw_bind_parameter(6, span.name.as_ref())?;
    insert.raw_bind_parameter(7, span.kind as u8)?;
    insert.raw_bind_parameter(8, span.status as u8)?;
    insert.raw_bind_parameter(10, clamp_time(span.duration_ns()))?;
    insert.raw_bind_parameter(11, span.time_marks.0)?;
    insert.raw_bind_parameter(12, dimensions.resources.get(span.resource))?;
    insert.raw_bind_parameter(13, dimensions.scopes.get(span.scope))?;
    insert.raw_bind_parameter(14, new.part_id)?;
    if let Some(code) = basics.http_status_code {
        insert.raw_bind_parameter(24, code)?;
    }
    let operation = basics.operation.as_str();
    let texts = [
        (
            9,
            Some(span.status_message.as_ref()).filter(|message| !message.is_empty()),
        ),
        (
            15,
            Some(operation).filter(|operation| *operation != "other"),
        ),
        (16, basics.provider.as_deref()),
        (17, basics.request_model.as_deref()),
        (18, basics.response_model.as_deref()),
        (19, basics.session_id.as_deref()),
        (20, basics.user_id.as_deref()),
        (21, basics.error_type.as_deref()),
        (22, basics.http_method.as_deref()),
        (23, basics.http_route.as_deref()),
        (25, basics.db_system.as_deref()),
        (26, basics.db_operation.as_deref()),
        (27, basics.rpc_system.as_deref()),
        (28, basics.rpc_service.as_deref()),
        (29, basics.rpc_method.as_deref()),
    ];
    for (index, text) in texts {
        if let Some(text) = text {
            insert.raw_bind_parameter(index, text)?;
        }
    }
    Ok(())
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
