//! Databases as older Pulse servers left them.

use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::postgres::Database;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// Columns of `traces`, with their types in both engines.
const TRACES: [(&str, &str, &str); 19] = [
    ("trace_id", "text PRIMARY KEY", "uuid PRIMARY KEY"),
    ("project_id", "text NOT NULL", "text NOT NULL"),
    ("session_id", "text", "uuid"),
    ("timestamp", "text NOT NULL", "timestamptz NOT NULL"),
    ("latency_ms", "real NOT NULL", "integer NOT NULL"),
    ("provider", "text NOT NULL", "text NOT NULL"),
    ("model_requested", "text NOT NULL", "text NOT NULL"),
    ("model_used", "text", "text"),
    ("provider_request_id", "text", "text"),
    ("request_body", "text NOT NULL", "jsonb NOT NULL"),
    ("response_body", "text", "jsonb"),
    ("input_tokens", "integer", "integer"),
    ("output_tokens", "integer", "integer"),
    ("output_text", "text", "text"),
    ("finish_reason", "text", "text"),
    ("status", "text NOT NULL", "text NOT NULL"),
    ("error", "text", "jsonb"),
    ("cost_cents", "real", "numeric(12,6)"),
    ("metadata", "text", "jsonb"),
];

/// Columns of `spans`, likewise.
const SPANS: [(&str, &str, &str); 29] = [
    ("span_id", "text NOT NULL", "text NOT NULL"),
    ("trace_id", "text", "text"),
    ("project_id", "text NOT NULL", "text NOT NULL"),
    ("session_id", "text NOT NULL", "text NOT NULL"),
    ("parent_span_id", "text", "text"),
    ("timestamp", "text NOT NULL", "timestamptz NOT NULL"),
    ("duration_ms", "real", "integer"),
    ("source", "text NOT NULL", "text NOT NULL"),
    ("service", "text", "text"),
    ("kind", "text NOT NULL", "text NOT NULL"),
    ("event_type", "text NOT NULL", "text NOT NULL"),
    ("status", "text NOT NULL", "text NOT NULL"),
    ("tool_use_id", "text", "text"),
    ("tool_name", "text", "text"),
    ("tool_input", "text", "jsonb"),
    ("tool_response", "text", "jsonb"),
    ("error", "text", "jsonb"),
    ("is_interrupt", "integer", "boolean"),
    ("cwd", "text", "text"),
    ("model", "text", "text"),
    ("agent_name", "text", "text"),
    ("provider", "text", "text"),
    ("model_used", "text", "text"),
    ("input_tokens", "integer", "integer"),
    ("output_tokens", "integer", "integer"),
    ("cost_cents", "real", "numeric(12,6)"),
    ("finish_reason", "text", "text"),
    ("output_text", "text", "text"),
    ("metadata", "text", "jsonb"),
];

const JSON: [&str; 6] = [
    "request_body",
    "response_body",
    "error",
    "metadata",
    "tool_input",
    "tool_response",
];

/// A database of an older server.
pub(super) struct OldPulse {
    engine: Engine,
    source: String,
    database: Option<Database>,
    _directory: TempDir,
}

impl OldPulse {
    pub(super) fn new(engine: Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = (engine == Engine::Postgres).then(Database::create);
        let source = database.as_ref().map_or_else(
            || directory.path().join("pulse.db").display().to_string(),
            |database| database.url().to_owned(),
        );
        let old = Self {
            engine,
            source,
            database,
            _directory: directory,
        };
        let columns = |table: &[(&str, &str, &str)]| {
            let columns = table.iter().map(|(name, sqlite, postgres)| match engine {
                Engine::Sqlite => format!("{name} {sqlite}"),
                Engine::Postgres => format!("{name} {postgres}"),
            });
            columns.collect::<Vec<_>>().join(", ")
        };
        let time = match engine {
            Engine::Sqlite => "text NOT NULL DEFAULT CURRENT_TIMESTAMP",
            Engine::Postgres => "timestamptz NOT NULL DEFAULT now()",
        };
        old.execute(&format!(
            "CREATE TABLE projects (id text PRIMARY KEY, name text NOT NULL, created_at {time});
             CREATE TABLE api_keys (id text PRIMARY KEY, project_id text NOT NULL,
                 key_hash text NOT NULL, encrypted_key text, name text, created_at {time});
             CREATE TABLE traces ({});
             CREATE TABLE spans ({}, provider_request_id text, PRIMARY KEY (project_id, span_id));
             CREATE INDEX ON_TIME ON spans (project_id, timestamp);",
            columns(&TRACES),
            columns(&SPANS)
        ));
        old
    }

    /// What `--from` calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "pulse-sqlite",
            Engine::Postgres => "pulse-postgres",
        }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    fn execute(&self, sql: &str) {
        match &self.database {
            Some(database) => database.execute(sql),
            None => {
                let connection = Connection::open(&self.source).unwrap();
                connection
                    .execute_batch(&format!("PRAGMA journal_mode = WAL; BEGIN; {sql}; COMMIT"))
                    .unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    pub(super) fn add_project(&self, id: &str, name: &str) {
        self.execute(&format!(
            "INSERT INTO projects (id, name) VALUES ('{id}', '{name}')"
        ));
    }

    pub(super) fn add_key(&self, id: &str, project: &str, name: &str, key: &str) {
        let digest = Sha256::digest(key);
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.execute(&format!(
            "INSERT INTO api_keys (id, project_id, key_hash, name)
             VALUES ('{id}', '{project}', '{hash}', '{name}')"
        ));
    }

    pub(super) fn add(&self, table: &str, project: &str, item: &Value) {
        self.add_many(table, project, [item.clone()]);
    }

    /// Adds what clients posted, as the old server stored it.
    pub(super) fn add_many(
        &self,
        table: &str,
        project: &str,
        items: impl IntoIterator<Item = Value>,
    ) {
        let statements = items.into_iter().map(|item| {
            let fields = item.as_object().unwrap();
            let names: Vec<&str> = fields.keys().map(String::as_str).collect();
            let values: Vec<String> = fields
                .iter()
                .map(|(name, value)| self.value(name, value))
                .collect();
            format!(
                "INSERT INTO {table} (project_id, {}) VALUES ('{project}', {})",
                names.join(", "),
                values.join(", ")
            )
        });
        self.execute(&statements.collect::<Vec<_>>().join(";\n"));
    }

    fn value(&self, name: &str, value: &Value) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match value {
            _ if JSON.contains(&name) => quoted(&value.to_string()),
            Value::String(text) => quoted(text),
            Value::Bool(flag) if self.engine == Engine::Sqlite => u8::from(*flag).to_string(),
            value => value.to_string(),
        }
    }
}
