//! The seam between the receivers and what is behind them.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::model::ProjectId;
use crate::otlp::{Failure, Signal};
use crate::pipeline::{Accepted, Admission, Ingest, Transport};

/// Takes exports; [`Ingest`] in the daemon, a double in tests.
pub trait Sink: Clone + Send + Sync + 'static {
    /// A request that was let in; gives back what it holds when dropped.
    type Admission: Budget;

    /// Lets a request in, before its body is read. `announced_bytes` is what is known of the size
    /// of its payload, at least; zero when nothing is.
    ///
    /// # Errors
    /// [`Failure::ShuttingDown`], [`Failure::Overloaded`].
    fn admit(&self, transport: Transport, announced_bytes: u64)
    -> Result<Self::Admission, Failure>;

    /// Takes an encoded export request of a signal; returns once it is durable.
    ///
    /// # Errors
    /// See [`Ingest::export`].
    fn export(
        &self,
        admission: &mut Self::Admission,
        signal: Signal,
        project: ProjectId,
        payload: Bytes,
    ) -> impl Future<Output = Result<Accepted, Failure>> + Send;
}

/// The memory one request may hold.
pub trait Budget: Send + 'static {
    /// Accounts for bytes about to be held.
    ///
    /// # Errors
    /// [`Failure::Overloaded`].
    fn reserve(&mut self, bytes: usize) -> Result<(), Failure>;
}

impl Sink for Ingest {
    type Admission = Admission;

    fn admit(&self, transport: Transport, announced_bytes: u64) -> Result<Admission, Failure> {
        Self::admit(self, transport, announced_bytes)
    }

    fn export(
        &self,
        admission: &mut Admission,
        signal: Signal,
        project: ProjectId,
        payload: Bytes,
    ) -> impl Future<Output = Result<Accepted, Failure>> + Send {
        Self::export(self, admission, signal, project, payload)
    }
}

impl Budget for Admission {
    fn reserve(&mut self, bytes: usize) -> Result<(), Failure> {
        Self::reserve(self, bytes)
    }
}

/// Hears of every answered export request.
pub trait RequestObserver: Send + Sync + 'static {
    /// `code` is the gRPC code for gRPC and the status for HTTP; `bytes` the size of the body as it
    /// came, as far as it was read.
    fn request_finished(&self, transport: Transport, code: u16, bytes: u64, took: Duration);
}

/// Nobody listens.
impl RequestObserver for () {
    fn request_finished(&self, _: Transport, _: u16, _: u64, _: Duration) {}
}

impl RequestObserver for crate::telemetry::Metrics {
    fn request_finished(&self, transport: Transport, code: u16, bytes: u64, took: Duration) {
        self.receiver_request(transport, code, bytes, took);
    }
}
