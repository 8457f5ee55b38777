//! Which tellings of an agent's session count: the rules are in [`crate::storage::sources`].
//!
//! Who touches a session locks its row, in key order, so that of two writers that tell of it in two
//! ways the later one sees what the other did.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::super::transaction::Transaction;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::calls::Change;
use crate::storage::sources::{Key, Sources, Told, keep, undo};

/// A row that is new says no, as the caller does of it then.
const NOTE: &str = "INSERT INTO agent_session (project_id, session, by_span, received_unix_nano)
    SELECT project_id, session, false, received
    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS t(project_id, session, received)
    ON CONFLICT (project_id, session) DO UPDATE SET received_unix_nano =
        greatest(agent_session.received_unix_nano, excluded.received_unix_nano)
    RETURNING project_id, session, by_span";
const TURN: &str = "UPDATE agent_session t SET by_span = true
    FROM unnest($1::bigint[], $2::bytea[]) AS k(project_id, session)
    WHERE t.project_id = k.project_id AND t.session = k.session";
/// A span may come again when its trace has been deleted; both added to sums. Changes are a JSON list,
/// never an empty one.
const KEEP: &str = "INSERT INTO agent_change (project_id, session, trace_id, span_id, changes,
        received_unix_nano)
    SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[],
        $6::bigint[])
    ON CONFLICT (project_id, session, trace_id, span_id) DO UPDATE SET
        changes = left(agent_change.changes, -1) || ',' || substr(excluded.changes, 2),
        received_unix_nano = excluded.received_unix_nano";
const TAKE: &str = "DELETE FROM agent_change t
    USING unnest($1::bigint[], $2::bytea[]) AS k(project_id, session)
    WHERE t.project_id = k.project_id AND t.session = k.session
    RETURNING t.project_id, t.changes";

/// Keys of sessions, column by column.
#[derive(Debug, Default)]
struct Keys {
    projects: Vec<i64>,
    sessions: Vec<Vec<u8>>,
}

impl Keys {
    fn push(&mut self, key: &Key) {
        self.projects.push(i64::from(key.project.0));
        self.sessions.push(key.session.to_vec());
    }
}

/// What records added to sessions, column by column.
#[derive(Debug, Default)]
struct Kept {
    keys: Keys,
    traces: Vec<Vec<u8>>,
    spans: Vec<Vec<u8>>,
    changes: Vec<String>,
    received: Vec<i64>,
}

impl Kept {
    fn push(&mut self, key: &Key, told: &Told<'_>) -> Result<(), Error> {
        let Some((trace_id, span_id)) = told.span else {
            return Ok(());
        };
        self.keys.push(key);
        self.traces.push(trace_id.0.to_vec());
        self.spans.push(span_id.0.to_vec());
        self.changes.push(keep(&told.by_records)?);
        self.received.push(told.received);
        Ok(())
    }

    async fn save(&self, transaction: &Transaction) -> Result<(), Error> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let params = [
            (&self.keys.projects as _, Type::INT8_ARRAY),
            (&self.keys.sessions as _, Type::BYTEA_ARRAY),
            (&self.traces as _, Type::BYTEA_ARRAY),
            (&self.spans as _, Type::BYTEA_ARRAY),
            (&self.changes as _, Type::TEXT_ARRAY),
            (&self.received as _, Type::INT8_ARRAY),
        ];
        let context = "keep what log records told of sessions";
        transaction.execute(KEEP, &params, context).await?;
        Ok(())
    }
}

/// Notes what a batch tells of sessions; answers what changes in sums because of that.
///
/// # Errors
/// As the store's.
pub(super) async fn settle<'a>(
    transaction: &Transaction,
    sources: Sources<'a>,
) -> Result<Vec<(ProjectId, Change<'a>)>, Error> {
    let mut changes = Vec::new();
    if sources.sessions.is_empty() {
        return Ok(changes);
    }
    let by_span = note(transaction, &sources).await?;
    let (mut turned, mut kept) = (Keys::default(), Kept::default());
    for (key, told) in sources.sessions {
        if by_span.contains(&key) {
            continue;
        }
        if told.by_span {
            turned.push(&key);
        } else if !told.by_records.is_empty() {
            kept.push(&key, &told)?;
            let of_key = told.by_records.into_iter().map(|it| (key.project, it));
            changes.extend(of_key);
        }
    }
    kept.save(transaction).await?;
    if !turned.projects.is_empty() {
        changes.extend(turn(transaction, &turned).await?);
    }
    Ok(changes)
}

/// Notes the sessions; answers those that spans told of before.
async fn note(transaction: &Transaction, sources: &Sources<'_>) -> Result<BTreeSet<Key>, Error> {
    let mut keys = Keys::default();
    let mut received = Vec::new();
    for (key, told) in &sources.sessions {
        keys.push(key);
        received.push(told.received);
    }
    let params = [
        (&keys.projects as _, Type::INT8_ARRAY),
        (&keys.sessions as _, Type::BYTEA_ARRAY),
        (&received as _, Type::INT8_ARRAY),
    ];
    let rows = transaction
        .query(NOTE, &params, "note sessions of agents")
        .await?;
    let key = |row: &Row| {
        Some(Key {
            project: ProjectId(u32::try_from(row.get::<_, i64>(0)).ok()?),
            session: row.get::<_, &[u8]>(1).try_into().ok()?,
        })
    };
    let by_span = rows.iter().filter(|row| row.get(2));
    Ok(by_span.filter_map(key).collect())
}

/// Notes that spans tell of sessions, and forgets what records added; answers what takes it away.
async fn turn(
    transaction: &Transaction,
    keys: &Keys,
) -> Result<Vec<(ProjectId, Change<'static>)>, Error> {
    let context = "take away what log records told of sessions";
    let params = [
        (&keys.projects as _, Type::INT8_ARRAY),
        (&keys.sessions as _, Type::BYTEA_ARRAY),
    ];
    transaction.execute(TURN, &params, context).await?;
    let rows = transaction.query(TAKE, &params, context).await?;
    let mut changes = Vec::new();
    for row in &rows {
        let project = ProjectId(u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX));
        let undone = undo(row.get(1))?.into_iter();
        changes.extend(undone.map(|change| (project, change)));
    }
    Ok(changes)
}
