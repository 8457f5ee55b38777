//! The users of traces of some time.
//!
//! Traces are walked newest first, in pieces. Where time does not suffice for all of them, the
//! answer counts those from some start on.

use std::time::Instant;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::Columns;
use super::session::{Param, Session};
use super::{project_id, signed, unsigned};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::query::{UsersAnswer, UsersQuery};
use crate::storage::users::{TraceOfUser, Users};

/// A piece of the traces that start within a range, newest first.
pub(super) const TRACES: &str = "SELECT start_unix_nano, user_id, end_unix_nano, span_count, \
     error_count, llm_call_count, input_tokens, output_tokens, cache_read_tokens, cost_nano_usd \
     FROM trace WHERE project_id = $1 AND start_unix_nano >= $2 AND start_unix_nano < $3 \
     ORDER BY start_unix_nano DESC LIMIT $4";

/// Rows of a piece.
const ROWS: usize = 8_000;

/// Adds the traces of a range up by user.
pub(super) async fn list(
    session: &Session,
    project: ProjectId,
    query: &UsersQuery,
) -> Result<UsersAnswer, Error> {
    let project = project_id(project);
    let from = signed(query.start_unix_nano);
    let mut end = signed(query.end_unix_nano);
    let mut users = Users::default();
    let mut rows_wanted = ROWS;
    let mut counted_from = None;
    while from < end {
        if Instant::now() >= session.scan_deadline || users.is_full() {
            counted_from = Some(unsigned(end));
            break;
        }
        let limit = i64::try_from(rows_wanted).unwrap_or(i64::MAX);
        let params: [Param<'_>; 4] = [
            (&project, Type::INT8),
            (&from, Type::INT8),
            (&end, Type::INT8),
            (&limit, Type::INT8),
        ];
        let rows = session.query(TRACES, &params, "list users").await?;
        let traces: Result<Vec<_>, Error> = rows.iter().map(read).collect();
        let traces = traces?;
        let first_whole = match traces.last() {
            // Those that start together are counted together, by the next piece.
            Some((_, last)) if traces.len() >= rows_wanted => last.start_unix_nano + 1,
            _ => 0,
        };
        let whole = traces
            .iter()
            .take_while(|(_, trace)| trace.start_unix_nano >= first_whole);
        let mut is_any = false;
        for (user, trace) in whole {
            is_any = true;
            if let Some(user) = user {
                users.add(user, trace);
            }
        }
        if !is_any && first_whole > 0 {
            rows_wanted = rows_wanted.saturating_mul(4);
            continue;
        }
        rows_wanted = ROWS;
        end = signed(first_whole);
    }
    Ok(UsersAnswer {
        page: users.page(&query.page),
        counted_from_unix_nano: counted_from,
    })
}

fn read(row: &Row) -> Result<(Option<&str>, TraceOfUser), Error> {
    let mut columns = Columns::new(row);
    let start_unix_nano = columns.count()?;
    let user = columns.take()?;
    let trace = TraceOfUser {
        start_unix_nano,
        end_unix_nano: columns.count()?,
        span_count: columns.count()?,
        error_count: columns.count()?,
        totals: columns.totals()?,
    };
    Ok((user, trace))
}
