//! The Postgres database of an older Pulse server.
//!
//! A table is read through a cursor in one transaction: one pass over one state of the table,
//! whatever the types and indexes of its columns.

use deadpool_postgres::Client;
use tokio_postgres::Row;

use super::{OldKey, OldProject, OldRow, PAGE_ROWS, Table, key, not_pulse};
use crate::storage::Error;
use crate::storage::postgres::{Config, read_only};

/// One state of the database; no time limit of the server cuts a pause short.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL TimeZone = 'UTC'";

pub(super) struct Old {
    client: Client,
    tables: Vec<Table>,
    is_reading: bool,
}

impl std::fmt::Debug for Old {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Old").finish_non_exhaustive()
    }
}

fn failed(source: tokio_postgres::Error) -> Error {
    Error::Unavailable {
        context: "read the database of the older server",
        source: Box::new(source),
    }
}

impl Old {
    pub(super) async fn connect(config: &Config) -> Result<Self, Error> {
        let client = read_only(config).await?;
        let sql = "SELECT to_regclass('projects') IS NOT NULL,
                          to_regclass('traces') IS NOT NULL, to_regclass('spans') IS NOT NULL";
        let found = client.query_one(sql, &[]).await.map_err(failed)?;
        let mut tables = Vec::new();
        for (table, is_there) in Table::ALL.into_iter().zip([found.get(1), found.get(2)]) {
            if is_there {
                tables.push(table);
            }
        }
        if tables.is_empty() || !found.get::<_, bool>(0) {
            return Err(not_pulse());
        }
        Ok(Self {
            client,
            tables,
            is_reading: false,
        })
    }

    pub(super) async fn projects(&self) -> Result<Vec<OldProject>, Error> {
        let sql = "SELECT id::text, coalesce(name::text, '') FROM projects ORDER BY 1";
        let found = self.client.query(sql, &[]).await.map_err(failed)?;
        let project = |row: Row| OldProject {
            id: row.get(0),
            name: row.get(1),
        };
        Ok(found.into_iter().map(project).collect())
    }

    pub(super) async fn keys(&self, project: &str) -> Result<Vec<OldKey>, Error> {
        let sql = "SELECT name::text, key_hash::text FROM api_keys
                   WHERE project_id::text = $1 ORDER BY created_at, id";
        let found = self.client.query(sql, &[&project]).await.map_err(failed)?;
        let keys = found.into_iter();
        Ok(keys
            .filter_map(|row| key((row.get(0), row.get(1))))
            .collect())
    }

    pub(super) async fn count(&self, table: Table, project: &str) -> Result<u64, Error> {
        if !self.tables.contains(&table) {
            return Ok(0);
        }
        let sql = match table {
            Table::Traces => "SELECT count(*) FROM traces WHERE project_id::text = $1",
            Table::Spans => "SELECT count(*) FROM spans WHERE project_id::text = $1",
        };
        let found = self.client.query_one(sql, &[&project]).await;
        let count: i64 = found.map_err(failed)?.get(0);
        Ok(u64::try_from(count).unwrap_or_default())
    }

    pub(super) async fn begin(
        &mut self,
        table: Table,
        project: &str,
        after: Option<&str>,
    ) -> Result<(), Error> {
        if self.is_reading {
            self.client
                .batch_execute("ROLLBACK")
                .await
                .map_err(failed)?;
            self.is_reading = false;
        }
        if !self.tables.contains(&table) {
            return Ok(());
        }
        self.client.batch_execute(BEGIN).await.map_err(failed)?;
        let sql = match table {
            Table::Traces => {
                "DECLARE old_rows NO SCROLL CURSOR FOR
                 SELECT trace_id::text, row_to_json(traces)::text FROM traces
                 WHERE project_id::text = $1 AND trace_id::text COLLATE \"C\" > $2
                 ORDER BY trace_id::text COLLATE \"C\""
            }
            Table::Spans => {
                "DECLARE old_rows NO SCROLL CURSOR FOR
                 SELECT span_id::text, row_to_json(spans)::text FROM spans
                 WHERE project_id::text = $1 AND span_id::text COLLATE \"C\" > $2
                 ORDER BY span_id::text COLLATE \"C\""
            }
        };
        let after = after.unwrap_or_default();
        let declared = self.client.execute(sql, &[&project, &after]).await;
        declared.map_err(failed)?;
        self.is_reading = true;
        Ok(())
    }

    pub(super) async fn page(&mut self) -> Result<Vec<OldRow>, Error> {
        if !self.is_reading {
            return Ok(Vec::new());
        }
        let sql = format!("FETCH FORWARD {PAGE_ROWS} FROM old_rows");
        let found = self.client.query(&sql, &[]).await.map_err(failed)?;
        let row = |row: Row| OldRow {
            position: row.get(0),
            id: row.get(0),
            json: Ok(row.get(1)),
        };
        Ok(found.into_iter().map(row).collect())
    }
}
