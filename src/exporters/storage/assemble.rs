//! Turns log records into batches of rows: reads each request where it lies, takes the columns,
//! applies the limits. Pure: the same records always give the same rows.
//!
//! Rows take many times the bytes of a small span, so only a bounded number exists at a time:
//! records with more spans are handed on in slices.

mod anew;
mod attributes;
mod calls;
mod collectors;
mod events;
mod metrics;
mod origin;
mod sampling;

use std::borrow::Cow;
use std::convert::Infallible;

use crate::model::span::{Kind, Status, TimeMarks};
use crate::otlp::protobuf::{Request, ResourceSpans, Scope, ScopeSpans, Span};
use crate::pricing;
use crate::processors::limits;
use crate::queue::{LogId, PayloadKind, Position, Record};
use crate::semconv;
use crate::storage::calls::scope_digest;
use crate::storage::{Batch, SpanRow};

pub use anew::Remapper;
use attributes::{cut, read_attributes};
use collectors::Collectors;
use origin::{resource_row, scope_row, service_of};
pub use sampling::Sampling;

/// Spans, log records or metrics in a request, by a look at the outermost fields only.
#[must_use]
pub fn count_items(request: &[u8]) -> u64 {
    let scopes = Request::new(request)
        .resource_spans()
        .flat_map(|resource| resource.scope_spans());
    scopes.map(|scope| scope.spans().count() as u64).sum()
}

/// Builds batches.
#[derive(Debug, Clone, Copy)]
pub struct Assembler<'l> {
    log: LogId,
    partition: u32,
    limits: &'l limits::Config,
    prices: &'l pricing::Book,
    sampling: Option<Sampling<'l>>,
}

/// Some of the rows of the records, as a batch.
///
/// The batch's `next` is the first record that is not wholly in this slice and those before it, or
/// zero when no record ends in this slice: the checkpoint then stays where it is. A crash between
/// two slices of a record replays that record, whose stored spans are recognised. No two slices have
/// the same `next` but zero, so that a checkpoint tells which of them a store has.
#[derive(Debug)]
pub struct Slice<'a> {
    /// What is written in one transaction.
    pub batch: Batch<'a>,
    /// Spans and log records in it that had to be cut to the limits.
    pub truncated: u64,
    /// The records that end in this slice.
    pub completed: &'a [Record],
}

/// What takes the slices, in order.
type Sink<'s, 'a, E> = &'s mut dyn FnMut(Slice<'a>) -> Result<(), E>;

/// A batch in the making.
struct Building<'a, 's, E> {
    batch: Batch<'a>,
    log: LogId,
    partition: u32,
    limits: &'s limits::Config,
    sampling: Option<Sampling<'s>>,
    columns: Collectors<'a, 's>,
    rows_max: usize,
    truncated: u64,
    records: &'a [Record],
    /// Records whose spans have all been taken.
    finished: usize,
    /// Records that ended in slices handed on before.
    completed: usize,
    sink: Sink<'s, 'a, E>,
    /// Where series are among the rows built so far.
    metric_places: metrics::Places,
}

/// Where a span lies.
struct Envelope<'e, 'a> {
    record: &'a Record,
    resource: &'e ResourceSpans<'a>,
    scope: &'e ScopeSpans<'a>,
    scope_digest: u32,
    /// The name of the service, where sampling may ask for it.
    service: Option<&'e str>,
}

/// Where the rows of an envelope are in the batch, once it has any: an envelope without a span
/// that can be stored leaves no row behind.
#[derive(Default)]
struct Place {
    resource: Option<usize>,
    scope: Option<usize>,
}

impl<'l> Assembler<'l> {
    /// Makes an assembler for one log partition.
    #[must_use]
    pub fn new(partition: u32, limits: &'l limits::Config) -> Self {
        Self {
            log: LogId::default(),
            partition,
            limits,
            prices: pricing::Book::builtin(),
            sampling: None,
        }
    }

    /// Says what model calls cost, in place of the built-in table alone.
    #[must_use]
    pub fn priced(mut self, prices: &'l pricing::Book) -> Self {
        self.prices = prices;
        self
    }

    /// Says which spans are sampled out.
    #[must_use]
    pub fn sampled(mut self, sampling: Option<Sampling<'l>>) -> Self {
        self.sampling = sampling;
        self
    }

    /// Says which life of the log the records are of.
    #[must_use]
    pub fn of_log(mut self, log: LogId) -> Self {
        self.log = log;
        self
    }

    /// Builds one batch of some consecutive records, however many spans they have; also answers
    /// how many of those had to be cut to the limits.
    #[must_use]
    pub fn assemble<'a>(&self, records: &'a [Record]) -> (Batch<'a>, u64) {
        let mut whole = (Batch::default(), 0);
        let sliced = self.slices(records, usize::MAX, &mut |slice| {
            whole = (slice.batch, slice.truncated);
            Ok::<(), Infallible>(())
        });
        match sliced {
            Ok(()) => whole,
            Err(never) => match never {},
        }
    }

    /// Builds the rows of some consecutive records, at most `rows_max` at a time, and hands them
    /// on. There is always a last slice, whose `next` follows the last record.
    ///
    /// # Errors
    /// The first that the sink answers; it is not called again.
    pub fn slices<'a, E>(
        &self,
        records: &'a [Record],
        rows_max: usize,
        sink: Sink<'_, 'a, E>,
    ) -> Result<(), E> {
        let mut building = Building {
            batch: Batch::default(),
            log: self.log,
            partition: self.partition,
            limits: self.limits,
            sampling: self.sampling,
            columns: Collectors::new(self.prices),
            rows_max: rows_max.max(1),
            truncated: 0,
            records,
            finished: 0,
            completed: 0,
            sink,
            metric_places: metrics::Places::default(),
        };
        building.batch.spans.reserve(spans_in(records, rows_max));
        for record in records {
            match record.kind {
                PayloadKind::OtlpTraces => building.add_record(record)?,
                PayloadKind::OtlpLogs => building.add_logs(record)?,
                PayloadKind::OtlpMetrics => building.add_metrics(record)?,
            }
            building.finished += 1;
        }
        building.hand_on()
    }
}

impl<'a, E> Building<'a, '_, E> {
    fn add_record(&mut self, record: &'a Record) -> Result<(), E> {
        for resource in Request::new(&record.payload).resource_spans() {
            let mut place = Place::default();
            let service = self.sampling.map(|_| service_of(&resource));
            for scope in resource.scope_spans() {
                let named = Scope::parse(&scope.scope).unwrap_or_default();
                let envelope = Envelope {
                    record,
                    resource: &resource,
                    scope: &scope,
                    scope_digest: scope_digest(named.name),
                    service: service.as_deref(),
                };
                place.scope = None;
                self.columns.of(record.project).scope(named.name);
                for message in scope.spans() {
                    self.add_span(message, &envelope, &mut place)?;
                }
            }
        }
        Ok(())
    }

    fn add_span(
        &mut self,
        message: &'a [u8],
        envelope: &Envelope<'_, 'a>,
        place: &mut Place,
    ) -> Result<(), E> {
        let Some(row) = self.span_row(envelope, message) else {
            return Ok(());
        };
        self.truncated += u64::from(matches!(row.message, Cow::Owned(_)));
        self.place_span(row, envelope, place)
    }

    /// Sees to it that the batch has room for a row; answers where its resource and scope are.
    fn make_room(
        &mut self,
        envelope: &Envelope<'_, 'a>,
        place: &mut Place,
    ) -> Result<(usize, usize), E> {
        let Envelope {
            record,
            resource,
            scope,
            ..
        } = envelope;
        if self.batch.rows() >= self.rows_max {
            self.hand_on()?;
            *place = Place::default();
        }
        let Batch {
            resources, scopes, ..
        } = &mut self.batch;
        let resource = *place.resource.get_or_insert_with(|| {
            resources.push(resource_row(record, resource));
            resources.len() - 1
        });
        let scope = *place.scope.get_or_insert_with(|| {
            scopes.push(scope_row(record, scope));
            scopes.len() - 1
        });
        Ok((resource, scope))
    }

    /// Gives what has been built to the sink and begins anew.
    fn hand_on(&mut self) -> Result<(), E> {
        let mut batch = std::mem::take(&mut self.batch);
        self.metric_places = metrics::Places::default();
        batch.log_id = self.log;
        batch.partition = self.partition;
        batch.remember_ns = self.sampling.map(|sampling| sampling.sampler.remember_ns);
        let completed = self.records.get(self.completed..self.finished);
        let completed = completed.unwrap_or_default();
        self.completed = self.finished;
        if let Some(last) = completed.last() {
            let unfinished = self.records.get(self.finished);
            batch.next = unfinished.map_or(Position(last.position.0 + 1), |next| next.position);
        }
        (self.sink)(Slice {
            batch,
            truncated: std::mem::take(&mut self.truncated),
            completed,
        })
    }

    /// The row of a span, not placed yet; `None` when its ids are invalid, which the client was
    /// told when it sent it.
    fn span_row(&mut self, envelope: &Envelope<'_, 'a>, message: &'a [u8]) -> Option<SpanRow<'a>> {
        let record = envelope.record;
        let span = Span::parse(message).ok()?;
        let ids = span.ids().ok()?;
        let (basics, over_limits) =
            read_attributes(&span, self.limits, self.columns.of(record.project));
        let name_bytes_max = self.limits.name_length.as_usize();
        let (start, end) = (span.start_unix_nano, span.end_unix_nano);
        Some(SpanRow {
            project: record.project,
            trace_id: ids.trace_id,
            span_id: ids.span_id,
            parent_span_id: ids.parent_span_id,
            name: Cow::Borrowed(cut(span.name, name_bytes_max)),
            kind: Kind::from_wire(span.kind),
            status: Status::from_wire(span.status.code),
            status_message: Cow::Borrowed(semconv::cut(span.status.message)),
            start_unix_nano: start,
            end_unix_nano: end,
            time_marks: TimeMarks::judge(start, end, record.received_unix_nano),
            resource: 0,
            scope: 0,
            received_unix_nano: record.received_unix_nano,
            sampled_out: self.sampled_out(envelope, ids.trace_id, span.trace_state, &basics),
            basics,
            message: if over_limits {
                self.truncate(message)
            } else {
                Cow::Borrowed(message)
            },
            scope_digest: 0,
            is_derived: false,
            is_recorded: false,
        })
    }

    fn truncate(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        match limits::truncate(message, self.limits) {
            Ok(shorter) => Cow::Owned(shorter),
            // The request was checked when it came in, so this is unreachable in practice; the
            // span is better kept whole than lost.
            Err(_) => Cow::Borrowed(message),
        }
    }
}

/// About how many spans there are in some records, not more than a batch takes: rows are large, and
/// to move them all each time that there is no room costs as much as to make them.
fn spans_in(records: &[Record], rows_max: usize) -> usize {
    const BYTES_OF_SPAN: usize = 1024;
    let traces = records
        .iter()
        .filter(|record| record.kind == PayloadKind::OtlpTraces);
    let bytes: usize = traces.map(|record| record.payload.len()).sum();
    (bytes / BYTES_OF_SPAN).min(rows_max)
}

#[cfg(test)]
mod tests;
