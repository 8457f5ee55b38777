//! Services of others on the gRPC port, and the wire as they see it: framing, compression and limits
//! are the same for all.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use tonic::body::Body;

use super::super::body::{PREFIX_LENGTH, malformed, read_message};
use super::super::decode::Encodings;
use super::super::{Budget, GrpcConfig, Receiver};
use super::unary::Unary;
use super::{accepts_gzip, failed, timeout};
use crate::net::compress;
use crate::otlp::Failure;
use crate::otlp::compression::{self, Encoding};

/// Largest question, before and after decompression, in bytes.
const QUESTION_BYTES_MAX: usize = 64 << 10;
/// Larger answers are compressed beside the threads that serve everybody else, in bytes.
const INLINE_ANSWER_MAX: usize = 64 << 10;

/// A service that is served beside the receiver's own.
pub trait Service: fmt::Debug + Send + Sync + 'static {
    /// Its full name, as in the paths of its methods.
    fn name(&self) -> &'static str;

    /// Answers a call of one of its methods, whatever happens in it. Who calls was not looked at yet.
    fn call(&self, request: Request<Incoming>, wire: Wire) -> BoxFuture<'static, Response<Body>>;
}

impl Receiver {
    /// The same with another service on the gRPC port.
    #[must_use]
    pub fn beside(self, service: Arc<dyn Service>) -> Self {
        Self {
            beside: Some(service),
            ..self
        }
    }
}

/// How questions are read and answers are written.
#[derive(Debug, Clone)]
pub struct Wire {
    encodings: Encodings,
    /// The list of encodings as a header.
    accept_encoding: HeaderValue,
    request_timeout: Duration,
}

impl Wire {
    pub(super) fn new(config: &GrpcConfig) -> Self {
        let encodings = Encodings::new(&config.compression_algorithms);
        let accept_encoding = HeaderValue::from_str(encodings.names());
        Self {
            accept_encoding: accept_encoding
                .unwrap_or_else(|_| HeaderValue::from_static("identity")),
            encodings,
            request_timeout: config.request_timeout.0,
        }
    }

    /// Longest time that a unary call may take: what the client allows, up to the listener's limit.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the client's limit can't be read.
    pub fn time_limit(&self, headers: &HeaderMap) -> Result<Duration, Failure> {
        let asked = timeout::from_headers(headers)?;
        let limit = self.request_timeout;
        Ok(asked.map_or(limit, |asked| asked.min(limit)))
    }

    /// Longest time that the client allows; `None` when it does not say.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when it can't be read.
    pub fn asked_time_limit(&self, headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
        timeout::from_headers(headers)
    }

    /// Reads the one message of a call, 64 KiB at most.
    ///
    /// # Errors
    /// [`Failure::Malformed`], [`Failure::TooLarge`], [`Failure::UnsupportedEncoding`].
    pub async fn question(&self, headers: &HeaderMap, body: Incoming) -> Result<Bytes, Failure> {
        let encoding = self.encodings.select(headers.get("grpc-encoding"))?;
        let limit = QUESTION_BYTES_MAX;
        let (is_compressed, message) = read_message(body, limit, &mut Small, &mut 0).await?;
        match (is_compressed, encoding) {
            (false, _) => Ok(message),
            (true, Encoding::Identity) => {
                Err(malformed("a compressed message without grpc-encoding"))
            }
            (true, encoding) => compression::decode(encoding, message, limit, &mut |_| Ok(())),
        }
    }

    /// Answers a call with one message, compressed where the client reads that and it is worth it.
    pub async fn answer(&self, asked: &HeaderMap, message: Bytes) -> Response<Body> {
        let is_compressed = accepts_gzip(asked) && message.len() as u64 >= compress::WORTH_BYTES;
        let message = match is_compressed {
            false => message,
            true if message.len() <= INLINE_ANSWER_MAX => compress::gzip(&message),
            true => {
                let work = tokio::task::spawn_blocking(move || compress::gzip(&message));
                match work.await {
                    Ok(compressed) => compressed,
                    Err(error) => {
                        tracing::error!(%error, "compressing an answer panicked");
                        return self.failed(&Failure::Internal);
                    }
                }
            }
        };
        self.named(unary(&message, is_compressed))
    }

    /// Answers a call with messages, each framed by [`frame`], as they come; a failure ends it.
    pub fn stream<S>(&self, messages: S) -> Response<Body>
    where
        S: Stream<Item = Result<Bytes, Failure>> + Send + 'static,
    {
        let frames = stream::unfold(Some(Box::pin(messages)), |messages| async move {
            let mut messages = messages?;
            Some(match messages.next().await {
                Some(Ok(message)) => (Frame::data(message), Some(messages)),
                Some(Err(failure)) => (Frame::trailers(trailers(Err(failure))), None),
                None => (Frame::trailers(trailers(Ok(()))), None),
            })
        });
        let frames = frames.map(Ok::<_, std::convert::Infallible>);
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, grpc);
        self.named(response)
    }

    /// Answers a call that failed.
    #[must_use]
    pub fn failed(&self, failure: &Failure) -> Response<Body> {
        self.named(failed(failure))
    }

    /// Says which encodings are read.
    fn named(&self, mut response: Response<Body>) -> Response<Body> {
        let accept = self.accept_encoding.clone();
        response
            .headers_mut()
            .insert("grpc-accept-encoding", accept);
        response
    }
}

/// What a question holds is too little to be accounted for.
struct Small;

impl Budget for Small {
    fn reserve(&mut self, _bytes: usize) -> Result<(), Failure> {
        Ok(())
    }
}

/// Adds a message, not compressed, behind its five bytes of frame.
pub fn frame(out: &mut BytesMut, message: &impl prost::Message) {
    let length = message.encoded_len();
    out.reserve(PREFIX_LENGTH + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(out);
}

/// The answer to a call that succeeded: one message.
pub(super) fn unary(message: &[u8], is_compressed: bool) -> Response<Body> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = BytesMut::with_capacity(PREFIX_LENGTH + message.len());
    framed.put_u8(u8::from(is_compressed));
    framed.put_u32(length);
    framed.extend_from_slice(message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Unary {
        message: Some(framed.freeze()),
        trailers: Some(trailers),
    };
    let mut response = Response::new(Body::new(body));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    if is_compressed {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert("grpc-encoding", gzip);
    }
    response
}

/// The end of a stream, with its status.
pub(super) fn trailers(ended: Result<(), Failure>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    let status = match ended {
        Ok(()) => tonic::Status::new(tonic::Code::Ok, ""),
        Err(failure) => failure.grpc_status(),
    };
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", HeaderValue::from_static("13"));
    }
    trailers
}
