//! Sessions, and what their cookies are signed with.

use tokio_postgres::types::Type;

use super::{CONTEXT, Param, PostgresAccess, number, one, people, project_id, role, time};
use crate::model::ProjectId;
use crate::model::access::{Role, Scopes};
use crate::storage::Error;
use crate::storage::access::people::LOGINS_MAX;
use crate::storage::access::{Done, Hash, Login, Refusal, User};
use crate::storage::postgres::transaction::Transaction;
use crate::storage::summary::clamp_time;

/// Name of the secret.
const COOKIE: &str = "cookie";

/// Stores a session, and drops those that have ended and those that are too many.
pub(super) async fn insert(transaction: &Transaction, login: &Login) -> Result<(), Error> {
    let created = clamp_time(login.created_unix_nano);
    let sql = "DELETE FROM login WHERE token_hash IN (SELECT token_hash FROM login
        WHERE expires_unix_nano <= $1 ORDER BY token_hash FOR UPDATE SKIP LOCKED)";
    let params = [(&created as _, Type::INT8)];
    transaction.execute(sql, &params, CONTEXT).await?;
    let sql = "DELETE FROM login WHERE token_hash IN (SELECT token_hash FROM login
        WHERE user_id = $1 ORDER BY created_unix_nano DESC, token_hash OFFSET $2)";
    let kept = i64::from(LOGINS_MAX - 1);
    let params: [Param<'_>; 2] = [(&login.user_id, Type::TEXT), (&kept, Type::INT8)];
    transaction.execute(sql, &params, CONTEXT).await?;
    let (expires, seen) = (
        clamp_time(login.expires_unix_nano),
        clamp_time(login.seen_unix_nano),
    );
    let (project, scopes) = (login.project.map(number), i64::from(login.scopes.bits()));
    let sql = "INSERT INTO login (token_hash, login_id, user_id, created_unix_nano,
            expires_unix_nano, seen_unix_nano, address, user_agent, project_id, scopes, key_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let params: [Param<'_>; 11] = [
        (&login.token_hash.as_slice(), Type::BYTEA),
        (&login.id, Type::TEXT),
        (&login.user_id, Type::TEXT),
        (&created, Type::INT8),
        (&expires, Type::INT8),
        (&seen, Type::INT8),
        (&login.address, Type::TEXT),
        (&login.user_agent, Type::TEXT),
        (&project, Type::INT8),
        (&scopes, Type::INT8),
        (&login.key, Type::TEXT),
    ];
    transaction.execute(sql, &params, CONTEXT).await?;
    Ok(())
}

impl PostgresAccess {
    pub(super) async fn signing_secret_now(&self, made: Hash) -> Result<Hash, Error> {
        let transaction = self.begin().await?;
        let sql = "INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let made = made.as_slice();
        let params: [Param<'_>; 2] = [(&COOKIE, Type::TEXT), (&made, Type::BYTEA)];
        transaction.execute(sql, &params, CONTEXT).await?;
        let sql = "SELECT value FROM secret WHERE name = $1";
        let params = [(&COOKIE as _, Type::TEXT)];
        let rows = transaction.query(sql, &params, CONTEXT).await?;
        let kept = Hash::try_from(one(&rows)?.get::<_, &[u8]>(0));
        transaction.commit(CONTEXT).await?;
        kept.map_err(|_| Error::Corrupt {
            context: "the secret of cookies has another length".to_owned(),
        })
    }

    pub(super) async fn begin_login_now(&self, login: Login, password: String) -> Done<()> {
        let transaction = self.begin().await?;
        // Until this ends nobody changes the password, which ends all sessions there are then.
        let sql = "SELECT FROM account WHERE user_id = $1 AND password = $2 FOR SHARE";
        let params: [Param<'_>; 2] = [(&login.user_id, Type::TEXT), (&password, Type::TEXT)];
        let rows = transaction.query(sql, &params, CONTEXT).await?;
        if rows.is_empty() {
            return Ok(Err(Refusal::Unknown));
        }
        insert(&transaction, &login).await?;
        transaction.commit(CONTEXT).await?;
        Ok(Ok(()))
    }
    pub(super) async fn login_now(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> Result<Option<(Login, User)>, Error> {
        let now = clamp_time(now_unix_nano);
        let sql = "SELECT a.user_id, a.email, a.name, a.created_unix_nano, l.login_id,
                l.created_unix_nano, l.expires_unix_nano, l.seen_unix_nano, l.address,
                l.user_agent, l.project_id, l.scopes, l.key_id
            FROM login l JOIN account a ON a.user_id = l.user_id
                LEFT JOIN api_key k ON k.key_id = l.key_id
            WHERE l.token_hash = $1 AND l.expires_unix_nano > $2
                AND (l.key_id IS NULL OR k.key_id IS NOT NULL AND k.revoked_unix_nano IS NULL
                    AND (k.expires_unix_nano IS NULL OR k.expires_unix_nano > $2))";
        let params: &[Param<'_>] = &[(&token_hash.as_slice(), Type::BYTEA), (&now, Type::INT8)];
        let rows = self.ask(sql, params).await?;
        Ok(rows.first().map(|row| {
            let user = people::read(row, 0);
            let login = Login {
                token_hash,
                id: row.get(4),
                user_id: user.id.clone(),
                created_unix_nano: time(row.get(5)),
                expires_unix_nano: time(row.get(6)),
                seen_unix_nano: time(row.get(7)),
                address: row.get(8),
                user_agent: row.get(9),
                project: row.get::<_, Option<i64>>(10).map(project_id),
                scopes: Scopes::from_bits(u8::try_from(row.get::<_, i64>(11)).unwrap_or_default()),
                key: row.get(12),
            };
            (login, user)
        }))
    }

    pub(super) async fn note_seen_now(
        &self,
        token_hash: Hash,
        at_unix_nano: u64,
    ) -> Result<(), Error> {
        let at = clamp_time(at_unix_nano);
        let sql = "UPDATE login SET seen_unix_nano = greatest(seen_unix_nano, $2)
            WHERE token_hash = $1";
        let params: &[Param<'_>] = &[(&token_hash.as_slice(), Type::BYTEA), (&at, Type::INT8)];
        self.ask(sql, params).await?;
        Ok(())
    }

    pub(super) async fn end_login_now(&self, token_hash: Hash) -> Done<()> {
        let sql = "DELETE FROM login WHERE token_hash = $1 RETURNING login_id";
        let rows = self
            .ask(sql, &[(&token_hash.as_slice(), Type::BYTEA)])
            .await?;
        Ok(if rows.is_empty() {
            Err(Refusal::Unknown)
        } else {
            Ok(())
        })
    }

    pub(super) async fn memberships_now(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> Result<Vec<(ProjectId, Role)>, Error> {
        let project = project.map(number);
        let sql = "SELECT m.project_id, m.role FROM membership m
            JOIN project p ON p.project_id = m.project_id
            WHERE m.user_id = $1 AND ($2::bigint IS NULL OR m.project_id = $2)
            ORDER BY m.project_id LIMIT 2";
        let params: &[Param<'_>] = &[(&user_id, Type::TEXT), (&project, Type::INT8)];
        let rows = self.ask(sql, params).await?;
        rows.iter()
            .map(|row| Ok((project_id(row.get(0)), role(row, 1)?)))
            .collect()
    }

    pub(super) async fn admin_of_now(
        &self,
        project: ProjectId,
    ) -> Result<Option<(User, String)>, Error> {
        let (project, admin) = (number(project), Role::Admin.as_str());
        let sql = "SELECT a.user_id, a.email, a.name, a.created_unix_nano, a.password
            FROM membership m JOIN account a ON a.user_id = m.user_id
            WHERE m.project_id = $1 AND m.role = $2 ORDER BY a.email LIMIT 1";
        let params: &[Param<'_>] = &[(&project, Type::INT8), (&admin, Type::TEXT)];
        let rows = self.ask(sql, params).await?;
        Ok(rows.first().map(|row| (people::read(row, 0), row.get(4))))
    }
}
