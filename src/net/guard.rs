//! The socket wrapper under an HTTP/1 connection: holds each head back until it is complete and
//! unambiguous, and replaces a head that is refused.
//!
//! A refused head becomes a short request that carries the reason in a header; the service around
//! every request answers it like any other failure, so that also these clients get a body in the
//! shape they know. A client may send that header itself: it only refuses its own request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::framing::{self, BodyLength, ChunkScanner};
use crate::otlp::Failure;

/// Header of the request that stands in for a refused one.
const REFUSED_HEADER: &str = "pulse-refused-head";
const TOO_LARGE: &str = "too-large";
const TIMEOUT: &str = "timeout";

/// Headers in one head at most; hyper's own bound, which it enforces without a body in the answer.
const HEADERS_MAX: usize = 100;

/// Bytes read and thrown away after the last answer, so that the close does not destroy the answer
/// before the client has read it (a close with unread bytes is a reset).
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Why the head was refused, if this request stands in for a refused one.
pub(super) fn refusal(headers: &HeaderMap) -> Option<Failure> {
    let reason = headers.get(REFUSED_HEADER)?.to_str().unwrap_or_default();
    Some(match reason {
        TOO_LARGE => Failure::HeadersTooLarge,
        TIMEOUT => Failure::RequestTimeout,
        reason => Failure::Malformed {
            message: format!("ambiguous request: {reason}"),
            field: None,
        },
    })
}

#[derive(Debug)]
enum Phase {
    /// Between requests, or within a head.
    Head,
    /// Bytes of a body with a known length are left.
    Body(u64),
    Chunks(ChunkScanner),
    /// Nothing more is read from the peer.
    Refused,
    /// The body is not framed as it says; where the next request begins is unknown.
    Broken,
}

/// Bytes as they came, except refused heads. Also notes when writes get stuck, for every protocol.
#[derive(Debug)]
pub(super) struct Guard<S> {
    inner: S,
    activity: Arc<Activity>,
    phase: Phase,
    head_max: usize,
    /// A head that is not complete yet.
    held: BytesMut,
    /// Bytes of `held` that were searched for its end.
    searched: usize,
    /// Bytes that may be handed on.
    passed: BytesMut,
    /// Whether heads are looked at; not for HTTP/2.
    is_http1: bool,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    bytes_left: usize,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl<S> Guard<S> {
    /// Wraps a socket of which `read` was read already.
    pub(super) fn new(
        inner: S,
        read: BytesMut,
        activity: Arc<Activity>,
        is_http1: bool,
        head_max: usize,
    ) -> Self {
        let mut guard = Self {
            inner,
            activity,
            phase: Phase::Head,
            head_max,
            held: BytesMut::new(),
            searched: 0,
            passed: BytesMut::new(),
            is_http1,
            linger: None,
        };
        if is_http1 {
            guard.held = read;
            guard.release_held();
        } else {
            guard.passed = read;
        }
        guard
    }

    /// Moves what is complete in `held` on to `passed`.
    fn release_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        let (passed, refused) = self.scan(&held);
        let released = held.split_to(passed.min(held.len()));
        self.passed.extend_from_slice(&released);
        match refused {
            Some(reason) => self.refuse(&reason),
            None => self.held = held,
        }
    }

    /// How many bytes from the start of `bytes` may be handed on, and why the head behind them
    /// is refused, if it is; otherwise what is behind them is an incomplete head.
    fn scan(&mut self, bytes: &[u8]) -> (usize, Option<Refused>) {
        let mut done = 0;
        loop {
            let rest = bytes.get(done..).unwrap_or_default();
            if rest.is_empty() {
                return (done, None);
            }
            match &mut self.phase {
                Phase::Refused | Phase::Broken => return (done, None),
                Phase::Body(remaining) => {
                    let here = usize::try_from(*remaining).unwrap_or(usize::MAX);
                    let taken = here.min(rest.len());
                    *remaining = remaining.saturating_sub(taken as u64);
                    if *remaining == 0 {
                        self.phase = Phase::Head;
                    }
                    done += taken;
                }
                Phase::Chunks(scanner) => match scanner.advance(rest) {
                    Ok(None) => return (bytes.len(), None),
                    Ok(Some(taken)) => {
                        self.phase = Phase::Head;
                        done += taken;
                    }
                    Err(_) => self.phase = Phase::Broken,
                },
                Phase::Head => match self.scan_head(rest) {
                    Ok(Some(taken)) => done += taken,
                    Ok(None) => return (done, None),
                    Err(reason) => return (done, Some(reason)),
                },
            }
        }
    }

    /// Length of the head at the start of `rest`, or `None` when it is incomplete.
    fn scan_head(&mut self, rest: &[u8]) -> Result<Option<usize>, Refused> {
        let skipped = framing::leading_empty_lines(rest);
        let head = rest.get(skipped..).unwrap_or_default();
        if head.is_empty() {
            return Ok(Some(skipped));
        }
        let searched = self.searched.saturating_sub(skipped);
        let end = framing::head_end(head, searched);
        if end.unwrap_or(head.len()) > self.head_max {
            return Err(Refused::TooLarge);
        }
        let Some(end) = end else {
            self.searched = rest.len();
            self.activity.head_started();
            return Ok(None);
        };
        self.searched = 0;
        self.activity.head_ended();
        let head = head.get(..end).unwrap_or_default();
        let headers = memchr::memchr_iter(b'\n', head).count().saturating_sub(2);
        if headers > HEADERS_MAX {
            return Err(Refused::TooLarge);
        }
        self.phase = match framing::check_head(head).map_err(Refused::Ambiguous)? {
            BodyLength::Known(0) => Phase::Head,
            BodyLength::Known(length) => Phase::Body(length),
            BodyLength::Chunked => Phase::Chunks(ChunkScanner::default()),
        };
        Ok(Some(skipped + end))
    }

    fn refuse(&mut self, reason: &Refused) {
        let reason = match reason {
            Refused::TooLarge => TOO_LARGE,
            Refused::Timeout => TIMEOUT,
            Refused::Ambiguous(text) => text,
        };
        let stand_in = format!(
            "POST / HTTP/1.1\r\n{REFUSED_HEADER}: {reason}\r\nconnection: close\r\n\
             content-length: 0\r\n\r\n"
        );
        self.passed.extend_from_slice(stand_in.as_bytes());
        self.phase = Phase::Refused;
        self.held = BytesMut::new();
        self.activity.head_ended();
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let count = self.passed.len().min(buffer.remaining());
        let Some(ready) = self.passed.get(..count).filter(|ready| !ready.is_empty()) else {
            return false;
        };
        buffer.put_slice(ready);
        self.passed.advance(count);
        if self.passed.is_empty() {
            self.passed = BytesMut::new();
        }
        true
    }
}

enum Refused {
    TooLarge,
    Timeout,
    Ambiguous(&'static str),
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.hand_on(buffer) {
                return Poll::Ready(Ok(()));
            }
            if !this.is_http1 {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            if matches!(this.phase, Phase::Refused) {
                // The answer ends the connection; the driver cuts it should that not happen.
                return Poll::Pending;
            }
            if matches!(this.phase, Phase::Broken) {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if this.activity.is_head_expired() && matches!(this.phase, Phase::Head) {
                this.refuse(&Refused::Timeout);
                continue;
            }
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            let fresh = buffer.filled().get(start..).unwrap_or_default();
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !this.held.is_empty() {
                this.held.extend_from_slice(fresh);
                buffer.set_filled(start);
                this.release_held();
                continue;
            }
            // Nearly every read: all of it is handed on, nothing is copied.
            let (passed, refused) = this.scan(fresh);
            match refused {
                Some(reason) => this.refuse(&reason),
                None => this
                    .held
                    .extend_from_slice(fresh.get(passed..).unwrap_or_default()),
            }
            buffer.set_filled(start + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S>
where
    S: AsyncRead,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.activity.write_progress(outcome.is_pending());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.activity.write_progress(outcome.is_pending());
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.activity.write_progress(outcome.is_pending());
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            if !this.is_http1 || matches!(this.phase, Phase::Head) {
                return Poll::Ready(Ok(()));
            }
            this.linger = Some(Linger {
                bytes_left: LINGER_BYTES,
                timer: Box::pin(tokio::time::sleep(LINGER_TIME)),
            });
        }
        match &mut this.linger {
            Some(linger) => linger.poll(&mut this.inner, context).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Linger {
    /// Ready when the peer has closed too, or the patience with it is used up.
    fn poll<S: AsyncRead + Unpin>(&mut self, inner: &mut S, context: &mut Context<'_>) -> Poll<()> {
        if self.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 4096];
        while self.bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            let outcome = ready!(Pin::new(&mut *inner).poll_read(context, &mut buffer));
            let count = buffer.filled().len();
            if outcome.is_err() || count == 0 {
                break;
            }
            self.bytes_left = self.bytes_left.saturating_sub(count);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What comes out of a guard when `bytes` arrive in reads of at most `step`.
    fn guarded(bytes: &[u8], step: usize, first: usize) -> Vec<u8> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(step);
            let (first, rest) = bytes.split_at(first.min(bytes.len()));
            let activity = Activity::new();
            let mut guard = Guard::new(server, BytesMut::from(first), activity, true, 4096);
            let mut out = Vec::new();
            let send = async {
                client.write_all(rest).await.unwrap();
                drop(client);
            };
            let (_, read) = tokio::join!(send, guard.read_to_end(&mut out));
            read.unwrap();
            out
        })
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let plain = proptest::collection::vec(any::<u8>(), 0..200).prop_map(|body| {
            let head = format!("POST /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body].concat()
        });
        let chunked = proptest::collection::vec(1_usize..50, 0..4).prop_map(|sizes| {
            let mut request = b"POST /b HTTP/1.1\nTransfer-Encoding: chunked\n\n".to_vec();
            for size in sizes {
                request.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                request.extend(std::iter::repeat_n(b'\n', size));
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"0\r\nx: y\r\n\r\n");
            request
        });
        let bare = Just(b"\r\nGET / HTTP/1.0\r\n\r\n".to_vec());
        prop_oneof![plain, chunked, bare]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // Scenario: any sequence of sound requests, cut into any reads.
        // Guarantees: every byte passes unchanged.
        #[test]
        fn sound_requests_pass_unchanged(
            requests in proptest::collection::vec(request(), 0..6),
            step in 1_usize..400,
            first in 0_usize..30,
        ) {
            let bytes = requests.concat();
            prop_assert_eq!(guarded(&bytes, step, first), bytes);
        }

        // Scenario: any bytes at all.
        // Guarantees: no panic, and at most what came is handed on.
        #[test]
        fn garbage_is_survived(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..300),
            step in 1_usize..100,
        ) {
            let mut all = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".to_vec();
            all.extend_from_slice(&bytes);
            let mut scanned = Guard::new((), BytesMut::new(), Activity::new(), true, 64);
            for piece in all.chunks(step) {
                let (passed, _) = scanned.scan(piece);
                prop_assert!(passed <= piece.len());
            }
        }
    }
}
