//! Taking the columns of stored spans anew. Runs on the writer's thread, between batches.

mod load;
mod sums;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::error::storage_error;
use super::ids::IdIndex;
use crate::storage::Error;
use crate::storage::calls;
use crate::storage::remap::{
    Exchange, Job, Jobs, Mapper, Range, SETTING, State, add_up, is_same, resource_of, row_of,
    stays, unstored,
};
use crate::storage::write::{ResourceRow, SpanRow};
use load::{Loaded, Trace};

/// The state of the job that was begun last.
fn read(connection: &Connection) -> Result<Option<Job>, Error> {
    let failed = storage_error("read the state of mapping anew");
    let stored: Option<Vec<u8>> = connection
        .prepare_cached("SELECT value FROM setting WHERE name = ?1")
        .and_then(|mut select| select.query_row([SETTING], |row| row.get(0)).optional())
        .map_err(&failed)?;
    stored.map(|stored| Job::decode(&stored)).transpose()
}

fn write(connection: &Connection, job: &Job) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO setting VALUES (?1, ?2)")
        .and_then(|mut insert| insert.execute(params![SETTING, job.encode()]))
        .map_err(storage_error("store the state of mapping anew"))?;
    Ok(())
}

/// A job from outside the process that writes the store, which does the work.
#[derive(Debug)]
pub struct RemoteJob {
    connection: Connection,
}

impl RemoteJob {
    /// Opens a store that is there.
    ///
    /// # Errors
    /// [`Error::Unavailable`], and what is wrong with its schema.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = storage_error("open the embedded store");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
        super::migrate::check(&connection)?;
        connection
            .execute_batch("PRAGMA synchronous = FULL; PRAGMA busy_timeout = 30000;")
            .map_err(&failed)?;
        Ok(Self { connection })
    }
}

impl Jobs for RemoteJob {
    fn state(&mut self) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        ready(read(&self.connection)).boxed()
    }

    fn begin(&mut self, range: Range) -> BoxFuture<'_, Result<Job, Error>> {
        ready(begin(&mut self.connection, range)).boxed()
    }

    fn cancel(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        ready(cancel(&self.connection)).boxed()
    }
}

fn begin(connection: &mut Connection, range: Range) -> Result<Job, Error> {
    let failed = storage_error("begin to map anew");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&failed)?;
    let mut job = Job::new(range, 0);
    let (start, end) = job.bounds();
    let expected: i64 = transaction
        .query_row(
            "SELECT count(*) FROM project CROSS JOIN trace USING (project_id)
             WHERE start_unix_nano >= ?1 AND start_unix_nano < ?2",
            [start, end],
            |row| row.get(0),
        )
        .map_err(&failed)?;
    job.traces_expected = expected.cast_unsigned();
    write(&transaction, &job)?;
    transaction.commit().map_err(&failed)?;
    Ok(job)
}

fn cancel(connection: &Connection) -> Result<(), Error> {
    connection
        .execute("DELETE FROM setting WHERE name = ?1", [SETTING])
        .map_err(storage_error("drop the state of mapping anew"))?;
    Ok(())
}

/// Does one step of the job, if there is one that is not done; answers how far it is then.
///
/// # Errors
/// [`Error::Unavailable`]; [`Error::Corrupt`] for what is damaged beyond single traces.
pub(super) fn step(
    connection: &mut Connection,
    sessions: &mut IdIndex,
    mapper: &dyn Mapper,
) -> Result<Option<Job>, Error> {
    if read(connection)?.is_none_or(|job| job.is_done) {
        return Ok(None);
    }
    let failed = storage_error("map spans anew");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&failed)?;
    // Again, now that nobody else can change it.
    let Some(mut job) = read(&transaction)?.filter(|job| !job.is_done) else {
        return Ok(None);
    };
    let loaded = load::next(&transaction, &mut job)?;
    map(&transaction, sessions, mapper, &loaded, &mut job)?;
    write(&transaction, &job)?;
    transaction.commit().map_err(&failed)?;
    Ok(Some(job))
}

/// The rows of all spans of a step, as they were and as they are.
struct Mapped<'l> {
    resources: Vec<ResourceRow<'l>>,
    old: Vec<SpanRow<'l>>,
    new: Vec<SpanRow<'l>>,
}

impl<'l> Mapped<'l> {
    fn of(loaded: &'l Loaded, mapper: &dyn Mapper) -> Self {
        let spans = loaded.traces.iter().flat_map(|trace| {
            let project = trace.project;
            trace.spans.iter().map(move |span| (project, span))
        });
        let mut services = BTreeMap::new();
        let mut resources = Vec::new();
        let mut old = Vec::new();
        let mut sources = Vec::new();
        for (project, span) in spans {
            let service = span.summary.service_name.as_str();
            let resource = *services.entry((project, service)).or_insert_with(|| {
                resources.push(resource_of(project, service));
                resources.len() - 1
            });
            let source = loaded.source(span);
            let of = (resource, source.0);
            old.push(row_of(project, &span.summary, span.received, of, source.1));
            sources.push(source);
        }
        let new = old
            .iter()
            .zip(mapper.map(loaded.project, &sources))
            .map(|(old, basics)| {
                let mut new = old.clone();
                // What can't be read stays as it is.
                if let Some(basics) = basics {
                    new.basics = basics;
                }
                new
            });
        let new = new.collect();
        let mut rows = old.iter_mut();
        for trace in &loaded.traces {
            for row in rows.by_ref().take(trace.spans.len()) {
                // As it was counted.
                row.scope_digest = if calls::knows_scopes(&trace.calls.list) {
                    row.scope_digest
                } else {
                    0
                };
            }
        }
        Self {
            new,
            resources,
            old,
        }
    }
}

fn map(
    transaction: &Transaction<'_>,
    sessions: &mut IdIndex,
    mapper: &dyn Mapper,
    loaded: &Loaded,
    job: &mut Job,
) -> Result<(), Error> {
    let mapped = Mapped::of(loaded, mapper);
    let mut exchange = Exchange::default();
    let mut replaced: BTreeMap<i64, HashMap<usize, &SpanRow<'_>>> = BTreeMap::new();
    let mut first = 0;
    let mut states = Vec::new();
    for trace in &loaded.traces {
        let range = first..first + trace.spans.len();
        first = range.end;
        let old = mapped.old.get(range.clone()).unwrap_or_default();
        let new = mapped.new.get(range).unwrap_or_default();
        if stays(old) {
            continue;
        }
        let pairs = old.iter().zip(new).zip(&trace.spans);
        let before = job.spans_changed;
        for ((old, new), span) in pairs {
            if !is_same(old, new) {
                job.spans_changed += 1;
                let block = replaced.entry(span.block_id).or_default();
                block.insert(span.place, new);
            }
        }
        if job.spans_changed == before {
            continue;
        }
        let besides = unstored(&trace.calls, old, &mapped.resources);
        if let Some(was) = add_up(old, &mapped.resources, &besides)
            && let Some(is) = add_up(new, &mapped.resources, &besides)
        {
            save_trace(transaction, trace, new, &is)?;
            states.push((trace.key, (old, was), (new, is)));
        }
    }
    for (key, (old, was), (new, is)) in &states {
        let (was, is) = (&was.calls.changes, &is.calls.changes);
        exchange.trace(*key, &mapped.resources, (old, was), (new, is));
    }
    for (block_id, places) in &replaced {
        loaded.save_block(transaction, *block_id, places)?;
    }
    sums::shift(transaction, sessions, &exchange.finish())
}

/// Replaces what a trace's row says that can change.
fn save_trace(
    transaction: &Transaction<'_>,
    trace: &Trace,
    spans: &[SpanRow<'_>],
    state: &State<'_>,
) -> Result<(), Error> {
    let failed = storage_error("store a trace that was mapped anew");
    let (summary, totals) = (&state.summary, &state.calls.totals);
    let models = serde_json::Value::from_iter(summary.models.iter().map(AsRef::as_ref));
    let error = summary.first_error.as_ref();
    transaction
        .prepare_cached(
            "UPDATE trace SET genai_span_count = ?2, models = ?3, session_id = ?4, user_id = ?5,
                error_type = ?6, error_message = ?7, llm_call_count = ?8, input_tokens = ?9,
                output_tokens = ?10, cache_read_tokens = ?11, cost_nano_usd = ?12, calls = ?13
             WHERE trace_key = ?1",
        )
        .and_then(|mut update| {
            update.execute(params![
                trace.key,
                summary.genai_span_count,
                models.to_string(),
                summary.session_id,
                summary.user_id,
                error.map(|error| &error.error_type),
                error.map(|error| &error.message),
                totals.llm_calls,
                totals.input_tokens,
                totals.output_tokens,
                totals.cache_read_tokens,
                totals.cost_nano_usd,
                state.calls.list,
            ])
        })
        .map_err(&failed)?;
    let mut named: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for (span, row) in trace.spans.iter().zip(spans) {
        let of_part = named.entry(span.block_id).or_default();
        of_part.extend(row.basics.session_id.as_deref());
    }
    for (block_id, sessions) in named {
        let sessions =
            (!sessions.is_empty()).then(|| serde_json::Value::from_iter(sessions).to_string());
        transaction
            .prepare_cached(
                "UPDATE trace_part SET sessions = ?3 WHERE trace_key = ?1 AND block_id = ?2",
            )
            .and_then(|mut update| update.execute(params![trace.key, block_id, sessions]))
            .map_err(&failed)?;
    }
    Ok(())
}
