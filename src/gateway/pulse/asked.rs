//! Requests for people: who sends them, and their small bodies.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::super::Shared;
use super::answer::Refused;
use crate::auth::People;
use crate::auth::people::Client;
use crate::net::listener::Peer;
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;

/// Largest body, in bytes: names and passwords.
const BODY_MAX: usize = 64 << 10;
/// Longest time a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The head of a request, and what it says of its sender.
#[derive(Debug)]
pub(in crate::gateway) struct Asked {
    pub(in crate::gateway) headers: HeaderMap,
    pub(in crate::gateway) uri: Uri,
    pub(in crate::gateway) client: Client,
    /// Whether the client came by TLS.
    pub(in crate::gateway) is_secure: bool,
}

impl Asked {
    fn of(parts: &Parts, shared: &Shared) -> Self {
        let trusted = shared.config.trust_forwarded;
        let said = |name: HeaderName| {
            // The nearest proxy's own word is the last, in the last line.
            let value = parts.headers.get_all(name).iter().next_back();
            let value = value.filter(|_| trusted);
            let last = value.and_then(|value| value.to_str().ok()?.rsplit(',').next());
            last.map(|word| word.trim().to_owned())
        };
        let forwarded = said(FORWARDED_FOR).and_then(|said| said.parse().ok());
        let peer = parts.extensions.get::<Peer>();
        let address = forwarded.or_else(|| peer.map(|Peer(peer)| peer.ip()));
        let agent = parts.headers.get(header::USER_AGENT);
        Self {
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
            client: Client {
                address: address.map_or_else(String::new, |it| it.to_canonical().to_string()),
                user_agent: agent
                    .and_then(|agent| agent.to_str().ok())
                    .unwrap_or_default()
                    .to_owned(),
            },
            is_secure: shared.config.tls.is_some()
                || said(FORWARDED_PROTO).is_some_and(|said| said.eq_ignore_ascii_case("https")),
        }
    }

    /// What the client called this machine, with the port.
    pub(super) fn host(&self) -> Option<String> {
        let named = self.headers.get(header::HOST);
        let named = named.and_then(|host| host.to_str().ok()).map(str::to_owned);
        named.or_else(|| self.uri.authority().map(ToString::to_string))
    }
}

impl FromRequestParts<Arc<Shared>> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, shared))
    }
}

/// Those who may sign in.
pub(super) fn people(shared: &Shared) -> Result<&Arc<People>, Refused> {
    shared.gate.people().ok_or_else(Refused::internal)
}

/// Reads a body as JSON, whatever it says it is; `None` when it is none.
pub(super) async fn json(request: Request) -> Result<Option<Json>, Refused> {
    Ok(Json::parse(&bytes(request).await?).ok())
}

async fn bytes(request: Request) -> Result<Bytes, Refused> {
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    match tokio::time::timeout(READ_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request body too large",
        )),
        Ok(Err(_)) => Err(Refused::bad("Invalid JSON body")),
        Err(_) => Err(Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not arrive in time",
        )),
    }
}

/// A text of an object, without the spaces around it, if there is anything else to it.
pub(super) fn filled(json: &Json, key: &str) -> Option<String> {
    let text = json.get(key).and_then(Json::as_text)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A time as answers show it.
pub(super) fn time(unix_nano: u64) -> Json {
    Json::text(scalar::iso(i128::from(unix_nano)))
}
