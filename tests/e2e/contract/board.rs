//! `PulseBoard` (§8): its errors, accounts, projects, events, mobile analytics and the stream.

mod accounts;
mod projects;
mod sdk;
mod tokens;

use serde_json::json;

use super::PASSWORD;
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Table, get, post};

/// Lets the test itself ask whether all is stored, without a key.
const OPEN: &[(&str, &str)] = &[
    ("auth.anonymous_ingest", "true"),
    ("auth.anonymous_read", "true"),
];

fn board(daemon: &Daemon) -> Table {
    let table = Table::new(
        daemon.addresses().gateway,
        "application/json; charset=utf-8",
    );
    table.with("content-type", "application/json")
}

fn refused(message: &str) -> String {
    format!(r#"{{"success":false,"message":"{message}"}}"#)
}

fn invalid(message: &str) -> String {
    let message = json!(message);
    format!(
        r#"{{"statusCode":400,"code":"FST_ERR_VALIDATION","error":"Bad Request","message":{message}}}"#
    )
}

fn missing(field: &str) -> String {
    invalid(&format!("body must have required property '{field}'"))
}

/// Registers somebody; answers their table, with a token.
fn register(table: &Table, name: &str) -> Table {
    let body = json!({"name": name, "email": format!("{name}@x.org"), "password": PASSWORD});
    let answer = table.kept(&post("registering", "/auth/register", body.to_string()).status(201));
    let token = answer.json()["data"]["accessToken"]
        .as_str()
        .unwrap()
        .to_owned();
    table.with("authorization", format!("Bearer {token}"))
}

/// Makes a project; answers its id and its key.
fn project(table: &Table, name: &str) -> (String, String) {
    let body = json!({"name": name}).to_string();
    let data = table
        .kept(&post("a project", "/projects", body).status(201))
        .json()["data"]
        .clone();
    let text = |key: &str| data[key].as_str().unwrap().to_owned();
    (text("id"), text("apiKey"))
}

/// The header of a token with something after it.
fn token_of(table: &Table, more: &str) -> String {
    format!("{}{more}", table.header("authorization").unwrap())
}

// Scenario: pages of an origin that is named and of another.
// Guarantees: the one may read, with credentials.
fn pages_of_one_origin_may_read(store: Store) {
    let named = ("gateway.allowed_origins", "[https://board.example]");
    let daemon = Daemon::spawn_on(store, &[named]);
    let mut rows = Vec::new();
    for path in ["/projects", "/events", "/auth/refresh"] {
        let row = get("a named origin", path).with("origin", "https://board.example");
        let row = row.tells("access-control-allow-origin", "https://board.example");
        let row = row.tells("access-control-allow-credentials", "true");
        let status = match path {
            "/projects" => 401,
            "/events" => 400,
            _ => 404,
        };
        rows.push(row.status(status));
        let row = get("another", path).with("origin", "https://evil.example");
        rows.push(row.hides("access-control-allow-origin").status(status));
    }
    board(&daemon).check(rows);
}

on_both_stores! {
    pages_of_one_origin_may_read,
}
