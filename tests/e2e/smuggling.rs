//! What attackers send: SQL and header injection, request smuggling, odd targets, oversized heads.
//! Each is refused in the protocol's own form, or answered as the plain text that it is.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::{command, create_key, get};
use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http;

/// Routes with something of the client's in them.
const TARGETS: [&str; 72] = [
    "/api/v1/traces?service={}",
    "/api/v1/traces?name={}",
    "/api/v1/traces?status={}",
    "/api/v1/traces?start={}",
    "/api/v1/traces?min_duration={}",
    "/api/v1/traces?min_cost={}",
    "/api/v1/traces?session_id={}",
    "/api/v1/traces?user_id={}",
    "/api/v1/traces?model={}",
    "/api/v1/traces?provider={}",
    "/api/v1/traces?operation={}",
    "/api/v1/traces?agent={}",
    "/api/v1/traces?tool={}",
    "/api/v1/traces?tag={}",
    "/api/v1/traces?error_kind={}",
    "/api/v1/traces?attr.a={}",
    "/api/v1/traces?attr.{}=a",
    "/api/v1/traces?limit={}",
    "/api/v1/traces?cursor={}",
    "/api/v1/traces?{}={}",
    "/api/v1/traces/{}",
    "/api/v1/traces/{}?format=otlp",
    "/api/v1/spans?trace_id={}",
    "/api/v1/spans?service={}",
    "/api/v1/spans?name={}",
    "/api/v1/spans/{}/{}",
    "/api/v1/search?q={}",
    "/api/v1/search?q=word&in={}",
    "/api/v1/events?name={}",
    "/api/v1/events?service={}",
    "/api/v1/events?environment={}",
    "/api/v1/events?session_id={}",
    "/api/v1/events?trace_id={}",
    "/api/v1/events/{}",
    "/api/v1/metrics?prefix={}",
    "/api/v1/metrics?service={}",
    "/api/v1/metrics/{}",
    "/api/v1/metrics/m?group_by={}",
    "/api/v1/issues?search={}",
    "/api/v1/issues?service={}",
    "/api/v1/issues?type={}",
    "/api/v1/issues?sort={}",
    "/api/v1/issues/{}",
    "/api/v1/services?cursor={}",
    "/api/v1/sessions?user_id={}",
    "/api/v1/sessions/{}",
    "/api/v1/users?start={}",
    "/api/v1/models?cursor={}",
    "/api/v1/prices?model={}",
    "/api/v1/analytics?group_by={}",
    "/api/v1/analytics?measures={}",
    "/api/v1/analytics?group_by=user&service={}",
    "/api/v1/analytics?group_by=model&user_id={}",
    "/api/v1/dead-letters?cursor={}",
    "/api/v1/projects/{}",
    "/api/v1/projects/{}/usage",
    "/api/v1/keys?project_id={}",
    "/api/v1/keys/{}",
    "/api/v1/audit?project_id={}",
    "/v1/traces?session_id={}",
    "/v1/traces?model={}",
    "/v1/traces?date_from={}",
    "/v1/traces/{}",
    "/v1/sessions/{}",
    "/v1/sessions/{}/spans",
    "/v1/spans?session_id={}",
    "/v1/spans?tool_name={}",
    "/v1/spans?trace_id={}&service={}",
    "/v1/spans/{}",
    "/v1/analytics?date_from={}&date_to={}",
    "/dashboard/api/local-login?token={}",
    "/{}",
];

/// What attackers put there.
const PAYLOADS: [&str; 15] = [
    "'%20OR%20'1'='1",
    "1'%3B%20DROP%20TABLE%20span%3B%20--",
    "1%20UNION%20SELECT%20*%20FROM%20api_key",
    "%27%22%60%5C%25_%28%29",
    "a%0D%0Aset-cookie:%20x=injected",
    "%00",
    "a%00b",
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252f%2500",
    "%c0%ae%c0%ae%c0%af",
    "%ff%fe",
    "%zz%",
    "999999999999999999999999999999999999999",
    "1e999",
];

/// A span of a tenant, and what only that tenant may see.
fn span(tenant: &str) -> Value {
    json!([{
        "span_id": format!("span-{tenant}"), "trace_id": format!("trace-{tenant}"),
        "session_id": format!("secret-of-{tenant}"), "timestamp": "2026-01-05T10:00:00.000Z",
        "source": "sdk", "kind": "tool_use", "event_type": format!("secret-of-{tenant}"),
        "status": "success", "service": format!("secret-of-{tenant}"),
    }])
}

fn post(daemon: &Daemon, path: &str, key: &str, body: &str) -> http::Response {
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let sent = http::post(daemon.addresses().gateway, path, &headers, body.as_bytes());
    sent.unwrap_or_else(|error| panic!("POST {path} {body:.200}: {error}"))
}

fn assert_harmless(what: &str, answer: &http::Response) {
    assert!(
        answer.status < 500,
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    assert_eq!(answer.header("set-cookie"), None, "{what}");
    assert!(
        !answer.text().contains("secret-of-beta"),
        "{what}: {}",
        answer.text()
    );
}

/// The daemon never panicked, serves, and each tenant sees its own and nothing else.
fn assert_unharmed(daemon: &mut Daemon, keys: &[(&str, &str)]) {
    for (tenant, key) in keys {
        let answer = get(daemon, "/v1/spans?source=sdk", key);
        let told = answer.json();
        assert_eq!(told["total"], 1, "{tenant}: {told}");
        assert_eq!(told["spans"][0]["sessionId"], format!("secret-of-{tenant}"));
    }
    assert!(daemon.is_alive_and_ready());
    let output = daemon.process.output();
    assert!(!output.contains("panicked"), "{output}");
}

/// Two tenants with a span each; answers their keys.
fn two_tenants(daemon: &Daemon) -> [String; 2] {
    ["alpha", "beta"].map(|tenant| {
        command(&daemon.setup, &["project", "create", tenant]);
        let key = create_key(&daemon.setup, tenant, "ingest,read,admin").text;
        let stored = post(daemon, "/v1/spans/batch", &key, &span(tenant).to_string());
        assert_eq!(stored.status, 202, "{}", stored.text());
        key
    })
}

// Scenario: SQL, line ends, NUL, paths, overlong and broken UTF-8 and huge numbers in every parameter
// and id of the API and of the older routes.
// Guarantees: nothing is answered with a 5xx, no header is made of it, the other tenant's data
// stays unseen and both tenants' unchanged; a NUL is never a failure of the store.
fn parameters_are_never_more_than_text(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[]);
    let [alpha, beta] = two_tenants(&daemon);
    for target in TARGETS {
        for payload in PAYLOADS {
            let path = target.replace("{}", payload);
            let answer = get(&daemon, &path, &alpha);
            assert_harmless(&path, &answer);
            if target.contains("/{}") && payload.contains("%00") && !payload.contains("%2500") {
                assert!(
                    (400..500).contains(&answer.status),
                    "{path}: {}",
                    answer.status
                );
            }
        }
    }
    let headers = [
        "x-project-id: 1' OR '1'='1",
        "x-request-id: a'; DROP TABLE span; --",
        "cookie: better-auth.session_token=x'.y",
        "last-event-id: ' OR 1=1",
        "x-forwarded-for: 1'--",
    ];
    for header in headers {
        let header = format!("authorization: Bearer {alpha}\r\n{header}");
        let answer = http::get_with(daemon.addresses().gateway, "/api/v1/traces", &header);
        assert_harmless(&header, &answer.unwrap());
    }
    assert_unharmed(&mut daemon, &[("alpha", &alpha), ("beta", &beta)]);
}

// Scenario: the same in every text of every body, nesting of 100,000 levels, numbers beyond any type.
// Guarantees: as above.
fn bodies_are_never_more_than_text(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[]);
    let [alpha, beta] = two_tenants(&daemon);
    let texts = [
        "'; DROP TABLE span; --",
        "\u{0}",
        "a\u{0}b@x.org",
        "a\r\nset-cookie: x=injected",
        "../../etc/passwd",
        "\u{202e}\u{feff}",
    ];
    let bodies = |text: &str| {
        [
            (
                "/v1/spans/batch",
                json!([{
                    "span_id": text, "trace_id": text, "session_id": text, "timestamp": text,
                    "source": text, "kind": text, "event_type": text, "status": text,
                }]),
            ),
            (
                "/v1/traces/batch",
                json!([{"trace_id": text, "session_id": text}]),
            ),
            ("/v1/traces", json!({"resourceSpans": text})),
            ("/api/v1/keys", json!({"name": text, "scopes": [text]})),
            ("/api/v1/projects", json!({"name": text})),
            (
                "/api/v1/projects/2/invites",
                json!({"role": "viewer", "email": text}),
            ),
            (
                "/api/auth/sign-in/email",
                json!({"email": text, "password": text}),
            ),
            (
                "/api/auth/sign-in/email",
                json!({"email": "a@x.org", "password": text}),
            ),
            (
                "/api/auth/sign-up/email",
                json!({"name": text, "email": text, "password": text}),
            ),
            (
                "/api/auth/invites/accept",
                json!({"token": text, "name": text, "password": text}),
            ),
            (
                "/dashboard/api/signup",
                json!({
                    "name": text, "email": text, "password": text, "projectName": text,
                }),
            ),
            (
                "/dashboard/api/local-login-token",
                json!({
                    "redirect_url": "http://localhost/", "api_key": text, "project_id": text,
                }),
            ),
            ("/api/v1/events", json!({"type": text, "message": text})),
            (
                "/webhook/event",
                json!({"events": [{"eventType": text, "details": {}}]}),
            ),
        ]
    };
    for text in texts {
        for (path, body) in bodies(text) {
            let answer = post(&daemon, path, &alpha, &body.to_string());
            assert_harmless(&format!("{path} {text:?}"), &answer);
        }
    }
    let nested = "[".repeat(100_000);
    let huge = format!("[{{\"latency_ms\":{}}}]", "9".repeat(10_000));
    for (path, _) in bodies("") {
        for body in [
            nested.as_str(),
            &huge,
            "[{\"duration_ms\":1e999}]",
            "",
            "\u{0}",
        ] {
            let answer = post(&daemon, path, &alpha, body);
            assert!(
                (400..500).contains(&answer.status),
                "{path} {body:.40}: {}",
                answer.text()
            );
        }
    }
    assert_unharmed(&mut daemon, &[("alpha", &alpha), ("beta", &beta)]);
}

on_both_stores!(
    parameters_are_never_more_than_text,
    bodies_are_never_more_than_text,
);

/// Sends bytes as they are; answers all that came back until the connection ended, or the listener
/// had nothing more to say.
fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = http::connect(address).unwrap();
    // A refusal may come before everything was sent.
    stream.write_all(bytes).ok();
    stream.shutdown(std::net::Shutdown::Write).ok();
    answers(stream)
}

/// What comes back until the other side ends it.
fn answers(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset was refused, too.
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status codes of answers that came back.
fn statuses(answer: &str) -> Vec<u16> {
    let answers = answer.split("HTTP/1.1 ").skip(1);
    answers.filter_map(|it| it.get(..3)?.parse().ok()).collect()
}

fn listeners(daemon: &Daemon) -> [(&'static str, SocketAddr, &'static str); 3] {
    let addresses = daemon.addresses();
    [
        ("gateway", addresses.gateway, "/v1/spans/batch"),
        ("OTLP/HTTP", addresses.http, "/v1/traces"),
        ("metrics", addresses.metrics, "/livez"),
    ]
}

// Scenario: requests that two servers might read differently, each followed by a second one, and
// what is no HTTP, at every listener.
// Guarantees: at most one answer, a 4xx; the second request is never seen; the daemon goes on.
#[test]
fn nothing_is_smuggled() {
    let mut daemon = Daemon::spawn(&[]);
    for (listener, address, path) in listeners(&daemon) {
        // Where nothing is posted, what is let through by mistake would be answered with 200.
        let method = if listener == "metrics" { "GET" } else { "POST" };
        let after = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
        let json = "content-type: application/json";
        // Left open by us: a client that is gone need not be answered.
        let sound = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\n{json}\r\ncontent-length: 0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        let mut stream = http::connect(address).unwrap();
        stream.write_all(sound.as_bytes()).unwrap();
        let answer = answers(stream);
        assert_eq!(statuses(&answer).len(), 2, "{listener}: {answer:.600}");
        let heads = [
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5, 6",
            "content-length: +5",
            "content-length: -5",
            "content-length: 0x5",
            "content-length: 99999999999999999999999",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "transfer-encoding: xchunked",
            "transfer-encoding: chunked, identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip",
            "transfer-encoding : chunked",
            "transfer-encoding:\u{b}chunked",
            "x: a\r\n b",
            "x: a\u{0}b",
            "x: a\rb",
            "x y: a",
            ": a",
            "no colon",
        ];
        let mut requests: Vec<String> = heads
            .iter()
            .map(|head| {
                format!(
                    "{method} {path} HTTP/1.1\r\nhost: x\r\n{json}\r\n{head}\r\n\r\n0\r\n\r\n{after}"
                )
            })
            .collect();
        let chunked = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\n{json}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let chunks = [
            "zz\r\nab\r\n",
            "-1\r\n",
            "fffffffffffffffff\r\n",
            "2\r\nabcd",
            "5;\n\r\n",
        ];
        // A body that nobody asks for may be looked at after the answer.
        for chunk in chunks.into_iter().filter(|_| method == "POST") {
            requests.push(format!("{chunked}{chunk}{after}"));
        }
        requests.extend([
            format!("{method} {path} HTTP/9.9\r\nhost: x\r\n\r\n"),
            format!("{method} {path}\r\n\r\n"),
            format!("{method}  {path} HTTP/1.1\r\nhost: x\r\n\r\n"),
            format!("{method} {path}\u{0} HTTP/1.1\r\nhost: x\r\n\r\n"),
            format!("{method} {path} HTTP/1.1 x\r\nhost: x\r\n\r\n"),
            format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
                "a".repeat(100_000)
            ),
            format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\n{}\r\n",
                "x: y\r\n".repeat(10_000)
            ),
            format!(
                "{method} {path}?{} HTTP/1.1\r\nhost: x\r\n\r\n",
                "a".repeat(100_000)
            ),
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}".to_owned(),
        ]);
        for request in requests {
            let answer = raw(address, request.as_bytes());
            let found = statuses(&answer);
            let shown = request.chars().take(120).collect::<String>();
            assert!(found.len() <= 1, "{listener} {shown:?}: {answer:.600}");
            let is_refused = found.iter().all(|status| (400..500).contains(status));
            assert!(is_refused, "{listener} {shown:?}: {answer:.600}");
        }
    }
    assert!(daemon.is_alive_and_ready());
    let output = daemon.process.output();
    assert!(!output.contains("panicked"), "{output}");
}

// Scenario: targets in every form, with dots in every spelling, and upgrades nobody offered, at every
// listener.
// Guarantees: no file, no 5xx, no other protocol, one answer each; the daemon goes on.
#[test]
fn odd_targets_lead_nowhere() {
    let mut daemon = Daemon::spawn(&[]);
    let targets = [
        "/../../etc/passwd",
        "/v1/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%252e%252e/etc/passwd",
        "/..%c0%af..%c0%afetc/passwd",
        "/%00",
        "//evil.example/x",
        "/api/v1/traces/%00",
        "/v1/traces/%00",
        "http://evil.example/api/v1/health",
        "http://user:password@evil.example:80/",
        "/;/..;/x",
        "/api/v1/../../openapi.json",
        "/a?b#c",
        "*",
        "evil.example:443",
    ];
    for (listener, address, _) in listeners(&daemon) {
        for target in targets {
            for method in ["GET", "OPTIONS", "CONNECT", "TRACE", "PRI"] {
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
                );
                let answer = raw(address, request.as_bytes());
                let found = statuses(&answer);
                let what = format!("{listener} {method} {target}: {answer:.600}");
                assert!(found.len() <= 1, "{what}");
                assert!(
                    found.iter().all(|status| (200..500).contains(status)),
                    "{what}"
                );
                assert!(!answer.contains("root:"), "{what}");
            }
        }
        let settings = "AAMAAABkAAQAAP__";
        for upgrade in [
            format!(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: {settings}"
            ),
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x".to_owned(),
            "connection: upgrade\r\nupgrade: TLS/1.0".to_owned(),
        ] {
            let request = format!("GET /x HTTP/1.1\r\nhost: {address}\r\n{upgrade}\r\n\r\n");
            let answer = raw(address, request.as_bytes());
            let found = statuses(&answer);
            assert!(
                found.iter().all(|status| (400..500).contains(status)),
                "{answer:.600}"
            );
        }
    }
    assert!(daemon.is_alive_and_ready());
    let output = daemon.process.output();
    assert!(!output.contains("panicked"), "{output}");
}

// Scenario: heads that come byte by byte and never end, where their time is set to a second.
// Guarantees: the connection ends by itself, while the daemon serves others.
#[test]
fn slow_heads_are_cut_off() {
    let mut daemon = Daemon::spawn(&[
        ("gateway.read_header_timeout", "1s"),
        ("receivers.otlp.protocols.http.read_header_timeout", "1s"),
    ]);
    let [gateway, otlp, _] = listeners(&daemon);
    for (listener, address, _) in [gateway, otlp] {
        let mut stream = http::connect(address).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
            .unwrap();
        let began = Instant::now();
        while stream.write_all(b"a").is_ok() {
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(60), "{listener} still reads");
            std::thread::sleep(Duration::from_millis(50));
        }
        let answer = http::get(daemon.addresses().metrics, "/livez").unwrap();
        assert_eq!(answer.status, 200, "{listener}");
    }
    assert!(daemon.is_alive_and_ready());
}
