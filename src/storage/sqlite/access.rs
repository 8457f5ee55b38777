//! Projects, keys and people in the embedded store, through a connection of its own: the writer's
//! is busy. Commands open one beside a running daemon.

mod board;
mod invites;
mod keys;
mod logins;
mod people;
mod projects;
mod quotas;
mod tenants;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};

use super::error::storage_error;
use super::migrate;
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::access::{
    AUDIT_ENTRIES_MAX, AccessStore, ApiKey, AuditEntry, Change, CredentialStore, Done, Found, Hash,
    KeyGrant, Member, NewKey, Project, Refusal, State, User,
};
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Error, Page, PageRequest};

const CONTEXT: &str = "use projects and keys";

/// Projects, keys and people in the embedded store.
#[derive(Debug, Clone)]
pub struct SqliteAccess {
    connection: Arc<Mutex<Connection>>,
    /// For looking up keys, which waits for no change.
    reads: Arc<Mutex<Connection>>,
}

/// What a change does, and what the audit log says of it.
pub(super) struct Entry<'a> {
    pub(super) action: &'static str,
    pub(super) project: Option<ProjectId>,
    pub(super) target: &'a str,
}

impl SqliteAccess {
    /// Opens a store that has the current schema, which opening the writer first sees to.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::OlderSchema`], [`Error::NewerSchema`] when a program of
    /// another version serves it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = storage_error(CONTEXT);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        let connection = Connection::open_with_flags(path, flags).map_err(&failed)?;
        connection
            .execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA cache_size = -512;",
            )
            .map_err(&failed)?;
        migrate::is_current(&connection)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let reads = Connection::open_with_flags(path, flags).map_err(&failed)?;
        reads
            .execute_batch("PRAGMA busy_timeout = 2000; PRAGMA cache_size = -512;")
            .map_err(&failed)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            reads: Arc::new(Mutex::new(reads)),
        })
    }

    /// An empty store of its own.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate::migrate(&mut connection, 0).unwrap();
        let connection = Arc::new(Mutex::new(connection));
        Self {
            reads: Arc::clone(&connection),
            connection,
        }
    }

    /// What is stored, for tests.
    #[cfg(test)]
    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        work(&self.connection.lock().unwrap())
    }

    /// Runs work that blocks where it may.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        Self::run_on(Arc::clone(&self.connection), work)
    }

    fn run_on<'a, T: Send + 'static>(
        connection: Arc<Mutex<Connection>>,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, Error>> {
        async {
            let done = tokio::task::spawn_blocking(move || {
                let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                work(&mut connection).map_err(storage_error(CONTEXT))
            });
            done.await.unwrap_or_else(|source| {
                Err(Error::Unavailable {
                    context: CONTEXT,
                    source: Box::new(source),
                })
            })
        }
        .boxed()
    }

    /// Runs a change: one transaction with its audit entry, or nothing when it is refused.
    pub(super) fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, Refusal>> + Send + 'static,
    ) -> BoxFuture<'_, Done<T>> {
        self.run(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            if done.is_ok() {
                transaction.commit()?;
            }
            Ok(done)
        })
    }
}

/// Counts a change, so that nobody goes by what was before; answers its number.
fn count(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.query_row(
        "UPDATE access_state SET generation = generation + 1 RETURNING generation",
        [],
        |row| row.get(0),
    )
}

/// Counts a change and writes its audit entry.
pub(super) fn note(
    transaction: &Transaction<'_>,
    change: &Change,
    entry: &Entry<'_>,
) -> rusqlite::Result<()> {
    let number = count(transaction)?;
    transaction.execute(
        "INSERT INTO audit (number, at_unix_nano, by, action, project_id, target)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            number,
            clamp_time(change.at_unix_nano),
            &change.by,
            entry.action,
            entry.project.map(|project| project.0),
            entry.target,
        ),
    )?;
    transaction.execute(
        "DELETE FROM audit WHERE number <= ?1",
        [number - i64::from(AUDIT_ENTRIES_MAX)],
    )?;
    Ok(())
}

/// A time as it was stored.
fn time(stored: i64) -> u64 {
    stored.max(0).cast_unsigned()
}

fn role(text: &str) -> rusqlite::Result<Role> {
    text.parse()
        .map_err(|error: crate::model::access::UnknownRole| {
            rusqlite::Error::FromSqlConversionFailure(
                0,
                rusqlite::types::Type::Text,
                Box::new(error),
            )
        })
}

/// A limit of rows: one more than the page has, to tell whether there are more.
fn one_more(page: &PageRequest) -> i64 {
    i64::try_from(page.limit)
        .unwrap_or(i64::MAX)
        .saturating_add(1)
}

/// Cuts what was found to the page.
fn page_of<T>(page: &PageRequest, mut items: Vec<T>, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let next = items.last().filter(|_| has_more).map(cursor);
    Page { items, next }
}

fn generation(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT generation FROM access_state")?
        .query_row([], |row| Ok(time(row.get(0)?)))
}

fn state_now(connection: &Connection) -> rusqlite::Result<State> {
    connection
        .prepare_cached(
            "SELECT generation, EXISTS (SELECT 1 FROM api_key), EXISTS (SELECT 1 FROM account)
             FROM access_state",
        )?
        .query_row([], |row| {
            Ok(State {
                generation: time(row.get(0)?),
                has_keys: row.get(1)?,
                has_users: row.get(2)?,
            })
        })
}

fn audit_now(
    connection: &Connection,
    project: Option<ProjectId>,
    page: &PageRequest,
) -> rusqlite::Result<Page<AuditEntry>> {
    let before = page.after.as_ref().map_or(i64::MAX, |cursor| {
        let number = <[u8; 8]>::try_from(cursor.key.as_slice());
        number.map_or(0, i64::from_be_bytes)
    });
    let found = connection
        .prepare_cached(
            "SELECT number, at_unix_nano, by, action, project_id, target FROM audit
             WHERE number < ?1 AND (?2 IS NULL OR project_id = ?2) ORDER BY number DESC LIMIT ?3",
        )?
        .query_map(
            (before, project.map(|project| project.0), one_more(page)),
            |row| {
                Ok(AuditEntry {
                    number: time(row.get(0)?),
                    at_unix_nano: time(row.get(1)?),
                    by: row.get(2)?,
                    action: row.get(3)?,
                    project: row.get::<_, Option<u32>>(4)?.map(ProjectId),
                    target: row.get(5)?,
                })
            },
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(page_of(page, found, |entry| Cursor {
        unix_nano: entry.at_unix_nano,
        key: clamp_time(entry.number).to_be_bytes().to_vec(),
    }))
}

impl CredentialStore for SqliteAccess {
    fn state(&self) -> BoxFuture<'_, Result<State, Error>> {
        Self::run_on(Arc::clone(&self.reads), |connection| state_now(connection))
    }

    fn key(&self, hash: Hash) -> BoxFuture<'_, Result<Found<KeyGrant>, Error>> {
        Self::run_on(Arc::clone(&self.reads), move |connection| {
            // Both of one moment.
            let transaction = connection.transaction()?;
            let generation = generation(&transaction)?;
            let item = keys::grant(&transaction, &hash).optional()?;
            Ok(Found { generation, item })
        })
    }

    fn note_used(&self, used: Vec<(String, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        self.run(move |connection| keys::note_used(connection, &used))
    }
}

impl AccessStore for SqliteAccess {
    fn projects(&self, page: PageRequest) -> BoxFuture<'_, Result<Page<Project>, Error>> {
        self.run(move |connection| projects::list(connection, &page))
    }

    fn project(&self, name: String) -> BoxFuture<'_, Result<Option<Project>, Error>> {
        self.run(move |connection| projects::named(connection, &name).optional())
    }

    fn create_project(&self, name: String, change: Change) -> BoxFuture<'_, Done<Project>> {
        self.change(move |transaction| projects::create(transaction, &change, &name))
    }

    fn delete_project(&self, project: ProjectId, change: Change) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| projects::delete(transaction, &change, project))
    }

    fn keys(
        &self,
        project: ProjectId,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<ApiKey>, Error>> {
        self.run(move |connection| keys::list(connection, project, &page))
    }

    fn key_by_id(
        &self,
        project: ProjectId,
        id: String,
    ) -> BoxFuture<'_, Result<Option<ApiKey>, Error>> {
        self.run(move |connection| keys::one(connection, project, &id).optional())
    }

    fn create_key(&self, key: NewKey, change: Change) -> BoxFuture<'_, Done<ApiKey>> {
        self.change(move |transaction| keys::create(transaction, &change, &key))
    }

    fn revoke_key(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<ApiKey>> {
        self.change(move |transaction| keys::revoke(transaction, &change, project, &id))
    }

    fn rename_key(
        &self,
        project: ProjectId,
        id: String,
        name: String,
        change: Change,
    ) -> BoxFuture<'_, Done<ApiKey>> {
        self.change(move |transaction| keys::rename(transaction, &change, (project, &id), &name))
    }

    fn create_user(&self, user: User, password: String, change: Change) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| people::create(transaction, &change, &user, &password))
    }

    fn user(&self, email: String) -> BoxFuture<'_, Result<Option<(User, String)>, Error>> {
        self.run(move |connection| people::with_password(connection, &email).optional())
    }

    fn set_password(
        &self,
        user_id: String,
        password: String,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| {
            people::set_password(transaction, &change, &user_id, &password)
        })
    }

    fn users(&self, page: PageRequest) -> BoxFuture<'_, Result<Page<User>, Error>> {
        self.run(move |connection| people::list(connection, &page))
    }

    fn set_member(
        &self,
        project: ProjectId,
        user_id: String,
        role: Role,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| {
            people::set_member(transaction, &change, (project, &user_id), role)
        })
    }

    fn remove_member(
        &self,
        project: ProjectId,
        user_id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| {
            people::remove_member(transaction, &change, project, &user_id)
        })
    }

    fn members(&self, project: ProjectId) -> BoxFuture<'_, Result<Vec<Member>, Error>> {
        self.run(move |connection| people::members(connection, project))
    }

    fn projects_of(&self, user_id: String) -> BoxFuture<'_, Result<Vec<(Project, Role)>, Error>> {
        self.run(move |connection| people::projects_of(connection, &user_id))
    }

    fn audit(
        &self,
        project: Option<ProjectId>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<AuditEntry>, Error>> {
        self.run(move |connection| audit_now(connection, project, &page))
    }
}
