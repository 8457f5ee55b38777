//! Peers that grant no window.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::*;
use crate::net::connection::{self, Agreed};
use crate::net::listener::Limits;

const PATIENCE: Duration = Duration::from_secs(30);

type Answer = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// Longest answer, and all of a short one.
const LONG: usize = 1 << 20;
const SHORT: usize = 100;

/// A peer and what it talks to. The token is cancelled when an answer is not held any more.
struct Served {
    peer: SendRequest<Empty<Bytes>>,
    let_go: CancellationToken,
    tasks: Tasks,
    _peers: JoinSet<()>,
}

/// An answer that goes on for ever, or one that is short.
fn answer(path: &str, held: DropGuard) -> Response<Answer> {
    let length = if path == "/short" { SHORT } else { LONG };
    let part = Frame::data(Bytes::from(vec![b'x'; length]));
    let first = stream::iter([Ok(part)]);
    let rest = stream::unfold(held, |held| async {
        std::future::pending::<()>().await;
        Some((Ok(Frame::data(Bytes::new())), held))
    });
    let body = match path {
        "/short" => first.boxed(),
        _ => first.chain(rest).boxed(),
    };
    Response::new(StreamBody::new(body))
}

async fn serve(window: u32, stall_timeout: Duration, close_grace: Duration) -> Served {
    let (tasks, _) = Tasks::new();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let let_go = CancellationToken::new();
    let held = let_go.clone();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let response = answer(request.uri().path(), held.clone().drop_guard());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let shared = Arc::new(connection::Shared {
        service,
        limits: Limits {
            stall_timeout,
            close_grace,
            ..Limits::default()
        },
        refuse: |_, _| unreachable!("nothing is wrong with the requests"),
        tasks: tasks.clone(),
    });
    tasks.spawn("connection", async move {
        let peer = "127.0.0.1:1".parse().unwrap();
        let served = connection::serve(ours, peer, Agreed::Http2, shared);
        served.await.ok();
    });
    let (peer, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(theirs))
        .await
        .unwrap();
    let mut peers = JoinSet::new();
    peers.spawn(async { drop(connection.await) });
    Served {
        peer,
        let_go,
        tasks,
        _peers: peers,
    }
}

impl Served {
    async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("http://a{path}")).body(Empty::new());
        self.peer.send_request(request.unwrap()).await.unwrap()
    }
}

// Scenario: peers with windows of several sizes, which never grow, ask for an answer without end.
// Guarantees: the answer is let go in a while, the stream is reset, and the connection goes on.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_let_go() {
    let stall = Duration::from_millis(500);
    for window in [0, 1, 1000, 100_000] {
        let mut served = serve(window, stall, PATIENCE).await;
        let begun = Instant::now();
        let response = served.get("/long").await;
        let let_go = timeout(PATIENCE, served.let_go.cancelled()).await;
        assert!(let_go.is_ok() && begun.elapsed() >= stall, "{window}");
        let taken = timeout(PATIENCE, response.into_body().collect()).await;
        assert!(taken.unwrap().is_err(), "{window}");
        assert_eq!(served.get("/short").await.status(), 200);
    }
}

// Scenario: a peer takes a long answer, slowly but always some of it, and then waits for more of it.
// Guarantees: that is no reason to give up.
#[tokio::test]
async fn an_answer_that_is_taken_goes_on() {
    let stall = Duration::from_secs(2);
    let mut served = serve(1000, stall, PATIENCE).await;
    let mut body = served.get("/long").await.into_body();
    for part in 1..=8 {
        let mut taken = 0;
        while taken < LONG / 8 {
            let frame = timeout(PATIENCE, body.frame()).await.unwrap();
            taken += frame.unwrap().unwrap().into_data().unwrap().len();
        }
        assert!(!served.let_go.is_cancelled(), "{part}");
        tokio::time::sleep(stall / 4).await;
    }
    let more = timeout(stall + stall / 2, body.frame());
    assert!(more.await.is_err() && !served.let_go.is_cancelled());
}

// Scenario: the daemon drains while a peer takes nothing of an answer without end, or of one that is all
// said.
// Guarantees: neither holds it up for long.
#[tokio::test]
async fn an_answer_that_is_not_taken_holds_up_no_drain() {
    let grace = Duration::from_millis(200);
    for (path, window) in [("/long", 0), ("/long", 1000), ("/short", 0), ("/short", 1)] {
        let mut served = serve(window, PATIENCE * 10, grace).await;
        let _response = served.get(path).await;
        served.tasks.start_shutdown();
        let ended = timeout(PATIENCE, served.tasks.wait()).await;
        assert!(ended.is_ok(), "{path} {window}");
    }
}
