//! How far each log is stored: written in the transaction of the rows.

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use super::Ready;
use super::params::Uuid;
use crate::queue::Position;
use crate::storage::Error;
use crate::storage::summary::clamp_time;

/// The first position of a log's partition that is not stored yet; absent when nothing is known of
/// it.
///
/// # Errors
/// As the store's.
pub(super) async fn read(
    transaction: &Transaction,
    log: [u8; 16],
    partition: u32,
) -> Result<Option<Position>, Error> {
    let rows = transaction
        .query(
            "SELECT next_position FROM log_checkpoint WHERE log_id = $1 AND partition = $2",
            &[
                (&Uuid(log), Type::UUID),
                (&partition.cast_signed(), Type::INT4),
            ],
            "read the log checkpoint",
        )
        .await?;
    let position = rows.first().map(|row| row.get::<_, i64>(0));
    Ok(position.map(|position| Position(position.cast_unsigned())))
}

/// Stores where the log goes on after a batch. It never goes back.
///
/// # Errors
/// As the store's.
pub(super) async fn save(transaction: &Transaction, ready: &Ready<'_>) -> Result<(), Error> {
    if ready.next == Position(0) {
        return Ok(());
    }
    transaction
        .execute(
            "INSERT INTO log_checkpoint (log_id, partition, next_position, updated_unix_nano)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (log_id, partition) DO UPDATE SET
                next_position = greatest(log_checkpoint.next_position, excluded.next_position),
                updated_unix_nano =
                    greatest(log_checkpoint.updated_unix_nano, excluded.updated_unix_nano)",
            &[
                (&Uuid(ready.log), Type::UUID),
                (&ready.log_partition.cast_signed(), Type::INT4),
                (&clamp_time(ready.next.0), Type::INT8),
                (&ready.received, Type::INT8),
            ],
            "store the log checkpoint",
        )
        .await?;
    Ok(())
}
