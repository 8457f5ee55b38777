//! What is told of people, and to them.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use super::super::cookie::Token;
use super::super::passwords::Busy;
use super::super::{names, password, random};
use crate::storage;
use crate::storage::access::{Login, User};

/// Where a request comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Its address; empty when not known.
    pub address: String,
    /// The program, as it describes itself; empty when it does not.
    pub user_agent: String,
}

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What the browser holds.
    pub token: Token,
    /// The session.
    pub login: Login,
    /// Who.
    pub user: User,
}

/// Somebody who has just signed in, and what makes the browser remember it.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// Who, and the session.
    pub person: Person,
    /// `set-cookie`.
    pub cookie: HeaderValue,
}

/// Why somebody is not let in, or not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No such person, or another password: which is not told.
    #[error("wrong email address or password")]
    Wrong,
    /// Too many attempts; the next counts after this.
    #[error("too many attempts")]
    TooOften(Duration),
    /// Too many passwords at once.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Nobody may sign up here.
    #[error("sign-up is closed")]
    Closed,
    /// Somebody has the address.
    #[error("the address is taken")]
    Taken,
    /// There are as many people or projects as there may be.
    #[error("there are as many people or projects as there may be")]
    TooMany,
    /// The password can't be taken.
    #[error(transparent)]
    Password(password::Error),
    /// The address or name can't be taken.
    #[error(transparent)]
    Name(#[from] names::Error),
    /// A session that was made with a key is not the person's own.
    #[error("this session was begun with an API key")]
    NotTheirOwn,
    /// No such invitation, or not for them.
    #[error("the invitation is not known, has ended, or is for somebody else")]
    NoInvite,
    /// Who takes an invitation is in the project.
    #[error("already a member of the project")]
    Member,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] storage::Error),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] random::Error),
}

/// What somebody who signs up tells.
#[derive(Clone)]
pub struct Wanted {
    /// What to call them.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Their password.
    pub password: String,
    /// Name of their project, if they are to have one.
    pub project: Option<String>,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wanted").finish_non_exhaustive()
    }
}
