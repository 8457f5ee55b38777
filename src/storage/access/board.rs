//! What PulseBoard's clients need of people and projects: one session that is handed on, and the
//! projects that are somebody's own.

use futures_util::future::BoxFuture;

use super::{Done, Hash, Login, Project};
use crate::model::ProjectId;
use crate::storage::Error;

/// Projects of a person that are answered at most.
pub const OWNED_MAX: u32 = 1000;

/// A project that a person administers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Which.
    pub project: Project,
    /// First characters of the oldest of its keys that is not revoked, if there is one.
    pub key_prefix: Option<String>,
}

/// Keeps what PulseBoard's routes need beside [`super::PeopleStore`].
pub trait BoardStore: Send + Sync + std::fmt::Debug {
    /// Begins a session whose id a person has once: one with the same id ends. In place of another,
    /// only if that one goes on; it ends then, so that of two who hand it on one does. The password
    /// must still be the one of this hash. Is no change.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::Refusal::Unknown`] when the session it is in
    /// place of is none, or the password is another one by now: nothing is ended then.
    fn hand_on_login(
        &self,
        login: Login,
        password: String,
        instead_of: Option<Hash>,
    ) -> BoxFuture<'_, Done<()>>;

    /// The projects that a person administers, the newest first: [`OWNED_MAX`] at most, or one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn owned(
        &self,
        user_id: String,
        project: Option<ProjectId>,
    ) -> BoxFuture<'_, Result<Vec<Owned>, Error>>;
}
