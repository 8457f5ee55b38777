//! Invitations.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::people::{self, entry_of};
use super::{
    CONTEXT, Param, PostgresAccess, finish, note, number, one, project_id, projects, role, time,
};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::invites::{InviteStore, Joining};
use crate::storage::access::{Change, Done, Hash, INVITES_MAX, Invite, Member, Refusal};
use crate::storage::postgres::transaction::Transaction;
use crate::storage::summary::clamp_time;

const FIND: &str = "SELECT token_hash, project_id, email, role, expires_unix_nano FROM invite
    WHERE token_hash = $1 AND expires_unix_nano > $2";
const LIST: &str = "SELECT token_hash, project_id, email, role, expires_unix_nano FROM invite
    WHERE project_id = $1 AND expires_unix_nano > $2 ORDER BY expires_unix_nano, token_hash";

fn read(row: &Row) -> Result<Invite, Error> {
    let hash = row.get::<_, &[u8]>(0).try_into();
    Ok(Invite {
        token_hash: hash.map_err(|_| Error::Corrupt {
            context: "the hash of an invitation".to_owned(),
        })?,
        project: project_id(row.get(1)),
        email: row.get(2),
        role: role(row, 3)?,
        expires_unix_nano: time(row.get(4)),
    })
}

async fn drop_one(transaction: &Transaction, invite: &Invite) -> Result<(), Error> {
    let sql = "DELETE FROM invite WHERE token_hash = $1";
    let params: [Param<'_>; 1] = [(&invite.token_hash.as_slice(), Type::BYTEA)];
    transaction.execute(sql, &params, CONTEXT).await.map(drop)
}

async fn accept(
    transaction: &Transaction,
    (hash, who): (Hash, Joining),
    change: &Change,
) -> Done<(Member, Invite)> {
    let now = clamp_time(change.at_unix_nano);
    let params: [Param<'_>; 2] = [(&hash.as_slice(), Type::BYTEA), (&now, Type::INT8)];
    let rows = transaction.query(FIND, &params, CONTEXT).await?;
    let Some(row) = rows.first() else {
        return Ok(Err(Refusal::Unknown));
    };
    let invite = read(row)?;
    let (Joining::New { user, .. } | Joining::Known(user)) = &who;
    if !invite.is_for(&user.email) {
        return Ok(Err(Refusal::Unknown));
    }
    if let Joining::New { user, password } = &who
        && let Err(refusal) = people::create(transaction, user, password, change).await?
    {
        return Ok(Err(refusal));
    }
    let (Joining::New { user, .. } | Joining::Known(user)) = who;
    let project = number(invite.project);
    let sql = "SELECT FROM membership WHERE project_id = $1 AND user_id = $2";
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&user.id, Type::TEXT)];
    if !transaction.query(sql, &params, CONTEXT).await?.is_empty() {
        return Ok(Err(Refusal::Taken));
    }
    drop_one(transaction, &invite).await?;
    let joining = (invite.project, user.id.as_str());
    let joined = people::set_member(transaction, joining, invite.role, change).await?;
    let member = Member {
        user,
        project: invite.project,
        role: invite.role,
    };
    Ok(joined.map(|()| (member, invite)))
}

impl PostgresAccess {
    async fn create_invite_now(&self, invite: Invite, change: Change) -> Done<()> {
        let transaction = self.begin_change().await?;
        if !projects::exists(&transaction, invite.project).await? {
            return Ok(Err(Refusal::Unknown));
        }
        let now = clamp_time(change.at_unix_nano);
        let sql = "DELETE FROM invite WHERE expires_unix_nano <= $1";
        let params: [Param<'_>; 1] = [(&now, Type::INT8)];
        transaction.execute(sql, &params, CONTEXT).await?;
        let (project, expires) = (number(invite.project), clamp_time(invite.expires_unix_nano));
        let sql = "SELECT count(*) FROM invite WHERE project_id = $1";
        let params: [Param<'_>; 1] = [(&project, Type::INT8)];
        let rows = transaction.query(sql, &params, CONTEXT).await?;
        if one(&rows)?.get::<_, i64>(0) >= i64::from(INVITES_MAX) {
            return Ok(Err(Refusal::TooMany));
        }
        let sql = "INSERT INTO invite (token_hash, project_id, email, role, expires_unix_nano)
            VALUES ($1, $2, $3, $4, $5)";
        let params: [Param<'_>; 5] = [
            (&invite.token_hash.as_slice(), Type::BYTEA),
            (&project, Type::INT8),
            (&invite.email, Type::TEXT),
            (&invite.role.as_str(), Type::TEXT),
            (&expires, Type::INT8),
        ];
        transaction.execute(sql, &params, CONTEXT).await?;
        let id = invite.id();
        let entry = entry_of("invite.create", invite.project, &id);
        finish(transaction, &change, entry).await?;
        Ok(Ok(()))
    }

    async fn invites_now(&self, project: ProjectId, now: u64) -> Result<Vec<Invite>, Error> {
        let (project, now) = (number(project), clamp_time(now));
        let params: [Param<'_>; 2] = [(&project, Type::INT8), (&now, Type::INT8)];
        let rows = self.ask(LIST, &params).await?;
        rows.iter().map(read).collect()
    }

    async fn invite_now(&self, hash: Hash, now: u64) -> Result<Option<Invite>, Error> {
        let now = clamp_time(now);
        let params: [Param<'_>; 2] = [(&hash.as_slice(), Type::BYTEA), (&now, Type::INT8)];
        let rows = self.ask(FIND, &params).await?;
        rows.first().map(read).transpose()
    }

    async fn revoke_invite_now(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> Done<Invite> {
        let transaction = self.begin_change().await?;
        let (of, now) = (number(project), clamp_time(change.at_unix_nano));
        let params: [Param<'_>; 2] = [(&of, Type::INT8), (&now, Type::INT8)];
        let rows = transaction.query(LIST, &params, CONTEXT).await?;
        let invites = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some(invite) = invites.into_iter().find(|invite| invite.id() == id) else {
            return Ok(Err(Refusal::Unknown));
        };
        drop_one(&transaction, &invite).await?;
        let entry = entry_of("invite.revoke", project, &id);
        finish(transaction, &change, entry).await?;
        Ok(Ok(invite))
    }

    async fn accept_invite_now(&self, hash: Hash, who: Joining, change: Change) -> Done<Member> {
        let transaction = self.begin_change().await?;
        let (member, invite) = match accept(&transaction, (hash, who), &change).await? {
            Ok(done) => done,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = invite.id();
        let entry = entry_of("invite.accept", invite.project, &id);
        note(&transaction, &change, entry).await?;
        transaction.commit(CONTEXT).await?;
        Ok(Ok(member))
    }
}

impl InviteStore for PostgresAccess {
    fn create_invite(&self, invite: Invite, change: Change) -> BoxFuture<'_, Done<()>> {
        self.create_invite_now(invite, change).boxed()
    }

    fn invites(
        &self,
        project: ProjectId,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Vec<Invite>, Error>> {
        self.invites_now(project, now_unix_nano).boxed()
    }

    fn invite(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Option<Invite>, Error>> {
        self.invite_now(token_hash, now_unix_nano).boxed()
    }

    fn revoke_invite(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<Invite>> {
        self.revoke_invite_now(project, id, change).boxed()
    }

    fn accept_invite(
        &self,
        token_hash: Hash,
        who: Joining,
        change: Change,
    ) -> BoxFuture<'_, Done<Member>> {
        self.accept_invite_now(token_hash, who, change).boxed()
    }
}
