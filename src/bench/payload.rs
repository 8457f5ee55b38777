//! Makes request bodies from templates, into buffers that are used again once the connection has
//! let go of them.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::compression::Compression;
use super::layout::{Ids, Rng, mix};
use super::profile::{self, Shape};
use super::target::Protocol;
use super::template::Template;

/// Different requests made in advance; all else is written into copies of them.
const VARIANTS: u64 = 6;

/// Makes bodies.
#[derive(Debug)]
pub(super) struct Payloads {
    variants: Vec<Variant>,
    ids: Ids,
    protocol: Protocol,
    compression: Compression,
    /// Buffers kept for one variant at most.
    spare_max: usize,
}

#[derive(Debug)]
struct Variant {
    template: Template,
    spare: Mutex<Vec<BytesMut>>,
}

impl Payloads {
    /// Encodes the templates. `in_flight` bounds the buffers that are kept.
    pub(super) fn new(
        shape: &Shape,
        ids: Ids,
        seed: u64,
        (protocol, compression): (Protocol, Compression),
        in_flight: usize,
    ) -> Self {
        // With split traces a variant stands for one share of each trace, so there must be a
        // whole number of variants for every share.
        let count = VARIANTS.next_multiple_of(u64::from(ids.layout.fan));
        let prefixed = compression == Compression::None;
        let variants = (0..count).map(|variant| {
            let mut rng = Rng::new(mix(seed) ^ variant);
            let message = profile::message(shape, variant, &mut rng);
            let template = Template::new(&message, protocol.encoding(), |length| {
                if prefixed {
                    protocol.header(false, length)
                } else {
                    Vec::new()
                }
            });
            Variant {
                template,
                spare: Mutex::default(),
            }
        });
        Self {
            variants: variants.collect(),
            ids,
            protocol,
            compression,
            spare_max: in_flight,
        }
    }

    fn variant(&self, request: u64) -> Option<&Variant> {
        let index = usize::try_from(request % self.variants.len() as u64).ok()?;
        self.variants.get(index)
    }

    /// Average size of a request before compression, without its frame header.
    pub(super) fn message_bytes(&self) -> u64 {
        let sizes = self.variants.iter().map(|variant| {
            let template = &variant.template;
            (template.body().len() - template.prefix()) as u64
        });
        sizes.sum::<u64>() / (self.variants.len() as u64).max(1)
    }

    /// The body of a request.
    ///
    /// # Errors
    /// When compression fails.
    pub(super) async fn body(&self, request: u64) -> anyhow::Result<Bytes> {
        let Some(variant) = self.variant(request) else {
            return Ok(Bytes::new());
        };
        let spare = lock(&variant.spare).pop();
        let mut buffer = spare.unwrap_or_else(|| BytesMut::from(variant.template.body()));
        variant
            .template
            .fill(&mut buffer, &self.ids, request, now_unix_nano());
        let body = buffer.freeze();
        if self.compression == Compression::None {
            return Ok(body);
        }
        let (compression, message) = (self.compression, body.clone());
        let compressed =
            tokio::task::spawn_blocking(move || compression.compress(&message)).await??;
        self.recycle(request, body);
        let mut framed = self.protocol.header(true, compressed.len());
        framed.extend_from_slice(&compressed);
        Ok(framed.into())
    }

    /// Gives a body back that was acknowledged or given up.
    pub(super) fn release(&self, request: u64, body: Bytes) {
        if self.compression == Compression::None {
            self.recycle(request, body);
        }
    }

    fn recycle(&self, request: u64, body: Bytes) {
        // A connection that still holds a part of it makes this fail; the buffer is then freed.
        if let (Some(variant), Ok(buffer)) = (self.variant(request), body.try_into_mut()) {
            let mut spare = lock(&variant.spare);
            if spare.len() < self.spare_max {
                spare.push(buffer);
            }
        }
    }
}

fn lock(spare: &Mutex<Vec<BytesMut>>) -> std::sync::MutexGuard<'_, Vec<BytesMut>> {
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Now, ns since the Unix epoch.
pub(super) fn now_unix_nano() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
