//! The people of two tenants: neither sees anything of the other's project.

use super::*;
use crate::gateway::pulse::{Needs, PEOPLE_ROUTES};
use crate::gateway::tests::people::{PASSWORD, cheap_hash};
use crate::model::access::Role;
use crate::storage::access::User;

/// What the people of two tenants are signed in with, and the store they are in.
struct SignedIn {
    access: Arc<SqliteAccess>,
    gates: Gates,
    cookies: Vec<(Tenant, String)>,
}

impl SignedIn {
    async fn ask(&self, store: &Store, request: Request<Body>) -> http::Response<Body> {
        let state = State {
            gate: gate(&self.gates),
            access: Arc::<SqliteAccess>::clone(&self.access),
            issues: Arc::clone(&store.issues),
            reader: Arc::clone(&store.reader),
            settings: Arc::clone(&store.settings),
            config: Config::default(),
            prices: prices(),
            ingest: None,
            metrics: Metrics::new().unwrap(),
            tasks: drained(),
        };
        router(state).oneshot(request).await.unwrap()
    }

    /// One person for each tenant, an admin there.
    async fn new(store: &Store) -> Self {
        let mut signed_in = Self {
            access: Arc::new(SqliteAccess::in_memory()),
            gates: testing::gates(&auth::Config::default()).1,
            cookies: Vec::new(),
        };
        let change = || Change {
            by: "a test".to_owned(),
            at_unix_nano: 1,
        };
        for number in 2..=BETA.project.0 {
            let made = signed_in
                .access
                .create_project(format!("p{number}"), change());
            assert_eq!(made.await.unwrap().unwrap().id.0, number);
        }
        for tenant in [ALPHA, BETA] {
            let id = format!("id of {}", tenant.name);
            let user = User {
                id: id.clone(),
                email: format!("{}@x.org", tenant.name),
                name: tenant.name.to_owned(),
                created_unix_nano: 1,
            };
            let hash = cheap_hash();
            let created = signed_in.access.create_user(user, hash, change());
            created.await.unwrap().unwrap();
            let role = Role::Admin;
            let set = signed_in
                .access
                .set_member(tenant.project, id, role, change());
            set.await.unwrap().unwrap();
            let body = format!(
                r#"{{"email":"{}@x.org","password":"{PASSWORD}"}}"#,
                tenant.name
            );
            let asked = Request::post("/api/auth/sign-in/email").body(Body::from(body));
            let answer = signed_in.ask(store, asked.unwrap()).await;
            let cookie = answer.headers()[http::header::SET_COOKIE].to_str().unwrap();
            let cookie = cookie.split(';').next().unwrap().to_owned();
            signed_in.cookies.push((tenant, cookie));
        }
        signed_in
    }

    /// Asks as a person about a project.
    async fn get(
        &self,
        store: &Store,
        cookie: &str,
        project: ProjectId,
        uri: &str,
    ) -> (u16, String) {
        let asked = Request::get(uri)
            .header("host", "localhost")
            .header("cookie", cookie)
            .header("x-project-id", project.to_string());
        let answer = self.ask(store, asked.body(Body::empty()).unwrap()).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }
}

/// Addresses of a route of the dashboard that are about a tenant.
fn dashboard_addresses(tenant: Tenant, path: &str) -> Vec<String> {
    let dates = "date_from=2020-01-01T00:00:00Z&date_to=2090-01-01T00:00:00Z";
    let (trace, span) = (trace_id(tenant.own_trace), conformance::span_id(1));
    let session = tenant.word("session");
    if path.ends_with("/traces/{id}") {
        vec![path.replace("{id}", &trace.to_string())]
    } else if path.contains("/sessions/") {
        vec![path.replace("{id}", &session)]
    } else if path.ends_with("/spans/{id}") {
        vec![path.replace("{id}", &span.to_string())]
    } else {
        let (service, model) = (tenant.word("service"), tenant.word("model"));
        vec![
            format!("{path}?{dates}"),
            format!("{path}?{dates}&service={service}"),
            format!("{path}?{dates}&model={model}&trace_id={trace}"),
        ]
    }
}

// Scenario: the people of two tenants ask every route of the dashboard, and every list of the API,
// with their cookie, by their own ids and by the other's, and name the other's project.
// Guarantees: each finds its own; no answer has a word or an id of the other, and the other's project
// is refused.
fn people_keep_to_their_own(mut store: Store) {
    for tenant in [ALPHA, BETA] {
        tenant.fill(&mut store);
    }
    let signed_in = runtime().block_on(SignedIn::new(&store));
    let dashboard = PEOPLE_ROUTES
        .iter()
        .filter(|route| matches!(route.needs, Needs::Member | Needs::Admin | Needs::Person))
        .filter(|route| route.route.methods.contains(&"GET"))
        .map(|route| route.route.path);
    let native = [
        "/api/v1/traces",
        "/api/v1/spans",
        "/api/v1/services",
        "/api/v1/keys",
        "/api/v1/audit",
    ];
    for path in dashboard.chain(native) {
        let mut finds_own = false;
        for ((one, cookie), other) in signed_in.cookies.iter().zip([BETA, ALPHA]) {
            let own_trace = trace_id(other.own_trace).to_string();
            let secrets = [other.name.to_owned(), own_trace];
            let ask = |project, uri: &str| {
                let asked = signed_in.get(&store, cookie, project, uri);
                let (status, body) = runtime().block_on(asked);
                for secret in &secrets {
                    assert!(!body.contains(secret), "{uri}: {body}");
                }
                (status, body)
            };
            let is_dashboard = path.starts_with("/dashboard");
            let (own, others) = if is_dashboard {
                (
                    dashboard_addresses(*one, path),
                    dashboard_addresses(other, path),
                )
            } else {
                (vec![path.to_owned()], vec![path.to_owned()])
            };
            for uri in &own {
                let (status, body) = ask(one.project, uri);
                assert_eq!(status, 200, "{uri}: {body}");
                finds_own |= body.contains(one.name);
            }
            for uri in &others {
                let (status, body) = ask(one.project, uri);
                let is_found = status == 200 || status == 404;
                assert!(is_found, "{uri}: {status} {body}");
                if path != "/dashboard/api/projects" {
                    assert_eq!(ask(other.project, uri).0, 403, "{uri}");
                }
            }
        }
        let tells_names =
            !path.contains("analytics") && !path.ends_with("keys") && !path.ends_with("projects");
        assert!(finds_own || !tells_names, "{path}");
    }
}

#[test]
fn people_keep_to_their_own_on_sqlite() {
    people_keep_to_their_own(sqlite());
}

#[test]
fn people_keep_to_their_own_on_postgres() {
    people_keep_to_their_own(postgres());
}
