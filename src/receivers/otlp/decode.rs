//! From the bytes of a body to an encoded protobuf request: decompression and JSON, off the async
//! workers when it takes long.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::Budget;
use crate::otlp::compression::{self, Encoding};
use crate::otlp::{Failure, Signal, json};

/// Larger bodies are worked on by blocking threads. Decompression can multiply the work, and JSON
/// costs several milliseconds a megabyte.
const INLINE_COMPRESSED_MAX: usize = 64 << 10;
const INLINE_JSON_MAX: usize = 256 << 10;

/// Runs what would hold up an async worker on blocking threads, one per core at a time.
#[derive(Debug, Clone)]
pub(super) struct HeavyWork {
    permits: Arc<Semaphore>,
}

impl HeavyWork {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            permits: Arc::new(Semaphore::new(cores)),
        }
    }

    async fn run<T, W>(&self, is_heavy: bool, work: W) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, Failure> + Send + 'static,
    {
        if !is_heavy {
            return work();
        }
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await;
        let permit = permit.map_err(|_closed| Failure::ShuttingDown)?;
        let worked = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(permit);
            outcome
        });
        worked.await.unwrap_or_else(|error| {
            tracing::error!(%error, "decoding a request panicked");
            Err(Failure::Internal)
        })
    }

    /// Undoes the encoding, and the JSON of a signal if it is that. The admission comes back with the payload.
    ///
    /// # Errors
    /// [`Failure::Malformed`], [`Failure::TooLarge`], and what the budget says.
    pub(super) async fn decode<A: Budget>(
        &self,
        mut admission: A,
        encoding: Encoding,
        json: Option<Signal>,
        body: Bytes,
        limit: usize,
    ) -> Result<(A, Bytes), Failure> {
        let is_compressed = encoding != Encoding::Identity;
        if !is_compressed && json.is_none() {
            return Ok((admission, body));
        }
        let is_heavy = is_compressed && body.len() > INLINE_COMPRESSED_MAX
            || json.is_some() && body.len() > INLINE_JSON_MAX;
        let work = move || {
            let mut reserve = |bytes| admission.reserve(bytes);
            let plain = compression::decode(encoding, body, limit, &mut reserve)?;
            let Some(signal) = json else {
                return Ok((admission, plain));
            };
            // The decoded messages are held until they are encoded again; about their own size.
            admission.reserve(plain.len())?;
            let payload = match signal {
                Signal::Traces => encoded(&json::decode(&plain)?, &mut admission)?,
                Signal::Logs => encoded(&json::decode_logs(&plain)?, &mut admission)?,
                Signal::Metrics => encoded(&json::decode_metrics(&plain)?, &mut admission)?,
            };
            Ok((admission, payload))
        };
        self.run(is_heavy, work).await
    }
}

fn encoded(request: &impl prost::Message, budget: &mut impl Budget) -> Result<Bytes, Failure> {
    budget.reserve(request.encoded_len())?;
    Ok(request.encode_to_vec().into())
}

/// The content encodings a transport accepts.
#[derive(Debug, Clone)]
pub(super) struct Encodings {
    allowed: Vec<Encoding>,
    /// As listed to clients.
    names: String,
}

impl Encodings {
    /// From the names in the configuration; unknown ones were refused when it was checked.
    pub(super) fn new(configured: &[String]) -> Self {
        let mut allowed = vec![Encoding::Identity];
        let mut names = "identity".to_owned();
        for name in configured {
            match Encoding::from_name(name) {
                Some(encoding) if !allowed.contains(&encoding) => {
                    allowed.push(encoding);
                    names.push_str(", ");
                    names.push_str(encoding.name());
                }
                _ => {}
            }
        }
        Self { allowed, names }
    }

    /// The list for clients.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// The encoding a header names; no header means identity.
    ///
    /// # Errors
    /// [`Failure::UnsupportedEncoding`].
    pub(super) fn select(&self, header: Option<&http::HeaderValue>) -> Result<Encoding, Failure> {
        let Some(header) = header else {
            return Ok(Encoding::Identity);
        };
        let name = header.to_str().unwrap_or("unreadable").trim();
        let encoding = Encoding::from_name(name).filter(|encoding| self.allowed.contains(encoding));
        encoding.ok_or_else(|| Failure::UnsupportedEncoding {
            given: name.chars().take(64).collect(),
            supported: self.names.clone(),
        })
    }
}
