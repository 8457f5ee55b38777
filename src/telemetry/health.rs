//! Health of the daemon: what must work before it takes telemetry, and the operations listener
//! that shows it beside the metrics.
//!
//! `/livez` answers as long as the process can answer at all. `/readyz` says whether every
//! registered check is satisfied; a check that was never set is not.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use tokio::sync::watch;

use crate::net::listener::{self, Bound, Limits};
use crate::otlp::Failure;
use crate::service::tasks::Tasks;

/// Connections to the operations listener at once.
const MAX_CONNECTIONS: u32 = 64;

/// What must work before the daemon is ready. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    checks: Mutex<Vec<State>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug, Clone, Serialize)]
struct State {
    name: &'static str,
    ok: bool,
    detail: String,
}

/// One part's say in the readiness. Setting it again replaces what it said before.
#[derive(Debug, Clone)]
pub struct Check {
    index: usize,
    shared: Arc<Shared>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// No checks yet, and therefore not ready.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                checks: Mutex::new(Vec::new()),
                ready: watch::Sender::new(false),
            }),
        }
    }

    /// Adds a check; not satisfied until it is set.
    #[must_use]
    pub fn register(&self, name: &'static str) -> Check {
        let mut checks = self.shared.checks();
        let index = checks.len();
        checks.push(State {
            name,
            ok: false,
            detail: "starting".to_owned(),
        });
        self.shared.publish(&checks);
        Check {
            index,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Whether every check is satisfied, and there is one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.shared.ready.borrow()
    }

    /// Hears when that changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.shared.ready.subscribe()
    }

    /// The answer of `/readyz`: ready or not, and each check, as JSON.
    fn report(&self) -> (bool, String) {
        let checks = self.shared.checks().clone();
        let ready = is_ready(&checks);
        let report = serde_json::json!({ "ready": ready, "checks": checks });
        (ready, report.to_string())
    }
}

impl Check {
    /// Says whether this part works, and in one sentence why not, or how.
    pub fn set(&self, ok: bool, detail: impl Into<String>) {
        let mut checks = self.shared.checks();
        if let Some(state) = checks.get_mut(self.index) {
            state.ok = ok;
            state.detail = detail.into();
        }
        self.shared.publish(&checks);
    }
}

impl Shared {
    fn checks(&self) -> MutexGuard<'_, Vec<State>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, checks: &[State]) {
        let ready = is_ready(checks);
        self.ready.send_if_modified(|current| {
            let changed = *current != ready;
            *current = ready;
            changed
        });
    }
}

fn is_ready(checks: &[State]) -> bool {
    !checks.is_empty() && checks.iter().all(|check| check.ok)
}

/// Renders the metrics in the Prometheus text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves `/metrics`, `/livez` and `/readyz`.
///
/// # Errors
/// See [`listener::serve`]. Must be called within a Tokio runtime.
pub fn serve(
    bound: Bound,
    readiness: Readiness,
    render: RenderMetrics,
    tasks: &Tasks,
) -> Result<(), listener::Error> {
    let limits = Limits {
        max_connections: MAX_CONNECTIONS,
        ..Limits::default()
    };
    let service = tower::service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = answer(&request, &readiness, &render);
        async move { Ok::<_, Infallible>(response) }
    });
    listener::serve(bound, limits, None, service, refuse, tasks)
}

fn answer<B>(
    request: &Request<B>,
    readiness: &Readiness,
    render: &RenderMetrics,
) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let path = request.uri().path();
    if !["/metrics", "/livez", "/readyz"].contains(&path) {
        return plain(StatusCode::NOT_FOUND, TEXT, "not found\n".to_owned());
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let body = "use GET\n".to_owned();
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, body);
        let allow = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    match path {
        "/metrics" => {
            let prometheus = "text/plain; version=0.0.4; charset=utf-8";
            plain(StatusCode::OK, prometheus, render())
        }
        "/readyz" => {
            let (ready, report) = readiness.report();
            let status = if ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            plain(status, "application/json", report)
        }
        _ => plain(StatusCode::OK, TEXT, "ok\n".to_owned()),
    }
}

fn plain(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let never = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, never);
    response
}

fn refuse(failure: &Failure, _: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let body = format!("{failure}\n");
    plain(failure.http_status(), "text/plain; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_check_is_satisfied() {
        let readiness = Readiness::new();
        assert!(!readiness.is_ready());
        let store = readiness.register("store");
        let queue = readiness.register("queue");
        store.set(true, "open");
        assert!(!readiness.is_ready());
        queue.set(true, "open");
        assert!(readiness.is_ready());
        store.set(false, "disk full");
        assert!(!readiness.is_ready());
        let (ready, report) = readiness.report();
        assert!(!ready);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["checks"][0]["name"], "store");
        assert_eq!(report["checks"][0]["detail"], "disk full");
        assert_eq!(report["checks"][1]["ok"], true);
    }

    #[test]
    fn probes_answer_by_path_and_method() {
        let readiness = Readiness::new();
        let render: RenderMetrics = Arc::new(|| "up 1\n".to_owned());
        let status = |method: &str, path: &str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(())
                .unwrap();
            answer(&request, &readiness, &render).status().as_u16()
        };
        assert_eq!(status("GET", "/livez"), 200);
        assert_eq!(status("HEAD", "/livez"), 200);
        assert_eq!(status("GET", "/metrics"), 200);
        assert_eq!(status("GET", "/readyz"), 503);
        assert_eq!(status("POST", "/metrics"), 405);
        assert_eq!(status("GET", "/"), 404);
        readiness.register("store").set(true, "");
        assert_eq!(status("GET", "/readyz"), 200);
    }
}
