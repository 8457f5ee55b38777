//! Retention: whole partitions go as soon as everything in them is old, the rows of other tables a
//! few at a time.
//!
//! Age is counted from arrival, not from the times in a span: a client with a wrong clock, or a
//! backfill of old data, is kept as long as any other. Traces go first. A partition of `span` goes
//! when the latest arrival in it is old, so no trace that is still there has spans in it.
//!
//! Any number of collectors may run this at once: one does the work, and it skips rows that are
//! being written.

mod deleted;
mod rows;
mod sampled;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::config::Config;
use super::error::sqlstate;
use super::partitions::{self, Slot, Table};
use super::transaction::{Settings, Transaction};
use super::writer::block_id;
use crate::storage::summary::clamp_time;
use crate::storage::{Error, RetentionConfig, RetentionReport};
use rows::{
    AGENT_CHANGES, AGENT_SESSIONS, DEAD_EVENTS, DEAD_LETTERS, DEAD_POINTS, ISSUE_BUCKETS,
    ISSUE_STATUSES, ISSUES, METRIC_SERIES, RESOURCES, ROLLUPS, SCOPES, SERVICES, SESSIONS,
};
use sampled::Room;

/// Held, for the length of a transaction, by who enforces retention.
const LOCK: i64 = 0x7075_6c73_655f_7274;

/// Rows deleted in one statement.
const ROWS_PER_STEP: i64 = 5000;

/// Resources and scopes are refreshed at most this often, so they are kept that much longer, ns.
const DIMENSION_GRACE_NS: i64 = 2 * 3600 * 1_000_000_000;

/// Checkpoints of logs that nobody has written from for this long are forgotten, ns.
const CHECKPOINT_AGE_NS: i64 = 400 * 86_400 * 1_000_000_000;

/// Dropping a partition waits for everybody who reads or writes spans, and everybody else waits
/// behind it: better to try again later than to wait for long, ms.
const DROP_LOCK_MS: u32 = 2000;

/// SQLSTATEs of a lock that was not to be had in time.
const LOCK_NOT_AVAILABLE: [&str; 2] = ["55P03", "40P01"];

/// Deletes one step's worth of what must go. `remember_ns`: for how long spans are remembered that are
/// left out now, if that is known.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn enforce(
    pool: &Pool,
    config: &Config,
    retention: &RetentionConfig,
    now_unix_nano: u64,
    remember_ns: Option<i64>,
) -> Result<RetentionReport, Error> {
    let of_deleted = deleted::enforce(pool, config).await?;
    if of_deleted.more {
        return Ok(of_deleted);
    }
    let settings = Settings::maintenance(config, config.statement_timeout.0);
    let now = clamp_time(now_unix_nano);
    let transaction = Transaction::begin(pool, &settings).await?;
    if !is_ours(&transaction).await? {
        transaction.commit("enforce retention").await?;
        return Ok(RetentionReport::default());
    }
    let mut forgotten = sampled::forget(&transaction, i64::MIN..now).await? >= ROWS_PER_STEP;
    let by_size = match sampled::make_room(&transaction, retention, now, remember_ns).await? {
        Room::Made => {
            forgotten = true;
            None
        }
        Room::TooLarge(bytes) => by_size(&transaction, (bytes, retention.max_size.0), now).await?,
        Room::Enough => None,
    };
    // Nothing is before none.
    let Some(bound) = by_size.max(cutoff(retention, now)) else {
        transaction.commit("enforce retention").await?;
        return Ok(RetentionReport {
            traces_deleted: 0,
            more: forgotten,
        });
    };
    let traces = delete_traces(&transaction, bound).await?;
    let mut more = traces >= ROWS_PER_STEP;
    if !more {
        // What traces refer to goes after them, never before.
        more = delete_by_age(&transaction, bound).await?;
        more |= delete_from_defaults(&transaction, bound).await?;
        forget_logs(&transaction, now).await?;
    }
    transaction.commit("enforce retention").await?;
    if !more {
        more = drop_one(pool, &settings, bound).await?;
    }
    Ok(RetentionReport {
        traces_deleted: traces.cast_unsigned(),
        more: more || forgotten,
    })
}

/// Whether this transaction is the one that enforces retention now.
async fn is_ours(transaction: &Transaction) -> Result<bool, Error> {
    let rows = transaction
        .query(
            "SELECT pg_try_advisory_xact_lock($1)",
            &[(&LOCK, Type::INT8)],
            "enforce retention",
        )
        .await?;
    Ok(rows.first().is_some_and(|row| row.get(0)))
}

fn cutoff(retention: &RetentionConfig, now: i64) -> Option<i64> {
    let max_age = i64::try_from(retention.max_age.0.as_nanos()).unwrap_or(i64::MAX);
    (max_age > 0).then(|| now.saturating_sub(max_age).max(0))
}

/// Bytes of all tables of the store, with indexes.
pub(super) const BYTES_IN_USE: &str =
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    FROM pg_class c
    WHERE c.oid IN (
        SELECT to_regclass(name) FROM unnest(ARRAY['project', 'log_checkpoint', 'setting',
            'schema_migration', 'span_partition', 'resource', 'scope', 'trace', 'trace_service',
            'service', 'session', 'session_trace', 'rollup', 'dead_letter', 'project_setting',
            'project_deleted', 'access_state', 'api_key', 'account', 'membership', 'login',
            'invite', 'audit', 'dead_event', 'project_quota', 'project_usage', 'metric_series',
            'dead_point', 'issue', 'issue_bucket', 'issue_status', 'agent_session',
            'agent_change', 'sampled_out']) AS name
        UNION ALL
        SELECT inhrelid FROM pg_inherits
        WHERE inhparent IN (to_regclass('span'), to_regclass('event'),
            to_regclass('metric_chunk'), to_regclass('content_block')))";

/// As the store is too large, the arrival before which the oldest partition's worth must go.
/// The newest partition stays, whatever its size.
async fn by_size(
    transaction: &Transaction,
    (bytes, max_size): (u64, u64),
    now: i64,
) -> Result<Option<i64>, Error> {
    let names = partitions::names(transaction, Table::ContentBlock).await?;
    let oldest = names
        .iter()
        .filter_map(|name| Slot::parse(Table::ContentBlock, name))
        .map(Slot::end_unix_nano)
        .filter(|end| *end <= now)
        .min();
    if oldest.is_none() {
        tracing::warn!(
            bytes,
            max_size,
            "the store is larger than storage.retention.max_size, but only its newest partition \
             is left; a smaller storage.postgres.partitions.interval would let parts of it go"
        );
    }
    Ok(oldest)
}

async fn delete(transaction: &Transaction, sql: &str, bound: i64) -> Result<i64, Error> {
    let rows = transaction
        .query(
            sql,
            &[(&bound, Type::INT8), (&ROWS_PER_STEP, Type::INT8)],
            "delete what is old",
        )
        .await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

/// Deletes the traces that arrived first, with everything that is their own but their spans.
async fn delete_traces(transaction: &Transaction, bound: i64) -> Result<i64, Error> {
    let sql = "WITH old AS (
            SELECT project_id, trace_id FROM trace WHERE received_unix_nano < $1
            ORDER BY received_unix_nano LIMIT $2 FOR UPDATE SKIP LOCKED),
        gone AS (
            DELETE FROM trace t USING old
            WHERE t.project_id = old.project_id AND t.trace_id = old.trace_id
            RETURNING t.project_id, t.trace_id, t.start_unix_nano, t.services),
        services AS (
            DELETE FROM trace_service s USING (
                SELECT project_id, trace_id, start_unix_nano, unnest(services) AS service_name
                FROM gone) AS g
            WHERE s.project_id = g.project_id AND s.service_name = g.service_name
                AND s.start_unix_nano = g.start_unix_nano AND s.trace_id = g.trace_id),
        sessions AS (
            DELETE FROM session_trace s USING gone g
            WHERE s.project_id = g.project_id AND s.trace_id = g.trace_id)
        SELECT count(*) FROM gone";
    delete(transaction, sql, bound).await
}

/// What does not belong to a single trace: rollups, services, sessions, issues, dimensions, dead
/// letters. Whether there is more of it.
async fn delete_by_age(transaction: &Transaction, bound: i64) -> Result<bool, Error> {
    let unused = bound.saturating_sub(DIMENSION_GRACE_NS);
    let steps = [
        (ROLLUPS, bound),
        (SERVICES, bound),
        (SESSIONS, bound),
        (RESOURCES, unused),
        (SCOPES, unused),
        (DEAD_LETTERS, bound),
        (DEAD_EVENTS, bound),
        (DEAD_POINTS, bound),
        (METRIC_SERIES, unused),
        (ISSUES, bound),
        (ISSUE_BUCKETS, bound),
        (ISSUE_STATUSES, bound),
        // What was added is known for as long as the session is.
        (AGENT_SESSIONS, bound),
        (AGENT_CHANGES, bound),
    ];
    let mut more = false;
    for (sql, bound) in steps {
        more |= delete(transaction, sql, bound).await? >= ROWS_PER_STEP;
    }
    Ok(more)
}

/// Whether there is more in the default partitions.
async fn delete_from_defaults(transaction: &Transaction, bound: i64) -> Result<bool, Error> {
    let spans = "WITH old AS (
            SELECT project_id, trace_id, span_id, start_time FROM span_default
            WHERE received_unix_nano < $1 ORDER BY received_unix_nano LIMIT $2),
        gone AS (
            DELETE FROM span_default t USING old
            WHERE t.project_id = old.project_id AND t.trace_id = old.trace_id
                AND t.span_id = old.span_id AND t.start_time = old.start_time
            RETURNING 1)
        SELECT count(*) FROM gone";
    let events = "WITH old AS (
            SELECT project_id, time_unix_nano, digest FROM event_default
            WHERE received_unix_nano < $1 ORDER BY received_unix_nano LIMIT $2),
        gone AS (
            DELETE FROM event_default t USING old
            WHERE t.project_id = old.project_id AND t.time_unix_nano = old.time_unix_nano
                AND t.digest = old.digest
            RETURNING 1)
        SELECT count(*) FROM gone";
    let blocks = "WITH old AS (
            SELECT project_id, block_id FROM content_block_default
            WHERE block_id < $1 ORDER BY block_id LIMIT $2),
        gone AS (
            DELETE FROM content_block_default t USING old
            WHERE t.project_id = old.project_id AND t.block_id = old.block_id RETURNING 1)
        SELECT count(*) FROM gone";
    let points = "WITH old AS (
            SELECT project_id, metric_id, slot_unix_nano, series_id, part FROM metric_chunk_default
            WHERE received_unix_nano < $1 ORDER BY received_unix_nano LIMIT $2),
        gone AS (
            DELETE FROM metric_chunk_default t USING old
            WHERE t.project_id = old.project_id AND t.metric_id = old.metric_id
                AND t.slot_unix_nano = old.slot_unix_nano AND t.series_id = old.series_id
                AND t.part = old.part
            RETURNING 1)
        SELECT count(*) FROM gone";
    let first_block = block_id::first_at(bound / 1_000_000);
    let spans = delete(transaction, spans, bound).await?;
    let events = delete(transaction, events, bound).await?;
    let points = delete(transaction, points, bound).await?;
    let blocks = delete(transaction, blocks, first_block).await?;
    Ok(spans.max(events).max(points).max(blocks) >= ROWS_PER_STEP)
}

async fn forget_logs(transaction: &Transaction, now: i64) -> Result<(), Error> {
    let old = now.saturating_sub(CHECKPOINT_AGE_NS);
    transaction
        .execute(
            "DELETE FROM log_checkpoint WHERE updated_unix_nano < $1",
            &[(&old, Type::INT8)],
            "forget old logs",
        )
        .await?;
    Ok(())
}

/// Drops the oldest partition in which everything arrived before a time; whether there was one.
async fn drop_one(pool: &Pool, settings: &Settings, bound: i64) -> Result<bool, Error> {
    match try_drop_one(pool, settings, bound).await {
        Err(error) if sqlstate(&error).is_some_and(|code| LOCK_NOT_AVAILABLE.contains(&code)) => {
            tracing::debug!("an old partition is in use, will try again");
            Ok(false)
        }
        other => other,
    }
}

async fn try_drop_one(pool: &Pool, settings: &Settings, bound: i64) -> Result<bool, Error> {
    let context = "drop an old partition";
    let transaction = Transaction::begin(pool, settings).await?;
    transaction
        .query(
            "SELECT pg_advisory_xact_lock($1)::text",
            &[(&partitions::LOCK, Type::INT8)],
            context,
        )
        .await?;
    let mut dropped = None;
    for table in [
        Table::Span,
        Table::Event,
        Table::MetricChunk,
        Table::ContentBlock,
    ] {
        for name in partitions::names(&transaction, table).await? {
            let Some(slot) = Slot::parse(table, &name) else {
                continue;
            };
            let ended = slot.end_unix_nano() <= bound;
            let latest = match table {
                // Partitioned by arrival.
                Table::ContentBlock => 0,
                _ if ended => latest_arrival(&transaction, &name).await?,
                _ => 0,
            };
            if ended && latest <= bound {
                dropped = Some(name);
                break;
            }
        }
        if dropped.is_some() {
            break;
        }
    }
    let Some(name) = &dropped else {
        transaction.commit(context).await?;
        return Ok(false);
    };
    // Ours: the name was read by `Slot::parse`.
    let sql = format!("SET LOCAL lock_timeout = {DROP_LOCK_MS}; DROP TABLE {name}");
    transaction.batch(&sql, context).await?;
    transaction
        .execute(
            "DELETE FROM span_partition WHERE name = $1",
            &[(name, Type::TEXT)],
            context,
        )
        .await?;
    transaction.commit(context).await?;
    tracing::info!(partition = name, "dropped an old partition");
    Ok(true)
}

/// A time after the last arrival in a partition that is not by arrival. Nobody can note a later one before this
/// transaction ends.
async fn latest_arrival(transaction: &Transaction, name: &str) -> Result<i64, Error> {
    let rows = transaction
        .query(
            "SELECT received_unix_nano FROM span_partition WHERE name = $1 FOR UPDATE",
            &[(&name, Type::TEXT)],
            "drop an old partition",
        )
        .await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}
