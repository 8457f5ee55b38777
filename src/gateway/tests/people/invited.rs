//! Taking invitations.

use super::*;
use crate::auth::issue;
use crate::storage::access::InviteStore as _;

const ACCEPT: &str = "/api/auth/invites/accept";
const NONE: &str = r#"{"code":"INVITATION_NOT_FOUND","message":"Invitation not found"}"#;

impl Case {
    /// An invitation that lasts a minute; answers its token.
    async fn invite(&self, project: u32, email: Option<&str>, role: Role) -> String {
        let email = email.map(str::to_owned);
        let made = issue::invite(ProjectId(project), email, role, NOW + 60 * SECOND);
        let (token, invite) = made.unwrap();
        let created = self.access.create_invite(invite, change()).await;
        created.unwrap().unwrap();
        token
    }

    async fn accept(&self, cookie: &str, body: Value) -> Told {
        let headers = [("cookie", cookie)];
        let headers = if cookie.is_empty() {
            &[][..]
        } else {
            &headers[..]
        };
        self.post(ACCEPT, headers, &body.to_string()).await
    }
}

fn closed() -> Case {
    let config = AuthConfig {
        sign_up: SignUps::Closed,
        ..AuthConfig::default()
    };
    Case::with(&config, Config::default(), true)
}

fn told_of(token: &str) -> Value {
    serde_json::json!({"token": token, "name": "Eve", "email": "eve@x.org", "password": "correct horse"})
}

// Scenario: sign-up is closed; somebody new takes an invitation, and tries it again, with an
// unknown token, an ended one, one of another address, and one whose address is somebody's.
// Guarantees: they are signed in as a member of that project with that role, once; everything else
// is refused, and changes nothing.
#[tokio::test]
async fn somebody_new_comes_by_invitation() {
    let case = closed();
    case.person("ada", &[]).await;
    let project = case.project("shop").await;
    case.project("bank").await;
    let token = case.invite(project, None, Role::Member).await;
    let told = case.accept("", told_of(&token)).await;
    assert_eq!(told.status, 200, "{}", told.body);
    let json = told.json();
    assert_eq!(
        json["project"],
        serde_json::json!({"id": project.to_string(), "role": "member"})
    );
    assert_eq!(json["user"]["email"], "eve@x.org");
    let cookie = told.cookie();
    let projects = case
        .get("/dashboard/api/projects", &[("cookie", &cookie)])
        .await;
    let projects = projects.json()["projects"].clone();
    assert_eq!(projects.as_array().unwrap().len(), 1, "{projects}");
    assert_eq!(projects[0]["name"], "shop");
    case.accept("", told_of(&token)).await.is(404, NONE);
    case.accept("", told_of("pulse_inv_unknown"))
        .await
        .is(404, NONE);
    let theirs = case.invite(project, Some("zoe@x.org"), Role::Admin).await;
    case.accept("", told_of(&theirs)).await.is(404, NONE);
    let open = case.invite(project, None, Role::Admin).await;
    let mut taken = told_of(&open);
    taken["email"] = "ada@x.org".into();
    assert_eq!(case.accept("", taken).await.status, 422);
    let mut short = told_of(&open);
    short["email"] = "yan@x.org".into();
    short["password"] = "short".into();
    assert_eq!(case.accept("", short).await.status, 400);
    let foreign = [("origin", "https://evil.example")];
    let told = case
        .post(ACCEPT, &foreign, &told_of(&open).to_string())
        .await;
    assert_eq!(told.status, 403);
    // The address that was invited need not be told.
    let body = serde_json::json!({"token": theirs, "name": "Zoe", "password": "correct horse"});
    let zoe = case.accept("", body).await;
    assert_eq!(
        (zoe.status, &zoe.json()["user"]["email"]),
        (200, &"zoe@x.org".into())
    );
    case.pass(60);
    let mut late = told_of(&open);
    late["email"] = "yan@x.org".into();
    case.accept("", late).await.is(404, NONE);
    let members = case.access.members(ProjectId(project)).await.unwrap();
    assert_eq!(members.len(), 2);
    let sign_up = case
        .post("/api/auth/sign-up/email", &[], &told_of("x").to_string())
        .await;
    assert_eq!(sign_up.status, 400);
    let audit = case.audit().await;
    assert!(
        audit
            .iter()
            .any(|(by, action)| action == "invite.accept" && by.starts_with("user "))
    );
}

// Scenario: somebody who is signed in takes an invitation, with another role a second one, and one
// for another address.
// Guarantees: they join once; a role is not changed by an invitation; the invitation of somebody
// else stays good for that one.
#[tokio::test]
async fn somebody_known_joins_by_invitation() {
    let case = closed();
    case.person("ada", &[]).await;
    let project = case.project("shop").await;
    let cookie = case.cookie("ada").await;
    let token = case.invite(project, Some("ada@x.org"), Role::Viewer).await;
    let told = case
        .accept(&cookie, serde_json::json!({"token": token}))
        .await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert!(told.cookies().is_empty());
    assert_eq!(told.json()["project"]["role"], "viewer");
    let more = case.invite(project, None, Role::Admin).await;
    let told = case
        .accept(&cookie, serde_json::json!({"token": more}))
        .await;
    assert_eq!(told.status, 409, "{}", told.body);
    let theirs = case.invite(project, Some("eve@x.org"), Role::Admin).await;
    let told = case
        .accept(&cookie, serde_json::json!({"token": theirs}))
        .await;
    told.is(404, NONE);
    assert_eq!(case.accept("", told_of(&theirs)).await.status, 200);
    let members = case.access.members(ProjectId(project)).await.unwrap();
    let roles: Vec<_> = members.iter().map(|member| member.role).collect();
    assert_eq!(roles, [Role::Viewer, Role::Admin]);
    // Without a session and a password there is nobody to join.
    let told = case.accept("", serde_json::json!({"token": more})).await;
    assert_eq!(told.status, 400);
}
