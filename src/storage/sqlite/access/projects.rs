//! Projects.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::{Entry, note, one_more, page_of, time};
use crate::model::ProjectId;
use crate::storage::access::{Change, PROJECTS_MAX, Project, Refusal};
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Page, PageRequest};

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Project> {
    Ok(Project {
        id: ProjectId(row.get(0)?),
        name: row.get(1)?,
        created_unix_nano: time(row.get(2)?),
    })
}

pub(super) fn list(connection: &Connection, page: &PageRequest) -> rusqlite::Result<Page<Project>> {
    let after = page.after.as_ref().map_or(0, |cursor| cursor.unix_nano);
    let found = connection
        .prepare_cached(
            "SELECT project_id, name, created_unix_nano FROM project WHERE project_id > ?1
             ORDER BY project_id LIMIT ?2",
        )?
        .query_map((clamp_time(after), one_more(page)), read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(page_of(page, found, |project: &Project| Cursor {
        unix_nano: u64::from(project.id.0),
        key: Vec::new(),
    }))
}

pub(super) fn named(connection: &Connection, name: &str) -> rusqlite::Result<Project> {
    connection.query_row(
        "SELECT project_id, name, created_unix_nano FROM project WHERE name = ?1",
        [name],
        read,
    )
}

pub(super) fn exists(connection: &Connection, project: ProjectId) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM project WHERE project_id = ?1)",
        [project.0],
        |row| row.get(0),
    )
}

pub(super) fn create(
    transaction: &Transaction<'_>,
    change: &Change,
    name: &str,
) -> rusqlite::Result<Result<Project, Refusal>> {
    if named(transaction, name).optional()?.is_some() {
        return Ok(Err(Refusal::Taken));
    }
    let (count, id): (u32, u32) = transaction.query_row(
        "SELECT (SELECT count(*) FROM project),
            1 + max((SELECT coalesce(max(project_id), 0) FROM project),
                (SELECT coalesce(max(project_id), 0) FROM project_deleted))",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if count >= PROJECTS_MAX {
        return Ok(Err(Refusal::TooMany));
    }
    let project = Project {
        id: ProjectId(id),
        name: name.to_owned(),
        created_unix_nano: change.at_unix_nano,
    };
    transaction.execute(
        "INSERT INTO project (project_id, name, created_unix_nano) VALUES (?1, ?2, ?3)",
        (id, name, clamp_time(change.at_unix_nano)),
    )?;
    let entry = Entry {
        action: "project.create",
        project: Some(project.id),
        target: name,
    };
    note(transaction, change, &entry)?;
    Ok(Ok(project))
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    change: &Change,
    project: ProjectId,
) -> rusqlite::Result<Result<(), Refusal>> {
    let name: Option<String> = transaction
        .query_row(
            "DELETE FROM project WHERE project_id = ?1 RETURNING name",
            [project.0],
            |row| row.get(0),
        )
        .optional()?;
    let Some(name) = name else {
        return Ok(Err(Refusal::Unknown));
    };
    transaction.execute(
        "INSERT INTO project_deleted (project_id, name, deleted_unix_nano) VALUES (?1, ?2, ?3)",
        (project.0, &name, clamp_time(change.at_unix_nano)),
    )?;
    for sql in [
        "DELETE FROM membership WHERE project_id = ?1",
        "DELETE FROM invite WHERE project_id = ?1",
        "DELETE FROM project_setting WHERE project_id = ?1",
        "DELETE FROM project_quota WHERE project_id = ?1",
        "DELETE FROM project_usage WHERE project_id = ?1",
    ] {
        transaction.execute(sql, [project.0])?;
    }
    let entry = Entry {
        action: "project.delete",
        project: Some(project),
        target: &name,
    };
    note(transaction, change, &entry)?;
    Ok(Ok(()))
}
