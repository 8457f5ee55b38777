//! Deleting the points that arrived first, an hour's arrivals at a time.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::storage::sqlite::error::storage_error;
use crate::storage::sqlite::retention::is_too_large;
use crate::storage::{Error, RetentionConfig};

/// Chunks deleted in one transaction.
const CHUNKS_PER_STEP: usize = 2000;

/// When the oldest chunks arrived, as it was noted; `None` when there are none.
fn oldest(transaction: &Transaction<'_>) -> Result<Option<i64>, Error> {
    transaction
        .prepare_cached(
            "SELECT received_unix_nano FROM metric_chunk INDEXED BY metric_chunk_received
             ORDER BY received_unix_nano LIMIT 1",
        )
        .and_then(|mut select| select.query_row([], |row| row.get(0)).optional())
        .map_err(storage_error("find points of metrics to delete"))
}

/// Deletes chunks that arrived until a time, as many as a step deletes; answers how many those were.
pub(in crate::storage::sqlite) fn delete_until(
    transaction: &Transaction<'_>,
    received: i64,
) -> Result<usize, Error> {
    transaction
        .prepare_cached(
            "DELETE FROM metric_chunk
             WHERE (project_id, metric_id, slot_unix_nano, series_id, part) IN (
                SELECT project_id, metric_id, slot_unix_nano, series_id, part
                FROM metric_chunk INDEXED BY metric_chunk_received
                WHERE received_unix_nano <= ?1 ORDER BY received_unix_nano LIMIT ?2)",
        )
        .and_then(|mut delete| {
            let limit = i64::try_from(CHUNKS_PER_STEP).unwrap_or(i64::MAX);
            delete.execute(params![received, limit])
        })
        .map_err(storage_error("delete points of metrics"))
}

/// Deletes the chunks that are left of what is deleted for its age or for the size of the store: what
/// arrived until `bound`, and, while the store is too large, the hours that arrived first. Answers until
/// when all is gone, and whether there is more to do.
pub(in crate::storage::sqlite) fn delete_oldest(
    transaction: &Transaction<'_>,
    config: &RetentionConfig,
    bound: Option<i64>,
) -> Result<(Option<i64>, bool), Error> {
    let mut bound = bound;
    if let Some(bound) = bound
        && delete_until(transaction, bound)? >= CHUNKS_PER_STEP
    {
        return Ok((Some(bound), true));
    }
    if is_too_large(transaction, config)?
        && let Some(hour) = oldest(transaction)?
    {
        delete_until(transaction, hour)?;
        bound = bound.max(Some(hour));
        // Whether it still is, the next step finds out.
        return Ok((bound, oldest(transaction)?.is_some()));
    }
    Ok((bound, false))
}
