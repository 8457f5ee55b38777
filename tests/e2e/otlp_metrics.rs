//! Metrics: what SDKs measure is served as they hold it, and what was acknowledged is stored once,
//! whenever the process is killed.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http;
use crate::kills::send_over_kills;
use crate::otlp::{now, runtime, text};
use crate::random::Random;
use crate::sdk;

fn python(protocol: &str, endpoint: &str, compression: &str) -> Command {
    let mut command = Command::new(sdk::tool("python/bin/python"));
    let script = sdk::root().join("tests/support/python/metrics.py");
    command.arg("-B").arg(script);
    command.args([protocol, endpoint, compression]);
    command
}

fn node(protocol: &str, endpoint: &str, compression: &str) -> Command {
    let modules = sdk::tool("node/node_modules");
    let mut command = Command::new("node");
    command.env("EXPORTER_MODULES", modules.parent().unwrap());
    command.arg(sdk::root().join("tests/support/node/metrics.js"));
    command.args([protocol, endpoint, compression]);
    command
}

/// Percent-encoded, byte by byte.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What is answered of a metric.
fn ask(daemon: &Daemon, name: &str, question: &str) -> Value {
    let uri = format!("/api/v1/metrics/{}?{question}", encoded(name));
    let answer = daemon.api(&uri);
    assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
    answer.json()
}

/// The only number that is answered.
fn number(daemon: &Daemon, name: &str, question: &str) -> f64 {
    let answer = ask(daemon, name, question);
    let groups = answer["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 1, "{name}?{question}: {answer:#}");
    let points = groups[0]["points"].as_array().unwrap();
    assert_eq!(points.len(), 1, "{name}?{question}: {answer:#}");
    points[0]["value"].as_f64().unwrap()
}

/// What is answered by group: the group's values, and its number.
fn numbers(daemon: &Daemon, name: &str, question: &str) -> Vec<(Vec<String>, f64)> {
    let answer = ask(daemon, name, question);
    let keys: Vec<_> = answer["group_by"].as_array().unwrap().clone();
    let groups = answer["groups"].as_array().unwrap().iter();
    groups
        .map(|group| {
            let values = keys.iter().map(|key| {
                let value = &group["group"][key.as_str().unwrap()];
                value.as_str().unwrap_or("none").to_owned()
            });
            let points = group["points"].as_array().unwrap();
            assert_eq!(points.len(), 1, "{answer:#}");
            (values.collect(), points[0]["value"].as_f64().unwrap())
        })
        .collect()
}

fn near(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    let error = (found - expected).abs();
    assert!(
        error <= 1e-9 * expected.abs(),
        "{what}: {found} is not {expected}"
    );
}

/// Filters by which a point's series is the only one.
fn filters(attributes: &Value) -> String {
    let pairs = attributes.as_object().unwrap().iter().map(|(key, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        format!("&attr.{}={}", encoded(key), encoded(&value))
    });
    pairs.collect()
}

/// Runs a script, and compares what it says with what is served.
fn assert_served(daemon: &Daemon, service: &str, command: &mut Command) {
    let sent = sdk::run(command);
    assert!(sent.len() >= 4, "{sent:#?}");
    let uri = format!("/api/v1/metrics?service={service}");
    let listed = eventually("metrics to be shown", Duration::from_secs(30), || {
        let found = daemon.list(&uri);
        (found.len() == sent.len()).then_some(found)
    });
    for metric in &sent {
        let name = metric["name"].as_str().unwrap();
        let item = crate::api::item(&listed, "name", name);
        for member in ["type", "unit", "description", "temporality", "is_monotonic"] {
            assert_eq!(item[member], metric[member], "{member} of {name}");
        }
        assert_eq!(item["services"], json!([service]));
        let points = metric["points"].as_array().unwrap();
        assert_eq!(item["series_count"], points.len());
        for point in points {
            let filters = filters(&point["attributes"]);
            let of = |aggregation: &str| {
                let question = format!("environment=test&aggregation={aggregation}{filters}");
                number(daemon, name, &question)
            };
            if point["value"].is_null() {
                for (aggregation, member) in [
                    ("count", "count"),
                    ("sum", "sum"),
                    ("min", "min"),
                    ("max", "max"),
                ] {
                    near(
                        of(aggregation),
                        &point[member],
                        &format!("{member} of {name}"),
                    );
                }
            } else {
                near(of("last"), &point["value"], name);
                if metric["type"] == "sum" {
                    near(of("sum"), &point["value"], name);
                }
            }
        }
    }
    // Of one to a hundred, read from buckets of powers.
    for (percentile, expected) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0)] {
        let found = number(daemon, "app.fine", &format!("aggregation={percentile}"));
        assert!((found - expected).abs() < 3.0, "{percentile}: {found}");
    }
}

// Scenario: a Python application sends what it measures over gRPC and HTTP, packed or not; some of it is
// what instrumentations of GenAI clients measure.
// Guarantees: every point is served as the SDK holds it, and tokens and durations are told by model.
fn python_metrics_are_served_as_measured(store: Store) {
    for (protocol, compression) in [("grpc", "none"), ("http", "gzip")] {
        let daemon = Daemon::spawn_on(store, &[]);
        let addresses = daemon.addresses();
        let address = if protocol == "grpc" {
            addresses.grpc
        } else {
            addresses.http
        };
        let mut command = python(protocol, &format!("http://{address}"), compression);
        assert_served(&daemon, "python-metrics", &mut command);
        let by = "group_by=gen_ai.request.model,gen_ai.token.type&aggregation=sum";
        let told = |model: &str, what: &str, sum| (vec![model.to_owned(), what.to_owned()], sum);
        assert_eq!(
            numbers(&daemon, "gen_ai.client.token.usage", by),
            [
                told("claude-opus", "input", 1000.0),
                told("claude-opus", "output", 100.0),
                told("gpt-5", "input", 400.0),
                told("gpt-5", "output", 40.0),
            ]
        );
        let by = "group_by=gen_ai.request.model&aggregation=avg";
        assert_eq!(
            numbers(&daemon, "gen_ai.client.operation.duration", by),
            [
                (vec!["claude-opus".to_owned()], 10.0),
                (vec!["gpt-5".to_owned()], 2.0),
            ]
        );
    }
}

// Scenario: a Node application sends what it measures as deltas, as protobuf and as JSON, packed or not.
// Guarantees: every point is served as the SDK holds it.
fn node_metrics_are_served_as_measured(store: Store) {
    for (protocol, compression) in [("proto", "gzip"), ("json", "none")] {
        let daemon = Daemon::spawn_on(store, &[]);
        let endpoint = format!("http://{}", daemon.addresses().http);
        let mut command = node(protocol, &endpoint, compression);
        assert_served(&daemon, "node-metrics", &mut command);
    }
}

/// What Claude Code sends every minute: tokens by type and cost, as deltas of a session.
fn claude_code(user: &str, model: &str, minute: u64, tokens: [i64; 2], cost: f64) -> Value {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let time = now() - 600_000_000_000 + minute * 60_000_000_000;
    let of = |value: Value, kind: Option<&str>| {
        let mut attributes = vec![
            attribute("session.id", &format!("session of {user}")),
            attribute("user.account_uuid", user),
            attribute("user.email", &format!("{user}@example.com")),
            attribute("model", model),
        ];
        attributes.extend(kind.map(|kind| attribute("type", kind)));
        let mut point = json!({
            "attributes": attributes,
            "startTimeUnixNano": (time - 60_000_000_000).to_string(),
            "timeUnixNano": time.to_string(),
        });
        let value = value.as_object().unwrap().clone();
        point.as_object_mut().unwrap().extend(value);
        point
    };
    let sum = |name: &str, unit: &str, points: Vec<Value>| {
        json!({"name": name, "unit": unit, "sum": {
            "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": points}})
    };
    let [input, output] = tokens.map(|it| json!({"asInt": it.to_string()}));
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", "claude-code"), attribute("service.version", "2.1.0"),
        ]},
        "scopeMetrics": [{
            "scope": {"name": "com.anthropic.claude_code", "version": "2.1.0"},
            "metrics": [
                sum("claude_code.token.usage", "tokens", vec![
                    of(input, Some("input")), of(output, Some("output")),
                ]),
                sum("claude_code.cost.usage", "USD", vec![of(json!({"asDouble": cost}), None)]),
            ],
        }],
    }]})
}

// Scenario: two people use Claude Code with two models; each request is sent twice.
// Guarantees: tokens and cost are told by model and by person, and count once.
fn usage_of_claude_code_is_told_by_model_and_person(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let requests = [
        claude_code("ada", "claude-opus-4-6", 0, [1000, 200], 0.5),
        claude_code("ada", "claude-opus-4-6", 1, [500, 100], 0.25),
        claude_code("ada", "claude-haiku-4-5", 1, [70, 30], 0.125),
        claude_code("bob", "claude-opus-4-6", 1, [3, 4], 1.0),
    ];
    for request in requests.iter().chain(&requests) {
        let body = request.to_string();
        let headers = [("content-type", "application/json")];
        let address = daemon.addresses().http;
        let answer = http::post(address, "/v1/metrics", &headers, body.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    }
    daemon.await_stored();
    let told = |values: &[&str], sum: f64| {
        (
            values.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(),
            sum,
        )
    };
    let (haiku, opus) = ("claude-haiku-4-5", "claude-opus-4-6");
    assert_eq!(
        numbers(&daemon, "claude_code.token.usage", "group_by=model,type"),
        [
            told(&[haiku, "input"], 70.0),
            told(&[haiku, "output"], 30.0),
            told(&[opus, "input"], 1503.0),
            told(&[opus, "output"], 304.0),
        ]
    );
    let by = "group_by=user.account_uuid&aggregation=increase";
    assert_eq!(
        numbers(&daemon, "claude_code.cost.usage", by),
        [told(&["ada"], 0.875), told(&["bob"], 1.0)]
    );
    let of_ada = format!("attr.user.email=ada%40example.com&attr.model={opus}&step=1m");
    let answer = ask(&daemon, "claude_code.cost.usage", &of_ada);
    let points = answer["groups"][0]["points"].as_array().unwrap();
    let values: Vec<_> = points
        .iter()
        .map(|it| it["value"].as_f64().unwrap())
        .collect();
    assert_eq!(values, [0.5, 0.25]);
    let stored = daemon.metric("pulse_writer_metric_points_stored_total");
    let duplicate = daemon.metric("pulse_writer_metric_points_duplicate_total");
    assert_eq!((stored, duplicate), (12.0, 12.0));
}

// Scenario: a request with good and bad points, over HTTP as JSON.
// Guarantees: the good ones are stored, the client is told how many are not and why, and received =
// accepted + rejected + refused.
fn a_bad_point_costs_only_itself(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let time = now().to_string();
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "m", "gauge": {"dataPoints": [
            {"timeUnixNano": time, "asDouble": 4}, {"timeUnixNano": "0", "asDouble": 1},
            {"timeUnixNano": time}, {"timeUnixNano": time, "asDouble": "NaN",
                "attributes": [{"key": "a", "value": {"stringValue": "b"}}]},
        ]}},
        {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [
            {"timeUnixNano": time, "count": "1", "bucketCounts": ["1"], "explicitBounds": [1, 2]},
        ]}},
    ]}]}]});
    let headers = [("content-type", "application/json")];
    let address = daemon.addresses().http;
    let answer = http::post(
        address,
        "/v1/metrics",
        &headers,
        body.to_string().as_bytes(),
    )
    .unwrap();
    assert_eq!(answer.status, 200);
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(partial["rejectedDataPoints"], "3");
    assert_eq!(
        partial["errorMessage"],
        "rejected 3 of 5 data points; first: metric \"m\": time_unix_nano is zero"
    );
    daemon.await_stored();
    assert_eq!(daemon.list("/api/v1/metrics").len(), 1);
    assert_eq!(ask(&daemon, "m", "")["series_count"], 2);
    let counted = |what: &str| {
        let name = format!("pulse_receiver_{what}_metric_points_total");
        daemon.metric(&format!("{name}{{transport=\"http_json\"}}"))
    };
    let all = ["received", "accepted", "rejected", "refused"].map(counted);
    assert_eq!(all, [5.0, 2.0, 3.0, 0.0]);
}

const CLIENTS: u64 = 3;

/// Points of one request of a client: each has a time of its own and a value that tells it from others.
fn points(client: u64, number: u64, start: u64) -> (ExportMetricsServiceRequest, i64) {
    let mut random = Random::new(client << 32 | number);
    let values: Vec<i64> = (0..1 + random.below(8))
        .map(|_| i64::try_from(1 + random.below(1000)).unwrap())
        .collect();
    let data_points = (0..).zip(&values).map(|(place, value)| NumberDataPoint {
        time_unix_nano: start + number * 1000 + place,
        attributes: vec![text("place", &(place % 3).to_string())],
        value: Some(Number::AsInt(*value)),
        ..NumberDataPoint::default()
    });
    let metric = Metric {
        name: "ledger".to_owned(),
        data: Some(Data::Sum(Sum {
            data_points: data_points.collect(),
            aggregation_temporality: 1,
            is_monotonic: true,
        })),
        ..Metric::default()
    };
    let resource = Resource {
        attributes: vec![text("service.name", &format!("client-{client}"))],
        ..Resource::default()
    };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![metric],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    };
    (request, values.iter().sum())
}

/// Sends one request after the other, each until it is acknowledged; answers how many that were.
fn send(client: u64, address: std::net::SocketAddr, start: u64, stop: &AtomicBool) -> u64 {
    runtime().block_on(async {
        let endpoint = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap();
        let mut service = MetricsServiceClient::new(endpoint.connect_lazy());
        let mut acknowledged = 0;
        loop {
            let (request, _) = points(client, acknowledged, start);
            while service.export(request.clone()).await.is_err() {
                // The last one may be stored or not: it is sent until it is known.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            acknowledged += 1;
            if stop.load(Ordering::Relaxed) {
                return acknowledged;
            }
        }
    })
}

/// Everything that was acknowledged is there, once. Series without a place of their own say nothing of
/// their service, so that all are added up.
fn assert_all_stored(daemon: &Daemon, acknowledged: &[u64], start: u64) {
    let (mut count, mut sum) = (0, 0);
    for (client, requests) in (0..).zip(acknowledged) {
        for number in 0..*requests {
            let (request, of_request) = points(client, number, start);
            let metric = &request.resource_metrics[0].scope_metrics[0].metrics[0];
            let Some(Data::Sum(data)) = &metric.data else {
                panic!("{metric:?}");
            };
            count += data.data_points.len();
            sum += of_request;
        }
    }
    let of = |aggregation: &str| {
        let range = format!("start={start}&end={}", start + 3_600_000_000_000);
        number(
            daemon,
            "ledger",
            &format!("aggregation={aggregation}&{range}"),
        )
    };
    assert_eq!((of("count"), of("sum")), (count as f64, sum as f64));
    let listed = daemon.list("/api/v1/metrics");
    assert_eq!(
        (&listed[0]["series_count"], &listed[0]["has_overflow"]),
        (&json!(5), &json!(true))
    );
}

// Scenario: clients send data points without a pause, each request again and again until it is
// acknowledged, while the daemon is killed with SIGKILL at random moments.
// Guarantees: what was acknowledged is stored, once.
fn no_acknowledged_point_is_lost_or_doubled_over_kills(store: Store) {
    let settings = [
        ("queue.segment_size", "1MiB"),
        ("queue.memory_size", "1MiB"),
        ("processors.batch.timeout", "50ms"),
        ("processors.batch.send_batch_size", "100"),
        // So that most series share one.
        ("processors.limits.max_metric_series", "4"),
    ];
    let mut random = Random::from_environment("metrics");
    let mut daemon = Daemon::spawn_on(store, &settings);
    let start = now();
    let acknowledged = send_over_kills(
        &mut daemon,
        &mut random,
        CLIENTS,
        |client, address, stop| send(client, address, start, stop),
    );
    assert_all_stored(&daemon, &acknowledged, start);
    daemon.process.kill9();
    daemon.restart();
    assert_all_stored(&daemon, &acknowledged, start);
}

on_both_stores! {
    python_metrics_are_served_as_measured,
    node_metrics_are_served_as_measured,
    usage_of_claude_code_is_told_by_model_and_person,
    a_bad_point_costs_only_itself,
    no_acknowledged_point_is_lost_or_doubled_over_kills,
}
