//! Clients that follow the feed while the load runs: when each hears of what was acknowledged, and what
//! it missed. Some of them connect and then read nothing.

mod told;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::layout::Ids;
use super::stats::{Latencies, Percentiles};
use crate::service::tasks::Tasks;
use told::{Event, event};

/// Longest time a client may take to be connected.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// Clients that connect at once.
const CONNECT_TOGETHER: usize = 64;
/// How long clients go on after the load: what was acknowledged last is yet to come.
const GO_ON: Duration = Duration::from_secs(2);
/// Bytes that wait unread for a client that reads nothing.
const STALLED_BUFFER: u32 = 4096;
/// Traces whose time is kept at most.
const TRACES_MAX: usize = 4_000_000;
/// Bytes of one event at most.
const EVENT_BYTES_MAX: usize = 8 << 20;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When what was sent was acknowledged.
#[derive(Debug)]
pub(super) struct Clock {
    ids: Ids,
    is_running: AtomicBool,
    /// By trace id.
    at: Mutex<HashMap<[u8; 16], Instant>>,
}

impl Clock {
    pub(super) fn new(ids: Ids) -> Self {
        Self {
            ids,
            is_running: AtomicBool::new(false),
            at: Mutex::new(HashMap::new()),
        }
    }

    /// Notes that a request was acknowledged, from when it is of interest.
    pub(super) fn acknowledged(&self, request: u64) {
        if !self.is_running.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        let layout = self.ids.layout;
        let mut at = lock(&self.at);
        for slot in 0..layout.traces_per_request() {
            if at.len() < TRACES_MAX {
                let trace = layout.trace_number(request, slot);
                at.insert(self.ids.trace_id(trace).0, now);
            }
        }
    }

    fn since(&self, trace_id: [u8; 16]) -> Option<Duration> {
        lock(&self.at).get(&trace_id).map(Instant::elapsed)
    }
}

/// What all clients heard.
#[derive(Debug, Default)]
struct Heard {
    events: u64,
    unmatched: u64,
    missed_unseen: u64,
    missed_unknown: u64,
    missed_over_rate: u64,
    lost: u64,
    latencies: Latencies,
}

/// What became of the clients.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Clients that read.
    pub(super) watchers: usize,
    /// Clients that read nothing.
    pub(super) stalled: usize,
    /// Readers whose connection broke, or never was.
    pub(super) lost: u64,
    /// Spans that readers were told of.
    pub(super) events: u64,
    /// Those of which it is not known when they were acknowledged: before the measured phase, by
    /// another client, or not yet.
    pub(super) unmatched: u64,
    pub(super) events_per_second: f64,
    /// What went by because a reader was too slow.
    pub(super) missed_unseen: u64,
    /// How often nobody knows how much went by.
    pub(super) missed_unknown: u64,
    /// What was left out to keep to a reader's rate.
    pub(super) missed_over_rate: u64,
    /// From the acknowledgement of a span until a reader was told of it.
    pub(super) latency_ms: Percentiles,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Percentiles { p50, p99, max, .. } = self.latency_ms;
        writeln!(
            out,
            "watchers            {} reading ({} lost), {} stalled: {} events, {:.0}/s",
            self.watchers, self.lost, self.stalled, self.events, self.events_per_second
        )?;
        writeln!(
            out,
            "told of after       p50 {p50:.1} ms, p99 {p99:.1}, max {max:.1} from the acknowledgement \
             ({} of unknown time)",
            self.unmatched
        )?;
        writeln!(
            out,
            "missed              {} for being slow, {} times an unknown number, {} over the rate",
            self.missed_unseen, self.missed_unknown, self.missed_over_rate
        )
    }
}

/// Which clients there are.
#[derive(Debug)]
pub(super) struct Settings {
    /// Base of the query API.
    pub(super) url: String,
    /// Query string of the feed.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) watchers: usize,
    pub(super) stalled: usize,
}

/// Clients that follow.
#[derive(Debug)]
pub(super) struct Watchers {
    settings: Arc<Settings>,
    clock: Arc<Clock>,
    heard: Arc<Mutex<Heard>>,
    stop: CancellationToken,
    /// Closed when all have ended.
    ended: mpsc::Receiver<()>,
    started: Instant,
}

impl Watchers {
    /// Connects all clients.
    ///
    /// # Errors
    /// When one can't be connected: then nothing that is measured would be true.
    pub(super) async fn start(
        settings: Settings,
        clock: Arc<Clock>,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let all = settings.watchers + settings.stalled;
        let settings = Arc::new(settings);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let stop = tasks.shutdown_token().child_token();
        let (alive, ended) = mpsc::channel(1);
        let (connected, mut results) = mpsc::channel(all.max(1));
        let turns = Arc::new(Semaphore::new(CONNECT_TOGETHER));
        for number in 0..all {
            let client = Client {
                settings: Arc::clone(&settings),
                clock: Arc::clone(&clock),
                heard: Arc::clone(&heard),
                stop: stop.clone(),
                is_stalled: number >= settings.watchers,
            };
            let (alive, connected, turns) = (alive.clone(), connected.clone(), Arc::clone(&turns));
            tasks.spawn("bench watcher", async move {
                client.run(connected, &turns).await;
                drop(alive);
            });
        }
        drop(connected);
        for _ in 0..all {
            match results.recv().await {
                Some(result) => result.context("follow the feed")?,
                None => anyhow::bail!("a client that follows the feed has ended"),
            }
        }
        clock.is_running.store(true, Ordering::Relaxed);
        Ok(Self {
            settings,
            clock,
            heard,
            stop,
            ended,
            started: Instant::now(),
        })
    }

    /// Waits a little for what is yet to come, and ends.
    pub(super) async fn end(mut self) -> Report {
        let took = self.started.elapsed();
        self.clock.is_running.store(false, Ordering::Relaxed);
        tokio::select! {
            () = tokio::time::sleep(GO_ON) => {}
            () = self.stop.cancelled() => {}
        }
        self.stop.cancel();
        // Nothing is ever sent.
        let _: Option<()> = self.ended.recv().await;
        let heard = lock(&self.heard);
        Report {
            watchers: self.settings.watchers,
            stalled: self.settings.stalled,
            lost: heard.lost,
            events: heard.events,
            unmatched: heard.unmatched,
            events_per_second: heard.events as f64 / took.as_secs_f64().max(1e-9),
            missed_unseen: heard.missed_unseen,
            missed_unknown: heard.missed_unknown,
            missed_over_rate: heard.missed_over_rate,
            latency_ms: heard.latencies.percentiles(),
        }
    }
}

/// One client.
struct Client {
    settings: Arc<Settings>,
    clock: Arc<Clock>,
    heard: Arc<Mutex<Heard>>,
    stop: CancellationToken,
    is_stalled: bool,
}

impl Client {
    async fn run(self, connected: mpsc::Sender<anyhow::Result<()>>, turns: &Semaphore) {
        let turn = turns.acquire().await;
        let connecting = tokio::time::timeout(CONNECT_WITHIN, self.connect()).await;
        drop(turn);
        let result = connecting.context("no answer in time").and_then(|it| it);
        let (result, body) = match result {
            Ok(body) => (Ok(()), Some(body)),
            Err(error) => (Err(error), None),
        };
        // Who waits has gone when another client failed.
        connected.send(result).await.ok();
        drop(connected);
        let Some((body, connection)) = body else {
            return;
        };
        if self.is_stalled {
            // The connection is not driven: what arrives stays where it is.
            self.stop.cancelled().await;
            drop((body, connection));
            return;
        }
        tokio::select! {
            is_lost = self.read(body) => lock(&self.heard).lost += u64::from(is_lost),
            _ = connection => lock(&self.heard).lost += 1,
            () = self.stop.cancelled() => {}
        }
    }

    async fn connect(
        &self,
    ) -> anyhow::Result<(
        Incoming,
        http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>,
    )> {
        let Settings { url, query, .. } = &*self.settings;
        let uri: Uri = format!("{url}/api/v1/tail?{query}").parse()?;
        let host = uri.host().context("the query URL has no host")?;
        let port = uri.port_u16().unwrap_or(80);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = tokio::net::lookup_host((host, port)).await?;
        let address = addresses
            .next()
            .context("the query URL's host has no address")?;
        let socket = match address.is_ipv4() {
            true => TcpSocket::new_v4()?,
            false => TcpSocket::new_v6()?,
        };
        if self.is_stalled {
            socket.set_recv_buffer_size(STALLED_BUFFER)?;
        }
        let stream = socket.connect(address).await?;
        let (mut sender, mut connection) = http1::handshake(TokioIo::new(stream)).await?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).body(Empty::new())?;
        *request.headers_mut() = self.settings.headers.clone();
        let authority = uri.authority().map_or("", |it| it.as_str());
        request
            .headers_mut()
            .insert(header::HOST, authority.parse()?);
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer?,
            ended = &mut connection => {
                ended?;
                anyhow::bail!("the connection was closed");
            }
        };
        anyhow::ensure!(
            answer.status() == StatusCode::OK,
            "the server answered {}",
            answer.status()
        );
        Ok((answer.into_body(), connection))
    }

    /// Reads events; answers whether the connection broke.
    async fn read(&self, mut body: Incoming) -> bool {
        let mut bytes = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Some(data) = frame.data_ref() else {
                continue;
            };
            bytes.extend_from_slice(data);
            self.take(&mut bytes);
            if bytes.len() > EVENT_BYTES_MAX {
                return true;
            }
        }
        true
    }

    /// Takes the events that are whole.
    fn take(&self, bytes: &mut BytesMut) {
        let mut latencies = Vec::new();
        let mut missed = Vec::new();
        let mut unmatched = 0;
        while let Some(end) = memchr::memmem::find(bytes, b"\n\n") {
            match event(bytes.get(..end).unwrap_or_default()) {
                Some(Event::Span(trace_id)) => match self.clock.since(trace_id) {
                    Some(latency) => latencies.push(latency),
                    None => unmatched += 1,
                },
                Some(Event::Missed(it)) => missed.push(it),
                None => {}
            }
            bytes.advance(end + 2);
        }
        let mut heard = lock(&self.heard);
        heard.events += latencies.len() as u64 + unmatched;
        heard.unmatched += unmatched;
        for latency in latencies {
            heard.latencies.record(latency);
        }
        for it in missed {
            match it.unseen {
                Some(count) => heard.missed_unseen += count,
                None => heard.missed_unknown += 1,
            }
            heard.missed_over_rate += it.over_rate;
        }
    }
}
