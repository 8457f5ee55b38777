//! People: they sign up, make keys, read what the keys sent, and stay signed in over kills and at
//! every daemon of a database. No log tells a secret.

mod agent_sessions;
mod contract;

use std::time::Duration;

use serde_json::json;

use crate::cluster::Cluster;
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http::{self, Response};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser that keeps one cookie.
struct Browser<'d> {
    daemon: &'d Daemon,
    cookie: String,
    project: String,
}

impl<'d> Browser<'d> {
    fn new(daemon: &'d Daemon) -> Self {
        Self {
            daemon,
            cookie: String::new(),
            project: String::new(),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let address = self.daemon.addresses().gateway;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        head.push_str(&format!(
            "origin: http://{address}\r\nuser-agent: a browser\r\n"
        ));
        for (name, value) in [("cookie", &self.cookie), ("x-project-id", &self.project)] {
            if !value.is_empty() {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        http::exchange(address, head.as_bytes()).unwrap()
    }

    fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "")
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Response {
        self.ask("POST", path, &body.to_string())
    }

    fn sign_up(&self, name: &str) -> Response {
        let body = json!({"name": name, "email": format!("{name}@x.org"), "password": PASSWORD,
            "projectName": format!("{name}'s")});
        self.post("/dashboard/api/signup", &body)
    }

    fn sign_in(&mut self, name: &str) -> Response {
        let body = json!({"email": format!("{name}@x.org"), "password": PASSWORD});
        let answer = self.post("/api/auth/sign-in/email", &body);
        self.keep(&answer);
        answer
    }

    /// Keeps the cookie of an answer.
    fn keep(&mut self, answer: &Response) {
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
    }

    fn email(&self) -> Option<String> {
        let answer = self.get("/api/auth/get-session");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["user"]["email"].as_str().map(str::to_owned)
    }
}

/// Sends a span with a key as the older servers' command line does.
fn send(daemon: &Daemon, key: &str, span: &str) -> Response {
    let spans = json!([{"span_id": span, "session_id": "s-1", "timestamp": "2026-01-05T10:00:00Z",
        "source": "claude_code", "kind": "tool_use", "event_type": "post_tool_use",
        "status": "success", "tool_name": "Bash", "trace_id": "t-1"}]);
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let path = "/v1/spans/batch";
    http::post(
        daemon.addresses().gateway,
        path,
        &headers,
        spans.to_string().as_bytes(),
    )
    .unwrap()
}

// Scenario: the older servers' set-up, call by call: nobody is known, somebody signs up and in,
// finds the project, makes a key, sends with it and reads with the cookie; another person does the
// same. The daemon is killed and started again, and people sign out. The log is at its most talkative.
// Guarantees: each sees their own; sessions are kept over the kill and end with the sign-out; no
// secret is in the log.
fn people_read_what_their_keys_send(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[("service.telemetry.logs.level", "debug")]);
    let mut secrets = vec![PASSWORD.to_owned()];
    let mut cookies = Vec::new();
    {
        let mut stranger = Browser::new(&daemon);
        assert_eq!(stranger.get("/health").status, 200);
        let unknown = stranger.sign_in("ada");
        assert_eq!(unknown.status, 401, "{}", unknown.text());
        for name in ["ada", "bob"] {
            let mut browser = Browser::new(&daemon);
            let signed_up = browser.sign_up(name);
            let told = (signed_up.status, signed_up.text());
            assert_eq!(told, (201, r#"{"success":true}"#.to_owned()));
            let signed_in = browser.sign_in(name);
            assert_eq!(signed_in.status, 200, "{}", signed_in.text());
            secrets.push(signed_in.json()["token"].as_str().unwrap().to_owned());
            let projects = browser.get("/dashboard/api/projects").json();
            assert_eq!(projects["projects"].as_array().unwrap().len(), 1);
            assert_eq!(projects["projects"][0]["name"], format!("{name}'s"));
            browser.project = projects["projects"][0]["id"].as_str().unwrap().to_owned();
            let made = browser.post("/dashboard/api/api-keys", &json!({"name": "cli"}));
            let key = made.json()["apiKey"].as_str().unwrap().to_owned();
            let sent = send(&daemon, &key, &format!("span-of-{name}"));
            assert_eq!(sent.status, 202, "{}", sent.text());
            secrets.push(key);
            cookies.push((name, browser.cookie, browser.project));
        }
    }
    let mut log = daemon.process.output();
    daemon.process.kill9();
    daemon.restart();
    for (name, cookie, project) in &cookies {
        let mut browser = Browser::new(&daemon);
        (browser.cookie, browser.project) = (cookie.clone(), project.clone());
        assert_eq!(browser.email(), Some(format!("{name}@x.org")));
        for path in ["/dashboard/api/spans", "/dashboard/api/sessions/s-1/spans"] {
            let found = eventually(path, PATIENCE, || {
                let answer = browser.get(path);
                answer.text().contains("span-of-").then(|| answer.text())
            });
            assert!(found.contains(&format!("span-of-{name}")), "{found}");
            assert_eq!(found.matches("span-of-").count(), 1, "{found}");
        }
        assert_eq!(
            browser.get("/api/v1/traces").json()["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let keys = browser.get("/dashboard/api/api-keys");
        assert_eq!(keys.json()["keys"].as_array().unwrap().len(), 2);
        let theirs = if project == "2" { "3" } else { "2" };
        browser.project = theirs.to_owned();
        assert_eq!(browser.get("/dashboard/api/spans").status, 403);
        browser.project = project.clone();

        let body = json!({"redirect_url": "http://localhost:1/", "email": format!("{name}@x.org"),
            "password": PASSWORD});
        let link = browser
            .post("/dashboard/api/local-login-token", &body)
            .json();
        let url = link["login_url"].as_str().unwrap();
        let path = &url[url.find("/dashboard").unwrap()..];
        secrets.push(url.rsplit('=').next().unwrap().to_owned());
        let mut other = Browser::new(&daemon);
        let sent_on = other.get(path);
        assert_eq!(sent_on.status, 302, "{}", sent_on.text());
        other.keep(&sent_on);
        assert_eq!(other.email(), Some(format!("{name}@x.org")));
        assert_eq!(browser.ask("POST", "/api/auth/sign-out", "{}").status, 200);
        assert_eq!(browser.email(), None);
        assert_eq!(browser.get("/dashboard/api/projects").status, 401);
        assert_eq!(other.email(), Some(format!("{name}@x.org")));
    }
    log.push_str(&daemon.process.output());
    assert_eq!(log.matches("listening").count(), 8, "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret}: {log}");
    }
}

on_both_stores! {
    people_read_what_their_keys_send,
}

// Scenario: two daemons on one database; somebody signs up at one, uses their session at the other,
// changes their password there, and signs out at the first.
// Guarantees: what is done at one holds at the other at once.
#[test]
fn a_session_is_good_at_every_daemon() {
    let cluster = Cluster::new(&[]);
    let daemons = [cluster.start("all"), cluster.start_apart("all")];
    let mut here = Browser::new(&daemons[0]);
    let mut there = Browser::new(&daemons[1]);
    assert_eq!(here.sign_up("ada").status, 201);
    assert_eq!(here.sign_in("ada").status, 200);
    there.cookie = here.cookie.clone();
    assert_eq!(there.email().as_deref(), Some("ada@x.org"));
    let body = json!({"currentPassword": PASSWORD, "newPassword": "another horse"});
    let changed = there.post("/api/auth/change-password", &body);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(here.email(), None);
    there.keep(&changed);
    here.cookie = there.cookie.clone();
    assert_eq!(here.email().as_deref(), Some("ada@x.org"));
    assert_eq!(here.sign_in("ada").status, 401);
    assert_eq!(here.ask("POST", "/api/auth/sign-out", "").status, 200);
    assert_eq!(there.email(), None);
}

// Scenario: a gateway that others reach, with nobody known yet.
// Guarantees: strangers don't sign up.
#[test]
fn strangers_do_not_sign_up_at_a_reachable_gateway() {
    let reachable = |setup: crate::daemon::Setup| {
        let port = setup.addresses.gateway.port();
        setup.set("gateway.endpoint", &format!("0.0.0.0:{port}"))
    };
    let daemon = Daemon::spawn_as(reachable, &[]);
    let browser = Browser::new(&daemon);
    let refused = browser.sign_up("eve");
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(refused.text(), r#"{"error":"Sign-up is closed"}"#);
}

// Scenario: the gateway has cross-origin rules for the API and an origin that may use cookies; pages
// of both ask the API, the dashboard, and the routes of other SDKs.
// Guarantees: what is allowed for keys is not allowed for cookies; TracePulse lets every page,
// PulseBoard the one that is named.
#[test]
fn rules_for_pages_with_keys_are_not_for_cookies() {
    let rules = ("gateway.cors", "{allowed_origins: [https://a.example]}");
    let named = ("gateway.allowed_origins", "[https://b.example]");
    let daemon = Daemon::spawn(&[rules, named]);
    let ask_from = |origin: &str, path: &str| {
        let gateway = daemon.addresses().gateway;
        http::get_with(gateway, path, &format!("origin: https://{origin}.example")).unwrap()
    };
    let ask = |path: &str| ask_from("a", path);
    let allowed = |answer: &Response| {
        let told = answer.header("access-control-allow-origin");
        told.map(str::to_owned)
    };
    let api = ask("/api/v1/health");
    assert_eq!(allowed(&api).as_deref(), Some("https://a.example"));
    assert_eq!(api.header("access-control-allow-credentials"), None);
    assert_eq!(allowed(&ask("/webhook/event")).as_deref(), Some("*"));
    for path in ["/events", "/dashboard/api/projects"] {
        let answer = ask_from("b", path);
        assert_eq!(allowed(&answer).as_deref(), Some("https://b.example"));
        let may = answer.header("access-control-allow-credentials");
        assert_eq!(may, Some("true"), "{path}");
    }
    for path in [
        "/dashboard/api/projects",
        "/api/auth/get-session",
        "/events",
    ] {
        let answer = ask(path);
        assert_eq!(allowed(&answer), None, "{path}");
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
    }
}
