//! The end of a connection whose client does not keep the rules: the last frame, the close, and
//! time for the client to read it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::linger::Linger;

#[derive(Debug)]
pub(super) struct Ending {
    /// What is left to write.
    frame: Vec<u8>,
    written: usize,
    linger: Option<Linger>,
}

impl Ending {
    pub(super) fn new(frame: Vec<u8>) -> Self {
        Self {
            frame,
            written: 0,
            linger: None,
        }
    }

    /// Whether the last frame is on its way, so that it must not be waited with any more.
    pub(super) fn has_begun(&self) -> bool {
        self.written > 0
    }

    /// Whether there is something left that the client must take.
    pub(super) fn is_writing(&self) -> bool {
        self.linger.is_none()
    }

    /// Ready when the connection may be dropped, whether the client has heard or not.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while let Some(rest) = self.frame.get(self.written..).filter(|it| !it.is_empty()) {
            match ready!(Pin::new(&mut *inner).poll_write(context, rest)) {
                Ok(count @ 1..) => self.written += count,
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        let linger = match &mut self.linger {
            Some(linger) => linger,
            None => {
                // Flushes as well.
                if ready!(Pin::new(&mut *inner).poll_shutdown(context)).is_err() {
                    return Poll::Ready(());
                }
                self.linger.insert(Linger::begin())
            }
        };
        linger.poll(inner, context)
    }
}
