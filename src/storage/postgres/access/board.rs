//! What PulseBoard's clients need of people and projects.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::{CONTEXT, Param, PostgresAccess, logins, number, projects};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::board::{BoardStore, OWNED_MAX, Owned};
use crate::storage::access::{Done, Hash, Login, Refusal};
use crate::storage::summary::clamp_time;

impl PostgresAccess {
    async fn hand_on_login_now(
        &self,
        login: Login,
        password: String,
        instead_of: Option<Hash>,
    ) -> Done<()> {
        let transaction = self.begin().await?;
        // One after the other: each sees the session that the one before it began.
        let sql = "SELECT FROM account WHERE user_id = $1 AND password = $2 FOR NO KEY UPDATE";
        let params: [Param<'_>; 2] = [(&login.user_id, Type::TEXT), (&password, Type::TEXT)];
        if transaction.query(sql, &params, CONTEXT).await?.is_empty() {
            return Ok(Err(Refusal::Unknown));
        }
        let now = clamp_time(login.created_unix_nano);
        if let Some(before) = instead_of {
            let sql = "SELECT FROM login WHERE token_hash = $1 AND login_id = $2 AND user_id = $3
                AND expires_unix_nano > $4";
            let params: [Param<'_>; 4] = [
                (&before.as_slice(), Type::BYTEA),
                (&login.id, Type::TEXT),
                (&login.user_id, Type::TEXT),
                (&now, Type::INT8),
            ];
            if transaction.query(sql, &params, CONTEXT).await?.is_empty() {
                return Ok(Err(Refusal::Unknown));
            }
        }
        let sql = "DELETE FROM login WHERE user_id = $1 AND login_id = $2";
        let params: [Param<'_>; 2] = [(&login.user_id, Type::TEXT), (&login.id, Type::TEXT)];
        transaction.execute(sql, &params, CONTEXT).await?;
        logins::insert(&transaction, &login).await?;
        transaction.commit(CONTEXT).await?;
        Ok(Ok(()))
    }

    async fn owned_now(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> Result<Vec<Owned>, Error> {
        let (project, limit) = (project.map(number), i64::from(OWNED_MAX));
        let sql = "SELECT p.project_id, p.name, p.created_unix_nano,
                (SELECT k.prefix FROM api_key k WHERE k.project_id = p.project_id
                    AND k.revoked_unix_nano IS NULL ORDER BY k.created_unix_nano, k.key_id LIMIT 1)
            FROM membership m JOIN project p ON p.project_id = m.project_id
            WHERE m.user_id = $1 AND m.role = 'admin'
                AND ($2::bigint IS NULL OR m.project_id = $2)
            ORDER BY p.created_unix_nano DESC, p.project_id DESC LIMIT $3";
        let params: &[Param<'_>] = &[
            (&user_id, Type::TEXT),
            (&project, Type::INT8),
            (&limit, Type::INT8),
        ];
        let rows = self.ask(sql, params).await?;
        let owned = rows.iter().map(|row| Owned {
            project: projects::read(row),
            key_prefix: row.get(3),
        });
        Ok(owned.collect())
    }
}

impl BoardStore for PostgresAccess {
    fn hand_on_login(
        &self,
        login: Login,
        password: String,
        instead_of: Option<Hash>,
    ) -> BoxFuture<'_, Done<()>> {
        self.hand_on_login_now(login, password, instead_of).boxed()
    }

    fn owned(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> BoxFuture<'_, Result<Vec<Owned>, Error>> {
        self.owned_now(user_id, project).boxed()
    }
}
