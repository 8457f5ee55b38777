//! Sessions, and what their cookies are signed with.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::people::{self, Refusable};
use super::{role, time};
use crate::model::ProjectId;
use crate::model::access::{Role, Scopes};
use crate::storage::access::people::LOGINS_MAX;
use crate::storage::access::{Hash, Login, Refusal, User};
use crate::storage::summary::clamp_time;

/// Name of the secret.
const COOKIE: &str = "cookie";

pub(super) fn signing_secret(connection: &Connection, made: &Hash) -> rusqlite::Result<Hash> {
    connection.execute(
        "INSERT OR IGNORE INTO secret (name, value) VALUES (?1, ?2)",
        (COOKIE, made),
    )?;
    connection.query_row(
        "SELECT value FROM secret WHERE name = ?1",
        [COOKIE],
        |row| row.get(0),
    )
}

pub(super) fn begin(connection: &mut Connection, login: &Login, password: &str) -> Refusable<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let begun = insert(&transaction, login, password)?;
    transaction.commit()?;
    Ok(begun)
}

/// Begins a session, and drops those that have ended.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    login: &Login,
    password: &str,
) -> Refusable<()> {
    transaction.execute(
        "DELETE FROM login WHERE expires_unix_nano <= ?1",
        [clamp_time(login.created_unix_nano)],
    )?;
    transaction.execute(
        "DELETE FROM login WHERE token_hash IN (SELECT token_hash FROM login WHERE user_id = ?1
            ORDER BY created_unix_nano DESC, token_hash LIMIT -1 OFFSET ?2)",
        (&login.user_id, LOGINS_MAX - 1),
    )?;
    let begun = transaction.execute(
        "INSERT INTO login (token_hash, login_id, user_id, created_unix_nano, expires_unix_nano,
            seen_unix_nano, address, user_agent, project_id, scopes, key_id)
         SELECT ?1, ?2, user_id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?12 FROM account
         WHERE user_id = ?3 AND password = ?11",
        (
            login.token_hash,
            &login.id,
            &login.user_id,
            clamp_time(login.created_unix_nano),
            clamp_time(login.expires_unix_nano),
            clamp_time(login.seen_unix_nano),
            &login.address,
            &login.user_agent,
            login.project.map(|project| project.0),
            login.scopes.bits(),
            password,
            &login.key,
        ),
    )?;
    Ok(if begun == 0 {
        Err(Refusal::Unknown)
    } else {
        Ok(())
    })
}

pub(super) fn find(
    connection: &Connection,
    token_hash: &Hash,
    now_unix_nano: u64,
) -> rusqlite::Result<(Login, User)> {
    connection
        .prepare_cached(
            "SELECT a.user_id, a.email, a.name, a.created_unix_nano, l.login_id,
                l.created_unix_nano, l.expires_unix_nano, l.seen_unix_nano, l.address,
                l.user_agent, l.project_id, l.scopes, l.key_id
             FROM login l JOIN account a ON a.user_id = l.user_id
                LEFT JOIN api_key k ON k.key_id = l.key_id
             WHERE l.token_hash = ?1 AND l.expires_unix_nano > ?2
                AND (l.key_id IS NULL OR k.key_id IS NOT NULL AND k.revoked_unix_nano IS NULL
                    AND (k.expires_unix_nano IS NULL OR k.expires_unix_nano > ?2))",
        )?
        .query_row((token_hash, clamp_time(now_unix_nano)), |row| {
            let user = people::read(row)?;
            let login = Login {
                token_hash: *token_hash,
                id: row.get(4)?,
                user_id: user.id.clone(),
                created_unix_nano: time(row.get(5)?),
                expires_unix_nano: time(row.get(6)?),
                seen_unix_nano: time(row.get(7)?),
                address: row.get(8)?,
                user_agent: row.get(9)?,
                project: row.get::<_, Option<u32>>(10)?.map(ProjectId),
                scopes: Scopes::from_bits(row.get(11)?),
                key: row.get(12)?,
            };
            Ok((login, user))
        })
}

pub(super) fn note_seen(
    connection: &Connection,
    token_hash: &Hash,
    at_unix_nano: u64,
) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE login SET seen_unix_nano = max(seen_unix_nano, ?2) WHERE token_hash = ?1",
        (token_hash, clamp_time(at_unix_nano)),
    )?;
    Ok(())
}

pub(super) fn end(connection: &Connection, token_hash: &Hash) -> Refusable<()> {
    let ended = connection.execute("DELETE FROM login WHERE token_hash = ?1", [token_hash])?;
    Ok(if ended == 0 {
        Err(Refusal::Unknown)
    } else {
        Ok(())
    })
}

pub(super) fn memberships(
    connection: &Connection,
    user_id: &str,
    project: Option<ProjectId>,
) -> rusqlite::Result<Vec<(ProjectId, Role)>> {
    connection
        .prepare_cached(
            "SELECT m.project_id, m.role FROM membership m
             JOIN project p ON p.project_id = m.project_id
             WHERE m.user_id = ?1 AND (?2 IS NULL OR m.project_id = ?2)
             ORDER BY m.project_id LIMIT 2",
        )?
        .query_map((user_id, project.map(|project| project.0)), |row| {
            Ok((ProjectId(row.get(0)?), role(&row.get::<_, String>(1)?)?))
        })?
        .collect()
}

pub(super) fn admin_of(
    connection: &Connection,
    project: ProjectId,
) -> rusqlite::Result<Option<(User, String)>> {
    connection
        .prepare_cached(
            "SELECT a.user_id, a.email, a.name, a.created_unix_nano, a.password
             FROM membership m JOIN account a ON a.user_id = m.user_id
             WHERE m.project_id = ?1 AND m.role = ?2 ORDER BY a.email LIMIT 1",
        )?
        .query_row((project.0, Role::Admin.as_str()), |row| {
            Ok((people::read(row)?, row.get(4)?))
        })
        .optional()
}
