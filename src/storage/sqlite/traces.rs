//! Traces: finding one, telling which spans of a group it holds already, and saving its summary.
//!
//! # How a span is recognised as stored
//!
//! Most traces arrive in one or a few parts, so there is no index entry per span. A trace that is
//! new has no stored spans. A short one is compared with the keys of its parts. Once a trace has
//! more than [`IDENTITY_SCAN_SPANS`] spans and goes on growing, its spans move to `span_identity`,
//! so that the cost of another span stays flat however long the trace gets.

use std::borrow::Cow;
use std::collections::HashSet;

use rusqlite::{CachedStatement, OptionalExtension as _, Row, Transaction, params};

use super::blocks::KEY_BYTES;
use super::error::storage_error;
use super::ids::IdIndex;
use crate::model::genai::Totals;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::Error;
use crate::storage::calls::{self, Change, Fresh, Settled, Stored};
use crate::storage::summary::{FailedSpan, Head, Summary};
use crate::storage::write::SpanRow;

/// Spans of a trace up to which the keys of its parts are read to recognise stored spans.
const IDENTITY_SCAN_SPANS: i64 = 64;

/// A trace that is stored.
pub(super) struct KnownTrace {
    key: i64,
    summary: Summary<'static>,
    calls: Stored,
    identity_indexed: bool,
}

/// A trace as it is after a batch.
pub(super) struct Saved<'a> {
    pub(super) key: i64,
    /// What changes in sums that the trace is part of.
    pub(super) changes: Vec<Change<'a>>,
}

/// The statements a batch runs per trace.
pub(super) struct TraceWriter<'t> {
    transaction: &'t Transaction<'t>,
    find: CachedStatement<'t>,
    insert: CachedStatement<'t>,
    insert_service: CachedStatement<'t>,
}

const FIND_TRACE: &str = "SELECT trace_key, received_unix_nano, start_unix_nano, end_unix_nano,
        span_count, error_count, genai_span_count, llm_call_count, input_tokens, output_tokens,
        cache_read_tokens, cost_nano_usd, head_has_parent, head_start, head_span_id,
        head_name, head_service, services, models, session_id, user_id, error_start,
        error_span_id, error_name, error_type, error_message, identity_indexed, calls
    FROM trace WHERE trace_key = ?1 AND trace_id = ?2 AND project_id = ?3";

const INSERT_TRACE: &str = "INSERT INTO trace (trace_key, project_id, trace_id,
        received_unix_nano, start_unix_nano, end_unix_nano, span_count, error_count,
        genai_span_count, head_has_parent, head_start, head_span_id, head_name, head_service,
        services, models, session_id, user_id, error_start, error_span_id, error_name, error_type,
        error_message, identity_indexed, llm_call_count, input_tokens, output_tokens,
        cache_read_tokens, cost_nano_usd, calls)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
        ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)
    ON CONFLICT (trace_key) DO UPDATE SET
        received_unix_nano = excluded.received_unix_nano,
        start_unix_nano = excluded.start_unix_nano, end_unix_nano = excluded.end_unix_nano,
        span_count = excluded.span_count, error_count = excluded.error_count,
        genai_span_count = excluded.genai_span_count,
        head_has_parent = excluded.head_has_parent, head_start = excluded.head_start,
        head_span_id = excluded.head_span_id, head_name = excluded.head_name,
        head_service = excluded.head_service, services = excluded.services,
        models = excluded.models, session_id = excluded.session_id, user_id = excluded.user_id,
        error_start = excluded.error_start, error_span_id = excluded.error_span_id,
        error_name = excluded.error_name, error_type = excluded.error_type,
        error_message = excluded.error_message, identity_indexed = excluded.identity_indexed,
        llm_call_count = excluded.llm_call_count, input_tokens = excluded.input_tokens,
        output_tokens = excluded.output_tokens,
        cache_read_tokens = excluded.cache_read_tokens, cost_nano_usd = excluded.cost_nano_usd,
        calls = coalesce(excluded.calls, calls)";

impl<'t> TraceWriter<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>) -> Result<Self, Error> {
        let prepare = |sql| {
            transaction
                .prepare_cached(sql)
                .map_err(storage_error("prepare trace writes"))
        };
        Ok(Self {
            transaction,
            find: prepare(FIND_TRACE)?,
            insert: prepare(INSERT_TRACE)?,
            insert_service: prepare("INSERT OR IGNORE INTO trace_service VALUES (?1, ?2, ?3, ?4)")?,
        })
    }

    pub(super) fn find(
        &mut self,
        ids: &mut IdIndex,
        project: ProjectId,
        trace_id: TraceId,
    ) -> Result<Option<Box<KnownTrace>>, Error> {
        let find = &mut self.find;
        ids.find(self.transaction, project, &trace_id.0, |key| {
            let found = find.query_row((key, trace_id.0, project.0), |row| {
                read_known(row).map(Box::new)
            });
            found.optional().map_err(storage_error("look a trace up"))
        })
    }

    /// Does the look-up's housekeeping that is due after a batch.
    pub(super) fn maintain(&self, ids: &mut IdIndex) -> Result<(), Error> {
        let oldest: Option<i64> = self
            .transaction
            .query_row("SELECT min(trace_key) FROM trace", [], |row| row.get(0))
            .map_err(storage_error("find the oldest trace"))?;
        ids.maintain(self.transaction, oldest.unwrap_or(i64::MAX))
    }

    /// The spans of a group that the trace does not hold yet.
    pub(super) fn without_stored<'b>(
        &mut self,
        known: &mut KnownTrace,
        group: &[&'b SpanRow<'b>],
    ) -> Result<Vec<&'b SpanRow<'b>>, Error> {
        if known.identity_indexed {
            return self.index_new(known.key, group);
        }
        let stored = self.stored_span_ids(known.key)?;
        let fresh: Vec<_> = group
            .iter()
            .copied()
            .filter(|span| !stored.contains(&span.span_id))
            .collect();
        let growing = known.summary.span_count > IDENTITY_SCAN_SPANS && !fresh.is_empty();
        if growing && let Some(first) = fresh.first() {
            self.index_all(first.project, known.key, stored.iter().copied())?;
            let new = fresh.iter().map(|span| span.span_id);
            self.index_all(first.project, known.key, new)?;
            known.identity_indexed = true;
        }
        Ok(fresh)
    }

    fn index_new<'b>(
        &self,
        trace_key: i64,
        group: &[&'b SpanRow<'b>],
    ) -> Result<Vec<&'b SpanRow<'b>>, Error> {
        let failed = storage_error("index spans of a long trace");
        let mut insert = self
            .transaction
            .prepare_cached("INSERT OR IGNORE INTO span_identity VALUES (?1, ?2, ?3)")
            .map_err(&failed)?;
        let mut fresh = Vec::with_capacity(group.len());
        for span in group {
            let row = (span.project.0, trace_key, span.span_id.0);
            if insert.execute(row).map_err(&failed)? == 1 {
                fresh.push(*span);
            }
        }
        Ok(fresh)
    }

    fn index_all(
        &self,
        project: ProjectId,
        trace_key: i64,
        span_ids: impl Iterator<Item = SpanId>,
    ) -> Result<(), Error> {
        let failed = storage_error("index spans of a long trace");
        let mut insert = self
            .transaction
            .prepare_cached("INSERT OR IGNORE INTO span_identity VALUES (?1, ?2, ?3)")
            .map_err(&failed)?;
        for span_id in span_ids {
            insert
                .execute((project.0, trace_key, span_id.0))
                .map_err(&failed)?;
        }
        Ok(())
    }

    fn stored_span_ids(&self, trace_key: i64) -> Result<HashSet<SpanId>, Error> {
        let failed = storage_error("read the keys of a trace");
        let mut select = self
            .transaction
            .prepare_cached("SELECT keys FROM trace_part WHERE trace_key = ?1")
            .map_err(&failed)?;
        let mut rows = select.query([trace_key]).map_err(&failed)?;
        let mut stored = HashSet::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            let keys = row
                .get_ref(0)
                .map_err(&failed)?
                .as_blob()
                .map_err(|_| Error::Corrupt {
                    context: "the keys of a trace part".to_owned(),
                })?;
            stored.extend(keys.chunks_exact(KEY_BYTES).filter_map(span_id_of_key));
        }
        Ok(stored)
    }

    /// Saves the summary of new spans, merged with what is stored. A new trace takes over what was
    /// counted of it without being stored.
    pub(super) fn save<'a>(
        &mut self,
        ids: &mut IdIndex,
        known: Option<Box<KnownTrace>>,
        (project, trace_id): (ProjectId, TraceId),
        added: Summary<'_>,
        calls: &Fresh<'a>,
        unstored: &Stored,
    ) -> Result<Saved<'a>, Error> {
        let Some(known) = known else {
            let settled = calls::take_over(unstored, calls);
            let row = (&added, &settled, false);
            let key = self.upsert(None, project, trace_id, row)?;
            ids.insert(self.transaction, project, &trace_id.0, key)?;
            self.add_services(project, key, added.start, &added.services)?;
            let changes = settled.changes;
            return Ok(Saved { key, changes });
        };
        let settled = calls::settle(&known.calls, calls);
        let mut merged: Summary<'_> = known.summary.clone();
        merged.merge(added);
        let row = (&merged, &settled, known.identity_indexed);
        self.upsert(Some(known.key), project, trace_id, row)?;
        let moved = merged.start != known.summary.start;
        // A service may also have been pushed out of a full list.
        let gone = known
            .summary
            .services
            .iter()
            .filter(|old| moved || !merged.services.contains(old));
        self.remove_services(project, known.key, known.summary.start, gone)?;
        self.add_services(project, known.key, merged.start, &merged.services)?;
        Ok(Saved {
            key: known.key,
            changes: settled.changes,
        })
    }

    fn upsert(
        &mut self,
        key: Option<i64>,
        project: ProjectId,
        trace_id: TraceId,
        (summary, calls, identity_indexed): (&Summary<'_>, &Settled<'_>, bool),
    ) -> Result<i64, Error> {
        let head = &summary.head;
        let error = summary.first_error.as_ref();
        let row = params![
            key,
            project.0,
            trace_id.0,
            summary.received,
            summary.start,
            summary.end,
            summary.span_count,
            summary.error_count,
            summary.genai_span_count,
            head.has_parent,
            head.start,
            head.span_id.0,
            head.name,
            head.service,
            to_json(&summary.services)?,
            to_json(&summary.models)?,
            summary.session_id,
            summary.user_id,
            error.map(|error| error.start),
            error.map(|error| error.span_id.0),
            error.map(|error| &error.name),
            error.map(|error| &error.error_type),
            error.map(|error| &error.message),
            identity_indexed,
            calls.totals.llm_calls,
            calls.totals.input_tokens,
            calls.totals.output_tokens,
            calls.totals.cache_read_tokens,
            calls.totals.cost_nano_usd,
            calls.list,
        ];
        self.insert
            .execute(row)
            .map_err(storage_error("store a trace summary"))?;
        Ok(key.unwrap_or_else(|| self.transaction.last_insert_rowid()))
    }

    fn add_services(
        &mut self,
        project: ProjectId,
        key: i64,
        start: i64,
        services: &[Cow<'_, str>],
    ) -> Result<(), Error> {
        for service in services {
            self.insert_service
                .execute((project.0, service, start, key))
                .map_err(storage_error("store the services of a trace"))?;
        }
        Ok(())
    }

    fn remove_services<'s>(
        &self,
        project: ProjectId,
        key: i64,
        start: i64,
        services: impl Iterator<Item = &'s Cow<'s, str>>,
    ) -> Result<(), Error> {
        let failed = storage_error("move the services of a trace");
        let mut delete = self
            .transaction
            .prepare_cached(
                "DELETE FROM trace_service WHERE project_id = ?1 AND service_name = ?2
                    AND start_unix_nano = ?3 AND trace_key = ?4",
            )
            .map_err(&failed)?;
        for service in services {
            delete
                .execute((project.0, service, start, key))
                .map_err(&failed)?;
        }
        Ok(())
    }
}

/// The span id in one entry of a part's keys.
fn span_id_of_key(key: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(key.first_chunk::<8>()?)
}

fn to_json(texts: &[Cow<'_, str>]) -> Result<String, Error> {
    serde_json::to_string(texts).map_err(|source| Error::Corrupt {
        context: format!("a list of names: {source}"),
    })
}

fn from_json(row: &Row<'_>, column: &str) -> rusqlite::Result<Vec<Cow<'static, str>>> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|source| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(source))
    })
}

fn read_known(row: &Row<'_>) -> rusqlite::Result<KnownTrace> {
    let text = |column: &str| row.get::<_, String>(column).map(Cow::Owned);
    let optional = |column: &str| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(Cow::Owned))
    };
    let first_error = match row.get::<_, Option<i64>>("error_start")? {
        Some(start) => Some(FailedSpan {
            start,
            span_id: SpanId(row.get("error_span_id")?),
            name: text("error_name")?,
            error_type: optional("error_type")?,
            message: text("error_message")?,
        }),
        None => None,
    };
    let summary = Summary {
        received: row.get("received_unix_nano")?,
        start: row.get("start_unix_nano")?,
        end: row.get("end_unix_nano")?,
        span_count: row.get("span_count")?,
        error_count: row.get("error_count")?,
        genai_span_count: row.get("genai_span_count")?,
        head: Head {
            has_parent: row.get("head_has_parent")?,
            start: row.get("head_start")?,
            span_id: SpanId(row.get("head_span_id")?),
            name: text("head_name")?,
            service: text("head_service")?,
        },
        services: from_json(row, "services")?,
        models: from_json(row, "models")?,
        session_id: optional("session_id")?,
        user_id: optional("user_id")?,
        first_error,
    };
    Ok(KnownTrace {
        key: row.get("trace_key")?,
        summary,
        calls: Stored {
            totals: Totals {
                llm_calls: row.get("llm_call_count")?,
                input_tokens: row.get("input_tokens")?,
                output_tokens: row.get("output_tokens")?,
                cache_read_tokens: row.get("cache_read_tokens")?,
                cost_nano_usd: row.get("cost_nano_usd")?,
            },
            list: row.get::<_, Option<_>>("calls")?.unwrap_or_default(),
        },
        identity_indexed: row.get("identity_indexed")?,
    })
}
