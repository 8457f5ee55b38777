//! Sessions and sign-up (§2.1, §2.2).

use serde_json::json;

use super::{PASSWORD, error, people, sign_in};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::rows::{Row, Table, get, post};

const SIGN_IN: &str = "/api/auth/sign-in/email";
const SIGN_UP: &str = "/api/auth/sign-up/email";
const SIGN_OUT: &str = "/api/auth/sign-out";
const SESSION: &str = "/api/auth/get-session";
const DASHBOARD: &str = "/dashboard/api/signup";

fn coded(code: &str, message: &str) -> String {
    format!(r#"{{"code":"{code}","message":"{message}"}}"#)
}

/// Whether a cookie is one of a session: its name, its parts and its attributes.
fn is_session(cookie: &str, token: &str) {
    let (value, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(
        attributes,
        " Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"
    );
    let value = value.strip_prefix("better-auth.session_token=").unwrap();
    let (told, signature) = value.split_once('.').unwrap();
    assert_eq!(told, token);
    assert!(
        token.len() == 32 && token.bytes().all(|it| it.is_ascii_alphanumeric()),
        "{token}"
    );
    // The base64 of 32 bytes, percent-encoded.
    assert!(signature.ends_with("%3D"), "{cookie}");
    let allowed = |it: u8| it.is_ascii_alphanumeric() || it == b'%';
    assert!(signature.bytes().all(allowed), "{cookie}");
    let encoded = ["%2B", "%2F", "%3D"]
        .iter()
        .map(|it| signature.matches(it).count());
    assert_eq!(signature.len() - 2 * encoded.sum::<usize>(), 44, "{cookie}");
}

// Scenario: somebody signs in, asks who they are, and signs out; others have no cookie, a wrong one, a wrong
// password and no account.
// Guarantees: bodies and cookies are the contract's.
fn sessions_begin_and_end(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table = people(&daemon);
    sign_in(&table, "ada");
    let body = json!({"email": "Ada@X.org", "password": PASSWORD}).to_string();
    let answer = table.kept(&post("an address in any case", SIGN_IN, body).status(200));
    let told = answer.json();
    let (token, user) = (told["token"].as_str().unwrap(), &told["user"]);
    let id = user["id"].as_str().unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|it| it.is_ascii_alphanumeric()),
        "{id}"
    );
    let user = format!(
        r#"{{"name":"ada","email":"ada@x.org","emailVerified":false,"image":null,"createdAt":{0},"updatedAt":{0},"id":"{id}"}}"#,
        user["createdAt"]
    );
    assert_eq!(
        answer.text(),
        format!(r#"{{"redirect":false,"token":"{token}","user":{user}}}"#)
    );
    let [cookie] = answer.all("set-cookie")[..] else {
        panic!("one cookie: {answer:?}");
    };
    is_session(cookie, token);

    let cookie = cookie.split(';').next().unwrap();
    let mine = table
        .with("cookie", format!("other=1; {cookie}"))
        .with("user-agent", "a browser");
    let session = mine.kept(&get("the session", SESSION)).text();
    let json: serde_json::Value = serde_json::from_str(&session).unwrap();
    let of = |key: &str| json["session"][key].clone();
    let expected = format!(
        r#"{{"session":{{"expiresAt":{},"token":"{token}","createdAt":{},"updatedAt":{},"ipAddress":"127.0.0.1","userAgent":{},"userId":"{id}","id":{}}},"user":{user}}}"#,
        of("expiresAt"),
        of("createdAt"),
        of("updatedAt"),
        of("userAgent"),
        of("id")
    );
    assert_eq!(session, expected);
    let time = |key: &str| {
        of(key)
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert_eq!(
        (time("expiresAt") - time("createdAt")).get_seconds(),
        604_800
    );

    let wrong = coded("INVALID_EMAIL_OR_PASSWORD", "Invalid email or password");
    let body = |name: &str| {
        json!({"email": format!("{name}@x.org"), "password": "wrong wrong"}).to_string()
    };
    table.check([
        get("no cookie", SESSION).is(200, "null"),
        get("a forged one", SESSION)
            .with("cookie", format!("{cookie}x"))
            .is(200, "null"),
        post("a wrong password", SIGN_IN, body("ada"))
            .is(401, &*wrong)
            .hides("set-cookie"),
        post("no such account", SIGN_IN, body("bob"))
            .is(401, wrong)
            .hides("set-cookie"),
    ]);
    let out = mine.kept(&post("signing out", SIGN_OUT, "{}").is(200, r#"{"success":true}"#));
    let cleared = ["session_token", "session_data", "dont_remember"]
        .map(|name| format!("better-auth.{name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"));
    assert_eq!(out.all("set-cookie"), cleared);
    mine.check([
        get("is the end", SESSION).is(200, "null"),
        get("everywhere", "/dashboard/api/projects").is(401, error("Unauthorized")),
        post("and may be repeated", SIGN_OUT, "").is(200, r#"{"success":true}"#),
    ]);
}

fn sign_ups() -> Vec<Row> {
    let full = json!({"name": " Ada ", "email": "Ada@X.org", "password": "12345678", "projectName": " Shop "});
    let missing = error("Missing required fields: name, email, password, projectName");
    let mut rows = Vec::new();
    for field in ["name", "email", "password", "projectName"] {
        for wrong in [json!(null), json!("  "), json!("")] {
            let mut body = full.clone();
            body[field] = wrong;
            let row = post(format!("{field} is needed"), DASHBOARD, body.to_string());
            rows.push(row.is(400, &*missing));
        }
        let mut body = full.clone();
        body.as_object_mut().unwrap().remove(field);
        rows.push(
            post(format!("{field} is needed"), DASHBOARD, body.to_string()).is(400, &*missing),
        );
    }
    let with = |field: &str, value: &str| {
        let mut body = full.clone();
        body[field] = json!(value);
        body.to_string()
    };
    rows.extend([
        post("no JSON", DASHBOARD, "{").is(400, error("Invalid JSON body")),
        post("nothing", DASHBOARD, "").is(400, error("Invalid JSON body")),
        post("seven characters", DASHBOARD, with("password", "1234567"))
            .is(400, error("Password too short")),
        post("no address", DASHBOARD, with("email", "ada"))
            .is(400, error("[body.email] Invalid email address")),
        post("eight characters", DASHBOARD, full.to_string())
            .is(201, r#"{"success":true}"#)
            .hides("set-cookie"),
        post("taken", DASHBOARD, with("email", "ADA@x.org"))
            .is(400, error("User already exists. Use another email.")),
    ]);
    rows
}

// Scenario: the dashboard's sign-up with everything wrong, one after the other, and right; the plain one.
// Guarantees: as the contract; what was refused is not there; who signed up is admin of one project, which
// has a key.
fn people_sign_up(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let table: Table = people(&daemon);
    table.check(sign_ups());
    let body = json!({"email": "ada@x.org", "password": "12345678"}).to_string();
    let answer = table.kept(&post("signing in", SIGN_IN, body).has("/user/name", "Ada"));
    let cookie = answer.header("set-cookie").unwrap();
    let mine = table.with("cookie", cookie.split(';').next().unwrap());
    let (project, _) = super::in_project(&mine);
    project.check([
        get("one project", "/dashboard/api/projects")
            .has("/projects/0/name", "Shop")
            .has("/projects/0/role", "admin"),
        get("with a key", "/dashboard/api/api-keys").has("/keys/0/name", "Default Key"),
        get("and a member", "/dashboard/api/users")
            .has("/users/0/role", "admin")
            .has("/users/0/email", "ada@x.org"),
    ]);
    let plain = |email: &str, password: &str| {
        json!({"name": "Bob", "email": email, "password": password}).to_string()
    };
    let short = coded("PASSWORD_TOO_SHORT", "Password too short");
    let taken = coded(
        "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
        "User already exists. Use another email.",
    );
    table.check([
        post("seven characters", SIGN_UP, plain("bob@x.org", "1234567")).is(400, short),
        post(
            "the plain sign-up signs in",
            SIGN_UP,
            plain("Bob@x.org", "12345678"),
        )
        .has("/user/email", "bob@x.org"),
        post("taken", SIGN_UP, plain("bob@x.org", "12345678"))
            .is(422, taken)
            .hides("set-cookie"),
    ]);
}

on_both_stores! {
    sessions_begin_and_end,
    people_sign_up,
}
