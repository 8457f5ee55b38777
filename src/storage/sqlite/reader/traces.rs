//! The trace list.
//!
//! One index drives the walk, chosen by the filters: the traces of a service, the failed traces,
//! or all by start. A session's traces are few as a rule: they are sorted by start, unless there
//! are so many that walking by start is better. Everything else is tested row by row.

use rusqlite::{Row, params};

use super::blocks::Blocks;
use super::failure::read_error;
use super::keys::{self, Origins, id_bytes};
use super::pool::Session;
use super::scan::{Budget, Stretch, stretches};
use super::{corrupt, unsigned};
use crate::model::genai::Totals;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::attributes::AttributeTest;
use crate::storage::query::FirstError;
use crate::storage::sqlite::ids::{self, Space};
use crate::storage::sqlite::sessions;
use crate::storage::{Cursor, Error, Page, PageRequest, StatusFilter, TraceFilter, TraceSummary};

/// A statement over `trace`, its columns in the order [`summary`] reads them.
macro_rules! select_trace {
    ($rest:literal) => {
        concat!(
            "SELECT trace.trace_key, trace.start_unix_nano, end_unix_nano, head_name, ",
            "error_count, trace_id, span_count, genai_span_count, head_has_parent, ",
            "head_span_id, head_service, services, models, session_id, user_id, error_span_id, ",
            "error_name, error_type, error_message, llm_call_count, input_tokens, output_tokens, ",
            "cache_read_tokens, cost_nano_usd ",
            $rest
        )
    };
}

/// One trace by its row.
pub(super) const ONE: &str = select_trace!("FROM trace WHERE project_id = ?1 AND trace_key = ?2");

/// Traces with this many sessions' traces are sorted in memory; above it they are looked for by
/// start.
const SESSION_TRACES_MAX: i64 = 20_000;

const CONTEXT: &str = "list traces";

/// An index that yields traces newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Driver {
    /// All traces.
    Start,
    /// Traces with a failed span.
    Failed,
    /// Traces of a service.
    Service,
}

impl Driver {
    /// Statement for traces that start at the cursor's time, below its key.
    pub(super) const fn tie(self) -> &'static str {
        match self {
            Self::Start => select_trace!(
                "FROM trace INDEXED BY trace_start \
                 WHERE project_id = ?1 AND start_unix_nano = ?2 AND trace_key < ?3 \
                 ORDER BY trace_key DESC"
            ),
            Self::Failed => select_trace!(
                "FROM trace INDEXED BY trace_failed WHERE project_id = ?1 AND error_count > 0 \
                 AND start_unix_nano = ?2 AND trace_key < ?3 ORDER BY trace_key DESC"
            ),
            Self::Service => select_trace!(
                "FROM trace_service AS part CROSS JOIN trace USING (trace_key) \
                 WHERE part.project_id = ?1 AND trace.project_id = ?1 \
                 AND part.service_name = ?4 AND part.start_unix_nano = ?2 \
                 AND part.trace_key < ?3 ORDER BY part.trace_key DESC"
            ),
        }
    }

    /// Statement for traces that start within a range.
    pub(super) const fn between(self) -> &'static str {
        match self {
            Self::Start => select_trace!(
                "FROM trace INDEXED BY trace_start \
                 WHERE project_id = ?1 AND start_unix_nano BETWEEN ?2 AND ?3 \
                 ORDER BY start_unix_nano DESC, trace_key DESC"
            ),
            Self::Failed => select_trace!(
                "FROM trace INDEXED BY trace_failed WHERE project_id = ?1 AND error_count > 0 \
                 AND start_unix_nano BETWEEN ?2 AND ?3 \
                 ORDER BY start_unix_nano DESC, trace_key DESC"
            ),
            Self::Service => select_trace!(
                "FROM trace_service AS part CROSS JOIN trace USING (trace_key) \
                 WHERE part.project_id = ?1 AND trace.project_id = ?1 \
                 AND part.service_name = ?4 AND part.start_unix_nano BETWEEN ?2 AND ?3 \
                 ORDER BY part.start_unix_nano DESC, part.trace_key DESC"
            ),
        }
    }
}

/// Rows of a session's traces with their starts; sorted by us.
pub(super) const SESSION_TRACES: &str = "SELECT trace.start_unix_nano, trace.trace_key FROM session_trace \
     CROSS JOIN trace USING (trace_key) \
     WHERE session_trace.session_key = ?2 AND trace.project_id = ?1";
/// Whether a service takes part in a trace: its list in the summary is capped.
pub(super) const HAS_SERVICE: &str = "SELECT 1 FROM trace_service \
     WHERE project_id = ?1 AND service_name = ?2 AND start_unix_nano = ?3 AND trace_key = ?4";
/// Whether a trace has a span of a session.
pub(super) const HAS_SESSION: &str =
    "SELECT 1 FROM session_trace WHERE session_key = ?1 AND trace_key = ?2";

/// Answers the trace list.
pub(super) fn list(
    session: &Session<'_>,
    project: ProjectId,
    filter: &TraceFilter,
    page: &PageRequest,
) -> Result<Page<TraceSummary>, Error> {
    let mut scan = Scan {
        session,
        project,
        filter,
        session_key: None,
        limit: page.limit.max(1),
        attributes: AttributeTest::new(&filter.attributes),
        origins: Origins::new(session, project),
        blocks: Blocks::new(session, project),
        budget: Budget::new(session),
        last: None,
        page: Page {
            items: Vec::new(),
            next: None,
        },
    };
    let stretches = stretches(&filter.range, page.after.as_ref());
    match filter.session_id.as_deref() {
        Some(id) => {
            let Some((key, traces)) = find_session(session, project, id)? else {
                return Ok(scan.page);
            };
            scan.session_key = Some(key);
            if traces <= SESSION_TRACES_MAX {
                scan.walk_session(key, &stretches)?;
            } else {
                scan.walk_index(&stretches)?;
            }
        }
        None => scan.walk_index(&stretches)?,
    }
    Ok(scan.page)
}

/// Row of a session, and how many traces it has.
fn find_session(
    session: &Session<'_>,
    project: ProjectId,
    session_id: &str,
) -> Result<Option<(i64, i64)>, Error> {
    let read = read_error("look up a session");
    let connection = session.connection;
    let id = sessions::digest(session_id);
    let key = ids::find(connection, Space::Sessions, project, &id, |key| {
        sessions::is_of(connection, key, project, session_id)
    });
    let Some(key) = key.map_err(&read)? else {
        return Ok(None);
    };
    let traces = connection
        .prepare_cached("SELECT trace_count FROM session WHERE session_key = ?1")
        .and_then(|mut statement| statement.query_row([key], |row| row.get(0)))
        .map_err(&read)?;
    Ok(Some((key, traces)))
}

/// A page being filled.
struct Scan<'s, 'f> {
    session: &'s Session<'s>,
    project: ProjectId,
    filter: &'f TraceFilter,
    /// Row of the wanted session.
    session_key: Option<i64>,
    limit: usize,
    attributes: Option<AttributeTest<'f>>,
    origins: Origins<'s>,
    blocks: Blocks<'s>,
    budget: Budget,
    /// The last trace looked at.
    last: Option<Cursor>,
    page: Page<TraceSummary>,
}

impl Scan<'_, '_> {
    fn walk_index(&mut self, stretches: &[Stretch]) -> Result<(), Error> {
        let read = read_error(CONTEXT);
        let driver = match self.filter {
            TraceFilter {
                service: Some(_), ..
            } => Driver::Service,
            TraceFilter {
                status: Some(StatusFilter::Error),
                ..
            } => Driver::Failed,
            _ => Driver::Start,
        };
        let service = self.filter.service.as_deref();
        for stretch in stretches {
            let (sql, second, third) = match stretch {
                Stretch::Tie { at, key } => (driver.tie(), *at, trace_key_of(key)?),
                Stretch::Between { from, to } => (driver.between(), *from, *to),
            };
            let mut statement = self.session.connection.prepare_cached(sql).map_err(&read)?;
            let mut rows = match service {
                Some(service) => statement.query(params![self.project.0, second, third, service]),
                None => statement.query(params![self.project.0, second, third]),
            }
            .map_err(&read)?;
            while let Some(row) = rows.next().map_err(&read)? {
                if !self.take(row)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn walk_session(&mut self, session_key: i64, stretches: &[Stretch]) -> Result<(), Error> {
        let read = read_error(CONTEXT);
        let mut traces: Vec<(i64, i64)> = self
            .session
            .connection
            .prepare_cached(SESSION_TRACES)
            .and_then(|mut statement| {
                statement
                    .query_map(params![self.project.0, session_key], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                    .collect()
            })
            .map_err(&read)?;
        traces.sort_unstable_by(|left, right| right.cmp(left));
        for stretch in stretches {
            let (from, to, below) = match stretch {
                Stretch::Tie { at, key } => (*at, *at, trace_key_of(key)?),
                Stretch::Between { from, to } => (*from, *to, i64::MAX),
            };
            let wanted = traces
                .iter()
                .filter(|(start, key)| (from..=to).contains(start) && *key < below);
            for (_, trace_key) in wanted {
                let mut statement = self.session.connection.prepare_cached(ONE).map_err(&read)?;
                let mut rows = statement
                    .query(params![self.project.0, trace_key])
                    .map_err(&read)?;
                if let Some(row) = rows.next().map_err(&read)?
                    && !self.take(row)?
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Looks at a row; answers whether to go on.
    fn take(&mut self, row: &Row<'_>) -> Result<bool, Error> {
        if self.page.items.len() >= self.limit || !self.budget.allows_row() {
            self.page.next = self.last.take();
            return Ok(false);
        }
        let read = read_error(CONTEXT);
        let trace_key: i64 = row.get(0).map_err(&read)?;
        let start: i64 = row.get(1).map_err(&read)?;
        self.last = Some(Cursor {
            unix_nano: unsigned(start),
            key: trace_key.to_be_bytes().to_vec(),
        });
        if self.columns_match(row, start).map_err(&read)?
            && self.memberships_match(trace_key, start).map_err(&read)?
            && self.attributes_match(trace_key)?
        {
            self.page.items.push(summary(row)?);
        }
        Ok(true)
    }

    fn columns_match(&self, row: &Row<'_>, start: i64) -> rusqlite::Result<bool> {
        let filter = self.filter;
        if let Some(name) = &filter.name
            && row.get_ref(3)?.as_str()? != name
        {
            return Ok(false);
        }
        if let Some(wanted) = filter.status {
            let failed = row.get::<_, i64>(4)? > 0;
            if failed != (wanted == StatusFilter::Error) {
                return Ok(false);
            }
        }
        let duration = unsigned(row.get::<_, i64>(2)?.saturating_sub(start));
        Ok(filter.duration_min_ns.is_none_or(|min| duration >= min)
            && filter.duration_max_ns.is_none_or(|max| duration <= max))
    }

    /// Tests service and session against the tables that say who takes part in what.
    fn memberships_match(&self, trace_key: i64, start: i64) -> rusqlite::Result<bool> {
        let connection = self.session.connection;
        if let Some(service) = &self.filter.service {
            let mut statement = connection.prepare_cached(HAS_SERVICE)?;
            if !statement.exists(params![self.project.0, service, start, trace_key])? {
                return Ok(false);
            }
        }
        if let Some(session_key) = self.session_key {
            let mut statement = connection.prepare_cached(HAS_SESSION)?;
            if !statement.exists(params![session_key, trace_key])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn attributes_match(&mut self, trace_key: i64) -> Result<bool, Error> {
        let Some(test) = &mut self.attributes else {
            return Ok(true);
        };
        for part in keys::parts(self.session, self.project, trace_key)? {
            let (messages, unpacked) = self.blocks.messages(part.block_id)?;
            if unpacked {
                self.budget.spend_block();
            }
            for span in messages.spans().skip(part.first_place).take(part.spans) {
                if self.origins.test(test, span)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn trace_key_of(key: &[u8]) -> Result<i64, Error> {
    key.try_into()
        .map(i64::from_be_bytes)
        .map_err(|_| corrupt("cursor of the trace list"))
}

/// Reads a row selected with `select_trace!`.
pub(super) fn summary(row: &Row<'_>) -> Result<TraceSummary, Error> {
    let read = read_error("read a trace");
    let services = names(row, 11)?;
    let models = names(row, 12)?;
    columns(row, services, models).map_err(read)
}

fn names(row: &Row<'_>, column: usize) -> Result<Vec<String>, Error> {
    let text = row
        .get_ref(column)
        .and_then(|value| Ok(value.as_str()?))
        .map_err(read_error("read a trace"))?;
    serde_json::from_str(text).map_err(|_| corrupt("a list of names of a trace"))
}

fn columns(
    row: &Row<'_>,
    services: Vec<String>,
    models: Vec<String>,
) -> rusqlite::Result<TraceSummary> {
    let count = |column| -> rusqlite::Result<u64> { Ok(unsigned(row.get(column)?)) };
    let headless: bool = row.get(8)?;
    let error_span: Option<[u8; SpanId::LENGTH]> = row.get(15)?;
    let first_error = match error_span {
        None => None,
        Some(span_id) => Some(FirstError {
            span_id: SpanId(span_id),
            name: row.get::<_, Option<String>>(16)?.unwrap_or_default(),
            error_type: row.get(17)?,
            message: row.get::<_, Option<String>>(18)?.unwrap_or_default(),
        }),
    };
    Ok(TraceSummary {
        trace_id: TraceId(id_bytes(row, 5)?),
        name: row.get(3)?,
        service_name: row.get(10)?,
        root_span_id: if headless {
            None
        } else {
            Some(SpanId(id_bytes(row, 9)?))
        },
        start_unix_nano: count(1)?,
        end_unix_nano: count(2)?,
        span_count: count(6)?,
        error_count: count(4)?,
        genai_span_count: count(7)?,
        totals: Totals {
            llm_calls: row.get(19)?,
            input_tokens: row.get(20)?,
            output_tokens: row.get(21)?,
            cache_read_tokens: row.get(22)?,
            cost_nano_usd: row.get(23)?,
        },
        services,
        models,
        session_id: row.get(13)?,
        user_id: row.get(14)?,
        first_error,
    })
}
