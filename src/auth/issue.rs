//! New keys, as their holder gets them and as they are stored.

use super::key::{ApiKey, PREFIX};
use super::random;
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::storage::access::{Hash, NewKey};

/// Characters of a key's id.
const ID_CHARS: usize = 16;
/// Characters of a user's id, as older Pulse servers have them.
const USER_ID_CHARS: usize = 32;

/// What is stored of a key, under an id of its own.
///
/// # Errors
/// [`random::Error`].
pub fn stored(
    key: &ApiKey,
    project: ProjectId,
    name: String,
    scopes: Scopes,
    expires_unix_nano: Option<u64>,
) -> Result<NewKey, random::Error> {
    Ok(NewKey {
        id: random::text(ID_CHARS)?,
        project,
        name,
        hash: key.hash().0,
        prefix: key.shown_prefix(),
        scopes,
        expires_unix_nano,
    })
}

/// What is stored of a key of an older server of which only the hash is known: it may do what it
/// could do there, send and read.
///
/// # Errors
/// [`random::Error`].
pub fn of_hash(hash: Hash, project: ProjectId, name: String) -> Result<NewKey, random::Error> {
    Ok(NewKey {
        id: random::text(ID_CHARS)?,
        project,
        name,
        hash,
        prefix: PREFIX.to_owned(),
        scopes: Scopes::NONE.with(Scope::Ingest).with(Scope::Read),
        expires_unix_nano: None,
    })
}

/// Name of the key that comes with a project.
pub const DEFAULT_KEY: &str = "Default Key";

/// A key as older Pulse servers made them, which may send and read, and what is stored of it: for
/// the project `default` until another is named.
///
/// # Errors
/// [`random::Error`].
pub fn older(name: &str) -> Result<(ApiKey, NewKey), random::Error> {
    let key = ApiKey::generate()?;
    let scopes = Scopes::NONE.with(Scope::Ingest).with(Scope::Read);
    let stored = stored(&key, ProjectId::DEFAULT, name.to_owned(), scopes, None)?;
    Ok((key, stored))
}

/// The id of a new person.
///
/// # Errors
/// [`random::Error`].
pub fn user_id() -> Result<String, random::Error> {
    random::text(USER_ID_CHARS)
}
