//! A full disk refuses, keeps what it has, and is forgotten when there is room again.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message as _;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::api::item;
use crate::daemon::{Daemon, Setup, eventually};
use crate::http;
use crate::otlp::{PROTOBUF, grpc_client, key_value, request, runtime, span};
use crate::random::Random;

/// A small file system in a mount namespace of its own, which lives as long as this.
struct SmallDisk {
    holder: Child,
    mounted_on: PathBuf,
    unprivileged: bool,
    _directory: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let unprivileged = !rustix::process::geteuid().is_root();
        let namespaces: &[&str] = if unprivileged {
            &["-U", "-r", "-m"]
        } else {
            &["-m"]
        };
        let mut holder = Command::new("unshare")
            .args(namespaces)
            .args([
                "sh",
                "-c",
                "mount -t tmpfs -o size=$1 tmpfs \"$2\" && echo mounted && exec cat",
                "sh",
            ])
            .arg(size)
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run unshare (package util-linux)");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(
            line.trim(),
            "mounted",
            "can't mount a tmpfs here: run as root, or allow unprivileged user namespaces"
        );
        Self {
            holder,
            mounted_on: directory.path().to_owned(),
            unprivileged,
            _directory: directory,
        }
    }

    /// A daemon on this disk.
    fn setup(&self) -> Setup {
        let pid = self.holder.id().to_string();
        let mut wrapper = vec!["nsenter", "-t", &pid, "-m"];
        if self.unprivileged {
            wrapper.extend(["-U", "--preserve-credentials"]);
        }
        Setup::new(&self.mounted_on.join("data")).wrapped(&wrapper)
    }

    /// A path on this disk as this process sees it.
    fn path(&self, name: &str) -> PathBuf {
        let inside = self.mounted_on.join(name);
        let inside = inside.strip_prefix("/").unwrap();
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(inside)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

/// About 200 KB that do not compress, in a trace of its own.
fn large_request(random: &mut Random) -> (Vec<u8>, ExportTraceServiceRequest) {
    let trace_id = random.id::<16>();
    let spans = (0..4).map(|_| {
        let mut span = span(&trace_id, &random.id::<8>(), "large");
        let bytes = std::iter::repeat_with(|| random.next().to_le_bytes())
            .take(6_000)
            .flatten()
            .collect();
        span.attributes
            .push(key_value("random", Value::BytesValue(bytes)));
        span
    });
    let spans = spans.collect();
    (trace_id, request("full", spans))
}

fn assert_all_stored(daemon: &Daemon, acknowledged: &[(Vec<u8>, ExportTraceServiceRequest)]) {
    daemon.await_stored();
    for (trace_id, sent) in acknowledged {
        let stored = daemon
            .trace_otlp(trace_id)
            .expect("acknowledged and not stored");
        let flat = |request: &ExportTraceServiceRequest| {
            let scopes = request
                .resource_spans
                .iter()
                .flat_map(|item| &item.scope_spans);
            let mut spans: Vec<_> = scopes.flat_map(|item| item.spans.clone()).collect();
            spans.sort_by(|one, other| one.span_id.cmp(&other.span_id));
            spans
        };
        assert_eq!(flat(&stored), flat(sent));
    }
    let services = daemon.list("/api/v1/services");
    assert_eq!(
        item(&services, "name", "full")["span_count"],
        4 * acknowledged.len()
    );
}

// Scenario: clients send until the disk of the data directory is full; later something else on
// that disk is deleted; then the daemon is killed and started again.
// Guarantees: refusals are quick and retryable on both protocols, queries go on, requests are
// accepted again without a restart, and everything acknowledged is stored exactly once.
#[test]
fn a_full_disk_refuses_retryably_and_recovers_by_itself() {
    let mut random = Random::from_environment("full_disk");
    let disk = SmallDisk::new("48m");
    let ballast = disk.path("ballast");
    std::fs::write(&ballast, vec![0; 24 << 20]).unwrap();
    let setup = disk.setup().set("queue.segment_size", "1MiB");
    let mut daemon = Daemon::spawn_with(setup);
    let mut acknowledged = Vec::new();

    let runtime = runtime();
    let mut grpc = runtime.block_on(async { grpc_client(daemon.addresses().grpc) });
    // One is stored before the disk is full.
    let (first, request) = large_request(&mut random);
    runtime.block_on(grpc.export(request.clone())).unwrap();
    eventually("the first to be stored", Duration::from_secs(60), || {
        daemon.trace(&first).map(drop)
    });
    acknowledged.push((first, request));
    let mut refusals = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while refusals < 10 {
        assert!(Instant::now() < deadline, "the disk never fills");
        let (trace_id, request) = large_request(&mut random);
        let started = Instant::now();
        match runtime.block_on(grpc.export(request.clone())) {
            Ok(_) => acknowledged.push((trace_id, request)),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                let retry = status
                    .get_details_retry_info()
                    .and_then(|info| info.retry_delay);
                assert!(retry.is_some(), "no RetryInfo: {status:?}");
                assert!(
                    started.elapsed() < Duration::from_secs(5),
                    "slow: {:?}",
                    started.elapsed()
                );
                refusals += 1;
            }
        }
    }
    assert!(
        acknowledged.len() > 10,
        "{} requests fit",
        acknowledged.len()
    );

    let refused = eventually("a refusal over HTTP", Duration::from_secs(20), || {
        let (trace_id, request) = large_request(&mut random);
        let answer = http::post(
            daemon.addresses().http,
            "/v1/traces",
            &[PROTOBUF],
            &request.encode_to_vec(),
        )
        .unwrap();
        match answer.status {
            200 => {
                acknowledged.push((trace_id, request));
                None
            }
            _ => Some(answer),
        }
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    let retry_after: u64 = refused
        .header("retry-after")
        .expect("Retry-After")
        .parse()
        .unwrap();
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    assert!(daemon.trace(&acknowledged[0].0).is_some(), "queries go on");

    std::fs::remove_file(&ballast).unwrap();
    eventually(
        "requests to be accepted again",
        Duration::from_secs(10),
        || {
            let (trace_id, request) = large_request(&mut random);
            runtime.block_on(grpc.export(request.clone())).ok()?;
            acknowledged.push((trace_id, request));
            Some(())
        },
    );
    assert_all_stored(&daemon, &acknowledged);
    eventually("readiness", Duration::from_secs(10), || {
        daemon.is_alive_and_ready().then_some(())
    });
    daemon.process.kill9();
    daemon.restart();
    assert_all_stored(&daemon, &acknowledged);
}
