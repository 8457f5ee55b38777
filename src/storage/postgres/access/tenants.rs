//! Changes of several parts, each with its entry in the audit log, in one transaction.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::{CONTEXT, Param, PostgresAccess, keys, number, one, people, projects};
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
use crate::storage::postgres::transaction::Transaction;

async fn sign_up(
    transaction: &Transaction,
    wanted: &SignUp,
    change: &Change,
) -> Done<Option<Project>> {
    let sql = "SELECT NOT EXISTS (SELECT FROM account)";
    let rows = transaction.query(sql, &[], CONTEXT).await?;
    if wanted.only_first && !one(&rows)?.get::<_, bool>(0) {
        return Ok(Err(Refusal::Unknown));
    }
    let created = people::create(transaction, &wanted.user, &wanted.password, change).await?;
    if let Err(refusal) = created {
        return Ok(Err(refusal));
    }
    let Some(tenant) = &wanted.tenant else {
        return Ok(Ok(None));
    };
    let made = create(transaction, tenant, &wanted.user.id, change).await?;
    Ok(made.map(Some))
}

/// A project, its first key and its admin.
async fn create(
    transaction: &Transaction,
    tenant: &NewTenant,
    user_id: &str,
    change: &Change,
) -> Done<Project> {
    let sql = "SELECT count(*) FROM membership WHERE user_id = $1 AND role = 'admin'";
    let rows = transaction
        .query(sql, &[(&user_id, Type::TEXT)], CONTEXT)
        .await?;
    if one(&rows)?.get::<_, i64>(0) >= i64::from(PROJECTS_OF_PERSON_MAX) {
        return Ok(Err(Refusal::TooMany));
    }
    let mut project = Err(Refusal::Taken);
    for nth in 1..=NAMES_TRIED {
        project = projects::create(transaction, &nth_name(&tenant.name, nth), change).await?;
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
    if let Err(refusal) = keys::create(transaction, &key, change).await? {
        return Ok(Err(refusal));
    }
    let joining = (project.id, user_id);
    let joined = people::set_member(transaction, joining, Role::Admin, change).await?;
    Ok(joined.map(|()| project))
}

async fn add_member(transaction: &Transaction, wanted: NewMember, change: &Change) -> Done<Member> {
    let known = people::with_password(transaction, &wanted.user.email).await?;
    let user = match (known, &wanted.password) {
        (Some((user, _)), _) => user,
        (None, None) => return Ok(Err(Refusal::Unknown)),
        (None, Some(password)) => {
            let created = people::create(transaction, &wanted.user, password, change).await?;
            if let Err(refusal) = created {
                return Ok(Err(refusal));
            }
            wanted.user
        }
    };
    let project = number(wanted.project);
    let sql = "SELECT FROM membership WHERE project_id = $1 AND user_id = $2";
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&user.id, Type::TEXT)];
    if !transaction.query(sql, &params, CONTEXT).await?.is_empty() {
        return Ok(Err(Refusal::Taken));
    }
    let joining = (wanted.project, user.id.as_str());
    let joined = people::set_member(transaction, joining, wanted.role, change).await?;
    Ok(joined.map(|()| Member {
        user,
        project: wanted.project,
        role: wanted.role,
    }))
}

/// Commits what was done, or nothing of it.
async fn ended<T>(transaction: Transaction, done: Result<T, Refusal>) -> Done<T> {
    if done.is_ok() {
        transaction.commit(CONTEXT).await?;
    }
    Ok(done)
}

impl PeopleStore for PostgresAccess {
    fn signing_secret(&self, made: Hash) -> BoxFuture<'_, Result<Hash, Error>> {
        self.signing_secret_now(made).boxed()
    }

    fn begin_login(&self, login: Login, password: String) -> BoxFuture<'_, Done<()>> {
        self.begin_login_now(login, password).boxed()
    }

    fn login(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Option<(Login, User)>, Error>> {
        self.login_now(token_hash, now_unix_nano).boxed()
    }

    fn note_seen(&self, token_hash: Hash, at_unix_nano: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.note_seen_now(token_hash, at_unix_nano).boxed()
    }

    fn end_login(&self, token_hash: Hash) -> BoxFuture<'_, Done<()>> {
        self.end_login_now(token_hash).boxed()
    }

    fn memberships(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> BoxFuture<'_, Result<Vec<(ProjectId, Role)>, Error>> {
        self.memberships_now(user_id, project).boxed()
    }

    fn admin_of(&self, project: ProjectId) -> BoxFuture<'_, Result<Option<(User, String)>, Error>> {
        self.admin_of_now(project).boxed()
    }

    fn sign_up(&self, wanted: SignUp, change: Change) -> BoxFuture<'_, Done<Option<Project>>> {
        async move {
            let transaction = self.begin_change().await?;
            let done = sign_up(&transaction, &wanted, &change).await?;
            ended(transaction, done).await
        }
        .boxed()
    }

    fn create_tenant(
        &self,
        tenant: NewTenant,
        user_id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<Project>> {
        async move {
            let transaction = self.begin_change().await?;
            let done = create(&transaction, &tenant, &user_id, &change).await?;
            ended(transaction, done).await
        }
        .boxed()
    }

    fn add_member(&self, member: NewMember, change: Change) -> BoxFuture<'_, Done<Member>> {
        async move {
            let transaction = self.begin_change().await?;
            let done = add_member(&transaction, member, &change).await?;
            ended(transaction, done).await
        }
        .boxed()
    }

    fn live_keys(&self, project: ProjectId) -> BoxFuture<'_, Result<Vec<ApiKey>, Error>> {
        self.live_keys_now(project).boxed()
    }
}
