//! Invitations: who holds one joins its project, once.

use futures_util::future::BoxFuture;

use super::{Change, Done, Hash, Invite, Member, User};
use crate::model::ProjectId;
use crate::storage::Error;

/// Bytes of a token's hash that name an invitation: they tell nothing of the token.
const ID_BYTES: usize = 8;

impl Invite {
    /// What it is called in lists.
    #[must_use]
    pub fn id(&self) -> String {
        let bytes = self.token_hash.iter().take(ID_BYTES);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether somebody of an address may take it.
    #[must_use]
    pub fn is_for(&self, email: &str) -> bool {
        self.email.is_empty() || self.email == email
    }
}

/// Who takes an invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// Somebody who is added with it.
    New {
        /// Who.
        user: User,
        /// Hash of the password.
        password: String,
    },
    /// Somebody known, by id and address.
    Known(User),
}

/// Keeps invitations.
pub trait InviteStore: Send + Sync + std::fmt::Debug {
    /// Stores an invitation, and drops those that have ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`] when the project is not
    /// known, [`super::Refusal::TooMany`].
    fn create_invite(&self, invite: Invite, change: Change) -> BoxFuture<'_, Done<()>>;

    /// Invitations to a project that have not ended, the first to end first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn invites(
        &self,
        project: ProjectId,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Vec<Invite>, Error>>;

    /// The invitation of a token, unless it has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn invite(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Option<Invite>, Error>>;

    /// Takes an invitation to a project back.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`].
    fn revoke_invite(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<Invite>>;

    /// Makes who holds a token a member, so that nobody can take it again: all of it or nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`] when there is no such
    /// invitation, it has ended, or it is for another address, [`super::Refusal::Taken`] when a
    /// new person's address is somebody's, or they are a member already,
    /// [`super::Refusal::TooMany`].
    fn accept_invite(
        &self,
        token_hash: Hash,
        who: Joining,
        change: Change,
    ) -> BoxFuture<'_, Done<Member>>;
}
