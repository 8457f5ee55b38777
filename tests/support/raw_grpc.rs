//! gRPC by hand: any bytes, any headers, over HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::otlp::runtime;

pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http_status: u16,
    /// `grpc-status`, from the head or the trailers.
    pub(crate) status: Option<i32>,
    pub(crate) message: String,
    pub(crate) details: Option<String>,
    pub(crate) headers: hyper::HeaderMap,
}

/// A message with its five bytes of frame.
pub(crate) fn frame(compressed: bool, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("less than 4 GiB");
    let mut frame = vec![u8::from(compressed)];
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    frame
}

/// Sends one request on a connection of its own.
pub(crate) fn send(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let runtime = runtime();
    let answer = runtime.block_on(async {
        tokio::time::timeout(
            Duration::from_secs(20),
            exchange(address, path, headers, body),
        )
        .await
    });
    answer.expect("an answer in time").expect("an answer")
}

async fn exchange(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, hyper::Error> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let mut request =
        hyper::Request::post(format!("http://{address}{path}")).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .expect("a valid request");
    let (head, body) = sender.send_request(request).await?.into_parts();
    let trailers = body
        .collect()
        .await
        .ok()
        .and_then(|body| body.trailers().cloned());
    let find = |name: &str| {
        let found = head
            .headers
            .get(name)
            .or_else(|| trailers.as_ref()?.get(name));
        found
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    Ok(Answer {
        http_status: head.status.as_u16(),
        status: find("grpc-status").and_then(|code| code.parse().ok()),
        message: find("grpc-message").unwrap_or_default(),
        details: find("grpc-status-details-bin"),
        headers: head.headers.clone(),
    })
}
