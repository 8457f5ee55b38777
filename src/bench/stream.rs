//! Sends requests as batches of a native stream, one stream a connection, and opens it again when it is
//! lost. Whoever waits for an answer reads for all, so no task of its own is needed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use prost::Message as _;
use prost::encoding::encode_varint;
use tokio::sync::{mpsc, oneshot};

use super::target::{Answer, builder, retryable};
use crate::receivers::native::proto::StreamResponse;
use crate::receivers::native::proto::stream_response::Event;

/// Pieces of requests that wait to be sent.
const PIECES_MAX: usize = 64;
/// Tags of `StreamRequest.batch` and `Batch.sequence`.
const BATCH_TAG: u8 = 0x0a;
const SEQUENCE_TAG: u64 = 100 << 3;
const PREFIX_LENGTH: usize = 5;

type Body = StreamBody<BoxStream<'static, Result<Frame<Bytes>, std::convert::Infallible>>>;

/// A connection with one stream.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client<HttpConnector, Body>,
    uri: Uri,
    headers: HeaderMap,
    live: tokio::sync::Mutex<Option<Arc<Live>>>,
    next: AtomicU64,
}

/// A stream that is open.
#[derive(Debug)]
struct Live {
    pieces: mpsc::Sender<Bytes>,
    answers: tokio::sync::Mutex<Answers>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

/// What the server says.
#[derive(Debug)]
struct Answers {
    body: Incoming,
    bytes: BytesMut,
}

impl Connection {
    pub(super) fn new(connector: HttpConnector, uri: Uri, headers: HeaderMap) -> Self {
        Self {
            client: builder(true).build(connector),
            uri,
            headers,
            live: tokio::sync::Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Sends an encoded request as one batch.
    pub(super) async fn send(&self, payload: Bytes, timeout: Duration) -> Answer {
        match tokio::time::timeout(timeout, self.exchange(payload)).await {
            Ok(answer) => answer,
            Err(_) => {
                *self.live.lock().await = None;
                retryable("client timeout")
            }
        }
    }

    async fn exchange(&self, payload: Bytes) -> Answer {
        let live = match self.live().await {
            Ok(live) => live,
            Err(reason) => return retryable(reason),
        };
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, mut answer) = oneshot::channel();
        live.waiting().insert(sequence, sender);
        let (head, tail) = framed(payload.len(), sequence);
        // In one piece, or those of two batches would mix.
        let mut message = BytesMut::with_capacity(head.len() + payload.len() + tail.len());
        message.extend_from_slice(&head);
        message.extend_from_slice(&payload);
        message.extend_from_slice(&tail);
        if live.pieces.send(message.freeze()).await.is_err() {
            self.lost(&live).await;
            return retryable("connection lost");
        }
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    return answer.unwrap_or_else(|_| retryable("connection lost"));
                }
                mut answers = live.answers.lock() => {
                    if let Ok(answer) = answer.try_recv() {
                        return answer;
                    }
                    if live.read(&mut answers).await.is_err() {
                        drop(answers);
                        self.lost(&live).await;
                    }
                }
            }
        }
    }

    /// The stream, opened if there is none.
    async fn live(&self) -> Result<Arc<Live>, &'static str> {
        let mut current = self.live.lock().await;
        if let Some(live) = &*current {
            return Ok(Arc::clone(live));
        }
        let (pieces, receiver) = mpsc::channel::<Bytes>(PIECES_MAX);
        let sent = stream::unfold(receiver, async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((Ok(Frame::data(piece)), receiver))
        });
        let mut request = Request::new(StreamBody::new(sent.boxed()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let response = self.client.request(request).await;
        let response = response.map_err(|error| {
            if error.is_connect() {
                "cannot connect"
            } else {
                "connection lost"
            }
        })?;
        if response.headers().contains_key("grpc-status") {
            return Err("the stream was refused");
        }
        let live = Arc::new(Live {
            pieces,
            answers: tokio::sync::Mutex::new(Answers {
                body: response.into_body(),
                bytes: BytesMut::new(),
            }),
            waiting: Mutex::default(),
        });
        *current = Some(Arc::clone(&live));
        Ok(live)
    }

    /// Gives a stream up: whoever waits on it hears so.
    async fn lost(&self, live: &Arc<Live>) {
        let mut current = self.live.lock().await;
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(now, live)) {
            *current = None;
        }
        live.waiting().clear();
    }
}

impl Live {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one message and tells who waits for it.
    async fn read(&self, answers: &mut Answers) -> Result<(), &'static str> {
        let (sequence, answer) = match answers.next().await?.event {
            Some(Event::Acknowledged(answer)) => {
                let rejected = answer.partial_success.map_or(0, |it| it.rejected_spans);
                let rejected = u64::try_from(rejected).unwrap_or(0);
                (answer.sequence, Answer::Acknowledged { rejected })
            }
            Some(Event::Refused(refused)) => {
                let code = "refused".to_owned();
                let answer = match refused.retry_after_ms {
                    Some(after) => Answer::Retryable {
                        code,
                        after: Some(Duration::from_millis(after)),
                    },
                    None => Answer::Failed {
                        code,
                        message: refused.message,
                    },
                };
                (refused.sequence, answer)
            }
            Some(Event::GoAway(_)) => return Err("the server goes away"),
            Some(Event::Opened(_) | Event::Busy(_)) | None => return Ok(()),
        };
        if let Some(waiting) = self.waiting().remove(&sequence) {
            // Whoever gave up does not hear it.
            drop(waiting.send(answer));
        }
        Ok(())
    }
}

impl Answers {
    async fn next(&mut self) -> Result<StreamResponse, &'static str> {
        loop {
            if let Some(message) = self.take() {
                return StreamResponse::decode(message).map_err(|_| "not a stream of ours");
            }
            let frame = self.body.frame().await.and_then(Result::ok);
            match frame.map(Frame::into_data) {
                Some(Ok(piece)) => self.bytes.extend_from_slice(&piece),
                _ => return Err("the stream ended"),
            }
        }
    }

    /// A message that is there whole.
    fn take(&mut self) -> Option<Bytes> {
        let length = self.bytes.get(1..PREFIX_LENGTH)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if self.bytes.len() - PREFIX_LENGTH < length {
            return None;
        }
        self.bytes.advance(PREFIX_LENGTH);
        Some(self.bytes.split_to(length).freeze())
    }
}

/// What stands before and behind an encoded request that is a batch of a stream.
fn framed(length: usize, sequence: u64) -> (BytesMut, BytesMut) {
    let mut tail = BytesMut::new();
    encode_varint(SEQUENCE_TAG, &mut tail);
    encode_varint(sequence, &mut tail);
    let batch = length + tail.len();
    let mut batch_header = BytesMut::new();
    batch_header.put_u8(BATCH_TAG);
    encode_varint(batch as u64, &mut batch_header);
    let message = batch + batch_header.len();
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32(u32::try_from(message).unwrap_or(u32::MAX));
    head.extend_from_slice(&batch_header);
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receivers::native::proto::{ExportRequest, ResourceSpans, StreamRequest};

    #[test]
    fn a_request_between_head_and_tail_is_a_batch() {
        let request = ExportRequest {
            resource_spans: vec![ResourceSpans {
                schema_url: "x".repeat(300),
                ..ResourceSpans::default()
            }],
        };
        let payload = request.encode_to_vec();
        let (head, tail) = framed(payload.len(), 77);
        let message = [&head[PREFIX_LENGTH..], &payload, &tail].concat();
        assert_eq!(
            head[1..PREFIX_LENGTH],
            u32::try_from(message.len()).unwrap().to_be_bytes()
        );
        let batch = StreamRequest::decode(message.as_slice())
            .unwrap()
            .batch
            .unwrap();
        assert_eq!(
            (batch.sequence, batch.resource_spans),
            (77, request.resource_spans)
        );
    }
}
