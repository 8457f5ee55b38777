//! A receiver on free ports, a double for the pipeline, and raw clients.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::auth::{self, Gates};
use crate::config::Duration as ConfigDuration;
use crate::model::ProjectId;
use crate::otlp::{Failure, Signal};
use crate::pipeline::{Accepted, Transport};
use crate::receivers::otlp::{Budget, Config, Receiver, Sink};
use crate::service::tasks::{Panics, Tasks};
use crate::telemetry::health::{Check, Readiness};

/// Longer than anything here takes, on a busy machine too.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What the double does with an export.
#[derive(Debug, Clone, Default)]
pub(super) enum Behaviour {
    #[default]
    Accept,
    Reject(u64, &'static str),
    /// Refuses to admit.
    Refuse(Failure),
    /// Fails the export.
    Fail(Failure),
    /// Waits for `release`.
    Stall,
    Panic,
}

/// Stands in for the pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct Double(Arc<DoubleState>);

#[derive(Debug, Default)]
pub(super) struct DoubleState {
    behaviour: Mutex<Behaviour>,
    payloads: Mutex<Vec<Bytes>>,
    projects: Mutex<Vec<ProjectId>>,
    signals: Mutex<Vec<Signal>>,
    announced: Mutex<Vec<u64>>,
    admissions: AtomicUsize,
    reserved: AtomicI64,
    reserved_peak: AtomicI64,
    release: Notify,
}

#[derive(Debug)]
pub(super) struct DoubleAdmission {
    state: Arc<DoubleState>,
    reserved: i64,
}

impl Double {
    pub(super) fn behave(&self, behaviour: Behaviour) {
        *self.0.behaviour.lock().unwrap() = behaviour;
    }

    pub(super) fn payloads(&self) -> Vec<Bytes> {
        self.0.payloads.lock().unwrap().clone()
    }

    /// The project of each payload.
    pub(super) fn projects(&self) -> Vec<ProjectId> {
        self.0.projects.lock().unwrap().clone()
    }

    /// What the payloads are.
    pub(super) fn signals(&self) -> Vec<Signal> {
        self.0.signals.lock().unwrap().clone()
    }

    /// What was announced of each request that was admitted.
    pub(super) fn announced(&self) -> Vec<u64> {
        self.0.announced.lock().unwrap().clone()
    }

    /// Requests admitted and not yet over.
    pub(super) fn admissions(&self) -> usize {
        self.0.admissions.load(Ordering::SeqCst)
    }

    pub(super) fn reserved(&self) -> i64 {
        self.0.reserved.load(Ordering::SeqCst)
    }

    pub(super) fn reserved_peak(&self) -> i64 {
        self.0.reserved_peak.load(Ordering::SeqCst)
    }

    /// Lets stalled exports go on.
    pub(super) fn release(&self) {
        self.behave(Behaviour::Accept);
        self.0.release.notify_waiters();
    }

    fn behaviour(&self) -> Behaviour {
        self.0.behaviour.lock().unwrap().clone()
    }
}

impl Sink for Double {
    type Admission = DoubleAdmission;

    fn admit(&self, _: Transport, announced_bytes: u64) -> Result<DoubleAdmission, Failure> {
        if let Behaviour::Refuse(failure) = self.behaviour() {
            return Err(failure);
        }
        self.0.announced.lock().unwrap().push(announced_bytes);
        self.0.admissions.fetch_add(1, Ordering::SeqCst);
        Ok(DoubleAdmission {
            state: Arc::clone(&self.0),
            reserved: 0,
        })
    }

    async fn export(
        &self,
        _: &mut DoubleAdmission,
        signal: Signal,
        project: ProjectId,
        payload: Bytes,
    ) -> Result<Accepted, Failure> {
        let released = self.0.release.notified();
        let accepted = match self.behaviour() {
            Behaviour::Accept | Behaviour::Refuse(_) => Accepted::default(),
            Behaviour::Reject(rejected, message) => Accepted {
                rejected,
                error_message: message.to_owned(),
            },
            Behaviour::Fail(failure) => return Err(failure),
            Behaviour::Stall => {
                released.await;
                Accepted::default()
            }
            Behaviour::Panic => panic!("as the test asked"),
        };
        self.0.projects.lock().unwrap().push(project);
        self.0.payloads.lock().unwrap().push(payload);
        self.0.signals.lock().unwrap().push(signal);
        Ok(accepted)
    }
}

impl Budget for DoubleAdmission {
    fn reserve(&mut self, bytes: usize) -> Result<(), Failure> {
        let bytes = i64::try_from(bytes).unwrap();
        self.reserved += bytes;
        let now = self.state.reserved.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.state.reserved_peak.fetch_max(now, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for DoubleAdmission {
    fn drop(&mut self) {
        self.state.admissions.fetch_sub(1, Ordering::SeqCst);
        self.state
            .reserved
            .fetch_sub(self.reserved, Ordering::SeqCst);
    }
}

/// A started receiver.
pub(super) struct Server {
    pub(super) double: Double,
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) tasks: Tasks,
    pub(super) check: Check,
    pub(super) keys: Arc<auth::testing::Keys>,
    pub(super) gates: Gates,
    _panics: Panics,
}

pub(super) fn config() -> Config {
    let mut config = Config::default();
    if let Some(grpc) = &mut config.protocols.grpc {
        grpc.endpoint = "127.0.0.1:0".to_owned();
    }
    if let Some(http) = &mut config.protocols.http {
        http.endpoint = "127.0.0.1:0".to_owned();
    }
    config
}

pub(super) fn millis(count: u64) -> ConfigDuration {
    ConfigDuration::millis(count)
}

impl Server {
    pub(super) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::guarded(change, &auth::Config::default())
    }

    pub(super) fn guarded(change: impl FnOnce(&mut Config), auth: &auth::Config) -> Self {
        let mut config = config();
        change(&mut config);
        let receiver = Receiver::bind(&config).unwrap();
        let grpc = receiver.grpc_address().unwrap();
        let http = receiver.http_address().unwrap();
        let double = Double::default();
        let (tasks, panics) = Tasks::new();
        let readiness = Readiness::new();
        let check = readiness.register("test");
        let (keys, gates) = auth::testing::gates(auth);
        let observer: Arc<dyn crate::receivers::otlp::RequestObserver> = Arc::new(());
        receiver
            .start(&double, &observer, &gates, &readiness, &tasks)
            .unwrap();
        Self {
            double,
            grpc,
            http,
            tasks,
            check,
            keys,
            gates,
            _panics: panics,
        }
    }
}

impl Server {
    /// Makes what was changed about keys count.
    pub(super) async fn refresh(&self) {
        let address = self.http;
        let gate = self.gates.at(auth::Purpose::Ingest, address);
        gate.refresh().await;
    }
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An HTTP/1 client that sends exactly what it is told.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that the body is a `google.rpc.Status` in the type the header names.
    pub(super) fn assert_status_body(&self) {
        match self.header("content-type") {
            "application/json" => {
                let status: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
                assert!(status["code"].as_i64().unwrap() > 0, "{self:?}");
                assert!(!status["message"].as_str().unwrap().is_empty(), "{self:?}");
            }
            "application/x-protobuf" => {
                let status: tonic_types::Status = prost::Message::decode(&*self.body).unwrap();
                assert!(status.code > 0 && !status.message.is_empty(), "{self:?}");
            }
            other => panic!("content type {other:?} in {self:?}"),
        }
    }
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            read: Vec::new(),
        }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 8192];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer));
        let count = read.await.expect("an answer in time").unwrap_or(0);
        self.read.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Reads one answer with a `Content-Length`; `None` when the connection ends before one.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        loop {
            let end = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return Some(self.finish(&String::from_utf8(head).unwrap()).await);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn finish(&mut self, head: &str) -> Answer {
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let length = headers.get("content-length");
        let length = length.map_or(0, |length| length.to_str().unwrap().parse().unwrap());
        while self.read.len() < length {
            assert!(self.more().await, "the body is cut short");
        }
        Answer {
            status,
            headers,
            body: self.read.drain(..length).collect(),
        }
    }

    /// Everything until the connection ends.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// The next HTTP/2 frame: kind and payload.
    pub(super) async fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [a, b, c, kind, ..] = self.read[..] {
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if self.read.len() >= 9 + length {
                    let frame: Vec<u8> = self.read.drain(..9 + length).collect();
                    return (kind, frame[9..].to_vec());
                }
            }
            assert!(self.more().await, "the connection ends");
        }
    }

    /// Whether the server closes the connection, without sending anything more.
    pub(super) async fn is_closed(&mut self) -> bool {
        !self.more().await && self.read.is_empty()
    }
}

/// A `POST` to the trace endpoint; `headers` as lines without an end.
pub(super) fn post(headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut request = b"POST /v1/traces HTTP/1.1\r\nhost: test\r\n".to_vec();
    for header in headers {
        request.extend_from_slice(header.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    request
}

/// Sends one request on a connection of its own.
pub(super) async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let mut raw = Raw::connect(address).await;
    raw.send(request).await;
    raw.answer().await.expect("an answer")
}

pub(super) const PROTOBUF: &str = "Content-Type: application/x-protobuf";
pub(super) const JSON: &str = "Content-Type: application/json";

pub(super) type Http2 = hyper::client::conn::http2::SendRequest<BoxBody>;
pub(super) type BoxBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// An HTTP/2 connection with prior knowledge.
pub(super) async fn http2(address: SocketAddr) -> Http2 {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    spawn(async move {
        drop(connection.await);
    });
    sender
}

#[expect(clippy::disallowed_methods, reason = "the client's side of a test")]
pub(super) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

pub(super) fn full(bytes: impl Into<Bytes>) -> BoxBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// The prefix of a gRPC message, then the message.
pub(super) fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = vec![flag];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(super) fn grpc_request(
    path: &str,
    headers: &[(&str, &str)],
    body: BoxBody,
) -> Request<BoxBody> {
    let mut request = Request::post(format!("http://test{path}"));
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/grpc");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// The end of a gRPC call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u16,
    pub(super) message: String,
    pub(super) has_details: bool,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Reads the status of a call from its headers or trailers.
pub(super) async fn outcome(response: Response<hyper::body::Incoming>) -> Outcome {
    let (parts, body) = response.into_parts();
    assert_eq!(parts.status, 200);
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let find = |name: &str| {
        let value = parts.headers.get(name).or_else(|| trailers.get(name));
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    Outcome {
        code: find("grpc-status").parse().unwrap(),
        message: find("grpc-message"),
        has_details: !find("grpc-status-details-bin").is_empty(),
        headers: parts.headers.clone(),
        body: collected.to_bytes(),
    }
}

/// One export call.
pub(super) async fn export(client: &mut Http2, headers: &[(&str, &str)], body: Vec<u8>) -> Outcome {
    let request = grpc_request(EXPORT, headers, full(body));
    let response = tokio::time::timeout(PATIENCE, client.send_request(request)).await;
    outcome(response.expect("an answer in time").unwrap()).await
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let level = flate2::Compression::default();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    plain
}
