//! Events: lists of them, one, and those of a trace.

use rusqlite::{OptionalExtension as _, Row, params};

use super::corrupt;
use super::events_load::Loader;
use super::failure::read_error;
use super::keys::place;
use super::pool::Session;
use super::scan::{Budget, Stretch, stretches};
use super::{signed, unsigned};
use crate::model::event::{EventFacts, EventId, EventSource};
use crate::model::genai::Usage;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
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

/// Events at the cursor's time.
pub(super) const EVENTS_TIE: &str = select_event!(
    "WHERE project_id = ?1 AND time_unix_nano = ?2 AND digest < ?3 ORDER BY digest DESC"
);
/// Events within a range.
pub(super) const EVENTS_BETWEEN: &str = select_event!(
    "WHERE project_id = ?1 AND time_unix_nano BETWEEN ?2 AND ?3 \
     ORDER BY time_unix_nano DESC, digest DESC"
);
/// Events of a trace, at the cursor's time and within a range.
pub(super) const OF_TRACE_TIE: &str = select_event!(
    "INDEXED BY event_trace WHERE project_id = ?1 AND trace_id = ?4 AND time_unix_nano = ?2 \
     AND digest < ?3 ORDER BY digest DESC"
);
pub(super) const OF_TRACE_BETWEEN: &str = select_event!(
    "INDEXED BY event_trace WHERE project_id = ?1 AND trace_id = ?4 \
     AND time_unix_nano BETWEEN ?2 AND ?3 ORDER BY time_unix_nano DESC, digest DESC"
);
/// What PulseBoard's mobile SDK tells, at the cursor's time and within a range.
pub(super) const TOLD_TIE: &str = select_event!(
    "INDEXED BY event_told WHERE project_id = ?1 AND source = 4 AND time_unix_nano = ?2 \
     AND digest < ?3 ORDER BY digest DESC"
);
pub(super) const TOLD_BETWEEN: &str = select_event!(
    "INDEXED BY event_told WHERE project_id = ?1 AND source = 4 \
     AND time_unix_nano BETWEEN ?2 AND ?3 ORDER BY time_unix_nano DESC, digest DESC"
);
/// The first events of a trace, or of a span of it.
pub(super) const FIRST_OF_TRACE: &str = select_event!(
    "INDEXED BY event_trace WHERE project_id = ?1 AND trace_id = ?2 \
     AND (?3 IS NULL OR span_id = ?3) ORDER BY time_unix_nano, digest LIMIT ?4"
);
/// One event.
pub(super) const EVENT: &str =
    select_event!("WHERE project_id = ?1 AND time_unix_nano = ?2 AND digest = ?3");

/// A row of `event`.
#[derive(Debug)]
pub(super) struct EventPlace {
    pub(super) columns: EventColumns,
    pub(super) block_id: i64,
    pub(super) place: usize,
}

/// The events of a project, newest first.
pub(super) fn list(
    session: &Session<'_>,
    project: ProjectId,
    filter: &EventFilter,
    request: &PageRequest,
) -> Result<Page<StoredEvent>, Error> {
    let read = read_error("list events");
    let mut budget = Budget::new(session);
    let mut loader = Loader::new(session, project);
    let mut test = AttributeTest::new(&filter.attributes);
    let trace_id = filter.trace_id.map(|id| id.0);
    let is_told = filter.source == Some(EventSource::PulseBoardAnalytics);
    let mut last = None;
    let mut items = Vec::new();
    for stretch in stretches(&filter.range, request.after.as_ref()) {
        let sql = match (&stretch, trace_id) {
            (Stretch::Tie { .. }, None) if is_told => TOLD_TIE,
            (Stretch::Between { .. }, None) if is_told => TOLD_BETWEEN,
            (Stretch::Tie { .. }, None) => EVENTS_TIE,
            (Stretch::Between { .. }, None) => EVENTS_BETWEEN,
            (Stretch::Tie { .. }, Some(_)) => OF_TRACE_TIE,
            (Stretch::Between { .. }, Some(_)) => OF_TRACE_BETWEEN,
        };
        let mut statement = session.connection.prepare_cached(sql).map_err(&read)?;
        let mut rows = match (&stretch, trace_id) {
            (Stretch::Tie { at, key }, None) => statement.query(params![project.0, at, key]),
            (Stretch::Between { from, to }, None) => statement.query(params![project.0, from, to]),
            (Stretch::Tie { at, key }, Some(id)) => {
                statement.query(params![project.0, at, key, id])
            }
            (Stretch::Between { from, to }, Some(id)) => {
                statement.query(params![project.0, from, to, id])
            }
        }
        .map_err(&read)?;
        while let Some(row) = rows.next().map_err(&read)? {
            if items.len() >= request.limit.max(1) || !budget.allows_row() {
                return Ok(Page { items, next: last });
            }
            session.check()?;
            let found = event_place(row).map_err(&read)??;
            last = Some(found.columns.cursor());
            if !found.columns.matches(filter) {
                continue;
            }
            let matches = match &mut test {
                Some(test) => loader.test(test, &found, &mut budget)?,
                None => true,
            };
            if matches {
                items.push(loader.load(found)?);
                if loader.loaded_bytes() > EVENT_BYTES_MAX {
                    return Ok(Page { items, next: last });
                }
            }
        }
    }
    Ok(Page { items, next: None })
}

/// One event.
pub(super) fn one(
    session: &Session<'_>,
    project: ProjectId,
    id: EventId,
) -> Result<Option<StoredEvent>, Error> {
    let found = session
        .connection
        .prepare_cached(EVENT)
        .and_then(|mut statement| {
            let key = params![project.0, signed(id.unix_nano), id.digest];
            statement.query_row(key, event_place).optional()
        })
        .map_err(read_error("read an event"))?;
    let mut loader = Loader::new(session, project);
    found
        .transpose()?
        .map(|found| loader.load(found))
        .transpose()
}

/// The first events of a trace or a span.
pub(super) fn of(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    span_id: Option<SpanId>,
) -> Result<SpanEvents, Error> {
    let read = read_error("read the events of a trace");
    let one_more = i64::try_from(EVENTS_OF_TRACE_MAX + 1).unwrap_or(i64::MAX);
    let mut statement = session
        .connection
        .prepare_cached(FIRST_OF_TRACE)
        .map_err(&read)?;
    let span_id = span_id.map(|id| id.0);
    let mut rows = statement
        .query(params![project.0, trace_id.0, span_id, one_more])
        .map_err(&read)?;
    let mut places = Vec::new();
    while let Some(row) = rows.next().map_err(&read)? {
        places.push(event_place(row).map_err(&read)??);
    }
    let mut loader = Loader::new(session, project);
    let mut found = SpanEvents {
        is_cut: places.len() > EVENTS_OF_TRACE_MAX,
        ..SpanEvents::default()
    };
    places.truncate(EVENTS_OF_TRACE_MAX);
    // Those of one time in the order in which they were sent.
    places.sort_by_key(|it| (it.columns.id.unix_nano, it.block_id, it.place));
    for place in places {
        session.check()?;
        if loader.loaded_bytes() > EVENT_BYTES_MAX {
            found.is_cut = true;
            break;
        }
        found.events.push(loader.load(place)?);
    }
    Ok(found)
}

/// Reads a row selected with `select_event!`.
pub(super) fn event_place(row: &Row<'_>) -> rusqlite::Result<Result<EventPlace, Error>> {
    let trace_id: Option<[u8; 16]> = row.get(10)?;
    let span_id: Option<[u8; 8]> = row.get(11)?;
    let text = |index: usize| row.get::<_, Option<String>>(index);
    let own = |index: usize| text(index).map(|text| text.map(Into::into));
    let source = EventSource::from_number(row.get(7)?);
    let Some(source) = source else {
        return Ok(Err(corrupt("the source of an event")));
    };
    Ok(Ok(EventPlace {
        columns: EventColumns {
            id: EventId {
                unix_nano: unsigned(row.get(0)?),
                digest: row.get(1)?,
            },
            observed_unix_nano: unsigned(row.get(2)?),
            received_unix_nano: unsigned(row.get(3)?),
            severity: row.get(6)?,
            severity_text: text(9)?,
            trace_id: trace_id.map(TraceId),
            span_id: span_id.map(SpanId),
            source,
            service_name: row.get(8)?,
            environment: text(12)?,
            release: text(13)?,
            facts: EventFacts {
                name: own(14)?,
                session_id: own(15)?,
                model: own(16)?,
                usage: Usage {
                    input: row.get(17)?,
                    output: row.get(18)?,
                    cache_read: row.get(19)?,
                    cache_write: row.get(20)?,
                    reasoning: row.get(21)?,
                    ..Usage::default()
                },
                cost_nano_usd: row.get(22)?,
                duration_ns: row.get(23)?,
                fingerprint: row.get(24)?,
            },
        },
        block_id: row.get(4)?,
        place: place(row, 5)?,
    }))
}
