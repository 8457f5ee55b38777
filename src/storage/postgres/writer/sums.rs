//! What a batch adds to sessions, services and rollups, merged into rows in key order. These rows
//! are shared by everybody who writes to a project, so they are written last: their locks are held
//! the shortest.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::super::partitions::ARRIVAL_STEP_NS;
use super::super::transaction::Transaction;
use super::copy::Copy;
use super::params::number_array;
use super::traces::Key;
use crate::model::genai::Totals;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::rollup::Rollups;
use crate::storage::session::{SessionSums, Sessions};

/// Adds without leaving the range: numbers that clients send stop at the largest integer.
macro_rules! add {
    ($table:literal, $column:literal) => {
        concat!(
            $column,
            " = ",
            $table,
            ".",
            $column,
            " + least(excluded.",
            $column,
            ", 9223372036854775807 - ",
            $table,
            ".",
            $column,
            ")"
        )
    };
}

macro_rules! add_totals {
    ($table:literal) => {
        concat!(
            add!($table, "span_count"),
            ", ",
            add!($table, "error_count"),
            ", ",
            add!($table, "llm_call_count"),
            ", ",
            add!($table, "input_tokens"),
            ", ",
            add!($table, "output_tokens"),
            ", ",
            add!($table, "cache_read_tokens"),
            ", ",
            add!($table, "cost_nano_usd")
        )
    };
}

/// Columns that rollups and sessions have in common.
#[derive(Debug, Default)]
struct TotalColumns {
    span_counts: Vec<i64>,
    error_counts: Vec<i64>,
    llm_calls: Vec<i64>,
    input_tokens: Vec<i64>,
    output_tokens: Vec<i64>,
    cache_read_tokens: Vec<i64>,
    costs: Vec<i64>,
}

impl TotalColumns {
    fn push(&mut self, span_count: i64, error_count: i64, totals: &Totals) {
        self.span_counts.push(span_count);
        self.error_counts.push(error_count);
        self.llm_calls.push(totals.llm_calls);
        self.input_tokens.push(totals.input_tokens);
        self.output_tokens.push(totals.output_tokens);
        self.cache_read_tokens.push(totals.cache_read_tokens);
        self.costs.push(totals.cost_nano_usd);
    }
}

const JOIN: &str = "join traces to sessions";
const COPY_JOINED: &str =
    "COPY session_trace (project_id, session_id, trace_id) FROM STDIN (FORMAT binary)";
const INSERT_JOINED: &str = "INSERT INTO session_trace (project_id, session_id, trace_id)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])
    ON CONFLICT DO NOTHING RETURNING project_id, session_id, trace_id";

const UPSERT_SESSIONS: &str = concat!(
    "INSERT INTO session (project_id, session_id, user_id, start_unix_nano, end_unix_nano,
        received_unix_nano, trace_count, span_count, error_count, llm_call_count, input_tokens,
        output_tokens, cache_read_tokens, cost_nano_usd)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
        $12::bigint[], $13::bigint[], $14::bigint[])
    ON CONFLICT (project_id, session_id) DO UPDATE SET
        user_id = least(session.user_id, excluded.user_id),
        start_unix_nano = least(session.start_unix_nano, excluded.start_unix_nano),
        end_unix_nano = greatest(session.end_unix_nano, excluded.end_unix_nano),
        received_unix_nano = greatest(session.received_unix_nano, excluded.received_unix_nano),
        trace_count = session.trace_count + excluded.trace_count, ",
    add_totals!("session")
);

/// Merges what a batch adds to sessions. `new` are traces that this transaction made: they are in no
/// session yet.
///
/// # Errors
/// As the store's.
pub(super) async fn save_sessions(
    transaction: &Transaction,
    sessions: &Sessions<'_, TraceId>,
    new: &HashSet<Key>,
) -> Result<(), Error> {
    if sessions.sums.is_empty() {
        return Ok(());
    }
    let context = "store sessions";
    let joined = join_traces(transaction, sessions, new).await?;
    let all = || sessions.sums.iter();
    let number = |of: fn(&SessionSums<'_, TraceId>) -> i64| -> Vec<i64> {
        all().map(|(_, sums)| of(sums)).collect()
    };
    let projects: Vec<_> = all()
        .map(|((project, _), _)| i64::from(project.0))
        .collect();
    let names: Vec<_> = all().map(|((_, session), _)| *session).collect();
    let users: Vec<_> = all().map(|(_, sums)| sums.user_id).collect();
    let trace_counts: Vec<_> = all()
        .map(|(key, _)| joined.get(key).copied().unwrap_or(0))
        .collect();
    let mut totals = TotalColumns::default();
    for (_, sums) in all() {
        totals.push(sums.span_count, sums.error_count, &sums.totals);
    }
    transaction
        .execute(
            UPSERT_SESSIONS,
            &[
                (&projects, Type::INT8_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&users, Type::TEXT_ARRAY),
                (&number(|sums| sums.start), Type::INT8_ARRAY),
                (&number(|sums| sums.end), Type::INT8_ARRAY),
                (&number(|sums| sums.received), Type::INT8_ARRAY),
                (&trace_counts, Type::INT8_ARRAY),
                (&totals.span_counts, Type::INT8_ARRAY),
                (&totals.error_counts, Type::INT8_ARRAY),
                (&totals.llm_calls, Type::INT8_ARRAY),
                (&totals.input_tokens, Type::INT8_ARRAY),
                (&totals.output_tokens, Type::INT8_ARRAY),
                (&totals.cache_read_tokens, Type::INT8_ARRAY),
                (&totals.costs, Type::INT8_ARRAY),
            ],
            context,
        )
        .await?;
    Ok(())
}

/// Joins traces to their sessions; answers how many are new to each.
async fn join_traces<'s>(
    transaction: &Transaction,
    sessions: &Sessions<'s, TraceId>,
    new: &HashSet<Key>,
) -> Result<HashMap<(ProjectId, &'s str), i64>, Error> {
    let mut joined: HashMap<_, i64> = HashMap::new();
    let (mut added, mut other) = (Vec::new(), Vec::new());
    for (key, sums) in &sessions.sums {
        for trace in &sums.traces {
            if new.contains(&(key.0, *trace)) {
                *joined.entry(*key).or_default() += 1;
                added.push((*key, trace));
            } else {
                other.push((*key, trace));
            }
        }
    }
    copy_joined(transaction, &added).await?;
    for place in insert_joined(transaction, &other).await? {
        if let Some((key, _)) = other.get(place) {
            *joined.entry(*key).or_default() += 1;
        }
    }
    Ok(joined)
}

type Joined<'s, 't> = ((ProjectId, &'s str), &'t TraceId);

/// Traces that can't be in the session yet: who adds to a trace holds its lock.
async fn copy_joined(transaction: &Transaction, rows: &[Joined<'_, '_>]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(transaction, COPY_JOINED, JOIN).await?;
    for ((project, session), trace) in rows {
        copy.rows.row(3);
        copy.rows.i64(i64::from(project.0));
        copy.rows.text(session);
        copy.rows.bytes(&trace.0);
        copy.send_if_full().await?;
    }
    copy.finish().await?;
    Ok(())
}

/// Traces that may be in the session; answers the places of those that were not.
async fn insert_joined(
    transaction: &Transaction,
    rows: &[Joined<'_, '_>],
) -> Result<Vec<usize>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let projects: Vec<_> = rows.iter().map(|row| i64::from(row.0.0.0)).collect();
    let names: Vec<_> = rows.iter().map(|row| row.0.1).collect();
    let trace_ids: Vec<_> = rows.iter().map(|row| row.1.0.as_slice()).collect();
    let params = [
        (&projects as _, Type::INT8_ARRAY),
        (&names as _, Type::TEXT_ARRAY),
        (&trace_ids as _, Type::BYTEA_ARRAY),
    ];
    let inserted = transaction.query(INSERT_JOINED, &params, JOIN).await?;
    let key = |row: &tokio_postgres::Row| -> (i64, String, Vec<u8>) {
        (row.get(0), row.get(1), row.get(2))
    };
    let inserted: HashSet<_> = inserted.iter().map(key).collect();
    let is_new = |((project, session), trace): &Joined<'_, '_>| {
        let row = (
            i64::from(project.0),
            (*session).to_owned(),
            trace.0.to_vec(),
        );
        inserted.contains(&row)
    };
    let places = rows.iter().enumerate().filter(|(_, row)| is_new(row));
    Ok(places.map(|(place, _)| place).collect())
}

const UPSERT_SERVICES: &str = "INSERT INTO service (project_id, name, first_seen_unix_nano,
        last_seen_unix_nano, received_unix_nano, span_count, error_count)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
        $6::bigint[], $7::bigint[])
    ON CONFLICT (project_id, name) DO UPDATE SET
        first_seen_unix_nano =
            least(service.first_seen_unix_nano, excluded.first_seen_unix_nano),
        last_seen_unix_nano =
            greatest(service.last_seen_unix_nano, excluded.last_seen_unix_nano),
        received_unix_nano = greatest(service.received_unix_nano, excluded.received_unix_nano),
        span_count = service.span_count + excluded.span_count,
        error_count = service.error_count + excluded.error_count";

/// Merges what a batch adds to services.
///
/// # Errors
/// As the store's.
pub(super) async fn save_services(
    transaction: &Transaction,
    rollups: &Rollups<'_>,
) -> Result<(), Error> {
    if rollups.services.is_empty() {
        return Ok(());
    }
    let all = || rollups.services.iter();
    let projects: Vec<_> = all()
        .map(|((project, _), _)| i64::from(project.0))
        .collect();
    let names: Vec<_> = all().map(|((_, name), _)| *name).collect();
    let first_seen: Vec<_> = all().map(|(_, sums)| sums.first_seen).collect();
    let last_seen: Vec<_> = all().map(|(_, sums)| sums.last_seen).collect();
    let received: Vec<_> = all().map(|(_, sums)| sums.received).collect();
    let span_counts: Vec<_> = all().map(|(_, sums)| sums.span_count).collect();
    let error_counts: Vec<_> = all().map(|(_, sums)| sums.error_count).collect();
    transaction
        .execute(
            UPSERT_SERVICES,
            &[
                (&projects, Type::INT8_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&first_seen, Type::INT8_ARRAY),
                (&last_seen, Type::INT8_ARRAY),
                (&received, Type::INT8_ARRAY),
                (&span_counts, Type::INT8_ARRAY),
                (&error_counts, Type::INT8_ARRAY),
            ],
            "store services",
        )
        .await?;
    Ok(())
}

const UPSERT_ROLLUPS: &str = concat!(
    "INSERT INTO rollup (project_id, level, minute, service_name, operation, provider, model,
        received_unix_nano, duration_sum_ns, span_count, error_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, duration_hist)
    SELECT project_id, level, minute, service_name, operation, provider, model,
        received_unix_nano, duration_sum_ns, span_count, error_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, duration_hist::bigint[]
    FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[])
        AS k(project_id, level, minute, service_name, operation, provider, model,
            received_unix_nano, duration_sum_ns, span_count, error_count, llm_call_count,
            input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, duration_hist)
    ON CONFLICT (project_id, level, minute, service_name, operation, provider, model)
    DO UPDATE SET
        received_unix_nano = greatest(rollup.received_unix_nano, excluded.received_unix_nano),
        duration_hist = pulse_histogram_merge(rollup.duration_hist, excluded.duration_hist), ",
    add!("rollup", "duration_sum_ns"),
    ", ",
    add_totals!("rollup")
);

/// Merges what a batch adds to rollups.
///
/// # Errors
/// As the store's.
pub(super) async fn save_rollups(
    transaction: &Transaction,
    rollups: &Rollups<'_>,
) -> Result<(), Error> {
    let rows = rollups.rows();
    if rows.is_empty() {
        return Ok(());
    }
    let keys = || rows.keys();
    let projects: Vec<_> = keys().map(|key| i64::from(key.project.0)).collect();
    let levels: Vec<_> = keys().map(|key| i16::from(key.level as u8)).collect();
    let minutes: Vec<_> = keys().map(|key| key.minute).collect();
    let services: Vec<_> = keys().map(|key| key.service).collect();
    let operations: Vec<_> = keys().map(|key| key.operation).collect();
    let providers: Vec<_> = keys().map(|key| key.provider).collect();
    let models: Vec<_> = keys().map(|key| key.model).collect();
    let (mut received, mut durations, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    let mut totals = TotalColumns::default();
    for sums in rows.values() {
        // In steps, so that the index on it is left alone by most updates.
        let steps = sums.received.saturating_add(ARRIVAL_STEP_NS - 1) / ARRIVAL_STEP_NS;
        received.push(steps.saturating_mul(ARRIVAL_STEP_NS));
        durations.push(sums.duration_sum_ns);
        histograms.push(number_array(&sums.durations.to_pairs()));
        totals.push(sums.span_count, sums.error_count, &sums.totals);
    }
    transaction
        .execute(
            UPSERT_ROLLUPS,
            &[
                (&projects, Type::INT8_ARRAY),
                (&levels, Type::INT2_ARRAY),
                (&minutes, Type::INT8_ARRAY),
                (&services, Type::TEXT_ARRAY),
                (&operations, Type::TEXT_ARRAY),
                (&providers, Type::TEXT_ARRAY),
                (&models, Type::TEXT_ARRAY),
                (&received, Type::INT8_ARRAY),
                (&durations, Type::INT8_ARRAY),
                (&totals.span_counts, Type::INT8_ARRAY),
                (&totals.error_counts, Type::INT8_ARRAY),
                (&totals.llm_calls, Type::INT8_ARRAY),
                (&totals.input_tokens, Type::INT8_ARRAY),
                (&totals.output_tokens, Type::INT8_ARRAY),
                (&totals.cache_read_tokens, Type::INT8_ARRAY),
                (&totals.costs, Type::INT8_ARRAY),
                (&histograms, Type::TEXT_ARRAY),
            ],
            "store rollups",
        )
        .await?;
    Ok(())
}
