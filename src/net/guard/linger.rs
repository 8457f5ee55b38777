//! Reading on after the last word, so that the close does not destroy it before the client has read
//! it: a close with unread bytes is a reset.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read and thrown away at most.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Linger {
    bytes_left: usize,
    timer: Pin<Box<tokio::time::Sleep>>,
}

impl Linger {
    pub(super) fn begin() -> Self {
        Self {
            bytes_left: LINGER_BYTES,
            timer: Box::pin(tokio::time::sleep(LINGER_TIME)),
        }
    }

    /// Ready when the peer has closed too, or the patience with it is used up.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        inner: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<()> {
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
