//! Turns log records into a batch of rows: reads each request where it lies, takes the columns,
//! applies the limits. Pure: the same records always give the same rows.

use std::borrow::Cow;

use crate::model::span::{Basics, Kind, Status, TimeMarks};
use crate::otlp::protobuf::{
    AnyValue, KeyValue, KeyValues, Request, ResourceSpans, Scope, ScopeSpans, Span,
};
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::semconv::{self, Value};
use crate::storage::{Batch, ResourceRow, ScopeRow, SpanRow};

/// What a resource without `service.name` is called (semantic conventions, "Service").
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Spans in the records, by a look at the outermost fields only.
#[must_use]
pub fn count_spans(request: &[u8]) -> u64 {
    let scopes = Request::new(request)
        .resource_spans()
        .flat_map(|resource| resource.scope_spans());
    scopes.map(|scope| scope.spans().count() as u64).sum()
}

/// Builds batches.
#[derive(Debug, Clone, Copy)]
pub struct Assembler<'l> {
    partition: u32,
    limits: &'l limits::Config,
}

/// A batch in the making.
struct Building<'a, 'l> {
    batch: Batch<'a>,
    limits: &'l limits::Config,
    truncated: u64,
}

impl<'l> Assembler<'l> {
    /// Makes an assembler for one log partition.
    #[must_use]
    pub fn new(partition: u32, limits: &'l limits::Config) -> Self {
        Self { partition, limits }
    }

    /// Builds the batch of some consecutive records; also answers how many spans had to be cut to
    /// the limits.
    #[must_use]
    pub fn assemble<'a>(&self, records: &'a [Record]) -> (Batch<'a>, u64) {
        let next = records
            .last()
            .map_or(Position(0), |last| Position(last.position.0 + 1));
        let batch = Batch {
            partition: self.partition,
            next,
            ..Batch::default()
        };
        let mut building = Building {
            batch,
            limits: self.limits,
            truncated: 0,
        };
        for record in records {
            match record.kind {
                PayloadKind::OtlpTraces => building.add_record(record),
            }
        }
        (building.batch, building.truncated)
    }
}

impl<'a> Building<'a, '_> {
    fn add_record(&mut self, record: &'a Record) {
        for resource_spans in Request::new(&record.payload).resource_spans() {
            let resource = self.batch.resources.len();
            let mut used = false;
            for scope_spans in resource_spans.scope_spans() {
                used |= self.add_scope_spans(record, &scope_spans, resource);
            }
            // An envelope without a span that can be stored leaves no row behind.
            if used {
                self.batch
                    .resources
                    .push(resource_row(record, resource_spans));
            }
        }
    }

    fn add_scope_spans(
        &mut self,
        record: &'a Record,
        scope_spans: &ScopeSpans<'a>,
        resource: usize,
    ) -> bool {
        let scope = self.batch.scopes.len();
        let before = self.batch.spans.len();
        for message in scope_spans.spans() {
            let row = self.span_row(record, message, resource, scope);
            self.batch.spans.extend(row);
        }
        let used = self.batch.spans.len() > before;
        if used {
            self.batch.scopes.push(scope_row(record, scope_spans));
        }
        used
    }

    /// The row of a span; `None` when its ids are invalid, which the client was told when it sent
    /// it.
    fn span_row(
        &mut self,
        record: &Record,
        message: &'a [u8],
        resource: usize,
        scope: usize,
    ) -> Option<SpanRow<'a>> {
        let span = Span::parse(message).ok()?;
        let ids = span.ids().ok()?;
        let (basics, over_limits) = read_attributes(&span, self.limits);
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
            resource,
            scope,
            received_unix_nano: record.received_unix_nano,
            basics,
            message: if over_limits {
                self.truncate(message)
            } else {
                Cow::Borrowed(message)
            },
        })
    }

    fn truncate(&mut self, message: &'a [u8]) -> Cow<'a, [u8]> {
        match limits::truncate(message, self.limits) {
            Ok(shorter) => {
                self.truncated += 1;
                Cow::Owned(shorter)
            }
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
fn read_attributes<'a>(span: &Span<'a>, limits: &limits::Config) -> (Basics<'a>, bool) {
    let mut columns = semconv::Collector::default();
    let mut over = span.name.len() > limits.name_length.as_usize()
        || span.attributes.len() > limits.attributes_per_span as usize
        || span.event_count() > limits.events_per_span as usize
        || span.link_count() > limits.links_per_span as usize;
    for attribute in span.attributes.encoded() {
        over |= is_over(attribute, limits);
        columns.attribute(KeyValue::key_of(attribute), || column_value(attribute));
    }
    for event in span.events() {
        let is_exception = event.name == "exception";
        over |= event.name.len() > limits.name_length.as_usize()
            || event.attributes.len() > limits.attributes_per_event as usize;
        for attribute in event.attributes.encoded() {
            over |= is_over(attribute, limits);
            if is_exception && let Ok(attribute) = KeyValue::parse(attribute) {
                columns.exception_attribute(attribute.key, value_of(&attribute.value));
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
    (columns.finish(), over)
}

fn column_value(attribute: &[u8]) -> Value<'_> {
    KeyValue::parse(attribute).map_or(Value::Other, |attribute| value_of(&attribute.value))
}

fn value_of<'a>(value: &AnyValue<'a>) -> Value<'a> {
    match value {
        AnyValue::Str(text) => Value::Text(text),
        AnyValue::Int(number) => Value::Integer(*number),
        _ => Value::Other,
    }
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

fn resource_row<'a>(record: &Record, spans: ResourceSpans<'a>) -> ResourceRow<'a> {
    let names = match &spans.resource {
        Cow::Borrowed(message) => ServiceNames::read(message),
        // Came in parts, so that nothing outlives this function to borrow from.
        Cow::Owned(message) => ServiceNames::read(message).into_owned(),
    };
    ResourceRow {
        project: record.project,
        message: spans.resource,
        schema_url: spans.schema_url,
        service_name: names.name.unwrap_or(Cow::Borrowed(UNKNOWN_SERVICE)),
        service_version: names.version,
        service_instance: names.instance,
        environment: names.environment.or(names.environment_old),
    }
}

fn scope_row<'a>(record: &Record, spans: &ScopeSpans<'a>) -> ScopeRow<'a> {
    let (name, version) = match &spans.scope {
        Cow::Borrowed(message) => {
            let scope = Scope::parse(message).unwrap_or_default();
            (Cow::Borrowed(scope.name), Cow::Borrowed(scope.version))
        }
        Cow::Owned(message) => {
            let scope = Scope::parse(message).unwrap_or_default();
            (
                Cow::Owned(scope.name.to_owned()),
                Cow::Owned(scope.version.to_owned()),
            )
        }
    };
    ScopeRow {
        project: record.project,
        message: spans.scope.clone(),
        schema_url: spans.schema_url,
        name,
        version,
    }
}

/// What a resource says about its service.
#[derive(Debug, Default)]
struct ServiceNames<'a> {
    name: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    environment: Option<Cow<'a, str>>,
    environment_old: Option<Cow<'a, str>>,
}

impl<'a> ServiceNames<'a> {
    fn read(resource: &'a [u8]) -> Self {
        let mut names = Self::default();
        let attributes = KeyValues::of_resource(resource).unwrap_or_default();
        for attribute in attributes.iter() {
            let Some(text) = attribute.value.as_str().filter(|text| !text.is_empty()) else {
                continue;
            };
            let place = match attribute.key {
                "service.name" => &mut names.name,
                "service.version" => &mut names.version,
                "service.instance.id" => &mut names.instance,
                "deployment.environment.name" => &mut names.environment,
                "deployment.environment" => &mut names.environment_old,
                _ => continue,
            };
            *place = Some(Cow::Borrowed(semconv::cut(text)));
        }
        names
    }

    fn into_owned(self) -> ServiceNames<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        ServiceNames {
            name: own(self.name),
            version: own(self.version),
            instance: own(self.instance),
            environment: own(self.environment),
            environment_old: own(self.environment_old),
        }
    }
}
