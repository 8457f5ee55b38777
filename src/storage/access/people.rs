//! What people do themselves: sign up and in, make projects, and let others in.

use futures_util::future::BoxFuture;

use super::{ApiKey, Change, Done, Hash, Login, Member, NewKey, Project, User};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::storage::Error;

/// Sessions of a person at most; the oldest go.
pub const LOGINS_MAX: u32 = 50;
/// Times that a project's name is tried with a number behind it.
pub(in crate::storage) const NAMES_TRIED: u32 = 100;

/// A project with its first key, made by a person who then keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Its name; a number is put behind one that is taken.
    pub name: String,
    /// Its first key; which project it is for is decided here.
    pub key: NewKey,
}

/// Somebody who signs up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignUp {
    /// Who.
    pub user: User,
    /// Hash of the password.
    pub password: String,
    /// The project that comes with it.
    pub tenant: Option<NewTenant>,
    /// Whether it is refused once there is anybody else.
    pub only_first: bool,
}

/// Somebody who is let into a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// The project.
    pub project: ProjectId,
    /// Who: somebody known goes by the address alone.
    pub user: User,
    /// Hash of the password of somebody who is not known yet.
    pub password: Option<String>,
    /// What they may do there.
    pub role: Role,
}

/// Keeps sessions, and makes changes of several parts in one.
pub trait PeopleStore: Send + Sync + std::fmt::Debug {
    /// The secret that all daemons of this store sign with: the one that is kept, or else this one,
    /// which is kept from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn signing_secret(&self, made: Hash) -> BoxFuture<'_, Result<Hash, Error>>;

    /// Begins a session of a person whose password is still the one of this hash, and drops those
    /// that have ended. Is no change.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`] when the password is
    /// another one by now.
    fn begin_login(&self, login: Login, password: String) -> BoxFuture<'_, Done<()>>;

    /// The session of a token and its person, unless it or the key it was begun with has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn login(
        &self,
        token_hash: Hash,
        now_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Option<(Login, User)>, Error>>;

    /// Notes when a session was used. Is no change.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn note_seen(&self, token_hash: Hash, at_unix_nano: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// Ends a session. Is no change: nobody remembers sessions.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`].
    fn end_login(&self, token_hash: Hash) -> BoxFuture<'_, Done<()>>;

    /// What a person is in a project, or in the first two they are in.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn memberships(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> BoxFuture<'_, Result<Vec<(ProjectId, Role)>, Error>>;

    /// The first of a project's admins by address, with the hash of their password.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn admin_of(&self, project: ProjectId) -> BoxFuture<'_, Result<Option<(User, String)>, Error>>;

    /// Adds a person, and their project: both or neither.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Taken`] when the address is taken,
    /// [`super::Refusal::Unknown`] when there is somebody and only the first may come,
    /// [`super::Refusal::TooMany`].
    fn sign_up(&self, sign_up: SignUp, change: Change) -> BoxFuture<'_, Done<Option<Project>>>;

    /// Creates a project of a person, with its first key.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`] when the person is not
    /// known, [`super::Refusal::TooMany`].
    fn create_tenant(
        &self,
        tenant: NewTenant,
        user_id: String,
        change: Change,
    ) -> BoxFuture<'_, Done<Project>>;

    /// Lets somebody into a project, who is added first if need be.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Taken`] when they are a member
    /// already, [`super::Refusal::Unknown`] when they or the project are not known,
    /// [`super::Refusal::TooMany`].
    fn add_member(&self, member: NewMember, change: Change) -> BoxFuture<'_, Done<Member>>;

    /// Keys of a project that are not revoked, oldest first, the newest [`super::KEYS_MAX`].
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn live_keys(&self, project: ProjectId) -> BoxFuture<'_, Result<Vec<ApiKey>, Error>>;
}

/// The name of a project that is tried the nth time.
pub(in crate::storage) fn nth_name(name: &str, nth: u32) -> String {
    if nth < 2 {
        name.to_owned()
    } else {
        format!("{name} {nth}")
    }
}
