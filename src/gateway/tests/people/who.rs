//! Who may ask what, for every route there is; and from which pages.

use super::*;
use crate::gateway::pulse::{Needs, PEOPLE_ROUTES, PeopleRoute};
use crate::gateway::routes::ROUTES;

fn paths() -> impl Iterator<Item = (&'static PeopleRoute, String)> {
    PEOPLE_ROUTES
        .iter()
        .map(|route| (route, route.route.path.replace("{id}", "x")))
}

/// A person with each role in project 2, and one of project 3.
async fn staffed() -> Case {
    // Lists of the stub never end.
    let config = Config {
        query_timeout: Duration(std::time::Duration::from_millis(200)),
        ..Config::default()
    };
    let case = Case::with(&AuthConfig::default(), config, true);
    case.project("shop").await;
    case.project("other").await;
    case.person("ada", &[(2, Role::Admin)]).await;
    case.person("bob", &[(2, Role::Member)]).await;
    case.person("vic", &[(2, Role::Viewer)]).await;
    case.person("eve", &[(3, Role::Admin)]).await;
    case
}

// Scenario: every route with every method, by nobody.
// Guarantees: the methods of the table are served, HEAD beside GET, and all others are nothing that
// is served, as are other paths.
#[tokio::test]
async fn the_table_is_what_is_served() {
    let case = Case::new();
    for (route, path) in paths() {
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            let told = case.ask(method, &path, &[], "").await;
            let served = route.route.methods;
            if served.contains(&name) || name == "HEAD" && served.contains(&"GET") {
                assert_ne!(told.status, 404, "{name} {path}");
                continue;
            }
            assert_eq!(told.status, 404, "{name} {path}");
            let expected = if name == "HEAD" { "" } else { "404 Not Found" };
            assert_eq!(told.body, expected, "{name} {path}");
            assert_eq!(told.headers["content-type"], "text/plain; charset=UTF-8");
            assert!(!told.headers.contains_key("allow"));
        }
    }
    for path in [
        "/api/auth/nothing",
        "/api/auth/",
        "/dashboard/api/nothing",
        "/dashboard/api/traces/a/b",
    ] {
        case.get(path, &[]).await.is(404, "404 Not Found");
    }
}

// Scenario: every route is asked without a cookie, with a key, without a project, for another
// project, and by every role.
// Guarantees: each is refused in the older servers' words, before the store is asked for data or the
// body is read; whoever may, may.
#[tokio::test]
async fn only_who_may_is_let_in() {
    let case = staffed().await;
    let mut cookies = Vec::new();
    for name in ["ada", "bob", "vic", "eve"] {
        cookies.push(case.cookie(name).await);
    }
    let [ada, bob, vic, eve] = &cookies[..] else {
        panic!("four cookies");
    };
    for (route, path) in paths().filter(|(route, _)| route.needs != Needs::Nobody) {
        for method in route.route.methods {
            let is_question = *method == "GET";
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let ask =
                async |headers: &[(&str, &str)]| case.ask(method.clone(), &path, headers, "").await;
            ask(&[]).await.error(401, "Unauthorized");
            let key = [
                ("authorization", "Bearer pulse_sk_x"),
                ("x-project-id", "2"),
            ];
            ask(&key).await.error(401, "Unauthorized");
            if route.needs == Needs::Person {
                assert!(![401, 403].contains(&ask(&[("cookie", bob)]).await.status));
                continue;
            }
            for headers in [
                &[("cookie", ada.as_str())][..],
                &[("cookie", ada), ("x-project-id", "")],
            ] {
                ask(headers).await.error(400, "Missing X-Project-Id header");
            }
            for (cookie, project) in [(eve, "2"), (ada, "3"), (ada, "9"), (ada, "shop")] {
                let told = ask(&[("cookie", cookie), ("x-project-id", project)]).await;
                told.error(403, "Forbidden: no access to this project");
            }
            let needs_admin = route.needs == Needs::Admin;
            for (cookie, may) in [
                (ada, true),
                (bob, !needs_admin),
                (vic, !needs_admin && is_question),
            ] {
                let told = ask(&[("cookie", cookie), ("x-project-id", "2")]).await;
                if may {
                    assert!(
                        ![401, 403].contains(&told.status),
                        "{method} {path}: {}",
                        told.body
                    );
                } else if needs_admin {
                    told.error(403, "Forbidden: admin role required for this operation");
                } else {
                    told.error(403, "Forbidden: this role does not allow it");
                }
            }
        }
    }
    let projects = case.stub.projects_asked();
    assert!(!projects.is_empty() && projects.iter().all(|project| project.0 == 2));
}

// Scenario: pages of other sites ask every route that changes something, with a good cookie.
// Guarantees: nothing is done; pages of our own origin, of an allowed one, and other programs may.
#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let config = Config {
        allowed_origins: vec!["https://board.example".to_owned()],
        ..Config::default()
    };
    let case = Case::with(&AuthConfig::default(), config, true);
    case.person("ada", &[(1, Role::Admin)]).await;
    let cookie = case.cookie("ada").await;
    let before = case.audit().await;
    let foreign = [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    let changing = paths().flat_map(|(route, path)| {
        let methods = route
            .route
            .methods
            .iter()
            .filter(|method| **method != "GET");
        methods.map(move |method| (path.clone(), *method))
    });
    for (path, method) in changing {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for header in foreign {
            let headers = [("cookie", cookie.as_str()), ("x-project-id", "1"), header];
            let told = case.ask(method.clone(), &path, &headers, "{}").await;
            let error = if path.starts_with("/api/auth/") {
                "Invalid origin"
            } else {
                "Forbidden: the request comes from a page of another site"
            };
            assert_eq!(told.status, 403, "{method} {path}: {}", told.body);
            assert!(told.body.contains(error), "{}", told.body);
            assert!(told.cookies().is_empty());
        }
    }
    assert_eq!(case.audit().await, before);
    for header in [
        ("origin", "http://localhost:3000"),
        ("origin", "https://board.example"),
        ("sec-fetch-site", "same-origin"),
        ("user-agent", "curl"),
    ] {
        let headers = [("cookie", cookie.as_str()), ("x-project-id", "1"), header];
        let told = case.post("/dashboard/api/api-keys", &headers, "{}").await;
        assert_eq!(told.status, 201, "{header:?}: {}", told.body);
    }
    let headers = [
        ("cookie", cookie.as_str()),
        foreign[0],
        ("content-type", "application/json"),
    ];
    let body = r#"{"name":"k","scopes":["read"]}"#;
    let native = case.post("/api/v1/keys", &headers, body).await;
    assert_eq!(
        (native.status, &native.json()["code"]),
        (403, &"forbidden".into())
    );
}

// Scenario: preflights and questions of pages of other origins, allowed and not.
// Guarantees: the headers are the older servers'; only an origin that is named may read.
#[tokio::test]
async fn other_origins_are_named_or_refused() {
    let config = Config {
        allowed_origins: vec!["https://board.example".to_owned(), "*".to_owned()],
        ..Config::default()
    };
    let case = Case::with(&AuthConfig::default(), config, true);
    for (origin, allowed) in [
        ("https://board.example", true),
        ("https://board.example:8443", false),
        ("https://evil.example", false),
        ("*", false),
    ] {
        for path in [
            "/api/auth/get-session",
            "/dashboard/api/projects",
            "/api/auth/x",
        ] {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
            ];
            let preflight = case.ask(Method::OPTIONS, path, &headers, "").await;
            assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
            let told = |name: &str| preflight.headers.get(name).map(|it| it.to_str().unwrap());
            assert_eq!(
                told("access-control-allow-methods"),
                Some("POST,GET,DELETE,OPTIONS")
            );
            let names = "Content-Type,Authorization,X-Project-Id";
            assert_eq!(told("access-control-allow-headers"), Some(names));
            let question = case.get(path, &headers[..1]).await;
            for answer in [&preflight, &question] {
                let told = |name: &str| answer.headers.get(name).map(|it| it.to_str().unwrap());
                assert_eq!(told("access-control-allow-credentials"), Some("true"));
                assert_eq!(
                    told("access-control-allow-origin"),
                    allowed.then_some(origin)
                );
                assert_eq!(told("vary"), Some("Origin"));
            }
        }
        let native = case.get("/api/v1/health", &[("origin", origin)]).await;
        assert!(
            !native
                .headers
                .contains_key("access-control-allow-credentials")
        );
    }
}

// Scenario: people of every role use the routes of the API with their cookie, in the project they
// name and in their only one.
// Guarantees: they may what their role allows, there and nowhere else; admins of the first project
// are operators, of others not.
#[tokio::test]
async fn cookies_are_good_for_the_api() {
    let case = staffed().await;
    case.person("sam", &[(2, Role::Viewer), (3, Role::Member)])
        .await;
    case.person("ops", &[(1, Role::Admin)]).await;
    case.person("new", &[]).await;
    let ask = async |name: &str, project: &str, uri: &str| {
        let cookie = case.cookie(name).await;
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend((!project.is_empty()).then_some(("x-project-id", project)));
        let told = case.get(uri, &headers).await;
        (
            told.status,
            told.json()["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    for route in ROUTES
        .iter()
        .filter(|route| route.path.starts_with("/api/v1/traces"))
    {
        let uri = uri_of(route.path);
        for name in ["ada", "bob", "vic"] {
            assert_eq!(ask(name, "", &uri).await, is(200, ""), "{name}");
            assert_eq!(ask(name, "2", &uri).await, is(200, ""));
            assert_eq!(ask(name, "3", &uri).await, is(403, "forbidden"));
        }
        assert_eq!(ask("sam", "", &uri).await, is(400, "invalid_request"));
        assert_eq!(ask("new", "", &uri).await, is(400, "invalid_request"));
        assert_eq!(ask("sam", "3", &uri).await, is(200, ""));
    }
    let asked = case.stub.projects_asked();
    assert!(
        asked.iter().all(|project| [2, 3].contains(&project.0)),
        "{asked:?}"
    );
    assert_eq!(ask("ada", "", "/api/v1/keys").await, is(200, ""));
    assert_eq!(ask("bob", "", "/api/v1/keys").await, is(403, "forbidden"));
    let cookie = case.cookie("ada").await;
    let listed = case
        .get("/api/v1/projects", &[("cookie", &cookie)])
        .await
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let cookie = case.cookie("ops").await;
    let listed = case
        .get("/api/v1/projects", &[("cookie", &cookie)])
        .await
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    let no_cookie = case.get("/api/v1/traces", &[("cookie", "a=b")]).await;
    assert_eq!(no_cookie.status, 401);
    // Routes for keys are for keys.
    let headers = [("cookie", cookie.as_str()), ("x-project-id", "1")];
    let told = case.get("/v1/traces", &headers).await;
    told.error(401, "Missing or invalid Authorization header");
}
