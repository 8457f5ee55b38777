//! Span rows: reading one, and the span list.

use std::collections::{HashMap, HashSet};

use rusqlite::{CachedStatement, OptionalExtension as _, Row, params};

use super::attributes::AttributeTest;
use super::failure::read_error;
use super::keys::{self, Origins, SmallestKeys, SpanKey, id_bytes};
use super::pool::Session;
use super::scan::{Budget, Stretch, stretches};
use super::{corrupt, unsigned};
use crate::model::span::{Kind, Status, TimeMarks};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::{Cursor, Error, Page, PageRequest, SpanFilter, SpanSummary, StatusFilter};

/// Columns of `span` in the order [`summary`] reads them; the first six are the row's address.
macro_rules! select_span {
    ($rest:literal) => {
        concat!(
            "SELECT start_unix_nano, trace_key, span_id, resource_id, part_id, parent_span_id, ",
            "name, kind, status, status_message, duration_ns, time_marks, operation, provider, ",
            "request_model, response_model, session_id, user_id, error_type, http_method, ",
            "http_route, http_status_code, db_system, db_operation, rpc_system, rpc_service, ",
            "rpc_method FROM span WHERE project_id = ?1 AND ",
            $rest
        )
    };
}

/// Rows that share the cursor's time. The two last parts of the key are the tie-break.
pub(super) const TIE: &str = select_span!(
    "start_unix_nano = ?2 AND (trace_key, span_id) < (?3, ?4) \
     ORDER BY start_unix_nano DESC, trace_key DESC, span_id DESC"
);
/// Rows within a range of times.
pub(super) const BETWEEN: &str = select_span!(
    "start_unix_nano BETWEEN ?2 AND ?3 \
     ORDER BY start_unix_nano DESC, trace_key DESC, span_id DESC"
);
/// One row.
const ONE: &str = select_span!("start_unix_nano = ?2 AND trace_key = ?3 AND span_id = ?4");

/// Parts whose test is remembered: spans of one part are close together in the list.
const PARTS_KEPT: usize = 64;

const CONTEXT: &str = "list spans";

/// Answers the span list.
pub(super) fn list(
    session: &Session<'_>,
    project: ProjectId,
    filter: &SpanFilter,
    page: &PageRequest,
) -> Result<Page<SpanSummary>, Error> {
    let Some(mut scan) = Scan::new(session, project, filter, page)? else {
        return Ok(Page {
            items: Vec::new(),
            next: None,
        });
    };
    match filter.trace_id {
        Some(trace_id) => scan.walk_trace(trace_id)?,
        None => scan.walk_time()?,
    }
    Ok(scan.page)
}

/// A page being filled.
struct Scan<'s, 'f> {
    session: &'s Session<'s>,
    project: ProjectId,
    filter: &'f SpanFilter,
    request: &'f PageRequest,
    /// Rows of the wanted service's resources.
    resources: Option<HashSet<i64>>,
    attributes: Option<AttributeTest<'f>>,
    origins: Origins<'s>,
    /// Ids by trace row, of traces in the page.
    trace_ids: HashMap<i64, TraceId>,
    /// Parts tested, with the spans that have the wanted attributes.
    parts: Vec<(i64, HashSet<SpanId>)>,
    budget: Budget,
    /// Address of the last row looked at.
    last: Option<Cursor>,
    page: Page<SpanSummary>,
}

impl<'s, 'f> Scan<'s, 'f> {
    /// `None` when the wanted service has never been seen.
    fn new(
        session: &'s Session<'s>,
        project: ProjectId,
        filter: &'f SpanFilter,
        request: &'f PageRequest,
    ) -> Result<Option<Self>, Error> {
        let resources = filter
            .service
            .as_deref()
            .map(|service| resources_of(session, project, service))
            .transpose()?;
        if resources.as_ref().is_some_and(HashSet::is_empty) {
            return Ok(None);
        }
        Ok(Some(Self {
            session,
            project,
            filter,
            request,
            resources,
            attributes: AttributeTest::new(&filter.attributes),
            origins: Origins::new(session, project),
            trace_ids: HashMap::new(),
            parts: Vec::new(),
            budget: Budget::new(session),
            last: None,
            page: Page {
                items: Vec::new(),
                next: None,
            },
        }))
    }

    fn walk_time(&mut self) -> Result<(), Error> {
        let read = read_error(CONTEXT);
        for stretch in stretches(&self.filter.range, self.request.after.as_ref()) {
            let connection = self.session.connection;
            let mut statement: CachedStatement<'_>;
            let mut rows = match stretch {
                Stretch::Tie { at, key } => {
                    let (trace_key, span_id) = split_tie(&key)?;
                    statement = connection.prepare_cached(TIE).map_err(&read)?;
                    statement.query(params![self.project.0, at, trace_key, span_id.0])
                }
                Stretch::Between { from, to } => {
                    statement = connection.prepare_cached(BETWEEN).map_err(&read)?;
                    statement.query(params![self.project.0, from, to])
                }
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

    /// Walks the spans of one trace by their keys: they are not together in the span table.
    fn walk_trace(&mut self, trace_id: TraceId) -> Result<(), Error> {
        let read = read_error(CONTEXT);
        let Some(trace_key) = keys::trace_key(self.session, self.project, trace_id)? else {
            return Ok(());
        };
        let ranges = stretches(&self.filter.range, self.request.after.as_ref());
        let mut newest = SmallestKeys::new(Budget::rows_max() + 1);
        let mut bounds = Vec::with_capacity(ranges.len());
        for stretch in ranges {
            bounds.push(match stretch {
                Stretch::Tie { at, key } => (at, at, Some(split_tie(&key)?.1)),
                Stretch::Between { from, to } => (from, to, None),
            });
        }
        keys::visit_keys(self.session, self.project, trace_key, |key| {
            let wanted = bounds.iter().any(|(from, to, below)| {
                (*from..=*to).contains(&key.start) && below.is_none_or(|below| key.span_id < below)
            });
            if wanted {
                newest.push(std::cmp::Reverse(key));
            }
        })?;
        for std::cmp::Reverse(key) in newest.into_sorted() {
            let mut statement = self.session.connection.prepare_cached(ONE).map_err(&read)?;
            let mut rows = statement
                .query(params![self.project.0, key.start, trace_key, key.span_id.0])
                .map_err(&read)?;
            if let Some(row) = rows.next().map_err(&read)?
                && !self.take(row)?
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at a row; answers whether to go on.
    fn take(&mut self, row: &Row<'_>) -> Result<bool, Error> {
        if self.page.items.len() >= self.request.limit.max(1) || !self.budget.allows_row() {
            self.page.next = self.last.take();
            return Ok(false);
        }
        let address = Address::read(row).map_err(read_error(CONTEXT))?;
        self.last = Some(address.cursor());
        if self
            .columns_match(row, &address)
            .map_err(read_error(CONTEXT))?
            && self.attributes_match(&address)?
        {
            let trace_id = self.trace_id(address.trace_key)?;
            let service = self.origins.resource(address.resource_id)?;
            let item = summary(row, trace_id, &service.service_name);
            self.page.items.push(item.map_err(read_error(CONTEXT))?);
        }
        Ok(true)
    }

    fn columns_match(&self, row: &Row<'_>, address: &Address) -> rusqlite::Result<bool> {
        let filter = self.filter;
        if let Some(resources) = &self.resources
            && !resources.contains(&address.resource_id)
        {
            return Ok(false);
        }
        if let Some(name) = &filter.name
            && row.get_ref(6)?.as_str()? != name
        {
            return Ok(false);
        }
        if let Some(wanted) = filter.status {
            let failed = row.get::<_, i64>(8)? == i64::from(Status::Error as u8);
            if failed != (wanted == StatusFilter::Error) {
                return Ok(false);
            }
        }
        let duration = unsigned(row.get(10)?);
        Ok(filter.duration_min_ns.is_none_or(|min| duration >= min)
            && filter.duration_max_ns.is_none_or(|max| duration <= max))
    }

    fn attributes_match(&mut self, address: &Address) -> Result<bool, Error> {
        let Some(test) = &mut self.attributes else {
            return Ok(true);
        };
        let part_id = address.part_id;
        let kept = self.parts.iter().find(|(id, _)| *id == part_id);
        if let Some((_, matching)) = kept {
            return Ok(matching.contains(&address.span_id));
        }
        let part = keys::load_part(self.session, self.project, part_id)?;
        self.budget.spend_part();
        let mut matching = HashSet::new();
        for (span_id, span) in part.span_ids().zip(part.spans.spans()) {
            if test.matches(span, &mut self.origins)? {
                matching.insert(span_id);
            }
        }
        let matches = matching.contains(&address.span_id);
        if self.parts.len() >= PARTS_KEPT {
            self.parts.remove(0);
        }
        self.parts.push((part_id, matching));
        Ok(matches)
    }

    fn trace_id(&mut self, trace_key: i64) -> Result<TraceId, Error> {
        if let Some(trace_id) = self.trace_ids.get(&trace_key) {
            return Ok(*trace_id);
        }
        let bytes = self
            .session
            .connection
            .prepare_cached("SELECT trace_id FROM trace WHERE trace_key = ?1 AND project_id = ?2")
            .and_then(|mut statement| {
                statement.query_row(params![trace_key, self.project.0], |row| id_bytes(row, 0))
            })
            .map_err(read_error("look up a trace id"))?;
        let trace_id = TraceId(bytes);
        self.trace_ids.insert(trace_key, trace_id);
        Ok(trace_id)
    }
}

/// Where a span row is, and where its message is.
struct Address {
    start: i64,
    trace_key: i64,
    span_id: SpanId,
    resource_id: i64,
    part_id: i64,
}

impl Address {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            start: row.get(0)?,
            trace_key: row.get(1)?,
            span_id: SpanId(id_bytes(row, 2)?),
            resource_id: row.get(3)?,
            part_id: row.get(4)?,
        })
    }

    fn cursor(&self) -> Cursor {
        let mut key = self.trace_key.to_be_bytes().to_vec();
        key.extend(self.span_id.0);
        Cursor {
            unix_nano: unsigned(self.start),
            key,
        }
    }
}

fn split_tie(key: &[u8]) -> Result<(i64, SpanId), Error> {
    key.split_first_chunk::<8>()
        .and_then(|(trace_key, span_id)| {
            let span_id = SpanId(span_id.try_into().ok()?);
            Some((i64::from_be_bytes(*trace_key), span_id))
        })
        .ok_or_else(|| corrupt("cursor of the span list"))
}

fn resources_of(
    session: &Session<'_>,
    project: ProjectId,
    service: &str,
) -> Result<HashSet<i64>, Error> {
    session
        .connection
        .prepare_cached(
            "SELECT resource_id FROM resource WHERE project_id = ?1 AND service_name = ?2",
        )
        .and_then(|mut statement| {
            statement
                .query_map(params![project.0, service], |row| row.get(0))?
                .collect()
        })
        .map_err(read_error("look up a service"))
}

/// Reads the row of a span whose place is known.
pub(super) fn load_summary(
    session: &Session<'_>,
    project: ProjectId,
    trace: (i64, TraceId),
    key: &SpanKey,
    service_name: &str,
) -> Result<SpanSummary, Error> {
    session
        .connection
        .prepare_cached(ONE)
        .and_then(|mut statement| {
            statement
                .query_row(
                    params![project.0, key.start, trace.0, key.span_id.0],
                    |row| summary(row, trace.1, service_name),
                )
                .optional()
        })
        .map_err(read_error("read a span"))?
        .ok_or_else(|| corrupt(format!("the row of span {} is missing", key.span_id)))
}

/// Reads a row selected with `select_span!`.
fn summary(row: &Row<'_>, trace_id: TraceId, service_name: &str) -> rusqlite::Result<SpanSummary> {
    let small = |column| -> rusqlite::Result<i32> { row.get(column) };
    let parent: Option<[u8; SpanId::LENGTH]> = row.get(5)?;
    Ok(SpanSummary {
        trace_id,
        span_id: SpanId(id_bytes(row, 2)?),
        parent_span_id: parent.map(SpanId),
        name: row.get(6)?,
        kind: Kind::from_wire(small(7)?),
        status: Status::from_wire(small(8)?),
        status_message: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
        service_name: service_name.to_owned(),
        start_unix_nano: unsigned(row.get(0)?),
        duration_ns: unsigned(row.get(10)?),
        time_marks: TimeMarks(row.get(11)?),
        operation: row
            .get::<_, Option<String>>(12)?
            .unwrap_or_else(|| "other".to_owned()),
        genai: None,
        provider: row.get(13)?,
        request_model: row.get(14)?,
        response_model: row.get(15)?,
        session_id: row.get(16)?,
        user_id: row.get(17)?,
        error_type: row.get(18)?,
        http_method: row.get(19)?,
        http_route: row.get(20)?,
        http_status_code: row.get(21)?,
        db_system: row.get(22)?,
        db_operation: row.get(23)?,
        rpc_system: row.get(24)?,
        rpc_service: row.get(25)?,
        rpc_method: row.get(26)?,
    })
}
