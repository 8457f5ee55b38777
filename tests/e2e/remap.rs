//! `pulse-collector remap`: stored spans get the columns that they would get today.

use std::process::Output;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;

use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::load::Load;
use crate::otlp::{key_value, now, post_accepted, request, span, text};

const WITHIN: Duration = Duration::from_secs(60);
const TRACES: u64 = 3_000;
/// 2 USD per million input tokens.
const PRICES: (&str, &str) = (
    "processors.pricing.overrides",
    "[{provider: openai, model: homegrown, from: 2020-01-01, input: 2, output: 0}]",
);
/// Of one call, with 1000 input tokens.
const COST_NANO_USD: u64 = 2_000_000;

/// Agents that call a model, in traces of their own.
fn calls(first: u64, count: u64) -> Vec<Span> {
    let trace = |number: u64| {
        let mut id = [0xaa; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let mut agent = span(&id, &[1; 8], "invoke_agent");
        agent.attributes = vec![text("gen_ai.operation.name", "invoke_agent")];
        let mut call = span(&id, &[2; 8], "chat");
        call.parent_span_id = vec![1; 8];
        call.attributes = vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", "homegrown"),
            text("session.id", "talk"),
            key_value("gen_ai.usage.input_tokens", Any::IntValue(1000)),
            key_value("gen_ai.usage.output_tokens", Any::IntValue(10)),
        ];
        [agent, call]
    };
    (first..first + count).flat_map(trace).collect()
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// Calls and cost of the model, by rollups, by traces and by the session.
fn sums(daemon: &Daemon) -> [(u64, u64); 3] {
    let get = |path: &str| -> Value {
        let answer = daemon.api(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    };
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}"));
    let counted =
        |totals: &Value, calls: &str| (number(&totals[calls]), number(&totals["cost_nano_usd"]));
    let analytics =
        get("/api/v1/analytics?group_by=model&service=agents&measures=llm_calls,cost_nano_usd");
    let rows = analytics["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["group"]["model"] == "homegrown");
    let rollups = row.unwrap_or_else(|| panic!("{analytics}"));
    let traces = daemon.list("/api/v1/traces?service=agents");
    let add = |sum: (u64, u64), of: (u64, u64)| (sum.0 + of.0, sum.1 + of.1);
    let traces = traces
        .iter()
        .map(|trace| counted(&trace["totals"], "llm_call_count"));
    let session = get("/api/v1/sessions/talk?limit=1");
    [
        counted(&rollups["measures"], "llm_calls"),
        traces.fold((0, 0), add),
        counted(&session["session"]["totals"], "llm_call_count"),
    ]
}

// Scenario: calls of a model without a price are stored; the price becomes known, and what is
// stored is mapped anew while other spans come in. What does the work is killed in the middle.
// Guarantees: the command goes on where it was; then every call has its cost once, in rollups,
// traces and the session; nothing else changed or got lost; a second time changes nothing.
fn stored_calls_get_the_price_that_became_known(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[]);
    for first in (0..TRACES).step_by(500) {
        let spans = calls(first, 500);
        post_accepted(daemon.addresses().http, &request("agents", spans));
    }
    eventually("all calls are stored", WITHIN, || {
        let services = daemon.list("/api/v1/services");
        let agents = services.iter().find(|it| it["name"] == "agents")?;
        (agents["span_count"] == 2 * TRACES).then_some(())
    });
    assert_eq!(sums(&daemon), [(TRACES, 0); 3]);
    daemon.process.kill9();
    daemon.setup = daemon.setup.clone().set(PRICES.0, PRICES.1);
    daemon.restart();
    assert_eq!(sums(&daemon), [(TRACES, 0); 3]);
    let load = Load::start_paced(daemon.addresses().grpc, 2, now());
    load.await_more(20);
    for pause in [5, 50, 150] {
        let mut command = daemon.setup.launch_with(&["remap"]);
        eventually("the command says what it does", WITHIN, || {
            command.output().contains(" traces").then_some(())
        });
        std::thread::sleep(Duration::from_millis(pause));
        if store == Store::Sqlite {
            daemon.process.kill9();
            daemon.restart();
        }
        command.kill9();
    }
    said(&daemon.setup.run(&["remap"]));
    let ledger = load.stop();
    assert_eq!(sums(&daemon), [(TRACES, TRACES * COST_NANO_USD); 3]);
    ledger.assert_stored(&daemon);
    let again = said(&daemon.setup.run(&["remap", "--from", "1d", "--to", "now"]));
    assert!(again.contains(", 0 of "), "{again}");
    // Without a daemon as well.
    daemon.process.kill9();
    let alone = said(&daemon.setup.run(&["remap", "--from", "2020-01-01"]));
    assert!(alone.contains(", 0 of "), "{alone}");
    daemon.restart();
    assert_eq!(sums(&daemon), [(TRACES, TRACES * COST_NANO_USD); 3]);
}

on_both_stores!(
    stored_calls_get_the_price_that_became_known,
    a_project_settles_prices_by_the_api,
);

// Scenario: a job was interrupted; the command is given with another range, alone, with --restart, and
// with --cancel.
// Guarantees: another range is refused with what to do about it, alone it goes on with the old one, and
// the other two begin anew and drop it.
#[test]
fn an_interrupted_job_is_gone_on_with_or_given_up() {
    let daemon = Daemon::spawn_on(Store::Postgres, &[]);
    post_accepted(daemon.addresses().http, &request("agents", calls(0, 2)));
    daemon.await_counted();
    let interrupt = || {
        let state = r#"{"range":{"start_unix_nano":0,"end_unix_nano":2000000000000000000},
            "traces_expected":2,"after":null,"is_done":false,"traces":0,"spans":0,
            "spans_changed":0,"traces_skipped":0}"#;
        let database = daemon.setup.database().unwrap();
        database.rows(&format!(
            "INSERT INTO setting VALUES ('remap', '{state}'::bytea)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ));
    };
    interrupt();
    let other = daemon.setup.run(&["remap", "--from", "1h"]);
    assert_eq!(other.status.code(), Some(1));
    let text = String::from_utf8_lossy(&other.stderr);
    assert!(
        text.contains("--restart") && text.contains("--cancel"),
        "{text}"
    );
    let went_on = said(&daemon.setup.run(&["remap"]));
    assert!(
        went_on.contains("going on after 0 of 2 traces"),
        "{went_on}"
    );
    assert!(
        went_on.contains("done: 2 traces, 0 of 4 spans changed"),
        "{went_on}"
    );
    interrupt();
    let restarted = said(&daemon.setup.run(&["remap", "--from", "1h", "--restart"]));
    assert!(
        restarted.contains("mapping 2 traces anew, from"),
        "{restarted}"
    );
    interrupt();
    let dropped = said(&daemon.setup.run(&["remap", "--cancel"]));
    assert_eq!(dropped, "dropped; what was mapped anew stays so\n");
    let none = said(&daemon.setup.run(&["remap", "--cancel"]));
    assert_eq!(none, "there is no interrupted job\n");
}

// Scenario: wrong words, and a store that is not there.
// Guarantees: one line that says what is wrong, and the exit code of wrong usage or of a failure.
#[test]
fn what_is_wrong_is_said_in_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let setup = crate::daemon::Setup::new(&directory.path().join("data"));
    let failed = |arguments: &[&str]| {
        let output = setup.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = failed(&["remap", "--from", "yesterday"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("2026-11-01T00:00:00Z"), "{said}");
    let (code, said) = failed(&["remap"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there is no store at"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let database = crate::postgres::Database::create();
    let url = database.url().to_owned();
    let setup = setup.on_database(database, &url);
    let output = setup.run(&["remap", "--from", "1d", "--to", "2d"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "error: --from must be before --to\n");
    let output = setup.run(&["remap", "--cancel"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "there is no interrupted job\n");
}

// Scenario: a project settles prices by the API while the daemon runs; calls come before and after.
// Guarantees: those after have the price within seconds, also after a restart; those before get it
// by mapping them anew.
fn a_project_settles_prices_by_the_api(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "20ms")]);
    post_accepted(daemon.addresses().http, &request("agents", calls(0, 1)));
    let count = |daemon: &Daemon, wanted: u64| {
        eventually("calls are stored", WITHIN, || {
            let services = daemon.list("/api/v1/services");
            let agents = services.iter().find(|it| it["name"] == "agents")?;
            (agents["span_count"] == 2 * wanted).then_some(())
        });
    };
    count(&daemon, 1);
    let prices = r#"{"overrides": [{"model": "homegrown", "input": 2, "output": 0}]}"#;
    let answer = daemon.put_json("/api/v1/prices/overrides", prices);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut sent = 1;
    eventually("the price is in use", WITHIN, || {
        post_accepted(daemon.addresses().http, &request("agents", calls(sent, 1)));
        sent += 1;
        count(&daemon, sent);
        (sums(&daemon)[0].1 > 0).then_some(())
    });
    assert_eq!(sums(&daemon), [(sent, COST_NANO_USD); 3]);
    daemon.process.kill9();
    daemon.restart();
    post_accepted(daemon.addresses().http, &request("agents", calls(sent, 1)));
    count(&daemon, sent + 1);
    assert_eq!(sums(&daemon), [(sent + 1, 2 * COST_NANO_USD); 3]);
    said(&daemon.setup.run(&["remap"]));
    assert_eq!(sums(&daemon), [(sent + 1, (sent + 1) * COST_NANO_USD); 3]);
}
