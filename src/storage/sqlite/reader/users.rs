//! The users of traces of some time.
//!
//! Traces are walked newest first. Where time does not suffice for all of them, the answer counts
//! those from some start on.

use std::time::Instant;

use rusqlite::{Row, params};

use super::failure::read_error;
use super::pool::Session;
use super::{signed, unsigned};
use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::storage::Error;
use crate::storage::query::{UsersAnswer, UsersQuery};
use crate::storage::users::{TraceOfUser, Users};

/// Traces that start within a range.
pub(super) const TRACES: &str = "SELECT start_unix_nano, user_id, end_unix_nano, span_count, \
     error_count, llm_call_count, input_tokens, output_tokens, cache_read_tokens, cost_nano_usd \
     FROM trace INDEXED BY trace_start \
     WHERE project_id = ?1 AND start_unix_nano >= ?2 AND start_unix_nano < ?3 \
     ORDER BY start_unix_nano DESC";

/// Rows looked at between two looks at the clock.
const ROWS_PER_CHECK: u64 = 256;

/// Adds the traces of a range up by user.
pub(super) fn list(
    session: &Session<'_>,
    project: ProjectId,
    query: &UsersQuery,
) -> Result<UsersAnswer, Error> {
    let read = read_error("list users");
    let (from, end) = (signed(query.start_unix_nano), signed(query.end_unix_nano));
    let mut statement = session.connection.prepare_cached(TRACES).map_err(&read)?;
    let mut rows = statement
        .query(params![project.0, from, end])
        .map_err(&read)?;
    let mut users = Users::default();
    let mut counted_from = None;
    let (mut seen, mut last, mut is_over) = (0_u64, None, false);
    while let Some(row) = rows.next().map_err(&read)? {
        let start: i64 = row.get(0).map_err(&read)?;
        // Traces that start together count together.
        if let Some(last) = last
            && is_over
            && start < last
        {
            counted_from = Some(unsigned(last));
            break;
        }
        last = Some(start);
        seen += 1;
        if seen.is_multiple_of(ROWS_PER_CHECK) {
            session.check()?;
            is_over = is_over || Instant::now() >= session.scan_deadline;
        }
        let user = row.get_ref(1).and_then(|user| Ok(user.as_str_or_null()?));
        if let Some(user) = user.map_err(&read)? {
            users.add(user, &trace(row).map_err(&read)?);
            is_over = is_over || users.is_full();
        }
    }
    Ok(UsersAnswer {
        page: users.page(&query.page),
        counted_from_unix_nano: counted_from,
    })
}

fn trace(row: &Row<'_>) -> rusqlite::Result<TraceOfUser> {
    Ok(TraceOfUser {
        start_unix_nano: unsigned(row.get(0)?),
        end_unix_nano: unsigned(row.get(2)?),
        span_count: unsigned(row.get(3)?),
        error_count: unsigned(row.get(4)?),
        totals: Totals {
            llm_calls: row.get(5)?,
            input_tokens: row.get(6)?,
            output_tokens: row.get(7)?,
            cache_read_tokens: row.get(8)?,
            cost_nano_usd: row.get(9)?,
        },
    })
}
