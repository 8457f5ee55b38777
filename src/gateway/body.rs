//! Bodies of requests, read under a size and a time.

use std::time::Duration;

use axum::extract::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// Reads a body as JSON.
///
/// Only as `application/json`: browsers don't send that to other origins without asking first.
pub(super) async fn json<T: DeserializeOwned>(
    request: Request,
    bytes_max: usize,
    within: Duration,
) -> Result<T, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        let detail = "send the body with content-type: application/json";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let body = Limited::new(request.into_body(), bytes_max).collect();
    let body = match tokio::time::timeout(within, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large(bytes_max)),
        Ok(Err(_)) => {
            let detail = "the connection ended before the body did";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
        Err(_) => {
            let detail = "the body did not arrive in time";
            return Err(Problem::new(Code::RequestTimeout, detail));
        }
    };
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body is not what it should be: {error}");
        Problem::new(Code::InvalidRequest, detail)
    })
}

/// The problem of a body over its limit.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body may have {bytes_max} bytes");
    Problem::new(Code::RequestTooLarge, detail)
}
