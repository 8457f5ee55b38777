//! The built dashboard that is served beside the API.

use crate::daemon::{Daemon, Store, on_both_stores};
use crate::http::{self, Response};

fn get(daemon: &Daemon, path: &str) -> Response {
    let address = daemon.addresses().gateway;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    http::exchange(address, head.as_bytes()).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

// Scenario: a daemon without a dashboard and one with a built one, asked without a key.
// Guarantees: what the older server answered (files, its first page for routes of its own, where the
// API is), and the API's own paths stay the API's.
fn a_built_dashboard_is_served_beside_the_api(store: Store) {
    let bare = Daemon::spawn_on(store, &[]);
    let answer = get(&bare, "/");
    let told = answer.text();
    assert_eq!(answer.status, 404);
    assert!(
        told.starts_with("Pulse dashboard assets were not found."),
        "{told}"
    );
    drop(bare);

    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("assets")).unwrap();
    std::fs::write(directory.path().join("index.html"), "<p>Pulse</p>").unwrap();
    std::fs::write(directory.path().join("assets/app.js"), "start()").unwrap();
    let built = directory.path().display().to_string();
    let daemon = Daemon::spawn_on(store, &[("gateway.dashboard.directory", &built)]);
    for (path, status, kind, body) in [
        ("/", 200, "text/html", "<p>Pulse</p>"),
        ("/traces/1", 200, "text/html", "<p>Pulse</p>"),
        ("/assets/app.js", 200, "text/javascript", "start()"),
        (
            "/runtime-config.js",
            200,
            "application/javascript",
            "window.__PULSE_CONFIG = {\"apiBaseUrl\":\"\"};\n",
        ),
        ("/assets/none.js", 404, "text/plain", "404 Not Found"),
        ("/../index.html", 404, "text/plain", "404 Not Found"),
        ("/v1/nothing", 404, "text/plain", "404 Not Found"),
        ("/dashboard/api/nothing", 404, "text/plain", "404 Not Found"),
    ] {
        let answer = get(&daemon, path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (status, body),
            "{path}"
        );
        let sent = answer.header("content-type").unwrap_or_default();
        assert!(sent.starts_with(kind), "{path}: {sent}");
    }
    let api = get(&daemon, "/api/v1/nothing");
    assert_eq!(
        (api.status, api.json()["code"].as_str()),
        (404, Some("no_such_route"))
    );
    let page = get(&daemon, "/");
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let script = get(&daemon, "/runtime-config.js");
    assert_eq!(script.header("cache-control"), Some("no-store"));
}

on_both_stores! {
    a_built_dashboard_is_served_beside_the_api,
}
