//! New keys, as their holder gets them and as they are stored.

use super::key::{ApiKey, KeyHash, PREFIX};
use super::random;
use crate::model::ProjectId;
use crate::model::access::{Role, Scope, Scopes};
use crate::storage::access::{Hash, Invite, NewKey};

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

/// What invitations start with, and how many characters follow that nobody can guess.
const INVITE_PREFIX: &str = "pulse_inv_";
const INVITE_CHARS: usize = 32;
/// How long an invitation is good when nobody says, and at most, ns.
pub const INVITE_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// See [`INVITE_NS`].
pub const INVITE_NS_MAX: u64 = 30 * 86_400 * 1_000_000_000;

/// A new invitation: the token, which is shown once, and what is stored of it. For anybody who
/// holds the token where no address is named.
///
/// # Errors
/// [`random::Error`].
pub fn invite(
    project: ProjectId,
    email: Option<String>,
    role: Role,
    expires_unix_nano: u64,
) -> Result<(String, Invite), random::Error> {
    let token = INVITE_PREFIX.to_owned() + &random::text(INVITE_CHARS)?;
    let invite = Invite {
        token_hash: KeyHash::of(&token).0,
        project,
        email: email.unwrap_or_default(),
        role,
        expires_unix_nano,
    };
    Ok((token, invite))
}

/// The id of a new person.
///
/// # Errors
/// [`random::Error`].
pub fn user_id() -> Result<String, random::Error> {
    random::text(USER_ID_CHARS)
}
