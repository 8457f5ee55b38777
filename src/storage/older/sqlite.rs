//! The single-file database of an older Pulse server.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::{OldKey, OldProject, OldRow, PAGE_ROWS, Table, key, not_pulse};
use crate::storage::Error;

const CONTEXT: &str = "read the database of the older server";
/// How long a server that writes at the same time is waited for, ms.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 10000; PRAGMA query_only = 1;";

/// Columns that hold JSON as text.
const JSON_COLUMNS: [&str; 6] = [
    "request_body",
    "response_body",
    "error",
    "metadata",
    "tool_input",
    "tool_response",
];
/// Columns that hold a truth as a number.
const FLAGS: [&str; 1] = ["is_interrupt"];

#[derive(Debug)]
pub(super) struct Old {
    connection: Connection,
    tables: Vec<Table>,
    at: Option<At>,
}

/// How far a table was read.
#[derive(Debug)]
struct At {
    table: Table,
    project: String,
    after: i64,
}

fn failed(source: rusqlite::Error) -> Error {
    Error::Unavailable {
        context: CONTEXT,
        source: Box::new(source),
    }
}

impl Old {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.execute_batch(BUSY_TIMEOUT).map_err(failed)?;
        let has = |name: &str| {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
            let count = connection.query_row(sql, [name], |row| row.get::<_, i64>(0));
            count.map(|count| count > 0).map_err(failed)
        };
        let mut tables = Vec::new();
        for table in Table::ALL {
            if has(table.name())? {
                tables.push(table);
            }
        }
        if tables.is_empty() || !has("projects")? {
            return Err(not_pulse());
        }
        Ok(Self {
            connection,
            tables,
            at: None,
        })
    }

    fn all<T>(
        &self,
        sql: &str,
        arguments: &[&str],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.connection.prepare(sql).map_err(failed)?;
        let arguments = rusqlite::params_from_iter(arguments);
        let rows = statement.query_map(arguments, read).map_err(failed)?;
        rows.collect::<Result<_, _>>().map_err(failed)
    }

    pub(super) fn projects(&self) -> Result<Vec<OldProject>, Error> {
        let sql = "SELECT CAST(id AS TEXT), CAST(name AS TEXT) FROM projects ORDER BY 1";
        self.all(sql, &[], |row| {
            Ok(OldProject {
                id: row.get(0)?,
                name: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
            })
        })
    }

    pub(super) fn keys(&self, project: &str) -> Result<Vec<OldKey>, Error> {
        let sql = "SELECT name, key_hash FROM api_keys WHERE project_id = ?1 ORDER BY rowid";
        let keys = self.all(sql, &[project], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(keys.into_iter().filter_map(key).collect())
    }

    pub(super) fn count(&self, table: Table, project: &str) -> Result<u64, Error> {
        if !self.tables.contains(&table) {
            return Ok(0);
        }
        let sql = match table {
            Table::Traces => "SELECT count(*) FROM traces WHERE project_id = ?1",
            Table::Spans => "SELECT count(*) FROM spans WHERE project_id = ?1",
        };
        let count = self.connection.query_row(sql, [project], |row| row.get(0));
        let count: i64 = count.map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    pub(super) fn begin(
        &mut self,
        table: Table,
        project: &str,
        after: Option<&str>,
    ) -> Result<(), Error> {
        let after = after.and_then(|after| after.parse().ok());
        self.at = self.tables.contains(&table).then(|| At {
            table,
            project: project.to_owned(),
            after: after.unwrap_or(i64::MIN),
        });
        Ok(())
    }

    pub(super) fn page(&mut self) -> Result<Vec<OldRow>, Error> {
        let Some(at) = &mut self.at else {
            return Ok(Vec::new());
        };
        // The `+` keeps the index over projects out of it: the table is read once, in its order.
        let sql = match at.table {
            Table::Traces => {
                "SELECT rowid AS position, trace_id AS id, * FROM traces
                 WHERE rowid > ?1 AND +project_id = ?2 ORDER BY rowid LIMIT ?3"
            }
            Table::Spans => {
                "SELECT rowid AS position, span_id AS id, * FROM spans
                 WHERE rowid > ?1 AND +project_id = ?2 ORDER BY rowid LIMIT ?3"
            }
        };
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let arguments = params![at.after, at.project, PAGE_ROWS];
        let mut found = statement.query(arguments).map_err(failed)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(failed)? {
            at.after = row.get(0).map_err(failed)?;
            rows.push(OldRow {
                position: at.after.to_string(),
                id: shown(row.get_ref(1).map_err(failed)?),
                json: json(row, &names),
            });
        }
        Ok(rows)
    }
}

/// An id, for reports.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        _ => "?".to_owned(),
    }
}

/// The JSON object of a row's columns.
fn json(row: &Row<'_>, names: &[String]) -> Result<String, String> {
    let mut object = String::from("{");
    for (index, name) in names.iter().enumerate().skip(2) {
        let value = row.get_ref(index).map_err(|error| error.to_string())?;
        let Some(value) = written(name, value)? else {
            continue;
        };
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&serde_json::Value::from(name.as_str()).to_string());
        object.push(':');
        object.push_str(&value);
    }
    object.push('}');
    Ok(object)
}

/// A column's value as JSON; `None` for one that is not set.
fn written(name: &str, value: ValueRef<'_>) -> Result<Option<String>, String> {
    let written = match value {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(number) if FLAGS.contains(&name) => (number != 0).to_string(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => serde_json::Number::from_f64(number)
            .ok_or_else(|| format!("{name}: is no finite number"))?
            .to_string(),
        ValueRef::Text(text) => {
            let text = str::from_utf8(text).map_err(|_| format!("{name}: is not UTF-8"))?;
            let is_json = JSON_COLUMNS.contains(&name)
                && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            if is_json {
                text.to_owned()
            } else {
                serde_json::Value::from(text).to_string()
            }
        }
        ValueRef::Blob(_) => return Err(format!("{name}: holds bytes")),
    };
    Ok(Some(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: ValueRef<'_>) -> Option<String> {
        written(name, value).unwrap()
    }

    #[test]
    fn columns_become_what_a_client_would_have_sent() {
        assert_eq!(of("error", ValueRef::Null), None);
        let flag = of("is_interrupt", ValueRef::Integer(1));
        assert_eq!(flag.as_deref(), Some("true"));
        let latency = of("latency_ms", ValueRef::Real(58.25));
        assert_eq!(latency.as_deref(), Some("58.25"));
        let body = of("request_body", ValueRef::Text(br#"{"z":1,"a":2}"#));
        assert_eq!(body.as_deref(), Some(r#"{"z":1,"a":2}"#));
        let text = of("tool_input", ValueRef::Text(b"not JSON"));
        assert_eq!(text.as_deref(), Some(r#""not JSON""#));
        // Only columns of JSON are taken as JSON.
        let model = of("model", ValueRef::Text(b"4"));
        assert_eq!(model.as_deref(), Some(r#""4""#));
        for wrong in [
            ValueRef::Real(f64::INFINITY),
            ValueRef::Text(b"\xff"),
            ValueRef::Blob(b"x"),
        ] {
            assert!(written("model", wrong).is_err(), "{wrong:?}");
        }
    }
}
