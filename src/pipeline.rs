//! From an admitted request to the log: per-span validation, exactly one counted outcome for
//! every span, and the answer for the client.

use bytes::Bytes;

use crate::model::ProjectId;
use crate::otlp::Failure;

/// How a request came in; label of the receiver's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with a protobuf body.
    HttpProtobuf,
    /// OTLP/HTTP with a JSON body.
    HttpJson,
}

/// What was accepted of a trace export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TracesAccepted {
    /// Spans rejected for good.
    pub rejected_spans: u64,
    /// Why, with the first offending id; empty when nothing was rejected.
    pub error_message: String,
}

/// The way into the pipeline, shared by all receivers.
#[derive(Debug, Clone)]
pub struct Ingest {}

/// A request that was let in. Holds its memory budget until dropped.
#[derive(Debug)]
pub struct Admission {}

impl Ingest {
    /// Lets a request in, before its body is read.
    ///
    /// # Errors
    /// [`Failure::ShuttingDown`], [`Failure::Overloaded`].
    pub fn admit(&self, _transport: Transport) -> Result<Admission, Failure> {
        Err(Failure::ShuttingDown)
    }

    /// Validates an `ExportTraceServiceRequest` span by span, appends it to the log and returns
    /// once it is durable.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the bytes are not such a message; [`Failure::Overloaded`] when
    /// the log can't take it now.
    pub async fn export_traces(
        &self,
        _admission: &mut Admission,
        _project: ProjectId,
        _payload: Bytes,
    ) -> Result<TracesAccepted, Failure> {
        Err(Failure::ShuttingDown)
    }
}

impl Admission {
    /// Accounts for bytes about to be held for this request.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when the budget for request bodies is used up.
    pub fn reserve(&mut self, _bytes: usize) -> Result<(), Failure> {
        Ok(())
    }
}
