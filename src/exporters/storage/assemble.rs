//! Turns log records into batches of rows: reads each request where it lies, takes the columns,
//! applies the limits. Pure: the same records always give the same rows.
//!
//! Rows take many times the bytes of a small span, so only a bounded number exists at a time:
//! records with more spans are handed on in slices.

mod anew;
mod calls;
mod collectors;
mod events;
mod metrics;
mod origin;

use std::borrow::Cow;
use std::convert::Infallible;

use crate::model::span::{Basics, Kind, Status, TimeMarks};
use crate::otlp::protobuf::{
    AnyValue, KeyValue, KeyValues, Request, ResourceSpans, Scope, ScopeSpans, Span,
};
use crate::pricing;
use crate::processors::limits;
use crate::queue::{LogId, PayloadKind, Position, Record};
use crate::semconv::{self, EventKind, SpanFacts};
use crate::storage::calls::scope_digest;
use crate::storage::{Batch, SpanRow};

pub use anew::Remapper;
use collectors::Collectors;
use origin::{resource_row, scope_row};

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
        }
    }

    /// Says what model calls cost, in place of the built-in table alone.
    #[must_use]
    pub fn priced(mut self, prices: &'l pricing::Book) -> Self {
        self.prices = prices;
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
            columns: Collectors::new(self.prices),
            rows_max: rows_max.max(1),
            truncated: 0,
            records,
            finished: 0,
            completed: 0,
            sink,
            metric_places: metrics::Places::default(),
        };
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
            for scope in resource.scope_spans() {
                let named = Scope::parse(&scope.scope).unwrap_or_default();
                let envelope = Envelope {
                    record,
                    resource: &resource,
                    scope: &scope,
                    scope_digest: scope_digest(named.name),
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
        let Some(row) = self.span_row(envelope.record, message) else {
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
    fn span_row(&mut self, record: &Record, message: &'a [u8]) -> Option<SpanRow<'a>> {
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

fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

/// Takes the columns and tells whether anything is over a limit, in one pass. Only what feeds a
/// column, or is long enough to be over a limit, is looked into: the request was checked whole when
/// it came in.
fn read_attributes<'a>(
    span: &Span<'a>,
    limits: &limits::Config,
    columns: &mut semconv::Collector<'a, '_>,
) -> (Basics<'a>, bool) {
    let mut over = span.name.len() > limits.name_length.as_usize()
        || span.attributes.len() > limits.attributes_per_span as usize
        || span.event_count() > limits.events_per_span as usize
        || span.link_count() > limits.links_per_span as usize;
    over |= take_attributes(&span.attributes, limits, columns);
    for event in span.events() {
        let kind = columns.event(event.name, event.time_unix_nano);
        over |= event.name.len() > limits.name_length.as_usize()
            || event.attributes.len() > limits.attributes_per_event as usize;
        for attribute in event.attributes.encoded() {
            over |= is_over(attribute, limits);
            if kind != EventKind::Other
                && let Ok(attribute) = KeyValue::parse(attribute)
            {
                columns.event_attribute(kind, attribute.key, attribute.value);
            }
        }
    }
    for link in span.links() {
        over |= link.attributes.len() > limits.attributes_per_link as usize;
        over |= link
            .attributes
            .encoded()
            .any(|attribute| is_over(attribute, limits));
    }
    let facts = SpanFacts {
        name: span.name,
        failed: Status::from_wire(span.status.code) == Status::Error,
        status_message: span.status.message,
        start_unix_nano: span.start_unix_nano,
    };
    (columns.finish(facts), over)
}

/// Takes the columns that are in attributes, and tells whether any of these is over a limit.
fn take_attributes<'a>(
    attributes: &KeyValues<'a>,
    limits: &limits::Config,
    columns: &mut semconv::Collector<'a, '_>,
) -> bool {
    let mut over = false;
    for attribute in attributes.encoded() {
        over |= is_over(attribute, limits);
        columns.attribute(KeyValue::key_of(attribute), || {
            KeyValue::parse(attribute).unwrap_or_default().value
        });
    }
    over
}

/// Whether an encoded attribute has no key, or a text or bytes in it that are too long. No text is
/// longer than the attribute it is in, so nearly all pass by their size.
fn is_over(attribute: &[u8], limits: &limits::Config) -> bool {
    let max = limits.attribute_value_length.as_usize();
    let too_long = |attribute| {
        let attribute = KeyValue::parse(attribute).unwrap_or_default();
        has_longer(&attribute.value, max)
    };
    KeyValue::key_of(attribute).is_empty() || attribute.len() > max && too_long(attribute)
}

/// Whether a text or bytes anywhere in the value are longer. Depth is bounded: the request was
/// checked under a limit when it came in.
fn has_longer(value: &AnyValue<'_>, max: usize) -> bool {
    match value {
        AnyValue::Str(text) => text.len() > max,
        AnyValue::Bytes(bytes) => bytes.len() > max,
        AnyValue::Array(array) => array.iter().any(|value| has_longer(&value, max)),
        AnyValue::KvList(list) => list.iter().any(|pair| has_longer(&pair.value, max)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
