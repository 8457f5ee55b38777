//! `pulse-collector import`: what an older Pulse server stored, or a file holds, comes over once,
//! as if clients had posted it.

mod changed;
mod old;

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::access::{command, create_key, get};
use crate::daemon::{Daemon, Store, eventually, on_both_stores};
use crate::fault_proxy::FaultProxy;
use crate::http;
use old::{Engine, OldPulse};

const WITHIN: Duration = Duration::from_secs(60);
const TRACE: &str = "0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";
const SESSION: &str = "6b0a6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11";

fn full_trace() -> Value {
    json!({
        "trace_id": TRACE, "session_id": SESSION, "timestamp": "2026-01-05T10:00:00.123Z",
        "latency_ms": 58, "provider": "openai", "model_requested": "gpt-4o-mini",
        "model_used": "gpt-4o-mini-2024-07-18", "provider_request_id": "r-1",
        "request_body": {"z": 1, "messages": [{"role": "user", "content": "Hello"}], "n": null},
        "response_body": {"content": "Hi"}, "input_tokens": 1000, "output_tokens": 500,
        "output_text": "Hi", "finish_reason": "stop", "status": "success", "cost_cents": 0.045,
        "metadata": {"feature": "chat", "deep": {"x": [1, 2.5]}},
    })
}

fn failed_trace() -> Value {
    json!({
        "trace_id": "1d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
        "timestamp": "2026-01-05T11:00:00.000Z", "latency_ms": 0, "provider": "anthropic",
        "model_requested": "m", "request_body": {}, "status": "error",
        "error": {"name": "E", "message": "it's \"odd\"; DROP TABLE traces --"},
    })
}

fn tool_span() -> Value {
    json!({
        "span_id": "s-1", "trace_id": "t-1", "session_id": "free text", "parent_span_id": "p-1",
        "timestamp": "2026-01-05T10:00:00.000Z", "duration_ms": 12, "source": "claude_code",
        "service": "svc", "kind": "tool_use", "event_type": "post_tool_use", "status": "success",
        "tool_use_id": "u-1", "tool_name": "Edit", "tool_input": {"z": 1, "file_path": "/a"},
        "tool_response": "text", "is_interrupt": false, "cwd": "/w", "model": "m",
        "metadata": {"k": 1},
    })
}

fn call_span(number: u32) -> Value {
    json!({
        "span_id": format!("{number:016x}"), "trace_id": format!("{:032x}", number + 1),
        "session_id": "many", "timestamp": "2026-01-06T10:00:00.000Z", "duration_ms": 5,
        "source": "sdk", "kind": "llm_call", "event_type": "provider_call", "status": "success",
        "provider": "openai", "model": "gpt-4o", "model_used": "gpt-4o", "input_tokens": 10,
        "output_tokens": 2, "cost_cents": 0.5,
    })
}

/// A span of the first generation, which had no traces.
fn lone_span() -> Value {
    json!({
        "span_id": "2d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11", "session_id": "lone",
        "timestamp": "2026-01-05T12:00:00.000Z", "source": "codex", "kind": "session",
        "event_type": "session_start", "status": "success",
    })
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}

fn import(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.setup.run(&[&["import"], arguments].concat());
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    daemon.await_counted();
    said
}

fn post(daemon: &Daemon, path: &str, body: &Value) {
    let headers = [
        ("authorization", "Bearer pulse_sk_any"),
        ("content-type", "application/json"),
    ];
    let address = daemon.addresses().gateway;
    let answer = http::post(address, path, &headers, body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

fn read(daemon: &Daemon, path: &str) -> Value {
    let answer = if path.starts_with("/api") {
        daemon.api(path)
    } else {
        get(daemon, path, "pulse_sk_any")
    };
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// What the routes tell of all that is imported here.
fn told(daemon: &Daemon) -> Vec<Value> {
    let paths = [
        format!("/v1/traces/{TRACE}"),
        "/v1/traces/1d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11".to_owned(),
        "/v1/traces/t-1".to_owned(),
        "/v1/traces".to_owned(),
        format!("/v1/sessions/{SESSION}"),
        "/v1/sessions/free%20text/spans".to_owned(),
        "/v1/sessions/lone/spans".to_owned(),
        "/v1/spans?session_id=many".to_owned(),
        "/v1/analytics?date_from=2026-01-01T00:00:00Z&date_to=2026-02-01T00:00:00Z".to_owned(),
        "/api/v1/traces/0d5f6c0e8d0c4f7e9d556a3c1f0f9a11".to_owned(),
        "/api/v1/analytics?group_by=model&measures=llm_calls,cost_nano_usd,input_tokens&start=2026-01-01T00:00:00Z&end=2026-02-01T00:00:00Z".to_owned(),
    ];
    let answers = paths.iter().map(|path| read(daemon, path));
    answers.map(comparable).collect()
}

/// Without times of arrival, and without the order of keys, which Postgres did not keep.
fn comparable(mut answer: Value) -> Value {
    for span in answer["spans"].as_array_mut().into_iter().flatten() {
        let members = span.as_object_mut().unwrap();
        members.retain(|name, _| !name.starts_with("received"));
        if let Some(request) = members
            .get_mut("attributes")
            .map(|it| &mut it["pulse.request"])
            && let Some(text) = request.as_str()
        {
            *request = serde_json::from_str(text).unwrap();
        }
    }
    answer
}

fn assert_same(told: &[Value], expected: &[Value]) {
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told, expected);
    }
}

// Scenario: an old database of each engine holds traces, and spans of both generations; what its
// clients once posted is posted to one daemon and imported into others, twice.
// Guarantees: every route tells the same of both, tokens and cost included; the second import
// changes nothing.
fn what_is_imported_is_what_was_posted(store: Store) {
    let posted = Daemon::spawn_on(store, &[]);
    let (traces, spans) = (
        [full_trace(), failed_trace()],
        [tool_span(), call_span(1), call_span(2), lone_span()],
    );
    post(&posted, "/v1/traces/batch", &json!(traces));
    post(&posted, "/v1/spans/batch", &json!(spans));
    let expected = told(&posted);
    assert!(expected[9].to_string().contains("1000"), "{}", expected[9]);
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let old = OldPulse::new(engine);
        old.add_project("p-1", "Shop");
        for trace in &traces {
            old.add("traces", "p-1", trace);
        }
        for span in &spans {
            old.add("spans", "p-1", span);
        }
        let imported = Daemon::spawn_on(store, &[]);
        let said = import(&imported, &["--from", old.kind(), old.source()]);
        assert!(said.contains("imported 6 spans"), "{said}");
        assert_same(&told(&imported), &expected);
        import(&imported, &["--from", old.kind(), old.source()]);
        assert_same(&told(&imported), &expected);
    }
}

// Scenario: an import of many rows through a slow network that then freezes is killed, and started
// again with the same words; the daemon is killed in the middle of the second.
// Guarantees: it goes on where it was, and every row is there once.
fn a_killed_import_goes_on(store: Store) {
    const ROWS: u32 = 3_000;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let old = OldPulse::new(engine);
        old.add_project("p-1", "Shop");
        old.add_many("spans", "p-1", (0..ROWS).map(call_span));
        let mut daemon = Daemon::spawn_on(store, &[]);
        let proxy = FaultProxy::start(daemon.addresses().http);
        proxy.delay(Duration::from_millis(10));
        let endpoint = format!("http://{}", proxy.address());
        let arguments = [
            "import",
            "--from",
            old.kind(),
            old.source(),
            "--endpoint",
            &endpoint,
        ];
        let mut killed = daemon.setup.launch_with(&arguments);
        let stored = |daemon: &Daemon| {
            read(daemon, "/v1/spans?session_id=many&limit=1")["total"]
                .as_u64()
                .unwrap()
        };
        eventually("some rows are stored", WITHIN, || {
            (stored(&daemon) > 500).then_some(())
        });
        proxy.freeze();
        assert!(killed.is_running(), "{}", killed.output());
        killed.kill9();
        proxy.heal();
        let again = daemon.setup.launch_with(&arguments);
        let before = stored(&daemon);
        eventually("more rows are stored", WITHIN, || {
            (stored(&daemon) > before + 200).then_some(())
        });
        daemon.process.kill9();
        daemon.restart();
        let mut again = again;
        let status = again.wait_exit(WITHIN);
        let said = again.end_of_output();
        assert!(status.success(), "{said}");
        assert!(said.contains("going on after"), "{said}");
        assert!(said.contains("the same command once more"), "{said}");
        daemon.await_stored();
        assert_eq!(stored(&daemon), u64::from(ROWS), "{said}");
        let cost = "/api/v1/analytics?group_by=model&measures=llm_calls,cost_nano_usd&start=2026-01-01T00:00:00Z&end=2026-02-01T00:00:00Z";
        let sums = read(&daemon, cost);
        let mut rows = sums["rows"].as_array().unwrap().iter();
        let row = rows.find(|row| row["group"]["model"] == "gpt-4o").unwrap();
        let expected = json!({"llm_calls": ROWS, "cost_nano_usd": u64::from(ROWS) * 5_000_000});
        assert_eq!(row["measures"], expected);
    }
}

// Scenario: rows that the routes would refuse lie between good ones; they are counted first, then
// imported.
// Guarantees: a dry run sends nothing; each bad row is said with its reason and costs no other; the
// exit code says so, unless told to skip them.
fn bad_rows_cost_no_others(store: Store) {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let old = OldPulse::new(engine);
        old.add_project("p-1", "Shop");
        let mut wrong = failed_trace();
        wrong["provider"] = json!("acme");
        wrong["trace_id"] = json!("3d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11");
        let mut negative = call_span(7);
        negative["input_tokens"] = json!(-1);
        old.add("traces", "p-1", &wrong);
        old.add("traces", "p-1", &full_trace());
        for span in [call_span(1), negative, call_span(2)] {
            old.add("spans", "p-1", &span);
        }
        let daemon = Daemon::spawn_on(store, &[]);
        let run = |more: &[&str]| {
            let arguments = ["import", "--from", old.kind(), old.source()];
            let output = daemon.setup.run(&[&arguments, more].concat());
            (output.status.code(), text(&output))
        };
        let (code, said) = run(&["--dry-run"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("would import 3 spans\n2 could not"), "{said}");
        assert_eq!(read(&daemon, "/v1/spans")["total"], 0);
        let (code, said) = run(&[]);
        assert_eq!(code, Some(1), "{said}");
        for part in [
            "imported 3 spans",
            "provider: Invalid option",
            "traces 3d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11",
            "input_tokens: Too small",
            "spans 0000000000000007",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let (code, said) = run(&["--skip-bad"]);
        assert_eq!(code, Some(0), "{said}");
        daemon.await_counted();
        assert_eq!(read(&daemon, "/v1/spans")["total"], 2);
        assert_eq!(read(&daemon, "/v1/traces")["total"], 3);
    }
}

// Scenario: the old server had two projects with keys; each goes to a project of its own, one with
// its keys; the daemon wants keys.
// Guarantees: which project must be said; nobody sees the other's; the old key reads and sends;
// the key of the import itself is good for nothing any more.
fn projects_stay_apart_and_keys_go_on(store: Store) {
    let old_key = "pulse_sk_0b9d8a35-9a9e-4a0e-8e64-0c5a3f1f7a11";
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let old = OldPulse::new(engine);
        old.add_project("p-1", "Shop");
        old.add_project("p-2", "Bank");
        old.add_key("k-1", "p-1", "Laptop", old_key);
        old.add("traces", "p-1", &full_trace());
        old.add("spans", "p-2", &call_span(1));
        let daemon = Daemon::spawn_on(store, &[]);
        for name in ["shop", "bank"] {
            command(&daemon.setup, &["project", "create", name]);
        }
        let common = ["--from", old.kind(), old.source()];
        let refused = |more: &[&str]| {
            let output = daemon.setup.run(&[&["import"], &common[..], more].concat());
            assert_eq!(output.status.code(), Some(1));
            text(&output)
        };
        let said = refused(&["--project", "shop"]);
        assert!(
            said.contains("--source-project: p-1 (Shop), p-2 (Bank)"),
            "{said}"
        );
        let said = refused(&["--project", "shop", "--source-project", "p-1"]);
        assert!(said.contains("no keys yet"), "{said}");
        let shop = create_key(&daemon.setup, "shop", "read");
        let bank = create_key(&daemon.setup, "bank", "read,ingest");
        let into = |project: &str, more: &[&str]| {
            import(
                &daemon,
                &[&common[..], &["--project", project], more].concat(),
            )
        };
        let said = into("shop", &["--source-project", "Shop", "--keys"]);
        assert!(said.contains("took over 1 keys"), "{said}");
        // From elsewhere, with a key.
        let endpoint = daemon.addresses().http.to_string();
        let by_key = [
            "--source-project",
            "p-2",
            "--endpoint",
            &endpoint,
            "--api-key",
            &bank.text,
        ];
        import(&daemon, &[&common[..], &by_key].concat());
        let total = |path: &str, key: &str| get(&daemon, path, key).json()["total"].clone();
        assert_eq!(total("/v1/traces", &shop.text), 1);
        assert_eq!(total("/v1/traces", &bank.text), 1);
        assert_eq!(total("/v1/traces", old_key), 1);
        let found = |key: &str| get(&daemon, &format!("/v1/traces/{TRACE}"), key).status;
        assert_eq!((found(old_key), found(&bank.text)), (200, 404));
        let address = daemon.addresses().gateway;
        let headers = [("authorization", format!("Bearer {old_key}"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let body = json!([failed_trace()]).to_string();
        let sent = http::post(address, "/v1/traces/batch", &headers, body.as_bytes()).unwrap();
        assert_eq!(sent.status, 202, "{}", sent.text());
        let keys = command(
            &daemon.setup,
            &["key", "list", "--json", "--project", "shop"],
        );
        let keys: Value = serde_json::from_str(&keys).unwrap();
        let states: Vec<_> = keys
            .as_array()
            .unwrap()
            .iter()
            .map(|key| &key["state"])
            .collect();
        assert_eq!(states, ["active", "revoked", "active"], "{keys}");
        let said = into("shop", &["--source-project", "Shop", "--keys"]);
        assert!(
            said.contains("took over 0 keys; 1 were there already"),
            "{said}"
        );
    }
}

on_both_stores!(
    what_is_imported_is_what_was_posted,
    a_killed_import_goes_on,
    bad_rows_cost_no_others,
    projects_stay_apart_and_keys_go_on,
);

// Scenario: lines of every shape, and lines that are none, from a file and from standard input.
// Guarantees: each line is taken for what it is; wrong ones are said by their number; a second
// time changes nothing; a daemon that is away is waited for as long as was said.
#[test]
fn lines_are_told_apart_by_their_shape() {
    let mut daemon = Daemon::spawn(&[]);
    let mut otlp = String::from(r#"{"resourceSpans":[{"scopeSpans":[{"spans":["#);
    for number in 1..=1500 {
        if number > 1 {
            otlp.push(',');
        }
        otlp.push_str(&format!(r#"{{"traceId":"{:032x}","spanId":"{number:016x}","name":"n","startTimeUnixNano":"1767607200000000000","endTimeUnixNano":"1767607200000000001"}}"#, 0xabc));
    }
    otlp.push_str("]}]}]}");
    let lines = [
        full_trace().to_string(),
        "not JSON".to_owned(),
        String::new(),
        tool_span().to_string(),
        otlp,
        r#"{"resourceLogs":[]}"#.to_owned(),
    ];
    let file = daemon.setup.data_dir.join("lines.ndjson");
    let path = file.to_str().unwrap();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let piped = daemon.setup.clone().environment("LINES", path);
    let piped = piped.wrapped(&["sh", "-c", r#"cat "$LINES" | "$0" "$@""#]);
    let runs = [
        daemon.setup.run(&["import", "--from", "ndjson", path]),
        piped.run(&["import", "--from", "ndjson", "-"]),
    ];
    for output in runs {
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in [
            "imported 1502 spans\n2 could not",
            "      line 2\n",
            "      line 6\n",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        daemon.await_counted();
        assert_eq!(read(&daemon, "/v1/spans")["total"], 1501);
        assert_eq!(
            read(&daemon, &format!("/v1/traces/{TRACE}"))["costCents"],
            0.045
        );
    }
    daemon.process.kill9();
    let away = ["import", "--from", "ndjson", path, "--retry-timeout", "1s"];
    let output = daemon.setup.run(&away);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("took nothing for 1 s"), "{said}");
}

// Scenario: what is no database of a Pulse server is given as one.
// Guarantees: it is said, and not changed.
#[test]
fn other_databases_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let setup = crate::daemon::Setup::new(directory.path());
    let file = directory.path().join("other.db");
    let missing = directory.path().join("none.db");
    std::fs::write(&file, b"").unwrap();
    for (path, reason) in [
        (&file, "no database of a Pulse server"),
        (&missing, "none.db"),
    ] {
        let path = path.to_str().unwrap();
        let output = setup.run(&["import", "--from", "pulse-sqlite", path, "--dry-run"]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    assert!(!missing.exists());
}
