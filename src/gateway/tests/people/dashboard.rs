//! Projects, keys and members.

use super::*;

/// Ada is admin of `shop` (2) and member of `default`; Bob is a member of `shop`, Vic reads there;
/// Eve is admin of `other` (3).
async fn shop() -> Case {
    let case = Case::new();
    assert_eq!(
        (case.project("shop").await, case.project("other").await),
        (2, 3)
    );
    case.person("ada", &[(1, Role::Member), (2, Role::Admin)])
        .await;
    case.person("bob", &[(2, Role::Member)]).await;
    case.person("vic", &[(2, Role::Viewer)]).await;
    case.person("eve", &[(3, Role::Admin)]).await;
    case
}

// Scenario: people list their projects and make one.
// Guarantees: everybody sees their own, in the order in which they were made; whoever makes one is
// its admin and gets its key, which may send and read there.
#[tokio::test]
async fn people_have_projects() {
    let case = shop().await;
    let cookie = case.cookie("ada").await;
    let headers = [("cookie", cookie.as_str())];
    let list = async || case.get("/dashboard/api/projects", &headers).await;
    let at = "2026-01-05T10:00:00.000Z";
    let both = format!(
        r#"{{"id":"1","name":"default","createdAt":"1970-01-01T00:00:00.000Z","role":"user"}},{{"id":"2","name":"shop","createdAt":"{at}","role":"admin"}}"#
    );
    list().await.is(200, &format!(r#"{{"projects":[{both}]}}"#));
    let create = async |body: &str| case.post("/dashboard/api/projects", &headers, body).await;
    for body in ["{}", r#"{"name":1}"#, r#"{"name":null}"#, "[]", "null"] {
        create(body)
            .await
            .error(400, "Missing required field: name");
    }
    create(r#"{"name":"  "}"#)
        .await
        .error(400, "Project name cannot be empty");
    create("{").await.error(500, "Internal server error");
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(101));
    create(&long)
        .await
        .error(400, "Project name has at most 100 characters");
    let made = create(r#"{"name":" blue "}"#).await;
    let key = made.json()["apiKey"].as_str().unwrap().to_owned();
    made.is(
        201,
        &format!(r#"{{"projectId":"4","apiKey":"{key}","name":"blue"}}"#),
    );
    assert_eq!(list().await.json()["projects"][2]["role"], "admin");
    let found = auth::ApiKey::parse(&key).unwrap().hash();
    let grant = case.access.key(found.0).await.unwrap().item.unwrap();
    assert_eq!(
        (grant.project.0, grant.scopes.to_string()),
        (4, "ingest,read".to_owned())
    );
    let audit = case.audit().await;
    let made: Vec<_> = audit
        .iter()
        .take(3)
        .map(|(by, action)| (by.as_str(), action.as_str()))
        .collect();
    let by = "user id-of-ada";
    assert_eq!(
        made,
        [
            (by, "member.set"),
            (by, "key.create"),
            (by, "project.create")
        ]
    );
    // A name that somebody has is theirs.
    let taken = create(r#"{"name":"other"}"#).await;
    assert_eq!(taken.json()["name"], "other 2");
}

// Scenario: an admin makes keys, renames one, revokes one and lists them.
// Guarantees: the answers are the older servers', but that no list holds a key; what is revoked is
// gone from here; each change is in the audit log.
#[tokio::test]
async fn admins_keep_keys() {
    let case = shop().await;
    let cookie = case.cookie("ada").await;
    let headers = [("cookie", cookie.as_str()), ("x-project-id", "2")];
    let list = async || case.get("/dashboard/api/api-keys", &headers).await;
    list().await.is(200, r#"{"keys":[]}"#);
    let create = async |body: &str| case.post("/dashboard/api/api-keys", &headers, body).await;
    for body in ["", "{", r#"{"name":1}"#] {
        create(body).await.error(400, "Invalid request body");
    }
    let mut texts = Vec::new();
    for body in [r#"{"name":" first "}"#, "{}", r#"{"name":""}"#] {
        let made = create(body).await;
        let text = made.json()["apiKey"].as_str().unwrap().to_owned();
        made.is(201, &format!(r#"{{"apiKey":"{text}"}}"#));
        texts.push(text);
    }
    let listed = list().await;
    let keys = listed.json()["keys"].as_array().unwrap().clone();
    let names: Vec<_> = keys
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["first", "API Key", "API Key"]);
    assert!(texts.iter().all(|text| !listed.body.contains(text)));
    let (id, created) = (keys[0]["id"].as_str().unwrap(), &keys[0]["createdAt"]);
    let shown = format!(
        r#"{{"keys":[{{"id":"{id}","projectId":"2","projectName":"shop","key":"{}{}","name":"first","createdAt":{created}}},"#,
        texts[0].chars().take(13).collect::<String>(),
        "*".repeat(32)
    );
    assert!(listed.body.starts_with(&shown), "{}", listed.body);

    let used = NOW + 60 * SECOND;
    case.access
        .note_used(vec![(id.to_owned(), used)])
        .await
        .unwrap();
    let used = list().await.json()["keys"][0]["lastUsedAt"].clone();
    assert_eq!(used, "2026-01-05T10:01:00.000Z");

    let one = format!("/dashboard/api/api-keys/{id}");
    let rename = async |uri: &str, body: &str| case.ask(Method::PATCH, uri, &headers, body).await;
    rename(&one, "{").await.error(400, "Invalid request body");
    for body in ["{}", r#"{"name":" "}"#, r#"{"name":7}"#] {
        rename(&one, body)
            .await
            .error(400, "Missing or invalid 'name' field");
    }
    let nothing = "/dashboard/api/api-keys/nothing";
    let body = r#"{"name":"second"}"#;
    rename(nothing, body).await.error(404, "API key not found");
    rename(&one, body).await.is(200, r#"{"success":true}"#);
    let revoke = async |uri: &str| case.ask(Method::DELETE, uri, &headers, "").await;
    revoke(nothing).await.error(404, "API key not found");
    revoke(&one).await.is(200, r#"{"success":true}"#);
    revoke(&one).await.error(404, "API key not found");
    rename(&one, body).await.error(404, "API key not found");
    assert_eq!(list().await.json()["keys"].as_array().unwrap().len(), 2);
    let audit = case.audit().await;
    let actions = audit.iter().take(5).map(|(by, action)| {
        assert_eq!(by, "user id-of-ada");
        action.as_str()
    });
    let actions = Iterator::collect::<Vec<_>>(actions);
    let made = "key.create";
    assert_eq!(actions, ["key.revoke", "key.rename", made, made, made]);
    // Another project's admin does not reach them.
    let cookie = case.cookie("eve").await;
    let headers = [("cookie", cookie.as_str()), ("x-project-id", "3")];
    let id = keys[1]["id"].as_str().unwrap();
    let theirs = format!("/dashboard/api/api-keys/{id}");
    let told = case.ask(Method::DELETE, &theirs, &headers, "").await;
    told.error(404, "API key not found");
}

// Scenario: an admin lists members and lets in people who are known, new, and members already.
// Guarantees: the answers are the older servers'; somebody new can sign in; who is known keeps name
// and password.
#[tokio::test]
async fn admins_let_people_in() {
    let case = shop().await;
    let cookie = case.cookie("ada").await;
    let headers = [("cookie", cookie.as_str()), ("x-project-id", "2")];
    let at = "2026-01-05T10:00:00.000Z";
    let row = |name: &str, role: &str| {
        format!(
            r#"{{"userId":"id-of-{name}","name":"{name}","email":"{name}@x.org","role":"{role}","createdAt":"{at}"}}"#
        )
    };
    let listed = case.get("/dashboard/api/users", &headers).await;
    let all = [
        row("ada", "admin"),
        row("bob", "user"),
        row("vic", "viewer"),
    ]
    .join(",");
    listed.is(200, &format!(r#"{{"users":[{all}]}}"#));
    let add = async |body: &str| case.post("/dashboard/api/users", &headers, body).await;
    add("{").await.error(400, "Invalid JSON body");
    for body in ["{}", r#"{"email":" "}"#, r#"{"email":3}"#, "[]"] {
        add(body).await.error(400, "Missing required field: email");
    }
    add(r#"{"email":"x"}"#)
        .await
        .error(400, "[body.email] Invalid email address");
    let needed = "Missing required fields for new user: name, password";
    for body in [
        r#"{"email":"new@x.org"}"#,
        r#"{"email":"new@x.org","name":"N"}"#,
        r#"{"email":"new@x.org","password":"correct horse"}"#,
        r#"{"email":"new@x.org","name":" ","password":"correct horse"}"#,
    ] {
        add(body).await.error(400, needed);
    }
    let short = r#"{"email":"new@x.org","name":"N","password":"short"}"#;
    add(short).await.error(400, "Password too short");
    let member = "User is already a member of this project";
    add(r#"{"email":"BOB@x.org"}"#).await.error(409, member);
    let known =
        add(r#"{"email":"Eve@x.org","name":"X","password":"not hers","role":"admin"}"#).await;
    known.is(201, &format!(r#"{{"user":{}}}"#, row("eve", "admin")));
    case.cookie("eve").await;
    let body = r#"{"email":"new@x.org","name":" New ","password":"another horse","role":"owner"}"#;
    let new = add(body).await;
    let (id, at) = (
        new.json()["user"]["userId"].clone(),
        new.json()["user"]["createdAt"].clone(),
    );
    new.is(
        201,
        &format!(
            r#"{{"user":{{"userId":{id},"name":"New","email":"new@x.org","role":"user","createdAt":{at}}}}}"#
        ),
    );
    assert_eq!(case.sign_in_as("new", "another horse").await.status, 200);
    let audit = case.audit().await;
    let actions: Vec<_> = audit
        .iter()
        .take(3)
        .map(|(_, action)| action.as_str())
        .collect();
    assert_eq!(actions, ["member.set", "user.create", "member.set"]);
}
