//! API keys.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior};

use super::{Entry, note, one_more, page_of, projects, time};
use crate::model::ProjectId;
use crate::model::access::Scopes;
use crate::storage::access::{ApiKey, Change, Hash, KEYS_MAX, KeyGrant, NewKey, Refusal};
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Page, PageRequest};

const MINUTE_NS: i64 = 60_000_000_000;

/// What a key of this hash is good for.
pub(super) fn grant(connection: &Connection, hash: &Hash) -> rusqlite::Result<KeyGrant> {
    connection
        .prepare_cached(
            "SELECT k.key_id, k.project_id, k.scopes, k.expires_unix_nano,
                k.revoked_unix_nano IS NOT NULL OR p.project_id IS NULL, k.hash
             FROM api_key k LEFT JOIN project p ON p.project_id = k.project_id
             WHERE k.hash = ?1",
        )?
        .query_row([hash], |row| {
            Ok(KeyGrant {
                id: row.get(0)?,
                project: ProjectId(row.get(1)?),
                scopes: Scopes::from_bits(row.get(2)?),
                expires_unix_nano: row.get::<_, Option<i64>>(3)?.map(time),
                revoked: row.get(4)?,
                hash: row.get(5)?,
            })
        })
}

pub(super) fn note_used(
    connection: &mut Connection,
    used: &[(String, u64)],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut update = transaction.prepare_cached(
            "UPDATE api_key SET last_used_unix_nano = ?2 WHERE key_id = ?1
                AND (last_used_unix_nano IS NULL OR last_used_unix_nano <= ?2 - ?3)",
        )?;
        for (id, at) in used {
            update.execute((id, clamp_time(*at), MINUTE_NS))?;
        }
    }
    transaction.commit()
}

const COLUMNS: &str = "key_id, project_id, name, prefix, scopes, created_unix_nano, \
    expires_unix_nano, revoked_unix_nano, last_used_unix_nano";

fn read(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let moment = |column| {
        let stored: Option<i64> = row.get(column)?;
        Ok::<_, rusqlite::Error>(stored.map(time))
    };
    Ok(ApiKey {
        id: row.get(0)?,
        project: ProjectId(row.get(1)?),
        name: row.get(2)?,
        prefix: row.get(3)?,
        scopes: Scopes::from_bits(row.get(4)?),
        created_unix_nano: time(row.get(5)?),
        expires_unix_nano: moment(6)?,
        revoked_unix_nano: moment(7)?,
        last_used_unix_nano: moment(8)?,
    })
}

pub(super) fn list(
    connection: &Connection,
    project: ProjectId,
    page: &PageRequest,
) -> rusqlite::Result<Page<ApiKey>> {
    let (before, id) = page.after.as_ref().map_or((i64::MAX, None), |cursor| {
        let id = String::from_utf8_lossy(&cursor.key).into_owned();
        (clamp_time(cursor.unix_nano), Some(id))
    });
    let sql = [
        "SELECT ",
        COLUMNS,
        " FROM api_key WHERE project_id = ?1
            AND (created_unix_nano < ?2 OR created_unix_nano = ?2 AND (?3 IS NULL OR key_id < ?3))
         ORDER BY created_unix_nano DESC, key_id DESC LIMIT ?4",
    ]
    .concat();
    let found = connection
        .prepare_cached(&sql)?
        .query_map((project.0, before, id, one_more(page)), read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(page_of(page, found, |key: &ApiKey| Cursor {
        unix_nano: key.created_unix_nano,
        key: key.id.clone().into_bytes(),
    }))
}

/// Those that are not revoked, the newest last.
pub(super) fn live(connection: &Connection, project: ProjectId) -> rusqlite::Result<Vec<ApiKey>> {
    let sql = [
        "SELECT ",
        COLUMNS,
        " FROM api_key WHERE project_id = ?1 AND revoked_unix_nano IS NULL
         ORDER BY created_unix_nano DESC, key_id DESC LIMIT ?2",
    ]
    .concat();
    let mut found: Vec<_> = connection
        .prepare_cached(&sql)?
        .query_map((project.0, KEYS_MAX), read)?
        .collect::<rusqlite::Result<_>>()?;
    found.reverse();
    Ok(found)
}

pub(super) fn one(
    connection: &Connection,
    project: ProjectId,
    id: &str,
) -> rusqlite::Result<ApiKey> {
    let sql = [
        "SELECT ",
        COLUMNS,
        " FROM api_key WHERE project_id = ?1 AND key_id = ?2",
    ]
    .concat();
    connection.query_row(&sql, (project.0, id), read)
}

pub(super) fn create(
    transaction: &Transaction<'_>,
    change: &Change,
    key: &NewKey,
) -> rusqlite::Result<Result<ApiKey, Refusal>> {
    if !projects::exists(transaction, key.project)? {
        return Ok(Err(Refusal::Unknown));
    }
    let now = clamp_time(change.at_unix_nano);
    let (taken, alive): (bool, u32) = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM api_key WHERE hash = ?1 OR key_id = ?2),
            (SELECT count(*) FROM api_key WHERE project_id = ?3 AND revoked_unix_nano IS NULL
                AND (expires_unix_nano IS NULL OR expires_unix_nano > ?4))",
        (key.hash, &key.id, key.project.0, now),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if taken {
        return Ok(Err(Refusal::Taken));
    }
    if alive >= KEYS_MAX {
        return Ok(Err(Refusal::TooMany));
    }
    transaction.execute(
        "INSERT INTO api_key (key_id, project_id, name, hash, prefix, scopes, created_unix_nano,
            expires_unix_nano)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            &key.id,
            key.project.0,
            &key.name,
            key.hash,
            &key.prefix,
            key.scopes.bits(),
            now,
            key.expires_unix_nano.map(clamp_time),
        ),
    )?;
    noted(transaction, change, "key.create", (key.project, &key.id))?;
    Ok(Ok(one(transaction, key.project, &key.id)?))
}

fn noted(
    transaction: &Transaction<'_>,
    change: &Change,
    action: &'static str,
    (project, id): (ProjectId, &str),
) -> rusqlite::Result<()> {
    let entry = Entry {
        action,
        project: Some(project),
        target: id,
    };
    note(transaction, change, &entry)
}

pub(super) fn revoke(
    transaction: &Transaction<'_>,
    change: &Change,
    project: ProjectId,
    id: &str,
) -> rusqlite::Result<Result<ApiKey, Refusal>> {
    let Some(key) = one(transaction, project, id).optional()? else {
        return Ok(Err(Refusal::Unknown));
    };
    if key.revoked_unix_nano.is_some() {
        return Ok(Ok(key));
    }
    transaction.execute(
        "UPDATE api_key SET revoked_unix_nano = ?3 WHERE project_id = ?1 AND key_id = ?2",
        (project.0, id, clamp_time(change.at_unix_nano)),
    )?;
    noted(transaction, change, "key.revoke", (project, id))?;
    Ok(Ok(one(transaction, project, id)?))
}

pub(super) fn rename(
    transaction: &Transaction<'_>,
    change: &Change,
    (project, id): (ProjectId, &str),
    name: &str,
) -> rusqlite::Result<Result<ApiKey, Refusal>> {
    let renamed = transaction.execute(
        "UPDATE api_key SET name = ?3 WHERE project_id = ?1 AND key_id = ?2",
        (project.0, id, name),
    )?;
    if renamed == 0 {
        return Ok(Err(Refusal::Unknown));
    }
    noted(transaction, change, "key.rename", (project, id))?;
    Ok(Ok(one(transaction, project, id)?))
}
