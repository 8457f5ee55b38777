//! What must not be kept is nowhere, from the first byte that is written on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message as _;

use crate::api::VISIBLE_WITHIN;
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http;
use crate::otlp::{
    JSON, PROTOBUF, grpc_client, hex, key_value, post_accepted, request, runtime, span, text,
};
use crate::otlp_json;

const RULES: &str = "[
    {name: content, drop_content: true},
    {name: headers, keys: ['http.request.header.*', '*.password'], action: remove},
    {name: people, keys: [user.email], action: hash},
    {name: texts, detectors: [email, phone, payment_card, iban, api_key, jwt, private_key],
     patterns: ['EMP-\\d{6}'],
     scope: [span, event, link, resource, instrumentation, span_name, event_name, status_message]}]";
const HASH_KEY: &str = "MARKERHASHKEY0123456789";

/// What is looked for in every file and answer. `MARKER` is in what goes by its key.
const SECRETS: &[&str] = &[
    "MARKER",
    "bob.secret@example.com",
    "+49 30 90182075",
    "4111 1111 1111 1111",
    "4111111111111111",
    "DE89370400440532013000",
    "sk-aB3dE5gH7jK9mN1pQ3sT5v",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "MIIEvQIBADANBgkqhkiG9w0",
    "EMP-123456",
];

/// A text with every secret that is found by how it looks.
fn letter() -> String {
    let found = SECRETS.iter().skip(1).map(|secret| match *secret {
        body @ "MIIEvQIBADANBgkqhkiG9w0" => {
            format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----")
        }
        other => other.to_owned(),
    });
    found.collect::<Vec<_>>().join(", ")
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

/// Secrets in every place that may have some. `padding` makes a large request of it.
fn secret_request(trace_id: &[u8; 16], padding: usize) -> ExportTraceServiceRequest {
    let letter = letter();
    let json = serde_json::json!({"to": [{"letter": &letter, "card": 4_111_111_111_111_111_u64}]});
    let list = KeyValueList {
        values: vec![
            text("letter", &letter),
            text("db.password", "MARKER"),
            key_value("bytes", Value::BytesValue(letter.clone().into_bytes())),
        ],
    };
    let attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.request.model", "gpt-5"),
        key_value("gen_ai.usage.input_tokens", Value::IntValue(42)),
        text("gen_ai.input.messages", "MARKER"),
        text("gen_ai.prompt.0.content", "MARKER"),
        text("http.request.header.authorization", "MARKER"),
        text("user.email", "bob.secret@example.com"),
        text("letter", &letter),
        text("json", &json.to_string()),
        key_value(
            "nested",
            Value::ArrayValue(ArrayValue {
                values: vec![any(Value::KvlistValue(list))],
            }),
        ),
        text("padding", &"no secret ".repeat(padding)),
    ];
    let events = vec![
        Event {
            name: "gen_ai.user.message".to_owned(),
            attributes: vec![text("content", "MARKER")],
            ..Event::default()
        },
        Event {
            name: format!("wrote {letter}"),
            attributes: vec![text("letter", &letter)],
            ..Event::default()
        },
    ];
    let secret = Span {
        attributes,
        events,
        status: Some(Status {
            message: format!("refused: {letter}"),
            code: 2,
        }),
        ..span(trace_id, &[7; 8], &format!("GET {letter}"))
    };
    // One without a valid id is in the log beside it.
    let rejected = Span {
        attributes: vec![text("letter", &letter)],
        ..span(&[], &[8; 8], "rejected")
    };
    let mut request = request("secrets", vec![secret, rejected]);
    if let Some(resource) = &mut request.resource_spans[0].resource {
        resource.attributes.push(text("owner", &letter));
    }
    if let Some(scope) = &mut request.resource_spans[0].scope_spans[0].scope {
        scope.attributes.push(text("owner", &letter));
    }
    request
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    memchr::memmem::find(bytes, secret.as_bytes()).is_some()
}

#[track_caller]
fn assert_no_secret(what: &str, bytes: &[u8]) {
    for secret in SECRETS {
        assert!(!contains(bytes, secret), "{secret} in {what}");
    }
}

/// Looks through every byte in the data directory. Answers how many had something in them.
fn search_files(daemon: &Daemon) -> usize {
    let mut paths = Vec::new();
    files(&daemon.setup.data_dir, &mut paths);
    let mut bytes_found = 0;
    for path in paths {
        // Log segments may be recycled meanwhile.
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        bytes_found += bytes.len();
        assert_no_secret(&path.display().to_string(), &bytes);
    }
    bytes_found
}

fn search_answers(daemon: &Daemon, trace_id: &[u8]) {
    let trace = hex(trace_id);
    for path in [
        format!("/api/v1/traces/{trace}"),
        format!("/api/v1/traces/{trace}?format=otlp"),
        format!("/api/v1/spans/{trace}/0707070707070707"),
        "/api/v1/traces".to_owned(),
        "/api/v1/spans".to_owned(),
        "/api/v1/services".to_owned(),
    ] {
        let answer = daemon.api(&path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_no_secret(&path, &answer.body);
    }
    let metrics = http::get(daemon.addresses().metrics, "/metrics").unwrap();
    assert_no_secret("/metrics", &metrics.body);
}

/// Sends the same request by each protocol, with a trace of its own.
fn send_by_every_protocol(daemon: &Daemon, padding: usize) -> [[u8; 16]; 3] {
    let traces = [[1_u8; 16], [2; 16], [3; 16]].map(|mut id| {
        id[15] = u8::from(padding > 0);
        id
    });
    let addresses = daemon.addresses();
    let [grpc, protobuf, json] = traces.map(|trace| secret_request(&trace, padding));
    let sent = runtime().block_on(async { grpc_client(addresses.grpc).export(grpc).await });
    let partial = sent.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert_no_secret("the answer to gRPC", partial.error_message.as_bytes());
    let bodies = [
        (PROTOBUF, protobuf.encode_to_vec()),
        (JSON, otlp_json::encode(&json).to_string().into_bytes()),
    ];
    for (content_type, body) in bodies {
        let answer = http::post(addresses.http, "/v1/traces", &[content_type], &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_no_secret("an answer", &answer.body);
    }
    traces
}

fn settings(batch: &str) -> Vec<(&'static str, String)> {
    vec![
        ("processors.redaction.enabled", "true".to_owned()),
        ("processors.redaction.hash_key", HASH_KEY.to_owned()),
        ("processors.redaction.rules", RULES.to_owned()),
        ("processors.batch.timeout", batch.to_owned()),
        ("queue.segment_size", "4MiB".to_owned()),
    ]
}

fn spawn(store: Store, batch: &str) -> Daemon {
    let settings = settings(batch);
    let settings: Vec<_> = settings
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    Daemon::spawn_on(store, &settings)
}

/// What is left of the span is what no rule is about.
fn assert_kept(daemon: &Daemon, trace_id: &[u8]) {
    let request = eventually("the trace", VISIBLE_WITHIN, || daemon.trace_otlp(trace_id));
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let [kept] = spans.as_slice() else {
        panic!("{} spans", spans.len());
    };
    assert_eq!(
        (kept.trace_id.as_slice(), kept.span_id.as_slice()),
        (trace_id, &[7; 8][..])
    );
    let attribute = |key: &str| {
        kept.attributes
            .iter()
            .find(|it: &&KeyValue| it.key == key)
            .cloned()
    };
    assert_eq!(
        attribute("gen_ai.request.model"),
        Some(text("gen_ai.request.model", "gpt-5"))
    );
    let tokens = key_value("gen_ai.usage.input_tokens", Value::IntValue(42));
    assert_eq!(attribute("gen_ai.usage.input_tokens"), Some(tokens));
    for key in [
        "gen_ai.input.messages",
        "gen_ai.prompt.0.content",
        "http.request.header.authorization",
    ] {
        assert_eq!(attribute(key), None, "{key}");
    }
    let expected = "[email], [phone], [payment_card], [payment_card], [iban], [api_key], [jwt], \
                    [private_key], [redacted]";
    assert_eq!(attribute("letter"), Some(text("letter", expected)));
    assert_eq!(kept.name, format!("GET {expected}"));
    assert_eq!(
        kept.status.as_ref().unwrap().message,
        format!("refused: {expected}")
    );
    assert_eq!(kept.events[0].attributes, []);
    assert_eq!(kept.events[1].name, format!("wrote {expected}"));
    let Some(AnyValue {
        value: Some(Value::StringValue(json)),
    }) = attribute("json").unwrap().value
    else {
        panic!("no json");
    };
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["to"][0]["card"], "[payment_card]");
    let Some(AnyValue {
        value: Some(Value::StringValue(hash)),
    }) = attribute("user.email").unwrap().value
    else {
        panic!("no hash");
    };
    assert!(
        hash.len() == 24 && hash.bytes().all(|it| it.is_ascii_hexdigit()),
        "{hash}"
    );
}

/// Looks through every row of every table, as text.
fn search_database(daemon: &Daemon) {
    let Some(database) = daemon.setup.database() else {
        return;
    };
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables \
                  where schemaname not in ('pg_catalog', 'information_schema')";
    let mut rows_found = 0;
    for table in database.rows(tables) {
        let table = table[0].clone().unwrap();
        for row in database.rows(&format!("select row_to_json(t)::text from {table} t")) {
            let row = row[0].clone().unwrap();
            assert_no_secret(&table, row.as_bytes());
            // Binary columns are in hexadecimal digits there.
            let low = row.to_lowercase();
            for secret in SECRETS {
                assert!(
                    !low.contains(&hex(secret.as_bytes())),
                    "{secret} in {table}"
                );
            }
            rows_found += 1;
        }
    }
    assert!(rows_found > 5, "{rows_found} rows");
}

// Scenario: requests full of secrets come by gRPC, protobuf and JSON over HTTP, small ones and
// one that is searched off the async threads; the daemon is killed before it has stored them, and
// again after it has.
// Guarantees: no secret is in any file, before and after the kills, nor in the database, nor in any
// answer; everything else is.
fn secrets_are_nowhere(store: Store) {
    // So long that nothing is stored before the kill.
    let mut daemon = spawn(store, "1h");
    let mut traces = Vec::from(send_by_every_protocol(&daemon, 0));
    traces.extend(send_by_every_protocol(&daemon, 100_000));
    assert!(search_files(&daemon) > 1 << 20);
    daemon.process.kill9();
    search_files(&daemon);
    daemon.setup = daemon.setup.clone().set("processors.batch.timeout", "20ms");
    daemon.restart();
    for trace in &traces {
        assert_kept(&daemon, trace);
        search_answers(&daemon, trace);
    }
    daemon.await_stored();
    search_files(&daemon);
    search_database(&daemon);
    daemon.process.kill9();
    search_files(&daemon);
    let output = daemon.process.end_of_output();
    assert_no_secret("the output", output.as_bytes());
}

// Scenario: the same without rules.
// Guarantees: the search finds what is there, so that it means something when it finds nothing.
#[test]
fn without_rules_everything_is_kept() {
    let mut daemon = Daemon::spawn(&[("processors.batch.timeout", "1h")]);
    post_accepted(
        daemon.addresses().http,
        &request(
            "kept",
            vec![Span {
                attributes: vec![text("letter", &letter()), text("k", "MARKER")],
                ..span(&[9; 16], &[9; 8], "span")
            }],
        ),
    );
    daemon.process.kill9();
    let mut paths = Vec::new();
    files(&daemon.setup.data_dir, &mut paths);
    let bytes: Vec<u8> = paths
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    for secret in SECRETS {
        assert!(contains(&bytes, secret), "{secret}");
    }
}

// Guarantees: what was done is counted by rule, and what is not redacted costs no bytes searched.
#[test]
fn redactions_are_counted_by_rule() {
    let daemon = spawn(Store::Sqlite, "20ms");
    let before = daemon.metric("pulse_redaction_scanned_bytes_total");
    assert_eq!(before, 0.0);
    post_accepted(
        daemon.addresses().http,
        &request(
            "counted",
            vec![Span {
                attributes: vec![
                    text("a", "bob.secret@example.com"),
                    text("x.password", "p"),
                    text("b", "nothing"),
                ],
                ..span(&[9; 16], &[9; 8], "span")
            }],
        ),
    );
    let values =
        |rule: &str| daemon.metric(&format!("pulse_redaction_values_total{{rule=\"{rule}\"}}"));
    assert_eq!(
        ["content", "headers", "people", "texts"].map(values),
        [0.0, 1.0, 0.0, 1.0]
    );
    // The name of the service is "counted", that of the span "span".
    let scanned = daemon.metric("pulse_redaction_scanned_bytes_total");
    assert_eq!(scanned, 22.0 + 7.0 + 7.0 + 4.0);
}

// Scenario: a file has rules that are wrong.
// Guarantees: the daemon does not start without them, and says which rule, which field and why.
#[test]
fn wrong_rules_stop_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let setup = crate::daemon::Setup::new(directory.path())
        .set("processors.redaction.enabled", "true")
        .set(
            "processors.redaction.rules",
            "[{patterns: ['(']}, {keys: [k], action: hash}]",
        );
    let mut process = setup.launch();
    assert!(!process.wait_exit(Duration::from_secs(30)).success());
    let output = process.end_of_output();
    for expected in [
        "processors.redaction.rules[0].patterns[0]: not a regular expression: unclosed group",
        "processors.redaction.rules[1].action: hash needs hash_key or hash_key_file",
    ] {
        assert!(output.contains(expected), "{output}");
    }
}

on_both_stores! {
    secrets_are_nowhere,
}
