//! Retention: the traces that arrived first go first, by age and by size, a few at a time so that
//! writing is never held up for long.
//!
//! Age is counted from a trace's first arrival, not from the times in it: a client with a wrong
//! clock, or a backfill of old data, is kept as long as any other.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::storage_error;
use super::traces::KEY_BYTES;
use crate::storage::summary::clamp_time;
use crate::storage::{Error, RetentionConfig, RetentionReport};

/// Traces deleted in one transaction.
const TRACES_PER_STEP: i64 = 500;

/// Dimensions are refreshed at most this often, so they are kept that much longer, ns.
const DIMENSION_GRACE_NS: i64 = 2 * 3600 * 1_000_000_000;

const NS_PER_MINUTE: i64 = 60 * 1_000_000_000;

/// A trace that must go.
struct Expired {
    key: i64,
    project: i64,
    start: i64,
    services: String,
}

/// Deletes one step's worth of what must go.
pub(super) fn enforce(
    connection: &mut Connection,
    config: &RetentionConfig,
    now_unix_nano: u64,
) -> Result<RetentionReport, Error> {
    let failed = storage_error("enforce retention");
    let cutoff = cutoff(config, now_unix_nano);
    let too_large = config.max_size.0 > 0 && bytes_in_use(connection)? > config.max_size.0;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&failed)?;
    // A size bound takes the oldest whatever their age.
    let bound = if too_large { Some(i64::MAX) } else { cutoff };
    let expired = match bound {
        Some(bound) => oldest_traces(&transaction, bound)?,
        None => Vec::new(),
    };
    for trace in &expired {
        delete_trace(&transaction, trace)?;
    }
    if let Some(cutoff) = cutoff {
        delete_by_age(&transaction, cutoff)?;
    }
    transaction.commit().map_err(&failed)?;
    let traces_deleted = expired.len() as u64;
    Ok(RetentionReport {
        traces_deleted,
        more: expired.len() as i64 == TRACES_PER_STEP,
    })
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

/// The traces with the smallest keys, that is, in order of first arrival.
fn oldest_traces(transaction: &Transaction<'_>, bound: i64) -> Result<Vec<Expired>, Error> {
    let failed = storage_error("find traces to delete");
    let mut select = transaction
        .prepare_cached(
            "SELECT trace_key, project_id, start_unix_nano, services, received_unix_nano
             FROM trace ORDER BY trace_key LIMIT ?1",
        )
        .map_err(&failed)?;
    let rows = select
        .query_map([TRACES_PER_STEP], |row| {
            let received: i64 = row.get(4)?;
            let expired = Expired {
                key: row.get(0)?,
                project: row.get(1)?,
                start: row.get(2)?,
                services: row.get(3)?,
            };
            Ok((received, expired))
        })
        .map_err(&failed)?;
    let mut expired = Vec::new();
    for row in rows {
        let (received, trace) = row.map_err(&failed)?;
        if received >= bound {
            break;
        }
        expired.push(trace);
    }
    Ok(expired)
}

fn delete_trace(transaction: &Transaction<'_>, trace: &Expired) -> Result<(), Error> {
    let failed = storage_error("delete a trace");
    let run = |sql: &str, key: i64| {
        let mut statement = transaction.prepare_cached(sql).map_err(&failed)?;
        statement.execute([key]).map_err(&failed)
    };
    delete_span_rows(transaction, trace)?;
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
    run("DELETE FROM trace_part WHERE trace_key = ?1", trace.key)?;
    run("DELETE FROM trace WHERE trace_key = ?1", trace.key)?;
    transaction
        .prepare_cached("DELETE FROM span_identity WHERE project_id = ?1 AND trace_key = ?2")
        .map_err(&failed)?
        .execute((trace.project, trace.key))
        .map_err(&failed)?;
    Ok(())
}

fn delete_span_rows(transaction: &Transaction<'_>, trace: &Expired) -> Result<(), Error> {
    let failed = storage_error("delete the spans of a trace");
    let mut select = transaction
        .prepare_cached("SELECT keys FROM trace_part WHERE trace_key = ?1")
        .map_err(&failed)?;
    let mut delete = transaction
        .prepare_cached(
            "DELETE FROM span WHERE project_id = ?1 AND start_unix_nano = ?2 AND trace_key = ?3
                AND span_id = ?4",
        )
        .map_err(&failed)?;
    let mut parts = select.query([trace.key]).map_err(&failed)?;
    while let Some(part) = parts.next().map_err(&failed)? {
        let keys: Vec<u8> = part.get(0).map_err(&failed)?;
        for key in keys.chunks_exact(KEY_BYTES) {
            let (Some(span_id), Some(start)) = (key.first_chunk::<8>(), key.last_chunk::<8>())
            else {
                continue;
            };
            let start = i64::from_be_bytes(*start);
            delete
                .execute((trace.project, start, trace.key, span_id))
                .map_err(&failed)?;
        }
    }
    Ok(())
}

/// What does not belong to a single trace: rollups, sessions, dimensions, dead letters.
fn delete_by_age(transaction: &Transaction<'_>, cutoff: i64) -> Result<(), Error> {
    let failed = storage_error("delete by age");
    let run = |sql: &str, bound: i64| {
        let mut statement = transaction.prepare_cached(sql).map_err(&failed)?;
        statement.execute([bound]).map_err(&failed)
    };
    run(
        "DELETE FROM rollup_minute
         WHERE project_id IN (SELECT project_id FROM project) AND minute < ?1",
        cutoff / NS_PER_MINUTE,
    )?;
    run(
        "DELETE FROM session_trace WHERE (project_id, session_id) IN (
            SELECT project_id, session_id FROM session
            WHERE end_unix_nano < ?1 AND received_unix_nano < ?1)",
        cutoff,
    )?;
    run(
        "DELETE FROM session WHERE end_unix_nano < ?1 AND received_unix_nano < ?1",
        cutoff,
    )?;
    let unused = cutoff.saturating_sub(DIMENSION_GRACE_NS);
    run(
        "DELETE FROM resource WHERE last_seen_unix_nano < ?1",
        unused,
    )?;
    run("DELETE FROM scope WHERE last_seen_unix_nano < ?1", unused)?;
    run(
        "DELETE FROM dead_letter WHERE created_unix_nano < ?1",
        cutoff,
    )?;
    Ok(())
}
