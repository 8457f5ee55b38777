//! Projects send what they may: limits made beside a running daemon, kept over restarts, and felt
//! by the project that goes over them alone.

use std::time::Duration;

use prost::Message as _;

use crate::access::{command, create_key, get, traces};
use crate::cluster::Cluster;
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::http::{self, Response};
use crate::otlp::{hex, now, request, span};
use crate::random::Random;

/// How long a change of limits may take to be in effect everywhere.
const IN_EFFECT_WITHIN: Duration = Duration::from_secs(5);
/// How long anything else may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a trace of some spans with a key; answers the trace with it.
fn send(daemon: &Daemon, random: &mut Random, key: &str, spans: u8) -> (Response, String) {
    let trace = random.id::<16>();
    let spans = (1..=spans).map(|number| span(&trace, &[number; 8], "op"));
    let body = request("quotas", spans.collect()).encode_to_vec();
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("x-api-key", key),
    ];
    let answer = http::post(daemon.addresses().http, "/v1/traces", &headers, &body);
    (answer.unwrap(), hex(&trace))
}

fn limit(daemon: &Daemon, project: &str, limits: &[&str]) {
    command(
        &daemon.setup,
        &[&["project", "quota", project], limits].concat(),
    );
}

// Scenario: a project that may send ten spans a second sends as fast as it can, coming back as it is
// told; another sends beside it; then the limit is taken away.
// Guarantees: the first gets 429 with Retry-After and comes through later; what was acknowledged is
// stored, once, and nothing else; the other is never refused.
fn a_rate_holds_up_its_own_project_alone(store: Store) {
    let mut random = Random::new(now());
    let daemon = Daemon::spawn_on(store, &[]);
    command(&daemon.setup, &["project", "create", "noisy"]);
    let noisy = create_key(&daemon.setup, "noisy", "ingest,read");
    let quiet = create_key(&daemon.setup, "default", "ingest,read");
    limit(&daemon, "noisy", &["--items-per-second", "10"]);
    let (mut sent, mut refused) = (Vec::new(), Vec::new());
    eventually(
        "the project to be over its rate",
        IN_EFFECT_WITHIN * 2,
        || {
            let (answer, trace) = send(&daemon, &mut random, &noisy.text, 20);
            match answer.status {
                200 => sent.push(trace),
                status => {
                    assert_eq!(status, 429, "{}", answer.text());
                    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                    assert!((1..=30).contains(&seconds), "{seconds}");
                    refused.push(trace);
                }
            }
            assert_eq!(send(&daemon, &mut random, &quiet.text, 20).0.status, 200);
            (refused.len() >= 10).then_some(())
        },
    );
    limit(&daemon, "noisy", &["--items-per-second", "none"]);
    eventually("the project to send again", IN_EFFECT_WITHIN, || {
        let (answer, trace) = send(&daemon, &mut random, &noisy.text, 1);
        let is_taken = answer.status == 200;
        if is_taken { &mut sent } else { &mut refused }.push(trace);
        is_taken.then_some(())
    });
    sent.sort();
    eventually("what was acknowledged", PATIENCE, || {
        let mut stored = traces(&daemon, &noisy.text);
        stored.sort();
        (stored == sent).then_some(())
    });
}

/// Bytes that the default project has sent today, as the API says.
fn bytes_today(daemon: &Daemon, key: &str) -> u64 {
    let answer = get(daemon, "/api/v1/projects/1/quota", key);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["bytes_today"].as_u64().unwrap()
}

// Scenario: a project sends its bytes of the day; the daemon is stopped and started again; the limit
// is raised.
// Guarantees: it is refused for good until then, over OTLP and the older routes; the restart forgets
// nothing; a day's usage says what was taken and nothing else.
fn bytes_of_a_day_survive_a_restart(store: Store) {
    let mut random = Random::new(now());
    let quota = [("auth.quota.bytes_per_day", "2KiB")];
    let mut daemon = Daemon::spawn_on(store, &quota);
    let key = create_key(&daemon.setup, "default", "ingest,read,admin");
    let mut taken = 0;
    eventually("the day to be used up", PATIENCE, || {
        let (answer, _) = send(&daemon, &mut random, &key.text, 5);
        taken += u64::from(answer.status == 200);
        let is_over = answer.status == 403;
        assert!(is_over || answer.status == 200, "{}", answer.text());
        if is_over {
            assert_eq!(answer.header("retry-after"), None);
            assert!(
                answer.text().contains("2048 bytes a day"),
                "{}",
                answer.text()
            );
        }
        is_over.then_some(())
    });
    let authorization = format!("Bearer {}", key.text);
    let older = |daemon: &Daemon| {
        let headers = [("authorization", authorization.as_str())];
        http::post(
            daemon.addresses().gateway,
            "/v1/spans/async",
            &headers,
            b"[]",
        )
        .unwrap()
    };
    let refused = older(&daemon);
    assert_eq!(refused.status, 403);
    assert_eq!(refused.text(), "{\"error\":\"Daily quota exceeded\"}");

    daemon.process.sigterm();
    assert!(daemon.process.wait_exit(PATIENCE).success());
    daemon.restart();
    eventually("what was sent before to count", PATIENCE, || {
        let (answer, _) = send(&daemon, &mut random, &key.text, 5);
        taken += u64::from(answer.status == 200);
        (answer.status == 403).then_some(())
    });
    limit(&daemon, "default", &["--bytes-per-day", "1GiB"]);
    eventually("the limit to be raised", IN_EFFECT_WITHIN, || {
        let (answer, _) = send(&daemon, &mut random, &key.text, 5);
        taken += u64::from(answer.status == 200);
        (answer.status == 200).then_some(())
    });
    eventually("what was sent to be written", PATIENCE, || {
        let usage = get(&daemon, "/api/v1/projects/1/usage", &key.text).json();
        let items = usage["items"].as_array().unwrap();
        let spans: u64 = items.iter().map(|day| day["items"].as_u64().unwrap()).sum();
        assert!(items.iter().all(|day| day["signal"] == "traces"), "{usage}");
        (spans == taken * 5).then_some(())
    });
    assert!(bytes_today(&daemon, &key.text) > 2048);
    let refused = daemon.metric("pulse_receiver_over_quota_requests_total");
    assert!(refused >= 1.0);
}

on_both_stores! {
    a_rate_holds_up_its_own_project_alone,
    bytes_of_a_day_survive_a_restart,
}

// Scenario: two daemons on one database take what a project may send in a day.
// Guarantees: what both took counts: one that took nothing refuses.
#[test]
fn bytes_of_a_day_are_of_all_daemons() {
    let mut random = Random::new(now());
    let cluster = Cluster::new(&[("auth.quota.bytes_per_day", "2KiB")]);
    let daemons = [cluster.start("all"), cluster.start_apart("all")];
    let key = create_key(&daemons[0].setup, "default", "ingest,read");
    while send(&daemons[0], &mut random, &key.text, 20).0.status == 200 {}
    eventually("the other daemon to refuse", PATIENCE, || {
        let (answer, _) = send(&daemons[1], &mut random, &key.text, 0);
        (answer.status == 403).then_some(())
    });
}
