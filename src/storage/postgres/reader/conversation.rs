//! One session with its traces.

use tokio_postgres::types::Type;

use super::columns::Columns;
use super::lists::{SESSION, session_summary};
use super::session::{Param, Session};
use super::traces::{OF_SESSION, TraceRow};
use super::{corrupt, project_id, signed, stored_text};
use crate::model::{ProjectId, TraceId};
use crate::storage::query::StoredSession;
use crate::storage::{Error, PageRequest};

/// A session with its traces from the cursor on, in (start, trace id) order.
pub(super) async fn load(
    session: &Session,
    project: ProjectId,
    session_id: &str,
    page: &PageRequest,
) -> Result<Option<StoredSession>, Error> {
    let (project, session_id) = (project_id(project), stored_text(session_id));
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&session_id, Type::TEXT)];
    let rows = session.query(SESSION, &params, "read a session").await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let summary = session_summary(&mut Columns::new(row))?;
    let after = match &page.after {
        None => (-1, Vec::new()),
        Some(cursor) => {
            let id = TraceId::from_bytes(&cursor.key);
            let id = id.ok_or_else(|| corrupt("cursor of a session's traces"))?;
            (signed(cursor.unix_nano), id.0.to_vec())
        }
    };
    let limit = page.limit.max(1);
    let one_more = i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1));
    let params: [Param<'_>; 5] = [
        (&project, Type::INT8),
        (&session_id, Type::TEXT),
        (&after.0, Type::INT8),
        (&after.1, Type::BYTEA),
        (&one_more, Type::INT8),
    ];
    let rows = session
        .query(OF_SESSION, &params, "list the traces of a session")
        .await?;
    let traces = rows.iter().take(limit);
    let traces = traces.map(|row| Ok(TraceRow::read(&mut Columns::new(row))?.summary));
    let traces = traces.collect::<Result<Vec<_>, Error>>()?;
    let last = traces.last().filter(|_| rows.len() > limit);
    Ok(Some(StoredSession {
        next: last.map(|last| last.cursor()),
        summary,
        traces,
    }))
}
