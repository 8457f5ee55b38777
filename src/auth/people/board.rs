//! Signing in for PulseBoard's clients: an access token for a quarter of an hour, and a cookie that
//! is exchanged for the next, once. A person has one of those cookies; the others of theirs end.

use http::HeaderValue;
use tokio::time::timeout;

use super::held::{Held, Lately};
use super::{Client, PATIENCE, People, Refused, SECOND_NS, SESSION_SECONDS, described};
use crate::auth::access_token::{ACCESS_SECONDS, AccessTokens, Claims};
use crate::auth::names;
use crate::auth::refresh::RefreshToken;
use crate::model::access::Scopes;
use crate::storage;
use crate::storage::access::{Hash, Login, User};

/// Somebody who has just signed in, and what their client keeps.
#[derive(Clone)]
pub struct Welcomed {
    /// Who.
    pub user: User,
    /// The access token.
    pub access_token: String,
    /// `set-cookie`.
    pub cookie: HeaderValue,
}

impl std::fmt::Debug for Welcomed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Welcomed").finish_non_exhaustive()
    }
}

/// The id of the session that the cookie stands for. No other session has one like it.
fn session_id(user: &User) -> String {
    format!("refresh {}", user.id)
}

impl People {
    async fn access_tokens(&self) -> Result<AccessTokens, storage::Error> {
        AccessTokens::of(self.signer().await?).ok_or_else(|| storage::Error::Corrupt {
            context: "the secret of access tokens can't be used".to_owned(),
        })
    }

    /// Signs somebody in for PulseBoard.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn sign_in_to_board(
        &self,
        email: &str,
        password: &str,
        client: &Client,
        is_secure: bool,
    ) -> Result<Welcomed, Refused> {
        let email = names::email(email).map_err(|_| Refused::Wrong)?;
        let (user, stored) = self.check(&email, password, client).await?;
        self.welcome_to_board(user, stored, client, is_secure).await
    }

    /// Signs in somebody who has just signed up, with the password as it is stored.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn welcome_to_board(
        &self,
        user: User,
        stored: String,
        client: &Client,
        is_secure: bool,
    ) -> Result<Welcomed, Refused> {
        self.hand_on(user, stored, client, (None, is_secure)).await
    }

    /// Exchanges a token of the cookie for another, and an access token.
    ///
    /// # Errors
    /// [`Refused`]; [`Refused::Wrong`] when it is not known, has ended or was exchanged already.
    pub async fn renew_for_board(
        &self,
        shown: &RefreshToken,
        client: &Client,
        is_secure: bool,
    ) -> Result<Welcomed, Refused> {
        let (_, user) = self.refreshing(shown).await?.ok_or(Refused::Wrong)?;
        let found = self.store.user(user.email.clone()).await?;
        let (user, stored) = found.filter(|(it, _)| *it == user).ok_or(Refused::Wrong)?;
        let instead_of = Some(shown.hash().0);
        self.hand_on(user, stored, client, (instead_of, is_secure))
            .await
    }

    /// Ends what a token of the cookie stands for, if it does for anything.
    ///
    /// # Errors
    /// [`storage::Error`].
    pub async fn sign_out_of_board(&self, shown: &RefreshToken) -> Result<(), storage::Error> {
        if let Some((login, _)) = self.refreshing(shown).await? {
            // One that has ended meanwhile is ended.
            let (Ok(()) | Err(_)) = self.store.end_login(login.token_hash).await?;
        }
        Ok(())
    }

    async fn refreshing(
        &self,
        shown: &RefreshToken,
    ) -> Result<Option<(Login, User)>, storage::Error> {
        let found = self.store.login(shown.hash().0, (self.now)()).await?;
        Ok(found.filter(|(login, user)| login.id == session_id(user)))
    }

    async fn hand_on(
        &self,
        user: User,
        stored: String,
        client: &Client,
        (instead_of, is_secure): (Option<Hash>, bool),
    ) -> Result<Welcomed, Refused> {
        let token = RefreshToken::generate()?;
        let now = (self.now)();
        let iat = now / SECOND_NS;
        let claims = Claims {
            id: user.id.clone(),
            email: user.email.clone(),
            iat,
            exp: iat.saturating_add(ACCESS_SECONDS),
        };
        let unwritable = || storage::Error::Corrupt {
            context: "an access token can't be written".to_owned(),
        };
        let made = self.access_tokens().await?.make(&claims, &stored);
        let access_token = made.ok_or_else(unwritable)?;
        let cookie = token.set(SESSION_SECONDS, is_secure);
        let cookie = cookie.ok_or_else(unwritable)?;
        let login = Login {
            token_hash: token.hash().0,
            id: session_id(&user),
            user_id: user.id.clone(),
            created_unix_nano: now,
            expires_unix_nano: now.saturating_add(SESSION_SECONDS * SECOND_NS),
            seen_unix_nano: now,
            address: client.address.clone(),
            user_agent: described(client),
            project: None,
            scopes: Scopes::ALL,
            key: None,
        };
        let begun = self.store.hand_on_login(login, stored, instead_of).await?;
        // The password was changed meanwhile, or somebody else was first.
        begun.map_err(|_| Refused::Wrong)?;
        Ok(Welcomed {
            user,
            access_token,
            cookie,
        })
    }

    /// Whose access token it is; nobody's when it was not made here, has ended, or its person has
    /// another password since.
    ///
    /// # Errors
    /// [`storage::Error`], when that can't be told.
    pub async fn holder(&self, token: &str) -> Result<Option<Held>, storage::Error> {
        let found = timeout(PATIENCE, self.look_up_holder(token)).await;
        found.unwrap_or(Err(storage::Error::Timeout))
    }

    async fn look_up_holder(&self, token: &str) -> Result<Option<Held>, storage::Error> {
        let tokens = self.access_tokens().await?;
        let Some(opened) = tokens.open(token, (self.now)() / SECOND_NS) else {
            return Ok(None);
        };
        let found = self.store.user(opened.claims.email.clone()).await?;
        let holder = found.filter(|(user, stored)| {
            user.id == opened.claims.id && !tokens.is_outdated(&opened.mark, stored)
        });
        let mark = opened.mark;
        Ok(holder.map(|(user, _)| Held { user, mark }))
    }

    /// Whether somebody has the password yet of which their token is.
    ///
    /// # Errors
    /// [`storage::Error`], when that can't be told.
    pub(in crate::auth) async fn is_good_still(&self, held: &Held) -> Result<bool, storage::Error> {
        let look_up = async {
            let tokens = self.access_tokens().await?;
            let found = self.store.user(held.user.email.clone()).await?;
            Ok(found.is_some_and(|(user, stored)| {
                user.id == held.user.id && !tokens.is_outdated(&held.mark, &stored)
            }))
        };
        let found = timeout(PATIENCE, look_up).await;
        found.unwrap_or(Err(storage::Error::Timeout))
    }

    /// Who was found to own what lately.
    pub(in crate::auth) const fn lately(&self) -> &Lately {
        &self.lately
    }
}
