//! Routes for people through the router, on a store in memory: what they answer, byte by byte.

mod account;
mod board;
mod dashboard;
mod invited;
mod live;
mod local;
mod who;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use http::{HeaderMap, Method, header};

use super::stub::Mood;
use super::*;
use crate::auth::resolver::Openness;
use crate::auth::testing;
use crate::auth::{Config as AuthConfig, Resolver, SignUps};
use crate::model::ProjectId;
use crate::model::access::Role;
use crate::net::listener::Peer;
use crate::storage::access::{CredentialStore, User};

pub(super) const PASSWORD: &str = "correct horse";
/// 2026-01-05T10:00:00Z.
const NOW: u64 = 1_767_607_200_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A gateway with people, and the store they are in.
struct Case {
    access: Arc<SqliteAccess>,
    stub: Arc<Stub>,
    router: Router,
    clock: Arc<AtomicU64>,
}

/// An answer, byte by byte.
struct Told {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Told {
    fn cookies(&self) -> Vec<&str> {
        let cookies = self.headers.get_all(header::SET_COOKIE).iter();
        cookies.map(|cookie| cookie.to_str().unwrap()).collect()
    }

    /// What a browser sends back.
    fn cookie(&self) -> String {
        let [cookie] = self.cookies()[..] else {
            panic!("{:?}: {}", self.headers, self.body);
        };
        cookie.split(';').next().unwrap().to_owned()
    }

    fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
        let json = if body == "404 Not Found" {
            "text/plain; charset=UTF-8"
        } else {
            "application/json"
        };
        assert_eq!(self.headers["content-type"], json);
    }

    fn error(&self, status: u16, error: &str) {
        self.is(status, &format!(r#"{{"error":"{error}"}}"#));
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Hash of [`PASSWORD`] that takes no time.
pub(super) fn cheap_hash() -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hashed = argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"salt of a test");
    hashed.unwrap().to_string()
}

fn change() -> Change {
    Change {
        by: "a test".to_owned(),
        at_unix_nano: NOW,
    }
}

impl Case {
    fn new() -> Self {
        Self::with(&AuthConfig::default(), Config::default(), true)
    }

    fn with(auth: &AuthConfig, config: Config, is_loopback: bool) -> Self {
        Self::on(drained(), auth, config, is_loopback)
    }

    /// One that goes on: who follows something is told of it.
    fn running() -> Self {
        let (tasks, _) = Tasks::new();
        Self::on(tasks, &AuthConfig::default(), Config::default(), true)
    }

    fn on(tasks: Tasks, auth: &AuthConfig, config: Config, is_loopback: bool) -> Self {
        let access = Arc::new(SqliteAccess::in_memory());
        let clock = Arc::new(AtomicU64::new(NOW));
        let credentials: Arc<dyn CredentialStore> = Arc::<SqliteAccess>::clone(&access);
        let now = Arc::clone(&clock);
        let openness = Openness {
            no_keys: false,
            no_users: false,
        };
        let now = Arc::new(move || now.load(Ordering::SeqCst));
        let resolver = Resolver::new(credentials, now, Some(openness));
        let quotas = Arc::new(testing::Keys::default()).quotas(auth.quota.quota());
        let stub = Stub::new(Mood::Well);
        let router = router(State {
            access: Arc::<SqliteAccess>::clone(&access),
            issues: Arc::new(SqliteIssues::in_memory()),
            gate: Gate::new((resolver, quotas), auth, Purpose::Read, is_loopback),
            settings: Arc::<Stub>::clone(&stub),
            reader: Arc::<Stub>::clone(&stub),
            config,
            prices: prices(),
            ingest: None,
            metrics: Metrics::new().unwrap(),
            tasks,
        });
        Self {
            access,
            stub,
            router,
            clock,
        }
    }

    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds * SECOND, Ordering::SeqCst);
    }

    /// Adds a person, and makes them a member.
    async fn person(&self, name: &str, roles: &[(u32, Role)]) {
        let user = User {
            id: format!("id-of-{name}"),
            email: format!("{name}@x.org"),
            name: name.to_owned(),
            created_unix_nano: NOW,
        };
        let created = self.access.create_user(user, cheap_hash(), change()).await;
        created.unwrap().unwrap();
        for (project, role) in roles {
            let id = format!("id-of-{name}");
            let set = self
                .access
                .set_member(ProjectId(*project), id, *role, change());
            set.await.unwrap().unwrap();
        }
    }

    async fn project(&self, name: &str) -> u32 {
        let created = self.access.create_project(name.to_owned(), change()).await;
        created.unwrap().unwrap().id.0
    }

    async fn ask(&self, method: Method, uri: &str, headers: &[(&str, &str)], body: &str) -> Told {
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:3000");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer(([192, 0, 2, 1], 5).into()));
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Told {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, uri: &str, headers: &[(&str, &str)]) -> Told {
        self.ask(Method::GET, uri, headers, "").await
    }

    async fn post(&self, uri: &str, headers: &[(&str, &str)], body: &str) -> Told {
        self.ask(Method::POST, uri, headers, body).await
    }

    async fn sign_in_as(&self, name: &str, password: &str) -> Told {
        let body = format!(r#"{{"email":"{name}@X.org","password":"{password}"}}"#);
        self.post("/api/auth/sign-in/email", &[], &body).await
    }

    /// Signs somebody in; answers the cookie.
    async fn cookie(&self, name: &str) -> String {
        let told = self.sign_in_as(name, PASSWORD).await;
        assert_eq!(told.status, 200, "{}", told.body);
        told.cookie()
    }

    /// What was done, newest first, with who did it.
    async fn audit(&self) -> Vec<(String, String)> {
        let page = crate::storage::PageRequest {
            limit: 100,
            after: None,
        };
        let entries = self.access.audit(None, page).await.unwrap().items;
        let told = entries.into_iter().map(|entry| (entry.by, entry.action));
        told.collect()
    }
}
