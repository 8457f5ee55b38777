//! A built dashboard, where one is configured: what is asked for with GET and is no route of an API.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use super::pulse;

/// Says to the pages where the API is.
const RUNTIME_CONFIG: &str = "/runtime-config.js";
const INDEX: &str = "/index.html";
/// Longest path that may be a file's, and longest part of it, as sent, in bytes.
const PATH_MAX: usize = 1024;
const SEGMENT_MAX: usize = 255;

/// `gateway.dashboard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The built files, `index.html` and what it names.
    pub directory: PathBuf,
    /// Where the pages ask, without a slash at the end; empty means where they came from.
    #[serde(default)]
    pub api_base_url: String,
}

/// Whether a path without a route may be one of the dashboard's.
pub(super) fn is_asked_for(method: &Method, uri: &Uri) -> bool {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    is_read && uri.path() != "/api" && !uri.path().starts_with("/api/")
}

/// Answers with a file of the dashboard. Paths that look like none are routes of its own, which its
/// first page knows.
pub(super) async fn answer(config: Option<&Config>, asked: &Parts) -> Response {
    let path = asked.uri.path();
    if path == RUNTIME_CONFIG {
        return runtime_config(config);
    }
    let Some(config) = config else {
        return not_built();
    };
    if path.contains("..") {
        return pulse::not_found();
    }
    if is_short(path) {
        let found = file(config, asked, path).await;
        if found.status() != StatusCode::NOT_FOUND {
            return found;
        }
    }
    let is_file = path.rsplit('/').next().is_some_and(|it| it.contains('.'));
    if is_file {
        return pulse::not_found();
    }
    let index = file(config, asked, INDEX).await;
    if index.status() == StatusCode::NOT_FOUND {
        return not_built();
    }
    index
}

/// Whether a file system takes it as a name.
fn is_short(path: &str) -> bool {
    path.len() <= PATH_MAX && path.split('/').all(|segment| segment.len() <= SEGMENT_MAX)
}

/// One file, with what the request says of ranges and of what the client has already.
async fn file(config: &Config, asked: &Parts, path: &str) -> Response {
    let mut request = Request::new(Body::empty());
    request.method_mut().clone_from(&asked.method);
    request.headers_mut().clone_from(&asked.headers);
    // The query means nothing to a file, and the rest was part of a valid one.
    *request.uri_mut() = Uri::try_from(path).unwrap_or_default();
    let mut response = match ServeDir::new(&config.directory).oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    };
    let headers = response.headers_mut();
    // Kept, and asked for anew each time: what is unchanged costs no body.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let framing = HeaderValue::from_static("frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, framing);
    response
}

fn runtime_config(config: Option<&Config>) -> Response {
    let base = config.map_or("", |config| config.api_base_url.as_str());
    let settings = serde_json::json!({ "apiBaseUrl": base });
    let script = format!("window.__PULSE_CONFIG = {settings};\n");
    let mut response = script.into_response();
    let script = HeaderValue::from_static("application/javascript");
    response.headers_mut().insert(CONTENT_TYPE, script);
    response
}

fn not_built() -> Response {
    let text = "Pulse dashboard assets were not found. Set gateway.dashboard.directory to a built \
        dashboard; the API is described at /openapi.json.\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn get(config: Option<&Config>, path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let (asked, _) = request.into_parts();
        assert!(is_asked_for(&asked.method, &asked.uri), "{path}");
        let response = answer(config, &asked).await;
        let header = |name| {
            let value = response.headers().get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        let (status, content_type) = (response.status(), header(CONTENT_TYPE));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            content_type,
            String::from_utf8_lossy(&body).into_owned(),
        )
    }

    fn built() -> (tempfile::TempDir, Config) {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("secret.txt"), "secret").unwrap();
        let directory = parent.path().join("dist");
        std::fs::create_dir_all(directory.join("assets")).unwrap();
        std::fs::write(directory.join("index.html"), "<p>first</p>").unwrap();
        std::fs::write(directory.join("assets/app.js"), "start()").unwrap();
        let api_base_url = "https://api.example.com".to_owned();
        (
            parent,
            Config {
                directory,
                api_base_url,
            },
        )
    }

    // Scenario: files that there are, routes of the pages, files that there are not, tricks.
    // Guarantees: each is answered as the contract of the older server says; nothing outside of the
    // directory is.
    #[tokio::test]
    async fn files_and_pages_are_served_and_nothing_else() {
        let (_parent, config) = built();
        let (status, kind, body) = get(Some(&config), "/assets/app.js").await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "start()"));
        assert!(kind.contains("javascript"), "{kind}");
        let long = format!("/traces/{}", "a".repeat(300));
        let deep = "/a".repeat(3000);
        let pages = ["/", "/traces/abc", "/index.html", "/login?next=%2F"];
        for page in pages.into_iter().chain([&*long, &*deep]) {
            let (status, kind, body) = get(Some(&config), page).await;
            assert_eq!(
                (status, body.as_str()),
                (StatusCode::OK, "<p>first</p>"),
                "{page}"
            );
            assert!(kind.starts_with("text/html"), "{kind}");
        }
        for missing in [
            "/assets/none.js",
            "/favicon.ico",
            "/../secret.txt",
            "/assets/../../secret.txt",
            "/..%2fsecret.txt",
            "/%2e%2e/secret.txt",
            "/%2e%2e%2fsecret.txt",
        ] {
            let (status, _, body) = get(Some(&config), missing).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{missing}");
            assert_eq!(body, "404 Not Found", "{missing}");
        }
    }

    #[tokio::test]
    async fn pages_are_told_where_the_api_is() {
        let (_parent, config) = built();
        let (status, kind, body) = get(Some(&config), RUNTIME_CONFIG).await;
        assert_eq!(
            (status, kind.as_str()),
            (StatusCode::OK, "application/javascript")
        );
        let expected = r#"window.__PULSE_CONFIG = {"apiBaseUrl":"https://api.example.com"};"#;
        assert_eq!(body.trim_end(), expected);
        let (status, _, body) = get(None, RUNTIME_CONFIG).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            body.trim_end(),
            r#"window.__PULSE_CONFIG = {"apiBaseUrl":""};"#
        );
    }

    #[tokio::test]
    async fn without_a_build_the_answer_says_so() {
        let (_parent, mut config) = built();
        config.directory.push("none");
        for config in [None, Some(&config)] {
            let (status, kind, body) = get(config, "/").await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            assert!(kind.starts_with("text/plain"), "{kind}");
            assert!(
                body.starts_with("Pulse dashboard assets were not found."),
                "{body}"
            );
        }
    }

    #[test]
    fn apis_are_not_the_dashboards() {
        let uri = |path: &str| path.parse::<Uri>().unwrap();
        assert!(!is_asked_for(&Method::POST, &uri("/")));
        assert!(!is_asked_for(&Method::GET, &uri("/api/v1/nothing")));
        assert!(!is_asked_for(&Method::GET, &uri("/api")));
        assert!(is_asked_for(&Method::HEAD, &uri("/apis")));
    }
}
