//! From an admitted request to the log: validation item by item, exactly one counted outcome for
//! every span, log record and data point, and the answer for the client.
//!
//! A request that [`Ingest::export`] answers with `Ok` is durable. Dropping the future
//! before it answers (the client gave up, the deadline passed) may leave the request stored; the
//! client's retry is then recognised item by item.

pub mod clock;
mod redaction;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::Bytes;

use crate::auth::Quotas;
use crate::auth::quota::{Charge, Exceeded};
use crate::model::ProjectId;
use crate::otlp::protobuf::{self, Checked};
use crate::otlp::{Failure, Signal};
use crate::processors::memory_limiter::{MemoryLimiter, Reservation};
use crate::processors::redaction::Redactor;
use crate::queue::{self, Entry, Partitions, PayloadKind};
use crate::telemetry::metrics::{Metrics, Outcomes};

use clock::Clock;
use redaction::Redaction;

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

/// What was accepted of an export.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// Items rejected for good.
    pub rejected: u64,
    /// Why, with the first offending id, or what is odd about what was accepted; empty when there is
    /// nothing to say.
    pub error_message: String,
}

/// The way into the pipeline, shared by all receivers.
#[derive(Debug, Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: Partitions,
    limiter: Arc<MemoryLimiter>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// `None` when nothing is to be redacted.
    redaction: Option<Arc<Redaction>>,
    /// `None` when anybody may send anything.
    quotas: Option<Quotas>,
    /// Requests let in and not answered yet.
    in_flight: AtomicU64,
}

/// What is done with requests besides taking them.
#[derive(Debug, Default)]
pub struct Rules {
    /// What it finds is never written.
    pub redactor: Option<Redactor>,
    /// What projects may send.
    pub quotas: Option<Quotas>,
}

/// A request that was let in. Holds its memory budget until dropped.
#[derive(Debug)]
pub struct Admission {
    transport: Transport,
    reservation: Reservation,
    /// Dropped last, so that the bytes it reports no longer include the reservation.
    _counted: Counted,
}

/// Counts a request as in flight until dropped.
#[derive(Debug)]
struct Counted(Arc<Shared>);

/// Such values read as empty (common.proto); one line tells the operator, a line per request would
/// be a client's to write.
static STRING_TABLE_WARNING: Once = Once::new();

/// What a request needs of the log at least: less room than this is as good as none.
const REQUEST_BYTES_MIN: usize = 1 << 10;
/// When to come back to a full or failing log: it empties at the pace of the store.
const LOG_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Clients that were refused at once come back spread over this long; the clock's nanoseconds are
/// chance enough.
const LOG_RETRY_SPREAD_SECONDS: u64 = 3;

impl Ingest {
    /// Makes the way into a log.
    #[must_use]
    pub fn new(
        log: impl Into<Partitions>,
        limiter: Arc<MemoryLimiter>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self::with(log, limiter, clock, metrics, Rules::default())
    }

    /// As [`Ingest::new`], by rules.
    #[must_use]
    pub fn with(
        log: impl Into<Partitions>,
        limiter: Arc<MemoryLimiter>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        Rules { redactor, quotas }: Rules,
    ) -> Self {
        let redaction = redactor.map(|redactor| Arc::new(Redaction::new(redactor, &metrics)));
        let in_flight = AtomicU64::new(0);
        Self {
            shared: Arc::new(Shared {
                log: log.into(),
                limiter,
                clock,
                metrics,
                redaction,
                quotas,
                in_flight,
            }),
        }
    }

    /// Lets a request in, before its body is read. `announced_bytes` is what is known of the size
    /// of its payload, at least; zero when nothing is.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] under memory pressure, and when the log has no room for the request
    /// or can't be written; [`Failure::ShuttingDown`].
    pub fn admit(&self, transport: Transport, announced_bytes: u64) -> Result<Admission, Failure> {
        let reservation = self.shared.limiter.admit()?;
        let payload_bytes = usize::try_from(announced_bytes).unwrap_or(usize::MAX);
        let room = self
            .shared
            .log
            .check_room(payload_bytes.max(REQUEST_BYTES_MIN));
        room.map_err(|error| failure_of(&error, self.shared.clock.unix_nano()))?;
        let shared = Arc::clone(&self.shared);
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        shared.sample_in_flight();
        Ok(Admission {
            transport,
            reservation,
            _counted: Counted(shared),
        })
    }

    /// Validates an export request item by item, redacts it if that is configured, appends it to
    /// the log and returns once it is durable.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the bytes are not such a message; [`Failure::Overloaded`] when
    /// the log can't take it now; [`Failure::Throttled`], [`Failure::OverQuota`];
    /// [`Failure::ShuttingDown`].
    pub async fn export(
        &self,
        admission: &mut Admission,
        signal: Signal,
        project: ProjectId,
        payload: Bytes,
    ) -> Result<Accepted, Failure> {
        let checked = protobuf::check(signal, &payload).map_err(|error| Failure::Malformed {
            field: Some(error.path()),
            message: error.to_string(),
        })?;
        if checked.uses_string_table {
            STRING_TABLE_WARNING.call_once(|| {
                tracing::warn!("a client refers to a string table, which only profiles have");
            });
        }
        let mut outcome = Outcome::refused(
            &self.shared.metrics,
            admission.transport,
            signal,
            checked.items,
        );
        if checked.rejected < checked.items {
            let accepted = (checked.items - checked.rejected, payload.len() as u64);
            let charge = self.charge(project, signal, accepted)?;
            let payload = self.redacted(admission, project, signal, payload).await?;
            let payload = named_only(admission, signal, &checked, payload)?;
            self.append(project, signal, payload).await?;
            if let Some(charge) = charge {
                charge.keep();
            }
            let metrics = &self.shared.metrics;
            metrics.receiver_unnamed_attributes(admission.transport, checked.empty_keys);
        }
        outcome.items = Outcomes {
            accepted: checked.items - checked.rejected,
            rejected: checked.rejected,
            refused: 0,
        };
        Ok(accepted(signal, &checked))
    }

    /// Reports the requests in flight to the metrics.
    pub fn sample_in_flight(&self) {
        self.shared.sample_in_flight();
    }

    /// Charges the project for items and bytes.
    fn charge(
        &self,
        project: ProjectId,
        signal: Signal,
        (items, bytes): (u64, u64),
    ) -> Result<Option<Charge<'_>>, Failure> {
        let quotas = self.shared.quotas.as_ref();
        let charged = quotas.map(|quotas| quotas.charge(project, signal.as_str(), items, bytes));
        Ok(charged.transpose()?)
    }

    /// The request without what must not be kept.
    async fn redacted(
        &self,
        admission: &mut Admission,
        project: ProjectId,
        signal: Signal,
        payload: Bytes,
    ) -> Result<Bytes, Failure> {
        match &self.shared.redaction {
            Some(redaction) => redaction.apply(admission, project, signal, payload).await,
            None => Ok(payload),
        }
    }

    async fn append(
        &self,
        project: ProjectId,
        signal: Signal,
        payload: Bytes,
    ) -> Result<(), Failure> {
        let received_unix_nano = self.shared.clock.unix_nano();
        let entry = Entry {
            project,
            received_unix_nano,
            kind: match signal {
                Signal::Traces => PayloadKind::OtlpTraces,
                Signal::Logs => PayloadKind::OtlpLogs,
                Signal::Metrics => PayloadKind::OtlpMetrics,
            },
            payload,
        };
        self.shared
            .log
            .append(entry)
            .await
            .map(drop)
            .map_err(|error| failure_of(&error, received_unix_nano))
    }
}

/// Counts the items of a request when it is dropped: as refused, unless they were given another
/// outcome before. That holds for a request whose client left before it was answered, too.
struct Outcome<'m> {
    metrics: &'m Metrics,
    transport: Transport,
    signal: Signal,
    items: Outcomes,
}

impl<'m> Outcome<'m> {
    fn refused(metrics: &'m Metrics, transport: Transport, signal: Signal, items: u64) -> Self {
        let items = Outcomes {
            refused: items,
            ..Outcomes::default()
        };
        Self {
            metrics,
            transport,
            signal,
            items,
        }
    }
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.metrics
            .receiver_items(self.signal, self.transport, self.items);
    }
}

/// The request without attributes that have no key (OpenTelemetry specification, "Attribute": keys
/// are non-empty). Nearly every request stays as it came.
fn named_only(
    admission: &mut Admission,
    signal: Signal,
    checked: &Checked,
    payload: Bytes,
) -> Result<Bytes, Failure> {
    if checked.empty_keys == 0 {
        return Ok(payload);
    }
    admission.reserve(payload.len().saturating_mul(2))?;
    let rewritten = protobuf::without_empty_keys(signal, &payload)?;
    Ok(rewritten.map_or(payload, Bytes::from))
}

fn accepted(signal: Signal, checked: &Checked) -> Accepted {
    let items = signal.items();
    if let Some(first) = &checked.first_point {
        return Accepted {
            rejected: checked.rejected,
            error_message: format!(
                "rejected {} of {} {items}; first: {first}",
                checked.rejected, checked.items
            ),
        };
    }
    let error_message = match &checked.first_rejection {
        Some(first) if checked.rejected > 0 => format!(
            "rejected {} of {} {items}; first: {first}",
            checked.rejected, checked.items
        ),
        Some(first) => format!(
            "kept {} of {} {items} without their trace or span; first: {first}",
            checked.unlinked, checked.items
        ),
        None => String::new(),
    };
    Accepted {
        rejected: checked.rejected,
        error_message,
    }
}

/// What a failed append means for the client. Everything about the log may pass, except that the
/// record does not fit into it at all.
fn failure_of(error: &queue::Error, now_unix_nano: u64) -> Failure {
    let spread = Duration::from_secs(now_unix_nano % LOG_RETRY_SPREAD_SECONDS);
    let overloaded = |message: &str| Failure::Overloaded {
        message: message.to_owned(),
        retry_after: LOG_RETRY_AFTER + spread,
    };
    match error {
        queue::Error::Closed => Failure::ShuttingDown,
        queue::Error::TooLarge { max, .. } => Failure::TooLarge { limit_bytes: *max },
        queue::Error::Full { .. } => overloaded("the log is full: the store is behind"),
        _ => overloaded("the log can't be written now"),
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        let message = exceeded.to_string();
        match exceeded.retry_after() {
            Some(retry_after) => Self::Throttled {
                message,
                retry_after,
            },
            None => Self::OverQuota { message },
        }
    }
}

impl Shared {
    fn sample_in_flight(&self) {
        let requests = self.in_flight.load(Ordering::Relaxed);
        self.metrics
            .receiver_in_flight(requests, self.limiter.in_flight_bytes());
    }
}

impl Admission {
    /// Accounts for bytes about to be held for this request.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] when the budget for request bodies is used up.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), Failure> {
        self.reservation.reserve(bytes)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.sample_in_flight();
    }
}
