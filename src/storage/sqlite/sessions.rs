//! Session summaries: what a batch adds, merged into rows.

use rusqlite::{Transaction, params};

use super::error::storage_error;
use crate::storage::Error;
use crate::storage::session::Sessions;

/// Merges what a batch adds into the rows.
pub(super) fn save(
    transaction: &Transaction<'_>,
    sessions: &Sessions<'_, i64>,
) -> Result<(), Error> {
    if sessions.sums.is_empty() {
        return Ok(());
    }
    let failed = storage_error("store session summaries");
    let mut join = transaction
        .prepare_cached("INSERT OR IGNORE INTO session_trace VALUES (?1, ?2, ?3)")
        .map_err(&failed)?;
    // Sums of numbers that clients send stop at the largest integer instead of turning into floats.
    let mut upsert = transaction
        .prepare_cached(
            "INSERT INTO session (project_id, session_id, user_id, start_unix_nano,
                end_unix_nano, received_unix_nano, trace_count, span_count, error_count,
                llm_call_count, input_tokens, output_tokens, cache_read_tokens, cost_nano_usd)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (project_id, session_id) DO UPDATE SET
                user_id = min(coalesce(user_id, excluded.user_id),
                    coalesce(excluded.user_id, user_id)),
                start_unix_nano = min(start_unix_nano, excluded.start_unix_nano),
                end_unix_nano = max(end_unix_nano, excluded.end_unix_nano),
                received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
                trace_count = trace_count + excluded.trace_count,
                span_count = span_count + excluded.span_count,
                error_count = error_count + excluded.error_count,
                llm_call_count = llm_call_count + excluded.llm_call_count,
                input_tokens = input_tokens
                    + min(excluded.input_tokens, 9223372036854775807 - input_tokens),
                output_tokens = output_tokens
                    + min(excluded.output_tokens, 9223372036854775807 - output_tokens),
                cache_read_tokens = cache_read_tokens
                    + min(excluded.cache_read_tokens, 9223372036854775807 - cache_read_tokens),
                cost_nano_usd = cost_nano_usd
                    + min(excluded.cost_nano_usd, 9223372036854775807 - cost_nano_usd)",
        )
        .map_err(&failed)?;
    for ((project, session_id), sums) in &sessions.sums {
        let mut traces_new = 0_i64;
        for trace_key in &sums.traces {
            let row = (project.0, session_id, trace_key);
            let joined = join.execute(row).map_err(&failed)?;
            traces_new += i64::from(joined > 0);
        }
        upsert
            .execute(params![
                project.0,
                session_id,
                sums.user_id,
                sums.start,
                sums.end,
                sums.received,
                traces_new,
                sums.span_count,
                sums.error_count,
                sums.totals.llm_calls,
                sums.totals.input_tokens,
                sums.totals.output_tokens,
                sums.totals.cache_read_tokens,
                sums.totals.cost_nano_usd
            ])
            .map_err(&failed)?;
    }
    Ok(())
}
