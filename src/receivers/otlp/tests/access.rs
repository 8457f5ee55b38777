//! Who may send, and into which project.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};

use super::support::*;
use crate::auth;
use crate::auth::testing::Mood;
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::model::quota::Quota;
use crate::storage::quota::QuotaStore as _;

const INGEST: Scopes = Scopes::NONE.with(Scope::Ingest);
const READ: Scopes = Scopes::NONE.with(Scope::Read);

/// A server with a key of project 7 that may send, one that may not, and a revoked one.
async fn guarded(auth: &auth::Config) -> Server {
    let server = Server::guarded(|_| {}, auth);
    server.keys.put("pulse_sk_send", 7, INGEST);
    server.keys.put("pulse_sk_read", 7, READ);
    let revoked = server.keys.put("pulse_sk_revoked", 7, INGEST);
    server.keys.change(&revoked, |grant| grant.revoked = true);
    server.refresh().await;
    server
}

async fn http(server: &Server, header: &str) -> Answer {
    let headers: &[&str] = if header.is_empty() {
        &[PROTOBUF]
    } else {
        &[PROTOBUF, header]
    };
    exchange(server.http, post(headers, b"")).await
}

async fn grpc(server: &Server, header: Option<(&str, &str)>) -> Outcome {
    let headers: Vec<_> = header.into_iter().collect();
    export(&mut http2(server.grpc).await, &headers, frame(0, b"")).await
}

// Scenario: one key in each place where clients put it, over both transports.
// Guarantees: what is sent goes to the key's project.
#[tokio::test]
async fn a_key_names_the_project() {
    let server = guarded(&auth::Config::default()).await;
    for (name, value) in [
        ("authorization", "Bearer pulse_sk_send"),
        ("x-api-key", "pulse_sk_send"),
        ("x-pulsekit-key", "pulse_sk_send"),
    ] {
        assert_eq!(http(&server, &format!("{name}: {value}")).await.status, 200);
        assert_eq!(grpc(&server, Some((name, value))).await.code, 0);
    }
    assert_eq!(server.double.projects(), [ProjectId(7); 6]);
}

// Scenario: no key, wrong ones, a revoked one and one that may only read, over both transports.
// Guarantees: 401 and UNAUTHENTICATED, 403 and PERMISSION_DENIED, with a Status that says why; none
// gets to the pipeline, nor does its key into the answer.
#[tokio::test]
async fn others_are_told_why_not() {
    let server = guarded(&auth::Config::default()).await;
    for (key, status, code, why) in [
        ("", 401, 16, "no API key"),
        ("pulse_sk_other", 401, 16, "not known"),
        ("secret of another", 401, 16, "not known"),
        ("pulse_sk_revoked", 401, 16, "revoked"),
        ("pulse_sk_read", 403, 7, "the scope \"ingest\""),
    ] {
        let header = format!("x-api-key: {key}");
        let header = if key.is_empty() { "" } else { &header };
        let answer = http(&server, header).await;
        assert_eq!(answer.status, status, "{key}");
        answer.assert_status_body();
        assert_eq!(answer.header("www-authenticate") == "Bearer", status == 401);
        let text = answer.text();
        assert!(text.contains(why), "{text}");
        assert!(key.is_empty() || !text.contains(key), "{text}");
        let header = (!key.is_empty()).then_some(("x-api-key", key));
        let outcome = grpc(&server, header).await;
        assert_eq!(outcome.code, code, "{key}");
        assert!(!outcome.has_details, "no RetryInfo: {outcome:?}");
        assert!(!outcome.message.is_empty());
        assert!(key.is_empty() || !outcome.message.contains(key));
    }
    assert_eq!(server.double.projects(), []);
    assert_eq!(server.double.announced(), [0; 0]);
}

// Scenario: a wrong key announces 60 MiB and sends nothing of it, over both transports.
// Guarantees: the answer does not wait for the body.
#[tokio::test]
async fn a_wrong_key_is_answered_before_its_body() {
    let server = guarded(&auth::Config::default()).await;
    let mut raw = Raw::connect(server.http).await;
    raw.send(format!(
        "POST /v1/traces HTTP/1.1\r\nhost: test\r\n{PROTOBUF}\r\nx-api-key: pulse_sk_x\r\n\
         content-length: {}\r\n\r\n",
        60 << 20
    ))
    .await;
    assert_eq!(raw.answer().await.unwrap().status, 401);
    let silent = StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, std::io::Error>,
    >());
    let request = grpc_request(EXPORT, &[("x-api-key", "pulse_sk_x")], silent.boxed());
    let mut client = http2(server.grpc).await;
    let response = tokio::time::timeout(PATIENCE, client.send_request(request)).await;
    let outcome = outcome(response.unwrap().unwrap()).await;
    assert_eq!(outcome.code, 16);
}

// Scenario: the store is away while a known key, an unknown one and no key are used.
// Guarantees: the known one goes on; the unknown one is told to come back.
#[tokio::test]
async fn a_store_that_is_away_stops_new_keys_only() {
    let server = guarded(&auth::Config::default()).await;
    assert_eq!(http(&server, "x-api-key: pulse_sk_send").await.status, 200);
    server.keys.set(Mood::Away);
    server.refresh().await;
    assert_eq!(http(&server, "x-api-key: pulse_sk_send").await.status, 200);
    let unknown = http(&server, "x-api-key: pulse_sk_other").await;
    assert_eq!((unknown.status, unknown.header("retry-after")), (503, "2"));
    let unknown = grpc(&server, Some(("x-api-key", "pulse_sk_other"))).await;
    assert_eq!((unknown.code, unknown.has_details), (14, true));
    assert_eq!(http(&server, "").await.status, 401);
}

// Scenario: no key, before there is any, after, and with the configuration open.
// Guarantees: it is the default project's until there is a key, and for ever where that is allowed.
#[tokio::test]
async fn without_a_key_it_is_the_default_project() {
    let server = Server::start();
    assert_eq!(http(&server, "").await.status, 200);
    server.keys.put("pulse_sk_send", 7, INGEST);
    server.refresh().await;
    assert_eq!(http(&server, "").await.status, 401);
    let open = auth::Config {
        anonymous_ingest: true,
        ..auth::Config::default()
    };
    let server = guarded(&open).await;
    assert_eq!(http(&server, "").await.status, 200);
    assert_eq!(grpc(&server, None).await.code, 0);
    assert_eq!(server.double.projects(), [ProjectId::DEFAULT; 2]);
}

// Scenario: two projects send; one gets limits, and goes over that of a second, then over that of
// a day.
// Guarantees: it is told to come back, then that it is no use, with a Status, before its body; the
// other goes on; limits taken away are gone.
#[tokio::test]
async fn a_project_over_its_quota_is_refused_by_its_head() {
    let server = guarded(&auth::Config::default()).await;
    server.keys.put("pulse_sk_other", 8, INGEST);
    let quotas = server.gates.quotas().clone();
    let limit = async |quota| {
        let change = crate::storage::access::Change {
            by: String::new(),
            at_unix_nano: 0,
        };
        let set = server.keys.set_quota(ProjectId(7), quota, change).await;
        set.unwrap().unwrap();
        server.refresh().await;
    };
    let (own, other) = ("x-api-key: pulse_sk_send", "x-api-key: pulse_sk_other");
    let in_grpc = Some(("x-api-key", "pulse_sk_send"));
    limit(Some(Quota {
        items_per_second: Some(10),
        bytes_per_day: Some(1000),
    }))
    .await;
    assert_eq!(http(&server, own).await.status, 200);
    let sent = quotas.charge(ProjectId(7), "traces", 100, 999);
    sent.unwrap().keep();
    let answer = http(&server, own).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
    answer.assert_status_body();
    assert!(
        answer.text().contains("10 items a second"),
        "{}",
        answer.text()
    );
    let outcome = grpc(&server, in_grpc).await;
    assert_eq!((outcome.code, outcome.has_details), (14, true));

    server.keys.uptime_seconds.store(3600, Ordering::SeqCst);
    assert_eq!(http(&server, own).await.status, 200);
    quotas.charge(ProjectId(7), "logs", 1, 1).unwrap().keep();
    let answer = http(&server, own).await;
    assert_eq!((answer.status, answer.header("retry-after")), (403, ""));
    answer.assert_status_body();
    let outcome = grpc(&server, in_grpc).await;
    assert_eq!((outcome.code, outcome.has_details), (8, false));
    assert!(outcome.message.contains("1000%20bytes"), "{outcome:?}");
    assert_eq!(http(&server, other).await.status, 200);
    let read = exchange(
        server.http,
        post(&[PROTOBUF, "x-api-key: pulse_sk_read"], b""),
    )
    .await;
    assert_eq!(read.status, 403, "and not for its quota: {}", read.text());

    limit(None).await;
    assert_eq!(http(&server, own).await.status, 200);
    let seven = [ProjectId(7); 2];
    assert_eq!(
        server.double.projects(),
        [&seven[..], &[ProjectId(8), ProjectId(7)]].concat()
    );
}
