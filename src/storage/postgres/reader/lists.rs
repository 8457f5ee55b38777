//! The short lists: services, sessions, spans the store refused; and how much is stored.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::Columns;
use super::scan::{Matching, Walk, bounds};
use super::session::{Param, Session};
use super::{corrupt, project_id, signed, stored_text, unsigned};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::query::DeadLetter;
use crate::storage::{
    Cursor, Error, Page, PageRequest, ServiceSummary, SessionFilter, SessionSummary, StoreUsage,
};

/// Services after a name.
pub(super) const SERVICES: &str = "SELECT name, first_seen_unix_nano, last_seen_unix_nano, \
     span_count, error_count FROM service \
     WHERE project_id = $1 AND name > $2 ORDER BY name LIMIT $3";

macro_rules! session_columns {
    () => {
        "end_unix_nano, session_id, user_id, start_unix_nano, trace_count, span_count, \
         error_count, llm_call_count, input_tokens, output_tokens, cache_read_tokens, \
         cost_nano_usd"
    };
}

/// One session.
pub(super) const SESSION: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session WHERE project_id = $1 AND session_id = $2"
);

/// A piece of the sessions, latest end first: what matches, and the last row looked at.
pub(super) const SESSIONS: &str = concat!(
    "SELECT number, ($8::text IS NULL OR user_id = $8) IS TRUE AS matches, ",
    session_columns!(),
    " \
     FROM (SELECT *, row_number() OVER walked AS number, lead(true) OVER walked IS NULL AS is_last \
         FROM (SELECT ",
    session_columns!(),
    " FROM session WHERE project_id = $1 \
             AND end_unix_nano BETWEEN $2 AND $3 AND (end_unix_nano, session_id) < ($4, $5) \
             ORDER BY end_unix_nano DESC, session_id DESC LIMIT $6) AS looked \
         WINDOW walked AS (ORDER BY end_unix_nano DESC, session_id DESC)) AS found \
     WHERE ($8::text IS NULL OR user_id = $8) OR is_last \
     ORDER BY end_unix_nano DESC, session_id DESC LIMIT $7"
);

/// Refused spans before one, newest first, as many as fit into a number of bytes, at least one.
pub(super) const DEAD_LETTERS: &str = "SELECT created_unix_nano, trace_id, span_id, reason, message \
     FROM (SELECT created_unix_nano, trace_id, span_id, reason, message, \
         sum(octet_length(message)) OVER ( \
             ORDER BY created_unix_nano DESC, trace_id DESC, span_id DESC) \
             - octet_length(message) AS before \
         FROM (SELECT created_unix_nano, trace_id, span_id, reason, message FROM dead_letter \
             WHERE project_id = $1 AND (created_unix_nano, trace_id, span_id) < ($2, $3, $4) \
             ORDER BY created_unix_nano DESC, trace_id DESC, span_id DESC LIMIT $5) AS looked \
         ) AS found WHERE before < $6 \
     ORDER BY created_unix_nano DESC, trace_id DESC, span_id DESC";

/// Bytes of messages one page of dead letters holds at most, though always one.
const DEAD_LETTER_BYTES_MAX: i64 = 16 << 20;

/// Sorts after every session id: none has a character above the last one.
const LAST_TEXT: &str = "\u{10ffff}\u{10ffff}\u{10ffff}\u{10ffff}";

/// The services of a project, by name.
pub(super) async fn services(
    session: &Session,
    project: ProjectId,
    page: &PageRequest,
) -> Result<Page<ServiceSummary>, Error> {
    let after = match &page.after {
        // No service has an empty name: without one it is called unknown.
        None => "",
        Some(cursor) => text(&cursor.key)?,
    };
    let (project, limit) = (project_id(project), one_more(page));
    let params: [Param<'_>; 3] = [
        (&project, Type::INT8),
        (&after, Type::TEXT),
        (&limit, Type::INT8),
    ];
    let rows = session.query(SERVICES, &params, "list services").await?;
    let items = rows.iter().map(|row| {
        let mut columns = Columns::new(row);
        Ok(ServiceSummary {
            name: columns.take()?,
            first_seen_unix_nano: columns.count()?,
            last_seen_unix_nano: columns.count()?,
            span_count: columns.count()?,
            error_count: columns.count()?,
        })
    });
    let mut items = items.collect::<Result<Vec<_>, Error>>()?;
    let has_more = items.len() > page.limit.max(1);
    items.truncate(page.limit.max(1));
    let next = items.last().filter(|_| has_more).map(|service| Cursor {
        unix_nano: 0,
        key: service.name.clone().into_bytes(),
    });
    Ok(Page { items, next })
}

/// The sessions of a project, latest activity first.
pub(super) async fn sessions(
    session: &Session,
    project: ProjectId,
    filter: &SessionFilter,
    page: &PageRequest,
) -> Result<Page<SessionSummary>, Error> {
    let matching = match filter.user_id {
        None => Matching::All,
        Some(_) => Matching::Server,
    };
    let mut walk = Walk::new(session, page, matching);
    let Some((from, to)) = bounds(&filter.range, page.after.as_ref()) else {
        return Ok(walk.finish());
    };
    let mut below = match &page.after {
        None => (i64::MAX, LAST_TEXT.to_owned()),
        Some(cursor) => (signed(cursor.unix_nano), text(&cursor.key)?.to_owned()),
    };
    let (project, user_id) = (
        project_id(project),
        filter.user_id.as_deref().map(stored_text),
    );
    loop {
        let piece = walk.piece();
        let params: [Param<'_>; 8] = [
            (&project, Type::INT8),
            (&from, Type::INT8),
            (&to, Type::INT8),
            (&below.0, Type::INT8),
            (&below.1, Type::TEXT),
            (&piece.rows, Type::INT8),
            (&piece.answers, Type::INT8),
            (&user_id, Type::TEXT),
        ];
        let rows = session.query(SESSIONS, &params, "list sessions").await?;
        let mut seen = 0;
        for row in &rows {
            let mut columns = Columns::new(row);
            let (number, matches): (i64, bool) = (columns.take()?, columns.take()?);
            let item = session_summary(&mut columns)?;
            seen = number;
            below = (signed(item.end_unix_nano), item.session_id.clone());
            let cursor = Cursor {
                unix_nano: item.end_unix_nano,
                key: item.session_id.clone().into_bytes(),
            };
            if !walk.take(cursor, matches.then_some(item)) {
                return Ok(walk.finish());
            }
        }
        if !walk.spend(seen) || seen < piece.rows {
            return Ok(walk.finish());
        }
    }
}

/// Reads the columns of `session_columns!`.
pub(super) fn session_summary(columns: &mut Columns<'_>) -> Result<SessionSummary, Error> {
    Ok(SessionSummary {
        end_unix_nano: columns.count()?,
        session_id: columns.take()?,
        user_id: columns.take()?,
        start_unix_nano: columns.count()?,
        trace_count: columns.count()?,
        span_count: columns.count()?,
        error_count: columns.count()?,
        totals: columns.totals()?,
    })
}

/// Spans the store refused, newest first.
pub(super) async fn dead_letters(
    session: &Session,
    project: ProjectId,
    page: &PageRequest,
) -> Result<Page<DeadLetter>, Error> {
    let (at, trace_id, span_id) = match &page.after {
        None => (i64::MAX, vec![u8::MAX; TraceId::LENGTH + 1], Vec::new()),
        Some(cursor) => {
            let ids = cursor.key.split_at_checked(TraceId::LENGTH);
            let (trace, span) = ids.ok_or_else(|| corrupt("cursor of the dead letters"))?;
            (signed(cursor.unix_nano), trace.to_vec(), span.to_vec())
        }
    };
    let (project, limit) = (project_id(project), one_more(page));
    let params: [Param<'_>; 6] = [
        (&project, Type::INT8),
        (&at, Type::INT8),
        (&trace_id, Type::BYTEA),
        (&span_id, Type::BYTEA),
        (&limit, Type::INT8),
        (&DEAD_LETTER_BYTES_MAX, Type::INT8),
    ];
    let rows = session
        .query(DEAD_LETTERS, &params, "list dead letters")
        .await?;
    let items = rows.iter().take(page.limit.max(1)).map(dead_letter);
    let items = items.collect::<Result<Vec<_>, Error>>()?;
    let bytes: usize = items.iter().map(|letter| letter.message.len()).sum();
    let is_cut = signed(bytes as u64) >= DEAD_LETTER_BYTES_MAX;
    let has_more = is_cut || rows.len() > items.len();
    let next = items.last().filter(|_| has_more).map(|letter| {
        let mut key = letter.trace_id.0.to_vec();
        key.extend(letter.span_id.0);
        Cursor {
            unix_nano: letter.created_unix_nano,
            key,
        }
    });
    Ok(Page { items, next })
}

fn dead_letter(row: &Row) -> Result<DeadLetter, Error> {
    let mut columns = Columns::new(row);
    Ok(DeadLetter {
        created_unix_nano: columns.count()?,
        trace_id: TraceId(columns.id()?),
        span_id: SpanId(columns.id()?),
        reason: columns.take()?,
        message: columns.take()?,
    })
}

/// Bytes of the database.
pub(super) async fn usage(session: &Session) -> Result<StoreUsage, Error> {
    const SIZE: &str = "SELECT pg_database_size(current_database())";
    let rows = session.query(SIZE, &[], "measure the store").await?;
    let bytes: Option<i64> = rows
        .first()
        .map(|row| Columns::new(row).take())
        .transpose()?;
    Ok(StoreUsage {
        bytes: bytes.map_or(0, unsigned),
    })
}

/// One row more than the page holds tells whether there is another page.
fn one_more(page: &PageRequest) -> i64 {
    i64::try_from(page.limit.max(1)).map_or(i64::MAX, |limit| limit.saturating_add(1))
}

fn text(key: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(key).map_err(|_| corrupt("cursor of a list"))
}
