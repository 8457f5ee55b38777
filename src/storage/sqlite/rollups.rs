//! Rollups and service totals: what a batch adds, merged into rows.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::storage_error;
use crate::model::histogram::Histogram;
use crate::storage::Error;
use crate::storage::rollup::{Key, Rollups, Sums};

// Sums of numbers that clients send stop at the largest integer instead of turning into floats.
const UPSERT: &str =
    "INSERT INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
        ?14, ?15, ?16, ?17)
     ON CONFLICT (project_id, level, minute, service_name, operation, provider, model)
     DO UPDATE SET
        received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
        span_count = span_count + excluded.span_count,
        error_count = error_count + excluded.error_count,
        duration_sum_ns = duration_sum_ns
            + min(excluded.duration_sum_ns, 9223372036854775807 - duration_sum_ns),
        llm_call_count = llm_call_count + excluded.llm_call_count,
        input_tokens = input_tokens
            + min(excluded.input_tokens, 9223372036854775807 - input_tokens),
        output_tokens = output_tokens
            + min(excluded.output_tokens, 9223372036854775807 - output_tokens),
        cache_read_tokens = cache_read_tokens
            + min(excluded.cache_read_tokens, 9223372036854775807 - cache_read_tokens),
        cost_nano_usd = cost_nano_usd
            + min(excluded.cost_nano_usd, 9223372036854775807 - cost_nano_usd),
        duration_hist = excluded.duration_hist";

/// Merges what a batch adds into the rows.
pub(super) fn save(transaction: &Transaction<'_>, rollups: &Rollups<'_>) -> Result<(), Error> {
    for (key, sums) in &rollups.rows() {
        save_row(transaction, key, sums)?;
    }
    let failed = storage_error("store service totals");
    let mut upsert = transaction
        .prepare_cached(
            "INSERT INTO service VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (project_id, name) DO UPDATE SET
                first_seen_unix_nano = min(first_seen_unix_nano, excluded.first_seen_unix_nano),
                last_seen_unix_nano = max(last_seen_unix_nano, excluded.last_seen_unix_nano),
                received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
                span_count = span_count + excluded.span_count,
                error_count = error_count + excluded.error_count",
        )
        .map_err(&failed)?;
    for ((project, name), sums) in &rollups.services {
        upsert
            .execute(params![
                project.0,
                name,
                sums.first_seen,
                sums.last_seen,
                sums.received,
                sums.span_count,
                sums.error_count
            ])
            .map_err(&failed)?;
    }
    Ok(())
}

fn save_row(transaction: &Transaction<'_>, key: &Key<'_>, sums: &Sums) -> Result<(), Error> {
    let failed = storage_error("store a rollup");
    let mut select = transaction
        .prepare_cached(
            "SELECT duration_hist FROM rollup WHERE project_id = ?1 AND level = ?2 AND minute = ?3
                AND service_name = ?4 AND operation = ?5 AND provider = ?6 AND model = ?7",
        )
        .map_err(&failed)?;
    let place = (
        key.project.0,
        key.level as u8,
        key.minute,
        key.service,
        key.operation,
        key.provider,
        key.model,
    );
    let stored: Option<Vec<u8>> = select
        .query_row(place, |row| row.get(0))
        .optional()
        .map_err(&failed)?;
    let mut durations = match stored {
        // A damaged histogram must not hold up writing for ever: its counts begin anew.
        Some(bytes) => Histogram::decode(&bytes).unwrap_or_else(|error| {
            tracing::error!(%error, ?key, "the durations of a rollup are damaged and begin anew");
            Histogram::default()
        }),
        None => Histogram::default(),
    };
    durations.merge(&sums.durations);
    let mut upsert = transaction.prepare_cached(UPSERT).map_err(&failed)?;
    upsert
        .execute(params![
            key.project.0,
            key.level as u8,
            key.minute,
            key.service,
            key.operation,
            key.provider,
            key.model,
            sums.received,
            sums.span_count,
            sums.error_count,
            sums.duration_sum_ns,
            sums.totals.llm_calls,
            sums.totals.input_tokens,
            sums.totals.output_tokens,
            sums.totals.cache_read_tokens,
            sums.totals.cost_nano_usd,
            durations.encode()
        ])
        .map_err(&failed)?;
    Ok(())
}
