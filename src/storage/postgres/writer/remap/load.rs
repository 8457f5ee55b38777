//! What a step maps anew: the next traces, their spans and messages.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use tokio_postgres::types::Type;

use super::super::super::reader::columns::{Columns, SpanColumns, span_columns};
use super::super::super::transaction::{Param, Transaction};
use super::super::params::Time;
use super::super::trace_rows::{self, KnownTrace};
use super::super::traces::Key;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::calls::Stored;
use crate::storage::content::{self, DecodedBlock};
use crate::storage::remap::{Job, Mapper, SPANS_PER_TRACE_MAX, resource_of, row_of};
use crate::storage::write::{Batch, ResourceRow};

/// Traces taken in one step at most. Blocks are in the order of trace ids within a batch, steps in
/// the order of starts: a step of about a batch reads each block once.
const TRACES_PER_STEP: i64 = 4096;
/// Spans after which a step takes no further trace.
const SPANS_PER_STEP: i64 = 16_384;

/// The next traces of a project.
const PICK: &str = "SELECT trace_id, start_unix_nano, span_count FROM trace
    WHERE project_id = $1 AND start_unix_nano >= $2 AND start_unix_nano < $3
        AND (start_unix_nano, trace_id) > ($2, $4)
    ORDER BY start_unix_nano, trace_id LIMIT $5";

/// All spans of some traces. What arrived before its trace belongs to one that was deleted.
const SPANS: &str = concat!(
    "SELECT found.* FROM unnest($2::bytea[], $3::bigint[]) AS k(trace_id, received)
    CROSS JOIN LATERAL (SELECT ",
    span_columns!(),
    " FROM span s WHERE s.project_id = $1 AND s.trace_id = k.trace_id
        AND s.start_time >= $4 AND s.start_time <= $5 AND s.received_unix_nano >= k.received
        OFFSET 0) AS found"
);

const BLOCKS: &str = "SELECT block_id, codec, content FROM content_block
    WHERE project_id = $1 AND block_id = ANY($2)";
const SCOPES: &str =
    "SELECT scope_id, name FROM scope WHERE project_id = $1 AND scope_id = ANY($2)";

/// Traces of a step, with all that is needed to map them.
pub(super) struct Loaded {
    pub(super) project: ProjectId,
    pub(super) traces: Vec<Trace>,
    /// Those of a trace side by side.
    pub(super) spans: Vec<Span>,
    /// By service, as far as sums go.
    pub(super) resources: Vec<ResourceRow<'static>>,
    blocks: HashMap<i64, DecodedBlock>,
    scope_names: HashMap<i64, String>,
}

/// A trace.
pub(super) struct Trace {
    pub(super) id: TraceId,
    /// Where its spans are.
    pub(super) spans: Range<usize>,
    /// What was counted of it.
    pub(super) calls: Stored,
}

/// A span.
pub(super) struct Span {
    pub(super) columns: SpanColumns,
    resource: usize,
}

/// Loads the next traces of a job, and notes in it which those are.
pub(super) async fn next(transaction: &Transaction, job: &mut Job) -> Result<Loaded, Error> {
    let Some((project, picked)) = pick(transaction, job).await? else {
        job.is_done = true;
        return Ok(Loaded::nothing(ProjectId::DEFAULT));
    };
    let mut wanted = Vec::new();
    let mut spans = 0;
    for (trace_id, start, span_count) in picked {
        if spans >= SPANS_PER_STEP {
            break;
        }
        job.traces += 1;
        job.go_on_after(project.0, start, trace_id.0.to_vec());
        if span_count > SPANS_PER_TRACE_MAX {
            job.traces_skipped += 1;
        } else {
            spans += span_count;
            wanted.push(trace_id);
        }
    }
    // As all writers lock them.
    wanted.sort_unstable();
    let known = lock(transaction, project, &wanted).await?;
    let loaded = Loaded::read(transaction, project, known, job).await?;
    job.spans += loaded.spans.len() as u64;
    Ok(loaded)
}

type Picked = (TraceId, i64, i64);

/// The next traces in order of project and start, all of one project; `None` at the end.
async fn pick(
    transaction: &Transaction,
    job: &Job,
) -> Result<Option<(ProjectId, Vec<Picked>)>, Error> {
    const CONTEXT: &str = "find traces to map anew";
    let (start, end) = job.bounds();
    let after = job.after.as_ref();
    let first_project = after.map_or(0, |after| i64::from(after.project));
    let projects = transaction
        .query(
            "SELECT project_id FROM project WHERE project_id >= $1 ORDER BY project_id",
            &[(&first_project, Type::INT8)],
            CONTEXT,
        )
        .await?;
    for row in projects {
        let number: i64 = row.get(0);
        let after = after.filter(|after| i64::from(after.project) == number);
        let key = after.map_or(&[][..], |after| &after.key);
        let from = after.map_or(start, |after| after.start);
        let rows = transaction
            .query(
                PICK,
                &[
                    (&number, Type::INT8),
                    (&from, Type::INT8),
                    (&end, Type::INT8),
                    (&key, Type::BYTEA),
                    (&TRACES_PER_STEP, Type::INT8),
                ],
                CONTEXT,
            )
            .await?;
        let picked = rows.iter().filter_map(|row| {
            let trace_id = TraceId::from_bytes(row.get(0))?;
            Some((trace_id, row.get(1), row.get(2)))
        });
        let picked: Vec<_> = picked.collect();
        if let (false, Ok(number)) = (picked.is_empty(), u32::try_from(number)) {
            return Ok(Some((ProjectId(number), picked)));
        }
    }
    Ok(None)
}

async fn lock(
    transaction: &Transaction,
    project: ProjectId,
    trace_ids: &[TraceId],
) -> Result<HashMap<Key, KnownTrace>, Error> {
    let projects = vec![i64::from(project.0); trace_ids.len()];
    let trace_ids: Vec<_> = trace_ids.iter().map(|id| id.0.as_slice()).collect();
    let params = [
        (&projects as _, Type::INT8_ARRAY),
        (&trace_ids as _, Type::BYTEA_ARRAY),
    ];
    let rows = transaction
        .query(trace_rows::LOCK, &params, "lock traces")
        .await?;
    rows.iter().map(trace_rows::read).collect()
}

impl Loaded {
    fn nothing(project: ProjectId) -> Self {
        Self {
            project,
            traces: Vec::new(),
            spans: Vec::new(),
            resources: Vec::new(),
            blocks: HashMap::new(),
            scope_names: HashMap::new(),
        }
    }

    async fn read(
        transaction: &Transaction,
        project: ProjectId,
        known: HashMap<Key, KnownTrace>,
        job: &mut Job,
    ) -> Result<Self, Error> {
        let mut loaded = Self::nothing(project);
        let mut columns = read_spans(transaction, project, &known).await?;
        columns.sort_unstable_by_key(|span| (span.summary.trace_id, span.summary.span_id));
        let mut resources = HashMap::new();
        for column in columns.chunk_by(|a, b| a.summary.trace_id == b.summary.trace_id) {
            let Some(id) = column.first().map(|span| span.summary.trace_id) else {
                continue;
            };
            let trace = known.get(&(project, id));
            let count = trace.map(|trace| trace.summary.span_count);
            if i64::try_from(column.len()).ok() == count {
                loaded.traces.push(Trace {
                    id,
                    spans: 0..column.len(),
                    calls: trace.map(|trace| trace.calls.clone()).unwrap_or_default(),
                });
            }
        }
        let is_whole: HashSet<_> = loaded.traces.iter().map(|trace| trace.id).collect();
        job.traces_skipped += (known.len() - is_whole.len()) as u64;
        for columns in columns {
            if !is_whole.contains(&columns.summary.trace_id) {
                continue;
            }
            let service = columns.summary.service_name.clone();
            let resource = *resources.entry(service).or_insert_with_key(|service| {
                loaded.resources.push(resource_of(project, service));
                loaded.resources.len() - 1
            });
            loaded.spans.push(Span { columns, resource });
        }
        loaded.place();
        loaded.read_messages(transaction).await?;
        Ok(loaded)
    }

    /// Says where each trace's spans are.
    fn place(&mut self) {
        let mut first = 0;
        for trace in &mut self.traces {
            let next = first + trace.spans.len();
            trace.spans = first..next;
            first = next;
        }
    }

    async fn read_messages(&mut self, transaction: &Transaction) -> Result<(), Error> {
        let project = i64::from(self.project.0);
        let spans = self.spans.iter();
        let blocks: BTreeSet<_> = spans.clone().map(|span| span.columns.block_id).collect();
        let scopes: BTreeSet<_> = spans.map(|span| span.columns.scope_id).collect();
        let blocks: Vec<_> = blocks.into_iter().collect();
        let scopes: Vec<_> = scopes.into_iter().collect();
        let params = |ids| -> [Param<'_>; 2] { [(&project, Type::INT8), (ids, Type::INT8_ARRAY)] };
        let rows = transaction
            .query(BLOCKS, &params(&blocks), "read blocks")
            .await?;
        for row in rows {
            let codec = i64::from(row.get::<_, i16>(1));
            // The spans of one that is damaged stay as they are.
            if let Ok(block) = content::decode(codec, row.get(2)) {
                self.blocks.insert(row.get(0), block);
            }
        }
        let rows = transaction
            .query(SCOPES, &params(&scopes), "read scopes")
            .await?;
        let names = rows.iter().map(|row| (row.get(0), row.get(1)));
        self.scope_names = names.collect();
        Ok(())
    }

    /// The rows of the spans as they were.
    pub(super) fn rows(&self) -> Batch<'_> {
        let spans = self.spans.iter().map(|span| {
            let SpanColumns {
                summary,
                received_unix_nano,
                ..
            } = &span.columns;
            let message = self.message(span).unwrap_or_default();
            row_of(
                self.project,
                summary,
                *received_unix_nano,
                (span.resource, self.scope(span)),
                message,
            )
        });
        Batch {
            spans: spans.collect(),
            resources: self.resources.clone(),
            ..Batch::default()
        }
    }

    /// The rows of the spans as they are now.
    pub(super) fn mapped<'l>(&'l self, old: &Batch<'l>, mapper: &dyn Mapper) -> Batch<'l> {
        let sources = self.spans.iter().map(|span| {
            let message = self.message(span).unwrap_or_default();
            (self.scope(span), message)
        });
        let sources: Vec<_> = sources.collect();
        let spans = old.spans.iter().zip(mapper.map(self.project, &sources));
        let spans = spans.map(|(old, basics)| {
            let mut new = old.clone();
            // What can't be read stays as it is.
            if let Some(basics) = basics {
                new.basics = basics;
            }
            new
        });
        Batch {
            spans: spans.collect(),
            resources: self.resources.clone(),
            ..Batch::default()
        }
    }

    /// The name of its scope.
    fn scope(&self, span: &Span) -> &str {
        let name = self.scope_names.get(&span.columns.scope_id);
        name.map_or("", String::as_str)
    }

    fn message(&self, span: &Span) -> Option<&[u8]> {
        let place = usize::try_from(span.columns.block_place).ok()?;
        let block = self.blocks.get(&span.columns.block_id)?;
        Some(block.span(place)?.message)
    }
}

async fn read_spans(
    transaction: &Transaction,
    project: ProjectId,
    known: &HashMap<Key, KnownTrace>,
) -> Result<Vec<SpanColumns>, Error> {
    let traces = || known.values();
    let first = traces().map(|trace| trace.summary.start).min();
    let last = traces().map(|trace| trace.last_start).max();
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(Vec::new());
    };
    let ids: Vec<_> = known.keys().map(|(_, id)| id.0.as_slice()).collect();
    let received: Vec<_> = traces().map(|trace| trace.summary.received).collect();
    let rows = transaction
        .query(
            SPANS,
            &[
                (&i64::from(project.0), Type::INT8),
                (&ids, Type::BYTEA_ARRAY),
                (&received, Type::INT8_ARRAY),
                (&Time(first), Type::TIMESTAMPTZ),
                (&Time(last), Type::TIMESTAMPTZ),
            ],
            "read spans to map anew",
        )
        .await?;
    let rows = rows.iter();
    rows.map(|row| SpanColumns::read(&mut Columns::new(row)))
        .collect()
}
