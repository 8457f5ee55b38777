//! `pulse.trace.v1.TraceIngest/Stream`: batches one after the other on one stream, each answered once
//! it is durable.
//!
//! One task a stream reads a message while earlier ones wait for the log, at most [`CREDIT`] of them:
//! what comes beyond that waits in the client, held back by the flow control of HTTP/2. Answers
//! keep the order of the batches. Under pressure nothing is read, and the client is told; when the
//! daemon drains, what was read is still answered. A stream has no state beyond that: a client that
//! comes back sends what was not acknowledged, and spans that were stored are recognised.

mod answers;

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::super::body::{Announced, Messages, PREFIX_LENGTH, malformed, too_large};
use super::super::caller;
use super::super::{Budget, Sink};
use super::Grpc;
use crate::model::ProjectId;
use crate::otlp::compression::Encoding;
use crate::otlp::{Failure, Signal, protobuf};
use crate::pipeline::Transport;
use crate::receivers::native::{self, proto};
use crate::service::tasks::Tasks;
use answers::{AnswerBody, Answers, Outcome, RETRY_AFTER, milliseconds};
use proto::stream_response::Event;

/// Batches that may be on the way.
pub(in super::super) const CREDIT: usize = 32;

/// Answers one stream: opens it, and leaves the rest to a task.
pub(super) async fn serve<S: Sink>(
    grpc: Grpc<S>,
    request: Request<Incoming>,
    tasks: &Tasks,
) -> Response<Body> {
    let (encoding, credential) = match grpc.begin_stream(&request).await {
        Ok(begun) => begun,
        Err(failure) => return super::failed(&failure),
    };
    let accept = grpc.inner.accept_encoding.clone();
    let (answers, receiver) = mpsc::channel(CREDIT + 4);
    let stream = Stream {
        source: Source {
            messages: Messages::new(request.into_body()),
            grpc,
            encoding,
            credential,
            answers: Answers(answers.clone()),
        },
        answers: Answers(answers),
        shutdown: tasks.shutdown_token(),
    };
    tasks.spawn("native stream", async move {
        let answers = stream.answers.clone();
        let ended = AssertUnwindSafe(stream.run()).catch_unwind().await;
        let ended = ended.unwrap_or_else(|_panic| {
            tracing::error!(transport = "grpc", "a stream panicked");
            Err(Failure::Internal)
        });
        // A client that is gone needs no status.
        drop(answers.end(ended).await);
    });
    let mut response = Response::new(Body::new(AnswerBody(receiver)));
    let headers = response.headers_mut();
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    headers.insert("grpc-accept-encoding", accept);
    response
}

/// What is looked up again for every batch: a key may be revoked meanwhile.
struct Credential {
    headers: HeaderMap,
    uri: Uri,
}

impl<S: Sink> Grpc<S> {
    /// Whether a stream may be opened, and how its messages are compressed.
    async fn begin_stream(
        &self,
        request: &Request<Incoming>,
    ) -> Result<(Encoding, Credential), Failure> {
        let inner = &*self.inner;
        match caller::project(&inner.gate, request).await {
            // Batches are refused one by one.
            Ok(_) | Err(Failure::Throttled { .. } | Failure::OverQuota { .. }) => {}
            Err(failure) => return Err(failure),
        }
        let named = request.headers().get("grpc-encoding");
        let encoding = inner.encodings.select(named)?;
        let credential = Credential {
            headers: request.headers().clone(),
            uri: request.uri().clone(),
        };
        Ok((encoding, credential))
    }
}

/// A stream being served.
struct Stream<S: Sink> {
    source: Source<S>,
    answers: Answers,
    shutdown: CancellationToken,
}

impl<S: Sink> Stream<S> {
    /// Serves until the client has said all, or the daemon drains.
    async fn run(self) -> Result<(), Failure> {
        let Self {
            source,
            answers,
            shutdown,
        } = self;
        let opened = Event::Opened(proto::Opened {
            credit: u32::try_from(CREDIT).unwrap_or(u32::MAX),
            max_message_bytes: source.grpc.inner.message_max as u64,
        });
        if answers.say(opened).await.is_err() {
            return Ok(());
        }
        let mut waiting = FuturesOrdered::new();
        let mut reading = Some(Box::pin(source.next()));
        let mut end = Ok(());
        loop {
            let may_read = waiting.len() < CREDIT;
            let reads = reading.is_some();
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if reads => {
                    reading = None;
                    end = Err(Failure::ShuttingDown);
                    let reason = Failure::ShuttingDown.to_string();
                    if answers.say(Event::GoAway(proto::GoAway { reason })).await.is_err() {
                        return Ok(());
                    }
                }
                Some(outcome) = waiting.next(), if !waiting.is_empty() => {
                    if answers.outcome(outcome).await.is_err() {
                        return Ok(());
                    }
                }
                (source, taken) = next(&mut reading), if reads && may_read => match taken {
                    Ok(Some(taken)) => {
                        waiting.push_back(taken.stored(&source.grpc));
                        reading = Some(Box::pin(source.next()));
                    }
                    Ok(None) => reading = None,
                    Err(failure) => {
                        reading = None;
                        end = Err(failure);
                    }
                },
                else => return end,
            }
        }
    }
}

/// Waits for the message that is being read.
async fn next<F: Future + Unpin>(reading: &mut Option<F>) -> F::Output {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

/// Where batches come from.
struct Source<S: Sink> {
    messages: Messages<Incoming>,
    grpc: Grpc<S>,
    encoding: Encoding,
    credential: Credential,
    answers: Answers,
}

/// A batch that was read.
struct Taken<A> {
    admission: A,
    sequence: u64,
    /// Where it goes, or why it does not.
    project: Result<ProjectId, Failure>,
    payload: Bytes,
    /// Bytes as they came, and since when.
    received: u64,
    started: Instant,
}

impl<S: Sink> Source<S> {
    /// Reads the next batch; `None` at the end of the stream.
    async fn next(mut self) -> (Self, Result<Option<Taken<S::Admission>>, Failure>) {
        let taken = self.take().await;
        (self, taken)
    }

    async fn take(&mut self) -> Result<Option<Taken<S::Admission>>, Failure> {
        let Some(announced) = self.messages.announced().await? else {
            return Ok(None);
        };
        let inner = std::sync::Arc::clone(&self.grpc.inner);
        let limit = inner.message_max;
        if announced.length > limit {
            return Err(too_large(limit));
        }
        let started = Instant::now();
        let mut admission = self.admitted(announced).await?;
        let read = self.messages.message(announced, &mut admission);
        let message = timeout(inner.request_timeout, read).await;
        let message = message.map_err(|_elapsed| Failure::DeadlineExceeded)??;
        let received = (message.len() + PREFIX_LENGTH) as u64;
        let encoding = match (announced.is_compressed, self.encoding) {
            (false, _) => Encoding::Identity,
            (true, Encoding::Identity) => {
                return Err(malformed("a compressed message without grpc-encoding"));
            }
            (true, encoding) => encoding,
        };
        let heavy = &inner.heavy;
        let decoded = heavy.decode(admission, encoding, None, message, limit);
        let (admission, message) = decoded.await?;
        let batch = native::batch(&message)?;
        let Credential { headers, uri } = &self.credential;
        let project = caller::project_of(&inner.gate, headers, uri).await;
        let project = match project {
            Ok(project) => Ok(project),
            Err(failure @ (Failure::Throttled { .. } | Failure::OverQuota { .. })) => Err(failure),
            Err(failure) => return Err(failure),
        };
        Ok(Some(Taken {
            admission,
            sequence: batch.sequence,
            project,
            payload: batch.payload,
            received,
            started,
        }))
    }

    /// Waits until a message of this length may be held, and tells the client why it waits.
    async fn admitted(&self, announced: Announced) -> Result<S::Admission, Failure> {
        loop {
            let sink = &self.grpc.inner.sink;
            let failure = match sink.admit(Transport::Grpc, announced.length as u64) {
                Ok(admission) => return Ok(admission),
                Err(failure @ Failure::Overloaded { .. }) => failure,
                Err(failure) => return Err(failure),
            };
            let after = failure.retry_after().unwrap_or(RETRY_AFTER);
            let busy = proto::Busy {
                message: failure.to_string(),
                retry_after_ms: milliseconds(after),
            };
            if self.answers.say(Event::Busy(busy)).await.is_err() {
                return Err(failure);
            }
            tokio::time::sleep(after).await;
        }
    }
}

impl<A: Budget> Taken<A> {
    /// Stores the batch.
    fn stored<S: Sink<Admission = A>>(
        self,
        grpc: &Grpc<S>,
    ) -> impl Future<Output = Outcome> + Send + use<A, S> {
        let inner = std::sync::Arc::clone(&grpc.inner);
        let Self {
            mut admission,
            sequence,
            project,
            payload,
            received,
            started,
        } = self;
        async move {
            let export = async {
                let project = project?;
                let payload = as_otlp(&mut admission, payload)?;
                let sink = &inner.sink;
                sink.export(&mut admission, Signal::Traces, project, payload)
                    .await
            };
            let accepted = timeout(inner.request_timeout, export).await;
            let accepted = accepted.unwrap_or(Err(Failure::DeadlineExceeded));
            let code = accepted
                .as_ref()
                .map_or_else(Failure::grpc_code, |_| tonic::Code::Ok);
            let code = u16::try_from(i32::from(code)).unwrap_or(u16::MAX);
            let observer = &inner.observer;
            observer.request_finished(Transport::Grpc, code, received, started.elapsed());
            Outcome { sequence, accepted }
        }
    }
}

/// A native request in the form of OTLP.
///
/// # Errors
/// What [`protobuf::as_otlp`] and the budget say.
pub(super) fn as_otlp(admission: &mut impl Budget, payload: Bytes) -> Result<Bytes, Failure> {
    let written = protobuf::as_otlp(&payload, &mut |bytes| admission.reserve(bytes))?;
    Ok(written.map_or(payload, Bytes::from))
}
