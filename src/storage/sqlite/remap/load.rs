//! What a step maps anew: the next traces, and the blocks that hold their spans.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::storage::Error;
use crate::storage::calls::Stored;
use crate::storage::content::{self, DecodedBlock};
use crate::storage::query::SpanSummary;
use crate::storage::remap::{Job, SPANS_PER_TRACE_MAX};
use crate::storage::sqlite::blocks::KEY_BYTES;
use crate::storage::sqlite::columns::Columns;
use crate::storage::sqlite::error::storage_error;
use crate::storage::write::SpanRow;

/// Traces taken in one step at most: batches wait for it.
const TRACES_PER_STEP: usize = 256;
/// Spans after which a step takes no further trace.
const SPANS_PER_STEP: i64 = 8192;

/// Traces of a step, with all that is needed to map them.
pub(super) struct Loaded {
    pub(super) project: ProjectId,
    pub(super) traces: Vec<Trace>,
    blocks: BTreeMap<i64, Block>,
    scope_names: HashMap<i64, String>,
}

/// A trace.
pub(super) struct Trace {
    pub(super) key: i64,
    pub(super) project: ProjectId,
    pub(super) spans: Vec<Span>,
    /// What was counted of it.
    pub(super) calls: Stored,
}

/// A span: where it is, and what its columns say.
pub(super) struct Span {
    pub(super) block_id: i64,
    pub(super) place: usize,
    pub(super) received: u64,
    pub(super) summary: SpanSummary,
    scope_id: i64,
}

struct Block {
    project: ProjectId,
    columns: Columns,
    messages: DecodedBlock,
}

/// A row of `trace`.
struct Picked {
    key: i64,
    start: i64,
    span_count: i64,
    calls: Stored,
}

/// A row of `trace_part`.
struct Part {
    block_id: i64,
    first_place: usize,
    span_count: usize,
    received: i64,
}

/// Loads the next traces of a job, and notes in it which those are.
pub(super) fn next(transaction: &Transaction<'_>, job: &mut Job) -> Result<Loaded, Error> {
    let Some((project, picked)) = pick(transaction, job)? else {
        job.is_done = true;
        return Ok(Loaded::nothing(ProjectId::DEFAULT));
    };
    let mut loaded = Loaded::nothing(project);
    let mut spans = 0;
    for trace in picked {
        if spans >= SPANS_PER_STEP {
            break;
        }
        spans += trace.span_count;
        job.traces += 1;
        job.go_on_after(project.0, trace.start, trace.key.to_be_bytes().to_vec());
        let read = if trace.span_count > SPANS_PER_TRACE_MAX {
            None
        } else {
            loaded.trace(transaction, project, &trace)?
        };
        match read {
            Some(spans) => {
                job.spans += spans.len() as u64;
                loaded.traces.push(Trace {
                    key: trace.key,
                    project,
                    spans,
                    calls: trace.calls,
                });
            }
            None => job.traces_skipped += 1,
        }
    }
    Ok(loaded)
}

/// The next traces in order of project and start, all of one project; `None` at the end.
fn pick(
    transaction: &Transaction<'_>,
    job: &Job,
) -> Result<Option<(ProjectId, Vec<Picked>)>, Error> {
    let failed = storage_error("find traces to map anew");
    let (start, end) = job.bounds();
    let after = job.after.as_ref();
    let first_project = after.map_or(0, |after| after.project);
    let projects: Vec<u32> = transaction
        .prepare_cached("SELECT project_id FROM project WHERE project_id >= ?1 ORDER BY project_id")
        .and_then(|mut select| {
            let rows = select.query_map([first_project], |row| row.get(0))?;
            rows.collect()
        })
        .map_err(&failed)?;
    for project in projects {
        let after = after.filter(|after| after.project == project);
        let key = after.and_then(|after| after.key.first_chunk().copied());
        let key = key.map_or(i64::MIN, i64::from_be_bytes);
        let from = after.map_or(start, |after| after.start);
        let limit = i64::try_from(TRACES_PER_STEP).unwrap_or(i64::MAX);
        let picked: Vec<Picked> = transaction
            .prepare_cached(
                "SELECT trace_key, start_unix_nano, span_count, calls, llm_call_count,
                    input_tokens, output_tokens, cache_read_tokens, cost_nano_usd
                 FROM trace
                 WHERE project_id = ?1 AND start_unix_nano >= ?2 AND start_unix_nano < ?3
                    AND (start_unix_nano, trace_key) > (?2, ?4)
                 ORDER BY start_unix_nano, trace_key LIMIT ?5",
            )
            .and_then(|mut select| {
                let rows = select.query_map(params![project, from, end, key, limit], |row| {
                    Ok(Picked {
                        key: row.get(0)?,
                        start: row.get(1)?,
                        span_count: row.get(2)?,
                        calls: Stored {
                            list: row.get::<_, Option<_>>(3)?.unwrap_or_default(),
                            totals: Totals {
                                llm_calls: row.get(4)?,
                                input_tokens: row.get(5)?,
                                output_tokens: row.get(6)?,
                                cache_read_tokens: row.get(7)?,
                                cost_nano_usd: row.get(8)?,
                            },
                        },
                    })
                })?;
                rows.collect()
            })
            .map_err(&failed)?;
        if !picked.is_empty() {
            return Ok(Some((ProjectId(project), picked)));
        }
    }
    Ok(None)
}

impl Loaded {
    fn nothing(project: ProjectId) -> Self {
        Self {
            project,
            traces: Vec::new(),
            blocks: BTreeMap::new(),
            scope_names: HashMap::new(),
        }
    }

    /// All spans of a trace; `None` when they are not what its row says, or damaged.
    fn trace(
        &mut self,
        transaction: &Transaction<'_>,
        project: ProjectId,
        trace: &Picked,
    ) -> Result<Option<Vec<Span>>, Error> {
        let mut spans = Vec::new();
        for part in parts(transaction, trace.key)? {
            if !self.load_block(transaction, project, part.block_id)? {
                return Ok(None);
            }
            for place in part.first_place..part.first_place + part.span_count {
                let Some(span) = self.span(transaction, &part, place)? else {
                    return Ok(None);
                };
                spans.push(span);
            }
        }
        let is_whole = i64::try_from(spans.len()) == Ok(trace.span_count);
        Ok(is_whole.then_some(spans))
    }

    fn span(
        &mut self,
        transaction: &Transaction<'_>,
        part: &Part,
        place: usize,
    ) -> Result<Option<Span>, Error> {
        let block = self.blocks.get(&part.block_id);
        let found = block
            .and_then(|block| Some((block.columns.summary(place)?, block.messages.span(place)?)));
        let Some((summary, message)) = found else {
            return Ok(None);
        };
        let scope_id = message.scope_id;
        if let Entry::Vacant(name) = self.scope_names.entry(scope_id) {
            name.insert(scope_name(transaction, scope_id)?);
        }
        Ok(Some(Span {
            block_id: part.block_id,
            place,
            received: part.received.cast_unsigned(),
            summary,
            scope_id,
        }))
    }

    /// Loads a block, if it is not there yet; answers whether it can be read.
    fn load_block(
        &mut self,
        transaction: &Transaction<'_>,
        project: ProjectId,
        block_id: i64,
    ) -> Result<bool, Error> {
        if self.blocks.contains_key(&block_id) {
            return Ok(true);
        }
        let found: Option<(Vec<u8>, i64, Vec<u8>)> = transaction
            .prepare_cached(
                "SELECT columns, codec, content FROM block WHERE block_id = ?1 AND project_id = ?2",
            )
            .and_then(|mut select| {
                let of = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                select
                    .query_row([block_id, i64::from(project.0)], of)
                    .optional()
            })
            .map_err(storage_error("read a block"))?;
        let block = found.and_then(|(columns, codec, content)| {
            Some(Block {
                project,
                columns: Columns::decode(&columns).ok()?,
                messages: content::decode(codec, &content).ok()?,
            })
        });
        let is_sound = block.is_some();
        if let Some(block) = block {
            self.blocks.insert(block_id, block);
        }
        Ok(is_sound)
    }

    /// What a span is mapped from: the name of its scope and its message.
    pub(super) fn source(&self, span: &Span) -> (&str, &[u8]) {
        let scope = self.scope_names.get(&span.scope_id);
        let block = self.blocks.get(&span.block_id);
        let message = block.and_then(|block| block.messages.span(span.place));
        (
            scope.map_or("", String::as_str),
            message.map_or(&[], |span| span.message),
        )
    }

    /// Stores a block with other rows at some places.
    pub(super) fn save_block(
        &self,
        transaction: &Transaction<'_>,
        block_id: i64,
        places: &HashMap<usize, &SpanRow<'_>>,
    ) -> Result<(), Error> {
        let block = self.blocks.get(&block_id);
        let columns = block.and_then(|block| block.columns.rebuilt(block.project, places));
        let columns = columns.ok_or_else(|| Error::Corrupt {
            context: format!("the columns of block {block_id}"),
        })?;
        transaction
            .prepare_cached("UPDATE block SET columns = ?2 WHERE block_id = ?1")
            .and_then(|mut update| update.execute(params![block_id, columns]))
            .map_err(storage_error("store the columns of a block"))?;
        Ok(())
    }
}

fn parts(transaction: &Transaction<'_>, trace_key: i64) -> Result<Vec<Part>, Error> {
    transaction
        .prepare_cached(
            "SELECT block_id, first_place, length(keys), received_unix_nano FROM trace_part
             WHERE trace_key = ?1",
        )
        .and_then(|mut select| {
            let rows = select.query_map([trace_key], |row| {
                let number = |column| -> rusqlite::Result<usize> {
                    let number: i64 = row.get(column)?;
                    usize::try_from(number)
                        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
                };
                Ok(Part {
                    block_id: row.get(0)?,
                    first_place: number(1)?,
                    span_count: number(2)? / KEY_BYTES,
                    received: row.get(3)?,
                })
            })?;
            rows.collect()
        })
        .map_err(storage_error("read the parts of a trace"))
}

fn scope_name(transaction: &Transaction<'_>, scope_id: i64) -> Result<String, Error> {
    let name: Option<String> = transaction
        .prepare_cached("SELECT name FROM scope WHERE scope_id = ?1")
        .and_then(|mut select| select.query_row([scope_id], |row| row.get(0)).optional())
        .map_err(storage_error("read a scope"))?;
    Ok(name.unwrap_or_default())
}
