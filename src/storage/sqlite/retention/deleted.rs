//! What deleted projects stored goes in the background: traces a step at a time, what does not
//! belong to a single trace after them.
//!
//! A project that was deleted is looked at for ever: what it sent before may still be in the log.
//! That costs a few index probes.

use rusqlite::Transaction;

use super::{Oldest, TRACES_PER_STEP, storage_error};
use crate::storage::Error;

/// Traces of deleted projects, as many as a step deletes.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) fn traces(transaction: &Transaction<'_>) -> Result<Vec<Oldest>, Error> {
    let failed = storage_error("find traces of deleted projects");
    let limit = i64::try_from(TRACES_PER_STEP).unwrap_or(i64::MAX);
    let mut select = transaction
        .prepare_cached(
            "SELECT t.trace_key, t.project_id, t.received_unix_nano, t.start_unix_nano,
                t.span_count, t.services
             FROM project_deleted d CROSS JOIN trace t INDEXED BY trace_start
                ON t.project_id = d.project_id LIMIT ?1",
        )
        .map_err(&failed)?;
    let rows = select.query_map([limit], Oldest::read).map_err(&failed)?;
    rows.collect::<Result<_, _>>().map_err(&failed)
}

/// Deletes a step's worth of events and metrics of deleted projects, then what they lean on; answers
/// whether there was anything.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) fn events(transaction: &Transaction<'_>) -> Result<bool, Error> {
    let failed = storage_error("delete events of deleted projects");
    for sql in [
        "DELETE FROM event WHERE (project_id, time_unix_nano, digest) IN (
            SELECT e.project_id, e.time_unix_nano, e.digest
            FROM project_deleted d CROSS JOIN event e ON e.project_id = d.project_id LIMIT 5000)",
        "DELETE FROM event_block WHERE block_id IN (SELECT b.block_id
            FROM project_deleted d CROSS JOIN event_block b INDEXED BY event_block_project
                ON b.project_id = d.project_id LIMIT 200)",
        "DELETE FROM metric_chunk
         WHERE (project_id, metric_id, slot_unix_nano, series_id, part) IN (
            SELECT c.project_id, c.metric_id, c.slot_unix_nano, c.series_id, c.part
            FROM project_deleted d CROSS JOIN metric_chunk c ON c.project_id = d.project_id
            LIMIT 2000)",
        "DELETE FROM metric_series WHERE (project_id, series_id) IN (
            SELECT s.project_id, s.series_id
            FROM project_deleted d CROSS JOIN metric_series s ON s.project_id = d.project_id
            LIMIT 2000)",
    ] {
        let deleted = transaction
            .prepare_cached(sql)
            .and_then(|mut delete| delete.execute([]))
            .map_err(&failed)?;
        if deleted > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes a step's worth of everything else of deleted projects; answers whether there was anything.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) fn rest(transaction: &Transaction<'_>) -> Result<bool, Error> {
    let failed = storage_error("delete what deleted projects stored");
    let mut found = false;
    for sql in [
        "DELETE FROM session_trace WHERE (session_key, trace_key) IN (
            SELECT t.session_key, t.trace_key FROM project_deleted d
            CROSS JOIN session s ON s.project_id = d.project_id
            CROSS JOIN session_trace t ON t.session_key = s.session_key LIMIT 2000)",
        "DELETE FROM session WHERE session_key IN (SELECT s.session_key FROM project_deleted d
            CROSS JOIN session s ON s.project_id = d.project_id
            WHERE NOT EXISTS (SELECT 1 FROM session_trace t WHERE t.session_key = s.session_key)
            LIMIT 2000)",
        "DELETE FROM rollup
         WHERE (project_id, level, minute, service_name, operation, provider, model) IN (
            SELECT r.project_id, level, minute, service_name, operation, provider, model
            FROM project_deleted d CROSS JOIN rollup r ON r.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM service WHERE project_id IN (SELECT project_id FROM project_deleted)",
        "DELETE FROM resource WHERE resource_id IN (SELECT r.resource_id FROM project_deleted d
            CROSS JOIN resource r ON r.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM scope WHERE project_id IN (SELECT project_id FROM project_deleted)",
        "DELETE FROM dead_letter WHERE project_id IN (SELECT project_id FROM project_deleted)",
        "DELETE FROM dead_event WHERE project_id IN (SELECT project_id FROM project_deleted)",
        "DELETE FROM dead_point WHERE project_id IN (SELECT project_id FROM project_deleted)",
        "DELETE FROM issue WHERE (project_id, fingerprint, level, type) IN (
            SELECT t.project_id, t.fingerprint, t.level, t.type FROM project_deleted d
            CROSS JOIN issue t ON t.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM issue_bucket WHERE (project_id, fingerprint, start_unix_nano) IN (
            SELECT t.project_id, t.fingerprint, t.start_unix_nano FROM project_deleted d
            CROSS JOIN issue_bucket t ON t.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM agent_change WHERE change_id IN (SELECT t.change_id FROM project_deleted d
            CROSS JOIN agent_change t ON t.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM agent_session WHERE (project_id, session) IN (
            SELECT t.project_id, t.session FROM project_deleted d
            CROSS JOIN agent_session t ON t.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM sampled_out WHERE (project_id, trace_id) IN (
            SELECT t.project_id, t.trace_id FROM project_deleted d
            CROSS JOIN sampled_out t ON t.project_id = d.project_id LIMIT 2000)",
        "DELETE FROM issue_status WHERE (project_id, fingerprint) IN (
            SELECT t.project_id, t.fingerprint FROM project_deleted d
            CROSS JOIN issue_status t ON t.project_id = d.project_id LIMIT 2000)",
    ] {
        let deleted = transaction
            .prepare_cached(sql)
            .and_then(|mut delete| delete.execute([]))
            .map_err(&failed)?;
        found |= deleted > 0;
    }
    Ok(found)
}
