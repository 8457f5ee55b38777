//! Signing in on this machine with a link that is good once: a program that has a key or a password
//! opens a browser with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::super::key::KeyHash;
use super::super::names;
use super::{Bound, Client, People, Refused, SignedIn};
use crate::auth::{Busy, Principal, Who, random};
use crate::model::access::Scope;
use crate::storage::access::User;

/// How long a link is good, ns.
const LASTS_NS: u64 = 120_000_000_000;
/// Links at once.
const LINKS_MAX: usize = 1000;
/// Random bytes of a link.
const TOKEN_BYTES: usize = 16;

/// A link that was given out.
#[derive(Debug, Clone)]
struct Link {
    user: User,
    /// Hash of the password when the link was made: it is of no use after a change.
    password: String,
    /// What a key that it was made with allows, and where.
    bound: Option<Bound>,
    redirect_url: String,
    expires_unix_nano: u64,
}

/// Links that were given out, by the hash of their token.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<HashMap<KeyHash, Link>>);

/// What goes into a link.
#[derive(Clone)]
pub struct Ticket {
    /// 32 hexadecimal digits.
    pub token: String,
    /// When it ends, ns since the Unix epoch.
    pub expires_unix_nano: u64,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ticket([REDACTED])")
    }
}

impl Tickets {
    fn add(&self, token: &str, link: Link, now: u64) -> Result<(), Busy> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, link| link.expires_unix_nano > now);
        if links.len() >= LINKS_MAX {
            return Err(Busy);
        }
        links.insert(KeyHash::of(token), link);
        Ok(())
    }

    fn take(&self, token: &str, now: u64) -> Option<Link> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.remove(&KeyHash::of(token))?;
        (link.expires_unix_nano > now).then_some(link)
    }
}

impl People {
    /// Makes a link for the admin of the project of a key. The session allows what the key does,
    /// in its project, for as long as the key is good: it is no way to what else the admin may do.
    ///
    /// # Errors
    /// [`Refused::Wrong`] when the project has no admin or the key may not read.
    pub async fn ticket_of_key(
        &self,
        key: &Principal,
        redirect_url: String,
    ) -> Result<Ticket, Refused> {
        let Who::Key(id) = &key.who else {
            return Err(Refused::Wrong);
        };
        let bound = Bound {
            key: id.to_string(),
            project: key.project,
            scopes: key.scopes,
        };
        let admin = self.store.admin_of(key.project).await?;
        let admin = admin.filter(|_| key.may(Scope::Read));
        let (user, password) = admin.ok_or(Refused::Wrong)?;
        self.ticket(user, password, Some(bound), redirect_url)
    }

    /// Makes a link for somebody who knows their password.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn ticket_of_person(
        &self,
        email: &str,
        password: &str,
        client: &Client,
        redirect_url: String,
    ) -> Result<Ticket, Refused> {
        let email = names::email(email).map_err(|_| Refused::Wrong)?;
        let (user, stored) = self.check(&email, password, client).await?;
        self.ticket(user, stored, None, redirect_url)
    }

    fn ticket(
        &self,
        user: User,
        password: String,
        bound: Option<Bound>,
        redirect_url: String,
    ) -> Result<Ticket, Refused> {
        let bytes: [u8; TOKEN_BYTES] = random::bytes()?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = (self.now)();
        let expires_unix_nano = now.saturating_add(LASTS_NS);
        let link = Link {
            user,
            password,
            bound,
            redirect_url,
            expires_unix_nano,
        };
        self.tickets.add(&token, link, now)?;
        Ok(Ticket {
            token,
            expires_unix_nano,
        })
    }

    /// Takes a link, which nobody can take again; answers where to go from there.
    ///
    /// # Errors
    /// [`Refused::Wrong`] when it is not known or its time is over.
    pub async fn redeem(
        &self,
        token: &str,
        client: &Client,
        is_secure: bool,
    ) -> Result<(SignedIn, String), Refused> {
        let link = self.tickets.take(token, (self.now)());
        let link = link.ok_or(Refused::Wrong)?;
        let begun = self.begin(link.user, link.password, client, link.bound, is_secure);
        Ok((begun.await?, link.redirect_url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(expires_unix_nano: u64) -> Link {
        Link {
            user: User {
                id: "u1".to_owned(),
                email: "ada@x.org".to_owned(),
                name: "Ada".to_owned(),
                created_unix_nano: 0,
            },
            password: "h".to_owned(),
            bound: None,
            redirect_url: "http://localhost/".to_owned(),
            expires_unix_nano,
        }
    }

    #[test]
    fn a_link_is_good_once_and_for_its_time() {
        let tickets = Tickets::default();
        tickets.add("a", link(10), 0).unwrap();
        tickets.add("b", link(10), 0).unwrap();
        assert!(tickets.take("c", 9).is_none());
        assert!(tickets.take("a", 9).is_some());
        assert!(tickets.take("a", 9).is_none());
        assert!(tickets.take("b", 10).is_none());
    }

    #[test]
    fn links_are_bounded_and_make_room_when_they_end() {
        let tickets = Tickets::default();
        for number in 0..LINKS_MAX {
            tickets.add(&number.to_string(), link(10), 0).unwrap();
        }
        assert_eq!(tickets.add("more", link(20), 9), Err(Busy));
        assert_eq!(tickets.add("more", link(20), 10), Ok(()));
        assert!(tickets.take("more", 11).is_some());
    }
}
