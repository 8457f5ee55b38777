//! The Postgres database of an older Pulse server.
//!
//! A table is read through a cursor in one transaction: one pass over one state of the table,
//! whatever the types and indexes of its columns. Rows are taken from the connection one by one,
//! which waits with those that nobody took yet.

use std::pin::Pin;

use deadpool_postgres::Client;
use futures_util::TryStreamExt as _;
use tokio_postgres::{Row, RowStream};

use super::{
    OldKey, OldProject, OldRow, PAGE_BYTES, PAGE_ROWS, ROW_BYTES_MAX, TOO_LONG, Table, key,
    not_pulse,
};
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
    /// What the cursor was asked for and did not answer in full yet.
    fetched: Option<Pin<Box<RowStream>>>,
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
            fetched: None,
        })
    }

    pub(super) async fn projects(&self) -> Result<Vec<OldProject>, Error> {
        let sql = "SELECT id::text, name::text FROM projects WHERE id IS NOT NULL ORDER BY 1";
        let found = self.client.query(sql, &[]).await.map_err(failed)?;
        let project = |row: &Row| {
            Ok(OldProject {
                id: text(row, 0)?.unwrap_or_default(),
                name: text(row, 1)?.unwrap_or_default(),
            })
        };
        found.iter().map(project).collect()
    }

    pub(super) async fn keys(&self, project: &str) -> Result<Vec<OldKey>, Error> {
        let sql = "SELECT name::text, key_hash::text FROM api_keys
                   WHERE project_id::text = $1 ORDER BY created_at, id";
        let found = self.client.query(sql, &[&project]).await.map_err(failed)?;
        let keys = found.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?)));
        keys.filter_map(|pair| pair.map(key).transpose()).collect()
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
        self.fetched = None;
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
        let rows = match table {
            Table::Traces => {
                "SELECT trace_id::text AS id, row_to_json(traces)::text AS json FROM traces
                 WHERE project_id::text = $1 AND trace_id::text COLLATE \"C\" > $2"
            }
            Table::Spans => {
                "SELECT span_id::text AS id, row_to_json(spans)::text AS json FROM spans
                 WHERE project_id::text = $1 AND span_id::text COLLATE \"C\" > $2"
            }
        };
        // Without OFFSET the text would be made anew for each mention of it.
        let sql = format!(
            "DECLARE old_rows NO SCROLL CURSOR FOR
             SELECT id, CASE WHEN octet_length(json) <= {ROW_BYTES_MAX} THEN json END
             FROM ({rows} OFFSET 0) AS found ORDER BY id COLLATE \"C\""
        );
        let after = after.unwrap_or_default();
        let declared = self.client.execute(&sql, &[&project, &after]).await;
        declared.map_err(failed)?;
        self.is_reading = true;
        Ok(())
    }

    pub(super) async fn page(&mut self) -> Result<Vec<OldRow>, Error> {
        if !self.is_reading {
            return Ok(Vec::new());
        }
        // What is left of the fetch before may be nothing.
        let rest = read(&mut self.fetched).await?;
        if !rest.is_empty() {
            return Ok(rest);
        }
        let sql = format!("FETCH FORWARD {PAGE_ROWS} FROM old_rows");
        let fetching = self.client.query_raw(&sql, std::iter::empty::<String>());
        self.fetched = Some(Box::pin(fetching.await.map_err(failed)?));
        read(&mut self.fetched).await
    }
}

/// Reads on in what was fetched, for a page. What is read to its end is gone afterwards.
async fn read(fetched: &mut Option<Pin<Box<RowStream>>>) -> Result<Vec<OldRow>, Error> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(stream) = fetched {
        let Some(row) = stream.try_next().await.map_err(failed)? else {
            *fetched = None;
            break;
        };
        let row = old_row(&row)?;
        bytes += row.json.as_ref().map_or(0, |json| json.len() as u64);
        rows.push(row);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(rows)
}

fn old_row(row: &Row) -> Result<OldRow, Error> {
    let id = text(row, 0)?.unwrap_or_default();
    Ok(OldRow {
        position: id.clone(),
        id,
        json: text(row, 1)?.ok_or_else(|| TOO_LONG.to_owned()),
    })
}

/// A column of text, which may be NULL in any table that is not ours.
fn text(row: &Row, column: usize) -> Result<Option<String>, Error> {
    row.try_get(column).map_err(failed)
}
