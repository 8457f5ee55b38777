//! The trace list.
//!
//! One index drives the walk, chosen by the filters: the traces of a service, the failed traces,
//! or all by start. A session's traces are few as a rule: they are sorted by start, unless there
//! are so many that walking by start is better. Everything else the server tests row by row.

mod sql;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::blocks::{Blocks, SPANS_TOGETHER};
use super::columns::Columns;
use super::facts::{FactTest, Wanted};
use super::scan::{Matching, Piece, Walk, bounds};
use super::session::{Param, Session};
use super::{corrupt, project_id, signed, stored_text, unsigned};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::query::FirstError;
use crate::storage::summary::MODELS_MAX;
use crate::storage::{Cursor, Error, Page, PageRequest, StatusFilter, TraceFilter, TraceSummary};
pub(super) use sql::OF_SESSION;
use sql::{Driver, ONE, SESSION_SIZE};

/// Traces of a session that are sorted at most; above it they are looked for by start.
const SESSION_TRACES_MAX: i64 = 20_000;

const CONTEXT: &str = "list traces";

/// A row of `trace`.
#[derive(Debug)]
pub(super) struct TraceRow {
    /// Earliest start of a span, ns.
    pub(super) start: i64,
    /// Latest start of a span, ns.
    pub(super) last_start: i64,
    /// First arrival, ns. What arrived earlier belongs to a trace that has been deleted.
    pub(super) received: i64,
    pub(super) summary: TraceSummary,
}

impl TraceRow {
    /// Reads the columns of `sql::trace_columns!`.
    pub(super) fn read(columns: &mut Columns<'_>) -> Result<Self, Error> {
        let start: i64 = columns.take()?;
        let trace_id = TraceId(columns.id()?);
        let (last_start, received) = (columns.take()?, columns.take()?);
        let (name, service_name) = (columns.take()?, columns.take()?);
        let (has_parent, head): (bool, _) = (columns.take()?, columns.id()?);
        Ok(Self {
            start,
            last_start,
            received,
            summary: TraceSummary {
                trace_id,
                name,
                service_name,
                root_span_id: (!has_parent).then_some(SpanId(head)),
                start_unix_nano: unsigned(start),
                end_unix_nano: columns.count()?,
                span_count: columns.count()?,
                error_count: columns.count()?,
                genai_span_count: columns.count()?,
                totals: columns.totals()?,
                services: columns.take()?,
                models: columns.take()?,
                session_id: columns.take()?,
                user_id: columns.take()?,
                first_error: first_error(columns)?,
            },
        })
    }
}

fn first_error(columns: &mut Columns<'_>) -> Result<Option<FirstError>, Error> {
    let span_id = columns.optional_id()?;
    let name: Option<String> = columns.take()?;
    let error_type = columns.take()?;
    let message: Option<String> = columns.take()?;
    Ok(span_id.map(|span_id| FirstError {
        span_id: SpanId(span_id),
        name: name.unwrap_or_default(),
        error_type,
        message: message.unwrap_or_default(),
    }))
}

/// Reads one trace's row.
pub(super) async fn one(
    session: &Session,
    project: ProjectId,
    trace_id: TraceId,
) -> Result<Option<TraceRow>, Error> {
    let (project, id) = (project_id(project), trace_id.0.as_slice());
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&id, Type::BYTEA)];
    let rows = session.query(ONE, &params, "read a trace").await?;
    let row = rows
        .first()
        .map(|row| TraceRow::read(&mut Columns::new(row)));
    row.transpose()
}

/// Answers the trace list.
pub(super) async fn list(
    session: &Session,
    project: ProjectId,
    filter: &TraceFilter,
    page: &PageRequest,
) -> Result<Page<TraceSummary>, Error> {
    let matching = matching(filter);
    let mut walk = Walk::new(session, page, matching);
    let place = Place::first(filter, page)?;
    let driver = driver(session, project, filter).await?;
    let (Some(mut place), Some(driver)) = (place, driver) else {
        return Ok(walk.finish());
    };
    let question = Question::new(project, filter, driver);
    let facts = FactTest::new(session, project, &filter.facts);
    let mut attributes = AttributeTest::new(&filter.attributes);
    let mut blocks = Blocks::new(session, project);
    loop {
        let piece = walk.piece();
        let rows = question.ask(session, &place, piece).await?;
        let looked: Result<Vec<_>, Error> = rows.iter().map(Looked::read).collect();
        let looked = looked?;
        let seen = looked.last().map_or(0, |row| row.number);
        if let Some(last) = looked.last() {
            place.below = (last.trace.start, last.trace.summary.trace_id.0.to_vec());
        }
        let mut rest = looked.into_iter();
        while rest.len() > 0 {
            let together = batch(rest.as_slice());
            let mut part: Vec<_> = rest.by_ref().take(together).collect();
            if let Some(test) = &facts {
                test.test(&mut part, &mut walk).await?;
            }
            let verdicts = match &mut attributes {
                Some(test) => blocks.test_traces(test, &part, &mut walk).await?,
                None => part.iter().map(|row| row.matches).collect(),
            };
            for (row, matches) in part.into_iter().zip(verdicts) {
                let cursor = row.cursor();
                if !walk.take(cursor, matches.then_some(row.trace.summary)) {
                    return Ok(walk.finish());
                }
            }
            if (attributes.is_some() || facts.is_some()) && walk.is_spent() {
                walk.stop();
                return Ok(walk.finish());
            }
        }
        if !walk.spend(seen) || seen < piece.rows {
            return Ok(walk.finish());
        }
    }
}

fn matching(filter: &TraceFilter) -> Matching {
    let driven_by_failed =
        filter.service.is_none() && filter.status_implied() == Some(StatusFilter::Error);
    let is_filtered = filter.name.is_some()
        || (filter.status_implied().is_some() && !driven_by_failed)
        || filter.duration_min_ns.is_some()
        || filter.duration_max_ns.is_some()
        || filter.session_id.is_some()
        || filter.user_id.is_some()
        || filter.tokens_min.is_some()
        || filter.cost_min_nano_usd.is_some();
    if !filter.attributes.is_empty() || !filter.facts.is_empty() {
        Matching::Here
    } else if is_filtered {
        Matching::Server
    } else {
        Matching::All
    }
}

/// How many of these rows to test together, at least one.
fn batch(rows: &[Looked]) -> usize {
    let mut spans = 0_u64;
    let fit = rows.iter().take_while(|row| {
        spans = spans.saturating_add(row.trace.summary.span_count);
        spans <= SPANS_TOGETHER
    });
    fit.count().max(1)
}

/// What drives the walk; `None` when there is no such session.
async fn driver(
    session: &Session,
    project: ProjectId,
    filter: &TraceFilter,
) -> Result<Option<Driver>, Error> {
    if let Some(id) = &filter.session_id {
        let (project, id) = (project_id(project), stored_text(id));
        let params: [Param<'_>; 2] = [(&project, Type::INT8), (&id, Type::TEXT)];
        let rows = session
            .query(SESSION_SIZE, &params, "look up a session")
            .await?;
        let size: Option<i64> = rows
            .first()
            .map(|row| Columns::new(row).take())
            .transpose()?;
        match size {
            None => return Ok(None),
            Some(size) if size <= SESSION_TRACES_MAX => return Ok(Some(Driver::Session)),
            Some(_) => {}
        }
    }
    Ok(Some(match (&filter.service, filter.status_implied()) {
        (Some(_), _) => Driver::Service,
        (None, Some(StatusFilter::Error)) => Driver::Failed,
        (None, _) => Driver::Start,
    }))
}

/// What is left of the list.
struct Place {
    from: i64,
    to: i64,
    /// The last row looked at.
    below: (i64, Vec<u8>),
}

impl Place {
    fn first(filter: &TraceFilter, page: &PageRequest) -> Result<Option<Self>, Error> {
        let Some((from, to)) = bounds(&filter.range, page.after.as_ref()) else {
            return Ok(None);
        };
        let below = match &page.after {
            // Every id is shorter, and so sorts before it.
            None => (i64::MAX, vec![u8::MAX; TraceId::LENGTH + 1]),
            Some(cursor) => {
                let id = TraceId::from_bytes(&cursor.key);
                let id = id.ok_or_else(|| corrupt("cursor of the trace list"))?;
                (signed(cursor.unix_nano), id.0.to_vec())
            }
        };
        Ok(Some(Self { from, to, below }))
    }
}

/// The parameters that stay the same from piece to piece.
struct Question {
    driver: Driver,
    project: i64,
    name: Option<String>,
    failed: Option<bool>,
    duration_min: i64,
    duration_max: i64,
    session_id: Option<String>,
    service: Option<String>,
    /// The service or session that drives the walk.
    driver_key: Option<String>,
    user_id: Option<String>,
    tokens_min: Option<i64>,
    cost_min: Option<i64>,
    model: Option<String>,
    /// A trace with as many models may have more.
    models_kept: i64,
}

impl Question {
    fn new(project: ProjectId, filter: &TraceFilter, driver: Driver) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(stored_text);
        let (session_id, service) = (text(&filter.session_id), text(&filter.service));
        // What drives the walk need not be tested again.
        let (session_id, service, driver_key) = match driver {
            Driver::Session => (None, service, session_id),
            Driver::Service => (session_id, None, service),
            Driver::Start | Driver::Failed => (session_id, service, None),
        };
        Self {
            driver,
            project: project_id(project),
            name: text(&filter.name),
            failed: filter
                .status_implied()
                .map(|status| status == StatusFilter::Error),
            duration_min: filter.duration_min_ns.map_or(0, signed),
            duration_max: filter.duration_max_ns.map_or(i64::MAX, signed),
            session_id,
            service,
            driver_key,
            user_id: text(&filter.user_id),
            tokens_min: filter.tokens_min,
            cost_min: filter.cost_min_nano_usd,
            model: Wanted::new(&filter.facts).model,
            models_kept: i64::try_from(MODELS_MAX).unwrap_or(i64::MAX),
        }
    }

    async fn ask(&self, session: &Session, place: &Place, piece: Piece) -> Result<Vec<Row>, Error> {
        let params: [Param<'_>; 19] = [
            (&self.project, Type::INT8),
            (&place.from, Type::INT8),
            (&place.to, Type::INT8),
            (&place.below.0, Type::INT8),
            (&place.below.1, Type::BYTEA),
            (&piece.rows, Type::INT8),
            (&piece.answers, Type::INT8),
            (&self.name, Type::TEXT),
            (&self.failed, Type::BOOL),
            (&self.duration_min, Type::INT8),
            (&self.duration_max, Type::INT8),
            (&self.session_id, Type::TEXT),
            (&self.service, Type::TEXT),
            (&self.driver_key, Type::TEXT),
            (&self.user_id, Type::TEXT),
            (&self.tokens_min, Type::INT8),
            (&self.cost_min, Type::INT8),
            (&self.model, Type::TEXT),
            (&self.models_kept, Type::INT8),
        ];
        session.query(self.driver.sql(), &params, CONTEXT).await
    }
}

/// A row that was looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) trace: TraceRow,
    /// Counted within its piece.
    number: i64,
    /// Whether the server found it to match.
    pub(super) matches: bool,
}

impl Looked {
    fn read(row: &Row) -> Result<Self, Error> {
        let mut columns = Columns::new(row);
        Ok(Self {
            number: columns.take()?,
            matches: columns.take()?,
            trace: TraceRow::read(&mut columns)?,
        })
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            unix_nano: self.trace.summary.start_unix_nano,
            key: self.trace.summary.trace_id.0.to_vec(),
        }
    }
}
