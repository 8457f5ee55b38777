//! The short lists: services, sessions, spans the store refused; and how much is stored.

use rusqlite::{Row, params};

use super::failure::read_error;
use super::keys::id_bytes;
use super::pool::Session;
use super::scan::{Budget, Stretch, stretches};
use super::{corrupt, unsigned};
use crate::model::genai::Totals;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::query::DeadLetter;
use crate::storage::{
    Cursor, Error, Page, PageRequest, ServiceSummary, SessionFilter, SessionSummary, StoreUsage,
};

/// Services after a name.
pub(super) const SERVICES: &str = "SELECT name, first_seen_unix_nano, last_seen_unix_nano, \
     span_count, error_count FROM service \
     WHERE project_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3";

macro_rules! select_session {
    ($rest:literal) => {
        concat!(
            "SELECT end_unix_nano, session_id, user_id, start_unix_nano, trace_count, ",
            "span_count, error_count, llm_call_count, input_tokens, output_tokens, ",
            "cache_read_tokens, cost_nano_usd FROM session ",
            $rest
        )
    };
}

/// One session by its row.
pub(super) const SESSION: &str = select_session!("WHERE project_id = ?1 AND session_key = ?2");

/// Sessions that end at the cursor's time.
pub(super) const SESSIONS_TIE: &str = select_session!(
    "INDEXED BY session_end WHERE project_id = ?1 AND end_unix_nano = ?2 AND session_id < ?3 \
     ORDER BY session_id DESC"
);
/// Sessions that end within a range.
pub(super) const SESSIONS_BETWEEN: &str = select_session!(
    "INDEXED BY session_end WHERE project_id = ?1 AND end_unix_nano BETWEEN ?2 AND ?3 ORDER BY end_unix_nano DESC, session_id DESC"
);

/// Refused spans before a row, walked by row: the index by identity would have to be sorted.
pub(super) const DEAD_LETTERS: &str = "SELECT dead_letter_id, trace_id, span_id, reason, \
     created_unix_nano, message FROM dead_letter NOT INDEXED \
     WHERE project_id = ?1 AND dead_letter_id < ?2 ORDER BY dead_letter_id DESC";

/// Bytes of messages one page of dead letters holds at most, though always one.
const DEAD_LETTER_BYTES_MAX: usize = 16 << 20;

/// The services of a project, by name.
pub(super) fn services(
    session: &Session<'_>,
    project: ProjectId,
    page: &PageRequest,
) -> Result<Page<ServiceSummary>, Error> {
    let after = match &page.after {
        // No service has an empty name: without one it is called unknown.
        None => "",
        Some(cursor) => text(&cursor.key)?,
    };
    let items: Vec<ServiceSummary> = session
        .connection
        .prepare_cached(SERVICES)
        .and_then(|mut statement| {
            statement
                .query_map(params![project.0, after, one_more(page)], |row| {
                    Ok(ServiceSummary {
                        name: row.get(0)?,
                        first_seen_unix_nano: unsigned(row.get(1)?),
                        last_seen_unix_nano: unsigned(row.get(2)?),
                        span_count: unsigned(row.get(3)?),
                        error_count: unsigned(row.get(4)?),
                    })
                })?
                .collect()
        })
        .map_err(read_error("list services"))?;
    Ok(cut(items, page, |service| Cursor {
        unix_nano: 0,
        key: service.name.clone().into_bytes(),
    }))
}

/// The sessions of a project, latest activity first.
pub(super) fn sessions(
    session: &Session<'_>,
    project: ProjectId,
    filter: &SessionFilter,
    request: &PageRequest,
) -> Result<Page<SessionSummary>, Error> {
    let read = read_error("list sessions");
    let mut budget = Budget::new(session);
    let mut last = None;
    let mut items = Vec::new();
    for stretch in stretches(&filter.range, request.after.as_ref()) {
        let (sql, second) = match &stretch {
            Stretch::Tie { at, .. } => (SESSIONS_TIE, *at),
            Stretch::Between { from, .. } => (SESSIONS_BETWEEN, *from),
        };
        let mut statement = session.connection.prepare_cached(sql).map_err(&read)?;
        let mut rows = match &stretch {
            Stretch::Tie { key, .. } => statement.query(params![project.0, second, text(key)?]),
            Stretch::Between { to, .. } => statement.query(params![project.0, second, to]),
        }
        .map_err(&read)?;
        while let Some(row) = rows.next().map_err(&read)? {
            if items.len() >= request.limit.max(1) || !budget.allows_row() {
                return Ok(Page { items, next: last });
            }
            let item = session_summary(row).map_err(&read)?;
            last = Some(Cursor {
                unix_nano: item.end_unix_nano,
                key: item.session_id.clone().into_bytes(),
            });
            if filter.user_id.is_none() || filter.user_id == item.user_id {
                items.push(item);
            }
        }
    }
    Ok(Page { items, next: None })
}

/// Reads a row selected with `select_session!`.
pub(super) fn session_summary(row: &Row<'_>) -> rusqlite::Result<SessionSummary> {
    Ok(SessionSummary {
        end_unix_nano: unsigned(row.get(0)?),
        session_id: row.get(1)?,
        user_id: row.get(2)?,
        start_unix_nano: unsigned(row.get(3)?),
        trace_count: unsigned(row.get(4)?),
        span_count: unsigned(row.get(5)?),
        error_count: unsigned(row.get(6)?),
        totals: Totals {
            llm_calls: row.get(7)?,
            input_tokens: row.get(8)?,
            output_tokens: row.get(9)?,
            cache_read_tokens: row.get(10)?,
            cost_nano_usd: row.get(11)?,
        },
    })
}

/// Spans the store refused, newest first.
pub(super) fn dead_letters(
    session: &Session<'_>,
    project: ProjectId,
    page: &PageRequest,
) -> Result<Page<DeadLetter>, Error> {
    let before = match &page.after {
        None => i64::MAX,
        Some(cursor) => cursor
            .key
            .as_slice()
            .try_into()
            .map(i64::from_be_bytes)
            .map_err(|_| corrupt("cursor of the dead letters"))?,
    };
    let read = read_error("list dead letters");
    let mut statement = session
        .connection
        .prepare_cached(DEAD_LETTERS)
        .map_err(&read)?;
    let mut rows = statement.query(params![project.0, before]).map_err(&read)?;
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next().map_err(&read)? {
        if items.len() >= page.limit.max(1) || bytes > DEAD_LETTER_BYTES_MAX {
            return Ok(Page { items, next: last });
        }
        let letter = dead_letter(row).map_err(&read)?;
        let row_id: i64 = row.get(0).map_err(&read)?;
        bytes += letter.message.len();
        last = Some(Cursor {
            unix_nano: letter.created_unix_nano,
            key: row_id.to_be_bytes().to_vec(),
        });
        items.push(letter);
    }
    Ok(Page { items, next: None })
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        trace_id: TraceId(id_bytes(row, 1)?),
        span_id: SpanId(id_bytes(row, 2)?),
        reason: row.get(3)?,
        created_unix_nano: unsigned(row.get(4)?),
        message: row.get(5)?,
    })
}

/// Bytes in use, without free pages.
pub(super) fn usage(session: &Session<'_>) -> Result<StoreUsage, Error> {
    let bytes: i64 = session
        .connection
        .prepare_cached(
            "SELECT (page_count - freelist_count) * page_size \
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        )
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(read_error("measure the store"))?;
    Ok(StoreUsage {
        bytes: unsigned(bytes),
    })
}

/// One row more than the page holds tells whether there is another page.
fn one_more(page: &PageRequest) -> i64 {
    i64::try_from(page.limit.max(1)).map_or(i64::MAX, |limit| limit.saturating_add(1))
}

fn cut<T>(mut items: Vec<T>, page: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let limit = page.limit.max(1);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

fn text(key: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(key).map_err(|_| corrupt("cursor of a list"))
}
