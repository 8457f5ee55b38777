//! Messages of spans: fetching the blocks that hold them, and testing them against attribute
//! filters.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::Columns;
use super::scan::Walk;
use super::session::{Param, Session};
use super::slices::whole;
use super::{corrupt, project_id, spans, traces};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::attributes::AttributeTest;
use crate::storage::content::{self, DecodedBlock};
use crate::storage::query::{StoredResource, StoredScope};

/// Blocks by their ids, as many as fit into a number of bytes, at least one. Looked up one by one;
/// all the ids together say which partitions are read.
pub(super) const BLOCKS: &str = "SELECT block_id, codec, content FROM ( \
     SELECT block_id, codec, content, \
         sum(octet_length(content)) OVER (ORDER BY block_id DESC) - octet_length(content) AS before \
     FROM unnest($2::bigint[]) AS wanted (id) CROSS JOIN LATERAL ( \
         SELECT block_id, codec, content FROM content_block \
         WHERE project_id = $1 AND block_id = wanted.id AND block_id = ANY($2) OFFSET 0 \
     ) AS found) AS block WHERE before < $3";

/// Which texts may be in blocks. Looked up one by one, as above.
pub(super) const SIEVES: &str = "SELECT found.block_id, found.sieve \
     FROM unnest($2::bigint[]) AS wanted (id) CROSS JOIN LATERAL ( \
         SELECT block_id, sieve FROM content_block \
         WHERE project_id = $1 AND block_id = wanted.id AND block_id = ANY($2) OFFSET 0) AS found";

/// Resources and scopes by their ids. Looked up one by one.
const RESOURCES: &str = "SELECT found.* FROM unnest($2::bigint[]) AS wanted (id) \
     CROSS JOIN LATERAL (SELECT resource_id, message, schema_url, schema_url_sent, \
         service_name FROM resource \
         WHERE project_id = $1 AND resource_id = wanted.id OFFSET 0) AS found";
const SCOPES: &str = "SELECT found.* FROM unnest($2::bigint[]) AS wanted (id) \
     CROSS JOIN LATERAL (SELECT scope_id, message, schema_url, schema_url_sent FROM scope \
         WHERE project_id = $1 AND scope_id = wanted.id OFFSET 0) AS found";

/// Where the messages of some traces are.
pub(super) const PLACES: &str = "SELECT part.trace_id, part.span_id, part.received_unix_nano, \
         part.block_id, part.block_place \
     FROM unnest($2::bytea[]) AS wanted (trace_id) CROSS JOIN LATERAL ( \
         SELECT trace_id, span_id, received_unix_nano, block_id, block_place FROM span \
         WHERE project_id = $1 AND span.trace_id = wanted.trace_id \
         AND start_time >= $3 AND start_time < $4 OFFSET 0) AS part";
/// The same for a part of one long trace, in key order.
pub(super) const PLACES_OF_LONG: &str = "SELECT trace_id, span_id, received_unix_nano, block_id, \
     block_place FROM span WHERE project_id = $1 AND trace_id = $2 \
     AND start_time >= $3 AND start_time < $4 AND span_id > $5 ORDER BY span_id LIMIT 10000";
const PLACES_LIMIT: usize = 10_000;
/// Spans above which a trace is a long one.
pub(super) const SPANS_TOGETHER: u64 = 5_000;

/// Compressed bytes fetched at once.
pub(super) const FETCH_BYTES: i64 = 2 << 20;
/// Blocks asked for at once.
pub(super) const FETCH_BLOCKS: usize = 32;
/// Above this, unpacking is not done on a thread that serves others.
const UNPACK_BYTES: usize = 128 << 10;
/// Bytes of messages kept, because rows that follow each other often share a block.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// Rows tested between two looks at what is left of the budget.
const ROWS_TOGETHER: usize = 64;

/// Blocks of one question.
pub(super) struct Blocks<'s> {
    session: &'s Session,
    project: i64,
    kept: HashMap<i64, Arc<DecodedBlock>>,
    kept_bytes: usize,
}

impl<'s> Blocks<'s> {
    /// Knows none yet.
    pub(super) fn new(session: &'s Session, project: ProjectId) -> Self {
        Self {
            session,
            project: project_id(project),
            kept: HashMap::new(),
            kept_bytes: 0,
        }
    }

    /// Fetches some of these blocks, as many as should be held at once, at least one.
    pub(super) async fn fetch(&self, ids: &[i64]) -> Result<Vec<(i64, Arc<DecodedBlock>)>, Error> {
        let blocks = self.fetch_some(ids).await?;
        if blocks.is_empty() && !ids.is_empty() {
            return Err(corrupt(format!("blocks {ids:?} are missing")));
        }
        Ok(blocks)
    }

    /// As [`Blocks::fetch`], of blocks that may be gone: none of the first ones asked for is there
    /// when it answers none.
    pub(super) async fn fetch_some(
        &self,
        ids: &[i64],
    ) -> Result<Vec<(i64, Arc<DecodedBlock>)>, Error> {
        let ids = ids.get(..FETCH_BLOCKS.min(ids.len())).unwrap_or(ids);
        let params: [Param<'_>; 3] = [
            (&self.project, Type::INT8),
            (&ids, Type::INT8_ARRAY),
            (&FETCH_BYTES, Type::INT8),
        ];
        let rows = self.session.query(BLOCKS, &params, "read blocks").await?;
        unpack(rows).await
    }

    /// Fetches all of these blocks that are not kept, and keeps them; answers how many it fetched.
    async fn keep(&mut self, ids: BTreeSet<i64>) -> Result<usize, Error> {
        let (mut missing, needed): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| !self.kept.contains_key(id));
        if self.kept_bytes > KEPT_BYTES_MAX {
            let needed: HashSet<_> = needed.into_iter().collect();
            self.kept.retain(|id, _| needed.contains(id));
            self.kept_bytes = self.kept.values().map(|block| block.message_bytes()).sum();
        }
        let fetched = missing.len();
        while !missing.is_empty() {
            let blocks = self.fetch(&missing).await?;
            for (id, block) in blocks {
                missing.retain(|missing| *missing != id);
                self.kept_bytes = self.kept_bytes.saturating_add(block.message_bytes());
                self.kept.insert(id, block);
            }
        }
        Ok(fetched)
    }

    /// Tests rows of the span list that match so far, in their order. Rows that the budget does not
    /// suffice for are cut off.
    pub(super) async fn test_spans<T>(
        &mut self,
        test: &mut AttributeTest<'_>,
        rows: &mut Vec<spans::Looked>,
        walk: &mut Walk<T>,
    ) -> Result<(), Error> {
        let mut tested = 0;
        for part in rows.chunks_mut(ROWS_TOGETHER) {
            tested += part.len();
            let candidates: Vec<_> = part.iter_mut().filter(|row| row.matches).collect();
            let places = candidates
                .iter()
                .map(|row| (row.span.block_id, row.span.block_place));
            let places: Vec<_> = places.collect();
            let verdicts = self.test(test, &places, walk).await?;
            for (row, verdict) in candidates.into_iter().zip(verdicts) {
                row.matches = verdict;
            }
            if walk.is_spent() {
                break;
            }
        }
        rows.truncate(tested);
        Ok(())
    }

    /// Whether a span of each trace, with its resource, has all wanted attributes. A trace of more
    /// than [`SPANS_TOGETHER`] spans must come alone.
    pub(super) async fn test_traces<T>(
        &mut self,
        test: &mut AttributeTest<'_>,
        rows: &[traces::Looked],
        walk: &mut Walk<T>,
    ) -> Result<Vec<bool>, Error> {
        let candidates = rows.iter().filter(|row| row.matches);
        let candidates: Vec<_> = candidates.map(|row| &row.trace).collect();
        let mut matching = HashSet::new();
        match candidates.as_slice() {
            [] => {}
            [long] if long.summary.span_count > SPANS_TOGETHER => {
                let mut after = Vec::new();
                loop {
                    let places = self.places_of_long(long, &after).await?;
                    let is_last = places.len() < PLACES_LIMIT;
                    if let Some(last) = places.last() {
                        after.clone_from(&last.span_id);
                    }
                    let found = self.test_places(test, &candidates, places, walk).await?;
                    matching.extend(found);
                    if is_last || !matching.is_empty() {
                        break;
                    }
                }
            }
            _ => {
                let places = self.places(&candidates).await?;
                matching = self.test_places(test, &candidates, places, walk).await?;
            }
        }
        let verdict = |row: &traces::Looked| {
            row.matches && matching.contains(row.trace.summary.trace_id.0.as_slice())
        };
        Ok(rows.iter().map(verdict).collect())
    }

    /// The traces with a span that matches among these.
    async fn test_places<T>(
        &mut self,
        test: &mut AttributeTest<'_>,
        traces: &[&traces::TraceRow],
        mut places: Vec<SpanPlace>,
        walk: &mut Walk<T>,
    ) -> Result<HashSet<Vec<u8>>, Error> {
        // What arrived before the trace belongs to one that was deleted.
        let received: HashMap<_, _> = traces
            .iter()
            .map(|trace| (trace.summary.trace_id.0.as_slice(), trace.received))
            .collect();
        places.retain(|place| received.get(place.trace_id.as_slice()) <= Some(&place.received));
        let mut matching = HashSet::new();
        for part in places.chunks(ROWS_TOGETHER) {
            let is_open = |place: &&SpanPlace| !matching.contains(&place.trace_id);
            let open: Vec<_> = part.iter().filter(is_open).collect();
            let addresses: Vec<_> = open.iter().map(|place| place.address).collect();
            let verdicts = self.test(test, &addresses, walk).await?;
            let found = open.iter().zip(verdicts).filter(|(_, verdict)| *verdict);
            let found: Vec<_> = found.map(|(place, _)| place.trace_id.clone()).collect();
            matching.extend(found);
        }
        Ok(matching)
    }

    async fn places(&self, traces: &[&traces::TraceRow]) -> Result<Vec<SpanPlace>, Error> {
        let from = traces.iter().map(|trace| trace.start).min();
        let to = traces.iter().map(|trace| trace.last_start).max();
        let slice = whole(from.unwrap_or(0), to.unwrap_or(0));
        let ids: Vec<_> = traces
            .iter()
            .map(|trace| trace.summary.trace_id.0.as_slice())
            .collect();
        let params: [Param<'_>; 4] = [
            (&self.project, Type::INT8),
            (&ids, Type::BYTEA_ARRAY),
            (&slice.from, Type::TIMESTAMPTZ),
            (&slice.before, Type::TIMESTAMPTZ),
        ];
        let rows = self
            .session
            .query(PLACES, &params, "list the spans of traces")
            .await?;
        rows.iter().map(SpanPlace::read).collect()
    }

    async fn places_of_long(
        &self,
        trace: &traces::TraceRow,
        after: &[u8],
    ) -> Result<Vec<SpanPlace>, Error> {
        let slice = whole(trace.start, trace.last_start);
        let id = trace.summary.trace_id.0.as_slice();
        let params: [Param<'_>; 5] = [
            (&self.project, Type::INT8),
            (&id, Type::BYTEA),
            (&slice.from, Type::TIMESTAMPTZ),
            (&slice.before, Type::TIMESTAMPTZ),
            (&after, Type::BYTEA),
        ];
        let rows = self
            .session
            .query(PLACES_OF_LONG, &params, "list the spans of a trace")
            .await?;
        rows.iter().map(SpanPlace::read).collect()
    }

    /// Tests messages by their addresses.
    async fn test<T>(
        &mut self,
        test: &mut AttributeTest<'_>,
        addresses: &[(i64, i32)],
        walk: &mut Walk<T>,
    ) -> Result<Vec<bool>, Error> {
        let ids = addresses.iter().map(|(id, _)| *id).collect();
        walk.spend_blocks(self.keep(ids).await?);
        let mut found = Vec::with_capacity(addresses.len());
        for (id, place) in addresses {
            let span = usize::try_from(*place)
                .ok()
                .and_then(|place| self.kept.get(id)?.span(place));
            found.push(span.ok_or_else(|| corrupt(format!("block {id} has no span {place}")))?);
        }
        let unknown: BTreeSet<_> = found
            .iter()
            .map(|span| span.resource_id)
            .filter(|id| !test.knows(*id))
            .collect();
        for (id, resource) in resources(self.session, self.project, &unknown).await? {
            test.learn(id, &resource.message)?;
        }
        found.into_iter().map(|span| test.matches(span)).collect()
    }
}

/// Where the message of a span is.
struct SpanPlace {
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    received: i64,
    address: (i64, i32),
}

impl SpanPlace {
    fn read(row: &Row) -> Result<Self, Error> {
        let mut columns = Columns::new(row);
        Ok(Self {
            trace_id: columns.take()?,
            span_id: columns.take()?,
            received: columns.take()?,
            address: (columns.take()?, columns.take()?),
        })
    }
}

async fn unpack(rows: Vec<Row>) -> Result<Vec<(i64, Arc<DecodedBlock>)>, Error> {
    let unpack = |rows: Vec<Row>| -> Result<Vec<_>, Error> {
        rows.iter()
            .map(|row| {
                let mut columns = Columns::new(row);
                let (id, codec): (i64, i16) = (columns.take()?, columns.take()?);
                let block = content::decode(i64::from(codec), columns.take()?)
                    .map_err(|source| corrupt(format!("block {id}: {source}")))?;
                Ok((id, Arc::new(block)))
            })
            .collect()
    };
    let bytes: usize = rows.iter().map(Row::raw_size_bytes).sum();
    if bytes <= UNPACK_BYTES {
        return unpack(rows);
    }
    match tokio::task::spawn_blocking(move || unpack(rows)).await {
        Ok(blocks) => blocks,
        Err(_) => Err(corrupt("unpacking blocks panicked")),
    }
}

/// Reads resources by their ids; each must be there.
pub(super) async fn resources(
    session: &Session,
    project: i64,
    ids: &BTreeSet<i64>,
) -> Result<HashMap<i64, Arc<StoredResource>>, Error> {
    let rows = by_ids(session, RESOURCES, project, ids).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::new(row);
            let id = columns.take()?;
            let resource = StoredResource {
                message: columns.take()?,
                schema_url: schema_url(&mut columns)?,
                service_name: columns.take()?,
            };
            Ok((id, Arc::new(resource)))
        })
        .collect()
}

/// Reads scopes by their ids; each must be there.
pub(super) async fn scopes(
    session: &Session,
    project: i64,
    ids: &BTreeSet<i64>,
) -> Result<HashMap<i64, Arc<StoredScope>>, Error> {
    let rows = by_ids(session, SCOPES, project, ids).await?;
    rows.iter()
        .map(|row| {
            let mut columns = Columns::new(row);
            let id = columns.take()?;
            let scope = StoredScope {
                message: columns.take()?,
                schema_url: schema_url(&mut columns)?,
            };
            Ok((id, Arc::new(scope)))
        })
        .collect()
}

/// Two columns: the URL, and the same as it was sent where a text can't hold that.
fn schema_url(columns: &mut Columns<'_>) -> Result<String, Error> {
    let (stored, sent): (String, Option<Vec<u8>>) = (columns.take()?, columns.take()?);
    match sent {
        None => Ok(stored),
        Some(sent) => String::from_utf8(sent).map_err(|_| corrupt("a schema URL")),
    }
}

async fn by_ids(
    session: &Session,
    sql: &'static str,
    project: i64,
    ids: &BTreeSet<i64>,
) -> Result<Vec<Row>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&ids, Type::INT8_ARRAY)];
    let rows = session
        .query(sql, &params, "read what spans refer to")
        .await?;
    if rows.len() == ids.len() {
        Ok(rows)
    } else {
        Err(corrupt(
            "a resource or scope that spans refer to is missing",
        ))
    }
}
