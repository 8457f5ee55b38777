//! Sending everything on to another backend: what the first acknowledges is at the second, once,
//! whatever happens to either or between them, and nothing of that costs the first anything.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::access::create_key;
use crate::cluster::Cluster;
use crate::daemon::{Daemon, Setup, Store, eventually, on_both_stores};
use crate::fault_proxy::FaultProxy;
use crate::http;
use crate::load::Load;
use crate::otlp::{JSON, now, post_accepted, request, span, text};
use crate::random::Random;

const PATIENCE: Duration = Duration::from_secs(60);

/// Small segments, and retries that come soon.
const SETTINGS: &[(&str, &str)] = &[
    ("queue.segment_size", "64KiB"),
    ("processors.batch.timeout", "20ms"),
    ("exporters.otlp.timeout", "2s"),
    ("exporters.otlp.retry_on_failure.initial_interval", "50ms"),
    ("exporters.otlp.retry_on_failure.max_interval", "200ms"),
];

/// How long the second is away in the middle of a test.
fn outage() -> Duration {
    let seconds = std::env::var("PULSE_TEE_OUTAGE_SECONDS").ok();
    let seconds = seconds.map_or(1, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

fn sending(directory: &tempfile::TempDir, endpoint: &str, protocol: &str) -> Setup {
    let setup = Setup::new(&directory.path().join("data"))
        .set("exporters.otlp.endpoint", endpoint)
        .set("exporters.otlp.protocol", protocol);
    SETTINGS
        .iter()
        .fold(setup, |setup, (key, value)| setup.set(key, value))
}

fn await_sent(daemon: &Daemon) {
    eventually("everything to be sent", PATIENCE, || {
        let nothing_left = daemon.metric("pulse_exporter_backlog_requests") == 0.0
            && daemon.metric("pulse_exporter_queue_size_bytes") == 0.0;
        nothing_left.then_some(())
    });
}

/// Waits until so many items had this outcome.
fn await_count(daemon: &Daemon, outcome: &str, count: f64) {
    let name = format!("pulse_exporter_{outcome}_total");
    eventually(&format!("{name} to be {count}"), PATIENCE, || {
        let found = daemon.metric(&name);
        assert!(found <= count, "{name} is {found}");
        (found == count).then_some(())
    });
}

/// Sends a JSON request until it is acknowledged.
fn post_json(address: SocketAddr, path: &str, body: &Value) {
    eventually("a request to be acknowledged", PATIENCE, || {
        let answer = http::post(address, path, &[JSON], body.to_string().as_bytes()).ok()?;
        (answer.status == 200).then_some(())
    });
}

/// Log records, of which two are alike, and a data point.
fn post_others(address: SocketAddr, number: u64, start: u64) {
    let resource = json!({"attributes": [
        {"key": "service.name", "value": {"stringValue": "others"}}
    ]});
    let time = start + number;
    let record = |text: &str| {
        json!({
            "timeUnixNano": time.to_string(), "severityNumber": 9,
            "body": {"stringValue": format!("{number} {text}")}
        })
    };
    let records = [record("twice"), record("twice"), record("once")];
    let logs = json!({"resourceLogs": [
        {"resource": resource, "scopeLogs": [{"logRecords": records}]}
    ]});
    // As a client does whose answer was lost.
    for _ in 0..=number % 2 {
        post_json(address, "/v1/logs", &logs);
    }
    let point = json!({
        "timeUnixNano": time.to_string(), "startTimeUnixNano": start.to_string(), "asInt": "1"
    });
    let sum = json!({"dataPoints": [point], "aggregationTemporality": 1, "isMonotonic": true});
    let metrics = json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [
        {"metrics": [{"name": "others", "sum": sum}]}
    ]}]});
    post_json(address, "/v1/metrics", &metrics);
}

/// What is shown of them: ids of events, and the sum of the points.
fn others(daemon: &Daemon, start: u64) -> (BTreeSet<String>, Value) {
    let events = daemon.list("/api/v1/events?service=others");
    let ids = events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap().to_owned());
    let range = format!("start={start}&end={}", start + 3_600_000_000_000);
    let answer = daemon.api(&format!("/api/v1/metrics/others?aggregation=sum&{range}"));
    let sum = answer.json()["groups"][0]["points"][0]["value"].clone();
    (ids.collect(), sum)
}

fn assert_others(daemon: &Daemon, numbers: u64, start: u64) -> BTreeSet<String> {
    eventually("log records and points to be shown", PATIENCE, || {
        let (ids, sum) = others(daemon, start);
        (ids.len() as u64 >= numbers * 3 && sum.as_f64()? >= numbers as f64).then_some(())
    });
    let (ids, sum) = others(daemon, start);
    assert_eq!(ids.len() as u64, numbers * 3);
    assert_eq!(sum.as_f64().unwrap(), numbers as f64);
    ids
}

/// Clients send to the first while the second is away, either is killed, and nothing gets through.
fn outages_and_kills(protocol: &str, store: Store) {
    let mut random = Random::from_environment("tee_kills");
    let directory = tempfile::tempdir().unwrap();
    let mut second = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    let addresses = second.addresses();
    let target = match protocol {
        "grpc" => addresses.grpc,
        _ => addresses.http,
    };
    let proxy = FaultProxy::start(target);
    let endpoint = format!("http://{}", proxy.address());
    let mut first = Daemon::spawn_with(sending(&directory, &endpoint, protocol).on(store));
    let address = first.addresses().http;
    let start = now();
    let load = Load::start_paced(first.addresses().grpc, 2, random.next());
    load.await_more(10);
    post_others(address, 0, start);

    // Nobody is there.
    proxy.refuse();
    proxy.cut();
    eventually("the outage to be known", PATIENCE, || {
        (first.metric("pulse_exporter_up") == 0.0).then_some(())
    });
    std::thread::sleep(outage());
    load.await_more(30);
    post_others(address, 1, start);
    // The store knows nothing of it.
    assert!(first.is_alive_and_ready());
    assert_eq!(first.metric("pulse_receiver_refused_spans_total"), 0.0);
    first.process.kill9();
    first.restart();
    load.await_more(10);
    post_others(address, 2, start);
    proxy.heal();
    load.await_more(10);

    // Connections stay open, and nothing gets through.
    proxy.freeze();
    load.await_more(30);
    proxy.heal();
    second.process.kill9();
    load.await_more(10);
    post_others(address, 3, start);
    second.restart();
    load.await_more(20);
    first.process.kill9();
    first.restart();
    post_others(address, 4, start);
    load.await_more(10);

    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&first);
    await_sent(&first);
    assert_eq!(first.metric("pulse_exporter_up"), 1.0);
    for name in ["send_failed_spans", "rejected_spans", "given_up_requests"] {
        assert_eq!(first.metric(&format!("pulse_exporter_{name}_total")), 0.0);
    }
    ledger.assert_shown(&second);
    let sent = assert_others(&second, 5, start);
    assert_eq!(assert_others(&first, 5, start), sent);
}

// Scenario: a daemon sends everything on over gRPC; the other one is out of reach, silent, killed; the
// first is killed meanwhile, twice.
// Guarantees: spans, log records and data points that were acknowledged are at both, once; the first
// refuses nothing and stays ready.
fn everything_arrives_once_over_grpc(store: Store) {
    outages_and_kills("grpc", store);
}

// Scenario: the same over HTTP.
#[test]
fn everything_arrives_once_over_http() {
    outages_and_kills("http/protobuf", Store::Sqlite);
}

// Scenario: a process that takes requests and another one that stores and sends them; this one is
// killed while the backend is away, and replaced.
// Guarantees: everything acknowledged is at the backend, once.
#[test]
fn a_listener_sends_what_another_process_takes() {
    let mut random = Random::from_environment("tee_listener");
    let second = Daemon::spawn(&[("processors.batch.timeout", "20ms")]);
    let proxy = FaultProxy::start(second.addresses().grpc);
    let endpoint = format!("http://{}", proxy.address());
    let mut settings = SETTINGS.to_vec();
    settings.push(("exporters.otlp.endpoint", &endpoint));
    settings.push(("queue.partitions", "2"));
    let cluster = Cluster::new(&settings);
    let api = cluster.start("api");
    let mut listener = cluster.start("listener");
    // Sending begins with the listener.
    eventually("the listener to hold both partitions", PATIENCE, || {
        let output = listener.process.output();
        (output.matches("storing a partition of the log").count() == 2).then_some(())
    });
    let load = Load::start_paced(api.addresses().grpc, 2, random.next());
    load.await_more(10);
    proxy.refuse();
    proxy.cut();
    load.await_more(30);
    listener.process.kill9();
    load.await_more(10);
    let successor = cluster.start("listener");
    load.await_more(10);
    proxy.heal();
    let ledger = load.stop();
    ledger.assert_refusals_retryable();
    ledger.assert_stored(&api);
    eventually("everything to be sent", PATIENCE, || {
        (successor.metric("pulse_exporter_backlog_requests") == 0.0).then_some(())
    });
    ledger.assert_shown(&second);
    eventually("nothing to be kept", PATIENCE, || {
        (api.metric("pulse_exporter_queue_size_bytes") == 0.0).then_some(())
    });
}

// Scenario: the other one wants TLS and a key; requests are packed.
// Guarantees: they are sent so over both protocols; the key is shown nowhere.
#[test]
fn tls_keys_and_compression_are_as_configured() {
    let mut random = Random::from_environment("tee_tls");
    let certificates = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["backend.example".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| certificates.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let [cert, key] = [cert, key].map(|path| path.display().to_string());
    let second = Daemon::spawn(&[
        ("receivers.otlp.protocols.grpc.tls.cert_file", &cert),
        ("receivers.otlp.protocols.grpc.tls.key_file", &key),
        ("receivers.otlp.protocols.http.tls.cert_file", &cert),
        ("receivers.otlp.protocols.http.tls.key_file", &key),
    ]);
    let secret = create_key(&second.setup, "default", "ingest,read").text;
    let addresses = second.addresses();
    for (protocol, address, compression) in [
        ("grpc", addresses.grpc, "gzip"),
        ("http/protobuf", addresses.http, "zstd"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        // TLS is what an endpoint without a scheme means.
        let setup = sending(&directory, &address.to_string(), protocol)
            .set("exporters.otlp.tls.ca_file", &cert)
            .set("exporters.otlp.tls.server_name_override", "backend.example")
            .set("exporters.otlp.compression", compression)
            .set(
                "exporters.otlp.headers.authorization",
                "Bearer ${env:TEE_KEY}",
            )
            .environment("TEE_KEY", &secret);
        let printed = setup.run(&["print-config"]);
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert!(
            printed.contains("authorization: \"***\"") || printed.contains("'***'"),
            "{printed}"
        );
        assert!(!printed.contains(&secret), "{printed}");
        let first = Daemon::spawn_with(setup);
        let trace_id = random.id::<16>();
        let spans = (1..50_u8).map(|number| span(&trace_id, &[number; 8], "over TLS"));
        let sent = request("tls", spans.collect());
        post_accepted(first.addresses().http, &sent);
        await_count(&first, "sent_spans", 49.0);
        eventually("the trace to be shown", PATIENCE, || {
            let path = format!("/api/v1/traces/{}", crate::otlp::hex(&trace_id));
            let answer = crate::access::get(&second, &path, &secret);
            (answer.status == 200 && answer.json()["trace"]["span_count"] == 49).then_some(())
        });
        let metrics = http::get(first.addresses().metrics, "/metrics")
            .unwrap()
            .text();
        assert!(!metrics.contains(&secret) && !first.process.output().contains(&secret));
    }
}

/// A backend that answers as it is told, and keeps what it was sent.
struct Scripted {
    address: SocketAddr,
    /// What came, with the status it got, and when.
    requests: Arc<Mutex<Vec<(u16, String, Instant)>>>,
}

impl Scripted {
    /// `script` says the status, the headers and the body of the answer, by the number of the request.
    fn start(
        script: impl Fn(usize, &str) -> (u16, &'static str, Vec<u8>) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let Some(name) = read_span_name(&stream) else {
                    continue;
                };
                let number = kept.lock().unwrap().len();
                let (status, headers, body) = script(number, &name);
                kept.lock().unwrap().push((status, name, Instant::now()));
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} Said\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                (&stream).write_all(&[head.as_bytes(), &body].concat()).ok();
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<(u16, String, Instant)> {
        self.requests.lock().unwrap().clone()
    }

    fn first(&self, directory: &tempfile::TempDir) -> Daemon {
        let endpoint = format!("http://{}/prefix", self.address);
        let setup = sending(directory, &endpoint, "http/protobuf")
            .set("exporters.otlp.compression", "none")
            .set("exporters.otlp.sending_queue.num_consumers", "1");
        Daemon::spawn_with(setup)
    }
}

/// The name of the first span of a request.
fn read_span_name(stream: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    let mut first = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if first.is_empty() {
            first = line.clone();
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
    }
    assert!(first.starts_with("POST /prefix/v1/traces "), "{first}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    Some(
        request.resource_spans[0].scope_spans[0].spans[0]
            .name
            .clone(),
    )
}

fn post_span(daemon: &Daemon, random: &mut Random, name: &str) {
    let sent = request("scripted", vec![span(&random.id::<16>(), &[1; 8], name)]);
    post_accepted(daemon.addresses().http, &sent);
}

// Scenario: a backend asks to come back later, in both ways; then it takes requests.
// Guarantees: the same request comes again, not before the time asked for, and then the next one.
#[test]
fn a_busy_backend_is_asked_again_when_it_wants() {
    let mut random = Random::from_environment("tee_busy");
    let backend = Scripted::start(|number, _| match number {
        0 => (503, "retry-after: 1\r\n", Vec::new()),
        1 => (429, "", Vec::new()),
        _ => (200, "", Vec::new()),
    });
    let directory = tempfile::tempdir().unwrap();
    let first = backend.first(&directory);
    post_span(&first, &mut random, "one");
    post_span(&first, &mut random, "two");
    await_count(&first, "sent_spans", 2.0);
    let requests = backend.requests();
    let said: Vec<_> = requests
        .iter()
        .map(|(status, name, _)| (*status, name.as_str()))
        .collect();
    assert_eq!(
        said,
        [(503, "one"), (429, "one"), (200, "one"), (200, "two")]
    );
    assert!(requests[1].2 - requests[0].2 >= Duration::from_secs(1));
    assert_eq!(first.metric("pulse_exporter_retries_total"), 2.0);
}

// Scenario: a backend refuses a request for good, takes one in part, and answers too much.
// Guarantees: none of them comes again, all are counted as what they are, later ones go on.
#[test]
fn what_is_refused_for_good_holds_up_nothing() {
    let mut random = Random::from_environment("tee_refused");
    let backend = Scripted::start(|_, name| match name {
        "bad" => (400, "", b"no such thing".to_vec()),
        // One span rejected, "odd".
        "odd" => (200, "", vec![0x0a, 7, 0x08, 1, 0x12, 3, b'o', b'd', b'd']),
        "loud" => (200, "", vec![0; 5 << 20]),
        _ => (200, "", Vec::new()),
    });
    let directory = tempfile::tempdir().unwrap();
    let first = backend.first(&directory);
    for name in ["bad", "odd", "loud", "good"] {
        post_span(&first, &mut random, name);
    }
    await_count(&first, "sent_spans", 1.0);
    let names: Vec<_> = backend
        .requests()
        .into_iter()
        .map(|(_, name, _)| name)
        .collect();
    assert_eq!(names, ["bad", "odd", "loud", "good"]);
    let metric = |name: &str| first.metric(&format!("pulse_exporter_{name}_spans_total"));
    assert_eq!(
        (metric("sent"), metric("rejected"), metric("send_failed")),
        (1.0, 1.0, 2.0)
    );
    let output = first.process.output();
    assert!(output.contains("400 Bad Request no such thing"), "{output}");
}

// Scenario: of a request, some spans are invalid; of another one, the service is not to be sent.
// Guarantees: only what was accepted and is wanted leaves.
#[test]
fn only_what_was_accepted_and_is_wanted_is_sent() {
    let mut random = Random::from_environment("tee_filter");
    let second = Daemon::spawn(&[]);
    let directory = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{}", second.addresses().grpc);
    let setup = sending(&directory, &endpoint, "grpc").set("exporters.otlp.services", "[web*]");
    let first = Daemon::spawn_with(setup);
    let (wanted, other) = (random.id::<16>(), random.id::<16>());
    let invalid = span(&[0; 16], &[1; 8], "invalid");
    let mixed = request("web-1", vec![span(&wanted, &[1; 8], "valid"), invalid]);
    let answer = crate::otlp::post(first.addresses().http, &mixed);
    assert_eq!(answer.status, 200);
    post_accepted(
        first.addresses().http,
        &request("api", vec![span(&other, &[1; 8], "other")]),
    );
    first.await_trace(&other, 1);
    await_count(&first, "sent_spans", 1.0);
    second.await_trace(&wanted, 1);
    await_sent(&first);
    assert!(second.trace(&other).is_none());
    assert_eq!(first.metric("pulse_exporter_sent_spans_total"), 1.0);
    assert_eq!(first.metric("pulse_exporter_rejected_spans_total"), 0.0);
}

/// Segments that are kept to be sent.
fn kept(daemon: &Daemon) -> usize {
    let entries = std::fs::read_dir(daemon.setup.data_dir.join("wal/p0")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".held")).count()
}

// Scenario: the backend is away until more is kept than may be; then sending is switched off.
// Guarantees: the oldest is given up and counted, nothing is refused, everything is stored; what was
// kept goes when nobody wants it any more; a stop does not wait for the backend.
#[test]
fn a_full_limit_costs_the_store_nothing() {
    let mut random = Random::from_environment("tee_limit");
    let directory = tempfile::tempdir().unwrap();
    let setup = sending(&directory, "http://127.0.0.1:1", "grpc")
        .set("exporters.otlp.sending_queue.max_size", "256KiB");
    let mut first = Daemon::spawn_with(setup);
    let filler = text("filler", &"x".repeat(20_000));
    let mut traces = Vec::new();
    for _ in 0..100 {
        let trace_id = random.id::<16>();
        let mut large = span(&trace_id, &[1; 8], "large");
        large.attributes.push(filler.clone());
        post_accepted(first.addresses().http, &request("limit", vec![large]));
        traces.push(trace_id);
    }
    let given_up = eventually("requests to be given up", PATIENCE, || {
        let given_up = first.metric("pulse_exporter_given_up_requests_total");
        (given_up > 60.0).then_some(given_up)
    });
    assert!(given_up < 100.0, "{given_up}");
    assert!(first.metric("pulse_exporter_queue_size_bytes") <= 262_144.0);
    assert_eq!(
        first.metric("pulse_exporter_queue_capacity_bytes"),
        262_144.0
    );
    assert_eq!(first.metric("pulse_receiver_refused_spans_total"), 0.0);
    assert!(first.is_alive_and_ready());
    for trace_id in &traces {
        first.await_trace(trace_id, 1);
    }
    assert!(first.process.output().contains("given up unsent"));
    first.process.sigterm();
    assert!(first.process.wait_exit(Duration::from_secs(20)).success());
    assert!(kept(&first) > 0);

    let mut without = Setup::new(&first.setup.data_dir);
    without.addresses = first.setup.addresses;
    let without = Daemon::spawn_with(without.set("queue.segment_size", "64KiB"));
    assert_eq!(kept(&without), 0);
    assert_eq!(without.metric("pulse_exporter_queue_size_bytes"), 0.0);
    without.await_trace(&traces[0], 1);
}

on_both_stores! {
    everything_arrives_once_over_grpc,
}
