//! Which tellings of an agent's session count: the rules are in [`crate::storage::sources`].

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::calls::Change;
use crate::storage::sources::{Key, Sources, Told, keep, undo};

/// Notes what a batch tells of sessions; answers what changes in sums because of that.
pub(super) fn settle<'a>(
    transaction: &Transaction<'_>,
    sources: Sources<'a>,
) -> Result<Vec<(ProjectId, Change<'a>)>, Error> {
    let mut all = Vec::new();
    for (key, told) in sources.sessions {
        let changes = settle_one(transaction, key, told)?;
        all.extend(changes.into_iter().map(|change| (key.project, change)));
    }
    Ok(all)
}

fn settle_one<'a>(
    transaction: &Transaction<'_>,
    key: Key,
    told: Told<'a>,
) -> Result<Vec<Change<'a>>, Error> {
    let was_by_span = note(transaction, key, &told)?;
    if was_by_span {
        return Ok(Vec::new());
    }
    if told.by_span {
        return take_away(transaction, key);
    }
    if !told.by_records.is_empty() {
        let changes = keep(&told.by_records)?;
        transaction
            .prepare_cached(
                "INSERT INTO agent_change (project_id, session, changes, received_unix_nano)
                 VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut insert| {
                insert.execute(params![key.project.0, key.session, changes, told.received])
            })
            .map_err(storage_error("keep what log records told of a session"))?;
    }
    Ok(told.by_records)
}

/// Notes a session, and whether spans tell of it from now on; answers whether they did before.
fn note(transaction: &Transaction<'_>, key: Key, told: &Told<'_>) -> Result<bool, Error> {
    let failed = storage_error("note a session of an agent");
    let id = (key.project.0, key.session);
    let was: Option<bool> = transaction
        .prepare_cached("SELECT by_span FROM agent_session WHERE project_id = ?1 AND session = ?2")
        .and_then(|mut select| select.query_row(id, |row| row.get(0)).optional())
        .map_err(&failed)?;
    transaction
        .prepare_cached(
            "INSERT INTO agent_session VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET by_span = max(by_span, excluded.by_span),
                received_unix_nano = max(received_unix_nano, excluded.received_unix_nano)",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![
                key.project.0,
                key.session,
                told.by_span,
                told.received
            ])
        })
        .map_err(&failed)?;
    Ok(was.unwrap_or(false))
}

/// Forgets what records added; answers what takes it away.
fn take_away<'a>(transaction: &Transaction<'_>, key: Key) -> Result<Vec<Change<'a>>, Error> {
    let failed = storage_error("take away what log records told of a session");
    let mut delete = transaction
        .prepare_cached(
            "DELETE FROM agent_change WHERE project_id = ?1 AND session = ?2 RETURNING changes",
        )
        .map_err(&failed)?;
    let kept: Vec<String> = delete
        .query_map((key.project.0, key.session), |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(&failed)?;
    let mut changes = Vec::new();
    for kept in &kept {
        changes.extend(undo(kept)?);
    }
    Ok(changes)
}
