//! Invitations.

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};

use super::people::{self, Refusable, noted};
use super::{SqliteAccess, logins, projects, role, time};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::invites::{InviteStore, Joining};
use crate::storage::access::{Change, Done, Hash, INVITES_MAX, Invite, Member, Refusal};
use crate::storage::summary::clamp_time;

fn read(row: &Row<'_>) -> rusqlite::Result<Invite> {
    Ok(Invite {
        token_hash: row.get(0)?,
        project: ProjectId(row.get(1)?),
        email: row.get(2)?,
        role: role(&row.get::<_, String>(3)?)?,
        expires_unix_nano: time(row.get(4)?),
    })
}

fn create(transaction: &Transaction<'_>, change: &Change, invite: &Invite) -> Refusable<()> {
    if !projects::exists(transaction, invite.project)? {
        return Ok(Err(Refusal::Unknown));
    }
    transaction.execute(
        "DELETE FROM invite WHERE expires_unix_nano <= ?1",
        [clamp_time(change.at_unix_nano)],
    )?;
    let invites: u32 = transaction.query_row(
        "SELECT count(*) FROM invite WHERE project_id = ?1",
        [invite.project.0],
        |row| row.get(0),
    )?;
    if invites >= INVITES_MAX {
        return Ok(Err(Refusal::TooMany));
    }
    transaction.execute(
        "INSERT INTO invite (token_hash, project_id, email, role, expires_unix_nano)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        (
            invite.token_hash,
            invite.project.0,
            &invite.email,
            invite.role.as_str(),
            clamp_time(invite.expires_unix_nano),
        ),
    )?;
    let what = (Some(invite.project), &*invite.id());
    noted(transaction, change, "invite.create", what)?;
    Ok(Ok(()))
}

fn list(connection: &Connection, project: ProjectId, now: u64) -> rusqlite::Result<Vec<Invite>> {
    connection
        .prepare_cached(
            "SELECT token_hash, project_id, email, role, expires_unix_nano FROM invite
             WHERE project_id = ?1 AND expires_unix_nano > ?2
             ORDER BY expires_unix_nano, token_hash",
        )?
        .query_map((project.0, clamp_time(now)), read)?
        .collect()
}

fn find(connection: &Connection, hash: &Hash, now: u64) -> rusqlite::Result<Option<Invite>> {
    connection
        .prepare_cached(
            "SELECT token_hash, project_id, email, role, expires_unix_nano FROM invite
             WHERE token_hash = ?1 AND expires_unix_nano > ?2",
        )?
        .query_row((hash, clamp_time(now)), read)
        .optional()
}

fn drop_one(transaction: &Transaction<'_>, invite: &Invite) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM invite WHERE token_hash = ?1";
    transaction.execute(sql, [invite.token_hash])
}

fn revoke(
    transaction: &Transaction<'_>,
    change: &Change,
    (project, id): (ProjectId, &str),
) -> Refusable<Invite> {
    let invites = list(transaction, project, change.at_unix_nano)?;
    let Some(invite) = invites.into_iter().find(|invite| invite.id() == id) else {
        return Ok(Err(Refusal::Unknown));
    };
    drop_one(transaction, &invite)?;
    noted(transaction, change, "invite.revoke", (Some(project), id))?;
    Ok(Ok(invite))
}

fn accept(
    transaction: &Transaction<'_>,
    change: &Change,
    (hash, who): (&Hash, Joining),
) -> Refusable<Member> {
    let Some(invite) = find(transaction, hash, change.at_unix_nano)? else {
        return Ok(Err(Refusal::Unknown));
    };
    let (Joining::New { user, .. } | Joining::Known(user)) = &who;
    if !invite.is_for(&user.email) {
        return Ok(Err(Refusal::Unknown));
    }
    if let Joining::New { user, password } = &who
        && let Err(refusal) = people::create(transaction, change, user, password)?
    {
        return Ok(Err(refusal));
    }
    let (Joining::New { user, .. } | Joining::Known(user)) = who;
    if !logins::memberships(transaction, &user.id, Some(invite.project))?.is_empty() {
        return Ok(Err(Refusal::Taken));
    }
    drop_one(transaction, &invite)?;
    let what = (Some(invite.project), &*invite.id());
    noted(transaction, change, "invite.accept", what)?;
    let joining = (invite.project, user.id.as_str());
    let joined = people::set_member(transaction, change, joining, invite.role)?;
    Ok(joined.map(|()| Member {
        user,
        project: invite.project,
        role: invite.role,
    }))
}

impl InviteStore for SqliteAccess {
    fn create_invite(&self, invite: Invite, change: Change) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| create(transaction, &change, &invite))
    }

    fn invites(
        &self,
        project: ProjectId,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Vec<Invite>, Error>> {
        self.run(move |connection| list(connection, project, now_unix_nano))
    }

    fn invite(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Option<Invite>, Error>> {
        self.run(move |connection| find(connection, &token_hash, now_unix_nano))
    }

    fn revoke_invite(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<Invite>> {
        self.change(move |transaction| revoke(transaction, &change, (project, &id)))
    }

    fn accept_invite(
        &self,
        token_hash: Hash,
        who: Joining,
        change: Change,
    ) -> BoxFuture<'_, Done<Member>> {
        self.change(move |transaction| accept(transaction, &change, (&token_hash, who)))
    }
}
