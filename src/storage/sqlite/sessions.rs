//! Session summaries: summed up in memory over a batch, then merged into rows.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Transaction, params};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::model::span::Status;
use crate::storage::Error;
use crate::storage::summary::clamp_time;
use crate::storage::write::SpanRow;

#[derive(Debug)]
struct Totals<'a> {
    user_id: Option<&'a str>,
    start: i64,
    end: i64,
    received: i64,
    span_count: i64,
    error_count: i64,
    traces: BTreeSet<i64>,
}

/// What a batch adds.
#[derive(Debug, Default)]
pub(super) struct Sessions<'a> {
    totals: BTreeMap<(ProjectId, &'a str), Totals<'a>>,
}

impl<'a> Sessions<'a> {
    pub(super) fn add(&mut self, span: &'a SpanRow<'a>, trace_key: i64) {
        let Some(session_id) = span.basics.session_id else {
            return;
        };
        let start = clamp_time(span.start_unix_nano);
        let end = clamp_time(span.end_unix_nano).max(start);
        let received = clamp_time(span.received_unix_nano);
        let totals = self
            .totals
            .entry((span.project, session_id))
            .or_insert(Totals {
                user_id: None,
                start,
                end,
                received,
                span_count: 0,
                error_count: 0,
                traces: BTreeSet::new(),
            });
        // The smallest, so that the order of arrival does not matter.
        totals.user_id = match (totals.user_id, span.basics.user_id) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        totals.start = totals.start.min(start);
        totals.end = totals.end.max(end);
        totals.received = totals.received.max(received);
        totals.span_count += 1;
        totals.error_count += i64::from(span.status == Status::Error);
        totals.traces.insert(trace_key);
    }

    pub(super) fn save(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        if self.totals.is_empty() {
            return Ok(());
        }
        let failed = storage_error("store session summaries");
        let mut join = transaction
            .prepare_cached("INSERT OR IGNORE INTO session_trace VALUES (?1, ?2, ?3)")
            .map_err(&failed)?;
        let mut upsert = transaction
            .prepare_cached(
                "INSERT INTO session (project_id, session_id, user_id, start_unix_nano,
                    end_unix_nano, received_unix_nano, trace_count, span_count, error_count)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (project_id, session_id) DO UPDATE SET
                    user_id = min(coalesce(user_id, excluded.user_id),
                        coalesce(excluded.user_id, user_id)),
                    start_unix_nano = min(start_unix_nano, excluded.start_unix_nano),
                    end_unix_nano = max(end_unix_nano, excluded.end_unix_nano),
                    received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
                    trace_count = trace_count + excluded.trace_count,
                    span_count = span_count + excluded.span_count,
                    error_count = error_count + excluded.error_count",
            )
            .map_err(&failed)?;
        for ((project, session_id), totals) in &self.totals {
            let mut traces_new = 0_i64;
            for trace_key in &totals.traces {
                let row = (project.0, session_id, trace_key);
                let joined = join.execute(row).map_err(&failed)?;
                traces_new += i64::from(joined > 0);
            }
            upsert
                .execute(params![
                    project.0,
                    session_id,
                    totals.user_id,
                    totals.start,
                    totals.end,
                    totals.received,
                    traces_new,
                    totals.span_count,
                    totals.error_count
                ])
                .map_err(&failed)?;
        }
        Ok(())
    }
}
