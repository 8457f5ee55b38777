//! Events: lists of them, one, and those of a trace.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::blocks::{self, Blocks};
use super::columns::Columns;
use super::scan::{Matching, Walk, bounds};
use super::session::{Param, Session};
use super::{corrupt, project_id, signed, unsigned};
use crate::model::event::{EventFacts, EventId, EventSource};
use crate::model::genai::Usage;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::content::DecodedBlock;
use crate::storage::events::{EVENT_BYTES_MAX, EVENTS_OF_TRACE_MAX, EventColumns, EventFilter};
use crate::storage::{Error, Page, PageRequest, SpanEvents, StoredEvent};

macro_rules! select_event {
    ($rest:literal) => {
        concat!(
            "SELECT time_unix_nano, digest, observed_unix_nano, received_unix_nano, block_id, ",
            "block_place, severity, source, service_name, severity_text, trace_id, span_id, ",
            "environment, release, name, session_id, model, input_tokens, output_tokens, ",
            "cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_nano_usd, ",
            "duration_ns, fingerprint FROM event ",
            $rest
        )
    };
}

/// Events before one, newest first.
pub(super) const EVENTS: &str = select_event!(
    "WHERE project_id = $1 AND time_unix_nano BETWEEN $2 AND $3 \
     AND (time_unix_nano, digest) < ($4, $5) ORDER BY time_unix_nano DESC, digest DESC LIMIT $6"
);
/// The same of a trace.
pub(super) const EVENTS_OF_TRACE: &str = select_event!(
    "WHERE project_id = $1 AND trace_id = $7 AND time_unix_nano BETWEEN $2 AND $3 \
     AND (time_unix_nano, digest) < ($4, $5) ORDER BY time_unix_nano DESC, digest DESC LIMIT $6"
);
/// The same of what PulseBoard's mobile SDK tells.
pub(super) const EVENTS_TOLD: &str = select_event!(
    "WHERE project_id = $1 AND source = 4 AND time_unix_nano BETWEEN $2 AND $3 \
     AND (time_unix_nano, digest) < ($4, $5) ORDER BY time_unix_nano DESC, digest DESC LIMIT $6"
);
/// The first events of a trace, or of a span of it.
pub(super) const FIRST_OF_TRACE: &str = select_event!(
    "WHERE project_id = $1 AND trace_id = $2 AND ($3::bytea IS NULL OR span_id = $3) \
     ORDER BY time_unix_nano, digest LIMIT $4"
);
/// One event.
pub(super) const EVENT: &str =
    select_event!("WHERE project_id = $1 AND time_unix_nano = $2 AND digest = $3");

/// Some events. Looked up one by one; all the times together say which partitions are read.
pub(super) const BY_KEYS: &str = concat!(
    "SELECT part.* FROM unnest($2::bigint[], $3::bytea[]) AS wanted (time, id) CROSS JOIN LATERAL (",
    select_event!(
        "WHERE project_id = $1 AND time_unix_nano = wanted.time AND digest = wanted.id \
         AND time_unix_nano BETWEEN $4 AND $5 OFFSET 0"
    ),
    ") AS part"
);

/// Sorts after every digest.
pub(super) const LAST_DIGEST: [u8; 17] = [0xff; 17];

/// A row of `event`.
pub(super) struct Found {
    pub(super) columns: EventColumns,
    pub(super) block_id: i64,
    pub(super) place: usize,
}

/// The events of a project, newest first.
pub(super) async fn list(
    session: &Session,
    project: ProjectId,
    filter: &EventFilter,
    page: &PageRequest,
) -> Result<Page<StoredEvent>, Error> {
    let matching = if is_selective(filter) {
        Matching::Here
    } else {
        Matching::All
    };
    let mut walk = Walk::new(session, page, matching);
    let Some((from, to)) = bounds(&filter.range, page.after.as_ref()) else {
        return Ok(walk.finish());
    };
    let mut below = match &page.after {
        None => (i64::MAX, LAST_DIGEST.to_vec()),
        Some(cursor) => (signed(cursor.unix_nano), cursor.key.clone()),
    };
    let mut test = AttributeTest::new(&filter.attributes);
    let mut bytes = 0;
    loop {
        let piece = walk.piece();
        let rows = piece_of(session, project, filter, (from, to), &below, piece.rows).await?;
        let seen = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if let Some(last) = rows.last() {
            below = (
                signed(last.columns.id.unix_nano),
                last.columns.id.digest.to_vec(),
            );
        }
        let keys: Vec<_> = rows.iter().map(|row| row.columns.cursor()).collect();
        let loaded = load(session, project, rows, filter, &mut test, &mut walk).await?;
        for (key, event) in keys.into_iter().zip(loaded) {
            bytes += event.as_ref().map_or(0, |event| event.message.len());
            if !walk.take(key, event) {
                return Ok(walk.finish());
            }
            if bytes > EVENT_BYTES_MAX {
                walk.stop();
                return Ok(walk.finish());
            }
        }
        if seen < piece.rows || !walk.spend(seen) {
            return Ok(walk.finish());
        }
    }
}

fn is_selective(filter: &EventFilter) -> bool {
    *filter
        != EventFilter {
            range: filter.range,
            trace_id: filter.trace_id,
            source: filter.source.filter(|_| is_told(filter)),
            ..EventFilter::default()
        }
}

/// Whether all that is wanted is what PulseBoard's mobile SDK tells, which has an index.
fn is_told(filter: &EventFilter) -> bool {
    filter.source == Some(EventSource::PulseBoardAnalytics) && filter.trace_id.is_none()
}

/// The next rows of the list.
pub(super) async fn piece_of(
    session: &Session,
    project: ProjectId,
    filter: &EventFilter,
    (from, to): (i64, i64),
    below: &(i64, Vec<u8>),
    limit: i64,
) -> Result<Vec<Found>, Error> {
    let project = project_id(project);
    let mut params: Vec<Param<'_>> = vec![
        (&project, Type::INT8),
        (&from, Type::INT8),
        (&to, Type::INT8),
        (&below.0, Type::INT8),
        (&below.1, Type::BYTEA),
        (&limit, Type::INT8),
    ];
    let trace_id = filter.trace_id.map(|id| id.0.to_vec());
    let sql = match &trace_id {
        Some(id) => {
            params.push((id, Type::BYTEA));
            EVENTS_OF_TRACE
        }
        None if is_told(filter) => EVENTS_TOLD,
        None => EVENTS,
    };
    let rows = session.query(sql, &params, "list events").await?;
    rows.iter().map(read).collect()
}

/// One event.
pub(super) async fn one(
    session: &Session,
    project: ProjectId,
    id: EventId,
) -> Result<Option<StoredEvent>, Error> {
    let (owner, time) = (project_id(project), signed(id.unix_nano));
    let digest = id.digest.as_slice();
    let params: [Param<'_>; 3] = [
        (&owner, Type::INT8),
        (&time, Type::INT8),
        (&digest, Type::BYTEA),
    ];
    let rows = session.query(EVENT, &params, "read an event").await?;
    let rows: Result<Vec<_>, Error> = rows.iter().map(read).collect();
    let mut completed = complete(session, project, rows?).await?;
    Ok(completed.pop().flatten())
}

/// The first events of a trace or a span.
pub(super) async fn of(
    session: &Session,
    project: ProjectId,
    trace_id: TraceId,
    span_id: Option<SpanId>,
) -> Result<SpanEvents, Error> {
    let owner = project_id(project);
    let trace_id = trace_id.0.as_slice();
    let span_id = span_id.map(|id| id.0.to_vec());
    let one_more = i64::try_from(EVENTS_OF_TRACE_MAX + 1).unwrap_or(i64::MAX);
    let params: [Param<'_>; 4] = [
        (&owner, Type::INT8),
        (&trace_id, Type::BYTEA),
        (&span_id, Type::BYTEA),
        (&one_more, Type::INT8),
    ];
    let rows = session
        .query(FIRST_OF_TRACE, &params, "read the events of a trace")
        .await?;
    let mut is_cut = rows.len() > EVENTS_OF_TRACE_MAX;
    let rows: Result<Vec<_>, Error> = rows.iter().take(EVENTS_OF_TRACE_MAX).map(read).collect();
    let mut rows = rows?;
    // Those of one time in the order in which they were sent.
    rows.sort_by_key(|row| (row.columns.id.unix_nano, row.block_id, row.place));
    let mut events = Vec::new();
    let mut bytes = 0;
    // Some at a time, so that long messages are not all held at once.
    while !rows.is_empty() {
        if bytes > EVENT_BYTES_MAX {
            is_cut = true;
            break;
        }
        let rest = rows.split_off(rows.len().min(EVENTS_TOGETHER));
        let part = std::mem::replace(&mut rows, rest);
        for event in complete(session, project, part)
            .await?
            .into_iter()
            .flatten()
        {
            bytes += event.message.len();
            events.push(event);
        }
    }
    Ok(SpanEvents { events, is_cut })
}

/// Events whose messages are fetched at once.
pub(super) const EVENTS_TOGETHER: usize = 100;

/// Tests rows and completes those that match, in their order; `None` for the others. Rows that the
/// budget does not suffice for are left out.
async fn load(
    session: &Session,
    project: ProjectId,
    rows: Vec<Found>,
    filter: &EventFilter,
    test: &mut Option<AttributeTest<'_>>,
    walk: &mut Walk<StoredEvent>,
) -> Result<Vec<Option<StoredEvent>>, Error> {
    let mut answers = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() && (answers.is_empty() || !walk.is_spent()) {
        let part: Vec<_> = rows.by_ref().take(EVENTS_TOGETHER).collect();
        let verdicts: Vec<_> = part.iter().map(|row| row.columns.matches(filter)).collect();
        let wanted: Vec<_> = part
            .into_iter()
            .zip(&verdicts)
            .filter_map(|(row, matches)| matches.then_some(row))
            .collect();
        if test.is_some() {
            let ids: BTreeSet<_> = wanted.iter().map(|row| row.block_id).collect();
            walk.spend_blocks(ids.len());
        }
        let mut completed = complete(session, project, wanted).await?.into_iter();
        for matches in verdicts {
            let event = if matches {
                completed.next().flatten()
            } else {
                None
            };
            let event = match (event, test.as_mut()) {
                (Some(event), Some(test)) => test_one(test, event)?,
                (event, _) => event,
            };
            answers.push(event);
        }
    }
    Ok(answers)
}

/// The event if it, with its resource, has all attributes that are wanted.
pub(super) fn test_one(
    test: &mut AttributeTest<'_>,
    event: StoredEvent,
) -> Result<Option<StoredEvent>, Error> {
    test.learn(0, &event.resource.message)?;
    let matches = test.matches_event(crate::storage::content::BlockSpan {
        resource_id: 0,
        scope_id: 0,
        message: &event.message,
    })?;
    Ok(matches.then_some(event))
}

/// Adds messages, resources and scopes to rows, in their order; `None` for an event whose block is
/// gone: it is being deleted.
pub(super) async fn complete(
    session: &Session,
    project: ProjectId,
    rows: Vec<Found>,
) -> Result<Vec<Option<StoredEvent>>, Error> {
    let fetcher = Blocks::new(session, project);
    let mut wanted: Vec<_> = rows.iter().map(|row| row.block_id).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found: HashMap<i64, Arc<DecodedBlock>> = HashMap::new();
    while !wanted.is_empty() {
        let fetched = fetcher.fetch_some(&wanted).await?;
        if fetched.is_empty() {
            break;
        }
        wanted.retain(|id| !fetched.iter().any(|(fetched, _)| fetched == id));
        found.extend(fetched);
    }
    let at = |row: &Found| found.get(&row.block_id)?.span(row.place);
    let entries = || rows.iter().filter_map(at);
    let resource_ids: BTreeSet<_> = entries().map(|entry| entry.resource_id).collect();
    let scope_ids: BTreeSet<_> = entries().map(|entry| entry.scope_id).collect();
    let owner = project_id(project);
    let resources = blocks::resources(session, owner, &resource_ids).await?;
    let scopes = blocks::scopes(session, owner, &scope_ids).await?;
    let missing = || corrupt("a resource or scope that an event refers to is missing");
    let complete = |row: &Found| -> Result<Option<StoredEvent>, Error> {
        let Some(entry) = at(row) else {
            return Ok(None);
        };
        Ok(Some(StoredEvent {
            resource: Arc::clone(resources.get(&entry.resource_id).ok_or_else(missing)?),
            scope: Arc::clone(scopes.get(&entry.scope_id).ok_or_else(missing)?),
            message: entry.message.to_vec(),
            columns: row.columns.clone(),
        }))
    };
    rows.iter().map(complete).collect()
}

/// Reads a row selected with `select_event!`.
pub(super) fn read(row: &Row) -> Result<Found, Error> {
    let mut columns = Columns::new(row);
    let time: i64 = columns.take()?;
    let digest: &[u8] = columns.take()?;
    let id = EventId {
        unix_nano: unsigned(time),
        digest: digest
            .try_into()
            .map_err(|_| corrupt("the digest of an event"))?,
    };
    let (observed, received): (i64, i64) = (columns.take()?, columns.take()?);
    let (block_id, place): (i64, i32) = (columns.take()?, columns.take()?);
    let (severity, source): (i16, i16) = (columns.take()?, columns.take()?);
    let source = EventSource::from_number(i64::from(source));
    let service_name = columns.take()?;
    let severity_text = columns.take()?;
    let (trace_id, span_id): (Option<&[u8]>, Option<&[u8]>) = (columns.take()?, columns.take()?);
    let (environment, release) = (columns.take()?, columns.take()?);
    let mut text = || {
        columns
            .take::<Option<String>>()
            .map(|text| text.map(Into::into))
    };
    let (name, session_id, model) = (text()?, text()?, text()?);
    Ok(Found {
        columns: EventColumns {
            id,
            observed_unix_nano: unsigned(observed),
            received_unix_nano: unsigned(received),
            severity: u8::try_from(severity).unwrap_or(0),
            severity_text,
            trace_id: trace_id.and_then(TraceId::from_bytes),
            span_id: span_id.and_then(SpanId::from_bytes),
            source: source.ok_or_else(|| corrupt("the source of an event"))?,
            service_name,
            environment,
            release,
            facts: EventFacts {
                name,
                session_id,
                model,
                usage: Usage {
                    input: columns.take()?,
                    output: columns.take()?,
                    cache_read: columns.take()?,
                    cache_write: columns.take()?,
                    reasoning: columns.take()?,
                    ..Usage::default()
                },
                cost_nano_usd: columns.take()?,
                duration_ns: columns.take()?,
                fingerprint: columns.take()?,
            },
        },
        block_id,
        place: usize::try_from(place).map_err(|_| corrupt("the place of an event"))?,
    })
}
