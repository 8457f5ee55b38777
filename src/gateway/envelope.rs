//! What every answer has: a request id, a body even when the handler panicked, headers that keep
//! answers out of caches, and compression where it is asked for and worth it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::Instrument as _;

use super::problem::Problem;
use super::{Shared, family, pulse};
use crate::net::compress;

/// Names a request in the answer and in our log.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id taken over from a client.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Makes request ids: unique within a process, and unlikely to repeat across restarts.
#[derive(Debug)]
pub(super) struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Starts counting.
    pub(super) fn new() -> Self {
        Self {
            process: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(1),
        }
    }

    /// The client's id when it is harmless, else a new one.
    pub(super) fn choose(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(REQUEST_ID) {
            Some(given) if is_harmless(given.as_bytes()) => given.clone(),
            _ => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let text = format!("{:016x}-{number}", self.process);
                HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unnamed"))
            }
        }
    }
}

fn is_harmless(id: &[u8]) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(harmless)
}

/// Which route answered; label of the gateway's metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoutePath(pub(super) &'static str);

/// What stands for the route where none matched.
pub(super) const NO_ROUTE: RoutePath = RoutePath("none");

/// Notes which route answered.
pub(super) fn name_route(mut response: Response, path: &'static str) -> Response {
    response.extensions_mut().insert(RoutePath(path));
    response
}

/// The outermost layer.
pub(super) async fn wrap(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let request_id = shared.request_ids.choose(request.headers());
    let id_text = request_id.to_str().unwrap_or_default().to_owned();
    let wants_gzip = request.method() == Method::GET && compress::accepts_gzip(request.headers());
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let nobody = tracing::field::Empty;
    let span = tracing::info_span!(
        "query",
        request_id = id_text,
        path,
        project = nobody,
        by = nobody
    );
    let answered = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let mut response = answered.unwrap_or_else(|_| {
        tracing::error!(request_id = id_text, "query handler panicked");
        if pulse::is_ours(&path) {
            return pulse::failed();
        }
        if let Some(failed) = family::failed(&method, &path) {
            return failed;
        }
        Problem::internal().into_response()
    });
    let route = response.extensions_mut().remove().unwrap_or(NO_ROUTE);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        problem.write(&mut response, &id_text);
    }
    let code = response.status().as_u16();
    let elapsed = started.elapsed();
    shared.metrics.gateway_request(route.0, code, elapsed);
    if shared.config.access_log {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        span.in_scope(|| tracing::info!(%method, route = route.0, status = code, ms, "answered"));
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if compress::is_worth(&mut response) && wants_gzip {
        return compress::gzip_response(response).map(Body::new);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_kept_only_when_harmless() {
        let ids = RequestIds::new();
        let choose = |given: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(given));
            ids.choose(&headers)
        };
        assert_eq!(choose("abc-1.2_3"), "abc-1.2_3");
        for bad in ["", "a b", "<script>"] {
            assert_ne!(choose(bad), bad);
        }
        assert_ne!(ids.choose(&HeaderMap::new()), ids.choose(&HeaderMap::new()));
    }
}
