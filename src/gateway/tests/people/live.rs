//! PulseBoard's live streams: whose they may be, how many, and for how long.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::*;
use crate::storage::access::AccessStore as _;

/// Longest wait for a stream to end.
const PATIENCE: Duration = Duration::from_secs(30);
const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=polling";

impl Case {
    /// Somebody with two projects, and the header of their token.
    async fn owner(&self, name: &str) -> (String, [u32; 2]) {
        let projects = [
            self.project(&format!("{name} 1")).await,
            self.project(&format!("{name} 2")).await,
        ];
        self.person(name, &projects.map(|id| (id, Role::Admin)))
            .await;
        let body = format!(r#"{{"email":"{name}@x.org","password":"{PASSWORD}"}}"#);
        let told = self.post("/auth/login", &[], &body).await.json();
        let token = told["data"]["accessToken"].as_str().unwrap();
        (format!("Bearer {token}"), projects)
    }

    /// Follows a project.
    async fn follow(&self, uri: &str, bearer: &str) -> Response {
        let request = Request::get(uri)
            .header("host", "localhost:3000")
            .header("authorization", bearer)
            .body(Body::empty())
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

// Scenario: somebody follows two projects of theirs, by both routes and with sessions of Socket.IO, as often
// as they may; somebody else comes.
// Guarantees: a person has a tenth of the seats, and a tenth of the sessions, however many projects are
// theirs, and is told so; the others' are left to others; seats that are given back can be had again.
#[tokio::test]
async fn one_person_has_a_tenth_of_the_seats() {
    let (tasks, _) = Tasks::new();
    let config = Config {
        max_tail_watchers: 60,
        ..Config::default()
    };
    let case = Case::on(tasks, &AuthConfig::default(), config, true);
    let (ada, projects) = case.owner("ada").await;
    let (eve, [theirs, _]) = case.owner("eve").await;
    let mut streams = Vec::new();
    for number in 0..6 {
        let uri = format!("/realtime/{}/sse", projects[number % 2]);
        let response = case.follow(&uri, &ada).await;
        assert_eq!(response.status(), 200, "{number}");
        streams.push(response);
    }
    let shown = [("authorization", ada.as_str())];
    for project in projects {
        let uri = format!("/realtime/{project}/sse");
        let refused = case.ask(Method::GET, &uri, &shown, "").await;
        assert_eq!(refused.status, 503);
        assert!(
            refused.body.contains("Too many live streams of yours"),
            "{}",
            refused.body
        );
        let project = project.to_string();
        let shown = [shown[0], ("x-project-id", project.as_str())];
        let refused = case.ask(Method::GET, "/api/v1/tail", &shown, "").await;
        assert_eq!(refused.status, 503);
        assert!(
            refused.body.contains("as one person's may"),
            "{}",
            refused.body
        );
    }
    let uri = format!("/realtime/{theirs}/sse");
    assert_eq!(case.follow(&uri, &eve).await.status(), 200);
    streams.pop();
    let uri = format!("/realtime/{}/sse", projects[0]);
    assert_eq!(case.follow(&uri, &ada).await.status(), 200);
    for number in 0..6 {
        let begun = case.ask(Method::GET, SOCKET_IO, &shown, "").await;
        assert_eq!(begun.status, 200, "{number}");
    }
    let refused = case.ask(Method::GET, SOCKET_IO, &shown, "").await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &4.into()));
    let shown = [("authorization", eve.as_str())];
    let begun = case.ask(Method::GET, SOCKET_IO, &shown, "").await;
    assert_eq!(begun.status, 200);
}

// Scenario: somebody follows a project by server-sent events and has a session of Socket.IO; then their
// password is changed.
// Guarantees: until then both go on; then the stream ends, and the session follows nothing any more.
#[tokio::test]
async fn a_new_password_ends_what_is_followed() {
    let case = Case::running();
    let (ada, [project, other]) = case.owner("ada").await;
    let uri = format!("/realtime/{project}/sse");
    let followed = case.follow(&uri, &ada).await;
    assert_eq!(followed.status(), 200);
    let shown = [("authorization", ada.as_str())];
    let begun = case.ask(Method::GET, SOCKET_IO, &shown, "").await;
    let said: Value = serde_json::from_str(begun.body.strip_prefix('0').unwrap()).unwrap();
    let session = format!("{SOCKET_IO}&sid={}", said["sid"].as_str().unwrap());
    let mut frames = followed.into_body().into_data_stream();
    let subscribe = |id: u32| format!(r#"42["subscribe","{id}"]"#);
    let said = format!("40\u{1e}{}", subscribe(project));
    case.ask(Method::POST, &session, &[], &said).await;
    case.hears(&session, &["40", r#"["subscribed""#]).await;
    // Longer than what was found out counts.
    let early = async { while frames.next().await.is_some() {} };
    let early = tokio::time::timeout(Duration::from_millis(2500), early);
    assert!(early.await.is_err());
    let (id, stored) = ("id-of-ada".to_owned(), "another".to_owned());
    let changed = case.access.set_password(id, stored, change());
    changed.await.unwrap().unwrap();
    let ended = async { while frames.next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the stream ends");
    case.hears(&session, &[r#"["error""#, r#"["unsubscribed""#])
        .await;
    case.ask(Method::POST, &session, &[], &subscribe(other))
        .await;
    case.hears(&session, &["Project not found or access denied"])
        .await;
}

impl Case {
    /// Waits until a session has heard all of this, in this order.
    async fn hears(&self, session: &str, expected: &[&str]) {
        let mut heard = String::new();
        let all = async {
            for text in expected {
                while !heard.contains(text) {
                    let told = self.ask(Method::GET, session, &[], "").await;
                    assert_eq!(told.status, 200, "{}", told.body);
                    heard.push_str(&told.body);
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, all).await;
        assert!(in_time.is_ok(), "{expected:?}");
    }
}
