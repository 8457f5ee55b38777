//! The API through its router, over a reader that answers the same few rows.

mod access;
mod answers;
mod document;
mod events;
mod family;
mod genai;
mod metrics;
mod people;
mod problems;
mod pulse;
mod questions;
pub(super) mod rows;
mod schema;
mod search;
mod stub;
mod tail;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::routes::OPENAPI;
use super::*;
use crate::auth::{self, Gates, Purpose, testing};
use crate::model::access::Scopes;
use crate::storage::access::{Change, NewKey};
use crate::storage::sqlite::{SqliteAccess, SqliteIssues};
use stub::{EVENT, METRIC, SPAN, Stub, TRACE};

/// Id of the key that there is.
const KEY: &str = "k1";

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn fields(&self) -> Vec<&str> {
        let fields = self.json["fields"].as_array().unwrap();
        let paths = fields.iter().map(|field| field["path"].as_str().unwrap());
        paths.collect()
    }
}

/// As whoever reaches a loopback listener while there is no key.
async fn send(reader: Arc<Stub>, request: Request<Body>) -> Answer {
    let (_, gates) = testing::gates(&auth::Config::default());
    send_through(&gates, reader, request).await
}

/// On a store of projects that has one key.
async fn send_through(gates: &Gates, reader: Arc<Stub>, request: Request<Body>) -> Answer {
    let access = SqliteAccess::in_memory();
    let key = NewKey {
        id: KEY.to_owned(),
        project: crate::model::ProjectId::DEFAULT,
        name: "first".to_owned(),
        hash: [1; 32],
        prefix: "pulse_sk_abcd".to_owned(),
        scopes: Scopes::ALL,
        expires_unix_nano: None,
    };
    let change = Change {
        by: "a test".to_owned(),
        at_unix_nano: 1,
    };
    access.create_key(key, change).await.unwrap().unwrap();
    send_to(gates, reader, Arc::new(access), request).await
}

async fn send_to(
    gates: &Gates,
    reader: Arc<Stub>,
    access: Arc<dyn AccessStore>,
    request: Request<Body>,
) -> Answer {
    let state = State {
        access,
        issues: Arc::new(SqliteIssues::in_memory()),
        gate: gate(gates),
        settings: Arc::<Stub>::clone(&reader),
        reader,
        config: Config::default(),
        prices: prices(),
        ingest: None,
        metrics: Metrics::new().unwrap(),
        tasks: drained(),
    };
    ask(router(state), request).await
}

/// The way in of a loopback listener.
fn gate(gates: &Gates) -> Gate {
    gates.at(Purpose::Read, ([127, 0, 0, 1], 3000).into())
}

async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let is_text = parts.headers["content-type"] == "text/event-stream";
    let json = if bytes.is_empty() {
        Value::Null
    } else if is_text {
        String::from_utf8(bytes.to_vec()).unwrap().into()
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        json,
    }
}

/// So that whoever follows the feed is told to go.
fn drained() -> Tasks {
    let (tasks, _) = Tasks::new();
    tasks.start_shutdown();
    tasks
}

async fn get(reader: &Arc<Stub>, uri: &str) -> Answer {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    send(Arc::clone(reader), request).await
}

fn uri_of(path: &str) -> String {
    let uri = path
        .replace("{project_id}", "1")
        .replace("{key_id}", KEY)
        .replace("{fingerprint}", "00000000000000ff")
        .replace("{trace_id}", &TRACE.to_string())
        .replace("{span_id}", &SPAN.to_string())
        .replace("{event_id}", &EVENT.to_string())
        .replace("{metric_name}", METRIC)
        .replace("{session_id}", "a%2Fb%20c");
    if path == "/api/v1/search" {
        return uri + "?q=word";
    }
    uri
}

/// The built-in prices, and a configured one.
fn prices() -> pricing::Table {
    let own = pricing::Override {
        model: "own-*".to_owned(),
        input: Some(1.5),
        output: Some(3.0),
        ..pricing::Override::default()
    };
    pricing::Table::new(&[own]).unwrap()
}

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}
