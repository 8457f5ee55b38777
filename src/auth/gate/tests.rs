use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::super::testing::{Keys, Mood};
use super::*;

struct Case {
    keys: Arc<Keys>,
    resolver: Resolver,
}

impl Case {
    async fn new() -> Self {
        let keys = Arc::new(Keys::default());
        let resolver = keys.resolver(None);
        resolver.refresh().await;
        Self { keys, resolver }
    }

    fn gate(&self, purpose: Purpose, is_loopback: bool, is_open: bool) -> Gate {
        let config = Config {
            anonymous_ingest: is_open,
            anonymous_read: is_open,
            ..Config::default()
        };
        let known = (self.resolver.clone(), self.keys.quotas(Quota::default()));
        Gate::new(known, &config, purpose, is_loopback)
    }
}

async fn ask(
    gate: &Gate,
    scope: Scope,
    header: Option<(&'static str, &str)>,
) -> Result<Principal, Denied> {
    let headers = header.into_iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        (HeaderName::from_static(name), value)
    });
    let uri = Uri::from_static("/path");
    gate.admit(&headers.collect(), &uri, scope).await
}

// Scenario: requests without a credential at every kind of listener, before and after there are
// keys and people.
// Guarantees: only loopback is open by itself, until there is a key (or, for questions, a person);
// what the configuration opens stays open, for that alone.
#[tokio::test]
async fn who_may_come_without_a_credential() {
    let case = Case::new().await;
    let [ingest, read] = [Purpose::Ingest, Purpose::Read];
    let both = [(ingest, Scope::Ingest), (read, Scope::Read)];
    for (purpose, scope) in both {
        let local = ask(&case.gate(purpose, true, false), scope, None).await;
        let local = local.unwrap();
        assert_eq!(
            (local.project, local.scopes),
            (ProjectId::DEFAULT, Scopes::ALL)
        );
        assert!(local.is_operator() && local.who == Who::Anonymous);
        let reachable = case.gate(purpose, false, false);
        assert_eq!(ask(&reachable, scope, None).await, Err(Denied::Missing));
        assert!(reachable.lacks_a_key());
        let opened = case.gate(purpose, false, true);
        let anyone = ask(&opened, scope, None).await.unwrap();
        assert_eq!(anyone.scopes, Scopes::NONE.with(scope));
        assert_eq!(ask(&opened, Scope::Admin, None).await, Err(Denied::Missing));
        assert!(!opened.lacks_a_key());
    }
    *case.keys.has_users.lock().unwrap() = true;
    case.resolver.refresh().await;
    assert!(
        ask(&case.gate(ingest, true, false), Scope::Ingest, None)
            .await
            .is_ok()
    );
    let asked = ask(&case.gate(read, true, false), Scope::Read, None).await;
    assert_eq!(asked, Err(Denied::Missing));
    case.keys.put("pulse_sk_1", 1, Scopes::NONE);
    case.resolver.refresh().await;
    for (purpose, scope) in both {
        for is_loopback in [true, false] {
            let gate = case.gate(purpose, is_loopback, false);
            assert_eq!(ask(&gate, scope, None).await, Err(Denied::Missing));
            assert!(!gate.lacks_a_key());
            let gate = case.gate(purpose, is_loopback, true);
            let anyone = ask(&gate, scope, None).await.unwrap();
            assert_eq!(anyone.scopes, Scopes::NONE.with(scope));
        }
    }
}

// Scenario: the store was never reached.
// Guarantees: whether anybody needs a key is not guessed; who opened the listener is not asked.
#[tokio::test]
async fn what_is_not_known_is_not_guessed() {
    let keys = Arc::new(Keys::default());
    keys.set(Mood::Away);
    let resolver = keys.resolver(None);
    resolver.refresh().await;
    let case = Case { keys, resolver };
    let local = case.gate(Purpose::Ingest, true, false);
    assert_eq!(
        ask(&local, Scope::Ingest, None).await,
        Err(Denied::Unavailable)
    );
    let reachable = case.gate(Purpose::Ingest, false, false);
    assert_eq!(
        ask(&reachable, Scope::Ingest, None).await,
        Err(Denied::Missing)
    );
    let opened = case.gate(Purpose::Ingest, true, true);
    assert!(ask(&opened, Scope::Ingest, None).await.is_ok());
}

// Scenario: keys with and without the scope, and texts that are no keys, at open and closed gates.
// Guarantees: a credential that is shown counts, also where none is needed.
#[tokio::test]
async fn what_is_shown_counts() {
    let case = Case::new().await;
    let read = Scopes::NONE.with(Scope::Read);
    case.keys.put("pulse_sk_read", 3, read);
    case.resolver.refresh().await;
    for is_open in [true, false] {
        let gate = case.gate(Purpose::Read, true, is_open);
        let asked = async |scope, header| ask(&gate, scope, Some(header)).await;
        let header = ("authorization", "Bearer pulse_sk_read");
        let found = asked(Scope::Read, header).await.unwrap();
        assert_eq!((found.project, found.scopes), (ProjectId(3), read));
        for scope in [Scope::Ingest, Scope::Admin] {
            let denied = asked(scope, ("x-api-key", "pulse_sk_read")).await;
            assert_eq!(denied, Err(Denied::NotAllowed(scope)));
        }
        for wrong in ["pulse_sk_other", "sk-of-another", ""] {
            let denied = asked(Scope::Read, ("x-pulsekit-key", wrong)).await;
            assert_eq!(denied, Err(Denied::Unknown), "{wrong}");
        }
        let proxied = asked(Scope::Read, ("authorization", "Basic YTpi")).await;
        assert_eq!(proxied.is_ok(), is_open);
    }
}

// Scenario: requests without a key under names of this machine, and of others.
// Guarantees: a page whose name points here reads nothing; with a key, or where the configuration
// opens the listener, names don't matter; telemetry is taken under every name.
#[tokio::test]
async fn names_of_other_machines_are_not_answered() {
    let case = Case::new().await;
    let under = async |gate: &Gate, host: &'static str, uri: &'static str| {
        let mut headers = HeaderMap::new();
        if !host.is_empty() {
            headers.insert(header::HOST, HeaderValue::from_static(host));
        }
        let scope = match gate.purpose {
            Purpose::Read => Scope::Read,
            Purpose::Ingest => Scope::Ingest,
        };
        gate.admit(&headers, &Uri::from_static(uri), scope)
            .await
            .map(|_| ())
    };
    let gate = case.gate(Purpose::Read, true, false);
    for host in [
        "localhost:3000",
        "LOCALHOST",
        "127.0.0.1:3000",
        "127.1.2.3",
        "[::1]:3000",
        "",
    ] {
        assert_eq!(under(&gate, host, "/").await, Ok(()), "{host}");
    }
    for host in [
        "evil.com",
        "localhost.evil.com:3000",
        "10.0.0.1",
        "::1",
        "a b",
    ] {
        assert_eq!(
            under(&gate, host, "/").await,
            Err(Denied::ForeignHost),
            "{host}"
        );
    }
    assert_eq!(
        under(&gate, "", "http://evil.com/").await,
        Err(Denied::ForeignHost)
    );
    assert_eq!(under(&gate, "", "http://localhost:3000/").await, Ok(()));
    let twice = under(&gate, "evil.com", "http://localhost/").await;
    assert_eq!(twice, Err(Denied::ForeignHost));
    assert_eq!(
        under(&case.gate(Purpose::Read, true, true), "evil.com", "/").await,
        Ok(())
    );
    assert_eq!(
        under(&case.gate(Purpose::Ingest, true, false), "collector", "/").await,
        Ok(())
    );
}

// Scenario: a proxy on this machine passes requests without a credential on, before there is any key.
// Guarantees: they may be anybody's, and need one; what the configuration opens stays open.
#[tokio::test]
async fn who_comes_through_a_proxy_is_not_local() {
    let case = Case::new().await;
    for name in ["x-forwarded-for", "x-forwarded-host", "forwarded"] {
        for (purpose, scope) in [
            (Purpose::Ingest, Scope::Ingest),
            (Purpose::Read, Scope::Admin),
        ] {
            let gate = case.gate(purpose, true, false);
            assert!(ask(&gate, scope, None).await.is_ok());
            let through = ask(&gate, scope, Some((name, "198.51.100.7"))).await;
            assert_eq!(through.unwrap_err(), Denied::Missing, "{name}");
        }
        let open = case.gate(Purpose::Ingest, true, true);
        let through = ask(&open, Scope::Ingest, Some((name, "198.51.100.7"))).await;
        assert_eq!(through.unwrap().scopes, Scopes::NONE.with(Scope::Ingest));
    }
}
