//! Bodies of the older routes: read under a size, a time and a memory budget, unpacked and parsed.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;

use super::super::Shared;
use super::answer::Refused;
use crate::otlp::Failure;
use crate::otlp::compression::{self, Encoding};
use crate::pipeline::{Admission, Ingest, Transport};
use crate::receivers::pulse::json::Json;

/// Largest body, in bytes, before and after unpacking.
const BODY_MAX: usize = 64 << 20;
/// Longest time a body may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Larger bodies are parsed by blocking threads.
const INLINE_MAX: usize = 256 << 10;
/// Parsed JSON takes this many times the bytes of its text, about.
const PARSED_RATIO: usize = 4;

/// A body that was let in.
pub(in crate::gateway) struct Taken<'s> {
    pub(in crate::gateway) ingest: &'s Ingest,
    pub(in crate::gateway) admission: Admission,
    pub(in crate::gateway) bytes: Bytes,
}

/// Reads a body. Failures are those of the OTLP routes.
pub(in crate::gateway) async fn read(
    shared: &Shared,
    transport: Transport,
    request: Request,
) -> Result<Taken<'_>, Failure> {
    read_up_to(shared, transport, request, BODY_MAX).await
}

/// Reads a body of some bytes at most, before and after unpacking.
pub(in crate::gateway) async fn read_up_to(
    shared: &Shared,
    transport: Transport,
    request: Request,
    bytes_max: usize,
) -> Result<Taken<'_>, Failure> {
    let ingest = shared.ingest.as_ref().ok_or(Failure::ShuttingDown)?;
    let encoding = encoding(request.headers())?;
    let mut admission = ingest.admit(transport, 0)?;
    let read = collect(request.into_body(), &mut admission, bytes_max);
    let read = tokio::time::timeout(READ_TIMEOUT, read).await;
    let packed = read.map_err(|_elapsed| Failure::RequestTimeout)??;
    let unpack = move || {
        let mut reserve = |bytes| admission.reserve(bytes);
        let bytes = compression::decode(encoding, packed, bytes_max, &mut reserve)?;
        Ok::<_, Failure>((admission, bytes))
    };
    let is_heavy = encoding != Encoding::Identity;
    let (admission, bytes) = heavy(is_heavy, unpack).await??;
    Ok(Taken {
        ingest,
        admission,
        bytes,
    })
}

impl Taken<'_> {
    /// Reads the body as JSON, whatever it says it is.
    pub(in crate::gateway) async fn json(&mut self) -> Result<Json, Failure> {
        let bytes = self.bytes.clone();
        self.admission
            .reserve(bytes.len().saturating_mul(PARSED_RATIO))?;
        let is_heavy = bytes.len() > INLINE_MAX;
        let parsed = heavy(is_heavy, move || Json::parse(&bytes)).await?;
        parsed.map_err(|_| Failure::Malformed {
            message: "Invalid JSON body".to_owned(),
            field: None,
        })
    }
}

/// Does work that may hold up an async worker on a blocking thread.
pub(in crate::gateway) async fn heavy<T: Send + 'static>(
    is_heavy: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    if !is_heavy {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "reading a body panicked");
        Failure::Internal
    })
}

async fn collect(
    mut body: Body,
    admission: &mut Admission,
    bytes_max: usize,
) -> Result<Bytes, Failure> {
    let mut collected = Vec::new();
    while let Some(frame) = Pin::new(&mut body).frame().await {
        let frame = frame.map_err(|_| Failure::Malformed {
            message: "the request body broke off".to_owned(),
            field: None,
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if collected.len() + piece.len() > bytes_max {
            return Err(Failure::TooLarge {
                limit_bytes: bytes_max as u64,
            });
        }
        admission.reserve(piece.len())?;
        collected.extend_from_slice(&piece);
    }
    Ok(collected.into())
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let Some(name) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(Encoding::Identity);
    };
    let name = name.to_str().unwrap_or("unreadable");
    Encoding::from_name(name).ok_or_else(|| Failure::UnsupportedEncoding {
        given: name.chars().take(64).collect(),
        supported: "identity, gzip, zstd, deflate".to_owned(),
    })
}

/// A failure in the words of the older servers. `busy` is said when nothing can be taken now.
pub(super) fn refused(failure: &Failure, busy: &str) -> Refused {
    match failure {
        Failure::Malformed { .. } => Refused::bad("Invalid JSON body"),
        Failure::TooLarge { .. } => {
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large")
        }
        Failure::UnsupportedEncoding { .. } => {
            let sentence = "Unsupported content encoding";
            Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence)
        }
        Failure::RequestTimeout => Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not arrive in time",
        ),
        Failure::Throttled { .. } | Failure::OverQuota { .. } => Refused::over_quota(failure),
        Failure::Overloaded { .. } | Failure::ShuttingDown => {
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, busy)
        }
        _ => Refused::internal(),
    }
}
