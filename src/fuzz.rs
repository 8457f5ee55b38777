//! Bodies of the fuzz targets in `tests/fuzz`. Each takes any bytes and panics when a promise about
//! such bytes is broken. The normal tests run each over its seeds and a fixed number of mutations of
//! them, so that none rots between two runs of a fuzzer.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::config::ByteSize;
use crate::exporters::storage::assemble::Assembler;
use crate::model::ProjectId;
use crate::otlp::compression::{self, Encoding};
use crate::otlp::{Failure, json, protobuf};
use crate::processors::limits;
use crate::queue::{self, Next, PayloadKind, Position, Record, inspect};

#[cfg(test)]
mod tests;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its directory of seeds.
pub const TARGETS: [(&str, Target); 6] = [
    ("protobuf", protobuf),
    ("json", json),
    ("grpc_message", crate::receivers::otlp::fuzz::grpc_message),
    ("http1", crate::net::fuzz::http1),
    ("compression", compression),
    ("log", log),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    for (_, target) in TARGETS.iter().filter(|(known, _)| *known == name) {
        target(data);
    }
}

/// The walk over a request accepts what the generated decoder accepts; what it accepts can be
/// rewritten, and becomes rows.
pub fn protobuf(data: &[u8]) {
    let checked = protobuf::check_spans(data, |_| {});
    let decoded = ExportTraceServiceRequest::decode(data);
    assert_eq!(checked.is_ok(), decoded.is_ok(), "{checked:?} {decoded:?}");
    let rewritten = protobuf::without_empty_keys(data);
    let Ok(checked) = checked else {
        return;
    };
    let is_rewritten = checked.empty_keys > 0;
    match rewritten {
        Ok(None) => assert!(!is_rewritten),
        Ok(Some(bytes)) => {
            assert!(is_rewritten);
            let again = protobuf::check_spans(&bytes, |_| {});
            assert!(again.is_ok_and(|it| it.empty_keys == 0 && it.spans == checked.spans));
        }
        Err(error) => panic!("accepted and not rewritten: {error}"),
    }
    // So small that something is over them.
    let limits = limits::Config {
        attributes_per_span: 1,
        events_per_span: 1,
        links_per_span: 1,
        attributes_per_event: 1,
        attributes_per_link: 1,
        attribute_value_length: ByteSize(3),
        name_length: ByteSize(3),
    };
    let record = Record {
        position: Position(1),
        project: ProjectId::DEFAULT,
        received_unix_nano: 1,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::copy_from_slice(data),
    };
    let records = [record];
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    let accepted = checked.spans - checked.rejected;
    assert_eq!(batch.spans.len() as u64, accepted);
}

/// Whatever is accepted can be stored and read back, and is written as the same again.
pub fn json(data: &[u8]) {
    let Ok(request) = json::decode(data) else {
        return;
    };
    let bytes = request.encode_to_vec();
    assert!(protobuf::validate(&bytes).is_ok());
    let written = json::encode(&request.resource_spans);
    match json::decode(&written) {
        Ok(again) => assert_eq!(again.encode_to_vec(), bytes),
        Err(error) => panic!("can't read what was written: {error}"),
    }
}

/// Output within the limit, memory announced before it is taken, and the same bytes as other
/// decoders. The first byte chooses the encoding.
pub fn compression(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let encoding = match choice % 3 {
        0 => Encoding::Gzip,
        1 => Encoding::Zstd,
        _ => Encoding::Deflate,
    };
    let mut reserved = 0;
    let mut reserve = |bytes: usize| -> Result<(), Failure> {
        reserved += bytes;
        Ok(())
    };
    let body = Bytes::copy_from_slice(body);
    let Ok(plain) = compression::decode(encoding, body.clone(), LIMIT, &mut reserve) else {
        return;
    };
    assert!(plain.len() <= LIMIT && plain.len() <= reserved);
    let mut other = Vec::new();
    let read = match encoding {
        Encoding::Gzip => flate2::read::MultiGzDecoder::new(&*body).read_to_end(&mut other),
        Encoding::Zstd => zstd::stream::copy_decode(&*body, &mut other).map(|()| other.len()),
        Encoding::Identity | Encoding::Deflate => return,
    };
    assert!(read.is_ok(), "{encoding:?}: {read:?}");
    assert_eq!(other, plain);
}

/// A segment of any content: it can be inspected, stops no start but for a newer format, and what
/// is read from it ends. The first eight bytes are the epoch in its name, without which no record
/// is recognised.
pub fn log(data: &[u8]) {
    let Some((epoch, content)) = data.split_first_chunk::<8>() else {
        return;
    };
    let directory = Scratch::new();
    let partition = directory.0.join("p0");
    let epoch = u64::from_le_bytes(*epoch);
    let name = format!("{:010}-{:020}-{epoch:016x}.log", 1, 1);
    let made = std::fs::create_dir_all(&partition);
    let written = made.and_then(|()| std::fs::write(partition.join(name), content));
    assert!(written.is_ok(), "{written:?}");
    let report = inspect::inspect(&directory.0);
    assert!(report.is_ok(), "{report:?}");
    let config = queue::Config {
        max_size: ByteSize::mib(1),
        segment_size: ByteSize::kib(64),
        ..queue::Config::default()
    };
    let (log, mut reader, report) =
        match queue::open(&config, &partition, Position(1), Arc::new(())) {
            Ok(opened) => opened,
            Err(queue::Error::NewerFormat { .. } | queue::Error::NewerRecord { .. }) => return,
            Err(error) => panic!("the log does not open: {error}"),
        };
    log.close();
    let mut records = 0;
    loop {
        match reader.next(Duration::from_secs(10)) {
            Ok(Next::Record(record)) => {
                assert!(record.payload.len() <= content.len());
                records += 1;
            }
            Ok(Next::Idle) => panic!("the log does not close"),
            Ok(Next::Closed) => break,
            Err(error) => panic!("the log can't be read: {error}"),
        }
    }
    assert_eq!(records, report.records);
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // In memory where there is such a place: nothing here is about the disk.
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        Self(base.join(format!("pulse-fuzz-{}-{number}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // There may be nothing to remove.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
