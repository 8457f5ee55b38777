//! The single-file database of an older Pulse server.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::{
    OldKey, OldProject, OldRow, PAGE_BYTES, PAGE_ROWS, ROW_BYTES_MAX, TOO_LONG, Table, key,
    not_pulse,
};
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
        let sql = "SELECT CAST(id AS TEXT), CAST(name AS TEXT) FROM projects
                   WHERE id IS NOT NULL ORDER BY 1";
        self.all(sql, &[], |row| {
            Ok(OldProject {
                id: text(row.get_ref(0)?).unwrap_or_default(),
                name: text(row.get_ref(1)?).unwrap_or_default(),
            })
        })
    }

    pub(super) fn keys(&self, project: &str) -> Result<Vec<OldKey>, Error> {
        let sql = "SELECT name, key_hash FROM api_keys WHERE project_id = ?1 ORDER BY rowid";
        let pair = |row: &Row<'_>| Ok((text(row.get_ref(0)?), text(row.get_ref(1)?)));
        let keys = self.all(sql, &[project], pair)?;
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
        let (id, whole) = match at.table {
            Table::Traces => ("trace_id", "SELECT * FROM traces WHERE rowid = ?1"),
            Table::Spans => ("span_id", "SELECT * FROM spans WHERE rowid = ?1"),
        };
        // A row has the length that it was found to have: both are of one state.
        let state = self.connection.unchecked_transaction().map_err(failed)?;
        let mut whole = state.prepare_cached(whole).map_err(failed)?;
        let names: Vec<String> = whole.column_names().map(str::to_owned).collect();
        // Names of columns, which no parameter can stand for, are quoted.
        let sql = format!(
            "SELECT rowid, CASE WHEN octet_length({id}) <= 1000 THEN {id} END, {}
             FROM {} WHERE rowid > ?1 AND +project_id = ?2 ORDER BY rowid LIMIT ?3",
            length(&names),
            at.table.name()
        );
        // The `+` keeps the index over projects out of it: the table is read once, in its order.
        let mut statement = state.prepare_cached(&sql).map_err(failed)?;
        let arguments = params![at.after, at.project, PAGE_ROWS];
        let mut found = statement.query(arguments).map_err(failed)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes <= PAGE_BYTES
            && let Some(row) = found.next().map_err(failed)?
        {
            at.after = row.get(0).map_err(failed)?;
            let length: i64 = row.get(2).map_err(failed)?;
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            let json = if length > ROW_BYTES_MAX {
                Err(TOO_LONG.to_owned())
            } else {
                bytes += length;
                let read = whole.query_row([at.after], |row| Ok(json(row, &names)));
                read.map_err(failed)?
            };
            rows.push(OldRow {
                position: at.after.to_string(),
                id: shown(row.get_ref(1).map_err(failed)?),
                json,
            });
        }
        Ok(rows)
    }
}

/// The bytes of a row's columns, which SQLite knows without loading them.
fn length(names: &[String]) -> String {
    let lengths = names.iter().map(|name| {
        let name = name.replace('"', "\"\"");
        format!("coalesce(octet_length(\"{name}\"), 0)")
    });
    lengths.collect::<Vec<_>>().join(" + ")
}

/// A text, if it is one; what is no UTF-8 in it is replaced.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

/// An id, for reports.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        value => text(value).unwrap_or_else(|| "?".to_owned()),
    }
}

/// The JSON object of a row's columns.
fn json(row: &Row<'_>, names: &[String]) -> Result<String, String> {
    let mut object = String::from("{");
    for (index, name) in names.iter().enumerate() {
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

    fn opened(sql: &str) -> (tempfile::TempDir, Old) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("old.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(&format!(
            "CREATE TABLE projects (id text, name text);
             CREATE TABLE api_keys (project_id text, name text, key_hash text);
             CREATE TABLE spans (span_id text, project_id text, \"odd \"\"name\" text); {sql}"
        ))
        .unwrap();
        let old = Old::open(&path).unwrap();
        (directory, old)
    }

    #[test]
    fn long_rows_make_short_pages_and_too_long_ones_are_not_loaded() {
        let (_directory, mut old) = opened(
            "INSERT INTO spans VALUES ('a', 'p', hex(zeroblob(3000000))),
                 ('b', 'p', hex(zeroblob(3000000))), ('other', 'q', 'x'),
                 ('c', 'p', hex(zeroblob(33554432))), ('d', 'p', NULL);",
        );
        old.begin(Table::Spans, "p", None).unwrap();
        let mut pages = Vec::new();
        loop {
            let page = old.page().unwrap();
            if page.is_empty() {
                break;
            }
            let page = page.into_iter().map(|row| (row.id, row.json));
            pages.push(page.collect::<Vec<_>>());
        }
        let ids: Vec<Vec<&str>> = pages
            .iter()
            .map(|page| page.iter().map(|(id, _)| id.as_str()).collect())
            .collect();
        assert_eq!(ids, [["a", "b"], ["c", "d"]]);
        assert!(pages[0][0].1.as_ref().unwrap().len() > 6_000_000);
        assert_eq!(pages[1][0].1, Err(TOO_LONG.to_owned()));
        let expected = r#"{"span_id":"d","project_id":"p"}"#;
        assert_eq!(pages[1][1].1.as_deref(), Ok(expected));
    }

    #[test]
    fn what_is_null_costs_nothing_else() {
        let hash = "00".repeat(32);
        let (_directory, old) = opened(&format!(
            "INSERT INTO projects VALUES (NULL, 'lost'), ('p', NULL);
             INSERT INTO api_keys VALUES ('p', 'none', NULL), ('p', 'bytes', x'00'),
                 ('p', NULL, '{hash}'), ('p', 'good', '{hash}');"
        ));
        let projects = old.projects().unwrap();
        let ids: Vec<&str> = projects.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["p"]);
        let keys = old.keys("p").unwrap();
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["", "good"]);
    }

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
