//! Making partitions, and looking which there are.

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::super::config::Config;
use super::super::transaction::{Settings, Transaction};
use super::slot::{Slot, Table};
use crate::storage::Error;

/// Held, for the length of a transaction, by who makes or drops partitions.
pub(in super::super) const LOCK: i64 = 0x7075_6c73_655f_7074;

/// Names of the partitions there are, the default one included.
///
/// # Errors
/// [`Error::Unavailable`].
pub(in super::super) async fn names(
    transaction: &Transaction,
    table: Table,
) -> Result<Vec<String>, Error> {
    let rows = transaction
        .query(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = to_regclass($1) ORDER BY 1",
            &[(&table.name(), Type::TEXT)],
            "look at partitions",
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes a partition, unless there is one for its times. Rows of its that went to the default
/// partition move into it.
///
/// Made beside the table and attached, which holds up neither who reads nor who writes the other
/// partitions; creating it in place would.
pub(super) async fn create(
    pool: &Pool,
    config: &Config,
    table: Table,
    slot: Slot,
) -> Result<(), Error> {
    let context = "make a partition";
    let settings = Settings::maintenance(config, config.statement_timeout.0);
    let transaction = Transaction::begin(pool, &settings).await?;
    transaction
        .query(
            "SELECT pg_advisory_xact_lock($1)::text",
            &[(&LOCK, Type::INT8)],
            context,
        )
        .await?;
    if slot.overlaps_any(table, &names(&transaction, table).await?) {
        return transaction.commit(context).await;
    }
    let (parent, key, name) = (table.name(), table.key(), slot.name(table));
    let (from, to) = (table.bound(slot.start), table.bound(slot.end));
    transaction
        .batch(
            &format!(
                "LOCK TABLE {parent}_default IN ACCESS EXCLUSIVE MODE;
                 CREATE TABLE {name} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                     INCLUDING STORAGE INCLUDING COMPRESSION)
                     WITH (autovacuum_analyze_scale_factor = 0.5,
                         autovacuum_vacuum_insert_scale_factor = 0.5);
                 WITH moved AS (DELETE FROM {parent}_default
                     WHERE {key} >= {from} AND {key} < {to} RETURNING *)
                     INSERT INTO {name} SELECT * FROM moved;
                 ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            ),
            context,
        )
        .await?;
    copy_statistics_targets(&transaction, table, &name).await?;
    if table != Table::ContentBlock {
        note_made(&transaction, &name, slot).await?;
    }
    transaction.commit(context).await
}

/// Which statistics are kept of a column is the one thing that LIKE does not copy.
async fn copy_statistics_targets(
    transaction: &Transaction,
    table: Table,
    name: &str,
) -> Result<(), Error> {
    let context = "make a partition";
    let rows = transaction
        .query(
            "SELECT string_agg(
                format('ALTER COLUMN %I SET STATISTICS %s', attname, attstattarget), ', ')
             FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND attstattarget >= 0",
            &[(&table.name(), Type::TEXT)],
            context,
        )
        .await?;
    let targets: Option<String> = rows.first().and_then(|row| row.get(0));
    match targets {
        Some(targets) => {
            let sql = format!("ALTER TABLE {name} {targets}");
            transaction.batch(&sql, context).await
        }
        None => Ok(()),
    }
}

/// Notes a new partition: what moved in from the default partition arrived at some time, and
/// transactions under way, which don't know of it, may add what arrived until now.
async fn note_made(transaction: &Transaction, name: &str, slot: Slot) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO span_partition
         SELECT $1, $2, $3, greatest(max(received_unix_nano) + 1,
            (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint) FROM {name}
         ON CONFLICT (name) DO UPDATE SET received_unix_nano =
             greatest(span_partition.received_unix_nano, excluded.received_unix_nano)"
    );
    transaction
        .execute(
            &sql,
            &[
                (&name, Type::TEXT),
                (&slot.start_unix_nano(), Type::INT8),
                (&slot.end_unix_nano(), Type::INT8),
            ],
            "make a partition",
        )
        .await?;
    Ok(())
}
