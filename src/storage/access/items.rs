//! What is kept of projects, keys and people.

use super::Hash;
use crate::model::ProjectId;
use crate::model::access::{Role, Scopes};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its number, which the log and every row carry.
    pub id: ProjectId,
    /// Its name, unique.
    pub name: String,
    /// When it was created; zero for the one that was always there.
    pub created_unix_nano: u64,
}

/// A key to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Names the key in lists.
    pub id: String,
    /// Whose it is.
    pub project: ProjectId,
    /// What people call it.
    pub name: String,
    /// What is stored of it.
    pub hash: Hash,
    /// Its first characters.
    pub prefix: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it stops, if it does.
    pub expires_unix_nano: Option<u64>,
}

/// A key as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Names the key.
    pub id: String,
    /// Whose it is.
    pub project: ProjectId,
    /// What people call it.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was created.
    pub created_unix_nano: u64,
    /// When it stops, if it does.
    pub expires_unix_nano: Option<u64>,
    /// When it was revoked, if it was.
    pub revoked_unix_nano: Option<u64>,
    /// When it was last used, to the minute.
    pub last_used_unix_nano: Option<u64>,
}

/// What a key is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGrant {
    /// Names the key.
    pub id: String,
    /// Whose it is.
    pub project: ProjectId,
    /// What it allows.
    pub scopes: Scopes,
    /// When it stops, if it does.
    pub expires_unix_nano: Option<u64>,
    /// Whether it was revoked, or its project deleted.
    pub revoked: bool,
    /// The stored hash.
    pub hash: Hash,
}

/// An answer, and the generation it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// Number of the latest change when it was read.
    pub generation: u64,
    /// What was found.
    pub item: Option<T>,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names the person: 32 letters and digits.
    pub id: String,
    /// Lower case, unique.
    pub email: String,
    /// What people call them.
    pub name: String,
    /// When they were added.
    pub created_unix_nano: u64,
}

/// A person of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: User,
    /// The project.
    pub project: ProjectId,
    /// What they may do there.
    pub role: Role,
}

/// A session of a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// SHA-256 of its token.
    pub token_hash: Hash,
    /// Names it.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// When it began.
    pub created_unix_nano: u64,
    /// When it ends.
    pub expires_unix_nano: u64,
    /// When it was last used, to the minute.
    pub seen_unix_nano: u64,
    /// Address it was begun from; empty when not known.
    pub address: String,
    /// Program it was begun with; empty when not known.
    pub user_agent: String,
    /// The key it was begun with, by id: it ends with it.
    pub key: Option<String>,
    /// The only project it is good for; all of the person's where there is none.
    pub project: Option<ProjectId>,
    /// The most it allows.
    pub scopes: Scopes,
}

/// An invitation to a project, good once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// SHA-256 of its token.
    pub token_hash: Hash,
    /// The project.
    pub project: ProjectId,
    /// Who is invited, in lower case; empty where anybody is who holds the token.
    pub email: String,
    /// What they may do there.
    pub role: Role,
    /// When it ends.
    pub expires_unix_nano: u64,
}

/// One change, as the audit log tells it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Number of the change.
    pub number: u64,
    /// When it was made.
    pub at_unix_nano: u64,
    /// Who made it.
    pub by: String,
    /// What was done, as in `key.create`.
    pub action: String,
    /// The project it is about, if it is about one.
    pub project: Option<ProjectId>,
    /// What it was done to, by id or name.
    pub target: String,
}
