//! Ends streams of the health and reflection services when the daemon drains; a watching client
//! would keep its connection open until the deadline of the drain otherwise.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;

use crate::otlp::Failure;

/// The response, with its body ended by a status once the token is cancelled.
pub(super) fn shutdown(response: Response<Body>, token: CancellationToken) -> Response<Body> {
    response.map(|inner| {
        Body::new(UntilShutdown {
            inner: Some(inner),
            cancelled: Box::pin(token.cancelled_owned()),
        })
    })
}

struct UntilShutdown {
    /// Gone once the stream was ended.
    inner: Option<Body>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl HttpBody for UntilShutdown {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        // What is there already goes out, also during the drain.
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        if self.cancelled.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.inner = None;
        let mut trailers = HeaderMap::new();
        let added = Failure::ShuttingDown
            .grpc_status()
            .add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}
