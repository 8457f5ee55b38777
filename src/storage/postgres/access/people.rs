//! People: passwords and memberships.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{
    CONTEXT, Entry, Param, PostgresAccess, finish, note, number, one, one_more, page_of, projects,
    role, time,
};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::access::{Change, Done, Member, Project, Refusal, USERS_MAX, User};
use crate::storage::postgres::transaction::Transaction;
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Error, Page, PageRequest};

pub(super) fn read(row: &Row, first: usize) -> User {
    User {
        id: row.get(first),
        email: row.get(first + 1),
        name: row.get(first + 2),
        created_unix_nano: time(row.get(first + 3)),
    }
}

fn entry<'a>(action: &'static str, target: &'a str) -> Entry<'a> {
    Entry {
        action,
        project: None,
        target,
    }
}

pub(super) fn entry_of<'a>(action: &'static str, project: ProjectId, target: &'a str) -> Entry<'a> {
    Entry {
        action,
        project: Some(project),
        target,
    }
}

/// Adds a person, with the audit entry.
pub(super) async fn create(
    transaction: &Transaction,
    user: &User,
    password: &str,
    change: &Change,
) -> Done<()> {
    let sql = "SELECT count(*) FROM account";
    let rows = transaction.query(sql, &[], CONTEXT).await?;
    if one(&rows)?.get::<_, i64>(0) >= i64::from(USERS_MAX) {
        return Ok(Err(Refusal::TooMany));
    }
    let created = clamp_time(user.created_unix_nano);
    let sql = "INSERT INTO account (user_id, email, name, password, created_unix_nano)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let params: [Param<'_>; 5] = [
        (&user.id, Type::TEXT),
        (&user.email, Type::TEXT),
        (&user.name, Type::TEXT),
        (&password, Type::TEXT),
        (&created, Type::INT8),
    ];
    if transaction.execute(sql, &params, CONTEXT).await? == 0 {
        return Ok(Err(Refusal::Taken));
    }
    note(transaction, change, entry("user.create", &user.email)).await?;
    Ok(Ok(()))
}

pub(super) async fn with_password(
    transaction: &Transaction,
    email: &str,
) -> Result<Option<(User, String)>, Error> {
    let sql = "SELECT user_id, email, name, created_unix_nano, password FROM account
        WHERE email = $1";
    let params = [(&email as _, Type::TEXT)];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    Ok(rows.first().map(|row| (read(row, 0), row.get(4))))
}

/// Makes a person a member, with the audit entry.
pub(super) async fn set_member(
    transaction: &Transaction,
    (project, user_id): (ProjectId, &str),
    role: Role,
    change: &Change,
) -> Done<()> {
    let id = number(project);
    let sql = "INSERT INTO membership (project_id, user_id, role)
        SELECT p.project_id, a.user_id, $3 FROM project p, account a
        WHERE p.project_id = $1 AND a.user_id = $2
        ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role";
    let params: [Param<'_>; 3] = [
        (&id, Type::INT8),
        (&user_id, Type::TEXT),
        (&role.as_str(), Type::TEXT),
    ];
    if transaction.execute(sql, &params, CONTEXT).await? == 0 {
        return Ok(Err(Refusal::Unknown));
    }
    let entry = entry_of("member.set", project, user_id);
    note(transaction, change, entry).await?;
    Ok(Ok(()))
}

impl PostgresAccess {
    pub(super) async fn create_user_now(
        &self,
        user: User,
        password: String,
        change: Change,
    ) -> Done<()> {
        let transaction = self.begin_change().await?;
        let created = create(&transaction, &user, &password, &change).await?;
        if created.is_ok() {
            transaction.commit(CONTEXT).await?;
        }
        Ok(created)
    }

    pub(super) async fn user_now(&self, email: &str) -> Result<Option<(User, String)>, Error> {
        let transaction = self.begin().await?;
        let found = with_password(&transaction, email).await?;
        transaction.commit(CONTEXT).await?;
        Ok(found)
    }

    pub(super) async fn set_password_now(
        &self,
        user_id: String,
        password: String,
        change: Change,
    ) -> Done<()> {
        let transaction = self.begin_change().await?;
        let sql = "UPDATE account SET password = $2 WHERE user_id = $1 RETURNING email";
        let params: [Param<'_>; 2] = [(&user_id, Type::TEXT), (&password, Type::TEXT)];
        let rows = transaction.query(sql, &params, CONTEXT).await?;
        let Some(row) = rows.first() else {
            return Ok(Err(Refusal::Unknown));
        };
        let sql = "DELETE FROM login WHERE user_id = $1";
        let params = [(&user_id as _, Type::TEXT)];
        transaction.execute(sql, &params, CONTEXT).await?;
        finish(transaction, &change, entry("user.password", row.get(0))).await?;
        Ok(Ok(()))
    }

    pub(super) async fn users_now(&self, page: &PageRequest) -> Result<Page<User>, Error> {
        let after = page.after.as_ref().map(|cursor| cursor.key.as_slice());
        let after = String::from_utf8_lossy(after.unwrap_or_default()).into_owned();
        let limit = one_more(page);
        let sql = "SELECT user_id, email, name, created_unix_nano FROM account WHERE email > $1
            ORDER BY email LIMIT $2";
        let params: &[Param<'_>] = &[(&after, Type::TEXT), (&limit, Type::INT8)];
        let rows = self.ask(sql, params).await?;
        let found = rows.iter().map(|row| read(row, 0)).collect();
        Ok(page_of(page, found, |user: &User| Cursor {
            unix_nano: user.created_unix_nano,
            key: user.email.clone().into_bytes(),
        }))
    }

    pub(super) async fn set_member_now(
        &self,
        project: ProjectId,
        user_id: String,
        role: Role,
        change: Change,
    ) -> Done<()> {
        let transaction = self.begin_change().await?;
        let set = set_member(&transaction, (project, &user_id), role, &change).await?;
        if set.is_ok() {
            transaction.commit(CONTEXT).await?;
        }
        Ok(set)
    }

    pub(super) async fn remove_member_now(
        &self,
        project: ProjectId,
        user_id: String,
        change: Change,
    ) -> Done<()> {
        let transaction = self.begin_change().await?;
        let id = number(project);
        let sql = "DELETE FROM membership WHERE project_id = $1 AND user_id = $2";
        let params: [Param<'_>; 2] = [(&id, Type::INT8), (&user_id, Type::TEXT)];
        if transaction.execute(sql, &params, CONTEXT).await? == 0 {
            return Ok(Err(Refusal::Unknown));
        }
        let entry = entry_of("member.remove", project, &user_id);
        finish(transaction, &change, entry).await?;
        Ok(Ok(()))
    }

    pub(super) async fn members_now(&self, project: ProjectId) -> Result<Vec<Member>, Error> {
        let sql = "SELECT a.user_id, a.email, a.name, a.created_unix_nano, m.role
            FROM membership m JOIN account a ON a.user_id = m.user_id
            WHERE m.project_id = $1 ORDER BY a.email LIMIT 1000";
        let rows = self.ask(sql, &[(&number(project), Type::INT8)]).await?;
        let members = rows.iter().map(|row| {
            Ok(Member {
                user: read(row, 0),
                project,
                role: role(row, 4)?,
            })
        });
        members.collect()
    }

    pub(super) async fn projects_of_now(
        &self,
        user_id: String,
    ) -> Result<Vec<(Project, Role)>, Error> {
        let sql = "SELECT p.project_id, p.name, p.created_unix_nano, m.role
            FROM membership m JOIN project p ON p.project_id = m.project_id
            WHERE m.user_id = $1 ORDER BY p.project_id LIMIT 1000";
        let rows = self.ask(sql, &[(&user_id, Type::TEXT)]).await?;
        rows.iter()
            .map(|row| Ok((projects::read(row), role(row, 3)?)))
            .collect()
    }
}
