//! What holds for all routes of Pulse (§1), the check of a key (§2.5), and what needs none (§2.6).

use super::{KEY, NOT_FOUND, PLAIN, error, people, pulse};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, ask, get, post};

/// Data routes that need a key.
const ROUTES: [(&str, &str); 14] = [
    ("GET", "/v1/traces"),
    ("POST", "/v1/traces"),
    ("POST", "/v1/traces/batch"),
    ("POST", "/v1/traces/async"),
    ("GET", "/v1/traces/x"),
    ("GET", "/v1/sessions/x"),
    ("GET", "/v1/sessions/x/spans"),
    ("GET", "/v1/spans"),
    ("POST", "/v1/spans/batch"),
    ("POST", "/v1/spans/async"),
    ("GET", "/v1/spans/x"),
    ("GET", "/v1/analytics"),
    ("GET", "/v1/analytics/spans"),
    ("HEAD", "/v1/spans"),
];

fn nothing(rule: &str, method: &'static str, path: &str) -> Row {
    let row = ask(method, format!("{rule}: {method} {path}"), path);
    row.is(404, NOT_FOUND).tells("content-type", PLAIN)
}

// Scenario: every data route with headers that are no key, and with a body that is none either.
// Guarantees: 401 before the body is read; which words depends on the header alone.
fn a_key_is_asked_for_before_all_else(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = pulse(&daemon);
    let missing = error("Missing or invalid Authorization header");
    let mut rows = Vec::new();
    for (method, path) in ROUTES.iter().filter(|(method, _)| *method != "HEAD") {
        let row = |rule: &str| ask(method, format!("{rule}: {path}"), *path).body("{");
        rows.push(row("no header").without("authorization").is(401, &*missing));
        for (rule, header) in [
            ("empty header", ""),
            ("no key", "Bearer"),
            ("a key without a scheme", "pulse_sk_x"),
            ("lower-case scheme", "bearer pulse_sk_x"),
            ("two spaces", "Bearer  pulse_sk_x"),
            ("three words", "Bearer pulse_sk_x y"),
            ("another scheme", "Basic pulse_sk_x"),
        ] {
            rows.push(row(rule).with("authorization", header).is(401, &*missing));
        }
        let unknown = row("unknown key").with("authorization", "Bearer other");
        rows.push(unknown.is(401, error("Invalid API key")));
    }
    table.check(rows);
}

// Scenario: routes that there are not, with every method; methods that routes have not; HEAD; bodies of
// any type; routes that need no key.
// Guarantees: 404 in plain words, never 405; HEAD is GET without the body; types of bodies don't count.
fn routes_and_methods_are_those_of_the_contract(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let mut rows = Vec::new();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for path in [
            "/v1/nothing",
            "/v1/traces/x/y",
            "/dashboard/api/nothing",
            "/api/auth/nothing",
        ] {
            rows.push(nothing("no such route", method, path));
        }
    }
    rows.push(nothing("no such route below /api/", "GET", "/api/nothing"));
    for (method, path) in [
        ("PUT", "/v1/traces"),
        ("DELETE", "/v1/traces"),
        ("PATCH", "/v1/traces/batch"),
        ("POST", "/v1/traces/x"),
        ("POST", "/v1/spans"),
        ("DELETE", "/v1/spans/x"),
        ("POST", "/v1/analytics"),
        ("POST", "/v1/sessions/x"),
        ("GET", "/v1/auth/login"),
        ("GET", "/dashboard/api/signup"),
        ("PUT", "/dashboard/api/projects"),
        ("POST", "/api/auth/get-session"),
        ("GET", "/api/auth/sign-in/email"),
        ("POST", "/health"),
    ] {
        rows.push(nothing("wrong method", method, path).hides("allow"));
    }
    let planned = ask("POST", "planned, never mounted", "/admin/projects").status(404);
    rows.push(planned.tells("content-type", "application/problem+json"));
    for path in ["/health", "/v1/traces", "/v1/spans"] {
        rows.push(ask("HEAD", "HEAD is GET without a body", path).is(200, ""));
    }
    rows.push(ask("HEAD", "HEAD of what is not there", "/v1/traces/none").is(404, ""));
    for content_type in [
        "text/plain",
        "application/xml",
        "application/json; charset=utf-8",
    ] {
        let row = post("any type of body is JSON", "/v1/traces/batch", "[]");
        rows.push(
            row.with("content-type", content_type)
                .is(202, r#"{"count":0,"traces":[]}"#),
        );
    }
    rows.push(
        post("a body without a type", "/v1/spans/async", "[]")
            .is(202, r#"{"status":"queued","count":0}"#),
    );
    let large = "x".repeat((64 << 20) + 1);
    let row = post("a body may have 64 MiB", "/v1/traces/batch", large);
    rows.push(row.is(413, error("Request body too large")));
    let row = get(
        "the project is the key's, whatever a header says",
        "/v1/spans",
    );
    rows.push(
        row.with("x-project-id", "99")
            .is(200, r#"{"spans":[],"total":0,"limit":100,"offset":0}"#),
    );
    pulse(&daemon).check(rows);
}

// Scenario: the health, the check of keys, and the dashboard where none is built, without a key.
// Guarantees: the words of the contract.
fn what_needs_no_key_needs_none(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let login = |rule: &str| post(rule, "/v1/auth/login", "");
    let valid = |valid: bool| format!(r#"{{"authenticated":{valid}}}"#);
    people(&daemon).check([
        get("health", "/health").is(200, r#"{"status":"ok","service":"pulse"}"#),
        login("no key is not authenticated").is(200, valid(false)),
        login("a malformed header")
            .with("authorization", "pulse_sk_x")
            .is(200, valid(false)),
        login("an unknown key")
            .with("authorization", "Bearer other")
            .is(200, valid(false)),
        login("a key")
            .with("authorization", KEY)
            .is(200, valid(true)),
        get("no dashboard is built", "/").starts(404, "Pulse dashboard assets were not found."),
        get("nor a page of it", "/traces").starts(404, "Pulse dashboard assets were not found."),
    ]);
}

// Scenario: pages of an origin that is named, and of others.
// Guarantees: on the routes of cookies, and there only, the headers of the contract; who is named is
// echoed.
fn pages_of_named_origins_may_read(store: Store) {
    let named = ("gateway.allowed_origins", "[https://board.example]");
    let daemon = Daemon::spawn_on(store, &[named]);
    let mut rows = Vec::new();
    for path in ["/api/auth/get-session", "/dashboard/api/projects"] {
        for (rule, origin, is_named) in [
            ("a named origin", "https://board.example", true),
            ("another port", "https://board.example:8443", false),
            ("another origin", "https://evil.example", false),
            ("a star", "*", false),
        ] {
            let told = |row: Row| {
                let row = row.with("origin", origin);
                let row = row.tells("access-control-allow-credentials", "true");
                if is_named {
                    row.tells("access-control-allow-origin", origin)
                } else {
                    row.hides("access-control-allow-origin")
                }
            };
            let asked = told(ask("OPTIONS", format!("preflight: {rule}"), path))
                .with("access-control-request-method", "POST")
                .tells("access-control-allow-methods", "POST,GET,DELETE,OPTIONS")
                .tells(
                    "access-control-allow-headers",
                    "Content-Type,Authorization,X-Project-Id",
                );
            rows.push(asked.is(204, ""));
            let status = if path.ends_with("projects") { 401 } else { 200 };
            rows.push(told(get(rule, path)).status(status));
        }
    }
    let data = get("routes of keys have no such rules", "/v1/spans");
    let data = data
        .with("origin", "https://board.example")
        .with("authorization", KEY);
    rows.push(
        data.hides("access-control-allow-credentials")
            .hides("access-control-allow-origin"),
    );
    people(&daemon).check(rows);
}

on_both_stores! {
    a_key_is_asked_for_before_all_else,
    routes_and_methods_are_those_of_the_contract,
    what_needs_no_key_needs_none,
    pages_of_named_origins_may_read,
}
