//! The trace list.
//!
//! One index drives the walk, chosen by the filters: the traces of a service, the failed traces,
//! or all by start. A session's traces are few as a rule: they are sorted by start, unless there
//! are so many that walking by start is better. Everything else is tested row by row.

mod sql;

use rusqlite::{OptionalExtension as _, Row, params};

use super::blocks::Blocks;
use super::failure::read_error;
use super::keys::{self, Origins};
use super::pool::Session;
use super::scan::{Budget, Stretch, stretches};
use super::{corrupt, unsigned};
use crate::model::ProjectId;
use crate::storage::attributes::AttributeTest;
use crate::storage::query::Fact;
use crate::storage::sqlite::ids::{self, Space};
use crate::storage::sqlite::sessions;
use crate::storage::summary::MODELS_MAX;
use crate::storage::{Cursor, Error, Page, PageRequest, StatusFilter, TraceFilter, TraceSummary};
pub(super) use sql::{Driver, HAS_SERVICE, HAS_SESSION, ONE, SESSION_TRACES, summary};

/// Traces with this many sessions' traces are sorted in memory; above it they are looked for by
/// start.
const SESSION_TRACES_MAX: i64 = 20_000;

const CONTEXT: &str = "list traces";

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

/// One trace by its row.
pub(super) fn one(
    session: &Session<'_>,
    project: ProjectId,
    trace_key: i64,
) -> Result<TraceSummary, Error> {
    session
        .connection
        .prepare_cached(ONE)
        .and_then(|mut statement| {
            statement
                .query_row(params![project.0, trace_key], |row| Ok(summary(row)))
                .optional()
        })
        .map_err(read_error("read a trace"))?
        .ok_or_else(|| corrupt("a trace without its row"))?
}

/// Row of a session, and how many traces it has.
pub(super) fn find_session(
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
        let driver = match (&self.filter.service, self.filter.status_implied()) {
            (Some(_), _) => Driver::Service,
            (None, Some(StatusFilter::Error)) => Driver::Failed,
            (None, _) => Driver::Start,
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
            && self.sums_match(row).map_err(&read)?
            && self.memberships_match(trace_key, start).map_err(&read)?
            && self.facts_match(row, trace_key)?
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
        if let Some(user) = &filter.user_id
            && row.get_ref(14)?.as_str_or_null()? != Some(user.as_str())
        {
            return Ok(false);
        }
        if let Some(wanted) = filter.status_implied() {
            let failed = row.get::<_, i64>(4)? > 0;
            if failed != (wanted == StatusFilter::Error) {
                return Ok(false);
            }
        }
        let duration = unsigned(row.get::<_, i64>(2)?.saturating_sub(start));
        Ok(filter.duration_min_ns.is_none_or(|min| duration >= min)
            && filter.duration_max_ns.is_none_or(|max| duration <= max))
    }

    /// Tests what the model calls add up to.
    fn sums_match(&self, row: &Row<'_>) -> rusqlite::Result<bool> {
        if let Some(min) = self.filter.tokens_min {
            let (input, output): (i64, i64) = (row.get(20)?, row.get(21)?);
            if input.saturating_add(output) < min {
                return Ok(false);
            }
        }
        let cost: i64 = row.get(23)?;
        Ok(self.filter.cost_min_nano_usd.is_none_or(|min| cost >= min))
    }

    /// Whether the spans of a trace say everything that is wanted, one this, another that.
    fn facts_match(&mut self, row: &Row<'_>, trace_key: i64) -> Result<bool, Error> {
        let mut open: Vec<&Fact> = Vec::new();
        for fact in &self.filter.facts {
            match fact {
                Fact::Model(model) => {
                    let models = sql::names(row, 12)?;
                    if models.contains(model) {
                        continue;
                    }
                    // Fewer than are kept are all there are.
                    if models.len() < MODELS_MAX {
                        return Ok(false);
                    }
                }
                Fact::Operation(_)
                | Fact::Provider(_)
                | Fact::Agent(_)
                | Fact::Tool(_)
                | Fact::Tag(_)
                | Fact::ErrorKind(_) => {}
            }
            open.push(fact);
        }
        if open.is_empty() {
            return Ok(true);
        }
        for part in keys::parts(self.session, self.project, trace_key)? {
            let columns = self.blocks.columns(part.block_id)?;
            self.budget.spend_spans(part.spans);
            let places = part.first_place..part.first_place.saturating_add(part.spans);
            open.retain(|fact| {
                !columns.may_say(fact) || !places.clone().any(|place| columns.says(place, fact))
            });
            if open.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
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
