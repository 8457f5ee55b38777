//! Accounts (§8.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::merged;
use super::{board, invalid, missing, refused};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, post};

/// Bodies of accounts and projects that don't fit.
fn schema_rows() -> Vec<Row> {
    let row = |path: &str, body: Value, text: String| {
        post(body.to_string(), path, body.to_string()).is(400, text)
    };
    let full = json!({"name": "Ada", "email": "a@b.c", "password": "12345678"});
    let mut rows = Vec::new();
    for (path, fields) in [
        ("/auth/register", &["name", "email", "password"][..]),
        ("/auth/login", &["email", "password"]),
    ] {
        for (at, field) in fields.iter().enumerate() {
            let mut body = full.clone();
            for gone in &fields[at..] {
                body.as_object_mut().unwrap().remove(*gone);
            }
            rows.push(row(path, body, missing(field)));
        }
        rows.push(row(path, json!([]), invalid("body must be object")));
        let not_json = r#"{"statusCode":400,"code":"FST_ERR_CTP_INVALID_JSON_BODY","error":"Bad Request","message":"Body is not valid JSON but content-type is set to 'application/json'"}"#;
        rows.push(post("no JSON", path, "{").is(400, not_json));
    }
    let with = |field: &str, value: Value| merged(&full, &json!({field: value}));
    rows.extend([
        row(
            "/auth/register",
            with("name", json!("A")),
            invalid("body/name must NOT have fewer than 2 characters"),
        ),
        row(
            "/auth/register",
            with("email", json!("ada")),
            invalid("body/email must match format \"email\""),
        ),
        row(
            "/auth/register",
            with("password", json!("1234567")),
            invalid("body/password must NOT have fewer than 8 characters"),
        ),
        row(
            "/auth/register",
            with("name", json!({})),
            invalid("body/name must be string"),
        ),
    ]);
    rows
}

// Scenario: somebody registers, logs in, refreshes and logs out, with everything wrong in between.
// Guarantees: bodies, cookie and token are the contract's; a refresh token is good once.
fn accounts_are_the_contracts(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = board(&daemon);
    table.check(schema_rows());
    let body = json!({"name": "Ada L", "email": "Ada@x.org", "password": "12345678", "more": [1]})
        .to_string();
    let answer = table.kept(&post("registering", "/auth/register", body.clone()).status(201));
    let told = answer.json();
    let (token, id) = (
        told["data"]["accessToken"].as_str().unwrap(),
        told["data"]["user"]["id"].as_str().unwrap(),
    );
    let expected = format!(
        r#"{{"success":true,"data":{{"accessToken":"{token}","user":{{"id":"{id}","name":"Ada L","email":"ada@x.org"}}}}}}"#
    );
    assert_eq!(answer.text(), expected);
    let parts: Vec<_> = token
        .split('.')
        .map(|it| URL_SAFE_NO_PAD.decode(it).unwrap())
        .collect();
    let header: Value = serde_json::from_slice(&parts[0]).unwrap();
    let payload: Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!(
        (&header["alg"], &payload["id"], &payload["email"]),
        (&json!("HS256"), &json!(id), &json!("ada@x.org"))
    );
    assert_eq!(
        payload["exp"].as_u64().unwrap() - payload["iat"].as_u64().unwrap(),
        900
    );
    let [cookie] = answer.all("set-cookie")[..] else {
        panic!("one cookie: {answer:?}");
    };
    let (value, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(
        attributes,
        " Max-Age=604800; Path=/auth; HttpOnly; SameSite=Strict"
    );
    let random = value.strip_prefix("refreshToken=").unwrap();
    assert!(
        random.len() == 128 && random.bytes().all(|it| it.is_ascii_hexdigit()),
        "{random}"
    );

    let login = |password: &str| json!({"email": "ADA@x.org", "password": password}).to_string();
    table.check([
        post("taken", "/auth/register", body).is(409, refused("Email already registered")),
        post("a wrong password", "/auth/login", login("wrong wrong"))
            .is(401, refused("Invalid credentials")),
        post(
            "no such account",
            "/auth/login",
            r#"{"email":"b@x.org","password":"12345678"}"#,
        )
        .is(401, refused("Invalid credentials")),
        post("nothing to refresh", "/auth/refresh", "").is(401, refused("No refresh token")),
        post("something else", "/auth/refresh", "")
            .with("cookie", "refreshToken=abc")
            .is(401, refused("Invalid or expired refresh token")),
    ]);
    let renewed = table.kept(
        &post("refreshing", "/auth/refresh", "")
            .with("cookie", value)
            .has("/data/user/id", id),
    );
    let next = renewed
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let dead = refused("Invalid or expired refresh token");
    table.check([
        post("once", "/auth/refresh", "")
            .with("cookie", value)
            .is(401, &*dead),
        post(
            "logging in ends the other",
            "/auth/login",
            login("12345678"),
        )
        .has("/success", true),
        post("which is dead", "/auth/refresh", "")
            .with("cookie", next)
            .is(401, &*dead),
        post("logging out without a cookie", "/auth/logout", "").is(200, "true"),
    ]);
}

on_both_stores! {
    accounts_are_the_contracts,
}
