//! Following what is stored.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::access::create_key;
use crate::cluster::Cluster;
use crate::daemon::{Daemon, Store, eventually};
use crate::otlp::{hex, post_accepted, request, runtime, span};
use crate::raw_grpc;

/// Longest wait for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that follows the feed.
struct Tail {
    stream: BufReader<TcpStream>,
    /// What arrived of the body and was not read yet.
    body: String,
}

/// An event, or a move of the place to go on from.
#[derive(Debug, Default)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Tail {
    fn follow(address: SocketAddr, query: &str, last_event_id: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let header = last_event_id.map_or(String::new(), |id| format!("last-event-id: {id}\r\n"));
        let head = format!("GET /api/v1/tail{query} HTTP/1.1\r\nhost: {address}\r\n{header}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).unwrap();
        }
        let mut tail = Self {
            stream,
            body: String::new(),
        };
        tail.next();
        tail
    }

    /// The next event, with the length of each chunk in front of it taken off.
    fn next(&mut self) -> Event {
        while !self.body.contains("\n\n") {
            let mut size = String::new();
            self.stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            assert!(size > 0, "the feed ended");
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            self.body
                .push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
        let (event, rest) = self.body.split_once("\n\n").unwrap();
        let mut found = Event::default();
        for line in event.lines() {
            match line.split_once(": ").unwrap() {
                ("event", name) => found.name = name.to_owned(),
                ("id", id) => found.id = id.to_owned(),
                ("data", data) => found.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
        self.body = rest.to_owned();
        found
    }

    /// The name and the id of the next span.
    fn span(&mut self) -> (String, String) {
        let event = self.next();
        assert_eq!(event.name, "span", "{event:?}");
        (event.data["name"].as_str().unwrap().to_owned(), event.id)
    }
}

/// Sends a span of a service.
fn send(daemon: &Daemon, service: &str, number: u8) {
    let span = span(&[number; 16], &[number; 8], &format!("op {number}"));
    post_accepted(daemon.addresses().http, &request(service, vec![span]));
}

// Scenario: a client follows the spans of a service, on both stores; the daemon is killed, and spans
// arrive before the client is back.
// Guarantees: it hears of every span of that service once, in the order in which they were sent.
#[test]
fn a_client_hears_of_each_span_once_across_a_kill() {
    for store in [Store::Sqlite, Store::Postgres] {
        let mut daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "10ms")]);
        send(&daemon, "shop", 1);
        daemon.await_trace(&[1; 16], 1);
        let mut tail = Tail::follow(daemon.addresses().gateway, "?service=shop", None);
        send(&daemon, "shop", 2);
        assert_eq!(tail.span().0, "op 2");
        send(&daemon, "other", 3);
        send(&daemon, "shop", 4);
        let (name, id) = tail.span();
        assert_eq!(name, "op 4");
        daemon.process.kill9();
        daemon.restart();
        send(&daemon, "shop", 5);
        daemon.await_trace(&[5; 16], 1);
        let api = daemon.addresses().gateway;
        let mut tail = Tail::follow(api, "?service=shop", Some(&id));
        assert_eq!(tail.span().0, "op 5");
        send(&daemon, "shop", 6);
        assert_eq!(tail.span().0, "op 6");
    }
}

// Scenario: one process takes spans and answers queries, another stores them.
// Guarantees: who follows the first hears of what the second stores.
#[test]
fn what_another_process_stores_is_told_of() {
    let cluster = Cluster::new(&[("processors.batch.timeout", "10ms")]);
    let (api, _listener) = (cluster.start("api"), cluster.start("listener"));
    let mut tail = Tail::follow(api.addresses().gateway, "?name=op%207", None);
    send(&api, "shop", 6);
    send(&api, "shop", 7);
    assert_eq!(tail.span().0, "op 7");
}

/// A client that takes nothing of an answer, by HTTP/2: it grants no window, and is well otherwise.
struct Idler {
    _answer: Response<Incoming>,
    _sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Idler {
    /// None when it is refused.
    async fn ask(address: SocketAddr, request: Request<Full<Bytes>>) -> Option<Self> {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async { drop(connection.await) });
        let answer = sender.send_request(request).await.unwrap();
        let is_refused = answer.status() != 200 || answer.headers().contains_key("grpc-status");
        (!is_refused).then_some(Self {
            _answer: answer,
            _sender: sender,
            _connection: tasks,
        })
    }

    /// One that follows by server-sent events.
    async fn events(daemon: &Daemon) -> Option<Self> {
        let address = daemon.addresses().gateway;
        let request = Request::get(format!("http://{address}/api/v1/tail"));
        Self::ask(address, request.body(Full::default()).unwrap()).await
    }

    /// One that follows by gRPC.
    async fn messages(daemon: &Daemon) -> Option<Self> {
        let address = daemon.addresses().grpc;
        let uri = format!("http://{address}/pulse.trace.v1.TraceQuery/Tail");
        let request = Request::post(uri)
            .header("te", "trailers")
            .header("content-type", "application/grpc");
        let message = Full::new(Bytes::from(raw_grpc::frame(false, &[])));
        Self::ask(address, request.body(message).unwrap()).await
    }
}

// Scenario: as many clients as may follow do so by HTTP/2, and take nothing of what they are told; others
// come until there is a seat for them, and do the same; then the daemon is stopped.
// Guarantees: who takes nothing does not keep a seat; the daemon is not held up.
#[test]
fn who_takes_nothing_keeps_no_seat_and_holds_up_no_stop() {
    let mut daemon = Daemon::spawn(&[("gateway.max_tail_watchers", "2")]);
    let runtime = runtime();
    let events = || runtime.block_on(Idler::events(&daemon));
    let messages = || runtime.block_on(Idler::messages(&daemon));
    let first = (events(), messages());
    assert!(first.0.is_some() && first.1.is_some());
    assert!(events().is_none() && messages().is_none());
    let second = (
        eventually("a free seat", 4 * PATIENCE, events),
        eventually("another free seat", 4 * PATIENCE, messages),
    );
    let stopped = Instant::now();
    daemon.process.sigterm();
    assert!(daemon.process.wait_exit(2 * PATIENCE).success());
    // The drain may take half a minute.
    assert!(stopped.elapsed() < PATIENCE, "{:?}", stopped.elapsed());
    drop((first, second));
}

// Scenario: more spans match than a client wants in a second: of two who follow, one asked for all spans
// and one for some.
// Guarantees: each gets as many as it wants, and is told how many that match it did not get.
#[test]
fn what_is_over_the_rate_is_counted() {
    let daemon = Daemon::spawn(&[]);
    let gateway = daemon.addresses().gateway;
    let mut all = Tail::follow(gateway, "?rate=3", None);
    let mut some = Tail::follow(gateway, "?rate=3&name=many", None);
    let spans = (1..=50).map(|number| {
        let name = if number % 2 == 0 { "many" } else { "more" };
        span(&[9; 16], &[number; 8], name)
    });
    post_accepted(daemon.addresses().http, &request("shop", spans.collect()));
    for (tail, names, over) in [
        (&mut all, ["more", "many", "more"], 47),
        (&mut some, ["many"; 3], 22),
    ] {
        for name in names {
            assert_eq!(tail.span().0, name);
        }
        let missed = tail.next();
        assert_eq!(missed.name, "missed");
        assert_eq!(
            missed.data,
            serde_json::json!({"unseen": 0, "over_rate": over})
        );
    }
}

// Scenario: somebody follows a service with the command, as lines and as JSON; the daemon is killed and
// comes back, with spans of that service and of another before and after.
// Guarantees: each span of the service is printed once; the command goes on by itself.
#[test]
fn the_command_prints_each_span_once_across_a_kill() {
    let mut daemon = Daemon::spawn_on(Store::Postgres, &[("processors.batch.timeout", "10ms")]);
    let lines = daemon.setup.launch_with(&["tail", "service=shop"]);
    let json = ["tail", "--json", "service=shop", "name=op 5"];
    let json = daemon.setup.launch_with(&json);
    for process in [&lines, &json] {
        let said = || {
            process
                .output()
                .contains("-- following http://")
                .then_some(())
        };
        eventually("the command to follow", PATIENCE, said);
    }
    let printed = |name: &str| {
        let said = || lines.output().contains(name).then_some(());
        eventually(name, PATIENCE, said);
    };
    send(&daemon, "shop", 2);
    printed("op 2");
    daemon.process.kill9();
    daemon.restart();
    send(&daemon, "other", 3);
    send(&daemon, "shop", 5);
    printed("op 5");
    let output = lines.output();
    assert_eq!(output.matches("op 2").count(), 1, "{output}");
    assert!(
        !output.contains("op 3") && output.contains("trying again"),
        "{output}"
    );
    let line = output.lines().find(|line| line.contains("op 5")).unwrap();
    assert!(
        line.contains(" shop ") && line.ends_with(&hex(&[5; 16])),
        "{line}"
    );
    let said = || json.output().contains("\"op 5\"").then_some(json.output());
    let output = eventually("JSON", PATIENCE, said);
    let line = output.lines().find(|line| line.starts_with('{')).unwrap();
    let span: Value = serde_json::from_str(line).unwrap();
    assert_eq!(span["trace_id"], hex(&[5; 16]));
}

// Scenario: the command is started with a filter that there is not, without a key that is needed, with
// one, and where nothing listens.
// Guarantees: it ends at once and says what is wrong; with the key it follows.
#[test]
fn the_command_says_why_it_does_not_follow() {
    let daemon = Daemon::spawn(&[]);
    let refused = |arguments: &[&str], expected: &str| {
        let output = daemon.setup.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    refused(
        &["tail", "statsu=error"],
        "statsu: unknown parameter; did you mean status?",
    );
    refused(
        &["tail", "--endpoint", "127.0.0.1:1"],
        "connect to 127.0.0.1:1",
    );
    refused(
        &["tail", "--endpoint", "ftp://x"],
        "expected http://host:port",
    );
    let key = create_key(&daemon.setup, "default", "read");
    let wants_key = || {
        let output = daemon.setup.run(&["tail", "statsu=error"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.contains("--api-key or PULSE_API_KEY").then_some(())
    };
    eventually("a key to be needed", PATIENCE, wants_key);
    let tail = daemon.setup.launch_with(&["tail", "--api-key", &key.text]);
    let said = || tail.output().contains("-- following").then_some(());
    eventually("the command to follow", PATIENCE, said);
}
