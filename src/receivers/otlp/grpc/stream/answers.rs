//! What the server says on a stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::beside::{frame, trailers};
use crate::otlp::Failure;
use crate::pipeline::Accepted;
use crate::receivers::native::proto;
use crate::receivers::native::proto::stream_response::Event;

/// How long a client may take to read an answer.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// When to come back where nothing else is known.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What came of a batch.
pub(super) struct Outcome {
    pub(super) sequence: u64,
    pub(super) accepted: Result<Accepted, Failure>,
}

/// The client is gone, or does not read.
pub(super) struct Gone;

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The way back to the client.
#[derive(Clone)]
pub(super) struct Answers(pub(super) mpsc::Sender<Frame<Bytes>>);

impl Answers {
    pub(super) async fn outcome(&self, outcome: Outcome) -> Result<(), Gone> {
        let Outcome { sequence, accepted } = outcome;
        self.say(match accepted {
            Ok(accepted) => {
                let has_more = accepted.rejected > 0 || !accepted.error_message.is_empty();
                let partial_success = has_more.then_some(proto::PartialSuccess {
                    rejected_spans: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
                    error_message: accepted.error_message,
                });
                Event::Acknowledged(proto::Acknowledged {
                    sequence,
                    partial_success,
                })
            }
            Err(failure) => {
                let after = failure.retry_after();
                let again = failure.is_retryable().then_some(RETRY_AFTER);
                Event::Refused(proto::Refused {
                    sequence,
                    message: failure.to_string(),
                    retry_after_ms: after.or(again).map(milliseconds),
                })
            }
        })
        .await
    }

    pub(super) async fn say(&self, event: Event) -> Result<(), Gone> {
        let message = proto::StreamResponse { event: Some(event) };
        let mut framed = BytesMut::new();
        frame(&mut framed, &message);
        self.send(Frame::data(framed.freeze())).await
    }

    /// Ends the stream with a status.
    pub(super) async fn end(&self, ended: Result<(), Failure>) -> Result<(), Gone> {
        self.send(Frame::trailers(trailers(ended))).await
    }

    async fn send(&self, frame: Frame<Bytes>) -> Result<(), Gone> {
        match timeout(READ_PATIENCE, self.0.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }
}

/// What goes back to the client, as it is said.
pub(super) struct AnswerBody(pub(super) mpsc::Receiver<Frame<Bytes>>);

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}
