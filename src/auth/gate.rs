//! The way in of one listener: who may come without a credential, and what the others may do.

use std::net::SocketAddr;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use super::Config;
use super::credential::Credential;
use super::denied::Denied;
use super::principal::{Principal, Who};
use super::quota::Quotas;
use super::resolver::{Openness, Resolver};
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::model::quota::Quota;

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
        }
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
            Credential::None => self.anonymous(headers, uri)?,
            Credential::Unusable => return Err(Denied::Unknown),
            Credential::Key(key) => self.resolver.resolve(&key).await?,
        };
        if principal.may(scope) {
            if scope == Scope::Ingest {
                self.quotas.check(principal.project)?;
            }
            Ok(principal)
        } else if principal.who == Who::Anonymous {
            // A key might be allowed to.
            Err(Denied::Missing)
        } else {
            Err(Denied::NotAllowed(scope))
        }
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
        let known = self.resolver.openness().filter(|_| self.is_loopback);
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
        } else if self.is_loopback && known.is_none() {
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

/// Whether a request names the machine as only its own programs do. A web page whose name was made
/// to point here (DNS rebinding) sends that name along.
fn is_of_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let named = headers.get(header::HOST).map(|host| {
        let host = host.to_str().ok();
        host.and_then(|host| host.parse::<Authority>().ok())
    });
    // HTTP/2 has it in the address; what has neither is no browser.
    let hosts = [named, uri.authority().cloned().map(Some)];
    hosts.into_iter().flatten().all(|host| {
        let host = host.as_ref().map_or("", Authority::host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<std::net::IpAddr>();
        address.map_or_else(
            |_| bare.eq_ignore_ascii_case("localhost"),
            |address| address.to_canonical().is_loopback(),
        )
    })
}

#[cfg(test)]
mod tests;
