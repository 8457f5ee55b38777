//! Projects, and who may use them: keys, people, their sessions, and what was changed by whom.
//!
//! - **Only hashes.** Keys, session tokens and invitations are stored as SHA-256, passwords as
//!   argon2id. No answer for a list holds one.
//! - **One change, one entry.** Every change is one transaction with its entry in the audit log,
//!   whose number is the new [`State::generation`]: whoever remembers an answer knows by that
//!   number whether anything was changed since.
//! - **Deleted projects stay deleted.** Their number is never given out again; keys stop with the
//!   transaction, and retention deletes the data in the background.

pub mod board;
pub mod invites;
mod items;
pub mod people;

use futures_util::future::BoxFuture;

use super::quota::QuotaStore;
use super::{Error, Page, PageRequest};
use crate::model::ProjectId;
use crate::model::access::Role;

pub use board::BoardStore;
pub use invites::InviteStore;
pub use items::{
    ApiKey, AuditEntry, Found, Invite, KeyGrant, Login, Member, NewKey, Project, User,
};
pub use people::PeopleStore;

/// SHA-256 of a secret.
pub type Hash = [u8; 32];

/// Projects at most.
pub const PROJECTS_MAX: u32 = 10_000;
/// Projects that one person may make: who is an admin of as many makes no more.
pub const PROJECTS_OF_PERSON_MAX: u32 = 100;
/// Keys of a project at most that are neither revoked nor expired.
pub const KEYS_MAX: u32 = 1000;
/// Invitations to a project at most that have not ended.
pub const INVITES_MAX: u32 = 100;
/// People at most.
pub const USERS_MAX: u32 = 100_000;
/// Entries of the audit log; the oldest go.
pub const AUDIT_ENTRIES_MAX: u32 = 100_000;

/// What tells whether remembered answers are still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Number of the latest change.
    pub generation: u64,
    /// Whether there has ever been a key.
    pub has_keys: bool,
    /// Whether there is a person with a password.
    pub has_users: bool,
}

/// Who changes something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who, as the audit log says it: `key ID`, `user ID`, `command line`, ….
    pub by: String,
    /// Now, ns since the Unix epoch.
    pub at_unix_nano: u64,
}

/// Why the store did not do as it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name or address is taken.
    #[error("is taken")]
    Taken,
    /// There is no such thing, or it is gone.
    #[error("is not known")]
    Unknown,
    /// There are as many as there may be.
    #[error("there are as many as there may be")]
    TooMany,
}

/// What comes of a change: done, refused, or failed.
pub type Done<T> = Result<Result<T, Refusal>, Error>;

/// Answers credentials. Asked for what is not remembered, and to tell whether that is still good.
pub trait CredentialStore: Send + Sync + std::fmt::Debug {
    /// The number of the latest change.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn state(&self) -> BoxFuture<'_, Result<State, Error>>;

    /// The key with this hash, revoked and expired ones too.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn key(&self, hash: Hash) -> BoxFuture<'_, Result<Found<KeyGrant>, Error>>;

    /// Notes when keys were used, by id. Is no change; a time less than a minute after the one that
    /// is there is not written.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn note_used(&self, used: Vec<(String, u64)>) -> BoxFuture<'_, Result<(), Error>>;
}

/// Keeps projects, keys, people and what was changed.
pub trait AccessStore:
    CredentialStore + PeopleStore + BoardStore + InviteStore + QuotaStore
{
    /// Projects by number.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn projects(&self, page: PageRequest) -> BoxFuture<'_, Result<Page<Project>, Error>>;

    /// The project of a name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn project(&self, name: String) -> BoxFuture<'_, Result<Option<Project>, Error>>;

    /// Creates a project.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Taken`], [`Refusal::TooMany`].
    fn create_project(&self, name: String, change: Change) -> BoxFuture<'_, Done<Project>>;

    /// Deletes a project: its keys, memberships and settings stop with this call; what it stored
    /// is deleted by retention.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`].
    fn delete_project(&self, project: ProjectId, change: Change) -> BoxFuture<'_, Done<()>>;

    /// Keys of a project, newest first, revoked and expired ones too.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn keys(
        &self,
        project: ProjectId,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<ApiKey>, Error>>;

    /// One key of a project.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn key_by_id(
        &self,
        project: ProjectId,
        id: String,
    ) -> BoxFuture<'_, Result<Option<ApiKey>, Error>>;

    /// Stores a key.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`] when the project is not known,
    /// [`Refusal::Taken`] when the key is stored already, [`Refusal::TooMany`].
    fn create_key(&self, key: NewKey, change: Change) -> BoxFuture<'_, Done<ApiKey>>;

    /// Revokes a key of a project. A key that is revoked already stays so.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`].
    fn revoke_key(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<ApiKey>>;

    /// Renames a key of a project.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`].
    fn rename_key(
        &self,
        project: ProjectId,
        id: String,
        name: String,
        change: Change,
    ) -> BoxFuture<'_, Done<ApiKey>>;

    /// Adds a person, with the hash of their password.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Taken`], [`Refusal::TooMany`].
    fn create_user(&self, user: User, password: String, change: Change) -> BoxFuture<'_, Done<()>>;

    /// The person of an address, with the hash of their password.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn user(&self, email: String) -> BoxFuture<'_, Result<Option<(User, String)>, Error>>;

    /// Replaces a password, and ends the person's sessions.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`].
    fn set_password(
        &self,
        user_id: String,
        password: String,
        change: Change,
    ) -> BoxFuture<'_, Done<()>>;

    /// People by address.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn users(&self, page: PageRequest) -> BoxFuture<'_, Result<Page<User>, Error>>;

    /// Makes a person a member of a project, or gives a member another role.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`] when either is not known.
    fn set_member(
        &self,
        project: ProjectId,
        user_id: String,
        role: Role,
        change: Change,
    ) -> BoxFuture<'_, Done<()>>;

    /// Takes a person out of a project.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`Refusal::Unknown`].
    fn remove_member(
        &self,
        project: ProjectId,
        user_id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<()>>;

    /// Members of a project by address, the first thousand.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn members(&self, project: ProjectId) -> BoxFuture<'_, Result<Vec<Member>, Error>>;

    /// Projects of a person with the roles there, the first thousand by number.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn projects_of(&self, user_id: String) -> BoxFuture<'_, Result<Vec<(Project, Role)>, Error>>;

    /// What was changed, newest first: about one project, or about everything.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn audit(
        &self,
        project: Option<ProjectId>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<AuditEntry>, Error>>;
}
