//! Projects and keys over the API.

use std::sync::Arc;

use axum::http::{Method, header};
use serde_json::json;

use super::super::stub::{Mood, Stub};
use super::*;
use crate::model::quota::Day;
use crate::storage::access::{AccessStore, Change, NewKey};
use crate::storage::quota::{QuotaStore as _, Usage};
use crate::storage::sqlite::SqliteAccess;

/// Two tenants beside the operator's project, each with a key that may do everything.
struct Case {
    keys: Arc<Keys>,
    gates: Gates,
    access: Arc<SqliteAccess>,
}

const OPERATOR: &str = "pulse_sk_operator";
const ALPHA: &str = "pulse_sk_alpha";
const BETA: &str = "pulse_sk_beta";

impl Case {
    async fn new() -> Self {
        let (keys, gates) = testing::gates(&auth::Config::default());
        let access = Arc::new(SqliteAccess::in_memory());
        for (key, project, name) in [(OPERATOR, 1, ""), (ALPHA, 2, "alpha"), (BETA, 3, "beta")] {
            let change = || Change {
                by: format!("maker of {name}"),
                at_unix_nano: 5,
            };
            if !name.is_empty() {
                let made = access.create_project(name.to_owned(), change()).await;
                assert_eq!(made.unwrap().unwrap().id.0, project);
            }
            let stored = NewKey {
                id: format!("id-{name}"),
                project: crate::model::ProjectId(project),
                name: format!("first of {name}"),
                hash: [u8::try_from(project).unwrap(); 32],
                prefix: format!("pulse_sk_{name}"),
                scopes: Scopes::ALL,
                expires_unix_nano: None,
            };
            access.create_key(stored, change()).await.unwrap().unwrap();
            keys.put(key, project, Scopes::ALL);
        }
        Self {
            keys,
            gates,
            access,
        }
    }

    async fn ask(&self, method: Method, uri: &str, key: &str, body: Option<Value>) -> Answer {
        let mut asked = request(&method, uri, key);
        if let Some(body) = body {
            let json = http::HeaderValue::from_static("application/json");
            asked.headers_mut().insert(header::CONTENT_TYPE, json);
            *asked.body_mut() = Body::from(body.to_string());
        }
        let stub = Stub::new(Mood::Well);
        let access: Arc<dyn AccessStore> = Arc::<SqliteAccess>::clone(&self.access);
        send_to(&self.gates, stub, access, asked).await
    }

    async fn get(&self, uri: &str, key: &str) -> Answer {
        self.ask(Method::GET, uri, key, None).await
    }
}

fn fits(answer: &Answer, schema: &str) {
    let document = document();
    let schema = &document["components"]["schemas"][schema];
    schema::check(&document, schema, &answer.json, "an answer");
}

// Scenario: the operator makes a project and a key for it, looks at both, revokes the key and
// deletes the project.
// Guarantees: the key is shown once, and never again; every step is in the audit log with who did it.
#[tokio::test]
async fn an_operator_keeps_projects_and_keys() {
    let case = Case::new().await;
    let post = |uri, body| case.ask(Method::POST, uri, OPERATOR, Some(body));
    let made = post("/api/v1/projects", json!({"name": " gamma "})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    fits(&made, "Project");
    assert_eq!(
        (&made.json["id"], &made.json["name"]),
        (&json!(4), &json!("gamma"))
    );
    let twice = post("/api/v1/projects", json!({"name": "gamma"})).await;
    assert_eq!(
        (twice.status.as_u16(), &twice.json["code"]),
        (409, &json!("conflict"))
    );

    let wanted = json!({"name": "k", "scopes": ["ingest", "read"], "project_id": 4,
        "expires_time": "2099-01-01T00:00:00Z"});
    let made = post("/api/v1/keys", wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    fits(&made, "CreatedKey");
    let text = made.json["key"].as_str().unwrap().to_owned();
    let id = made.json["id"].as_str().unwrap();
    let hash = auth::ApiKey::parse(&text).unwrap().hash();
    let stored = crate::storage::access::CredentialStore::key(&*case.access, hash.0).await;
    let stored = stored.unwrap().item.unwrap();
    assert_eq!(
        (stored.project.0, stored.scopes.to_string()),
        (4, "ingest,read".to_owned())
    );
    let listed = case.get("/api/v1/keys?project_id=4", OPERATOR).await;
    fits(&listed, "KeyList");
    assert_eq!(listed.json["items"][0]["id"], id);
    assert!(!listed.json.to_string().contains(&text));

    let revoked = format!("/api/v1/keys/{id}?project_id=4");
    let revoked = case.ask(Method::DELETE, &revoked, OPERATOR, None).await;
    assert_eq!(revoked.status, StatusCode::OK);
    assert!(revoked.json["revoked_time"].is_string());
    let deleted = case
        .ask(Method::DELETE, "/api/v1/projects/4", OPERATOR, None)
        .await;
    assert_eq!(
        (deleted.status, &deleted.json["name"]),
        (StatusCode::OK, &json!("gamma"))
    );
    let gone = case.get("/api/v1/projects/4", OPERATOR).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let first = case
        .ask(Method::DELETE, "/api/v1/projects/1", OPERATOR, None)
        .await;
    assert_eq!(first.status, StatusCode::CONFLICT);

    let audit = case.get("/api/v1/audit?project_id=4", OPERATOR).await;
    fits(&audit, "AuditList");
    let entries = audit.json["items"].as_array().unwrap();
    let actions: Vec<_> = entries
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let expected = [
        "project.delete",
        "key.revoke",
        "key.create",
        "project.create",
    ];
    assert_eq!(actions, expected);
    for entry in entries {
        assert_eq!(entry["by"], format!("key id of {OPERATOR}"));
    }
    assert!(!audit.json.to_string().contains(&text));
}

// Scenario: bodies with everything wrong.
// Guarantees: each part that is wrong is named.
#[tokio::test]
async fn wrong_wishes_are_named() {
    let case = Case::new().await;
    let post = |uri, body| case.ask(Method::POST, uri, OPERATOR, Some(body));
    let wanted = json!({"name": " ", "scopes": ["reed"], "expires_time": "2001-01-01T00:00:00Z"});
    let answer = post("/api/v1/keys", wanted).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.fields(), ["name", "scopes[0]", "expires_time"]);
    let answer = post("/api/v1/keys", json!({"name": "a", "scopes": []})).await;
    assert_eq!(answer.fields(), ["scopes"]);
    let answer = post(
        "/api/v1/keys",
        json!({"name": "a", "scopes": ["read"], "project_id": 99}),
    );
    assert_eq!(answer.await.status, StatusCode::NOT_FOUND);
    let answer = post("/api/v1/projects", json!({"name": "x".repeat(101)})).await;
    assert_eq!(answer.fields(), ["name"]);
    let answer = post("/api/v1/projects", json!({"nmae": "x"})).await;
    assert_eq!(answer.json["code"], "invalid_request");
    let answer = case.get("/api/v1/keys?project_id=one", OPERATOR).await;
    assert_eq!(answer.fields(), ["project_id"]);
}

// Scenario: the admin of one tenant asks for, changes and deletes what is another's, by every id and
// parameter there is.
// Guarantees: it sees its own, nothing of the other's, and changes nothing there.
#[tokio::test]
async fn admins_of_tenants_keep_to_their_own() {
    let case = Case::new().await;
    for (own, secret, key, other) in [("alpha", "beta", ALPHA, 3), ("beta", "alpha", BETA, 2)] {
        let mut seen = Vec::new();
        for uri in ["/api/v1/projects", "/api/v1/keys", "/api/v1/audit"] {
            let answer = case.get(uri, key).await;
            assert_eq!(answer.status, StatusCode::OK, "{uri}");
            let text = answer.json.to_string();
            assert!(
                text.contains(own) && !text.contains(secret),
                "{uri}: {text}"
            );
            seen.push(text);
        }
        for (method, uri) in [
            (Method::GET, format!("/api/v1/projects/{other}")),
            (Method::DELETE, format!("/api/v1/projects/{other}")),
            (Method::GET, format!("/api/v1/keys?project_id={other}")),
            (Method::GET, format!("/api/v1/keys/id-{secret}")),
            (
                Method::GET,
                format!("/api/v1/keys/id-{secret}?project_id={other}"),
            ),
            (Method::DELETE, format!("/api/v1/keys/id-{secret}")),
            (
                Method::DELETE,
                format!("/api/v1/keys/id-{secret}?project_id={other}"),
            ),
            (Method::GET, format!("/api/v1/audit?project_id={other}")),
        ] {
            let answer = case.ask(method.clone(), &uri, key, None).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {uri}");
            assert!(!answer.json.to_string().contains(secret), "{}", answer.json);
        }
        let wanted = json!({"name": "mine", "scopes": ["read"], "project_id": other});
        let answer = case
            .ask(Method::POST, "/api/v1/keys", key, Some(wanted))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let wanted = Some(json!({"name": "delta"}));
        let answer = case
            .ask(Method::POST, "/api/v1/projects", key, wanted)
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        for (before, uri) in seen.iter().zip(["/api/v1/projects", "/api/v1/keys"]) {
            assert_eq!(case.get(uri, key).await.json.to_string(), *before);
        }
    }
    let wanted = Some(json!({"name": "second", "scopes": ["read"]}));
    let made = case.ask(Method::POST, "/api/v1/keys", ALPHA, wanted).await;
    assert_eq!(
        (made.status, &made.json["project_id"]),
        (StatusCode::CREATED, &json!(2))
    );
    case.keys.put(ALPHA, 2, Scopes::NONE.with(Scope::Read));
    case.gates
        .at(Purpose::Read, ([127, 0, 0, 1], 1).into())
        .refresh()
        .await;
    let demoted = case.get("/api/v1/keys", ALPHA).await;
    assert_eq!(demoted.status, StatusCode::FORBIDDEN);
}

// Scenario: a gateway on loopback without any key.
// Guarantees: whoever reaches it can make the first key, and then needs one.
#[tokio::test]
async fn the_first_key_can_be_made_over_the_api() {
    let (_, gates) = testing::gates(&auth::Config::default());
    let case = Case {
        keys: Arc::default(),
        gates,
        access: Arc::new(SqliteAccess::in_memory()),
    };
    let wanted = Some(json!({"name": "first", "scopes": ["ingest", "read", "admin"]}));
    let made = case.ask(Method::POST, "/api/v1/keys", "", wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    let audit = case.access.audit(
        None,
        crate::storage::PageRequest {
            limit: 9,
            after: None,
        },
    );
    assert_eq!(audit.await.unwrap().items[0].by, "anonymous");
    assert!(case.keys.lookups() == 0);
}

// Scenario: the operator limits a project, looks, changes its mind and takes the limits away; the
// project's admin looks, and tries the same; wrong limits are given.
// Guarantees: limits are what was given, those of the configuration otherwise; only operators change
// them; every wrong member is named.
#[tokio::test]
async fn an_operator_limits_what_a_project_may_send() {
    let case = Case::new().await;
    let path = "/api/v1/projects/2/quota";
    let put = |key, body| case.ask(Method::PUT, path, key, Some(body));
    let quota = |items: Option<u32>, bytes: Option<u64>, is_default: bool| {
        json!({
            "project_id": 2, "items_per_second": items, "bytes_per_day": bytes,
            "is_default": is_default, "bytes_today": 0,
        })
    };
    let before = case.get(path, ALPHA).await;
    fits(&before, "Quota");
    assert_eq!(before.json, quota(None, None, true));
    let body = json!({"items_per_second": 5, "bytes_per_day": 1000});
    let set = put(OPERATOR, body.clone()).await;
    assert_eq!(
        (set.status, &set.json),
        (StatusCode::OK, &quota(Some(5), Some(1000), false))
    );
    assert_eq!(case.get(path, ALPHA).await.json, set.json);
    let set = put(OPERATOR, json!({"items_per_second": null})).await;
    assert_eq!(set.json, quota(None, None, false));

    assert_eq!(put(ALPHA, body.clone()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(put(BETA, body).await.status, StatusCode::NOT_FOUND);
    let reset = case.ask(Method::DELETE, path, ALPHA, None).await;
    assert_eq!(reset.status, StatusCode::FORBIDDEN);
    let reset = case.ask(Method::DELETE, path, OPERATOR, None).await;
    assert_eq!(
        (reset.status, reset.json),
        (StatusCode::OK, quota(None, None, true))
    );

    let wrong = put(
        OPERATOR,
        json!({"items_per_second": 0, "bytes_per_day": 1u64 << 53}),
    )
    .await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let fields = wrong.json["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 2, "{}", wrong.json);
    for (path, key) in [
        ("99/quota", OPERATOR),
        ("x/quota", OPERATOR),
        ("99/usage", OPERATOR),
    ] {
        let uri = format!("/api/v1/projects/{path}");
        assert_eq!(
            case.get(&uri, key).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

// Scenario: a project has sent something today and last year; its admin and another's look.
// Guarantees: days are told oldest first, as many as were asked for, to whom they concern.
#[tokio::test]
async fn admins_see_what_was_sent() {
    let case = Case::new().await;
    let today = Day::of(window::now());
    let sent = |day, signal: &str, items| Usage {
        project: crate::model::ProjectId(2),
        day,
        signal: signal.to_owned(),
        items,
        bytes: items * 100,
    };
    let usage = vec![
        sent(today, "traces", 3),
        sent(Day(today.0 - 1), "logs", 2),
        sent(Day(today.0 - 30), "traces", 1),
    ];
    case.access.add_usage(usage).await.unwrap();
    let path = "/api/v1/projects/2/usage";
    let items = async |query: &str| {
        let answer = case.get(&format!("{path}{query}"), ALPHA).await;
        fits(&answer, "UsageList");
        let items = answer.json["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|day| day["items"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(items("").await, [2, 3]);
    assert_eq!(items("?days=31").await, [1, 2, 3]);
    assert_eq!(items("?days=1").await, [3]);
    let today = case.get("/api/v1/projects/2/quota", ALPHA).await;
    assert_eq!(today.json["bytes_today"], 300);
    assert_eq!(case.get(path, BETA).await.status, StatusCode::NOT_FOUND);
    let wrong = case.get(&format!("{path}?days=401"), ALPHA).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

// Scenario: admins of a project, of another and of all invite somebody, look, and take it back; wrong
// wishes are made.
// Guarantees: the token is shown once; who is of another project is told that there is no such
// project, and changes nothing; each part that is wrong is named; every step is in the audit log.
#[tokio::test]
async fn admins_invite_to_their_own_project() {
    let case = Case::new().await;
    let path = "/api/v1/projects/2/invites";
    let post = |key, body| case.ask(Method::POST, path, key, Some(body));
    let made = post(ALPHA, json!({"role": "member", "email": " Eve@X.org "})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json);
    fits(&made, "CreatedInvite");
    assert_eq!(
        (&made.json["email"], &made.json["project_id"]),
        (&json!("eve@x.org"), &json!(2))
    );
    let token = made.json["token"].as_str().unwrap().to_owned();
    let id = made.json["id"].as_str().unwrap().to_owned();
    let open = post(OPERATOR, json!({"role": "admin"})).await;
    assert_eq!(
        (open.status, &open.json["email"]),
        (StatusCode::CREATED, &Value::Null)
    );

    let listed = case.get(path, ALPHA).await;
    fits(&listed, "InviteList");
    let items = listed.json["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["id"]), (2, &json!(id)));
    assert!(!listed.json.to_string().contains(&token));
    let one = case.get(&format!("{path}?invite_id={id}"), ALPHA).await;
    assert_eq!(one.json["items"].as_array().unwrap().len(), 1);

    let revoke = format!("{path}?invite_id={id}");
    let other = "/api/v1/projects/3/invites";
    for (method, uri, body) in [
        (Method::GET, path.to_owned(), None),
        (
            Method::POST,
            path.to_owned(),
            Some(json!({"role": "viewer"})),
        ),
        (Method::DELETE, revoke.clone(), None),
        (Method::DELETE, format!("{other}?invite_id={id}"), None),
    ] {
        let answer = case.ask(method.clone(), &uri, BETA, body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {uri}");
    }
    let gone = case.get("/api/v1/projects/99/invites", OPERATOR).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let revoked = case.ask(Method::DELETE, &revoke, ALPHA, None).await;
    fits(&revoked, "Invite");
    assert_eq!(revoked.status, StatusCode::OK);
    let again = case.ask(Method::DELETE, &revoke, ALPHA, None).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    let nothing = case.ask(Method::DELETE, path, ALPHA, None).await;
    assert_eq!(nothing.fields(), ["invite_id"]);
    let wanted = json!({"role": "owner", "email": "x", "expires_time": "2099-01-01T00:00:00Z"});
    let wrong = post(ALPHA, wanted).await;
    assert_eq!(wrong.fields(), ["role", "email", "expires_time"]);

    let audit = case.get("/api/v1/audit?project_id=2", OPERATOR).await;
    let text = audit.json.to_string();
    for part in ["invite.create", "invite.revoke", &id] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&token), "{text}");
}
