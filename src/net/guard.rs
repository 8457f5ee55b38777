//! The socket wrapper under a connection: follows what passes, so that requests that hyper would
//! refuse without a word, and connections that it would let go on, meet an answer of ours.
//!
//! HTTP/1: see [`http1`]. HTTP/2: see [`http2`]; a connection that breaks its rules is ended with
//! GOAWAY, between two frames of ours.

mod ending;
mod http1;
mod http2;
mod linger;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

#[cfg(any(test, fuzzing))]
pub(super) use http1::REFUSED_HEADER;
pub(super) use http1::refusal;
pub use http2::PingPolicy;
pub(super) use http2::{Rules, header_list_bytes};

use super::activity::Activity;
use ending::Ending;
use http1::Requests;
use http2::{Abuse, Frames};
use linger::Linger;

/// Which protocol a connection speaks, and what is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Heads of at most this many bytes.
    Http1 {
        head_max: usize,
    },
    Http2(Rules),
}

#[derive(Debug)]
enum Watch {
    Http1(Requests),
    Http2(Frames),
    /// Another protocol has begun.
    Nothing,
}

/// Bytes as they came, except refused heads. Also notes when writes get stuck.
#[derive(Debug)]
pub(super) struct Guard<S> {
    inner: S,
    activity: Arc<Activity>,
    watch: Watch,
    /// Bytes that may be handed on.
    passed: BytesMut,
    /// The connection is being ended for what the client does.
    ending: Option<Ending>,
    linger: Option<Linger>,
    /// Tells who waits for the end of this.
    _open: Option<DropGuard>,
}

impl<S> Guard<S> {
    /// Wraps a socket of which `read` was read already.
    pub(super) fn new(
        inner: S,
        read: BytesMut,
        activity: Arc<Activity>,
        protocol: Protocol,
    ) -> Self {
        let mut guard = Self {
            inner,
            watch: match protocol {
                Protocol::Http1 { head_max } => {
                    Watch::Http1(Requests::new(Arc::clone(&activity), head_max))
                }
                Protocol::Http2(rules) => Watch::Http2(Frames::new(rules, Arc::clone(&activity))),
            },
            activity,
            passed: BytesMut::new(),
            ending: None,
            linger: None,
            _open: None,
        };
        match &mut guard.watch {
            Watch::Nothing => {}
            Watch::Http1(requests) => requests.release(&read, &mut guard.passed),
            Watch::Http2(frames) => match frames.received(&read, Instant::now()) {
                Ok(()) => guard.passed = read,
                Err(abuse) => guard.end(abuse),
            },
        }
        guard
    }

    /// Tells of its end.
    pub(super) fn telling(self, open: DropGuard) -> Self {
        Self {
            _open: Some(open),
            ..self
        }
    }

    /// Follows requests no longer once another protocol has begun.
    fn follow_switch(&mut self) {
        if let Watch::Http1(requests) = &mut self.watch
            && self.activity.is_switched()
        {
            let held = requests.let_go();
            self.passed.extend_from_slice(&held);
            self.watch = Watch::Nothing;
        }
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

    fn end(&mut self, abuse: Abuse) {
        if let Watch::Http2(frames) = &self.watch {
            tracing::debug!(reason = abuse.text(), "ending a connection");
            self.ending = Some(Ending::new(frames.goaway(abuse)));
        }
    }

    /// How much of `bytes` may be written while the connection is being ended: the rest of a frame
    /// that was begun. `None`: all of it.
    fn writable(&self, bytes: usize) -> Option<usize> {
        self.ending.as_ref()?;
        match &self.watch {
            Watch::Http2(frames) => Some(frames.left_to_send().min(bytes)),
            Watch::Http1(_) | Watch::Nothing => None,
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if let Watch::Http2(frames) = &mut self.watch {
            frames.sent(bytes);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Ends the connection once no frame of ours is cut; ready when it is over.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (Some(ending), Watch::Http2(frames)) = (&mut self.ending, &self.watch) else {
            return Poll::Ready(Ok(()));
        };
        if !ending.has_begun() && frames.left_to_send() > 0 {
            // `poll_write` goes on from here.
            return Poll::Pending;
        }
        let outcome = ending.poll(&mut self.inner, context);
        self.activity
            .write_progress(outcome.is_pending() && ending.is_writing());
        ready!(outcome);
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.follow_switch();
        loop {
            if this.ending.is_some() {
                return this.poll_end(context);
            }
            if this.hand_on(buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Watch::Http1(requests) = &mut this.watch {
                if requests.is_refused() {
                    // The answer ends the connection; the driver cuts it should that not happen.
                    return Poll::Pending;
                }
                if requests.is_broken() {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                if this.activity.is_head_expired() && requests.is_between_bodies() {
                    requests.expire(&mut this.passed);
                    continue;
                }
            }
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
            let fresh = buffer.filled().get(start..).unwrap_or_default();
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match &mut this.watch {
                Watch::Nothing => return Poll::Ready(Ok(())),
                Watch::Http2(frames) => match frames.received(fresh, Instant::now()) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(abuse) => {
                        buffer.set_filled(start);
                        this.end(abuse);
                    }
                },
                Watch::Http1(requests) if requests.holds_back() => {
                    requests.release(fresh, &mut this.passed);
                    buffer.set_filled(start);
                }
                // Nearly every read: all of it is handed on, nothing is copied.
                Watch::Http1(requests) => {
                    let passed = requests.pass(fresh, &mut this.passed);
                    buffer.set_filled(start + passed);
                    if passed > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Some(allowed) = this.writable(bytes.len()) else {
            let outcome = Pin::new(&mut this.inner).poll_write(context, bytes);
            this.activity.write_progress(outcome.is_pending());
            if let Poll::Ready(Ok(count)) = outcome {
                this.wrote(bytes.get(..count).unwrap_or_default());
            }
            return outcome;
        };
        if allowed == 0 {
            // The last word is said; nobody listens to this.
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(bytes.len()));
        }
        let rest_of_frame = bytes.get(..allowed).unwrap_or_default();
        let outcome = Pin::new(&mut this.inner).poll_write(context, rest_of_frame);
        this.activity.write_progress(outcome.is_pending());
        if let Poll::Ready(Ok(count)) = outcome {
            this.wrote(rest_of_frame.get(..count).unwrap_or_default());
            context.waker().wake_by_ref();
        }
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.ending.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.activity.write_progress(outcome.is_pending());
        if let Poll::Ready(Ok(mut left)) = outcome {
            for slice in slices {
                let count = left.min(slice.len());
                self.wrote(slice.get(..count).unwrap_or_default());
                left -= count;
            }
        }
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
        let linger = match &mut this.linger {
            Some(linger) => linger,
            None => {
                ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
                match &this.watch {
                    Watch::Http1(requests) if !requests.is_between_bodies() => {}
                    _ => return Poll::Ready(Ok(())),
                }
                this.linger.insert(Linger::begin())
            }
        };
        linger.poll(&mut this.inner, context).map(Ok)
    }
}

/// What is handed on of bytes that arrive in these pieces, and whether they end within a body that is
/// not framed as it says.
#[cfg(any(test, fuzzing))]
pub(super) fn split_requests(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut requests = Requests::new(Activity::new(), 256);
    let (mut out, mut passed) = (Vec::new(), BytesMut::new());
    for piece in pieces {
        if requests.is_refused() || requests.is_broken() {
            break;
        }
        if requests.holds_back() {
            requests.release(piece, &mut passed);
        } else {
            let count = requests.pass(piece, &mut passed);
            out.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        out.extend_from_slice(&passed);
        passed.clear();
    }
    (out, requests.is_broken())
}

#[cfg(test)]
mod tests;
