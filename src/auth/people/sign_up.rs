//! Signing up, for whom the configuration lets.

use http::{HeaderMap, Uri};

use super::{Client, People, Refused, Wanted};
use crate::auth::config::SignUps;
use crate::auth::{issue, names, page, random};
use crate::storage::access::people::{NewTenant, SignUp};
use crate::storage::access::{Change, Project, Refusal, User};

impl People {
    /// Whether a request may sign somebody up; whether they must be the first is for the store.
    fn may_sign_up(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        match self.sign_ups {
            SignUps::Open | SignUps::First => true,
            SignUps::Closed => false,
            SignUps::Local => {
                let is_local = page::is_of_this_machine(headers, uri) && !page::is_proxied(headers);
                self.is_loopback && is_local
            }
        }
    }

    /// Signs somebody up. Their project has a key that may send and read, which is not shown.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn sign_up(
        &self,
        wanted: Wanted,
        headers: &HeaderMap,
        uri: &Uri,
        client: &Client,
    ) -> Result<(User, String, Option<Project>), Refused> {
        if !self.may_sign_up(headers, uri) {
            return Err(Refused::Closed);
        }
        let begun = self.back_off.sign_up(&client.address, (self.now)());
        begun.map_err(Refused::TooOften)?;
        // Before the password is hashed, which costs; the store makes sure.
        if self.sign_ups == SignUps::First && self.store.state().await?.has_users {
            return Err(Refused::Closed);
        }
        let now = (self.now)();
        let user = User {
            id: issue::user_id()?,
            email: names::email(&wanted.email)?,
            name: names::name(&wanted.name)?,
            created_unix_nano: now,
        };
        let project = wanted.project.map(|name| names::name(&name)).transpose()?;
        let tenant = project.map(|name| {
            Ok::<_, random::Error>(NewTenant {
                name,
                key: issue::older(issue::DEFAULT_KEY)?.1,
            })
        });
        let sign_up = SignUp {
            password: self.hashed(wanted.password).await?,
            user: user.clone(),
            tenant: tenant.transpose()?,
            only_first: self.sign_ups == SignUps::First,
        };
        let stored = sign_up.password.clone();
        let change = Change {
            by: format!("user {}", user.id),
            at_unix_nano: now,
        };
        match self.store.sign_up(sign_up, change).await? {
            Ok(project) => Ok((user, stored, project)),
            Err(Refusal::Taken) => Err(Refused::Taken),
            Err(Refusal::Unknown) => Err(Refused::Closed),
            Err(Refusal::TooMany) => Err(Refused::TooMany),
        }
    }
}
