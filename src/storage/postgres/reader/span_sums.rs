//! Sums over time from the columns of spans, for what rollups don't have.
//!
//! Spans are walked newest first, slice by slice of the partitions, in pieces. Where time does not
//! suffice for all of them, the answer counts the spans from some second on.

use std::time::{Instant, SystemTime};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::Columns;
use super::session::{Param, Session};
use super::slices::{Slice, slices};
use super::{project_id, stored_text, unsigned};
use crate::model::ProjectId;
use crate::model::failure::ErrorKind;
use crate::model::genai::{CostSource, Usage};
use crate::model::span::Status;
use crate::storage::Error;
use crate::storage::query::{AnalyticsAnswer, AnalyticsQuery, Dimension};
use crate::storage::tally::{Sample, Tally, Texts};

/// A piece of the spans that start within a range, newest first, with the texts that are wanted.
/// What arrived before its trace belongs to one that was deleted.
pub(super) const SPANS: &str = "SELECT start_unix_nano, duration_ns, status, is_model_call, \
         input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, \
         audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, \
         cost_nano_usd, cost_source, \
         time_to_first_token_ns, error_kind, \
         (received_unix_nano >= (SELECT trace.received_unix_nano FROM trace \
             WHERE trace.project_id = $1 AND trace.trace_id = found.trace_id)) IS TRUE, \
         CASE WHEN $7 THEN service_name END, CASE WHEN $8 THEN operation END, \
         CASE WHEN $9 THEN provider END, \
         CASE WHEN $10 THEN coalesce(response_model, request_model) END, \
         CASE WHEN $11 THEN user_id END, CASE WHEN $12 THEN coalesce(agent_name, agent_id) END, \
         CASE WHEN $13 THEN tool_name END, CASE WHEN $14 THEN tags END, \
         CASE WHEN $15 THEN (SELECT environment FROM resource \
             WHERE resource.project_id = $1 AND resource.resource_id = found.resource_id) END \
     FROM (SELECT * FROM span WHERE project_id = $1 AND start_time >= $2 AND start_time < $3 \
         AND start_unix_nano BETWEEN $4 AND $5 ORDER BY start_unix_nano DESC LIMIT $6) AS found \
     ORDER BY start_unix_nano DESC";

/// Rows of a piece.
const ROWS: usize = 5_000;

const CONTEXT: &str = "add spans up";

/// Adds spans up.
pub(super) async fn answer(
    session: &Session,
    project: ProjectId,
    query: &AnalyticsQuery,
) -> Result<AnalyticsAnswer, Error> {
    let stored = |(dimension, value): &(Dimension, String)| (*dimension, stored_text(value));
    let query = &AnalyticsQuery {
        filters: query.filters.iter().map(stored).collect(),
        ..query.clone()
    };
    let mut tally = Tally::new(query);
    let Some((from, to)) = Tally::bounds(query) else {
        return Ok(tally.whole());
    };
    let wanted = Wanted::new(project, query);
    let mut rest = to;
    for slice in slices(session, from, to).await? {
        let mut rows_wanted = ROWS;
        loop {
            if !tally.shown_from(rest.saturating_add(1)) || Instant::now() >= session.scan_deadline
            {
                return Ok(tally.partial());
            }
            let rows = wanted
                .ask(session, slice, (from, rest), rows_wanted)
                .await?;
            let spans: Result<Vec<_>, Error> = rows.iter().map(Looked::read).collect();
            let spans = spans?;
            let last = spans.last().map(|span| span.sample.start_unix_nano);
            // Spans that start together are added together, by the next piece.
            let cut = last.filter(|_| spans.len() >= rows_wanted);
            let is_whole =
                |span: &&Looked<'_>| cut.is_none_or(|cut| span.sample.start_unix_nano > cut);
            let mut whole = 0_usize;
            for span in spans.iter().filter(is_whole) {
                whole += 1;
                if span.is_alive {
                    tally.add(&span.sample, span);
                }
            }
            let Some(cut) = cut else {
                rest = rest.min(first_of(slice).saturating_sub(1));
                break;
            };
            if whole == 0 {
                rows_wanted = rows_wanted.saturating_mul(4);
            } else {
                rows_wanted = ROWS;
                rest = cut;
            }
        }
    }
    Ok(tally.whole())
}

/// The first start in a slice, ns.
fn first_of(slice: Slice) -> i64 {
    let from = slice.from.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(from.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// The parameters that stay the same from piece to piece.
struct Wanted {
    project: i64,
    texts: [bool; 9],
}

impl Wanted {
    fn new(project: ProjectId, query: &AnalyticsQuery) -> Self {
        let texts = [
            Dimension::Service,
            Dimension::Operation,
            Dimension::Provider,
            Dimension::Model,
            Dimension::User,
            Dimension::Agent,
            Dimension::Tool,
            Dimension::Tag,
            Dimension::Environment,
        ];
        Self {
            project: project_id(project),
            texts: texts.map(|dimension| query.has(dimension)),
        }
    }

    async fn ask(
        &self,
        session: &Session,
        slice: Slice,
        (from, to): (i64, i64),
        rows: usize,
    ) -> Result<Vec<Row>, Error> {
        let limit = i64::try_from(rows).unwrap_or(i64::MAX);
        let [
            service,
            operation,
            provider,
            model,
            user,
            agent,
            tool,
            tags,
            environment,
        ] = &self.texts;
        let params: [Param<'_>; 15] = [
            (&self.project, Type::INT8),
            (&slice.from, Type::TIMESTAMPTZ),
            (&slice.before, Type::TIMESTAMPTZ),
            (&from, Type::INT8),
            (&to, Type::INT8),
            (&limit, Type::INT8),
            (service, Type::BOOL),
            (operation, Type::BOOL),
            (provider, Type::BOOL),
            (model, Type::BOOL),
            (user, Type::BOOL),
            (agent, Type::BOOL),
            (tool, Type::BOOL),
            (tags, Type::BOOL),
            (environment, Type::BOOL),
        ];
        session.walk(SPANS, &params, CONTEXT).await
    }
}

/// A span that was looked at.
struct Looked<'r> {
    sample: Sample,
    is_alive: bool,
    error_kind: Option<ErrorKind>,
    service: Option<&'r str>,
    operation: Option<&'r str>,
    provider: Option<&'r str>,
    model: Option<&'r str>,
    user: Option<&'r str>,
    agent: Option<&'r str>,
    tool: Option<&'r str>,
    tags: Option<Vec<&'r str>>,
    environment: Option<&'r str>,
}

impl<'r> Looked<'r> {
    fn read(row: &'r Row) -> Result<Self, Error> {
        let mut columns = Columns::new(row);
        let start_unix_nano = columns.take()?;
        let duration_ns = unsigned(columns.take()?);
        let failed = columns.take::<i16>()? == i16::from(Status::Error as u8);
        let sample = Sample {
            start_unix_nano,
            duration_ns,
            failed,
            is_model_call: columns.take::<Option<bool>>()? == Some(true),
            usage: Usage {
                input: columns.take()?,
                output: columns.take()?,
                cache_read: columns.take()?,
                cache_write: columns.take()?,
                reasoning: columns.take()?,
                audio_in: columns.take()?,
                audio_out: columns.take()?,
                image_in: columns.take()?,
                image_out: columns.take()?,
            },
            cost_nano_usd: columns.take()?,
            cost_source: number(&mut columns)?.and_then(CostSource::from_number),
            time_to_first_token_ns: columns.take()?,
        };
        let error_kind = number(&mut columns)?.filter(|_| failed);
        Ok(Self {
            sample,
            error_kind: error_kind.and_then(ErrorKind::from_number),
            is_alive: columns.take()?,
            service: columns.take()?,
            operation: columns.take()?,
            provider: columns.take()?,
            model: columns.take()?,
            user: columns.take()?,
            agent: columns.take()?,
            tool: columns.take()?,
            tags: columns.take()?,
            environment: columns.take()?,
        })
    }
}

fn number(columns: &mut Columns<'_>) -> Result<Option<i64>, Error> {
    let number: Option<i16> = columns.take()?;
    Ok(number.map(i64::from))
}

impl Texts for Looked<'_> {
    fn value(&self, dimension: Dimension) -> &str {
        let found = match dimension {
            Dimension::Service => self.service,
            Dimension::Operation => self.operation,
            Dimension::Provider => self.provider,
            Dimension::Model => self.model,
            Dimension::User => self.user,
            Dimension::Agent => self.agent,
            Dimension::Tool => self.tool,
            Dimension::Environment => self.environment,
            Dimension::ErrorKind => self.error_kind.map(ErrorKind::as_str),
            Dimension::CostSource => self.sample.cost_source.map(CostSource::as_str),
            Dimension::Tag => None,
        };
        found.unwrap_or_default()
    }

    fn tags(&self) -> Vec<&str> {
        self.tags.clone().unwrap_or_default()
    }
}
