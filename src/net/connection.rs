//! One accepted connection: which protocol it speaks, its limits, and when it ends.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::activity::{Activity, TrackedBody};
use super::guard::{self, Guard, Protocol, Rules};
use super::listener::{BoxError, Limits, Peer, Refuse};
use super::streams::{Patience, StreamTasks};
use crate::otlp::Failure;
use crate::service::tasks::Tasks;

/// What every client that knows HTTP/2 beforehand sends first (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of request data a peer may send ahead, per stream and per connection. One stream's
/// window is one typical large export; two of them keep a connection busy.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
const FRAME_SIZE_MAX: u32 = 64 << 10;
/// Bytes of answers buffered per stream; answers are small.
const SEND_BUFFER_MAX: usize = 256 << 10;
/// Bytes hyper buffers of an HTTP/1 connection at most, or of a head that is allowed to be larger
/// and a little around it.
const HTTP1_BUFFER_MAX: usize = 64 << 10;
const HTTP1_HEAD_SLACK: usize = 8 << 10;
/// HTTP/2 header lists up to this many times the limit are read, so that they are refused with an
/// answer of ours; h2's own has no body.
const HEADER_LIST_READ: u32 = 8;
/// Header blocks on the wire up to this many times the limit are read; a larger one ends the
/// connection. Compressed with Huffman codes they are at least five eighths of the list, so that
/// h2 only gets to refuse lists that repeat what is in the dynamic table.
const HEADER_BLOCK_READ: usize = 4;

/// What is the same for all connections of a listener.
pub(super) struct Shared<S, B> {
    pub(super) service: S,
    pub(super) limits: Limits,
    pub(super) refuse: Refuse<B>,
    pub(super) tasks: Tasks,
}

/// The protocol agreed on during the TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreed {
    /// None: decided by the first bytes.
    Nothing,
    Http1,
    Http2,
}

/// Serves a connection to its end.
pub(super) async fn serve<I, S, B>(
    mut io: I,
    peer: SocketAddr,
    agreed: Agreed,
    shared: Arc<Shared<S, B>>,
) -> Result<(), BoxError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    let activity = Activity::new();
    let limits = &shared.limits;
    let mut read = BytesMut::new();
    let is_http2 = match agreed {
        Agreed::Http1 => false,
        Agreed::Http2 => true,
        Agreed::Nothing => {
            let decided = timeout(limits.read_header_timeout, speaks_http2(&mut io, &mut read));
            decided.await??
        }
    };
    let head_max = usize::try_from(limits.max_header_list_size).unwrap_or(usize::MAX);
    let protocol = if is_http2 {
        Protocol::Http2(Rules {
            header_block_max: head_max.saturating_mul(HEADER_BLOCK_READ),
            pings: limits.ping_policy,
        })
    } else {
        Protocol::Http1 { head_max }
    };
    let open = CancellationToken::new();
    let guarded = Guard::new(io, read, Arc::clone(&activity), protocol);
    let guarded = guarded.telling(open.clone().drop_guard());
    let io = TokioIo::new(guarded);
    let service = {
        let shared = Arc::clone(&shared);
        let activity = Arc::clone(&activity);
        hyper::service::service_fn(move |request| {
            answer(Arc::clone(&shared), &activity, request, peer)
        })
    };
    let shutdown = shared.tasks.shutdown_token();
    if is_http2 {
        let builder = http2_builder(limits, shared.tasks.clone());
        drive(
            builder.serve_connection(io, service),
            &activity,
            limits,
            &shutdown,
        )
        .await
    } else {
        let builder = http1_builder(head_max);
        let connection = builder.serve_connection(io, service).with_upgrades();
        drive(connection, &activity, limits, &shutdown).await?;
        if activity.is_switched() {
            // It counts as one of the listener's while it is open.
            open.cancelled().await;
        }
        Ok(())
    }
}

/// Reads until it is clear whether the peer begins with the HTTP/2 preface.
async fn speaks_http2<I: AsyncRead + Unpin>(io: &mut I, read: &mut BytesMut) -> io::Result<bool> {
    loop {
        if read.len() >= HTTP2_PREFACE.len() {
            return Ok(read.starts_with(HTTP2_PREFACE));
        }
        if !HTTP2_PREFACE.starts_with(read) {
            return Ok(false);
        }
        if io.read_buf(read).await? == 0 {
            return Ok(false);
        }
    }
}

fn http1_builder(head_max: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The guard holds heads back and the driver times them; hyper's timer also counts idle
        // time between requests.
        .header_read_timeout(None)
        .max_buf_size(HTTP1_BUFFER_MAX.max(head_max.saturating_add(HTTP1_HEAD_SLACK)));
    builder
}

fn http2_builder(limits: &Limits, tasks: Tasks) -> http2::Builder<StreamTasks> {
    let mut builder = http2::Builder::new(StreamTasks::new(tasks, limits));
    let pending_resets = usize::try_from(limits.max_pending_reset_streams).unwrap_or(usize::MAX);
    builder
        .timer(TokioTimer::new())
        .adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE_MAX)
        .max_send_buf_size(SEND_BUFFER_MAX)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_list_size.saturating_mul(HEADER_LIST_READ))
        .max_pending_accept_reset_streams(pending_resets)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    builder
}

/// Calls the service; a panic in it is answered, and ends nothing but this request.
async fn answer_inner<S, B>(
    shared: Arc<Shared<S, B>>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
{
    let content_type = request.headers().get(http::header::CONTENT_TYPE).cloned();
    let refuse = |failure: &Failure| (shared.refuse)(failure, content_type.as_ref());
    if let Some(failure) = guard::refusal(request.headers()) {
        return refuse(&failure);
    }
    if guard::header_list_bytes(&request) > u64::from(shared.limits.max_header_list_size) {
        return refuse(&Failure::HeadersTooLarge);
    }
    request.extensions_mut().insert(Peer(peer));
    let mut service = shared.service.clone();
    let call = async move {
        poll_fn(|context| service.poll_ready(context)).await?;
        service.call(request).await
    };
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_panic) => {
            tracing::error!("a request handler panicked");
            refuse(&Failure::Internal)
        }
    }
}

fn answer<S, B>(
    shared: Arc<Shared<S, B>>,
    activity: &Arc<Activity>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> impl Future<Output = Result<Response<TrackedBody<B>>, Infallible>> + Send + use<S, B>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    let in_flight = activity.begin_request();
    let activity = Arc::clone(activity);
    async move {
        let response = answer_inner(shared, request, peer).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            activity.switch();
        }
        in_flight.answered();
        Ok(response.map(|body| TrackedBody::new(body, in_flight)))
    }
}

/// A hyper connection that can be told to end after the requests in flight.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn begin_shutdown(self: Pin<&mut Self>);
}

impl<I, B, S> Graceful for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    fn begin_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S, E> Graceful for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn begin_shutdown(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What the connection's timer is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// The time to end gracefully is over, or the peer takes no bytes.
    Cut,
    /// The head took too long.
    Head,
    /// Idle for too long, or too old: end gracefully.
    Close { grace: Duration },
}

/// Runs a connection until it ends by itself, by a limit, or by the drain of the daemon.
async fn drive<C: Graceful>(
    connection: C,
    activity: &Activity,
    limits: &Limits,
    shutdown: &CancellationToken,
) -> Result<(), BoxError> {
    let mut connection = std::pin::pin!(connection);
    let mut drain = std::pin::pin!(shutdown.cancelled());
    let mut timer = std::pin::pin!(tokio::time::sleep(limits.read_header_timeout));
    let mut closing = Closing::new(limits);
    poll_fn(move |context| {
        activity.watch(context);
        loop {
            if let Poll::Ready(outcome) = connection.as_mut().poll(context) {
                return Poll::Ready(outcome.map_err(Into::into));
            }
            if closing.draining.is_none() && drain.as_mut().poll(context).is_ready() {
                // The deadline of the drain belongs to the service.
                closing.draining = Some(Instant::now());
                connection.as_mut().begin_shutdown();
                continue;
            }
            let Some((at, due)) = closing.next(activity, limits) else {
                return Poll::Pending;
            };
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match due {
                Due::Cut => return Poll::Ready(Ok(())),
                Due::Head => {
                    activity.expire_head();
                    closing.cut_at = Instant::now().checked_add(limits.close_grace);
                }
                Due::Close { grace } => {
                    closing.cut_at = Instant::now().checked_add(grace);
                    connection.as_mut().begin_shutdown();
                }
            }
        }
    })
    .await
}

/// When and why a connection is to end.
struct Closing {
    /// Since when the daemon drains.
    draining: Option<Instant>,
    max_age: Option<Duration>,
    cut_at: Option<Instant>,
}

impl Closing {
    fn new(limits: &Limits) -> Self {
        Self {
            draining: None,
            max_age: limits.max_connection_age.map(jittered),
            cut_at: None,
        }
    }

    /// The nearest moment at which something is due.
    fn next(&self, activity: &Activity, limits: &Limits) -> Option<(Instant, Due)> {
        let after = |since: Option<Instant>, time: Option<Duration>, due| {
            Some((since?.checked_add(time?)?, due))
        };
        let cut = self.cut_at.map(|at| (at, Due::Cut));
        let stalled = activity
            .write_blocked_since()
            .map(|since| (Patience::of(limits).ends(since, self.draining), Due::Cut));
        let opened = Some(activity.opened());
        let (mut head, mut idle, mut age, mut left) = (None, None, None, None);
        if self.cut_at.is_none() {
            let timeout = Some(limits.read_header_timeout);
            head = after(activity.head_since(), timeout, Due::Head);
            // A head that is arriving has its own limit.
            let idle_since = activity.idle_since().filter(|_| head.is_none());
            let grace = limits.close_grace;
            idle = after(idle_since, limits.idle_timeout, Due::Close { grace });
            let grace = limits.max_connection_age_grace;
            age = after(opened, self.max_age, Due::Close { grace });
            // Answers that are all said, and that the peer does not take.
            let since = self.draining.and_then(|at| Some(idle_since?.max(at)));
            left = after(since, Some(limits.close_grace), Due::Cut);
        }
        let all = [cut, stalled, head, idle, age, left];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

/// Up to a tenth more or less, so that connections opened together do not end together.
fn jittered(age: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(age.as_nanos());
    let fraction = u32::try_from(random % 2001).unwrap_or(1000);
    age.mul_f64(0.9 + f64::from(fraction) / 10_000.0)
}
