//! A start works or says in one line why not, and nothing on disk keeps the daemon down for good.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;

use crate::daemon::{Daemon, Process, Setup};
use crate::otlp::{hex, post_accepted, request, span, text};

const REFUSES_WITHIN: Duration = Duration::from_secs(15);

/// The daemon ends by itself with exit code 1 and one line that says each of these.
pub(crate) fn assert_refuses(mut process: Process, signs: &[&str]) {
    let status = process.wait_exit(REFUSES_WITHIN);
    let output = process.end_of_output();
    assert_eq!(status.code(), Some(1), "{output}");
    let lines: Vec<&str> = output
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let errors: Vec<_> = lines
        .iter()
        .filter(|line| signs.iter().all(|sign| line.contains(sign)))
        .collect();
    assert_eq!(errors.len(), 1, "one line with {signs:?} in:\n{output}");
    assert!(!output.contains("panicked"), "{output}");
    assert!(!output.contains("stack backtrace"), "{output}");
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

// Scenario: one of the four ports is in use, each in turn.
// Guarantees: exit code 1, one line that names the address and its setting, and no other listener
// is ever open, not even for a moment.
#[test]
fn a_busy_port_is_named_and_nothing_else_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(&directory.path().join("data"));
    let addresses = setup.addresses;
    let all = [
        (addresses.grpc, "receivers.otlp.protocols.grpc.endpoint"),
        (addresses.http, "receivers.otlp.protocols.http.endpoint"),
        (addresses.gateway, "gateway.endpoint"),
        (addresses.metrics, "service.telemetry.metrics.endpoint"),
    ];
    for (busy, _setting) in all {
        let taken = TcpListener::bind(busy).unwrap();
        let mut process = setup.launch();
        while process.is_running() {
            for (other, _) in all.iter().filter(|(other, _)| *other != busy) {
                // A bound socket that does not listen refuses as a closed one does.
                let answers = crate::http::get(*other, "/").is_ok();
                assert!(!answers, "{other} answers though {busy} is in use");
            }
        }
        drop(taken);
        assert_refuses(process, &[&busy.to_string(), "in use"]);
        assert!(all.iter().all(|(address, _)| !listens(*address)));
    }
    setup.start();
}

// Scenario: there is a file where the data directory should be.
// Guarantees: exit code 1 and one line that names the path, before anything listens.
#[test]
fn an_unusable_data_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    fs::write(&path, "a file").unwrap();
    let setup = Setup::new(&path);
    assert_refuses(setup.launch(), &[&path.display().to_string()]);
    assert_eq!(fs::read(&path).unwrap(), b"a file");
}

// Scenario: a second daemon is started on the directory of a running one, on other ports.
// Guarantees: it refuses with one clear line, and the first one is not disturbed.
#[test]
fn a_second_daemon_on_one_directory_refuses() {
    let mut first = Daemon::spawn(&[]);
    let second = Setup::new(&first.setup.data_dir);
    let path = second.data_dir.display().to_string();
    assert_refuses(second.launch(), &[&path, "in use by another"]);
    assert!(!listens(second.addresses.gateway));
    post_accepted(
        first.addresses().http,
        &request("a", vec![span(&[1; 16], &[1; 8], "x")]),
    );
    first.await_trace(&[1; 16], 1);
    assert!(first.is_alive_and_ready());
}

/// A killed daemon whose log holds ten traces that the store does not have yet.
fn with_unstored_log() -> (tempfile::TempDir, Setup, Vec<[u8; 16]>) {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(&directory.path().join("data")).set("queue.segment_size", "1MiB");
    // So long a batch that nothing is stored before the kill.
    let slow = setup.clone().set("processors.batch.timeout", "10m");
    let mut process = slow.start();
    let traces: Vec<[u8; 16]> = (1..=10).map(|number| [number; 16]).collect();
    for trace_id in &traces {
        let mut span = span(trace_id, &[1; 8], "logged");
        span.attributes = vec![
            text("marker", &marker(trace_id)),
            text("text", &"x".repeat(3_000)),
        ];
        post_accepted(setup.addresses.http, &request("log", vec![span]));
    }
    process.kill9();
    (directory, setup, traces)
}

fn marker(trace_id: &[u8; 16]) -> String {
    format!("marker-{}-end", hex(trace_id))
}

/// The file of the log that holds this text, and where in it.
fn find(directory: &Path, text: &str) -> (PathBuf, usize) {
    let entries = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let found = entries.filter_map(|path| {
        if path.is_dir() {
            return fs::read_dir(&path)
                .is_ok()
                .then(|| try_find(&path, text))
                .flatten();
        }
        position(&path, text).map(|at| (path, at))
    });
    found
        .last()
        .unwrap_or_else(|| panic!("{text} is not in the log"))
}

fn try_find(directory: &Path, text: &str) -> Option<(PathBuf, usize)> {
    let entries = fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    entries
        .filter_map(|path| position(&path, text).map(|at| (path, at)))
        .last()
}

fn position(path: &Path, text: &str) -> Option<usize> {
    let bytes = fs::read(path).ok()?;
    bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
}

fn stored(daemon: &Daemon, traces: &[[u8; 16]]) -> Vec<bool> {
    daemon.await_stored();
    traces
        .iter()
        .map(|trace_id| daemon.trace(trace_id).is_some())
        .collect()
}

// Scenario: the daemon is killed with requests in its log only, one of which is then damaged on
// the disk.
// Guarantees: it starts by itself, says what is gone, and stores every other request; the damaged
// file is kept for a person to look at; the next start has nothing to say about it.
#[test]
fn damage_in_the_log_costs_one_request_and_is_reported() {
    let (_directory, setup, traces) = with_unstored_log();
    let (path, at) = find(&setup.data_dir.join("wal"), &marker(&traces[4]));
    let mut bytes = fs::read(&path).unwrap();
    bytes[at..at + 8].copy_from_slice(b"DAMAGED!");
    fs::write(&path, bytes).unwrap();

    let mut daemon = Daemon::spawn_with(setup);
    let expected: Vec<bool> = (0..10).map(|number| number != 4).collect();
    assert_eq!(stored(&daemon, &traces), expected);
    let output = daemon.process.output();
    let reports = output
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("WARN"));
    assert!(reports.count() >= 1, "the loss is not reported:\n{output}");
    assert!(daemon.metric("pulse_queue_damaged_segments") >= 1.0);
    assert_eq!(daemon.metric("pulse_queue_lost_records"), 1.0);
    let set_aside = find(&daemon.setup.data_dir.join("wal"), "DAMAGED!");
    assert!(set_aside.0.exists());

    daemon.process.kill9();
    daemon.restart();
    assert_eq!(stored(&daemon, &traces), expected);
}

// Scenario: the daemon is killed with requests in its log only, and the file of the last one is
// cut short in the middle of it.
// Guarantees: it starts by itself and stores everything before the cut.
#[test]
fn a_log_that_was_cut_short_loses_only_what_was_cut() {
    let (_directory, setup, traces) = with_unstored_log();
    let (path, at) = find(&setup.data_dir.join("wal"), &marker(&traces[9]));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(at as u64 + 4).unwrap();
    let daemon = Daemon::spawn_with(setup);
    let expected: Vec<bool> = (0..10).map(|number| number != 9).collect();
    assert_eq!(stored(&daemon, &traces), expected);
}

// Scenario: an empty file and a file of noise lie in the log's directory, as a full disk or a
// stray copy leaves them.
// Guarantees: the daemon starts by itself and stores everything.
#[test]
fn stray_files_in_the_log_do_not_stop_a_start() {
    let (_directory, setup, traces) = with_unstored_log();
    let (path, _) = find(&setup.data_dir.join("wal"), &marker(&traces[0]));
    let beside = path.parent().unwrap();
    fs::write(beside.join("empty.log"), "").unwrap();
    fs::write(
        beside.join("noise"),
        request("noise", Vec::new()).encode_to_vec(),
    )
    .unwrap();
    let daemon = Daemon::spawn_with(setup);
    assert_eq!(stored(&daemon, &traces), [true; 10]);
}

// Scenario: the store's file is text, or a database of some other program.
// Guarantees: exit code 1 and one line that names the file; the file is left as it is.
#[test]
fn a_store_that_is_not_ours_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(&directory.path().join("data"));
    fs::create_dir_all(&setup.data_dir).unwrap();
    let file = setup.data_dir.join("pulse.db");
    let name = file.display().to_string();

    let noise = "not a database at all ".repeat(1_000);
    fs::write(&file, &noise).unwrap();
    assert_refuses(setup.launch(), &[&name]);
    assert_eq!(fs::read_to_string(&file).unwrap(), noise);

    fs::remove_file(&file).unwrap();
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign
        .execute_batch("CREATE TABLE spans (id INTEGER); INSERT INTO spans VALUES (5);")
        .unwrap();
    drop(foreign);
    assert_refuses(setup.launch(), &[&name]);
    let foreign = rusqlite::Connection::open(&file).unwrap();
    let id: i64 = foreign
        .query_row("SELECT id FROM spans", [], |row| row.get(0))
        .unwrap();
    assert_eq!(id, 5, "the other program's data is as it was");
}
