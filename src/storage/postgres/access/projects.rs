//! Projects.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{
    CONTEXT, Entry, PostgresAccess, finish, note, number, one, one_more, page_of, project_id, time,
};
use crate::model::ProjectId;
use crate::storage::access::{Change, Done, PROJECTS_MAX, Project, Refusal};
use crate::storage::postgres::transaction::Transaction;
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Error, Page, PageRequest};

pub(super) fn read(row: &Row) -> Project {
    Project {
        id: project_id(row.get(0)),
        name: row.get(1),
        created_unix_nano: time(row.get(2)),
    }
}

pub(super) async fn exists(transaction: &Transaction, project: ProjectId) -> Result<bool, Error> {
    let sql = "SELECT FROM project WHERE project_id = $1";
    let params = [(&number(project) as _, Type::INT8)];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    Ok(!rows.is_empty())
}

/// Creates a project, with its audit entry.
pub(super) async fn create(
    transaction: &Transaction,
    name: &str,
    change: &Change,
) -> Done<Project> {
    let sql = "SELECT EXISTS (SELECT FROM project WHERE name = $1),
        (SELECT count(*) FROM project),
        1 + greatest((SELECT coalesce(max(project_id), 0) FROM project),
            (SELECT coalesce(max(project_id), 0) FROM project_deleted))";
    let params = [(&name as _, Type::TEXT)];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    let row = one(&rows)?;
    let (taken, count, id): (bool, i64, i64) = (row.get(0), row.get(1), row.get(2));
    if taken {
        return Ok(Err(Refusal::Taken));
    }
    if count >= i64::from(PROJECTS_MAX) {
        return Ok(Err(Refusal::TooMany));
    }
    let at = clamp_time(change.at_unix_nano);
    let sql = "INSERT INTO project (project_id, name, created_unix_nano) VALUES ($1, $2, $3)";
    let params: [super::Param<'_>; 3] = [(&id, Type::INT8), (&name, Type::TEXT), (&at, Type::INT8)];
    transaction.execute(sql, &params, CONTEXT).await?;
    let entry = Entry {
        action: "project.create",
        project: Some(project_id(id)),
        target: name,
    };
    note(transaction, change, entry).await?;
    Ok(Ok(Project {
        id: project_id(id),
        name: name.to_owned(),
        created_unix_nano: change.at_unix_nano,
    }))
}

impl PostgresAccess {
    pub(super) async fn projects_now(&self, page: &PageRequest) -> Result<Page<Project>, Error> {
        let after = page.after.as_ref().map_or(0, |cursor| cursor.unix_nano);
        let sql = "SELECT project_id, name, created_unix_nano FROM project WHERE project_id > $1
            ORDER BY project_id LIMIT $2";
        let (after, limit) = (clamp_time(after), one_more(page));
        let rows = self
            .ask(sql, &[(&after, Type::INT8), (&limit, Type::INT8)])
            .await?;
        let found = rows.iter().map(read).collect();
        Ok(page_of(page, found, |project: &Project| Cursor {
            unix_nano: u64::from(project.id.0),
            key: Vec::new(),
        }))
    }

    pub(super) async fn project_named(&self, name: &str) -> Result<Option<Project>, Error> {
        let sql = "SELECT project_id, name, created_unix_nano FROM project WHERE name = $1";
        let rows = self.ask(sql, &[(&name, Type::TEXT)]).await?;
        Ok(rows.first().map(read))
    }

    pub(super) async fn create_project_now(&self, name: String, change: Change) -> Done<Project> {
        let transaction = self.begin_change().await?;
        let created = create(&transaction, &name, &change).await?;
        if created.is_ok() {
            transaction.commit(CONTEXT).await?;
        }
        Ok(created)
    }

    pub(super) async fn delete_project_now(&self, project: ProjectId, change: Change) -> Done<()> {
        let transaction = self.begin_change().await?;
        let id = number(project);
        let at = clamp_time(change.at_unix_nano);
        let sql = "WITH gone AS (
                DELETE FROM project WHERE project_id = $1 RETURNING project_id, name)
            INSERT INTO project_deleted (project_id, name, deleted_unix_nano)
            SELECT project_id, name, $2 FROM gone RETURNING name";
        let params: [super::Param<'_>; 2] = [(&id, Type::INT8), (&at, Type::INT8)];
        let rows = transaction.query(sql, &params, CONTEXT).await?;
        let Some(row) = rows.first() else {
            return Ok(Err(Refusal::Unknown));
        };
        for sql in [
            "DELETE FROM membership WHERE project_id = $1",
            "DELETE FROM invite WHERE project_id = $1",
            "DELETE FROM project_setting WHERE project_id = $1",
            "DELETE FROM project_quota WHERE project_id = $1",
            "DELETE FROM project_usage WHERE project_id = $1",
        ] {
            let params = [(&id as _, Type::INT8)];
            transaction.execute(sql, &params, CONTEXT).await?;
        }
        let entry = Entry {
            action: "project.delete",
            project: Some(project),
            target: row.get(0),
        };
        finish(transaction, &change, entry).await?;
        Ok(Ok(()))
    }
}
