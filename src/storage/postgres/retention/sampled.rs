//! What is remembered of spans that were left out, where the store is too large: it goes before what is
//! stored, but what may well be sent again.
//!
//! A table does not get smaller when rows go: their room is used again. So these rows may not fill more of
//! the store than a share of it, and what the table takes beyond that is no reason to delete traces.

use std::ops::Range;

use tokio_postgres::types::Type;

use super::super::transaction::{Param, Transaction};
use super::{BYTES_IN_USE, ROWS_PER_STEP};
use crate::storage::sampled::to_spare;
use crate::storage::{Error, RetentionConfig};

const FORGET: &str = "WITH old AS (
        SELECT project_id, trace_id FROM sampled_out
        WHERE forget_unix_nano >= $1 AND forget_unix_nano < $2
        ORDER BY forget_unix_nano LIMIT $3 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM sampled_out t USING old
        WHERE t.project_id = old.project_id AND t.trace_id = old.trace_id RETURNING 1)
    SELECT count(*) FROM gone";

/// The share of the largest size: one part in so many.
const SHARE: u64 = 8;

/// Whether there is room.
pub(super) enum Room {
    /// There is.
    Enough,
    /// Some was made, perhaps enough.
    Made,
    /// The store has so many bytes, and none of them are to spare here.
    TooLarge(u64),
}

/// Looks whether the store is too large, and forgets a step's worth if that is so. `remember_ns`: for how
/// long what arrives now is remembered, if that is known.
///
/// # Errors
/// As the store's.
pub(super) async fn make_room(
    transaction: &Transaction,
    retention: &RetentionConfig,
    now: i64,
    remember_ns: Option<i64>,
) -> Result<Room, Error> {
    let max_size = retention.max_size.0;
    if max_size == 0 {
        return Ok(Room::Enough);
    }
    let measure = "measure the store";
    let bytes = number(transaction, BYTES_IN_USE, measure).await?;
    let of_table = "SELECT pg_total_relation_size('sampled_out')";
    let of_table = number(transaction, of_table, measure).await?;
    let (bytes, of_table) = (bytes.unwrap_or(0), of_table.unwrap_or(0));
    let (bytes, of_table) = (bytes.cast_unsigned(), of_table.cast_unsigned());
    let share = max_size / SHARE;
    let is_too_large = bytes > max_size;
    if is_too_large || of_table > share {
        let latest = "SELECT max(forget_unix_nano) FROM sampled_out";
        let latest = number(transaction, latest, "look for spans that were sampled out").await?;
        if let Some(latest) = latest {
            for due in to_spare(latest, now, remember_ns) {
                if forget(transaction, due).await? > 0 {
                    return Ok(Room::Made);
                }
            }
        }
    }
    let counted = bytes.saturating_sub(of_table.saturating_sub(share));
    Ok(if counted > max_size {
        Room::TooLarge(bytes)
    } else {
        Room::Enough
    })
}

/// Forgets what is due in a time, a step's worth; answers how many traces' that were.
///
/// # Errors
/// As the store's.
pub(super) async fn forget(transaction: &Transaction, due: Range<i64>) -> Result<i64, Error> {
    let params: [Param<'_>; 3] = [
        (&due.start, Type::INT8),
        (&due.end, Type::INT8),
        (&ROWS_PER_STEP, Type::INT8),
    ];
    let context = "forget spans that were sampled out";
    let rows = transaction.query(FORGET, &params, context).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

async fn number(
    transaction: &Transaction,
    sql: &str,
    context: &'static str,
) -> Result<Option<i64>, Error> {
    let rows = transaction.query(sql, &[], context).await?;
    Ok(rows.first().and_then(|row| row.get(0)))
}
