//! Applies the rules of the redaction to requests on their way to the log.

use std::sync::Arc;

use bytes::Bytes;

use super::Admission;
use crate::model::ProjectId;
use crate::otlp::{Failure, Signal};
use crate::processors::memory_limiter::Reservation;
use crate::processors::redaction::Redactor;
use crate::telemetry::metrics::{Metrics, RedactionCounters};

/// Larger requests are searched by a blocking thread: a search takes a millisecond or more a megabyte.
const INLINE_MAX: usize = 512 << 10;

/// The rules, and what they did.
#[derive(Debug)]
pub(super) struct Redaction {
    redactor: Redactor,
    counters: RedactionCounters,
}

impl Redaction {
    pub(super) fn new(redactor: Redactor, metrics: &Metrics) -> Self {
        let counters = metrics.redaction(redactor.names());
        Self { redactor, counters }
    }

    /// The request as it may be kept.
    ///
    /// # Errors
    /// See [`Redactor::redact`].
    pub(super) async fn apply(
        self: &Arc<Self>,
        admission: &mut Admission,
        project: ProjectId,
        signal: Signal,
        payload: Bytes,
    ) -> Result<Bytes, Failure> {
        if payload.len() <= INLINE_MAX {
            return self.redact(&mut admission.reservation, project, signal, payload);
        }
        let this = Arc::clone(self);
        // Of its own, since the work goes on when the client leaves.
        let mut reservation = admission.reservation.another();
        let work = move || {
            let redacted = this.redact(&mut reservation, project, signal, payload);
            (redacted, reservation)
        };
        let worked = tokio::task::spawn_blocking(work).await;
        let (redacted, reservation) = worked.map_err(|error| {
            tracing::error!(%error, "redacting a request panicked");
            Failure::Internal
        })?;
        admission.reservation.take_over(reservation);
        redacted
    }

    fn redact(
        &self,
        reservation: &mut Reservation,
        project: ProjectId,
        signal: Signal,
        payload: Bytes,
    ) -> Result<Bytes, Failure> {
        let mut reserve = |bytes| reservation.reserve(bytes);
        let redacted = self
            .redactor
            .redact(project, signal, &payload, &mut reserve)?;
        let tally = redacted.tally;
        self.counters.redacted(tally.values(), tally.scanned_bytes);
        Ok(redacted.request.map_or(payload, Bytes::from))
    }
}
