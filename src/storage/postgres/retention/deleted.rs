//! What deleted projects stored goes in the background, a few rows of each table at a time.
//!
//! A project that was deleted is looked at for ever: what it sent before may still be in a log
//! somewhere. That costs one statement, of index probes.

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::{ROWS_PER_STEP, is_ours};
use crate::storage::postgres::config::Config;
use crate::storage::postgres::transaction::{Param, Settings, Transaction};
use crate::storage::{Error, RetentionReport};

const CONTEXT: &str = "delete what a deleted project stored";

/// A deleted project of which something is left.
const FIND: &str = "SELECT d.project_id FROM project_deleted d
    WHERE EXISTS (SELECT FROM trace t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM trace_service t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM session_trace t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM span t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM event t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM dead_event t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM metric_chunk t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM metric_series t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM dead_point t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM content_block t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM rollup t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM service t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM session t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM resource t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM scope t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM dead_letter t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM issue t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM issue_bucket t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM issue_status t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM agent_change t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM agent_session t WHERE t.project_id = d.project_id)
        OR EXISTS (SELECT FROM sampled_out t WHERE t.project_id = d.project_id)
    LIMIT 1";

/// Deletes some rows of a project, by the primary key of their table.
macro_rules! rows_of {
    ($table:literal, $key:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE (",
            $key,
            ") IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE project_id = $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"
        )
    };
}

/// Traces first: a trace that is gone shows nothing that is left of it.
const DELETE: [&str; 22] = [
    rows_of!("trace", "project_id, trace_id"),
    rows_of!(
        "trace_service",
        "project_id, service_name, start_unix_nano, trace_id"
    ),
    rows_of!("session_trace", "project_id, session_id, trace_id"),
    rows_of!("span", "project_id, trace_id, span_id, start_time"),
    rows_of!("event", "project_id, time_unix_nano, digest"),
    rows_of!("dead_event", "project_id, time_unix_nano, digest"),
    rows_of!(
        "metric_chunk",
        "project_id, metric_id, slot_unix_nano, series_id, part"
    ),
    rows_of!("metric_series", "project_id, series_id"),
    rows_of!(
        "dead_point",
        "project_id, series_id, time_unix_nano, start_unix_nano"
    ),
    rows_of!("content_block", "project_id, block_id"),
    rows_of!(
        "rollup",
        "project_id, level, minute, service_name, operation, provider, model"
    ),
    rows_of!("service", "project_id, name"),
    rows_of!("session", "project_id, session_id"),
    rows_of!("resource", "project_id, resource_id"),
    rows_of!("scope", "project_id, scope_id"),
    rows_of!("dead_letter", "project_id, trace_id, span_id"),
    rows_of!("issue", "project_id, fingerprint, level, type"),
    rows_of!("issue_bucket", "project_id, fingerprint, start_unix_nano"),
    rows_of!("issue_status", "project_id, fingerprint"),
    rows_of!("agent_change", "project_id, session, trace_id, span_id"),
    rows_of!("agent_session", "project_id, session"),
    rows_of!("sampled_out", "project_id, trace_id"),
];

/// Deletes one step's worth. Goes by indexes only, whatever the server thinks of it: it can't know
/// that what it looks for is not there.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn enforce(pool: &Pool, config: &Config) -> Result<RetentionReport, Error> {
    let transaction = Transaction::begin(pool, &Settings::of(config)).await?;
    let mut report = RetentionReport::default();
    if is_ours(&transaction).await? {
        let found = transaction.query(FIND, &[], CONTEXT).await?;
        if let Some(row) = found.first() {
            let project: i64 = row.get(0);
            let params: [Param<'_>; 2] = [(&project, Type::INT8), (&ROWS_PER_STEP, Type::INT8)];
            let (first, others) = (DELETE.iter().take(1), DELETE.iter().skip(1));
            for sql in first {
                report.traces_deleted += transaction.execute(sql, &params, CONTEXT).await?;
            }
            let mut rows = report.traces_deleted;
            for sql in others {
                rows += transaction.execute(sql, &params, CONTEXT).await?;
            }
            // Rows that a writer holds now are for the next time.
            report.more = rows > 0;
        }
    }
    transaction.commit(CONTEXT).await?;
    Ok(report)
}
