//! An import is gone on with in what is not what it was.

use std::time::Duration;

use serde_json::json;

use super::{WITHIN, call_span, read, text};
use crate::daemon::{Daemon, eventually};
use crate::fault_proxy::FaultProxy;

/// Spans 0 to 2999 of a session, a line each.
fn lines(session: &str) -> String {
    let spans = (0..3_000).map(|number| {
        let mut span = call_span(number);
        span["session_id"] = json!(session);
        span["span_id"] = json!(format!("{session}-{number}"));
        span.to_string()
    });
    spans.collect::<Vec<_>>().join("\n")
}

// Scenario: an import of a file is killed on its way, and the file replaced by another under the
// same name; the same command runs again, and once more.
// Guarantees: it does not go on at a place that means nothing in the new file, and says so: all of
// the new file is stored, once.
#[test]
fn another_file_of_the_same_name_is_read_from_its_beginning() {
    let daemon = Daemon::spawn(&[]);
    let file = daemon.setup.data_dir.join("lines.ndjson");
    std::fs::write(&file, lines("old")).unwrap();
    let proxy = FaultProxy::start(daemon.addresses().http);
    proxy.delay(Duration::from_millis(100));
    let endpoint = format!("http://{}", proxy.address());
    let path = file.to_str().unwrap();
    let arguments = ["--from", "ndjson", path, "--endpoint", &endpoint];
    let mut killed = daemon
        .setup
        .launch_with(&[&["import"], &arguments[..]].concat());
    let stored = |session: &str| {
        let path = format!("/v1/spans?session_id={session}&limit=1");
        read(&daemon, &path)["total"].as_u64().unwrap()
    };
    // With spans of the second request the first is noted.
    eventually("a place is noted", WITHIN, || {
        (stored("old") > 500).then_some(())
    });
    proxy.freeze();
    assert!(killed.is_running(), "{}", killed.output());
    killed.kill9();
    proxy.heal();
    std::fs::write(&file, lines("new")).unwrap();
    // What the killed one sent last is stored and not counted: nobody was there to be told.
    let import = || {
        let output = daemon.setup.run(&[&["import"], &arguments[..]].concat());
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        daemon.await_stored();
        said
    };
    let said = import();
    assert!(said.contains("beginning anew"), "{said}");
    assert!(said.contains("imported 3000 spans"), "{said}");
    assert_eq!(stored("new"), 3_000);
    import();
    assert_eq!(stored("new"), 3_000);
}
