//! Who came with an access token and stayed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::Denied;
use crate::auth::cache::Cache;
use crate::model::ProjectId;
use crate::storage::access::User;

/// How long it counts what was found out.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// People's tokens and projects of which something is remembered.
const KNOWN_MAX: usize = 1000;

/// The holder of an access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub user: User,
    /// Of which of their passwords the token is.
    pub(super) mark: String,
}

/// User, mark of the password, project.
type Key = (String, String, ProjectId);
/// What was found out, and until when it counts.
type Known = (Instant, Result<(), Denied>);

/// Who was found to own what lately.
#[derive(Debug)]
pub(in crate::auth) struct Lately(Mutex<Cache<Key, Known>>);

impl Lately {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Cache::new(KNOWN_MAX)))
    }

    /// What is known. Who is not told has to find it out; until then others are told what was known
    /// before.
    pub(in crate::auth) fn get(
        &self,
        held: &Held,
        project: ProjectId,
    ) -> Option<Result<(), Denied>> {
        let key = key(held, project);
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, found) = known.get(&key)?;
        if now < until {
            return Some(found);
        }
        known.insert(key, (now + KNOWN_FOR, found));
        None
    }

    /// Remembers what was found out, but not that it can't be.
    pub(in crate::auth) fn note(&self, held: &Held, project: ProjectId, found: Result<(), Denied>) {
        if found != Err(Denied::Unavailable) {
            let until = Instant::now() + KNOWN_FOR;
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(key(held, project), (until, found));
        }
    }
}

fn key(held: &Held, project: ProjectId) -> Key {
    (held.user.id.clone(), held.mark.clone(), project)
}
