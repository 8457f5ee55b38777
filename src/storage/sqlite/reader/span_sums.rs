//! Sums over time from the columns of spans, for what rollups don't have.
//!
//! Blocks are walked newest first. Where time does not suffice for all of them, the answer counts
//! the spans from some second on.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::params;

use super::blocks::Blocks;
use super::failure::read_error;
use super::pool::Session;
use super::walk::Statements;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::query::{AnalyticsAnswer, AnalyticsQuery, Dimension};
use crate::storage::sqlite::columns::Columns;
use crate::storage::tally::{Tally, Texts};

/// Environment of a resource.
pub(super) const ENVIRONMENT: &str =
    "SELECT environment FROM resource WHERE resource_id = ?1 AND project_id = ?2";

/// Adds spans up.
pub(super) fn answer(
    session: &Session<'_>,
    project: ProjectId,
    query: &AnalyticsQuery,
) -> Result<AnalyticsAnswer, Error> {
    let mut tally = Tally::new(query);
    let Some((from, to)) = Tally::bounds(query) else {
        return Ok(tally.whole());
    };
    let mut statements = Statements::prepare(session)?;
    let mut walk = statements.walk(project, from, to)?;
    let mut blocks = Blocks::new(session, project);
    let mut environments = Environments::new(session, project, query);
    while let Some(latest) = walk.latest() {
        let goes_on = tally.shown_from(latest.saturating_add(1));
        if !goes_on || Instant::now() >= session.scan_deadline {
            return Ok(tally.partial());
        }
        let Some(header) = walk.next()? else { break };
        let columns = blocks.columns(header.block_id)?;
        for place in columns.places() {
            if !(from..=to).contains(&columns.start(place)) {
                continue;
            }
            let environment = environments.of(columns.resource_id(place))?;
            let texts = SpanTexts {
                columns: &columns,
                place,
                environment,
            };
            tally.add(&columns.sample(place), &texts);
        }
    }
    Ok(tally.whole())
}

/// Texts of a span of a block.
struct SpanTexts<'c> {
    columns: &'c Columns,
    place: usize,
    environment: &'c str,
}

impl Texts for SpanTexts<'_> {
    fn value(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::Environment => self.environment,
            other => self.columns.value(self.place, other),
        }
    }

    fn tags(&self) -> Vec<&str> {
        self.columns.tags(self.place).collect()
    }
}

/// Environments of resources, each read once per query, where they are asked for.
struct Environments<'s> {
    session: &'s Session<'s>,
    project: ProjectId,
    is_wanted: bool,
    known: HashMap<i64, String>,
}

impl<'s> Environments<'s> {
    fn new(session: &'s Session<'s>, project: ProjectId, query: &AnalyticsQuery) -> Self {
        Self {
            session,
            project,
            is_wanted: query.has(Dimension::Environment),
            known: HashMap::new(),
        }
    }

    fn of(&mut self, resource_id: i64) -> Result<&str, Error> {
        if !self.is_wanted {
            return Ok("");
        }
        match self.known.entry(resource_id) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let environment: Option<String> = self
                    .session
                    .connection
                    .prepare_cached(ENVIRONMENT)
                    .and_then(|mut statement| {
                        let params = params![resource_id, self.project.0];
                        statement.query_row(params, |row| row.get(0))
                    })
                    .map_err(read_error("read a resource"))?;
                Ok(entry.insert(environment.unwrap_or_default()))
            }
        }
    }
}
