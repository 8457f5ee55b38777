//! Taking an invitation, whether or not anybody may sign up.

use super::{Client, People, Person, Refused, SignedIn, issue, names};
use crate::auth::KeyHash;
use crate::storage::access::invites::Joining;
use crate::storage::access::{Change, Invite, Member, Refusal, User};

/// What a new person tells who takes an invitation.
pub struct Invited {
    /// What to call them.
    pub name: String,
    /// Their address; the one that was invited where they tell none.
    pub email: Option<String>,
    /// Their password.
    pub password: String,
}

impl std::fmt::Debug for Invited {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Invited").finish_non_exhaustive()
    }
}

impl People {
    /// The invitation of a token. Asked before a password is hashed, which costs.
    async fn invite(&self, token: &str) -> Result<Invite, Refused> {
        let hash = KeyHash::of(token).0;
        let found = self.store.invite(hash, (self.now)()).await?;
        found.ok_or(Refused::NoInvite)
    }

    async fn joined(
        &self,
        invite: &Invite,
        who: Joining,
        user_id: &str,
    ) -> Result<Member, Refused> {
        let change = Change {
            by: format!("user {user_id}"),
            at_unix_nano: (self.now)(),
        };
        let is_new = matches!(who, Joining::New { .. });
        let accepting = self.store.accept_invite(invite.token_hash, who, change);
        accepting.await?.map_err(|refusal| match refusal {
            Refusal::Unknown => Refused::NoInvite,
            Refusal::Taken if is_new => Refused::Taken,
            Refusal::Taken => Refused::Member,
            Refusal::TooMany => Refused::TooMany,
        })
    }

    /// Lets somebody new in who holds an invitation, and signs them in.
    ///
    /// # Errors
    /// [`Refused`]; with [`Refused::Taken`] somebody has the address, who can sign in and take the
    /// invitation then.
    pub async fn accept_as_new(
        &self,
        token: &str,
        invited: Invited,
        client: &Client,
        is_secure: bool,
    ) -> Result<(SignedIn, Member), Refused> {
        let invite = self.invite(token).await?;
        let email = invited.email.unwrap_or_else(|| invite.email.clone());
        let user = User {
            id: issue::user_id()?,
            email: names::email(&email)?,
            name: names::name(&invited.name)?,
            created_unix_nano: (self.now)(),
        };
        if !invite.is_for(&user.email) {
            return Err(Refused::NoInvite);
        }
        let stored = self.hashed(invited.password).await?;
        let joining = Joining::New {
            user: user.clone(),
            password: stored.clone(),
        };
        let member = self.joined(&invite, joining, &user.id).await?;
        let signed_in = self.begin(user, stored, client, None, is_secure).await?;
        Ok((signed_in, member))
    }

    /// Lets somebody who is signed in into a project.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn accept(&self, token: &str, person: &Person) -> Result<Member, Refused> {
        if person.login.project.is_some() {
            return Err(Refused::NotTheirOwn);
        }
        let invite = self.invite(token).await?;
        let joining = Joining::Known(person.user.clone());
        self.joined(&invite, joining, &person.user.id).await
    }
}
