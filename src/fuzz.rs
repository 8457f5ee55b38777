//! Bodies of the fuzz targets in `tests/fuzz`. Each takes any bytes and panics when a promise about
//! such bytes is broken. The normal tests run each over its seeds and a fixed number of mutations of
//! them, so that none rots between two runs of a fuzzer.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::config::ByteSize;
use crate::exporters::storage::assemble::Assembler;
use crate::model::ProjectId;
use crate::otlp::compression::{self, Encoding};
use crate::otlp::{Failure, Signal, json, protobuf};
use crate::processors::limits;
use crate::processors::redaction::{self, Redactor};
use crate::queue::{self, Next, PayloadKind, Position, Record, Start, inspect};

#[cfg(test)]
mod tests;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its directory of seeds.
pub const TARGETS: [(&str, Target); 8] = [
    ("protobuf", protobuf),
    ("json", json),
    ("logs", logs),
    ("grpc_message", crate::receivers::otlp::fuzz::grpc_message),
    ("http1", crate::net::fuzz::http1),
    ("compression", compression),
    ("log", log),
    ("redaction", redaction),
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
    let rewritten = protobuf::without_empty_keys(Signal::Traces, data);
    let Ok(checked) = checked else {
        return;
    };
    let is_rewritten = checked.empty_keys > 0;
    match rewritten {
        Ok(None) => assert!(!is_rewritten),
        Ok(Some(bytes)) => {
            assert!(is_rewritten);
            let again = protobuf::check_spans(&bytes, |_| {});
            assert!(again.is_ok_and(|it| it.empty_keys == 0 && it.items == checked.items));
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
        ..limits::Config::default()
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
    let accepted = checked.items - checked.rejected;
    assert_eq!(batch.spans.len() as u64, accepted);
}

/// As [`protobuf`], of logs; as [`json`] and [`redaction`], too, in place of targets of their own.
pub fn logs(data: &[u8]) {
    if let Ok(request) = json::decode_logs(data) {
        let bytes = request.encode_to_vec();
        assert!(protobuf::check(Signal::Logs, &bytes).is_ok());
        let again = json::decode_logs(&json::encode_logs(&request.resource_logs));
        assert!(again.is_ok_and(|again| again.encode_to_vec() == bytes));
    }
    let checked = protobuf::check(Signal::Logs, data);
    let decoded = ExportLogsServiceRequest::decode(data);
    assert_eq!(checked.is_ok(), decoded.is_ok(), "{checked:?} {decoded:?}");
    let redacted = rules().redact(ProjectId::DEFAULT, Signal::Logs, data, &mut |_| Ok(()));
    let Ok(checked) = checked else {
        return;
    };
    match redacted {
        Ok(redacted) => {
            let bytes = redacted.request.as_deref().unwrap_or(data);
            let after = protobuf::check(Signal::Logs, bytes);
            assert!(after.is_ok_and(|after| after.items == checked.items));
        }
        Err(Failure::TooLarge { .. }) => {}
        Err(error) => panic!("accepted and not redacted: {error:?}"),
    }
    let records = [Record {
        position: Position(1),
        project: ProjectId::DEFAULT,
        received_unix_nano: 1,
        kind: PayloadKind::OtlpLogs,
        payload: Bytes::copy_from_slice(data),
    }];
    let limits = limits::Config {
        attributes_per_span: 1,
        attribute_value_length: ByteSize(3),
        name_length: ByteSize(3),
        ..limits::Config::default()
    };
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    assert_eq!(batch.events.len() as u64, checked.items);
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
    let start = Start::At(Position(1));
    let (log, mut reader, report) = match queue::open(&config, &partition, start, Arc::new(())) {
        Ok(opened) => (opened.log, opened.reader, opened.report),
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

/// Rules of every kind, for the target.
fn rules() -> &'static Redactor {
    static RULES: OnceLock<Redactor> = OnceLock::new();
    RULES.get_or_init(|| {
        use redaction::{Action, Config, Detector, Rule, Scope};
        let patterns = Rule {
            detectors: Detector::ALL.to_vec(),
            patterns: vec!["(?i)secret-[a-z]+".to_owned(), "\\d{3}x".to_owned()],
            scope: vec![
                Scope::Span,
                Scope::Event,
                Scope::Resource,
                Scope::SpanName,
                Scope::StatusMessage,
            ],
            ..Rule::default()
        };
        let keys = Rule {
            keys: vec!["a*".to_owned()],
            action: Some(Action::Hash),
            ..Rule::default()
        };
        let content = Rule {
            drop_content: true,
            ..Rule::default()
        };
        let config = Config {
            enabled: true,
            hash_key: "a key of enough bytes".into(),
            rules: vec![content, keys, patterns],
            ..Config::default()
        };
        match config.compile() {
            Ok(Some(redactor)) => redactor,
            other => panic!("the rules are wrong: {other:?}"),
        }
    })
}

/// What is redacted is a request still if it was one, with the same spans; texts of any bytes can be
/// searched.
pub fn redaction(data: &[u8]) {
    let redact =
        |bytes: &[u8]| rules().redact(ProjectId::DEFAULT, Signal::Traces, bytes, &mut |_| Ok(()));
    let checked = protobuf::check_spans(data, |_| {});
    let redacted = redact(data);
    if let Ok(before) = checked {
        match redacted {
            Ok(redacted) => {
                let bytes = redacted.request.as_deref().unwrap_or(data);
                let after = protobuf::check_spans(bytes, |_| {});
                let same = |it: &protobuf::Checked| {
                    (it.items, it.rejected) == (before.items, before.rejected)
                };
                assert!(after.as_ref().is_ok_and(same), "{before:?} {after:?}");
            }
            Err(Failure::TooLarge { .. }) => {}
            Err(error) => panic!("accepted and not redacted: {error:?}"),
        }
    }
    // The same bytes as one text: a resource's attribute `k`.
    let mut bytes = Vec::new();
    for number in [7, 2, 1, 1, 1] {
        let inner = std::mem::take(&mut bytes);
        let content = if number == 7 { data.to_vec() } else { inner };
        if number == 2 {
            bytes.extend_from_slice(b"\x0a\x01k");
        }
        prost::encoding::encode_key(
            number,
            prost::encoding::WireType::LengthDelimited,
            &mut bytes,
        );
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        bytes.extend_from_slice(&content);
    }
    assert!(protobuf::validate(&bytes).is_ok());
    match redact(&bytes) {
        Ok(redacted) => assert!(
            redacted
                .request
                .is_none_or(|it| protobuf::validate(&it).is_ok())
        ),
        Err(error) => assert!(matches!(error, Failure::TooLarge { .. }), "{error:?}"),
    }
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
