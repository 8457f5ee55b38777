//! Changes of several parts, each with its entry in the audit log, in one transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rusqlite::{OptionalExtension as _, Transaction};

use super::people::Refusable;
use super::{SqliteAccess, keys, logins, people, projects};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::Error;
use crate::storage::access::people::{
    NAMES_TRIED, NewMember, NewTenant, PeopleStore, SignUp, nth_name,
};
use crate::storage::access::{
    ApiKey, Change, Done, Hash, Login, Member, NewKey, PROJECTS_OF_PERSON_MAX, Project, Refusal,
    User,
};

fn sign_up(
    transaction: &Transaction<'_>,
    change: &Change,
    wanted: &SignUp,
) -> Refusable<Option<Project>> {
    let is_first: bool =
        transaction.query_row("SELECT NOT EXISTS (SELECT 1 FROM account)", [], |row| {
            row.get(0)
        })?;
    if wanted.only_first && !is_first {
        return Ok(Err(Refusal::Unknown));
    }
    if let Err(refusal) = people::create(transaction, change, &wanted.user, &wanted.password)? {
        return Ok(Err(refusal));
    }
    match &wanted.tenant {
        None => Ok(Ok(None)),
        Some(tenant) => Ok(create(transaction, change, tenant, &wanted.user.id)?.map(Some)),
    }
}

/// A project, its first key and its admin.
fn create(
    transaction: &Transaction<'_>,
    change: &Change,
    tenant: &NewTenant,
    user_id: &str,
) -> Refusable<Project> {
    let own: u32 = transaction.query_row(
        "SELECT count(*) FROM membership WHERE user_id = ?1 AND role = 'admin'",
        [user_id],
        |row| row.get(0),
    )?;
    if own >= PROJECTS_OF_PERSON_MAX {
        return Ok(Err(Refusal::TooMany));
    }
    let mut project = Err(Refusal::Taken);
    for nth in 1..=NAMES_TRIED {
        project = projects::create(transaction, change, &nth_name(&tenant.name, nth))?;
        if project != Err(Refusal::Taken) {
            break;
        }
    }
    let project = match project {
        Ok(project) => project,
        Err(Refusal::Taken) => return Ok(Err(Refusal::TooMany)),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let key = NewKey {
        project: project.id,
        ..tenant.key.clone()
    };
    if let Err(refusal) = keys::create(transaction, change, &key)? {
        return Ok(Err(refusal));
    }
    let joined = people::set_member(transaction, change, (project.id, user_id), Role::Admin)?;
    Ok(joined.map(|()| project))
}

fn add_member(
    transaction: &Transaction<'_>,
    change: &Change,
    wanted: NewMember,
) -> Refusable<Member> {
    let known = people::with_password(transaction, &wanted.user.email).optional()?;
    let user = match (known, &wanted.password) {
        (Some((user, _)), _) => user,
        (None, None) => return Ok(Err(Refusal::Unknown)),
        (None, Some(password)) => {
            if let Err(refusal) = people::create(transaction, change, &wanted.user, password)? {
                return Ok(Err(refusal));
            }
            wanted.user
        }
    };
    if !logins::memberships(transaction, &user.id, Some(wanted.project))?.is_empty() {
        return Ok(Err(Refusal::Taken));
    }
    let joining = (wanted.project, user.id.as_str());
    let joined = people::set_member(transaction, change, joining, wanted.role)?;
    Ok(joined.map(|()| Member {
        user,
        project: wanted.project,
        role: wanted.role,
    }))
}

impl PeopleStore for SqliteAccess {
    fn signing_secret(&self, made: Hash) -> BoxFuture<'_, Result<Hash, Error>> {
        self.run(move |connection| logins::signing_secret(connection, &made))
    }

    fn begin_login(&self, login: Login, password: String) -> BoxFuture<'_, Done<()>> {
        self.run(move |connection| logins::begin(connection, &login, &password))
    }

    fn login(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Option<(Login, User)>, Error>> {
        Self::run_on(Arc::clone(&self.reads), move |connection| {
            logins::find(connection, &token_hash, now_unix_nano).optional()
        })
    }

    fn note_seen(&self, token_hash: Hash, at_unix_nano: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.run(move |connection| logins::note_seen(connection, &token_hash, at_unix_nano))
    }

    fn end_login(&self, token_hash: Hash) -> BoxFuture<'_, Done<()>> {
        self.run(move |connection| logins::end(connection, &token_hash))
    }

    fn memberships(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> BoxFuture<'_, Result<Vec<(ProjectId, Role)>, Error>> {
        Self::run_on(Arc::clone(&self.reads), move |connection| {
            logins::memberships(connection, &user_id, project)
        })
    }

    fn admin_of(&self, project: ProjectId) -> BoxFuture<'_, Result<Option<(User, String)>, Error>> {
        Self::run_on(Arc::clone(&self.reads), move |connection| {
            logins::admin_of(connection, project)
        })
    }

    fn sign_up(&self, wanted: SignUp, change: Change) -> BoxFuture<'_, Done<Option<Project>>> {
        self.change(move |transaction| sign_up(transaction, &change, &wanted))
    }

    fn create_tenant(
        &self,
        tenant: NewTenant,
        user_id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<Project>> {
        self.change(move |transaction| create(transaction, &change, &tenant, &user_id))
    }

    fn add_member(&self, member: NewMember, change: Change) -> BoxFuture<'_, Done<Member>> {
        self.change(move |transaction| add_member(transaction, &change, member))
    }

    fn live_keys(&self, project: ProjectId) -> BoxFuture<'_, Result<Vec<ApiKey>, Error>> {
        Self::run_on(Arc::clone(&self.reads), move |connection| {
            keys::live(connection, project)
        })
    }
}
