//! Listeners: bind first, serve later, under limits.
//!
//! A listener that is bound and dropped leaves nothing open. A served one accepts until the daemon
//! drains, holds at most `max_connections` connections (the rest wait in the kernel's queue) and
//! survives running out of file descriptors. No connection can stop it.

mod error;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use super::guard::PingPolicy;
pub use error::Error;

use super::connection::{self, Agreed, Shared};
use super::tls;
use crate::otlp::Failure;
use crate::service::tasks::Tasks;

/// An error of any kind, as hyper passes them on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the answer to a request that never reaches the service, or whose service panicked, in the
/// content type of the request.
pub type Refuse<B> = fn(&Failure, Option<&HeaderValue>) -> Response<B>;

/// Connections the kernel queues until they are accepted.
const BACKLOG: i32 = 1024;
/// First and longest pause after an accept that failed for want of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Log lines about failed accepts are at least this far apart.
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Limits of one listener. `None` means unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once.
    pub max_connections: u32,
    /// Bytes of one header section.
    pub max_header_list_size: u32,
    /// Longest time for the TLS handshake, for the first byte, and for one header section.
    pub read_header_timeout: Duration,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Option<Duration>,
    /// A connection this old (give or take a tenth) is told to end.
    pub max_connection_age: Option<Duration>,
    /// Time from then until it is cut.
    pub max_connection_age_grace: Duration,
    /// How long a peer may take nothing of an answer.
    pub stall_timeout: Duration,
    /// How long a connection that was told to end, other than for its age, may go on, and how long a
    /// peer may take nothing of an answer while the daemon drains.
    pub close_grace: Duration,
    /// HTTP/2: requests open at once on one connection.
    pub max_concurrent_streams: u32,
    /// HTTP/2: streams a peer may reset before they are served; more ends the connection.
    pub max_pending_reset_streams: u32,
    /// HTTP/2: quiet time after which the peer is pinged.
    pub keepalive_interval: Option<Duration>,
    /// HTTP/2: time a ping may stay unanswered.
    pub keepalive_timeout: Duration,
    /// HTTP/2: how often a peer may ping; more ends the connection.
    pub ping_policy: Option<PingPolicy>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_header_list_size: 16 << 10,
            read_header_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(60)),
            max_connection_age: None,
            max_connection_age_grace: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            close_grace: Duration::from_secs(5),
            max_concurrent_streams: 200,
            max_pending_reset_streams: 50,
            keepalive_interval: Some(Duration::from_secs(60)),
            keepalive_timeout: Duration::from_secs(20),
            ping_policy: None,
        }
    }
}

/// Address of the peer, an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// A reserved address: connections queue, nothing is served yet. Dropping it closes it.
#[derive(Debug)]
pub struct Bound {
    what: &'static str,
    socket: std::net::TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Where it listens, with the real port when `:0` was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Path of its section in the configuration.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }
}

/// Reserves `endpoint` (`host:port`; the first address of the host that works). `what` is the path
/// of its section in the configuration, for messages.
///
/// # Errors
/// [`Error::Resolve`], [`Error::Listen`].
pub fn bind(what: &'static str, endpoint: &str) -> Result<Bound, Error> {
    let resolve = |source| Error::Resolve {
        what,
        endpoint: endpoint.to_owned(),
        source,
    };
    let listen = |source| Error::Listen {
        what,
        endpoint: endpoint.to_owned(),
        source,
    };
    let addresses = endpoint.to_socket_addrs().map_err(resolve)?;
    let mut outcome = Err(resolve(io::Error::from(io::ErrorKind::NotFound)));
    for address in addresses {
        outcome = bind_address(address).map_err(listen);
        if outcome.is_ok() {
            break;
        }
    }
    let socket = outcome?;
    let address = socket.local_addr().map_err(listen)?;
    Ok(Bound {
        what,
        socket,
        address,
    })
}

fn bind_address(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the predecessor to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Loads the certificate of a listener, if it has one.
///
/// # Errors
/// [`Error::Tls`].
pub fn load_tls(
    what: &'static str,
    config: Option<&tls::Config>,
    protocols: &'static [&'static [u8]],
) -> Result<Option<tls::Acceptor>, Error> {
    config
        .map(|config| tls::Acceptor::load(config, protocols))
        .transpose()
        .map_err(|error| Error::Tls {
            what,
            source: Box::new(error),
        })
}

/// Serves HTTP/1.1 and HTTP/2 on a listener until the daemon drains. Under TLS the protocol is
/// agreed on by ALPN, else the first bytes decide.
///
/// `refuse` makes the answer for requests that never reach the service (ambiguous framing, header
/// section too large or too slow) and for a service that panicked.
///
/// # Errors
/// The socket can't be handed to the runtime. Must be called within a Tokio runtime.
pub fn serve<S, B>(
    bound: Bound,
    limits: Limits,
    tls: Option<tls::Acceptor>,
    service: S,
    refuse: Refuse<B>,
    tasks: &Tasks,
) -> Result<(), Error>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    let what = bound.what;
    let listener = TcpListener::from_std(bound.socket).map_err(|source| Error::Listen {
        what,
        endpoint: bound.address.to_string(),
        source,
    })?;
    if let Some(tls) = &tls {
        tls.watch(what, tasks);
    }
    tracing::info!(listener = what, address = %bound.address, tls = tls.is_some(), "listening");
    let permits = usize::try_from(limits.max_connections).unwrap_or(usize::MAX);
    let acceptor = Acceptor {
        what,
        listener,
        permits: Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS))),
        shutdown: tasks.shutdown_token(),
        pause: ACCEPT_PAUSE,
        logged: None,
    };
    let shared = Arc::new(Shared {
        service,
        limits,
        refuse,
        tasks: tasks.clone(),
    });
    tasks.spawn("listener", accept_all(acceptor, tls, shared));
    Ok(())
}

async fn accept_all<S, B>(
    mut acceptor: Acceptor,
    tls: Option<tls::Acceptor>,
    shared: Arc<Shared<S, B>>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    let what = acceptor.what;
    while let Some((stream, peer, permit)) = acceptor.next().await {
        let tls = tls.clone();
        let shared = Arc::clone(&shared);
        let tasks = shared.tasks.clone();
        tasks.spawn("connection", async move {
            let outcome = match tls {
                None => Box::pin(connection::serve(stream, peer, Agreed::Nothing, shared)).await,
                Some(tls) => Box::pin(serve_tls(stream, peer, tls, shared)).await,
            };
            if let Err(error) = outcome {
                // Clients cause these; an operator sees them when looking for them.
                tracing::debug!(listener = what, %peer, %error, "connection ended");
            }
            drop(permit);
        });
    }
    tracing::info!(listener = what, "stopped accepting");
}

async fn serve_tls<S, B>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: tls::Acceptor,
    shared: Arc<Shared<S, B>>,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    let handshake = timeout(shared.limits.read_header_timeout, tls.accept(stream));
    let shutdown = shared.tasks.shutdown_token();
    let stream = tokio::select! {
        outcome = handshake => outcome??,
        () = shutdown.cancelled() => return Ok(()),
    };
    let agreed = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Agreed::Http2,
        Some(b"http/1.1") => Agreed::Http1,
        _ => Agreed::Nothing,
    };
    connection::serve(stream, peer, agreed, shared).await
}

struct Acceptor {
    what: &'static str,
    listener: TcpListener,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    pause: Duration,
    logged: Option<Instant>,
}

impl Acceptor {
    /// The next connection and its permit; `None` once the daemon drains.
    async fn next(&mut self) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            accepted = self.accept() => Some(accepted),
        }
    }

    async fn accept(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let permits = Arc::clone(&self.permits);
            let Ok(permit) = permits.acquire_owned().await else {
                // The semaphore is never closed.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.pause = ACCEPT_PAUSE;
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(listener = self.what, %error, "set TCP_NODELAY");
                    }
                    return (stream, peer, permit);
                }
                Err(error) if is_about_the_connection(&error) => {}
                Err(error) => self.wait_for_resources(&error).await,
            }
        }
    }

    async fn wait_for_resources(&mut self, error: &io::Error) {
        let is_due = self
            .logged
            .is_none_or(|logged| logged.elapsed() >= ACCEPT_LOG_INTERVAL);
        if is_due {
            self.logged = Some(Instant::now());
            tracing::error!(listener = self.what, %error, "accept failed; trying again");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(ACCEPT_PAUSE_MAX);
    }
}

/// Errors of a connection that ended before it was accepted, which say nothing about the next.
fn is_about_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

impl<S, B> fmt::Debug for Shared<S, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
