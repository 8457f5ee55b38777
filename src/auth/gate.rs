//! The way in of one listener: who may come without a credential, and what the others may do.

mod owners;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::config::Config;
use super::credential::Credential;
use super::denied::Denied;
use super::page::{is_of_this_machine, is_proxied};
use super::people::{Held, People, Person};
use super::principal::{Principal, Who};
use super::quota::Quotas;
use super::resolver::{Openness, Resolver};
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::model::quota::Quota;
use crate::storage::access::AccessStore;
use crate::telemetry::logs::chain;

/// Which project somebody signed in means.
const PROJECT: HeaderName = HeaderName::from_static("x-project-id");

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Telemetry comes in.
    Ingest,
    /// Questions are answered.
    Read,
}

/// Makes the ways in of all listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gates {
    resolver: Resolver,
    quotas: Quotas,
    config: Config,
}

impl Gates {
    /// By this configuration.
    #[must_use]
    pub fn new(resolver: Resolver, quotas: Quotas, config: Config) -> Self {
        Self {
            resolver,
            quotas,
            config,
        }
    }

    /// What projects may send.
    #[cfg(test)]
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// The way in of a listener at an address.
    #[must_use]
    pub fn at(&self, purpose: Purpose, address: SocketAddr) -> Gate {
        let is_loopback = address.ip().to_canonical().is_loopback();
        Gate::new(
            (self.resolver.clone(), self.quotas.clone()),
            &self.config,
            purpose,
            is_loopback,
        )
    }
}

/// The way in of one listener. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    resolver: Resolver,
    quotas: Quotas,
    purpose: Purpose,
    /// Whether only this machine reaches the listener.
    is_loopback: bool,
    /// Whether the configuration lets everybody in.
    is_open: bool,
    config: Config,
    /// Those who may sign in here; nobody where questions are not answered.
    people: Option<Arc<People>>,
}

/// What somebody has shown who they are with.
#[derive(Debug, Clone, Copy)]
struct Means<'a> {
    user_id: &'a str,
    /// The only project it is good for.
    project: Option<ProjectId>,
    /// The most it allows.
    scopes: Scopes,
}

impl<'a> Means<'a> {
    /// The session of a browser.
    fn by(person: &'a Person) -> Self {
        Self {
            user_id: &person.user.id,
            project: person.login.project,
            scopes: person.login.scopes,
        }
    }

    /// All that somebody may do.
    const fn all(user_id: &'a str) -> Self {
        Self {
            user_id,
            project: None,
            scopes: Scopes::ALL,
        }
    }
}

impl Gate {
    /// For a listener.
    #[must_use]
    pub fn new(
        (resolver, quotas): (Resolver, Quotas),
        config: &Config,
        purpose: Purpose,
        is_loopback: bool,
    ) -> Self {
        let is_open = match purpose {
            Purpose::Ingest => config.anonymous_ingest,
            Purpose::Read => config.anonymous_read,
        };
        Self {
            resolver,
            quotas,
            purpose,
            is_loopback,
            is_open,
            config: config.clone(),
            people: None,
        }
    }

    /// The same for people too, who sign in with the cookie of a session. Pages of these origins
    /// count as ours.
    #[must_use]
    pub fn with_people(self, store: Arc<dyn AccessStore>, allowed_origins: Vec<String>) -> Self {
        let now = self.resolver.clock();
        let people = People::new(store, now, &self.config, self.is_loopback, allowed_origins);
        Self {
            people: Some(Arc::new(people)),
            ..self
        }
    }

    /// Those who may sign in here.
    #[must_use]
    pub fn people(&self) -> Option<&Arc<People>> {
        self.people.as_ref()
    }

    /// Turns the credential of a request into who asks, if that one may do this. Looks at the
    /// head of the request only. Who comes to send is let in only while the project may send more.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        scope: Scope,
    ) -> Result<Principal, Denied> {
        let principal = match Credential::of(headers) {
            Credential::None => match self.signed_in(headers).await? {
                // What a person may do is checked with the project.
                Some(person) => return self.of(Means::by(&person), headers, uri, scope).await,
                None => self.anonymous(headers, uri)?,
            },
            Credential::Unusable => return Err(Denied::Unknown),
            Credential::Key(key) => self.resolver.resolve(&key).await?,
            Credential::AccessToken(token) => {
                let held = self.holder_of(&token).await?;
                let means = Means::all(&held.user.id);
                return self.of(means, headers, uri, scope).await;
            }
        };
        if principal.may(scope) {
            self.within_quota(principal, scope)
        } else if principal.who == Who::Anonymous {
            // A key might be allowed to.
            Err(Denied::Missing)
        } else {
            Err(Denied::NotAllowed(scope))
        }
    }

    /// Who is signed in, whatever they may do.
    ///
    /// # Errors
    /// [`Denied::Missing`], [`Denied::Unavailable`].
    pub async fn person(&self, headers: &HeaderMap) -> Result<Person, Denied> {
        self.signed_in(headers).await?.ok_or(Denied::Missing)
    }

    async fn signed_in(&self, headers: &HeaderMap) -> Result<Option<Person>, Denied> {
        let Some(people) = &self.people else {
            return Ok(None);
        };
        let found = people.person(headers).await;
        found.map_err(|error| unavailable(&error))
    }

    /// Whose access token a request shows. Nothing else is looked at.
    ///
    /// # Errors
    /// [`Denied::Missing`], [`Denied::Unknown`], [`Denied::Unavailable`].
    pub async fn holder(&self, headers: &HeaderMap) -> Result<Held, Denied> {
        match Credential::of(headers) {
            Credential::AccessToken(token) => self.holder_of(&token).await,
            Credential::None => Err(Denied::Missing),
            Credential::Unusable | Credential::Key(_) => Err(Denied::Unknown),
        }
    }

    async fn holder_of(&self, token: &str) -> Result<Held, Denied> {
        let people = self.people.as_ref().ok_or(Denied::Unknown)?;
        let found = people.holder(token).await;
        found
            .map_err(|error| unavailable(&error))?
            .ok_or(Denied::Unknown)
    }

    /// What somebody signed in may do in the project they name.
    ///
    /// # Errors
    /// [`Denied::NoProject`] when they name none, [`Denied::NotAMember`], [`Denied::NotAllowed`],
    /// [`Denied::ForeignPage`], [`Denied::Unavailable`].
    pub async fn member(
        &self,
        person: &Person,
        headers: &HeaderMap,
        uri: &Uri,
        scope: Scope,
    ) -> Result<Principal, Denied> {
        if project_named(headers).is_none() {
            return Err(Denied::NoProject);
        }
        self.of(Means::by(person), headers, uri, scope).await
    }

    /// What somebody signed in may do in the project they name, or in the only one they have.
    async fn of(
        &self,
        means: Means<'_>,
        headers: &HeaderMap,
        uri: &Uri,
        scope: Scope,
    ) -> Result<Principal, Denied> {
        let people = self.people.as_ref().ok_or(Denied::Missing)?;
        // Reading changes nothing, and its answers are kept from other sites by the browser.
        if scope != Scope::Read && !people.is_own_page(headers, uri) {
            return Err(Denied::ForeignPage);
        }
        let named = project_named(headers).map(|named| {
            let named = named.to_str().ok().and_then(|named| named.parse().ok());
            named.map(ProjectId).ok_or(Denied::NotAMember)
        });
        let named = named.transpose()?;
        let only = means.project;
        if only.is_some_and(|only| named.is_some_and(|named| named != only)) {
            return Err(Denied::NotAMember);
        }
        let roles = people.roles(means.user_id, named.or(only)).await;
        let roles = roles.map_err(|error| unavailable(&error))?;
        let (project, role) = match (roles.as_slice(), named) {
            ([one], _) => *one,
            ([], Some(_)) => return Err(Denied::NotAMember),
            ([], None) | ([_, ..], _) => return Err(Denied::NoProject),
        };
        let principal = Principal {
            project,
            scopes: role.scopes().and(means.scopes),
            who: Who::User(means.user_id.into()),
        };
        if !principal.may(scope) {
            return Err(Denied::NotAllowed(scope));
        }
        self.within_quota(principal, scope)
    }

    /// Lets in who comes to send, while the project may send more.
    fn within_quota(&self, principal: Principal, scope: Scope) -> Result<Principal, Denied> {
        if scope == Scope::Ingest {
            self.quotas.check(principal.project)?;
        }
        principal.note();
        Ok(principal)
    }

    /// Whether a request is the doing of who shows the credential: a key or a token, which no browser
    /// adds by itself, or else a page of ours or no page.
    #[must_use]
    pub fn is_meant(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        !matches!(Credential::of(headers), Credential::None)
            || self
                .people
                .as_ref()
                .is_some_and(|people| people.is_own_page(headers, uri))
    }

    /// Makes a change that was just made count at once on this node.
    pub async fn refresh(&self) {
        self.resolver.refresh().await;
        self.quotas.refresh(self.resolver.generation()).await;
    }

    /// What projects may send that have no limits of their own.
    #[must_use]
    pub fn default_quota(&self) -> Quota {
        self.quotas.default_quota()
    }

    /// Who asks without a credential. While there are no keys, whoever reaches a loopback listener
    /// is the operator, and may make the first.
    fn anonymous(&self, headers: &HeaderMap, uri: &Uri) -> Result<Principal, Denied> {
        let of = |scopes| Principal {
            project: ProjectId::DEFAULT,
            scopes,
            who: Who::Anonymous,
        };
        // Who comes through a proxy may be anybody.
        let is_direct = self.is_loopback && !is_proxied(headers);
        let known = self.resolver.openness().filter(|_| is_direct);
        let is_local = known.is_some_and(|known| self.is_local(known));
        // Pages can't send telemetry: its types need a leave that other origins don't get.
        let is_ingest = self.purpose == Purpose::Ingest;
        if is_local && (is_ingest || is_of_this_machine(headers, uri)) {
            return Ok(of(Scopes::ALL));
        }
        if self.is_open {
            return Ok(of(Scopes::NONE.with(match self.purpose {
                Purpose::Ingest => Scope::Ingest,
                Purpose::Read => Scope::Read,
            })));
        }
        Err(if is_local {
            Denied::ForeignHost
        } else if is_direct && known.is_none() {
            Denied::Unavailable
        } else {
            Denied::Missing
        })
    }

    fn is_local(&self, known: Openness) -> bool {
        match self.purpose {
            Purpose::Ingest => known.no_keys,
            Purpose::Read => known.no_keys && known.no_users,
        }
    }

    /// Whether somebody needs a key here and there is none yet, as far as is known.
    #[must_use]
    pub fn lacks_a_key(&self) -> bool {
        let no_keys = self.resolver.openness().is_some_and(|known| known.no_keys);
        no_keys && !self.is_open && !self.is_loopback
    }
}

/// The project that a request names; an empty name is none.
fn project_named(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(PROJECT).filter(|named| !named.is_empty())
}

fn unavailable(error: &crate::storage::Error) -> Denied {
    tracing::debug!(error = %chain(error), "can't look up a session");
    Denied::Unavailable
}

#[cfg(test)]
mod tests;
