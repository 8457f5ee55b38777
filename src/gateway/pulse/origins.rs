//! Pages of other origins. On the paths that cookies are for, and those of PulseBoard's SDK, only those
//! that are named may read answers; TracePulse lets every page, which a key is asked of all the same.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::super::{Shared, family};

/// Answers preflights, and says which origin may read an answer.
pub(in crate::gateway) async fn wrap(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if family::is_for_any_page(path) {
        return for_any_page(request, next).await;
    }
    if !super::is_for_people(path) && !family::is_of_board_sdk(path) {
        return next.run(request).await;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|origin| {
        let mut allowed = shared.config.allowed_origins.iter();
        // A star is no origin: whoever may use a cookie is named.
        allowed.any(|allowed| allowed != "*" && origin == allowed.as_str())
    });
    let mut response = if is_preflight(&request) {
        preflight(
            "POST,GET,DELETE,OPTIONS",
            "Content-Type,Authorization,X-Project-Id",
        )
    } else {
        next.run(request).await
    };
    decorate(response.headers_mut(), allowed);
    response
}

fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

async fn for_any_page(request: Request, next: Next) -> Response {
    let mut response = if is_preflight(&request) {
        preflight("GET,POST,OPTIONS", "Content-Type,X-API-Key")
    } else {
        next.run(request).await
    };
    let any = HeaderValue::from_static("*");
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}

fn preflight(methods: &'static str, names: &'static str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(names),
    );
    response
}

fn decorate(headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
}
