use super::*;

/// Mutations of each target's seeds in the normal tests.
const MUTATIONS: u64 = 400;
/// Those of logs, which cost files and a thread each.
const LOG_MUTATIONS: u64 = 60;

fn seeds_directory(target: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fuzz/seeds").join(target)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(seeds_directory(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// splitmix64, so that every run tries the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// One to four changes, as a fuzzer makes them.
fn mutated(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len());
        let to = at + numbers.below(data.len() - at + 1);
        match numbers.below(7) {
            0 if !data.is_empty() => data[at] ^= 1 << numbers.below(8),
            1 if !data.is_empty() => {
                const NOTABLE: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'\n', 0x0a];
                data[at] = NOTABLE[numbers.below(8)];
            }
            2 => data.truncate(at),
            3 => drop(data.drain(at..to.min(at + 16))),
            4 => {
                let copied = data[at..to.min(at + 64)].to_vec();
                let here = numbers.below(data.len() + 1);
                data.splice(here..here, copied);
            }
            5 => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            _ => data.insert(at.min(data.len()), numbers.next().to_le_bytes()[0]),
        }
    }
    data
}

fn run(name: &str, mutations: u64) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let seeds = seeds(name);
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    target(&[]);
    let mut numbers = Numbers(7);
    for number in 0..mutations {
        let data = mutated(&seeds, &mut numbers);
        let outcome = std::panic::catch_unwind(|| target(&data));
        assert!(outcome.is_ok(), "{name}, mutation {number}: {data:?}");
    }
}

/// Writes the seeds anew; for who changes a format.
#[test]
#[ignore = "writes into the source tree"]
fn write_seeds() {
    let write = |target: &str, name: &str, data: &[u8]| {
        std::fs::create_dir_all(seeds_directory(target)).unwrap();
        std::fs::write(seeds_directory(target).join(name), data).unwrap();
    };
    let request = sample_request();
    let bytes = request.encode_to_vec();
    write("protobuf", "request", &bytes);
    let unknown = [
        &bytes[..],
        &[0xfa, 0x3f, 2, 1, 2, 0xfb, 0x3f, 8, 1, 0xfc, 0x3f],
    ]
    .concat();
    write("protobuf", "unknown_fields", &unknown);
    write_redaction_seeds(&request, &write);
    let json = json::encode(&request.resource_spans);
    write("json", "request.json", &json);
    let strange = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"W47/95gDgQPSabYzgT/GDA==",
        "kind":"SPAN_KIND_SERVER","startTimeUnixNano":1e18,"name":"\ud800 \u0000","attributes":[null,
        {"key":"d","value":{"doubleValue":"NaN"}},{"key":"b","value":{"bytesValue":"-_8"}}],
        "future":{"a":[1]},"events":null}]}]}]}"#;
    write("json", "strange.json", strange);
    write_log_seeds(&write);
    for (name, flag, cut) in [("whole", 0, 0), ("compressed", 1, 0), ("cut", 0, 3)] {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let message = [&[7, flag], &length[..], &bytes[..bytes.len() - cut]].concat();
        write("grpc_message", name, &message);
    }
    let plain = "POST /v1/traces HTTP/1.1\r\nContent-Type: a\r\nContent-Length: 2\r\n\r\n{}";
    let chunked =
        "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n5;x=y\r\nabcde\r\n0\r\na: b\r\n\r\n";
    let ambiguous = "POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
    write(
        "http1",
        "pipelined",
        format!("\x03{plain}{chunked}\r\n{plain}").as_bytes(),
    );
    write(
        "http1",
        "ambiguous",
        format!("\x07{plain}{ambiguous}{plain}").as_bytes(),
    );
    let compressed = |choice: u8, data: &[u8]| [&[choice], data].concat();
    let gzip = crate::net::compress::gzip(&bytes);
    write("compression", "gzip", &compressed(0, &gzip));
    write(
        "compression",
        "gzip_members",
        &compressed(0, &[&gzip[..], &gzip].concat()),
    );
    let zstd = zstd::encode_all(&*bytes, 3).unwrap();
    write("compression", "zstd", &compressed(1, &zstd));
    let level = flate2::Compression::default();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
    std::io::Write::write_all(&mut zlib, &bytes).unwrap();
    write(
        "compression",
        "deflate",
        &compressed(2, &zlib.finish().unwrap()),
    );
    let (epoch, content) = sample_segment(&bytes);
    write(
        "log",
        "segment",
        &[&epoch.to_le_bytes()[..], &content].concat(),
    );
}

fn write_log_seeds(write: &dyn Fn(&str, &str, &[u8])) {
    let logs = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"W47/95gDgQPSabYzgT/GDA==",
        "severityNumber":"SEVERITY_NUMBER_WARN","timeUnixNano":1e18,"eventName":"gen_ai.user.message",
        "body":{"kvlistValue":{"values":[{"key":"content","value":{"stringValue":"bob@example.com"}},
        {"key":"","value":{"intValue":"7"}}]}},"attributes":[{"key":"","value":null},
        {"key":"prompt","value":{"arrayValue":{"values":[{"boolValue":true}]}}}]},
        {"spanId":"EEE19B7EC3C1B174","body":{"stringValue":"Chat Model Completion:\n4111111111111111"}}
        ]}]}]}"#;
    write("logs", "request.json", logs);
    let logs = json::decode_logs(logs).unwrap().encode_to_vec();
    write("logs", "request", &logs);
}

fn write_redaction_seeds(request: &ExportTraceServiceRequest, write: &dyn Fn(&str, &str, &[u8])) {
    let mut secret = request.clone();
    let texts = [
        "{\"m\":\"\\nbob@example.com\",\"c\":4111111111111111}",
        "+49 30 901820, DE89370400440532013000, AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc secret-abc 123x",
    ];
    let scopes = secret
        .resource_spans
        .iter_mut()
        .flat_map(|it| &mut it.scope_spans);
    for (span, text) in scopes
        .flat_map(|it| &mut it.spans)
        .zip(texts.iter().cycle())
    {
        span.name = (*text).to_owned();
        span.events
            .iter_mut()
            .for_each(|it| it.name = (*text).to_owned());
    }
    write("redaction", "request", &secret.encode_to_vec());
    write("redaction", "texts", texts.join(" ").as_bytes());
}

fn sample_request() -> ExportTraceServiceRequest {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = crate::otlp::generate::request();
    loop {
        let request = strategy.new_tree(&mut runner).unwrap().current();
        let scopes = request.resource_spans.iter().flat_map(|it| &it.scope_spans);
        let mut spans = scopes.flat_map(|it| &it.spans);
        let size = request.encoded_len();
        if (1000..4000).contains(&size) && spans.any(|span| !span.events.is_empty()) {
            return request;
        }
    }
}

/// A segment with three records, and its epoch.
fn sample_segment(payload: &[u8]) -> (u64, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let config = queue::Config {
        segment_size: ByteSize::kib(64),
        ..queue::Config::default()
    };
    let start = Start::At(Position(1));
    let opened = queue::open(&config, directory.path(), start, Arc::new(())).unwrap();
    let log = &opened.log;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for length in [payload.len(), 0, 100] {
        let entry = queue::Entry {
            project: ProjectId::DEFAULT,
            received_unix_nano: 1,
            kind: PayloadKind::OtlpTraces,
            payload: Bytes::copy_from_slice(&payload[..length]),
        };
        runtime.block_on(log.append(entry)).unwrap();
    }
    let path = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|it| it == "log"))
        .unwrap();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let epoch = u64::from_str_radix(stem.rsplit('-').next().unwrap(), 16).unwrap();
    let mut content = std::fs::read(&path).unwrap();
    // The rest is zeros.
    content.truncate(5 * 4096);
    (epoch, content)
}

#[test]
fn protobuf_holds() {
    run("protobuf", MUTATIONS);
}

#[test]
fn json_holds() {
    run("json", MUTATIONS);
}

#[test]
fn grpc_message_holds() {
    run("grpc_message", MUTATIONS);
}

#[test]
fn logs_holds() {
    run("logs", MUTATIONS);
}

#[test]
fn http1_holds() {
    run("http1", MUTATIONS);
}

#[test]
fn compression_holds() {
    run("compression", MUTATIONS);
}

#[test]
fn redaction_holds() {
    run("redaction", MUTATIONS);
}

#[test]
fn log_holds() {
    run("log", LOG_MUTATIONS);
}

// Guarantees: every target has a binary for the fuzzer, and there is no other.
#[test]
fn every_target_can_be_fuzzed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let binary = std::fs::read_to_string(fuzz.join(format!("targets/{name}.rs"))).unwrap();
        assert!(binary.contains(&format!("\"{name}\"")), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
