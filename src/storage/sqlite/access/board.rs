//! What PulseBoard's clients need of people and projects.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, Transaction, params};

use super::people::Refusable;
use super::{SqliteAccess, logins, projects};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::board::{BoardStore, OWNED_MAX, Owned};
use crate::storage::access::{Done, Hash, Login, Refusal};
use crate::storage::summary::clamp_time;

fn hand_on(
    transaction: &Transaction<'_>,
    login: &Login,
    password: &str,
    instead_of: Option<Hash>,
) -> Refusable<()> {
    if let Some(before) = instead_of {
        let goes_on = transaction
            .prepare_cached(
                "SELECT 1 FROM login WHERE token_hash = ?1 AND login_id = ?2 AND user_id = ?3
                    AND expires_unix_nano > ?4",
            )?
            .exists(params![
                before,
                login.id,
                login.user_id,
                clamp_time(login.created_unix_nano)
            ])?;
        if !goes_on {
            return Ok(Err(Refusal::Unknown));
        }
    }
    transaction.execute(
        "DELETE FROM login WHERE user_id = ?1 AND login_id = ?2",
        (&login.user_id, &login.id),
    )?;
    logins::insert(transaction, login, password)
}

fn owned(
    connection: &Connection,
    user_id: &str,
    project: Option<ProjectId>,
) -> rusqlite::Result<Vec<Owned>> {
    connection
        .prepare_cached(
            "SELECT p.project_id, p.name, p.created_unix_nano,
                (SELECT k.prefix FROM api_key k WHERE k.project_id = p.project_id
                    AND k.revoked_unix_nano IS NULL ORDER BY k.created_unix_nano, k.key_id LIMIT 1)
             FROM membership m JOIN project p ON p.project_id = m.project_id
             WHERE m.user_id = ?1 AND m.role = 'admin' AND (?2 IS NULL OR m.project_id = ?2)
             ORDER BY p.created_unix_nano DESC, p.project_id DESC LIMIT ?3",
        )?
        .query_map(
            params![user_id, project.map(|project| project.0), OWNED_MAX],
            |row| {
                Ok(Owned {
                    project: projects::read(row)?,
                    key_prefix: row.get(3)?,
                })
            },
        )?
        .collect()
}

impl BoardStore for SqliteAccess {
    fn hand_on_login(
        &self,
        login: Login,
        password: String,
        instead_of: Option<Hash>,
    ) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| hand_on(transaction, &login, &password, instead_of))
    }

    fn owned(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> BoxFuture<'_, Result<Vec<Owned>, Error>> {
        Self::run_on(Arc::clone(&self.reads), move |connection| {
            owned(connection, &user_id, project)
        })
    }
}
