//! One transaction of the writing side, on a connection of a pool.
//!
//! Nothing of a session is relied on beyond it, so that a pooler in transaction mode may stand in
//! between. Every wait has an end: the server's own limits, and ours a little later for a server
//! that does not answer at all. A connection whose transaction did not end well is closed, which
//! also forgets whatever was prepared on it.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{Client, Pool};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CopyInSink, Row};

use super::config::Config;
use super::connect;
use super::error::{gave_up, write_error};
use crate::storage::Error;

/// How much later than the server we give up ourselves, at most.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait for the end of a statement that the server ends after this time.
fn patience(statement_timeout: Duration) -> Duration {
    statement_timeout.saturating_add(statement_timeout.min(GRACE))
}

/// A parameter and its type, given with every statement so that no round trip asks for it.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open transaction. Dropped without a commit, its connection is closed.
pub(super) struct Transaction {
    client: Option<Client>,
    prepared: bool,
    patience: Duration,
}

/// What the transactions of one purpose have in common.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    begin: String,
    prepared: bool,
    patience: Duration,
}

impl Settings {
    /// For writing batches and what goes with it.
    ///
    /// Statements touch a few rows by key: sequential scans, hash and merge joins are never right
    /// for them, and just-in-time compilation costs more than any of them. They are planned each
    /// time, which takes a fraction of a millisecond, because a plan that was made while a table
    /// was empty may go by the wrong index and would be kept. An entry of an index is said to cost
    /// as much as a page: of a partition that was never analyzed the server knows no better than
    /// that a project has a few of its rows, and would look for a span among all of the project's.
    ///
    /// A commit is on stable storage when it returns, because the log is released on the strength
    /// of it: a role or database that switched that off is overruled.
    pub(super) fn of(config: &Config) -> Self {
        let statement_ms = config.statement_timeout.0.as_millis();
        let lock_ms = config.lock_timeout.0.as_millis();
        let begin = format!(
            "BEGIN; \
             SET LOCAL statement_timeout = {statement_ms}; \
             SET LOCAL lock_timeout = {lock_ms}; \
             SET LOCAL idle_in_transaction_session_timeout = {statement_ms}; \
             SET LOCAL enable_seqscan = off; \
             SET LOCAL enable_hashjoin = off; \
             SET LOCAL enable_mergejoin = off; \
             SET LOCAL cpu_index_tuple_cost = 1; \
             SET LOCAL plan_cache_mode = force_custom_plan; \
             SET LOCAL jit = off; \
             SELECT set_config('synchronous_commit', 'on', true) {WHEN_OFF}"
        );
        Self {
            begin,
            prepared: config.prepared_statements,
            patience: patience(config.statement_timeout.0),
        }
    }

    /// For maintenance: migrations, partitions, retention. Plans as the server likes. What is there
    /// already is no news.
    pub(super) fn maintenance(config: &Config, statement_timeout: Duration) -> Self {
        let statement_ms = statement_timeout.as_millis();
        let lock_ms = config.lock_timeout.0.as_millis();
        let begin = format!(
            "BEGIN; \
             SET LOCAL statement_timeout = {statement_ms}; \
             SET LOCAL lock_timeout = {lock_ms}; \
             SET LOCAL idle_in_transaction_session_timeout = {statement_ms}; \
             SET LOCAL client_min_messages = warning; \
             SET LOCAL jit = off"
        );
        Self {
            begin,
            prepared: false,
            patience: patience(statement_timeout),
        }
    }
}

const WHEN_OFF: &str = "WHERE current_setting('synchronous_commit') = 'off'";

impl Transaction {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn begin(pool: &Pool, settings: &Settings) -> Result<Self, Error> {
        let transaction = Self {
            client: Some(connect::acquire(pool).await?),
            prepared: settings.prepared,
            patience: settings.patience,
        };
        transaction
            .batch(&settings.begin, "begin a transaction")
            .await?;
        Ok(transaction)
    }

    /// Runs a query whose text never changes.
    ///
    /// # Errors
    /// As [`write_error`] judges.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[Param<'_>],
        context: &'static str,
    ) -> Result<Vec<Row>, Error> {
        let client = self.client()?;
        let rows = async {
            if self.prepared {
                let types: Vec<_> = params.iter().map(|(_, kind)| kind.clone()).collect();
                let statement = client.prepare_typed_cached(sql, &types).await?;
                let values: Vec<_> = params.iter().map(|(value, _)| *value).collect();
                client.query(&statement, &values).await
            } else {
                client.query_typed(sql, params).await
            }
        };
        self.within(rows, context).await
    }

    /// Runs a statement whose text never changes; answers the number of rows.
    ///
    /// # Errors
    /// As [`write_error`] judges.
    pub(super) async fn execute(
        &self,
        sql: &str,
        params: &[Param<'_>],
        context: &'static str,
    ) -> Result<u64, Error> {
        let client = self.client()?;
        let count = async {
            if self.prepared {
                let types: Vec<_> = params.iter().map(|(_, kind)| kind.clone()).collect();
                let statement = client.prepare_typed_cached(sql, &types).await?;
                let values: Vec<_> = params.iter().map(|(value, _)| *value).collect();
                client.execute(&statement, &values).await
            } else {
                client.execute_typed(sql, params).await
            }
        };
        self.within(count, context).await
    }

    /// Runs statements without parameters.
    ///
    /// # Errors
    /// As [`write_error`] judges.
    pub(super) async fn batch(&self, sql: &str, context: &'static str) -> Result<(), Error> {
        self.within(self.client()?.batch_execute(sql), context)
            .await
    }

    /// Begins a `COPY … FROM STDIN`.
    ///
    /// # Errors
    /// As [`write_error`] judges.
    pub(super) async fn copy_in(
        &self,
        sql: &str,
        context: &'static str,
    ) -> Result<CopyInSink<Bytes>, Error> {
        let client = self.client()?;
        let sink = async {
            if self.prepared {
                let statement = client.prepare_cached(sql).await?;
                client.copy_in(&statement).await
            } else {
                client.copy_in(sql).await
            }
        };
        self.within(sink, context).await
    }

    /// Waits for the server, but not for ever.
    ///
    /// # Errors
    /// What `work` fails with, as [`write_error`] judges; [`Error::Unavailable`] when it does not
    /// end.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
        context: &'static str,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(done) => done.map_err(write_error(context)),
            Err(_) => Err(gave_up(context)),
        }
    }

    /// Commits. Whether a commit that fails took place is not known.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn commit(mut self, context: &'static str) -> Result<(), Error> {
        self.batch("COMMIT", context).await?;
        // Ended well: the connection goes back to the pool.
        drop(self.client.take());
        Ok(())
    }

    fn client(&self) -> Result<&Client, Error> {
        self.client
            .as_ref()
            .ok_or_else(|| gave_up("use a transaction that has ended"))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
    }
}
