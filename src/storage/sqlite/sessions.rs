//! Session summaries: what a batch adds, merged into rows.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::error::storage_error;
use super::ids::{Id, IdIndex};
use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::storage::Error;
use crate::storage::session::{SessionSums, Sessions};

const INSERT: &str = "INSERT INTO session (project_id, session_id, user_id, start_unix_nano,
        end_unix_nano, received_unix_nano, trace_count, span_count, error_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

// Sums of numbers that clients send stop at the largest integer instead of turning into floats.
const UPDATE: &str = "UPDATE session SET
        user_id = min(coalesce(user_id, ?2), coalesce(?2, user_id)),
        start_unix_nano = min(start_unix_nano, ?3),
        end_unix_nano = max(end_unix_nano, ?4),
        received_unix_nano = max(received_unix_nano, ?5),
        trace_count = trace_count + ?6,
        span_count = span_count + ?7,
        error_count = error_count + ?8,
        llm_call_count = llm_call_count + ?9,
        input_tokens = input_tokens + min(?10, 9223372036854775807 - input_tokens),
        output_tokens = output_tokens + min(?11, 9223372036854775807 - output_tokens),
        cache_read_tokens = cache_read_tokens + min(?12, 9223372036854775807 - cache_read_tokens),
        cost_nano_usd = cost_nano_usd + min(?13, 9223372036854775807 - cost_nano_usd)
    WHERE session_key = ?1";

// A sum that stopped at the largest integer may be less than what it was made of.
const REMOVE: &str = "UPDATE session SET
        llm_call_count = max(0, llm_call_count - ?2),
        input_tokens = max(0, input_tokens - ?3),
        output_tokens = max(0, output_tokens - ?4),
        cache_read_tokens = max(0, cache_read_tokens - ?5),
        cost_nano_usd = max(0, cost_nano_usd - ?6)
    WHERE session_key = ?1";

/// What a session id is looked up by.
pub(super) fn digest(session_id: &str) -> Id {
    let digest: [u8; 32] = Sha256::digest(session_id).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Whether a row is of this session.
pub(super) fn is_of(
    connection: &Connection,
    session_key: i64,
    project: ProjectId,
    session_id: &str,
) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM session
             WHERE session_key = ?1 AND project_id = ?2 AND session_id = ?3",
        )?
        .exists(params![session_key, project.0, session_id])
}

/// The row of a session.
pub(super) fn find(
    transaction: &Transaction<'_>,
    ids: &mut IdIndex,
    project: ProjectId,
    session_id: &str,
) -> Result<Option<i64>, Error> {
    ids.find(transaction, project, &digest(session_id), |key| {
        is_of(transaction, key, project, session_id)
            .map(|is| is.then_some(key))
            .map_err(storage_error("look up a session"))
    })
}

/// Merges what a batch adds into the rows.
pub(super) fn save(
    transaction: &Transaction<'_>,
    ids: &mut IdIndex,
    sessions: &Sessions<'_, i64>,
) -> Result<(), Error> {
    if sessions.sums.is_empty() {
        return Ok(());
    }
    let failed = storage_error("store session summaries");
    for ((project, session_id), sums) in &sessions.sums {
        let known = find(transaction, ids, *project, session_id)?;
        let session_key = match known {
            Some(key) => key,
            // A change of what spans counted for that are no longer there.
            None if sums.span_count == 0 => continue,
            None => {
                let key = insert(transaction, *project, session_id, sums).map_err(&failed)?;
                ids.insert(transaction, *project, &digest(session_id), key)?;
                key
            }
        };
        let mut join = transaction
            .prepare_cached("INSERT OR IGNORE INTO session_trace VALUES (?1, ?2)")
            .map_err(&failed)?;
        let mut traces_new = 0;
        for trace_key in &sums.traces {
            let joined = join.execute([session_key, *trace_key]).map_err(&failed)?;
            traces_new += i64::from(joined > 0);
        }
        if known.is_some() {
            update(transaction, session_key, traces_new, sums).map_err(&failed)?;
        }
        if sums.removed != Totals::default() {
            remove(transaction, session_key, &sums.removed).map_err(&failed)?;
        }
    }
    let oldest: Option<i64> = transaction
        .query_row("SELECT min(session_key) FROM session", [], |row| row.get(0))
        .optional()
        .map_err(&failed)?
        .flatten();
    ids.maintain(transaction, oldest.unwrap_or(i64::MAX))
}

fn insert(
    transaction: &Transaction<'_>,
    project: ProjectId,
    session_id: &str,
    sums: &SessionSums<'_, i64>,
) -> rusqlite::Result<i64> {
    transaction.prepare_cached(INSERT)?.execute(params![
        project.0,
        session_id,
        sums.user_id,
        sums.start,
        sums.end,
        sums.received,
        i64::try_from(sums.traces.len()).unwrap_or(i64::MAX),
        sums.span_count,
        sums.error_count,
        sums.totals.llm_calls,
        sums.totals.input_tokens,
        sums.totals.output_tokens,
        sums.totals.cache_read_tokens,
        sums.totals.cost_nano_usd
    ])?;
    Ok(transaction.last_insert_rowid())
}

fn update(
    transaction: &Transaction<'_>,
    session_key: i64,
    traces_new: i64,
    sums: &SessionSums<'_, i64>,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(UPDATE)?.execute(params![
        session_key,
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
    ])?;
    Ok(())
}

fn remove(
    transaction: &Transaction<'_>,
    session_key: i64,
    removed: &Totals,
) -> rusqlite::Result<usize> {
    transaction.prepare_cached(REMOVE)?.execute(params![
        session_key,
        removed.llm_calls,
        removed.input_tokens,
        removed.output_tokens,
        removed.cache_read_tokens,
        removed.cost_nano_usd
    ])
}
