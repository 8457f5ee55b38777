//! The one-time login on this machine (§2.4).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{PASSWORD, error, in_project, people, sign_in};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, Table, get, post};

const TOKEN: &str = "/dashboard/api/local-login-token";
const LOGIN: &str = "/dashboard/api/local-login";
const URL: &str = "http://localhost:5173/dash?x=1";

/// Requests for a link that are refused, in the order of the checks.
fn refusals(project: &str, key: &str) -> Vec<Row> {
    let row = |rule: &str, body: Value| post(rule, TOKEN, body.to_string());
    let elsewhere = error("Local login token endpoint is only available on loopback hosts");
    let mut rows = Vec::new();
    for host in ["pulse.example", "10.0.0.1:3000", "localhost.evil.example"] {
        rows.push(
            post("another host", TOKEN, "{")
                .with("host", host)
                .is(403, &*elsewhere),
        );
        rows.push(
            get("nor does one redeem there", LOGIN)
                .with("host", host)
                .is(403, &*elsewhere),
        );
    }
    rows.push(post("no JSON", TOKEN, "{").is(400, error("Invalid JSON body")));
    for body in [
        json!({}),
        json!({"redirect_url": ""}),
        json!({"api_key": key}),
    ] {
        rows.push(
            row("nowhere to go", body).is(400, error("Missing required field: redirect_url")),
        );
    }
    let local = error("redirect_url must use a loopback host (localhost or 127.0.0.1)");
    for url in [
        "https://evil.example/",
        "http://localhost@evil.example/",
        "//evil.example",
        "/dash",
        "javascript:x",
    ] {
        rows.push(row(url, json!({"redirect_url": url, "api_key": key})).is(400, &*local));
    }
    let nobody = error("Missing required fields: api_key or email/password");
    for body in [
        json!({}),
        json!({"email": "ada@x.org"}),
        json!({"password": PASSWORD}),
    ] {
        let body = super::merged(&body, &json!({"redirect_url": URL}));
        rows.push(row("nothing to show", body).is(400, &*nobody));
    }
    let wrong = error("Invalid local API key or project");
    rows.extend([
        row(
            "an unknown key",
            json!({"redirect_url": URL, "api_key": "pulse_sk_x"}),
        )
        .is(401, &*wrong),
        row(
            "another project",
            json!({"redirect_url": URL, "api_key": key, "project_id": "99"}),
        )
        .is(401, wrong),
        row(
            "a key and its project",
            json!({"redirect_url": URL, "api_key": key, "project_id": project}),
        )
        .status(201),
        row(
            "by another name of this machine",
            json!({"redirect_url": "http://127.0.0.1:1/", "api_key": key}),
        )
        .with("host", "localhost:3000")
        .status(201),
        row(
            "in six bytes",
            json!({"redirect_url": "http://[::1]/", "api_key": key}),
        )
        .with("host", "[::1]")
        .status(201),
    ]);
    rows
}

/// Asks for a link and takes it, twice.
fn link(table: &Table, body: &Value) {
    let made = table.kept(&post("a link", TOKEN, body.to_string()).status(201));
    let told = made.json();
    let (url, until) = (told["login_url"].as_str().unwrap(), &told["expires_at"]);
    assert_eq!(
        made.text(),
        format!(r#"{{"login_url":"{url}","expires_at":{until}}}"#)
    );
    let until: Timestamp = until.as_str().unwrap().parse().unwrap();
    let left = (until - Timestamp::now()).get_seconds();
    assert!((60..=120).contains(&left), "{left}");
    let at = url.find("/dashboard").unwrap();
    let token = url[at..]
        .strip_prefix("/dashboard/api/local-login?token=")
        .unwrap();
    assert!(
        token.len() == 32 && token.bytes().all(|it| it.is_ascii_hexdigit()),
        "{token}"
    );
    let path = &url[at..];
    let taken = table.kept(
        &get("sends on", path)
            .is(302, "")
            .tells("location", URL)
            .tells("cache-control", "no-store"),
    );
    let cookie = taken.header("set-cookie").unwrap();
    assert!(
        cookie.ends_with("; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let mine = table.with("cookie", cookie.split(';').next().unwrap());
    mine.kept(&get("signed in", "/api/auth/get-session").has("/user/email", "ada@x.org"));
    let expired = error("Token is invalid or expired");
    let missing = error("Missing token query parameter");
    table.check([
        get("once", path).is(400, &*expired),
        get("an unknown one", format!("{LOGIN}?token=abc")).is(400, expired),
        get("none", LOGIN).is(400, &*missing),
        get("an empty one", format!("{LOGIN}?token=")).is(400, missing),
    ]);
}

// Scenario: links with everything wrong, one after the other; with a key and with a password.
// Guarantees: refused in the order and the words of the contract; a link is good once, for two minutes.
fn a_link_signs_in_once(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = people(&daemon);
    let (ada, project) = in_project(&sign_in(&table, "ada"));
    let made = ada.kept(&post("a key", "/dashboard/api/api-keys", "{}").status(201));
    let key = made.json()["apiKey"].as_str().unwrap().to_owned();
    table.check(refusals(&project, &key));
    link(&table, &json!({"redirect_url": URL, "api_key": key}));
    link(
        &table,
        &json!({"redirect_url": URL, "email": "ada@x.org", "password": PASSWORD}),
    );
}

/// A link that nobody has taken: its path, and when it ends.
fn untaken(table: &Table) -> (String, Timestamp) {
    let body = json!({"redirect_url": URL, "email": "ada@x.org", "password": PASSWORD});
    let made = table.kept(&post("a link", TOKEN, body.to_string()).status(201));
    let told = made.json();
    let url = told["login_url"].as_str().unwrap();
    let until = told["expires_at"].as_str().unwrap();
    let at = url.find("/dashboard").unwrap();
    (url[at..].to_owned(), until.parse().unwrap())
}

/// Waits for a time of day.
fn sleep_until(time: Timestamp) {
    let left = Timestamp::now().duration_until(time);
    std::thread::sleep(Duration::try_from(left).unwrap_or_default());
}

// Scenario: of two links one is taken late, the other too late. On both stores in one test, as it takes two
// minutes.
// Guarantees: a link is good until it ends, and is refused afterwards, in the words of the contract.
#[test]
fn a_link_ends_after_two_minutes() {
    let daemons = [Store::Sqlite, Store::Postgres].map(|store| Daemon::spawn_on(store, &[]));
    let links = daemons.each_ref().map(|daemon| {
        let table = people(daemon);
        sign_in(&table, "ada");
        (untaken(&table), untaken(&table), table)
    });
    let until = links.each_ref().map(|((_, until), ..)| *until);
    sleep_until(until[0].min(until[1]) - SignedDuration::from_secs(40));
    for ((in_time, _), _, table) in &links {
        table.check([get("after more than a minute", in_time)
            .is(302, "")
            .tells("location", URL)]);
    }
    for (_, (too_late, until), table) in &links {
        // The time that is told is cut to milliseconds.
        sleep_until(*until + SignedDuration::from_millis(10));
        table.check([
            get("after two minutes", too_late).is(400, error("Token is invalid or expired"))
        ]);
    }
}

on_both_stores! {
    a_link_signs_in_once,
}
