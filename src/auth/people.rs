//! People: signing up, in and out.
//!
//! A session is a random token in a signed cookie; the store has its hash. It is looked up for
//! every request, not remembered: one that was ended is of no use anywhere at once. Guessing is
//! made slow by address and account, and hashing bounded.

mod board;
mod held;
mod invited;
mod items;
mod local;
mod sign_up;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::back_off::BackOff;
use super::config::{Config, SignUps};
use super::cookie::{self, Signer, Token};
use super::passwords::Passwords;
use super::resolver::Now;
use super::{issue, names, page, password, random};
use crate::config::Secret;
use crate::model::ProjectId;
use crate::model::access::{Role, Scopes};
use crate::storage;
use crate::storage::access::{AccessStore, Change, Login, User};

pub use board::Welcomed;
pub use held::Held;
use held::Lately;
pub use invited::Invited;
pub use items::{Client, Person, Refused, SignedIn, Wanted};
pub use local::Ticket;
use local::Tickets;

/// How long a session lasts.
pub const SESSION_SECONDS: u64 = 7 * 24 * 3600;
/// Longest description of a browser that is kept, in characters.
const USER_AGENT_CHARS_MAX: usize = 256;
/// How long the store may take to say whose session it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// A session's use is noted once in this time, ns.
const SEEN_NS: u64 = 60_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// The key that a session is begun with.
#[derive(Debug, Clone)]
struct Bound {
    key: String,
    project: ProjectId,
    scopes: Scopes,
}

/// People. Shared by all requests of a listener.
pub struct People {
    store: Arc<dyn AccessStore>,
    now: Now,
    sign_ups: SignUps,
    is_loopback: bool,
    secret: Secret,
    signer: OnceCell<Signer>,
    passwords: Passwords,
    back_off: BackOff,
    tickets: Tickets,
    lately: Lately,
    /// Held while it is noted that a session is used.
    noting: tokio::sync::Mutex<()>,
    /// Origins whose pages count as ours.
    pub(super) allowed_origins: Vec<String>,
}

impl fmt::Debug for People {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("People").finish_non_exhaustive()
    }
}

/// How a client describes itself, as it is kept.
fn described(client: &Client) -> String {
    let chars = client.user_agent.chars().filter(|char| !char.is_control());
    chars.take(USER_AGENT_CHARS_MAX).collect()
}

impl People {
    /// Of a store, by this configuration.
    pub(super) fn new(
        store: Arc<dyn AccessStore>,
        now: Now,
        config: &Config,
        is_loopback: bool,
        allowed_origins: Vec<String>,
    ) -> Self {
        Self {
            store,
            now,
            sign_ups: config.sign_up,
            is_loopback,
            secret: config.session_secret.clone(),
            signer: OnceCell::new(),
            passwords: Passwords::new(),
            back_off: BackOff::new(),
            tickets: Tickets::default(),
            lately: Lately::new(),
            noting: tokio::sync::Mutex::default(),
            allowed_origins,
        }
    }

    async fn signer(&self) -> Result<&Signer, storage::Error> {
        let make = async || {
            let bytes = match self.secret.expose() {
                Some(secret) => secret.as_bytes().to_vec(),
                None => {
                    let made = random::bytes().map_err(|source| storage::Error::Unavailable {
                        context: "make a secret",
                        source: Box::new(source),
                    })?;
                    self.store.signing_secret(made).await?.to_vec()
                }
            };
            Signer::new(&bytes).ok_or_else(|| storage::Error::Corrupt {
                context: "the secret of cookies can't be used".to_owned(),
            })
        };
        self.signer.get_or_try_init(make).await
    }

    /// Who is signed in.
    ///
    /// # Errors
    /// [`storage::Error`], when that can't be told.
    pub async fn person(&self, headers: &HeaderMap) -> Result<Option<Person>, storage::Error> {
        if !cookie::is_shown(headers) {
            return Ok(None);
        }
        let found = timeout(PATIENCE, self.look_up(headers)).await;
        let found = found.unwrap_or(Err(storage::Error::Timeout))?;
        if let Some(person) = &found {
            self.note_seen(&person.login).await;
        }
        Ok(found)
    }

    /// Notes that a session is used, once a minute. It is good whether or not that can be written
    /// now; one write at a time, so that a store that is slow is not given more and more of them.
    async fn note_seen(&self, login: &Login) {
        let now = (self.now)();
        if now.saturating_sub(login.seen_unix_nano) < SEEN_NS {
            return;
        }
        let Ok(_turn) = self.noting.try_lock() else {
            return;
        };
        if let Err(error) = self.store.note_seen(login.token_hash, now).await {
            tracing::debug!(%error, "can't note that a session was used");
        }
    }

    async fn look_up(&self, headers: &HeaderMap) -> Result<Option<Person>, storage::Error> {
        let Some(token) = self.signer().await?.token(headers) else {
            return Ok(None);
        };
        let (hash, now) = (token.hash().0, (self.now)());
        let Some((login, user)) = self.store.login(hash, now).await? else {
            return Ok(None);
        };
        Ok(Some(Person { token, login, user }))
    }

    /// What somebody is in a project, or in the first two they are in.
    pub(super) async fn roles(
        &self,
        user_id: &str,
        project: Option<ProjectId>,
    ) -> Result<Vec<(ProjectId, Role)>, storage::Error> {
        let asked = self.store.memberships(user_id.to_owned(), project);
        let found = timeout(PATIENCE, asked).await;
        found.unwrap_or(Err(storage::Error::Timeout))
    }

    /// Checks a password. Whether the address is known can't be told from the answer, nor from how
    /// long it takes.
    async fn check(
        &self,
        email: &str,
        password: &str,
        client: &Client,
    ) -> Result<(User, String), Refused> {
        let begun = self.back_off.begin(email, &client.address, (self.now)());
        let attempt = begun.map_err(Refused::TooOften)?;
        let compared = self.compared(email, password).await;
        let found = compared.inspect_err(|_| self.back_off.undone(&attempt))?;
        let found = found.ok_or(Refused::Wrong)?;
        self.back_off.succeeded(&attempt);
        Ok(found)
    }

    /// The person of an address, if this is their password.
    async fn compared(
        &self,
        email: &str,
        password: &str,
    ) -> Result<Option<(User, String)>, Refused> {
        let found = self.store.user(email.to_owned()).await?;
        let stored = match &found {
            Some((_, stored)) => stored.clone(),
            None => password::NOBODYS.to_owned(),
        };
        let is_right = self.passwords.is(password.to_owned(), stored).await?;
        Ok(found.filter(|_| is_right))
    }

    async fn hashed(&self, password: String) -> Result<String, Refused> {
        let hashed = self.passwords.hash(password).await?;
        hashed.map_err(Refused::Password)
    }

    /// Signs somebody in.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn sign_in(
        &self,
        email: &str,
        password: &str,
        client: &Client,
        is_secure: bool,
    ) -> Result<SignedIn, Refused> {
        let email = names::email(email).map_err(|_| Refused::Wrong)?;
        let (user, stored) = self.check(&email, password, client).await?;
        self.begin(user, stored, client, None, is_secure).await
    }

    /// Begins a session, of a key's project alone where it is begun with one.
    async fn begin(
        &self,
        user: User,
        password: String,
        client: &Client,
        bound: Option<Bound>,
        is_secure: bool,
    ) -> Result<SignedIn, Refused> {
        let token = Token::generate()?;
        let now = (self.now)();
        let login = Login {
            token_hash: token.hash().0,
            id: issue::user_id()?,
            user_id: user.id.clone(),
            created_unix_nano: now,
            expires_unix_nano: now.saturating_add(SESSION_SECONDS * SECOND_NS),
            seen_unix_nano: now,
            address: client.address.clone(),
            user_agent: described(client),
            project: bound.as_ref().map(|bound| bound.project),
            scopes: bound.as_ref().map_or(Scopes::ALL, |bound| bound.scopes),
            key: bound.map(|bound| bound.key),
        };
        let cookie = self.signer().await?.set(&token, SESSION_SECONDS, is_secure);
        let cookie = cookie.ok_or_else(|| storage::Error::Corrupt {
            context: "a cookie can't be written".to_owned(),
        })?;
        let begun = self.store.begin_login(login.clone(), password).await?;
        // The password was changed while it was checked.
        begun.map_err(|_| Refused::Wrong)?;
        Ok(SignedIn {
            person: Person { token, login, user },
            cookie,
        })
    }

    /// Ends the session of a request, if there is one.
    ///
    /// # Errors
    /// [`storage::Error`].
    pub async fn sign_out(&self, headers: &HeaderMap) -> Result<(), storage::Error> {
        if let Some(person) = self.person(headers).await? {
            // One that has ended meanwhile is ended.
            let (Ok(()) | Err(_)) = self.store.end_login(person.login.token_hash).await?;
        }
        Ok(())
    }

    /// Signs in somebody who has just signed up.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn welcome(
        &self,
        user: User,
        stored: String,
        client: &Client,
        is_secure: bool,
    ) -> Result<SignedIn, Refused> {
        self.begin(user, stored, client, None, is_secure).await
    }

    /// Hashes a password for somebody else.
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::Password`].
    pub async fn hash_for(&self, password: String) -> Result<String, Refused> {
        self.hashed(password).await
    }

    /// Changes a password, which ends all of the person's sessions, and begins another.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn change_password(
        &self,
        person: Person,
        current: &str,
        new: String,
        client: &Client,
        is_secure: bool,
    ) -> Result<SignedIn, Refused> {
        if person.login.project.is_some() {
            return Err(Refused::NotTheirOwn);
        }
        let (user, _) = self.check(&person.user.email, current, client).await?;
        let stored = self.hashed(new).await?;
        let change = Change {
            by: format!("user {}", user.id),
            at_unix_nano: (self.now)(),
        };
        let changed = self
            .store
            .set_password(user.id.clone(), stored.clone(), change);
        changed.await?.map_err(|_| Refused::Wrong)?;
        self.begin(user, stored, client, None, is_secure).await
    }

    /// Whether a request may be the doing of a page of ours, or of no page.
    #[must_use]
    pub fn is_own_page(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        page::is_own(headers, uri, &self.allowed_origins)
    }
}
