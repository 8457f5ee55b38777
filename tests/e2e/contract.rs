//! What the older servers promised on the wire, row by row: statuses, bodies, headers, order, limits
//! and errors. One table a section, one daemon a table; what was decided otherwise is in
//! ARCHITECTURE.md, and is right here. What takes more than a question and an answer is told by the
//! tests of `pulse`, `people` and `family`.

mod accounts;
mod board;
mod bodies;
mod conventions;
mod dashboard;
mod hook;
mod issues;
mod kit;
mod local;
mod otlp;
mod queries;
mod stored;
mod summaries;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::rows::{Table, get, post};

const KEY: &str = "Bearer pulse_sk_0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";
const PASSWORD: &str = "correct horse battery";
const NOT_FOUND: &str = "404 Not Found";
const PLAIN: &str = "text/plain; charset=UTF-8";

/// The data routes of Pulse at a daemon without keys, where any key will do.
fn pulse(daemon: &Daemon) -> Table {
    Table::new(daemon.addresses().gateway, "application/json").with("authorization", KEY)
}

/// The routes of its people, with no cookie yet.
fn people(daemon: &Daemon) -> Table {
    Table::new(daemon.addresses().gateway, "application/json")
}

/// `{"error":"…"}`.
fn error(message: &str) -> String {
    json!({"error": message}).to_string()
}

/// Signs somebody up, with a project of that name, and in; answers their table.
fn sign_in(people: &Table, name: &str) -> Table {
    let body = json!({"name": name, "email": format!("{name}@x.org"), "password": PASSWORD,
        "projectName": name});
    people.kept(
        &post(
            "somebody signs up",
            "/dashboard/api/signup",
            body.to_string(),
        )
        .status(201),
    );
    let path = "/api/auth/sign-in/email";
    let answer = people.kept(&post("and in", path, body.to_string()));
    let cookie = answer.header("set-cookie").unwrap();
    people.with("cookie", cookie.split(';').next().unwrap())
}

/// The same in the project that was made with them, and its id.
fn in_project(person: &Table) -> (Table, String) {
    let found = person
        .kept(&get("a project", "/dashboard/api/projects"))
        .json();
    let id = found["projects"][0]["id"].as_str().unwrap().to_owned();
    (person.with("x-project-id", id.clone()), id)
}

/// An object with more members.
fn with(mut one: Value, more: Value) -> Value {
    let Value::Object(more) = more else {
        panic!("no object: {more}");
    };
    one.as_object_mut().unwrap().extend(more);
    one
}

/// Two objects in one.
fn merged(one: &Value, other: &Value) -> Value {
    with(one.clone(), other.clone())
}
