//! One question: a read-only transaction on a connection of the pool.
//!
//! Nothing of a session is relied on beyond its transaction, so that a pooler in transaction mode
//! may stand in between.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use deadpool_postgres::{Client, Pool};
use futures_util::FutureExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::corrupt;
use crate::storage::Error;
use crate::storage::postgres::config::Config;
use crate::storage::postgres::connect::{self, Purpose};
use crate::storage::postgres::error::read_error;

/// Questions that may wait for each connection.
const WAITING_PER_CONNECTION: usize = 32;

const CURSOR_KEY: &str = "SELECT value FROM setting WHERE name = 'cursor_key'";

/// A parameter and its type, given with every statement so that no round trip asks for it.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// Where questions are asked.
#[derive(Debug)]
pub(super) struct Sessions {
    pool: Pool,
    begin: String,
    prepared: bool,
    query_timeout: Duration,
    waiting_max: usize,
    /// Read once: it does not change for the life of the store.
    cursor_key: OnceLock<[u8; 32]>,
}

#[derive(Debug, thiserror::Error)]
#[error("too many queries are waiting")]
struct Busy;

impl Sessions {
    /// Connects to nothing yet.
    pub(super) fn new(config: &Config, query_timeout: Duration) -> Result<Self, Error> {
        let size = usize::try_from(config.max_connections).unwrap_or(usize::MAX);
        Ok(Self {
            pool: connect::pool(config, Purpose::Read, size)?,
            begin: begin(query_timeout),
            prepared: config.prepared_statements,
            query_timeout,
            waiting_max: size.saturating_mul(WAITING_PER_CONNECTION),
            cursor_key: OnceLock::new(),
        })
    }

    /// Longest time a question may take, waiting included.
    pub(super) const fn query_timeout(&self) -> Duration {
        self.query_timeout
    }

    /// The key that signs cursors; of no use before it is known.
    pub(super) fn cursor_key(&self) -> [u8; 32] {
        self.cursor_key.get().copied().unwrap_or_default()
    }

    /// Whether the key is known.
    pub(super) fn knows_cursor_key(&self) -> bool {
        self.cursor_key.get().is_some()
    }

    /// Begins a question.
    pub(super) async fn begin(&self) -> Result<Session, Error> {
        self.begin_after(None).await
    }

    /// Begins a question after the answer to another one, which has no parameters and a text that
    /// never changes: it sees what was before the snapshot. See [`Session::before`].
    pub(super) async fn begin_after(&self, before: Option<&'static str>) -> Result<Session, Error> {
        let scan_deadline = Instant::now() + self.query_timeout / 2;
        if self.pool.status().waiting >= self.waiting_max {
            return Err(Error::Unavailable {
                context: "queue a query",
                source: Box::new(Busy),
            });
        }
        let mut session = Session {
            client: Some(connect::acquire(&self.pool).await?),
            prepared: self.prepared,
            scan_deadline,
            before: Vec::new(),
            #[cfg(test)]
            plans: None,
        };
        if let Some(before) = before {
            session.before = session.query(before, &[], "begin a query").await?;
        }
        session
            .client()?
            .batch_execute(&self.begin)
            .await
            .map_err(read_error("begin a query"))?;
        if !self.knows_cursor_key() {
            let key = session
                .query(CURSOR_KEY, &[], "read the cursor key")
                .await?;
            let key: Vec<u8> = match key.first() {
                Some(row) => row.try_get(0).map_err(|_| corrupt("the cursor key"))?,
                None => return Err(corrupt("the cursor key is missing")),
            };
            let key = key.try_into();
            let key = key.map_err(|_| corrupt("the cursor key does not have 32 bytes"))?;
            self.cursor_key.get_or_init(|| key);
        }
        Ok(session)
    }
}

/// How a question begins. One snapshot for all its statements. The plans that are ruled out are
/// never right for walking an index a piece at a time, but may look right to a plan that knows
/// little of a new partition; each statement is planned for its values, because they say which
/// partitions it touches. The server looks now and then whether we are still there.
fn begin(query_timeout: Duration) -> String {
    let timeout_ms = query_timeout.as_millis().max(1);
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SET LOCAL statement_timeout = {timeout_ms}; \
         SET LOCAL idle_in_transaction_session_timeout = {timeout_ms}; \
         SET LOCAL client_connection_check_interval = 200; \
         SET LOCAL plan_cache_mode = force_custom_plan; \
         SET LOCAL enable_seqscan = off; \
         SET LOCAL enable_bitmapscan = off; \
         SET LOCAL enable_hashjoin = off; \
         SET LOCAL enable_mergejoin = off; \
         SET LOCAL max_parallel_workers_per_gather = 0; \
         SET LOCAL jit = off"
    )
}

/// An open question. Dropped before its end, its connection is closed, which also ends what the
/// server is doing for it.
pub(super) struct Session {
    client: Option<Client>,
    prepared: bool,
    /// From here on a list answers what it has found.
    pub(super) scan_deadline: Instant,
    /// What was asked before the snapshot was taken.
    pub(super) before: Vec<Row>,
    /// How the server ran each query, where a test wants to know.
    #[cfg(test)]
    plans: Option<std::sync::Mutex<Vec<serde_json::Value>>>,
}

impl Session {
    /// Runs a query whose text never changes.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        context: &'static str,
    ) -> Result<Vec<Row>, Error> {
        let client = self.client()?;
        #[cfg(test)]
        self.note_plan(client, sql, params).await;
        let rows = if self.prepared {
            let types: Vec<_> = params.iter().map(|(_, kind)| kind.clone()).collect();
            let statement = client.prepare_typed_cached(sql, &types).await;
            let statement = statement.map_err(read_error(context))?;
            let values: Vec<_> = params.iter().map(|(value, _)| *value).collect();
            client.query(&statement, &values).await
        } else {
            client.query_typed(sql, params).await
        };
        rows.map_err(read_error(context))
    }

    /// Runs a query that walks an index, though its order is not the index's to the last column:
    /// rows that are equal by the index are to be sorted among themselves, never all rows that are
    /// left, which looks cheaper to a plan that takes a new partition for empty.
    pub(super) async fn walk(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
        context: &'static str,
    ) -> Result<Vec<Row>, Error> {
        let client = self.client()?;
        let off = client.batch_execute("SET LOCAL enable_sort = off");
        let rows = self.query(sql, params, context);
        let on = client.batch_execute("SET LOCAL enable_sort = on");
        // Sent one after the other, without waiting in between.
        off.await.map_err(read_error(context))?;
        let rows = rows.await?;
        on.await.map_err(read_error(context))?;
        Ok(rows)
    }

    /// Ends the transaction and gives the connection back, without waiting for the server: whoever
    /// has the connection next does.
    pub(super) fn end(mut self) {
        let Some(client) = self.client.take() else {
            return;
        };
        match client.batch_execute("COMMIT").now_or_never() {
            // Not even sent.
            Some(Err(_)) => drop(Client::take(client)),
            Some(Ok(())) | None => drop(client),
        }
    }

    fn client(&self) -> Result<&Client, Error> {
        self.client
            .as_ref()
            .ok_or_else(|| corrupt("a query that has ended is asked again"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
    }
}

#[cfg(test)]
impl Sessions {
    /// Connections that are open, and how many of them are idle.
    pub(super) fn connections(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }
}

#[cfg(test)]
impl Session {
    /// From now on notes how the server runs each query.
    pub(super) fn note_plans(&mut self) {
        self.plans = Some(std::sync::Mutex::default());
    }

    /// The plans noted, with what they really did.
    pub(super) fn take_plans(&self) -> Vec<serde_json::Value> {
        let plans = self.plans.as_ref().unwrap();
        std::mem::take(&mut *plans.lock().unwrap())
    }

    async fn note_plan(&self, client: &Client, sql: &str, params: &[Param<'_>]) {
        let Some(plans) = &self.plans else { return };
        let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}");
        let rows = client.query_typed(&explain, params).await.unwrap();
        let json: Raw<'_> = rows[0].get(0);
        plans
            .lock()
            .unwrap()
            .push(serde_json::from_slice(json.0).unwrap());
    }
}

/// The bytes of a value of any type.
#[cfg(test)]
struct Raw<'r>(&'r [u8]);

#[cfg(test)]
impl<'r> tokio_postgres::types::FromSql<'r> for Raw<'r> {
    fn from_sql(
        _kind: &Type,
        bytes: &'r [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(bytes))
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }
}
