//! The span list.
//!
//! Spans of one trace are read by its key, all others by start, slice by slice of the partitions. A
//! span whose trace has been deleted is not there any more, even while its partition still is.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::blocks::Blocks;
use super::columns::{Columns, SpanColumns, span_columns};
use super::facts::Wanted;
use super::scan::{Matching, Piece, Walk, bounds};
use super::session::{Param, Session};
use super::slices::{Slice, slices, whole};
use super::{corrupt, project_id, signed, stored_text, traces};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::{Cursor, Error, Page, PageRequest, SpanFilter, SpanSummary, StatusFilter};

/// What the server tests, on a row `found`.
macro_rules! filters {
    () => {
        "($11::text IS NULL OR service_name = $11) \
         AND ($17::text IS NULL OR session_id = $17) AND ($18::text IS NULL OR user_id = $18) \
         AND ($19::bigint IS NULL \
             OR coalesce(input_tokens, 0)::numeric + coalesce(output_tokens, 0) >= $19) \
         AND ($20::bigint IS NULL OR coalesce(cost_nano_usd, 0) >= $20) \
         AND ($21::text IS NULL OR operation = $21) AND ($22::text IS NULL OR provider = $22) \
         AND ($23::text IS NULL OR coalesce(response_model, request_model) = $23) \
         AND ($24::text IS NULL OR agent_name = $24 OR agent_id = $24) \
         AND ($25::text IS NULL OR tool_name = $25) AND ($26::text IS NULL OR $26 = ANY(tags)) \
         AND ($27::smallint IS NULL OR error_kind = $27) \
         AND ($12::text IS NULL OR name = $12) \
         AND ($13::boolean IS NULL OR (status = 2) = $13) \
         AND duration_ns BETWEEN $14 AND $15 \
         AND received_unix_nano >= (SELECT trace.received_unix_nano FROM trace \
             WHERE trace.project_id = $1 AND trace.trace_id = found.trace_id)"
    };
}

/// A piece of the walk: what matches, and the last row looked at. Each row is tested once: the
/// offset keeps the test from being copied to where its outcome is used.
macro_rules! select_spans {
    ($which:literal, $start:literal) => {
        concat!(
            "SELECT number, matches, ",
            span_columns!(),
            " FROM ( \
             SELECT *, (",
            filters!(),
            ") IS TRUE AS matches FROM ( \
             SELECT *, row_number() OVER walked AS number, \
                 lead(true) OVER walked IS NULL AS is_last \
             FROM (SELECT ",
            span_columns!(),
            " FROM span WHERE project_id = $1 ",
            $which,
            " AND start_time >= $2 AND start_time < $3 AND ",
            $start,
            " BETWEEN $4 AND $5 \
             AND (",
            $start,
            ", span_id, trace_id) < ($6, $7, $8) \
             ORDER BY ",
            $start,
            " DESC, span_id DESC, trace_id DESC LIMIT $9) AS looked \
             WINDOW walked AS (ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC) \
             ) AS found ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC OFFSET 0 \
             ) AS tested WHERE matches OR is_last \
             ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC LIMIT $10"
        )
    };
}

/// What yields spans newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// All spans.
    Start,
    /// Failed spans.
    Failed,
    /// Spans of a trace.
    Trace,
}

impl Driver {
    /// The statement of a piece.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Start => select_spans!("", "start_unix_nano"),
            Self::Failed => select_spans!("AND status = 2", "start_unix_nano"),
            // Sorted, never walked by start: the sum is in no index.
            Self::Trace => select_spans!("AND trace_id = $16", "start_unix_nano + 0"),
        }
    }
}

const CONTEXT: &str = "list spans";

/// Answers the span list.
pub(super) async fn list(
    session: &Session,
    project: ProjectId,
    filter: &SpanFilter,
    page: &PageRequest,
) -> Result<Page<SpanSummary>, Error> {
    let mut walk = Walk::new(session, page, matching(filter));
    let Some((mut from, mut to)) = bounds(&filter.range, page.after.as_ref()) else {
        return Ok(walk.finish());
    };
    let slices = match filter.trace_id {
        None => slices(session, from, to).await?,
        Some(trace_id) => {
            let Some(trace) = traces::one(session, project, trace_id).await? else {
                return Ok(walk.finish());
            };
            from = from.max(trace.start);
            to = to.min(trace.last_start);
            if from > to {
                return Ok(walk.finish());
            }
            vec![whole(from, to)]
        }
    };
    let mut scan = Scan {
        question: Question::new(project, filter),
        place: Place::new(from, to, page)?,
        attributes: AttributeTest::new(&filter.attributes),
        blocks: Blocks::new(session, project),
        session,
    };
    for slice in slices {
        if !scan.walk(slice, &mut walk).await? {
            break;
        }
    }
    Ok(walk.finish())
}

fn matching(filter: &SpanFilter) -> Matching {
    let driven_by_failed =
        filter.trace_id.is_none() && filter.status_implied() == Some(StatusFilter::Error);
    let is_filtered = filter.service.is_some()
        || filter.name.is_some()
        || (filter.status_implied().is_some() && !driven_by_failed)
        || filter.duration_min_ns.is_some()
        || filter.duration_max_ns.is_some()
        || filter.session_id.is_some()
        || filter.user_id.is_some()
        || filter.tokens_min.is_some()
        || filter.cost_min_nano_usd.is_some()
        || !filter.facts.is_empty();
    if !filter.attributes.is_empty() {
        Matching::Here
    } else if is_filtered {
        Matching::Server
    } else {
        Matching::All
    }
}

struct Scan<'s, 'f> {
    session: &'s Session,
    question: Question,
    place: Place,
    attributes: Option<AttributeTest<'f>>,
    blocks: Blocks<'s>,
}

impl Scan<'_, '_> {
    /// Walks a slice to its end; answers whether to go on with the next.
    async fn walk(&mut self, slice: Slice, walk: &mut Walk<SpanSummary>) -> Result<bool, Error> {
        loop {
            let piece = walk.piece();
            let rows = self
                .question
                .ask(self.session, slice, &self.place, piece)
                .await?;
            let looked: Result<Vec<_>, Error> = rows.iter().map(Looked::read).collect();
            let mut looked = looked?;
            let seen = looked.last().map_or(0, |row| row.number);
            if let Some(last) = looked.last() {
                let summary = &last.span.summary;
                let start = signed(summary.start_unix_nano);
                let (span, trace) = (summary.span_id.0.to_vec(), summary.trace_id.0.to_vec());
                self.place.below = (start, span, trace);
            }
            if let Some(test) = &mut self.attributes {
                self.blocks.test_spans(test, &mut looked, walk).await?;
            }
            for row in looked {
                let item = row.matches.then_some(row.span.summary);
                if !walk.take(row.cursor, item) {
                    return Ok(false);
                }
            }
            if self.attributes.is_some() && walk.is_spent() {
                walk.stop();
                return Ok(false);
            }
            if !walk.spend(seen) {
                return Ok(false);
            }
            if seen < piece.rows {
                return Ok(true);
            }
        }
    }
}

/// What is left of the list.
struct Place {
    from: i64,
    to: i64,
    /// The last row looked at.
    below: (i64, Vec<u8>, Vec<u8>),
}

impl Place {
    fn new(from: i64, to: i64, page: &PageRequest) -> Result<Self, Error> {
        let below = match &page.after {
            // Every id is shorter, and so sorts before it.
            None => (i64::MAX, vec![u8::MAX; SpanId::LENGTH + 1], Vec::new()),
            Some(cursor) => {
                let key = cursor.key.split_at_checked(SpanId::LENGTH);
                let key = key.filter(|(_, trace)| trace.len() == TraceId::LENGTH);
                let (span, trace) = key.ok_or_else(|| corrupt("cursor of the span list"))?;
                (signed(cursor.unix_nano), span.to_vec(), trace.to_vec())
            }
        };
        Ok(Self { from, to, below })
    }
}

/// The parameters that stay the same from piece to piece.
struct Question {
    driver: Driver,
    project: i64,
    service: Option<String>,
    name: Option<String>,
    failed: Option<bool>,
    duration_min: i64,
    duration_max: i64,
    trace_id: Option<Vec<u8>>,
    session_id: Option<String>,
    user_id: Option<String>,
    tokens_min: Option<i64>,
    cost_min: Option<i64>,
    wanted: Wanted,
}

impl Question {
    fn new(project: ProjectId, filter: &SpanFilter) -> Self {
        let driver = match (filter.trace_id, filter.status_implied()) {
            (Some(_), _) => Driver::Trace,
            (None, Some(StatusFilter::Error)) => Driver::Failed,
            (None, _) => Driver::Start,
        };
        let text = |text: &Option<String>| text.as_deref().map(stored_text);
        Self {
            driver,
            project: project_id(project),
            service: text(&filter.service),
            name: text(&filter.name),
            failed: filter
                .status_implied()
                .map(|status| status == StatusFilter::Error),
            duration_min: filter.duration_min_ns.map_or(0, signed),
            duration_max: filter.duration_max_ns.map_or(i64::MAX, signed),
            trace_id: filter.trace_id.map(|id| id.0.to_vec()),
            session_id: text(&filter.session_id),
            user_id: text(&filter.user_id),
            tokens_min: filter.tokens_min,
            cost_min: filter.cost_min_nano_usd,
            wanted: Wanted::new(&filter.facts),
        }
    }

    async fn ask(
        &self,
        session: &Session,
        slice: Slice,
        place: &Place,
        piece: Piece,
    ) -> Result<Vec<Row>, Error> {
        let (start, span, trace) = &place.below;
        let wanted = &self.wanted;
        let params: [Param<'_>; 27] = [
            (&self.project, Type::INT8),
            (&slice.from, Type::TIMESTAMPTZ),
            (&slice.before, Type::TIMESTAMPTZ),
            (&place.from, Type::INT8),
            (&place.to, Type::INT8),
            (start, Type::INT8),
            (span, Type::BYTEA),
            (trace, Type::BYTEA),
            (&piece.rows, Type::INT8),
            (&piece.answers, Type::INT8),
            (&self.service, Type::TEXT),
            (&self.name, Type::TEXT),
            (&self.failed, Type::BOOL),
            (&self.duration_min, Type::INT8),
            (&self.duration_max, Type::INT8),
            (&self.trace_id, Type::BYTEA),
            (&self.session_id, Type::TEXT),
            (&self.user_id, Type::TEXT),
            (&self.tokens_min, Type::INT8),
            (&self.cost_min, Type::INT8),
            (&wanted.operation, Type::TEXT),
            (&wanted.provider, Type::TEXT),
            (&wanted.model, Type::TEXT),
            (&wanted.agent, Type::TEXT),
            (&wanted.tool, Type::TEXT),
            (&wanted.tag, Type::TEXT),
            (&wanted.error_kind, Type::INT2),
        ];
        match self.driver {
            Driver::Start | Driver::Failed => {
                session.walk(self.driver.sql(), &params, CONTEXT).await
            }
            Driver::Trace => session.query(self.driver.sql(), &params, CONTEXT).await,
        }
    }
}

/// A row that was looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) span: SpanColumns,
    /// Counted within its piece.
    number: i64,
    /// Whether it was found to match so far.
    pub(super) matches: bool,
    cursor: Cursor,
}

impl Looked {
    fn read(row: &Row) -> Result<Self, Error> {
        let mut columns = Columns::new(row);
        let (number, matches) = (columns.take()?, columns.take()?);
        let span = SpanColumns::read(&mut columns)?;
        let mut key = span.summary.span_id.0.to_vec();
        key.extend(span.summary.trace_id.0);
        Ok(Self {
            cursor: Cursor {
                unix_nano: span.summary.start_unix_nano,
                key,
            },
            span,
            number,
            matches,
        })
    }
}
