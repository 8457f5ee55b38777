//! Following what is stored.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::daemon::{Daemon, Store};
use crate::otlp::{post_accepted, request, span};

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

// Scenario: more spans match than a client wants in a second.
// Guarantees: it gets as many as it wants, and is told how many it did not get.
#[test]
fn what_is_over_the_rate_is_counted() {
    let daemon = Daemon::spawn(&[]);
    let mut tail = Tail::follow(daemon.addresses().gateway, "?rate=3", None);
    let spans = (1..=50).map(|number| span(&[9; 16], &[number; 8], "many"));
    post_accepted(daemon.addresses().http, &request("shop", spans.collect()));
    for _ in 0..3 {
        assert_eq!(tail.span().0, "many");
    }
    let missed = tail.next();
    assert_eq!(missed.name, "missed");
    assert_eq!(
        missed.data,
        serde_json::json!({"unseen": 0, "over_rate": 47})
    );
}
