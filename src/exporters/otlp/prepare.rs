//! Makes a request of a record of the log: chosen, framed, compressed.

use std::io::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::write::GzEncoder;

use super::config::{Compression, Protocol};
use super::filter::Filter;
use crate::otlp::Signal;
use crate::otlp::protobuf::{check, select};
use crate::queue::{PayloadKind, Record};

/// Fast, and most of what there is to gain.
const ZSTD_LEVEL: i32 = 1;
/// Messages below this are sent as they are.
const COMPRESSED_MIN: usize = 512;

/// A request that can be sent.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) signal: Signal,
    /// Spans, log records or data points in it.
    pub(super) items: u64,
    pub(super) body: Bytes,
    pub(super) encoding: Option<&'static str>,
}

fn signal_of(kind: PayloadKind) -> Signal {
    match kind {
        PayloadKind::OtlpTraces => Signal::Traces,
        PayloadKind::OtlpLogs => Signal::Logs,
        PayloadKind::OtlpMetrics => Signal::Metrics,
    }
}

/// The request for a record; `None` when nothing of it is to be sent. The same record gives the same
/// bytes each time.
pub(super) fn prepare(
    record: &Record,
    filter: &Filter,
    (protocol, compression): (Protocol, Compression),
) -> Option<Prepared> {
    let signal = signal_of(record.kind);
    if !filter.wants(record.project, signal) {
        return None;
    }
    let (items, payload) = chosen(signal, &record.payload, filter)?;
    let (message, encoding) = compress(payload, compression);
    let body = match protocol {
        Protocol::HttpProtobuf => message,
        Protocol::Grpc => framed(&message, encoding.is_some())?,
    };
    Some(Prepared {
        signal,
        items,
        body,
        encoding,
    })
}

/// What is sent of a payload, and how many items that is.
fn chosen(signal: Signal, payload: &Bytes, filter: &Filter) -> Option<(u64, Bytes)> {
    // The log holds only what passed this check when it came in.
    let checked = check(signal, payload).ok()?;
    if checked.rejected == 0 && !filter.looks_at_resources() {
        return Some((checked.items, payload.clone())).filter(|(items, _)| *items > 0);
    }
    let wants = |resource: &[u8]| filter.wants_resource(resource);
    let selected = select(signal, payload, &wants, &mut |_| Ok(())).ok()?;
    let payload = selected.map_or_else(|| payload.clone(), Bytes::from);
    let items = check(signal, &payload).ok()?.items;
    (items > 0).then_some((items, payload))
}

fn compress(message: Bytes, compression: Compression) -> (Bytes, Option<&'static str>) {
    if message.len() < COMPRESSED_MIN {
        return (message, None);
    }
    let compressed = match compression {
        Compression::None => None,
        Compression::Gzip => gzip(&message).map(|it| (it, "gzip")),
        Compression::Zstd => {
            let compressed = zstd::bulk::compress(&message, ZSTD_LEVEL).ok();
            compressed.map(|it| (it, "zstd"))
        }
    };
    match compressed {
        Some((compressed, name)) => (compressed.into(), Some(name)),
        None => (message, None),
    }
}

fn gzip(message: &[u8]) -> Option<Vec<u8>> {
    let output = Vec::with_capacity(message.len() / 2);
    let mut encoder = GzEncoder::new(output, flate2::Compression::fast());
    encoder.write_all(message).ok()?;
    encoder.finish().ok()
}

/// A message as gRPC sends it; `None` when it is longer than that can say.
fn framed(message: &[u8], is_compressed: bool) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(u8::from(is_compressed));
    body.put_u32(length);
    body.put_slice(message);
    Some(body.freeze())
}
