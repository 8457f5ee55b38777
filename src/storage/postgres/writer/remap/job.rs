//! The state of the job, in a row of `setting`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::super::super::transaction::Transaction;
use super::super::PostgresWriter;
use crate::storage::Error;
use crate::storage::remap::{Job, Jobs, Range, SETTING};

const READ: &str = "read the state of mapping anew";

/// Locks the state of the job until the end of the transaction, and reads it.
pub(super) async fn lock(transaction: &Transaction) -> Result<Option<Job>, Error> {
    const LOCK: &str = "SELECT value FROM setting WHERE name = $1 FOR UPDATE";
    read(transaction, LOCK).await
}

async fn read(transaction: &Transaction, sql: &str) -> Result<Option<Job>, Error> {
    let rows = transaction
        .query(sql, &[(&SETTING, Type::TEXT)], READ)
        .await?;
    let state = rows.first().map(|row| Job::decode(row.get(0)));
    state.transpose()
}

/// Stores the state.
pub(super) async fn save(transaction: &Transaction, job: &Job) -> Result<(), Error> {
    let state = job.encode();
    transaction
        .execute(
            "INSERT INTO setting (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            &[(&SETTING, Type::TEXT), (&state, Type::BYTEA)],
            "store the state of mapping anew",
        )
        .await?;
    Ok(())
}

impl PostgresWriter {
    async fn remap_state(&self) -> Result<Option<Job>, Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let state = read(&transaction, "SELECT value FROM setting WHERE name = $1").await?;
        transaction.commit(READ).await?;
        Ok(state)
    }

    async fn begin_remap(&self, range: Range) -> Result<Job, Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        let mut job = Job::new(range, 0);
        let (start, end) = job.bounds();
        let counted = transaction
            .query(
                "SELECT count(*) FROM trace
                 WHERE project_id IN (SELECT project_id FROM project)
                    AND start_unix_nano >= $1 AND start_unix_nano < $2",
                &[(&start, Type::INT8), (&end, Type::INT8)],
                "begin to map anew",
            )
            .await?;
        let expected = counted.first().map_or(0, |row| row.get::<_, i64>(0));
        job.traces_expected = expected.cast_unsigned();
        save(&transaction, &job).await?;
        transaction.commit("begin to map anew").await?;
        Ok(job)
    }

    async fn cancel_remap(&self) -> Result<(), Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        transaction
            .execute(
                "DELETE FROM setting WHERE name = $1",
                &[(&SETTING, Type::TEXT)],
                "drop the state of mapping anew",
            )
            .await?;
        transaction.commit("drop the state of mapping anew").await
    }
}

impl Jobs for PostgresWriter {
    fn state(&mut self) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        self.remap_state().boxed()
    }

    fn begin(&mut self, range: Range) -> BoxFuture<'_, Result<Job, Error>> {
        self.begin_remap(range).boxed()
    }

    fn cancel(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.cancel_remap().boxed()
    }
}
