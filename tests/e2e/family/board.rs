//! PulseBoard's people sign in, keep projects and read reports, with what its SDK sends to them.

use serde_json::{Value, json};

use super::PATIENCE;
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http::{self, Response};

const PASSWORD: &str = "correct horse battery";
const TYPE: Option<&str> = Some("application/json; charset=utf-8");

/// Lets the test itself ask whether all is stored, without a key.
const OPEN: &[(&str, &str)] = &[
    ("auth.anonymous_ingest", "true"),
    ("auth.anonymous_read", "true"),
];

/// A client of PulseBoard's routes.
struct Web<'d> {
    daemon: &'d Daemon,
    token: String,
    cookie: String,
}

impl<'d> Web<'d> {
    fn new(daemon: &'d Daemon) -> Self {
        Self {
            daemon,
            token: String::new(),
            cookie: String::new(),
        }
    }

    /// Somebody new, who is signed in.
    fn register(daemon: &'d Daemon, name: &str) -> Self {
        let mut web = Self::new(daemon);
        let body = json!({"name": name, "email": format!("{name}@x.org"), "password": PASSWORD});
        let answer = web.ask("POST", "/auth/register", &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        web.keep(&answer);
        web
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let address = self.daemon.addresses().gateway;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        if !self.token.is_empty() {
            head.push_str(&format!("authorization: Bearer {}\r\n", self.token));
        }
        if !self.cookie.is_empty() {
            head.push_str(&format!("cookie: {}\r\n", self.cookie));
        }
        head.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        http::exchange(address, head.as_bytes()).unwrap()
    }

    fn get(&self, path: &str) -> Response {
        self.ask("GET", path, "")
    }

    /// Keeps what an answer gives.
    fn keep(&mut self, answer: &Response) {
        let token = answer.json()["data"]["accessToken"].clone();
        token.as_str().unwrap().clone_into(&mut self.token);
        let cookie = answer.header("set-cookie").unwrap();
        let is_ours = cookie.ends_with("; Max-Age=604800; Path=/auth; HttpOnly; SameSite=Strict");
        assert!(is_ours, "{cookie}");
        self.cookie = cookie.split(';').next().unwrap().to_owned();
    }

    fn log_in(&mut self, name: &str) -> Response {
        let body = json!({"email": format!("{name}@x.org"), "password": PASSWORD});
        let answer = self.ask("POST", "/auth/login", &body.to_string());
        self.keep(&answer);
        answer
    }

    /// Makes a project; answers its id and its key.
    fn project(&self, name: &str) -> (String, String) {
        let answer = self.ask("POST", "/projects", &json!({"name": name}).to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        let data = answer.json()["data"].clone();
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        (text("id"), text("apiKey"))
    }

    /// Sends with a key in the body.
    fn send(&self, path: &str, key: &str, mut body: Value) {
        body["apiKey"] = json!(key);
        let answer = self.ask("POST", path, &body.to_string());
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }

    /// The newest events that a key may read, as soon as there are so many.
    fn await_events(&self, key: &str, count: usize) {
        eventually("events to be listed", PATIENCE, || {
            let answer = self.get(&format!("/events?apiKey={key}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let data = answer.json()["data"].clone();
            (data.as_array().unwrap().len() == count).then_some(())
        });
    }
}

fn is(answer: &Response, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, text));
    assert_eq!(answer.header("content-type"), TYPE);
}

fn refused(answer: &Response, status: u16, message: &str) {
    let text = format!(r#"{{"success":false,"message":"{message}"}}"#);
    is(answer, status, &text);
}

// Scenario: somebody registers, logs in, exchanges the cookie, shows an old one, is asked for after a
// kill, and logs out. The log is at its most talkative.
// Guarantees: each cookie is good once, at the store and not at the process; no secret is in the log.
fn people_stay_signed_in(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[("service.telemetry.logs.level", "debug")]);
    let mut secrets = vec![PASSWORD.to_owned()];
    let (old, kept, token) = {
        let mut web = Web::register(&daemon, "ada");
        let again = r#"{"name":"Ada","email":"ADA@x.org","password":"another one"}"#;
        let again = web.ask("POST", "/auth/register", again);
        refused(&again, 409, "Email already registered");
        let wrong = r#"{"email":"ada@x.org","password":"another one"}"#;
        refused(
            &web.ask("POST", "/auth/login", wrong),
            401,
            "Invalid credentials",
        );
        let first = web.cookie.clone();
        assert_eq!(web.log_in("ada").status, 200);
        let second = web.cookie.clone();
        web.cookie = first;
        let wrong = "Invalid or expired refresh token";
        refused(&web.ask("POST", "/auth/refresh", ""), 401, wrong);
        web.cookie.clone_from(&second);
        let renewed = web.ask("POST", "/auth/refresh", "");
        assert_eq!(renewed.status, 200, "{}", renewed.text());
        assert_eq!(renewed.json()["data"]["user"]["email"], "ada@x.org");
        web.keep(&renewed);
        (second, web.cookie.clone(), web.token.clone())
    };
    for secret in [&old, &kept] {
        secrets.push(secret.split_once('=').unwrap().1.to_owned());
    }
    secrets.push(token.clone());
    daemon.process.kill9();
    daemon.restart();
    let mut web = Web::new(&daemon);
    refused(
        &web.ask("POST", "/auth/refresh", ""),
        401,
        "No refresh token",
    );
    refused(&web.get("/projects"), 401, "Unauthorized");
    web.token = token;
    is(&web.get("/projects"), 200, r#"{"success":true,"data":[]}"#);
    web.cookie = old;
    let wrong = "Invalid or expired refresh token";
    refused(&web.ask("POST", "/auth/refresh", ""), 401, wrong);
    web.cookie = kept;
    let renewed = web.ask("POST", "/auth/refresh", "");
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    web.keep(&renewed);
    let out = web.ask("POST", "/auth/logout", "{}");
    is(&out, 200, "true");
    let cleared = "refreshToken=; Max-Age=0; Path=/auth; HttpOnly; SameSite=Strict";
    assert_eq!(out.header("set-cookie"), Some(cleared));
    refused(&web.ask("POST", "/auth/refresh", ""), 401, wrong);
    let said = daemon.process.output();
    for secret in &secrets {
        assert!(!said.contains(secret), "a secret is in the log");
    }
}

// Scenario: two people make projects and send to them; one deletes events, then the project; the
// other asks for what is not theirs.
// Guarantees: the key is told once and works; the count is right, and only that project's events go;
// to others a project is not there.
fn projects_and_their_events_go(store: Store) {
    let daemon = Daemon::spawn_on(store, OPEN);
    let ada = Web::register(&daemon, "ada");
    let bob = Web::register(&daemon, "bob");
    let (shop, key) = ada.project("shop");
    let (blog, _) = ada.project("blog");
    let (bobs, bobs_key) = bob.project("bob's");
    let listed = ada.get("/projects").json()["data"].clone();
    let ids: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["id"])
        .collect();
    assert_eq!(ids, [&json!(blog), &json!(shop)]);
    let one = ada.get(&format!("/projects/{shop}"));
    assert_eq!((one.status, &one.json()["data"]), (200, &listed[1]));
    assert!(!one.text().contains(&key));
    for number in 0..25 {
        let name = format!("n{number}");
        let event = json!({"type": "event", "name": name, "payload": {}});
        ada.send("/ingest", &key, event);
    }
    let mine = json!({"type": "error", "name": "E", "payload": {"message": "m"}});
    bob.send("/ingest", &bobs_key, mine);
    let screen = json!({"screenName": "Home"});
    ada.send("/analytics/screen-view", &key, screen);
    daemon.await_stored();
    ada.await_events(&key, 20);
    bob.await_events(&bobs_key, 1);
    let events = |id: &str| format!("/projects/{id}/events");
    for id in [&bobs, "99"] {
        for (method, path) in [
            ("GET", format!("/projects/{id}")),
            ("DELETE", format!("/projects/{id}")),
            ("DELETE", events(id)),
            ("GET", format!("/projects/{id}/analytics")),
        ] {
            refused(&ada.ask(method, &path, ""), 404, "Project not found");
        }
    }
    let deleted = |count: usize| {
        format!(
            r#"{{"success":true,"message":"All events deleted","data":{{"deletedCount":{count}}}}}"#
        )
    };
    is(&ada.ask("DELETE", &events(&shop), ""), 200, &deleted(25));
    is(&ada.ask("DELETE", &events(&shop), ""), 200, &deleted(0));
    ada.await_events(&key, 0);
    bob.await_events(&bobs_key, 1);
    let screens = ada.get(&format!("/projects/{shop}/analytics")).json();
    assert_eq!(screens["data"]["screenPerformance"][0]["views"], 1);
    let event = json!({"type": "event", "name": "after", "payload": {}});
    ada.send("/ingest", &key, event.clone());
    ada.await_events(&key, 1);

    let gone = ada.ask("DELETE", &format!("/projects/{shop}"), "");
    is(
        &gone,
        200,
        r#"{"success":true,"message":"Project deleted"}"#,
    );
    let mut late = event;
    late["apiKey"] = json!(key);
    let late = ada.ask("POST", "/ingest", &late.to_string());
    refused(&late, 401, "Invalid API key");
    refused(
        &ada.get(&format!("/projects/{shop}")),
        404,
        "Project not found",
    );
    assert_eq!(ada.get("/projects").json()["data"][0]["id"], json!(blog));
}

/// An hour ago, as JavaScript writes it.
fn an_hour_ago() -> String {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    then.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

// Scenario: the mobile SDK tells of crashes, sessions (one of them twice, one as it was long ago),
// screens and calls, for two projects; the report is asked for before and after.
// Guarantees: the numbers are those that were sent, each session counted once, as it ended.
fn reports_add_up_what_the_mobile_sdk_tells(store: Store) {
    let daemon = Daemon::spawn_on(store, OPEN);
    let ada = Web::register(&daemon, "ada");
    let (shop, key) = ada.project("shop");
    let (other, others_key) = ada.project("other");
    let report = |id: &str| ada.get(&format!("/projects/{id}/analytics"));
    let empty = r#"{"success":true,"data":{"crashRate":{"totalSessions":0,"crashedSessions":0,"crashRate":0,"crashFreeUsers":100},"topCrashes":[],"crashesByVersion":[],"crashesByDevice":[],"apiPerformance":[],"screenPerformance":[]}}"#;
    is(&report(&shop), 200, empty);
    let at = an_hour_ago();
    let send = |path: &str, body: Value| ada.send(&format!("/analytics/{path}"), &key, body);
    for (id, more) in [
        ("s1", json!({})),
        ("s1", json!({"crashed": true, "endedAt": at, "duration": 5})),
        ("s2", json!({"crashed": false})),
        ("s3", json!({"context": {"user": {"userId": "u"}}})),
    ] {
        let mut body = json!({"sessionId": id, "startedAt": at});
        let fields = body.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        send("session", body);
    }
    send(
        "session",
        json!({"sessionId": "old", "startedAt": "2020-01-05T10:00:00.000Z", "crashed": true}),
    );
    let context =
        json!({"device": {"model": "Pixel", "appVersion": "2.0"}, "user": {"userId": "u"}});
    for session in ["s2", "s9"] {
        send(
            "crash",
            json!({"errorName": "TypeError", "errorMessage": "broke", "stackTrace": "a\nb\nc\nd",
                "isFatal": true, "sessionId": session, "context": context}),
        );
    }
    for ms in [100, 201] {
        send("screen-view", json!({"screenName": "Home", "loadTime": ms}));
        let call =
            json!({"endpoint": "/u", "httpMethod": "GET", "statusCode": 200, "duration": ms});
        send("api-call", call);
    }
    daemon.await_stored();
    let data = eventually("all to be counted", PATIENCE, || {
        let data = report(&shop).json()["data"].clone();
        let is_whole = data["apiPerformance"][0]["calls"] == 2
            && data["crashRate"]["totalSessions"] == 3
            && data["topCrashes"][0]["occurrences"] == 2;
        is_whole.then_some(data)
    });
    assert_eq!(
        data["crashRate"],
        json!({"totalSessions": 3, "crashedSessions": 2, "crashRate": 66.67, "crashFreeUsers": 33.33})
    );
    let crash = &data["topCrashes"][0];
    let id = crash["id"].as_str().unwrap();
    assert!(id.len() == 25 && id.starts_with('c'), "{id}");
    let expected = json!({"id": id, "projectId": shop, "fingerprint": crash["fingerprint"],
        "errorName": "TypeError", "errorMessage": "broke", "occurrences": 2, "affectedUsers": 1,
        "firstSeenAt": crash["firstSeenAt"], "lastSeenAt": crash["lastSeenAt"], "resolved": false,
        "createdAt": crash["firstSeenAt"], "updatedAt": crash["lastSeenAt"]});
    assert_eq!(crash, &expected);
    assert_eq!(
        data["crashesByVersion"],
        json!([{"appVersion": "2.0", "crashes": 2}])
    );
    assert_eq!(
        data["crashesByDevice"],
        json!([{"deviceModel": "Pixel", "crashes": 2}])
    );
    assert_eq!(
        data["apiPerformance"],
        json!([{"endpoint": "/u", "calls": 2, "avgDuration": 150.5}])
    );
    assert_eq!(
        data["screenPerformance"],
        json!([{"screenName": "Home", "views": 2, "avgLoadTime": 150.5}])
    );
    assert_eq!(data.get("isPartial"), None);
    is(&report(&other), 200, empty);
    ada.send(
        "/analytics/screen-view",
        &others_key,
        json!({"screenName": "Other"}),
    );
    let seen = eventually("the other's", PATIENCE, || {
        let data = report(&other).json()["data"]["screenPerformance"].clone();
        data[0].is_object().then_some(data)
    });
    assert_eq!(
        seen,
        json!([{"screenName": "Other", "views": 1, "avgLoadTime": 0}])
    );
}

// Scenario: what nothing stands behind is asked for, without a token, by somebody else and by the
// owner; the same of the planned routes of TracePulse.
// Guarantees: 501 to those who may ask, in each server's words; to the others what they always hear.
fn what_is_not_there_says_so(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let ada = Web::register(&daemon, "ada");
    let bob = Web::register(&daemon, "bob");
    let nobody = Web::new(&daemon);
    let (shop, key) = ada.project("shop");
    let config = "AI configuration is not available on this server";
    let insights = "AI insights are not available on this server";
    for (method, path, message) in [
        ("GET", "ai-config", config),
        ("POST", "ai-config", config),
        ("DELETE", "ai-config", config),
        ("GET", "insights", insights),
        ("PATCH", "insights/x/read", insights),
        ("POST", "insights/trigger", insights),
    ] {
        let path = format!("/projects/{shop}/{path}");
        refused(&nobody.ask(method, &path, "{}"), 401, "Unauthorized");
        refused(&bob.ask(method, &path, "{}"), 404, "Project not found");
        refused(&ada.ask(method, &path, "{}"), 501, message);
    }
    let path = format!("/realtime/{shop}/sse");
    refused(&nobody.get(&path), 401, "Unauthorized");
    refused(&bob.get(&path), 401, "Unauthorized");

    let address = daemon.addresses().gateway;
    for (method, path) in [("GET", "/chat"), ("POST", "/chat/feedback")] {
        let ask = |key: &str| {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-api-key: {key}\r\ncontent-length: 0\r\n\r\n"
            );
            http::exchange(address, head.as_bytes()).unwrap()
        };
        let wrong = ask("other");
        let text = r#"{"error":"Invalid API key"}"#;
        assert_eq!((wrong.status, wrong.text().as_str()), (401, text));
        let told = ask(&key);
        let text = r#"{"error":"Not implemented","message":"Analysis of events is not available on this server"}"#;
        assert_eq!((told.status, told.text().as_str()), (501, text));
    }
}

on_both_stores! {
    people_stay_signed_in,
    projects_and_their_events_go,
    reports_add_up_what_the_mobile_sdk_tells,
    what_is_not_there_says_so,
}
