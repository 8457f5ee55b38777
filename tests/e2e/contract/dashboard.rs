//! The API of the dashboard (§2.3) and the keys that it makes (§2.5).

use serde_json::{Value, json};

use super::{PASSWORD, error, in_project, people, sign_in};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, Table, ask, get, post};

const PROJECTS: &str = "/dashboard/api/projects";
const KEYS: &str = "/dashboard/api/api-keys";
const USERS: &str = "/dashboard/api/users";
const DONE: &str = r#"{"success":true}"#;

/// Routes for members, and those for admins.
const MEMBERS: [(&str, &str); 12] = [
    ("GET", "/dashboard/api/traces"),
    ("GET", "/dashboard/api/traces/x"),
    ("GET", "/dashboard/api/sessions/x"),
    ("GET", "/dashboard/api/sessions/x/spans"),
    ("GET", "/dashboard/api/analytics"),
    ("GET", "/dashboard/api/analytics/spans"),
    ("GET", "/dashboard/api/spans"),
    ("GET", "/dashboard/api/spans/x"),
    ("GET", "/dashboard/api/agent-sessions"),
    ("POST", "/dashboard/api/spans/batch"),
    ("POST", "/dashboard/api/spans/async"),
    ("POST", "/dashboard/api/traces/batch"),
];
const ADMINS: [(&str, &str); 6] = [
    ("GET", KEYS),
    ("POST", KEYS),
    ("PATCH", "/dashboard/api/api-keys/x"),
    ("DELETE", "/dashboard/api/api-keys/x"),
    ("GET", USERS),
    ("POST", USERS),
];

/// Somebody who is signed in, with the project that they are admin of.
fn admin(table: &Table, name: &str) -> (Table, String) {
    in_project(&sign_in(table, name))
}

/// Lets somebody new into the project of an admin; answers their table there.
fn member(table: &Table, admin: &Table, name: &str, project: &str) -> Table {
    let body = json!({"email": format!("{name}@x.org"), "name": name, "password": PASSWORD});
    admin.kept(&post("somebody is let in", USERS, body.to_string()).status(201));
    let answer = table.kept(&post(
        "signs in",
        "/api/auth/sign-in/email",
        body.to_string(),
    ));
    let cookie = answer.header("set-cookie").unwrap();
    let mine = table.with("cookie", cookie.split(';').next().unwrap());
    mine.with("x-project-id", project)
}

// Scenario: every route without a cookie, with a key or a wrong cookie, without a project, with another's,
// with one that there is not, and by somebody who is no admin.
// Guarantees: 401, 400, 403 in that order and the words of the contract; members read and write data.
fn only_who_may_is_let_in(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = people(&daemon);
    let (ada, project) = admin(&table, "ada");
    let bob = member(&table, &ada, "bob", &project);
    let (_, other) = admin(&table, "eve");
    let mut rows = Vec::new();
    let all = MEMBERS
        .iter()
        .chain(&ADMINS)
        .chain(&[("GET", PROJECTS), ("POST", PROJECTS)]);
    for (method, path) in all.copied() {
        let nobody = |rule: &str| {
            let row = ask(method, format!("{rule}: {method} {path}"), path).without("cookie");
            row.is(401, error("Unauthorized"))
        };
        rows.push(nobody("no cookie"));
        rows.push(nobody("a key is no cookie").with("authorization", super::KEY));
        rows.push(nobody("a forged cookie").with("cookie", "better-auth.session_token=a.b"));
        if path == PROJECTS {
            continue;
        }
        let row = |rule: &str| ask(method, format!("{rule}: {method} {path}"), path);
        let missing = error("Missing X-Project-Id header");
        rows.push(row("no project").without("x-project-id").is(400, &*missing));
        rows.push(
            row("an empty one")
                .with("x-project-id", "")
                .is(400, missing),
        );
        for wrong in [other.as_str(), "99", "shop"] {
            let row = row("not theirs").with("x-project-id", wrong);
            rows.push(row.is(403, error("Forbidden: no access to this project")));
        }
    }
    let needed = error("Forbidden: admin role required for this operation");
    rows.extend(ADMINS.map(|(method, path)| ask(method, "admins only", path).is(403, &*needed)));
    let span = json!([{"span_id": "s", "session_id": "s", "timestamp": "2026-01-05T10:00:00Z",
        "source": "codex", "kind": "tool_use", "event_type": "x", "status": "success"}]);
    rows.extend([
        post(
            "members write",
            "/dashboard/api/spans/batch",
            span.to_string(),
        )
        .status(202),
        get("and read", "/dashboard/api/spans").has("/total", 1),
    ]);
    bob.check(rows);
}

// Scenario: projects are made and listed; bodies that are wrong.
// Guarantees: in the order in which they were made, only one's own; names are trimmed.
fn projects_are_made_and_listed(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = people(&daemon);
    let (ada, first) = admin(&table, "ada");
    admin(&table, "bob");
    let needed = error("Missing required field: name");
    let blank = error("Project name cannot be empty");
    ada.check([
        post("no name", PROJECTS, "{}").is(400, &*needed),
        post("a name that is no text", PROJECTS, r#"{"name":5}"#).is(400, &*needed),
        post("null", PROJECTS, r#"{"name":null}"#).is(400, needed),
        post("a blank name", PROJECTS, r#"{"name":"  "}"#).is(400, &*blank),
        post("an empty one", PROJECTS, r#"{"name":""}"#).is(400, blank),
        post("no JSON", PROJECTS, "{").is(500, error("Internal server error")),
    ]);
    let made = ada.kept(&post("another", PROJECTS, r#"{"name":" blue "}"#).status(201));
    let json = made.json();
    let (id, key) = (&json["projectId"], json["apiKey"].as_str().unwrap());
    assert_eq!(
        made.text(),
        format!(r#"{{"projectId":{id},"apiKey":"{key}","name":"blue"}}"#)
    );
    is_key(key);
    let listed = ada.kept(&get("one's own, in order", PROJECTS));
    let at = |number: usize| listed.json()["projects"][number]["createdAt"].clone();
    let expected = format!(
        r#"{{"projects":[{{"id":"{first}","name":"ada","createdAt":{},"role":"admin"}},{{"id":{id},"name":"blue","createdAt":{},"role":"admin"}}]}}"#,
        at(0),
        at(1)
    );
    assert_eq!(listed.text(), expected);
}

/// Whether a key has the prefix and the length of the older servers' keys; what follows is no UUID but
/// has a checksum.
fn is_key(key: &str) {
    let rest = key.strip_prefix("pulse_sk_").unwrap();
    let is_plain = rest.bytes().all(|it| it.is_ascii_alphanumeric());
    assert!(rest.len() == 36 && is_plain, "{key}");
}

/// What renaming and deleting may be refused for.
fn wrong_keys(path: &str) -> Vec<Row> {
    let rename = |rule: &str, path: &str, body: &str| ask("PATCH", rule, path).body(body);
    let mut rows = vec![rename("no JSON", path, "{").is(400, error("Invalid request body"))];
    for body in ["{}", r#"{"name":5}"#, r#"{"name":""}"#, r#"{"name":null}"#] {
        let row = rename("no name", path, body);
        rows.push(row.is(400, error("Missing or invalid 'name' field")));
    }
    let none = "/dashboard/api/api-keys/none";
    let missing = error("API key not found");
    rows.push(rename("no such key", none, r#"{"name":"x"}"#).is(404, &*missing));
    rows.push(ask("DELETE", "no such key", none).is(404, missing));
    rows
}

// Scenario: keys are made, listed, renamed and deleted; bodies that are wrong.
// Guarantees: as the contract, but that a key is told once (decided).
fn keys_are_kept(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = people(&daemon);
    let (ada, project) = admin(&table, "ada");
    for body in ["", "{", r#"{"name":5}"#] {
        ada.kept(&post("no request", KEYS, body).is(400, error("Invalid request body")));
    }
    let mut keys = Vec::new();
    for body in ["{}", r#"{"name":"cli"}"#] {
        let made = ada.kept(&post("a key", KEYS, body).status(201));
        let key = made.json()["apiKey"].as_str().unwrap().to_owned();
        assert_eq!(made.text(), format!(r#"{{"apiKey":"{key}"}}"#));
        is_key(&key);
        keys.push(key);
    }
    let listed = ada.kept(&get("all keys, masked", KEYS));
    let json = listed.json();
    let shown = |number: usize, start: &str, name: &str| {
        let key = &json["keys"][number];
        format!(
            r#"{{"id":{},"projectId":"{project}","projectName":"ada","key":"{start}{}","name":"{name}","createdAt":{}}}"#,
            key["id"],
            "*".repeat(32),
            key["createdAt"]
        )
    };
    let default: String = json["keys"][0]["key"]
        .as_str()
        .unwrap()
        .chars()
        .take(13)
        .collect();
    let expected = [
        shown(0, &default, "Default Key"),
        shown(1, &keys[0][..13], "API Key"),
        shown(2, &keys[1][..13], "cli"),
    ];
    assert_eq!(
        listed.text(),
        format!(r#"{{"keys":[{}]}}"#, expected.join(","))
    );

    let path = format!("{KEYS}/{}", json["keys"][2]["id"].as_str().unwrap());
    ada.check(wrong_keys(&path));
    ada.check([
        ask("PATCH", "renaming", &path)
            .body(r#"{"name":"mine"}"#)
            .is(200, DONE),
        get("is seen", KEYS).has("/keys/2/name", "mine"),
        ask("DELETE", "deleting", &path).is(200, DONE),
        ask("DELETE", "once", &path).is(404, error("API key not found")),
    ]);
    let left = ada.kept(&get("the others stay", KEYS)).json();
    assert_eq!(left["keys"].as_array().unwrap().len(), 2);
    let row = get("a deleted key is unknown", "/v1/spans");
    table.kept(
        &row.with("authorization", format!("Bearer {}", keys[1]))
            .is(401, error("Invalid API key")),
    );
    let row = get("another is not", "/v1/spans");
    table.kept(
        &row.with("authorization", format!("Bearer {}", keys[0]))
            .has("/total", 0),
    );
}

// Scenario: people are let in, who are new, known, and members already; bodies that are wrong.
// Guarantees: as the contract; a role that is not admin is a user's.
fn members_are_let_in(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = people(&daemon);
    let (ada, _) = admin(&table, "ada");
    admin(&table, "bob");
    let needed = error("Missing required fields for new user: name, password");
    let email = error("Missing required field: email");
    let row = |rule: &str, body: Value| post(rule, USERS, body.to_string());
    ada.check([
        post("no JSON", USERS, "{").is(400, error("Invalid JSON body")),
        row("no address", json!({})).is(400, &*email),
        row("a blank one", json!({"email": " "})).is(400, email),
        row(
            "new, without a name",
            json!({"email": "n@x.org", "password": PASSWORD}),
        )
        .is(400, &*needed),
        row(
            "new, without a password",
            json!({"email": "n@x.org", "name": "N"}),
        )
        .is(400, needed),
    ]);
    let mut users = vec![("ada", "admin")];
    for (name, role, kept) in [
        ("bob", "admin", "admin"),
        ("eve", "user", "user"),
        ("new", "owner", "user"),
    ] {
        let body = json!({"email": format!("{name}@x.org"), "name": name, "password": PASSWORD, "role": role});
        let added = ada.kept(&row(name, body).status(201));
        let user = added.json()["user"].clone();
        let expected = shown(name, kept, &user);
        assert_eq!(added.text(), format!(r#"{{"user":{expected}}}"#));
        users.push((name, kept));
    }
    let again = row("a member already", json!({"email": "BOB@x.org"}));
    ada.kept(&again.is(409, error("User is already a member of this project")));
    let listed = ada.kept(&get("all members", USERS));
    let json = listed.json();
    let expected: Vec<_> = users
        .iter()
        .zip(json["users"].as_array().unwrap())
        .map(|((name, role), user)| shown(name, role, user))
        .collect();
    assert_eq!(
        listed.text(),
        format!(r#"{{"users":[{}]}}"#, expected.join(","))
    );
}

/// A member as it is told, with what only the daemon knows.
fn shown(name: &str, role: &str, told: &Value) -> String {
    format!(
        r#"{{"userId":{},"name":"{name}","email":"{name}@x.org","role":"{role}","createdAt":{}}}"#,
        told["userId"], told["createdAt"]
    )
}

on_both_stores! {
    only_who_may_is_let_in,
    projects_are_made_and_listed,
    keys_are_kept,
    members_are_let_in,
}
