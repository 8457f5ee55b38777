//! Moving what spans count for from one sum to another.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::storage::Error;
use crate::storage::remap::Exchanged;
use crate::storage::rollup::{Key, Sums};
use crate::storage::session::SessionSums;
use crate::storage::sqlite::error::storage_error;
use crate::storage::sqlite::ids::IdIndex;
use crate::storage::sqlite::{rollups, sessions};

const TAKE_FROM_ROLLUP: &str = "UPDATE rollup SET
        span_count = max(0, span_count - ?8),
        error_count = max(0, error_count - ?9),
        duration_sum_ns = max(0, duration_sum_ns - ?10),
        llm_call_count = max(0, llm_call_count - ?11),
        input_tokens = max(0, input_tokens - ?12),
        output_tokens = max(0, output_tokens - ?13),
        cache_read_tokens = max(0, cache_read_tokens - ?14),
        cost_nano_usd = max(0, cost_nano_usd - ?15),
        duration_hist = ?16
    WHERE project_id = ?1 AND level = ?2 AND minute = ?3 AND service_name = ?4
        AND operation = ?5 AND provider = ?6 AND model = ?7
    RETURNING span_count";

const DELETE_ROLLUP: &str = "DELETE FROM rollup
    WHERE project_id = ?1 AND level = ?2 AND minute = ?3 AND service_name = ?4
        AND operation = ?5 AND provider = ?6 AND model = ?7";

const TAKE_FROM_SESSION: &str = "UPDATE session SET
        trace_count = max(0, trace_count - ?2),
        span_count = max(0, span_count - ?3),
        error_count = max(0, error_count - ?4),
        llm_call_count = max(0, llm_call_count - ?5),
        input_tokens = max(0, input_tokens - ?6),
        output_tokens = max(0, output_tokens - ?7),
        cache_read_tokens = max(0, cache_read_tokens - ?8),
        cost_nano_usd = max(0, cost_nano_usd - ?9)
    WHERE session_key = ?1 RETURNING span_count";

// Where no trace of it is stored, what is left was sampled out, and all stays as it is.
const BOUND_SESSION: &str = "UPDATE session SET (user_id, start_unix_nano, end_unix_nano) = (
        SELECT iif(count(*) = 0, session.user_id, min(t.user_id)),
            coalesce(min(t.start_unix_nano), session.start_unix_nano),
            coalesce(max(t.end_unix_nano), session.end_unix_nano)
        FROM session_trace s JOIN trace t USING (trace_key)
        WHERE s.session_key = session.session_key)
    WHERE session_key = ?1";

/// Adds what traces are now, then takes away what they were.
pub(super) fn shift(
    transaction: &Transaction<'_>,
    ids: &mut IdIndex,
    exchanged: &Exchanged<'_, i64>,
) -> Result<(), Error> {
    rollups::save_rows(transaction, &exchanged.rollups.added)?;
    for (key, sums) in &exchanged.rollups.taken {
        take_from_rollup(transaction, key, sums)?;
    }
    let (added, taken) = (&exchanged.sessions.added, &exchanged.sessions.taken);
    sessions::save(transaction, ids, added)?;
    for (session, sums) in &taken.sums {
        let Some(key) = sessions::find(transaction, ids, session.0, &session.1)? else {
            continue;
        };
        let now = added.sums.get(session);
        take_from_session(transaction, key, sums, now)
            .map_err(storage_error("take from a session"))?;
    }
    Ok(())
}

fn take_from_rollup(
    transaction: &Transaction<'_>,
    key: &Key<'_>,
    taken: &Sums,
) -> Result<(), Error> {
    let failed = storage_error("take from a rollup");
    let Some(mut durations) = rollups::durations(transaction, key)? else {
        return Ok(());
    };
    durations.take_away(&taken.durations);
    let place = (
        key.project.0,
        key.level as u8,
        key.minute,
        key.service.as_ref(),
        key.operation.as_ref(),
        key.provider.as_ref(),
        key.model.as_ref(),
    );
    let left: Option<i64> = transaction
        .prepare_cached(TAKE_FROM_ROLLUP)
        .and_then(|mut update| {
            let row = params![
                place.0,
                place.1,
                place.2,
                place.3,
                place.4,
                place.5,
                place.6,
                taken.span_count,
                taken.error_count,
                taken.duration_sum_ns,
                taken.totals.llm_calls,
                taken.totals.input_tokens,
                taken.totals.output_tokens,
                taken.totals.cache_read_tokens,
                taken.totals.cost_nano_usd,
                durations.encode(),
            ];
            update.query_row(row, |row| row.get(0)).optional()
        })
        .map_err(&failed)?;
    if left == Some(0) {
        transaction
            .prepare_cached(DELETE_ROLLUP)
            .and_then(|mut delete| delete.execute(place))
            .map_err(&failed)?;
    }
    Ok(())
}

fn take_from_session(
    transaction: &Transaction<'_>,
    key: i64,
    taken: &SessionSums<'_, i64>,
    now: Option<&SessionSums<'_, i64>>,
) -> rusqlite::Result<()> {
    let stays = |trace: &i64| now.is_some_and(|now| now.traces.contains(trace));
    let mut leave = transaction
        .prepare_cached("DELETE FROM session_trace WHERE session_key = ?1 AND trace_key = ?2")?;
    let mut traces_gone = 0_i64;
    for trace in taken.traces.iter().filter(|trace| !stays(trace)) {
        traces_gone += i64::from(leave.execute([key, *trace])? > 0);
    }
    let totals = &taken.totals;
    let left: i64 = transaction.prepare_cached(TAKE_FROM_SESSION)?.query_row(
        params![
            key,
            traces_gone,
            taken.span_count,
            taken.error_count,
            totals.llm_calls,
            totals.input_tokens,
            totals.output_tokens,
            totals.cache_read_tokens,
            totals.cost_nano_usd,
        ],
        |row| row.get(0),
    )?;
    if left == 0 {
        for sql in [
            "DELETE FROM session_trace WHERE session_key = ?1",
            "DELETE FROM session WHERE session_key = ?1",
        ] {
            transaction.prepare_cached(sql)?.execute([key])?;
        }
        return Ok(());
    }
    if now.is_none_or(|now| !now.covers(taken)) {
        transaction.prepare_cached(BOUND_SESSION)?.execute([key])?;
    }
    Ok(())
}
