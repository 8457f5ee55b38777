//! Retention: the traces that arrived first go first, by age and by size, a few at a time so that
//! writing is never held up for long.
//!
//! Age is counted from arrival, not from the times in a span: a client with a wrong
//! clock, or a backfill of old data, is kept as long as any other.

mod deleted;

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior};

use super::error::storage_error;
use super::events::OldestEvents;
use super::ids::IdIndex;
use super::metrics::retention as points;
use super::sampled;
use super::sessions;
use crate::model::ProjectId;
use crate::storage::summary::clamp_time;
use crate::storage::{Error, RetentionConfig, RetentionReport};

/// Traces, and spans of them, deleted in one transaction.
const TRACES_PER_STEP: usize = 500;
const SPANS_PER_STEP: i64 = 20_000;
/// Issues deleted in one transaction, and as many of their counts.
const ISSUES_PER_STEP: usize = 5000;

/// Dimensions are refreshed at most this often, so they are kept that much longer, ns.
const DIMENSION_GRACE_NS: i64 = 2 * 3600 * 1_000_000_000;

/// A trace that may have to go.
struct Oldest {
    key: i64,
    project: u32,
    received: i64,
    start: i64,
    span_count: i64,
    services: String,
}

impl Oldest {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            project: row.get(1)?,
            received: row.get(2)?,
            start: row.get(3)?,
            span_count: row.get(4)?,
            services: row.get(5)?,
        })
    }
}

/// Deletes one step's worth of what must go. `remember_ns`: for how long spans are remembered that are
/// left out now, if that is known.
pub(super) fn enforce(
    connection: &mut Connection,
    config: &RetentionConfig,
    session_ids: &mut IdIndex,
    now_unix_nano: u64,
    remember_ns: Option<i64>,
) -> Result<RetentionReport, Error> {
    let failed = storage_error("enforce retention");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&failed)?;
    let mut bound = cutoff(config, now_unix_nano);
    let (mut traces_deleted, mut spans_deleted, mut more) = (0, 0, false);
    for trace in deleted::traces(&transaction)? {
        if spans_deleted >= SPANS_PER_STEP {
            break;
        }
        delete_trace(&transaction, session_ids, &trace)?;
        spans_deleted += trace.span_count;
        traces_deleted += 1;
    }
    if traces_deleted > 0 || deleted::events(&transaction)? || deleted::rest(&transaction)? {
        transaction.commit().map_err(&failed)?;
        return Ok(RetentionReport {
            traces_deleted: traces_deleted as u64,
            more: true,
        });
    }
    let now = clamp_time(now_unix_nano);
    more |= sampled::forget(&transaction, now)?;
    // What is remembered of spans that were left out goes before any that is stored, but what may well be
    // sent again.
    let made_room =
        is_too_large(&transaction, config)? && sampled::make_room(&transaction, now, remember_ns)?;
    more |= made_room;
    let mut events = OldestEvents::read(&transaction)?;
    for trace in oldest_traces(&transaction)? {
        let is_old = bound.is_some_and(|bound| trace.received < bound);
        if !is_old && (made_room || !is_too_large(&transaction, config)?) {
            break;
        }
        // Whatever arrived first goes first.
        events.delete_before(&transaction, trace.received)?;
        if points::delete_until(&transaction, trace.received)? > 0 {
            // It may be small enough now.
            more = true;
            break;
        }
        if traces_deleted == TRACES_PER_STEP || spans_deleted >= SPANS_PER_STEP {
            more = true;
            break;
        }
        delete_trace(&transaction, session_ids, &trace)?;
        spans_deleted += trace.span_count;
        traces_deleted += 1;
        // What went for its size takes along whatever else is as old.
        bound = bound.max(Some(trace.received));
    }
    // Events that arrived after all traces, or where there are none.
    while !more && events.is_due(&transaction, config, bound)? {
        if let Some(received) = events.next_received()
            && points::delete_until(&transaction, received)? > 0
        {
            more = true;
            break;
        }
        bound = bound.max(events.delete_one(&transaction)?);
    }
    more |= events.has_more();
    if !more {
        (bound, more) = points::delete_oldest(&transaction, config, bound)?;
    }
    // What traces, events and points refer to goes after them, never before.
    if let (Some(bound), false) = (bound, more) {
        more = delete_issues(&transaction, bound)?;
        delete_by_age(&transaction, bound)?;
    }
    transaction.commit().map_err(&failed)?;
    Ok(RetentionReport {
        traces_deleted: traces_deleted as u64,
        more,
    })
}

pub(super) fn is_too_large(
    connection: &Connection,
    config: &RetentionConfig,
) -> Result<bool, Error> {
    let max_size = config.max_size.0;
    Ok(max_size > 0 && bytes_in_use(connection)? > max_size)
}

fn cutoff(config: &RetentionConfig, now_unix_nano: u64) -> Option<i64> {
    let max_age = u64::try_from(config.max_age.0.as_nanos()).unwrap_or(u64::MAX);
    (max_age > 0).then(|| clamp_time(now_unix_nano.saturating_sub(max_age)))
}

/// Bytes of the file that hold data; pages freed by a deletion are used again before it grows.
pub(super) fn bytes_in_use(connection: &Connection) -> Result<u64, Error> {
    let pragma = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(storage_error("measure the store"))
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?))
}

/// The traces that arrived first, one more than a step deletes.
fn oldest_traces(transaction: &Transaction<'_>) -> Result<Vec<Oldest>, Error> {
    let failed = storage_error("find traces to delete");
    let mut select = transaction
        .prepare_cached(
            "SELECT trace_key, project_id, received_unix_nano, start_unix_nano, span_count,
                services
             FROM trace ORDER BY received_unix_nano, trace_key LIMIT ?1",
        )
        .map_err(&failed)?;
    let limit = i64::try_from(TRACES_PER_STEP + 1).unwrap_or(i64::MAX);
    let rows = select.query_map([limit], Oldest::read).map_err(&failed)?;
    rows.collect::<Result<_, _>>().map_err(&failed)
}

/// Deletes a trace with everything that is its own.
fn delete_trace(
    transaction: &Transaction<'_>,
    session_ids: &mut IdIndex,
    trace: &Oldest,
) -> Result<(), Error> {
    let failed = storage_error("delete a trace");
    let run = |sql: &str, key: i64| {
        let mut statement = transaction.prepare_cached(sql).map_err(&failed)?;
        statement.execute([key]).map_err(&failed)
    };
    let sessions = delete_parts(transaction, trace)?;
    let mut leave = transaction
        .prepare_cached("DELETE FROM session_trace WHERE session_key = ?1 AND trace_key = ?2")
        .map_err(&failed)?;
    for session in sessions {
        let project = ProjectId(trace.project);
        if let Some(key) = sessions::find(transaction, session_ids, project, &session)? {
            leave.execute([key, trace.key]).map_err(&failed)?;
        }
    }
    let services: Vec<String> = serde_json::from_str(&trace.services).unwrap_or_default();
    let mut delete_service = transaction
        .prepare_cached(
            "DELETE FROM trace_service WHERE project_id = ?1 AND service_name = ?2
                AND start_unix_nano = ?3 AND trace_key = ?4",
        )
        .map_err(&failed)?;
    for service in services {
        delete_service
            .execute((trace.project, service, trace.start, trace.key))
            .map_err(&failed)?;
    }
    run("DELETE FROM trace WHERE trace_key = ?1", trace.key)?;
    transaction
        .prepare_cached("DELETE FROM span_identity WHERE project_id = ?1 AND trace_key = ?2")
        .map_err(&failed)?
        .execute((trace.project, trace.key))
        .map_err(&failed)?;
    Ok(())
}

/// Deletes the parts of a trace, and the blocks of which they were the last; answers the sessions
/// that they name.
fn delete_parts(transaction: &Transaction<'_>, trace: &Oldest) -> Result<BTreeSet<String>, Error> {
    let failed = storage_error("delete the spans of a trace");
    let mut delete = transaction
        .prepare_cached("DELETE FROM trace_part WHERE trace_key = ?1 RETURNING block_id, sessions")
        .map_err(&failed)?;
    let parts: Vec<(i64, Option<String>)> = delete
        .query_map([trace.key], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(&failed)?;
    let mut release = transaction
        .prepare_cached(
            "UPDATE block_use SET part_count = part_count - 1 WHERE block_id = ?1
             RETURNING part_count",
        )
        .map_err(&failed)?;
    let mut sessions = BTreeSet::new();
    for (block_id, named) in parts {
        let named = named.map(|named| serde_json::from_str::<Vec<String>>(&named));
        sessions.extend(named.into_iter().flatten().flatten());
        let left: Option<i64> = release
            .query_row([block_id], |row| row.get(0))
            .optional()
            .map_err(&failed)?;
        if left.is_none_or(|left| left <= 0) {
            for sql in [
                "DELETE FROM block WHERE block_id = ?1",
                "DELETE FROM block_sieve WHERE block_id = ?1",
                "DELETE FROM block_use WHERE block_id = ?1",
            ] {
                transaction
                    .prepare_cached(sql)
                    .and_then(|mut delete| delete.execute([block_id]))
                    .map_err(&failed)?;
            }
        }
    }
    Ok(sessions)
}

/// Issues and their counts, of which there may be very many, a few at a time; whether there are more.
fn delete_issues(transaction: &Transaction<'_>, bound: i64) -> Result<bool, Error> {
    let failed = storage_error("delete issues by age");
    let mut more = false;
    for sql in [
        "DELETE FROM issue WHERE (project_id, fingerprint, level, type) IN (
            SELECT project_id, fingerprint, level, type FROM issue
            WHERE received_unix_nano < ?1 ORDER BY received_unix_nano LIMIT ?2)",
        "DELETE FROM issue_bucket WHERE (project_id, fingerprint, start_unix_nano) IN (
            SELECT project_id, fingerprint, start_unix_nano FROM issue_bucket
            WHERE received_unix_nano < ?1 ORDER BY received_unix_nano LIMIT ?2)",
    ] {
        let deleted = transaction
            .prepare_cached(sql)
            .and_then(|mut delete| delete.execute((bound, ISSUES_PER_STEP as i64)))
            .map_err(&failed)?;
        more |= deleted >= ISSUES_PER_STEP;
    }
    Ok(more)
}

/// What does not belong to a single trace: rollups, services, sessions, dimensions, dead letters.
fn delete_by_age(transaction: &Transaction<'_>, bound: i64) -> Result<(), Error> {
    let failed = storage_error("delete by age");
    let run = |sql: &str, bound: i64| {
        let mut statement = transaction.prepare_cached(sql).map_err(&failed)?;
        statement.execute([bound]).map_err(&failed)
    };
    run("DELETE FROM rollup WHERE received_unix_nano < ?1", bound)?;
    run("DELETE FROM service WHERE received_unix_nano < ?1", bound)?;
    run(
        "DELETE FROM issue_status WHERE changed_unix_nano < ?1 AND NOT EXISTS (
            SELECT 1 FROM issue i WHERE i.project_id = issue_status.project_id
                AND i.fingerprint = issue_status.fingerprint)",
        bound,
    )?;
    run(
        "DELETE FROM session_trace WHERE session_key IN (
            SELECT session_key FROM session WHERE received_unix_nano < ?1)",
        bound,
    )?;
    run("DELETE FROM session WHERE received_unix_nano < ?1", bound)?;
    run(
        "DELETE FROM agent_session WHERE received_unix_nano < ?1",
        bound,
    )?;
    // What was added is known for as long as the session is.
    run(
        "DELETE FROM agent_change WHERE received_unix_nano < ?1 AND NOT EXISTS (
            SELECT 1 FROM agent_session s
            WHERE s.project_id = agent_change.project_id AND s.session = agent_change.session)",
        bound,
    )?;
    let unused = bound.saturating_sub(DIMENSION_GRACE_NS);
    run(
        "DELETE FROM resource WHERE last_seen_unix_nano < ?1",
        unused,
    )?;
    run("DELETE FROM scope WHERE last_seen_unix_nano < ?1", unused)?;
    run("DELETE FROM dead_event WHERE created_unix_nano < ?1", bound)?;
    run("DELETE FROM dead_point WHERE created_unix_nano < ?1", bound)?;
    run(
        "DELETE FROM metric_series WHERE last_seen_unix_nano < ?1",
        unused,
    )?;
    run(
        "DELETE FROM dead_letter WHERE created_unix_nano < ?1",
        bound,
    )?;
    Ok(())
}
