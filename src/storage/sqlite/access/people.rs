//! People: passwords and memberships.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::{Entry, note, one_more, page_of, projects, role, time};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::access::{Change, Member, Project, Refusal, USERS_MAX, User};
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Page, PageRequest};

pub(super) type Refusable<T> = rusqlite::Result<Result<T, Refusal>>;

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        created_unix_nano: time(row.get(3)?),
    })
}

pub(super) fn noted(
    transaction: &Transaction<'_>,
    change: &Change,
    action: &'static str,
    (project, target): (Option<ProjectId>, &str),
) -> rusqlite::Result<()> {
    let entry = Entry {
        action,
        project,
        target,
    };
    note(transaction, change, &entry)
}

fn exists(connection: &Connection, user_id: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM account WHERE user_id = ?1)",
        [user_id],
        |row| row.get(0),
    )
}

pub(super) fn create(
    transaction: &Transaction<'_>,
    change: &Change,
    user: &User,
    password: &str,
) -> Refusable<()> {
    let people: u32 =
        transaction.query_row("SELECT count(*) FROM account", [], |row| row.get(0))?;
    if people >= USERS_MAX {
        return Ok(Err(Refusal::TooMany));
    }
    let created = transaction.execute(
        "INSERT OR IGNORE INTO account (user_id, email, name, password, created_unix_nano)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            &user.id,
            &user.email,
            &user.name,
            password,
            clamp_time(user.created_unix_nano),
        ),
    )?;
    if created == 0 {
        return Ok(Err(Refusal::Taken));
    }
    noted(transaction, change, "user.create", (None, &user.email))?;
    Ok(Ok(()))
}

pub(super) fn with_password(
    connection: &Connection,
    email: &str,
) -> rusqlite::Result<(User, String)> {
    connection.query_row(
        "SELECT user_id, email, name, created_unix_nano, password FROM account WHERE email = ?1",
        [email],
        |row| Ok((read(row)?, row.get(4)?)),
    )
}

pub(super) fn set_password(
    transaction: &Transaction<'_>,
    change: &Change,
    user_id: &str,
    password: &str,
) -> Refusable<()> {
    let email: Option<String> = transaction
        .query_row(
            "UPDATE account SET password = ?2 WHERE user_id = ?1 RETURNING email",
            (user_id, password),
            |row| row.get(0),
        )
        .optional()?;
    let Some(email) = email else {
        return Ok(Err(Refusal::Unknown));
    };
    transaction.execute("DELETE FROM login WHERE user_id = ?1", [user_id])?;
    noted(transaction, change, "user.password", (None, &email))?;
    Ok(Ok(()))
}

pub(super) fn list(connection: &Connection, page: &PageRequest) -> rusqlite::Result<Page<User>> {
    let after = page.after.as_ref().map(|cursor| cursor.key.as_slice());
    let after = String::from_utf8_lossy(after.unwrap_or_default()).into_owned();
    let found = connection
        .prepare_cached(
            "SELECT user_id, email, name, created_unix_nano FROM account WHERE email > ?1
             ORDER BY email LIMIT ?2",
        )?
        .query_map((after, one_more(page)), read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(page_of(page, found, |user: &User| Cursor {
        unix_nano: user.created_unix_nano,
        key: user.email.clone().into_bytes(),
    }))
}

pub(super) fn set_member(
    transaction: &Transaction<'_>,
    change: &Change,
    (project, user_id): (ProjectId, &str),
    role: Role,
) -> Refusable<()> {
    if !projects::exists(transaction, project)? || !exists(transaction, user_id)? {
        return Ok(Err(Refusal::Unknown));
    }
    transaction.execute(
        "INSERT OR REPLACE INTO membership (project_id, user_id, role) VALUES (?1, ?2, ?3)",
        (project.0, user_id, role.as_str()),
    )?;
    noted(transaction, change, "member.set", (Some(project), user_id))?;
    Ok(Ok(()))
}

pub(super) fn remove_member(
    transaction: &Transaction<'_>,
    change: &Change,
    project: ProjectId,
    user_id: &str,
) -> Refusable<()> {
    let removed = transaction.execute(
        "DELETE FROM membership WHERE project_id = ?1 AND user_id = ?2",
        (project.0, user_id),
    )?;
    if removed == 0 {
        return Ok(Err(Refusal::Unknown));
    }
    noted(
        transaction,
        change,
        "member.remove",
        (Some(project), user_id),
    )?;
    Ok(Ok(()))
}

pub(super) fn members(
    connection: &Connection,
    project: ProjectId,
) -> rusqlite::Result<Vec<Member>> {
    connection
        .prepare_cached(
            "SELECT a.user_id, a.email, a.name, a.created_unix_nano, m.role
             FROM membership m JOIN account a ON a.user_id = m.user_id
             WHERE m.project_id = ?1 ORDER BY a.email LIMIT 1000",
        )?
        .query_map([project.0], |row| {
            Ok(Member {
                user: read(row)?,
                project,
                role: role(&row.get::<_, String>(4)?)?,
            })
        })?
        .collect()
}

pub(super) fn projects_of(
    connection: &Connection,
    user_id: &str,
) -> rusqlite::Result<Vec<(Project, Role)>> {
    connection
        .prepare_cached(
            "SELECT p.project_id, p.name, p.created_unix_nano, m.role
             FROM membership m JOIN project p ON p.project_id = m.project_id
             WHERE m.user_id = ?1 ORDER BY p.project_id LIMIT 1000",
        )?
        .query_map([user_id], |row| {
            Ok((projects::read(row)?, role(&row.get::<_, String>(3)?)?))
        })?
        .collect()
}
