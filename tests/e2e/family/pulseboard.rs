//! What PulseBoard's SDK sends is taken as its server took it, stored once, and answered again.

use serde_json::{Value, json};

use super::{Client, PATIENCE, await_key, create_key};
use crate::daemon::{Store, eventually, on_both_stores};
use crate::http::{self, Response};

const INVALID: &str = r#"{"success":false,"message":"Invalid API key"}"#;
const ANALYTICS: [(&str, &str); 4] = [
    (
        "/analytics/crash",
        r#""errorName":"TypeError","errorMessage":"m","stackTrace":"a\nb\nc\nd","isFatal":true,"sessionId":"s","context":{"device":{"model":"Pixel","appVersion":"2.0"}}"#,
    ),
    (
        "/analytics/session",
        r#""sessionId":"s","startedAt":"2026-01-05T10:00:00.000Z","crashed":false"#,
    ),
    (
        "/analytics/screen-view",
        r#""screenName":"Home","loadTime":142"#,
    ),
    (
        "/analytics/api-call",
        r#""endpoint":"/users","httpMethod":"GET","statusCode":200,"duration":12.5"#,
    ),
];

/// A client that shows its key in bodies and queries.
struct Board(Client);

impl Board {
    fn on(store: Store) -> Self {
        Self(Client::on(store, "x-nothing"))
    }

    /// Posts a body of these members, with a key.
    fn post_as(&self, path: &str, key: &str, members: &str) -> Response {
        self.0
            .post(path, &format!(r#"{{"apiKey":"{key}",{members}}}"#))
    }

    fn post(&self, path: &str, members: &str) -> Response {
        self.post_as(path, "ckey", members)
    }

    fn get(&self, path: &str) -> Response {
        http::get(self.0.daemon.addresses().gateway, path).unwrap()
    }

    /// The newest events, as soon as there are so many.
    fn await_newest(&self, count: usize) -> (Vec<Value>, String) {
        eventually("events to be answered", PATIENCE, || {
            let answer = self.get("/events?apiKey=ckey");
            assert_eq!(answer.status, 200, "{}", answer.text());
            let data = answer.json()["data"].as_array().unwrap().clone();
            (data.len() == count).then(|| (data, answer.text()))
        })
    }
}

/// Compares status and body; a body that names a schema error is in Fastify's form.
fn assert_refused(answer: &Response, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, text));
    let expected = Some("application/json; charset=utf-8");
    assert_eq!(answer.header("content-type"), expected);
}

fn schema_error(message: &str) -> String {
    format!(
        r#"{{"statusCode":400,"code":"FST_ERR_VALIDATION","error":"Bad Request","message":"{message}"}}"#
    )
}

// Scenario: a metric and an error as the SDK sends them, one of them again; more than are answered.
// Guarantees: answered as by the server; the newest by arrival come back word by word, each once.
fn events_are_taken_and_answered(store: Store) {
    let board = Board::on(store);
    let metric = r#""type":"metric","name":"screen_load_time","payload":{"value":142,"screen":"Home","x":[1.5,null]},"timestamp":"2026-01-05T10:00:00.000Z","context":{"app":{}}"#;
    let first = board.post("/ingest", metric);
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!(
        first.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let data = first.json()["data"].clone();
    let id = data["id"].as_str().unwrap();
    assert!(id.len() == 25 && id.starts_with('c'), "{id}");
    let received = data["receivedAt"].as_str().unwrap();
    let rest = r#""projectId":"1","type":"metric","name":"screen_load_time","payload":{"value":142,"screen":"Home","x":[1.5,null]},"timestamp":"2026-01-05T10:00:00.000Z","receivedAt":""#;
    assert_eq!(
        first.text(),
        format!(
            r#"{{"success":true,"message":"Event ingested","data":{{"id":"{id}",{rest}{received}"}}}}"#
        )
    );
    assert_eq!(board.post("/ingest", metric).json()["data"]["id"], id);
    // A number for the name: coerced.
    let error = r#""type":"error","name":5,"payload":{"message":"m","stack":"E: m\n at f"}"#;
    assert_eq!(board.post("/ingest", error).json()["data"]["name"], "5");
    let (newest, text) = board.await_newest(2);
    assert_eq!(
        (&newest[0]["type"], &newest[1]["id"]),
        (&json!("error"), &json!(id))
    );
    assert!(
        text.starts_with(r#"{"success":true,"data":[{"id":"c"#),
        "{text}"
    );
    assert!(text.contains(&format!(r#"{{"id":"{id}",{rest}"#)), "{text}");
    // Long ago, but arrived last.
    for number in 0..20 {
        let old = format!(
            r#""type":"event","name":"n{number}","payload":{{}},"timestamp":"2001-01-05T10:00:00.000Z""#
        );
        assert_eq!(board.post("/ingest", &old).status, 201);
        board.0.daemon.await_stored();
    }
    let last = eventually("the last to be answered", PATIENCE, || {
        let (newest, _) = board.await_newest(20);
        (newest[0]["name"] == "n19").then_some(newest)
    });
    let names: Vec<_> = last.iter().map(|event| event["name"].clone()).collect();
    let expected: Vec<_> = (0..20)
        .rev()
        .map(|number| json!(format!("n{number}")))
        .collect();
    assert_eq!(names, expected);
    let failed = board.0.daemon.list("/api/v1/events?min_severity=error");
    assert_eq!(
        (failed.len(), &failed[0]["source"]),
        (1, &json!("pulseboard"))
    );
}

// Scenario: what the mobile SDK tells, the session twice.
// Guarantees: answered as by the server, the same group for the same crash; stored, each session's
// record once, and not among the events.
fn the_mobile_sdk_is_heard(store: Store) {
    let board = Board::on(store);
    let [crash, session, screen, call] = ANALYTICS;
    let told = board.post(crash.0, crash.1);
    let group = told.json()["data"]["crashGroupId"]
        .as_str()
        .unwrap()
        .to_owned();
    let expected = format!(r#"{{"success":true,"data":{{"crashGroupId":"{group}"}}}}"#);
    assert_eq!((told.status, told.text()), (201, expected.clone()));
    assert_eq!(
        board.post(crash.0, &crash.1.replace("\\nd", "\\ne")).text(),
        expected
    );
    assert_ne!(
        board.post(crash.0, &crash.1.replace("\\nc", "\\nx")).text(),
        expected
    );
    for (path, body) in [session, session, screen, call] {
        let told = board.post(path, body);
        assert_eq!(
            (told.status, told.text().as_str()),
            (201, r#"{"success":true}"#)
        );
    }
    let found = board.0.await_events(6);
    let of = |name: &str| {
        let mut found = found.iter().filter(|it| it["name"] == name);
        found.next().unwrap_or_else(|| panic!("{name}: {found:?}"))
    };
    assert_eq!(of("TypeError")["source"], "pulseboard_analytics");
    assert_eq!(of("TypeError")["release"], "2.0");
    assert_eq!(of("TypeError")["session_id"], "s");
    assert_eq!(of("TypeError")["severity_number"], 21);
    assert_eq!(of("session")["time"], "2026-01-05T10:00:00.000000000Z");
    assert_eq!(
        of("screen_view")["attributes"]["pulse.details"]["loadTime"],
        142
    );
    assert_eq!(
        of("api_call")["attributes"]["pulse.details"]["duration"],
        12.5
    );
    board.await_newest(0);
}

// Scenario: requests that are wrong in each way the contract names.
// Guarantees: refused in the server's words; nothing is stored.
fn wrong_requests_are_refused(store: Store) {
    let board = Board::on(store);
    let post = |path: &str, body: &str| board.0.post(path, body);
    let missing = schema_error("body must have required property 'apiKey'");
    for path in ANALYTICS
        .map(|(path, _)| path)
        .into_iter()
        .chain(["/ingest"])
    {
        assert_refused(&post(path, "{}"), 400, &missing);
        assert_refused(&post(path, "[]"), 400, &schema_error("body must be object"));
        assert_refused(
            &post(path, "{"),
            400,
            r#"{"statusCode":400,"code":"FST_ERR_CTP_INVALID_JSON_BODY","error":"Bad Request","message":"Body is not valid JSON but content-type is set to 'application/json'"}"#,
        );
        assert_refused(
            &post(path, ""),
            400,
            r#"{"statusCode":400,"code":"FST_ERR_CTP_EMPTY_JSON_BODY","error":"Bad Request","message":"Body cannot be empty when content-type is set to 'application/json'"}"#,
        );
        let large = format!(r#"{{"apiKey":"{}"}}"#, "x".repeat(1 << 20));
        assert_refused(
            &post(path, &large),
            413,
            r#"{"statusCode":413,"code":"FST_ERR_CTP_BODY_TOO_LARGE","error":"Payload Too Large","message":"Request body is too large"}"#,
        );
        let answer = board.get(path);
        let text = format!(
            r#"{{"message":"Route GET:{path} not found","error":"Not Found","statusCode":404}}"#
        );
        assert_refused(&answer, 404, &text);
    }
    let event = r#""type":"event","name":"n","payload":{}"#;
    for (body, message) in [
        (
            event.replace("\"event\"", "\"warning\""),
            "body/type must be equal to constant, body/type must be equal to constant, body/type must be equal to constant, body/type must match a schema in anyOf",
        ),
        (event.replace("{}", "5"), "body/payload must be object"),
        (event.replace("\"n\"", "{}"), "body/name must be string"),
        (
            event.replace("\"name\"", "\"nome\""),
            "body must have required property 'name'",
        ),
    ] {
        assert_refused(&board.post("/ingest", &body), 400, &schema_error(message));
    }
    let (path, call) = ANALYTICS[3];
    let answer = board.post(path, &call.replace("200", "\"ok\""));
    assert_refused(
        &answer,
        400,
        &schema_error("body/statusCode must be number"),
    );
    let (path, crash) = ANALYTICS[0];
    let answer = board.post(path, &crash.replace("true", "\"yes\""));
    assert_refused(&answer, 400, &schema_error("body/isFatal must be boolean"));
    let invalid_time =
        r#"{"statusCode":500,"error":"Internal Server Error","message":"Invalid time value"}"#;
    let answer = board.post("/ingest", &format!(r#"{event},"timestamp":"soon""#));
    assert_refused(&answer, 500, invalid_time);
    let (path, session) = ANALYTICS[1];
    let answer = board.post(path, &session.replace("2026-01-05T", ""));
    assert_refused(&answer, 500, invalid_time);
    let missing = schema_error("querystring must have required property 'apiKey'");
    assert_refused(&board.get("/events"), 400, &missing);
    assert_refused(&board.post_as("/ingest", "", event), 401, INVALID);
    assert_refused(&board.get("/events?apiKey="), 401, INVALID);
    let nothing = board.get("/analytics/nothing?x=1");
    let text = r#"{"message":"Route GET:/analytics/nothing?x=1 not found","error":"Not Found","statusCode":404}"#;
    assert_refused(&nothing, 404, text);
    board.0.await_events(0);
}

// Scenario: keys of two projects, with different scopes.
// Guarantees: each sees its own events, none without the right key; what a key may not do is 403.
fn a_key_names_the_project(store: Store) {
    let board = Board::on(store);
    let setup = &board.0.daemon.setup;
    let made = ["one", "two"].map(|project| {
        assert!(setup.run(&["project", "create", project]).status.success());
        create_key(setup, project, "ingest,read")
    });
    let sender = create_key(setup, "one", "ingest");
    for key in made.iter().chain([&sender]) {
        await_key(&board.0.daemon, key);
    }
    for (number, key) in made.iter().enumerate() {
        let event = format!(r#""type":"event","name":"of-{number}","payload":{{}}"#);
        assert_eq!(board.post_as("/ingest", key, &event).status, 201);
    }
    for (number, key) in made.iter().enumerate() {
        let found = eventually("the event", PATIENCE, || {
            let data = board.get(&format!("/events?apiKey={key}")).json()["data"].clone();
            Some(data).filter(|data| data[0].is_object())
        });
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert_eq!(found[0]["name"], format!("of-{number}"));
    }
    let answer = board.get(&format!("/events?apiKey={sender}"));
    let text = r#"{"statusCode":403,"error":"Forbidden","message":"Forbidden"}"#;
    assert_refused(&answer, 403, text);
    eventually("keys to be asked for", PATIENCE, || {
        let answer = board.get("/events?apiKey=ckey");
        (answer.status == 401 && answer.text() == INVALID).then_some(())
    });
    for (path, body) in ANALYTICS {
        assert_refused(&board.post(path, body), 401, INVALID);
    }
}

on_both_stores! {
    events_are_taken_and_answered,
    the_mobile_sdk_is_heard,
    wrong_requests_are_refused,
    a_key_names_the_project,
}
