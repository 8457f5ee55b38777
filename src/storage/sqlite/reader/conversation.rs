//! One session with its traces.

use rusqlite::{OptionalExtension as _, params};

use super::failure::read_error;
use super::keys::id_bytes;
use super::lists::{SESSION, session_summary};
use super::pool::Session;
use super::{corrupt, signed, traces};
use crate::model::{ProjectId, TraceId};
use crate::storage::query::StoredSession;
use crate::storage::{Cursor, Error, PageRequest};

/// Traces of a session with their place in it; sorted by us.
pub(super) const TRACES: &str = "SELECT trace.start_unix_nano, trace.trace_id, trace.trace_key \
     FROM session_trace CROSS JOIN trace USING (trace_key) \
     WHERE session_trace.session_key = ?2 AND trace.project_id = ?1";

/// A session with its traces from the cursor on, in (start, trace id) order.
pub(super) fn load(
    session: &Session<'_>,
    project: ProjectId,
    session_id: &str,
    page: &PageRequest,
) -> Result<Option<StoredSession>, Error> {
    let Some((session_key, _)) = traces::find_session(session, project, session_id)? else {
        return Ok(None);
    };
    let read = read_error("read a session");
    let summary = session
        .connection
        .prepare_cached(SESSION)
        .and_then(|mut statement| {
            let params = params![project.0, session_key];
            statement.query_row(params, session_summary).optional()
        })
        .map_err(&read)?
        .ok_or_else(|| corrupt("a session without its row"))?;
    let after = page.after.as_ref().map(split_cursor).transpose()?;
    let limit = page.limit.max(1);
    let mut smallest = super::keys::SmallestKeys::new(limit.saturating_add(1));
    let mut statement = session.connection.prepare_cached(TRACES).map_err(&read)?;
    let mut rows = statement
        .query(params![project.0, session_key])
        .map_err(&read)?;
    while let Some(row) = rows.next().map_err(&read)? {
        let place = (|| Ok((row.get::<_, i64>(0)?, id_bytes::<16>(row, 1)?, row.get(2)?)))();
        let (start, trace_id, trace_key): (_, _, i64) = place.map_err(&read)?;
        if after.is_none_or(|after| (start, trace_id) > after) {
            smallest.push((start, trace_id, trace_key));
        }
    }
    let keys = smallest.into_sorted();
    let found = keys.iter().take(limit);
    let found: Result<Vec<_>, Error> = found
        .map(|(_, _, trace_key)| traces::one(session, project, *trace_key))
        .collect();
    let found = found?;
    let last = found.last().filter(|_| keys.len() > limit);
    Ok(Some(StoredSession {
        next: last.map(|last| last.cursor()),
        summary,
        traces: found,
    }))
}

fn split_cursor(cursor: &Cursor) -> Result<(i64, [u8; TraceId::LENGTH]), Error> {
    let trace_id = cursor.key.as_slice().try_into();
    let trace_id = trace_id.map_err(|_| corrupt("cursor of a session's traces"))?;
    Ok((signed(cursor.unix_nano), trace_id))
}
