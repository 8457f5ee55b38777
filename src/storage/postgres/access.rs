//! Projects, keys and people in a Postgres database.

mod board;
mod invites;
mod keys;
mod logins;
mod people;
mod projects;
mod quotas;
mod tenants;

use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::config::Config;
use super::connect::{self, Purpose};
use super::transaction::{Param, Settings, Transaction};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::access::{
    AUDIT_ENTRIES_MAX, AccessStore, ApiKey, AuditEntry, Change, CredentialStore, Done, Found, Hash,
    KeyGrant, Member, NewKey, Project, State, User,
};
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Error, Page, PageRequest};

pub(super) const CONTEXT: &str = "use projects and keys";

/// Connections: one for what requests wait for, one for changes and notes.
const CONNECTIONS: usize = 2;

/// Projects, keys and people in a Postgres database. A replica for queries is not asked: it may be
/// behind.
#[derive(Clone)]
pub struct PostgresAccess {
    pool: Pool,
    settings: Settings,
}

impl std::fmt::Debug for PostgresAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresAccess")
            .finish_non_exhaustive()
    }
}

/// What the audit log says of a change.
pub(super) struct Entry<'a> {
    pub(super) action: &'static str,
    pub(super) project: Option<ProjectId>,
    pub(super) target: &'a str,
}

impl PostgresAccess {
    /// Prepares to connect. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the settings can't be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            pool: connect::pool(config, Purpose::Write, CONNECTIONS)?,
            settings: Settings::of(config),
        })
    }

    async fn begin(&self) -> Result<Transaction, Error> {
        Transaction::begin(&self.pool, &self.settings).await
    }

    /// Begins a change: the row of the latest one is locked, so that changes come one by one.
    pub(super) async fn begin_change(&self) -> Result<Transaction, Error> {
        let transaction = self.begin().await?;
        let sql = "SELECT generation FROM access_state FOR UPDATE";
        transaction.query(sql, &[], CONTEXT).await?;
        Ok(transaction)
    }

    /// Asks one question.
    pub(super) async fn ask(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let transaction = self.begin().await?;
        let rows = transaction.query(sql, params, CONTEXT).await?;
        transaction.commit(CONTEXT).await?;
        Ok(rows)
    }

    async fn state_now(&self) -> Result<State, Error> {
        let sql = "SELECT generation, EXISTS (SELECT FROM api_key), EXISTS (SELECT FROM account)
            FROM access_state";
        let rows = self.ask(sql, &[]).await?;
        let row = one(&rows)?;
        Ok(State {
            generation: time(row.get(0)),
            has_keys: row.get(1),
            has_users: row.get(2),
        })
    }

    async fn audit_now(
        &self,
        project: Option<ProjectId>,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>, Error> {
        let before = page.after.as_ref().map_or(i64::MAX, |cursor| {
            let number = <[u8; 8]>::try_from(cursor.key.as_slice());
            number.map_or(0, i64::from_be_bytes)
        });
        let project = project.map(number);
        let sql = "SELECT number, at_unix_nano, by, action, project_id, target FROM audit
            WHERE number < $1 AND ($2::bigint IS NULL OR project_id = $2)
            ORDER BY number DESC LIMIT $3";
        let params: &[Param<'_>] = &[
            (&before, Type::INT8),
            (&project, Type::INT8),
            (&one_more(&page), Type::INT8),
        ];
        let rows = self.ask(sql, params).await?;
        let found = rows.iter().map(|row| {
            let project: Option<i64> = row.get(4);
            AuditEntry {
                number: time(row.get(0)),
                at_unix_nano: time(row.get(1)),
                by: row.get(2),
                action: row.get(3),
                project: project.map(project_id),
                target: row.get(5),
            }
        });
        Ok(page_of(&page, found.collect(), |entry| Cursor {
            unix_nano: entry.at_unix_nano,
            key: clamp_time(entry.number).to_be_bytes().to_vec(),
        }))
    }
}

/// Counts a change, so that nobody goes by what was before; answers its number.
async fn count(transaction: &Transaction) -> Result<i64, Error> {
    let sql = "UPDATE access_state SET generation = generation + 1 RETURNING generation";
    let rows = transaction.query(sql, &[], CONTEXT).await?;
    Ok(one(&rows)?.get(0))
}

/// Counts a change, writes its audit entry and commits.
pub(super) async fn finish(
    transaction: Transaction,
    change: &Change,
    entry: Entry<'_>,
) -> Result<(), Error> {
    note(&transaction, change, entry).await?;
    transaction.commit(CONTEXT).await
}

/// Counts a change and writes its audit entry.
pub(super) async fn note(
    transaction: &Transaction,
    change: &Change,
    entry: Entry<'_>,
) -> Result<(), Error> {
    let latest = count(transaction).await?;
    let at = clamp_time(change.at_unix_nano);
    let project = entry.project.map(number);
    transaction
        .execute(
            "INSERT INTO audit (number, at_unix_nano, by, action, project_id, target)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                (&latest, Type::INT8),
                (&at, Type::INT8),
                (&change.by, Type::TEXT),
                (&entry.action, Type::TEXT),
                (&project, Type::INT8),
                (&entry.target, Type::TEXT),
            ],
            CONTEXT,
        )
        .await?;
    let gone = latest - i64::from(AUDIT_ENTRIES_MAX);
    let sql = "DELETE FROM audit WHERE number <= $1";
    transaction
        .execute(sql, &[(&gone, Type::INT8)], CONTEXT)
        .await?;
    Ok(())
}

/// The row of an answer that always has one.
fn one(rows: &[Row]) -> Result<&Row, Error> {
    rows.first().ok_or_else(|| Error::Corrupt {
        context: "a question about access has no answer".to_owned(),
    })
}

pub(super) fn number(project: ProjectId) -> i64 {
    i64::from(project.0)
}

fn project_id(stored: i64) -> ProjectId {
    ProjectId(u32::try_from(stored).unwrap_or(u32::MAX))
}

/// A time as it was stored.
fn time(stored: i64) -> u64 {
    stored.max(0).cast_unsigned()
}

fn role(row: &Row, column: usize) -> Result<Role, Error> {
    let text: &str = row.get(column);
    text.parse()
        .map_err(|error: crate::model::access::UnknownRole| Error::Corrupt {
            context: error.to_string(),
        })
}

/// A limit of rows: one more than the page has, to tell whether there are more.
fn one_more(page: &PageRequest) -> i64 {
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    limit.saturating_add(1)
}

/// Cuts what was found to the page.
fn page_of<T>(page: &PageRequest, mut items: Vec<T>, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = items.last().filter(|_| has_more).map(cursor);
    Page { items, next }
}

impl CredentialStore for PostgresAccess {
    fn state(&self) -> BoxFuture<'_, Result<State, Error>> {
        self.state_now().boxed()
    }

    fn key(&self, hash: Hash) -> BoxFuture<'_, Result<Found<KeyGrant>, Error>> {
        async move { self.grant(&hash).await }.boxed()
    }

    fn note_used(&self, used: Vec<(String, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.note_used_now(&used).await }.boxed()
    }
}

impl AccessStore for PostgresAccess {
    fn projects(&self, page: PageRequest) -> BoxFuture<'_, Result<Page<Project>, Error>> {
        async move { self.projects_now(&page).await }.boxed()
    }

    fn project(&self, name: String) -> BoxFuture<'_, Result<Option<Project>, Error>> {
        async move { self.project_named(&name).await }.boxed()
    }

    fn create_project(&self, name: String, change: Change) -> BoxFuture<'_, Done<Project>> {
        self.create_project_now(name, change).boxed()
    }

    fn delete_project(&self, project: ProjectId, change: Change) -> BoxFuture<'_, Done<()>> {
        self.delete_project_now(project, change).boxed()
    }

    fn keys(
        &self,
        project: ProjectId,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<ApiKey>, Error>> {
        async move { self.keys_now(project, &page).await }.boxed()
    }

    fn key_by_id(
        &self,
        project: ProjectId,
        id: String,
    ) -> BoxFuture<'_, Result<Option<ApiKey>, Error>> {
        async move { self.key_now(project, &id).await }.boxed()
    }

    fn create_key(&self, key: NewKey, change: Change) -> BoxFuture<'_, Done<ApiKey>> {
        self.create_key_now(key, change).boxed()
    }

    fn revoke_key(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<ApiKey>> {
        self.revoke_key_now(project, id, change).boxed()
    }

    fn rename_key(
        &self,
        project: ProjectId,
        id: String,
        name: String,
        change: Change,
    ) -> BoxFuture<'_, Done<ApiKey>> {
        self.rename_key_now(project, id, name, change).boxed()
    }

    fn create_user(&self, user: User, password: String, change: Change) -> BoxFuture<'_, Done<()>> {
        self.create_user_now(user, password, change).boxed()
    }

    fn user(&self, email: String) -> BoxFuture<'_, Result<Option<(User, String)>, Error>> {
        async move { self.user_now(&email).await }.boxed()
    }

    fn set_password(
        &self,
        user_id: String,
        password: String,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.set_password_now(user_id, password, change).boxed()
    }

    fn users(&self, page: PageRequest) -> BoxFuture<'_, Result<Page<User>, Error>> {
        async move { self.users_now(&page).await }.boxed()
    }

    fn set_member(
        &self,
        project: ProjectId,
        user_id: String,
        role: Role,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.set_member_now(project, user_id, role, change).boxed()
    }

    fn remove_member(
        &self,
        project: ProjectId,
        user_id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.remove_member_now(project, user_id, change).boxed()
    }

    fn members(&self, project: ProjectId) -> BoxFuture<'_, Result<Vec<Member>, Error>> {
        self.members_now(project).boxed()
    }

    fn projects_of(&self, user_id: String) -> BoxFuture<'_, Result<Vec<(Project, Role)>, Error>> {
        self.projects_of_now(user_id).boxed()
    }

    fn audit(
        &self,
        project: Option<ProjectId>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<AuditEntry>, Error>> {
        self.audit_now(project, page).boxed()
    }
}
