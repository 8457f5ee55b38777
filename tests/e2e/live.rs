//! Following by WebSocket and by Socket.IO, with the clients that people use.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::access::{command, create_key, get};
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http::{self, Response};
use crate::otlp::{post_accepted, request, span};
use crate::sdk;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long nothing must happen.
const QUIET: Duration = Duration::from_millis(1500);

/// A client in Node, which tells what happens.
struct Client {
    child: Child,
    input: ChildStdin,
    told: mpsc::Receiver<Value>,
}

impl Client {
    fn start(kind: &str, url: &str, options: &Value) -> Self {
        let modules = sdk::tool("node/node_modules");
        let mut child = Command::new("node")
            .env("EXPORTER_MODULES", modules.parent().unwrap())
            .arg(sdk::root().join("tests/support/node/live.js"))
            .args([kind, url, &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take().unwrap();
        Self { child, input, told }
    }

    fn websocket(daemon: &Daemon, query: &str, options: &Value) -> Self {
        let address = daemon.addresses().gateway;
        let url = format!("ws://{address}/api/v1/tail{query}");
        Self::start("ws", &url, options)
    }

    fn socket_io(daemon: &Daemon, options: &Value) -> Self {
        let address = daemon.addresses().gateway;
        Self::start("sio", &format!("http://{address}"), options)
    }

    /// What happens next, but pings and changes of transport.
    fn next(&self) -> Value {
        loop {
            let told = self
                .told
                .recv_timeout(PATIENCE)
                .expect("the client says something");
            if told["what"] != "ping" && told["what"] != "upgrade" {
                return told;
            }
        }
    }

    /// What happens next, which must be this.
    fn hear(&self, what: &str) -> Value {
        let told = self.next();
        assert_eq!(told["what"], what, "{told}");
        told
    }

    /// The next message of a WebSocket: its event, its data and its id.
    fn message(&self) -> (String, Value, String) {
        let message = self.hear("message")["data"].take();
        let text = |key: &str| message[key].as_str().unwrap().to_owned();
        (text("event"), message["data"].clone(), text("id"))
    }

    /// Nothing happens for a while.
    fn is_quiet(&self) {
        let told = self.told.recv_timeout(QUIET);
        let is_news = told.as_ref().is_ok_and(|told| told["what"] != "upgrade");
        assert!(!is_news, "{told:?}");
    }

    fn emit(&mut self, event: &str, argument: &str) {
        writeln!(self.input, "{}", json!([event, argument])).unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn none() -> Value {
    json!({})
}

fn send_span(daemon: &Daemon, number: u8) {
    let span = span(&[number; 16], &[number; 8], &format!("op {number}"));
    post_accepted(daemon.addresses().http, &request("shop", vec![span]));
}

/// Sends a log record, with a key where one is needed.
fn send_log(daemon: &Daemon, key: Option<&str>, body: &str) {
    let record = json!({"timeUnixNano": "1700000000000000000", "severityNumber": 17,
        "eventName": "e", "body": {"stringValue": body}});
    let service = json!({"key": "service.name", "value": {"stringValue": "shop"}});
    let logs = json!({"resourceLogs": [{"resource": {"attributes": [service]},
        "scopeLogs": [{"logRecords": [record]}]}]})
    .to_string();
    let bearer = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|key| ("authorization", key)));
    let answer = http::post(
        daemon.addresses().http,
        "/v1/logs",
        &headers,
        logs.as_bytes(),
    );
    assert_eq!(answer.unwrap().status, 200);
}

fn body(data: &Value) -> &str {
    data["body"].as_str().unwrap()
}

// Scenario: a client follows spans and events by WebSocket; the daemon is killed, and more of both
// arrives before the client is back, with the last id; then the daemon stops.
// Guarantees: it hears of each once, under its name, and at the end why the socket closes.
fn a_websocket_goes_on_across_a_kill(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "10ms")]);
    let client = Client::websocket(&daemon, "?kind=span,event&service=shop", &none());
    client.hear("open");
    assert_eq!(client.message().0, "following");
    send_span(&daemon, 1);
    let (event, data, _) = client.message();
    assert_eq!((event.as_str(), &data["name"]), ("span", &json!("op 1")));
    send_log(&daemon, None, "first");
    let (event, data, id) = client.message();
    assert_eq!((event.as_str(), body(&data)), ("event", "first"));
    daemon.process.kill9();
    let closed = client.hear("close");
    assert_eq!(closed["code"], 1006);
    daemon.restart();
    send_log(&daemon, None, "second");
    daemon.await_stored();
    let query = format!("?kind=span,event&service=shop&last_event_id={id}");
    let client = Client::websocket(&daemon, &query, &none());
    client.hear("open");
    assert_eq!(client.message().0, "following");
    assert_eq!(body(&client.message().1), "second");
    send_span(&daemon, 2);
    assert_eq!(client.message().1["name"], "op 2");
    client.is_quiet();
    daemon.process.sigterm();
    let closed = client.hear("close");
    assert_eq!(
        (&closed["code"], &closed["reason"]),
        (&json!(1001), &json!("the server stops"))
    );
}

// Scenario: clients of two projects follow events by WebSocket; others have no key, a wrong one, one that
// may only send, or are pages of another site; a key is revoked while its client follows.
// Guarantees: each hears of its own project only; the others are refused by status; the revoked one is
// cut and told why.
#[test]
fn a_websocket_is_for_who_may_read() {
    let daemon = Daemon::spawn(&[("processors.batch.timeout", "10ms")]);
    let open = Client::websocket(&daemon, "", &none());
    open.hear("open");
    let page = json!({"headers": {"origin": "https://evil.example"}});
    let foreign = Client::websocket(&daemon, "", &page);
    assert_eq!(foreign.hear("refused")["status"], 403);
    command(&daemon.setup, &["project", "create", "other"]);
    let reader = create_key(&daemon.setup, "default", "read");
    let [sender, others, others_sender] = [
        ("default", "ingest"),
        ("other", "read"),
        ("other", "ingest"),
    ]
    .map(|(project, scope)| create_key(&daemon.setup, project, scope).text);
    let shown = |key: &str| json!({"headers": {"authorization": format!("Bearer {key}")}});
    for key in [&reader.text, &others] {
        let is_known = || (get(&daemon, "/api/v1/traces", key).status == 200).then_some(());
        eventually("the keys to be known", PATIENCE, is_known);
    }
    // Who came without a key is not let in any more.
    while open.next()["what"] != "close" {}
    let ours = Client::websocket(&daemon, "?kind=event", &shown(&reader.text));
    ours.hear("open");
    assert_eq!(ours.message().0, "following");
    let theirs = json!({"headers": {"x-api-key": others}});
    let theirs = Client::websocket(&daemon, "?kind=event", &theirs);
    theirs.hear("open");
    theirs.message();
    for (options, status) in [
        (none(), 401),
        (shown("pulse_sk_wrong"), 401),
        (shown(&sender), 403),
    ] {
        let refused = Client::websocket(&daemon, "", &options);
        assert_eq!(refused.hear("refused")["status"], status, "{options}");
    }
    send_log(&daemon, Some(&sender), "ours");
    send_log(&daemon, Some(&others_sender), "theirs");
    assert_eq!(body(&ours.message().1), "ours");
    assert_eq!(body(&theirs.message().1), "theirs");
    ours.is_quiet();
    theirs.is_quiet();
    command(&daemon.setup, &["key", "revoke", &reader.id]);
    let closed = ours.hear("close");
    let reason = "the credential is not good any more";
    assert_eq!(
        (&closed["code"], &closed["reason"]),
        (&json!(1008), &json!(reason))
    );
}

// Scenario: a client follows events by WebSocket, of which one is longer than anybody would send at once.
// Guarantees: it hears of it, whole and in its turn.
#[test]
fn a_websocket_tells_of_long_events() {
    let daemon = Daemon::spawn(&[("processors.batch.timeout", "10ms")]);
    let client = Client::websocket(&daemon, "?kind=event", &none());
    client.hear("open");
    client.message();
    // As JSON it is six times as long.
    let long = "\u{1}".repeat(4 << 20);
    for text in ["before", &long, "after"] {
        send_log(&daemon, None, text);
        let (event, data, _) = client.message();
        let heard = data["body"].as_str().unwrap_or_default();
        assert!(heard == text, "{event}, {} bytes", heard.len());
    }
}

// Scenario: a client says what is expected of nobody: a text, and one that is too large; another reads
// nothing while others follow.
// Guarantees: a text is passed over; too much ends the socket with a code; who does not read holds up
// nobody.
#[test]
fn a_websocket_has_limits() {
    let daemon = Daemon::spawn(&[("processors.batch.timeout", "10ms")]);
    let large = json!({"say": "x".repeat(70_000)});
    let large = Client::websocket(&daemon, "", &large);
    large.hear("open");
    let mut closed = large.next();
    while closed["what"] != "close" {
        closed = large.next();
    }
    assert_eq!(
        (&closed["code"], &closed["reason"]),
        (&json!(1009), &json!("the message is too large"))
    );
    let stalled = Client::websocket(&daemon, "?rate=1000", &json!({"stall": true}));
    stalled.hear("open");
    let talker = Client::websocket(&daemon, "?rate=1000", &json!({"say": "hello"}));
    talker.hear("open");
    talker.message();
    for round in 0..8_u8 {
        let spans = (0..100).map(|number| {
            let name = format!("{round} {number} {}", "x".repeat(2000));
            span(
                &[round + 1; 16],
                &[round + 1, number, 1, 1, 1, 1, 1, 1],
                &name,
            )
        });
        post_accepted(daemon.addresses().http, &request("shop", spans.collect()));
    }
    for _ in 0..800 {
        assert_eq!(talker.message().0, "span");
    }
}

const PASSWORD: &str = "correct horse battery";

/// Somebody's project of PulseBoard's.
struct Board<'d> {
    daemon: &'d Daemon,
    token: String,
    project: String,
    key: String,
}

impl<'d> Board<'d> {
    /// Registers somebody with a project.
    fn of(daemon: &'d Daemon, name: &str) -> Self {
        let mut board = Self {
            daemon,
            token: String::new(),
            project: String::new(),
            key: String::new(),
        };
        let person = json!({"name": name, "email": format!("{name}@x.org"), "password": PASSWORD});
        let data = board.post("/auth/register", &person).json()["data"].take();
        data["accessToken"]
            .as_str()
            .unwrap()
            .clone_into(&mut board.token);
        let data = board.post("/projects", &json!({"name": name})).json()["data"].take();
        data["id"].as_str().unwrap().clone_into(&mut board.project);
        data["apiKey"].as_str().unwrap().clone_into(&mut board.key);
        board
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("content-type", "application/json")];
        if !self.token.is_empty() {
            headers.push(("authorization", bearer.as_str()));
        }
        let address = self.daemon.addresses().gateway;
        let answer = http::post(address, path, &headers, body.to_string().as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer
    }

    /// Sends an event; answers it as it is told of, but for when it was received, which is when it
    /// was logged.
    fn ingest(&self, name: &str) -> Value {
        let event = json!({"apiKey": self.key, "type": "event", "name": name, "payload": {"a": 1}});
        without_receipt(self.post("/ingest", &event).json()["data"].take())
    }

    fn options(&self, transports: &[&str]) -> Value {
        json!({"transports": transports, "subscribe": [self.project],
            "headers": {"authorization": format!("Bearer {}", self.token)}})
    }
}

/// An event without the time of its receipt, which it must have.
fn without_receipt(mut event: Value) -> Value {
    let received = event["receivedAt"].take();
    assert!(received.is_string(), "{event}");
    event
}

const OPEN: &[(&str, &str)] = &[
    ("auth.anonymous_ingest", "true"),
    ("auth.anonymous_read", "true"),
    ("processors.batch.timeout", "10ms"),
];

// Scenario: two people follow their projects by Socket.IO, over each transport and from the one to the
// other, and one the other's; events are sent to both; one is followed no more; the daemon stops.
// Guarantees: each hears of their own events, as they are stored, all in the same order and once.
fn socket_io_clients_hear_of_their_projects(store: Store) {
    let daemon = Daemon::spawn_on(store, OPEN);
    let (ada, eve) = (Board::of(&daemon, "ada"), Board::of(&daemon, "eve"));
    let mut clients = Vec::new();
    for transports in [&["polling"][..], &["websocket"], &["polling", "websocket"]] {
        let client = Client::socket_io(&daemon, &ada.options(transports));
        client.hear("connect");
        assert_eq!(
            client.hear("subscribed")["data"],
            json!({"projectId": ada.project})
        );
        clients.push(client);
    }
    let mut other = Client::socket_io(&daemon, &eve.options(&["websocket"]));
    other.hear("connect");
    other.hear("subscribed");
    for wanted in [ada.project.as_str(), "no project", "999"] {
        other.emit("subscribe", wanted);
        let message = "Project not found or access denied";
        assert_eq!(other.hear("error")["data"], json!({"message": message}));
    }
    let stored = ["one", "two", "three"].map(|name| ada.ingest(name));
    let theirs = eve.ingest("theirs");
    let mut heard = clients.iter().map(|client| {
        let heard = stored.iter().map(|_| client.hear("event")["data"].take());
        heard.map(without_receipt).collect::<Vec<_>>()
    });
    // The log has partitions: they may be stored in another order than they were sent.
    let first = heard.next().unwrap();
    assert!(heard.all(|heard| heard == first), "{first:?}");
    for event in &stored {
        assert_eq!(
            first.iter().filter(|it| *it == event).count(),
            1,
            "{first:?}"
        );
    }
    assert_eq!(without_receipt(other.hear("event")["data"].take()), theirs);
    other.emit("unsubscribe", &eve.project);
    assert_eq!(
        other.hear("unsubscribed")["data"],
        json!({"projectId": eve.project})
    );
    eve.ingest("unheard");
    other.is_quiet();
    clients[0].is_quiet();
    daemon.process.sigterm();
    for client in clients {
        client.hear("disconnect");
    }
}

// Scenario: Socket.IO clients without a token, with a wrong one, with one that comes with what they
// connect with, and for another namespace; requests that are none of Engine.IO's.
// Guarantees: the first two are told why; the third follows; odd requests are refused as its server did.
fn socket_io_is_for_people(store: Store) {
    let daemon = Daemon::spawn_on(store, OPEN);
    let ada = Board::of(&daemon, "ada");
    for (options, message) in [
        (
            json!({"transports": ["polling"]}),
            "Unauthorized - no token",
        ),
        (
            json!({"transports": ["websocket"], "headers": {"authorization": "Bearer a.b.c"}}),
            "Unauthorized - invalid token",
        ),
    ] {
        let client = Client::socket_io(&daemon, &options);
        assert_eq!(client.hear("connect_error")["message"], message);
    }
    let options = json!({"transports": ["websocket"], "auth": {"token": ada.token},
        "subscribe": [ada.project]});
    let client = Client::socket_io(&daemon, &options);
    client.hear("connect");
    client.hear("subscribed");
    let stored = ada.ingest("one");
    assert_eq!(without_receipt(client.hear("event")["data"].take()), stored);
    let gateway = daemon.addresses().gateway;
    for (query, code) in [
        ("EIO=4&transport=carrier-pigeon", 0),
        ("EIO=4&transport=polling&sid=unknown", 1),
        ("EIO=4&transport=websocket", 3),
        ("EIO=3&transport=polling", 5),
    ] {
        let answer = http::get(gateway, &format!("/socket.io/?{query}")).unwrap();
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &json!(code)),
            "{query}"
        );
    }
    let post = |query: &str, body: &[u8]| {
        http::post(
            gateway,
            &format!("/socket.io/?EIO=4&transport=polling{query}"),
            &[],
            body,
        )
        .unwrap()
    };
    assert_eq!(post("", b"40").json()["code"], 2);
    let opened = http::get(gateway, "/socket.io/?EIO=4&transport=polling")
        .unwrap()
        .text();
    let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
    let sid = format!("&sid={}", opened["sid"].as_str().unwrap());
    assert_eq!(post(&sid, &vec![b'4'; 70_000]).json()["code"], 3);
    assert_eq!(post(&sid, b"40").json()["code"], 1);
}

on_both_stores!(
    a_websocket_goes_on_across_a_kill,
    socket_io_clients_hear_of_their_projects,
    socket_io_is_for_people,
);
