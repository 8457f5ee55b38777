//! What is remembered of spans that were left out, where the store is too large: it goes before what is
//! stored, but what may well be sent again.
//!
//! A table does not get smaller when rows go: their room is used again. So these rows may not fill more of
//! the store than a share of it, and what the table takes beyond that is no reason to delete traces.

use super::super::transaction::Transaction;
use super::{BYTES_IN_USE, SAMPLED_OUT, delete};
use crate::storage::sampled::spare_before;
use crate::storage::{Error, RetentionConfig};

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
            let bound = spare_before(latest, now, remember_ns);
            if delete(transaction, SAMPLED_OUT, bound).await? > 0 {
                return Ok(Room::Made);
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

async fn number(
    transaction: &Transaction,
    sql: &str,
    context: &'static str,
) -> Result<Option<i64>, Error> {
    let rows = transaction.query(sql, &[], context).await?;
    Ok(rows.first().and_then(|row| row.get(0)))
}
