//! From what older servers stored, and from lines of NDJSON, to what the Pulse routes make of the
//! same thing when a client posts it: same ids, same columns. Pure.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::otlp::{self, Export, Missing, Refusal, SPANS_MAX};
use crate::receivers::pulse::records;
use crate::receivers::pulse::scalar;
use crate::receivers::pulse::schema::{self, Item, Schema};
use crate::storage::older::Table;

/// Whole numbers below this are seconds since the Unix epoch, others milliseconds.
const SECONDS_BELOW: f64 = 1e11;

/// What can be sent, and is sent again or refused as a whole.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// What it is called in reports.
    pub(super) label: String,
    /// Its size, about, in bytes.
    pub(super) bytes: usize,
    /// Spans that become of it.
    pub(super) spans: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Trace(Item),
    Span(Item),
    Export(ExportTraceServiceRequest),
    Part(Part),
}

/// Some spans of a line that holds more than a request may. They become a request when they are
/// sent: each repeats the resource and the scope, and a line can have many of few spans.
#[derive(Debug, Clone)]
struct Part {
    whole: Arc<Json>,
    /// Numbers of the resource, of its scope, and of the chunk of the scope's spans.
    resource: usize,
    scope: usize,
    chunk: usize,
    missing: Missing,
}

/// What can't be sent, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) label: String,
    pub(super) reason: String,
    /// Spans that are lost with it.
    pub(super) spans: u64,
}

impl Bad {
    pub(super) fn new(label: &str, reason: impl Into<String>) -> Self {
        Self {
            label: label.to_owned(),
            reason: reason.into(),
            spans: 1,
        }
    }
}

/// One request for several units.
pub(super) fn request(units: &[Unit]) -> ExportTraceServiceRequest {
    let mut whole = ExportTraceServiceRequest::default();
    for run in units.chunk_by(|one, other| one.is_like(other)) {
        let items = run.iter().filter_map(Unit::item);
        let is_trace = matches!(run.first(), Some(unit) if unit.is_trace());
        let made = if is_trace {
            records::traces(items)
        } else {
            records::spans(items)
        };
        whole.resource_spans.extend(made.resource_spans);
        for unit in run {
            match &unit.content {
                Content::Export(export) => whole
                    .resource_spans
                    .extend_from_slice(&export.resource_spans),
                Content::Part(part) => {
                    let export = part.export().unwrap_or_default();
                    whole.resource_spans.extend(export.request.resource_spans);
                }
                Content::Trace(_) | Content::Span(_) => {}
            }
        }
    }
    whole
}

impl Unit {
    const fn item(&self) -> Option<&Item> {
        match &self.content {
            Content::Trace(item) | Content::Span(item) => Some(item),
            Content::Export(_) | Content::Part(_) => None,
        }
    }

    const fn is_trace(&self) -> bool {
        matches!(self.content, Content::Trace(_))
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.content) == std::mem::discriminant(&other.content)
    }
}

/// A row of a table, as the JSON object of its columns.
pub(super) fn of_row(table: Table, id: &str, json: &str) -> Result<Unit, Bad> {
    let label = format!("{} {id}", table.name());
    let parsed = Json::parse(json.as_bytes());
    let Ok(Json::Map(columns)) = parsed else {
        return Err(Bad::new(&label, "is no JSON, or too deep or too long"));
    };
    let columns = columns
        .into_iter()
        .filter(|(_, value)| *value != Json::Null)
        .map(|(name, value)| match name.as_str() {
            "timestamp" => (name, moment(value)),
            _ => (name, value),
        });
    let row = Json::Map(columns.collect());
    match table {
        Table::Traces => checked(label, json.len(), row, true),
        Table::Spans => checked(label, json.len(), row, false),
    }
}

/// A line of NDJSON: what it is shows by its members.
pub(super) fn of_line(label: &str, line: &[u8]) -> Vec<Result<Unit, Bad>> {
    let Ok(json) = Json::parse(line) else {
        let reason = "is no JSON, or too deep or too long";
        return vec![Err(Bad::new(label, reason))];
    };
    let has = |name: &str| json.get(name).is_some();
    if has("resourceSpans") {
        return exports(label, line, json);
    }
    let is_span = has("span_id");
    let is_trace = !is_span && has("trace_id") && (has("request_body") || has("model_requested"));
    let reason = if has("resourceLogs") || has("resourceMetrics") {
        "holds logs or metrics; only traces are imported"
    } else {
        "is neither a trace (trace_id, model_requested) nor a span (span_id) of Pulse, nor an OTLP \
         request (resourceSpans)"
    };
    if !is_span && !is_trace {
        return vec![Err(Bad::new(label, reason))];
    }
    vec![checked(label.to_owned(), line.len(), json, is_trace)]
}

fn checked(label: String, bytes: usize, row: Json, is_trace: bool) -> Result<Unit, Bad> {
    let schema: &Schema = if is_trace {
        &schema::TRACE
    } else {
        &schema::SPAN
    };
    let items = schema.check(Json::List(vec![row]));
    let item = match items {
        Ok(items) => items.into_iter().next(),
        Err(issues) => return Err(Bad::new(&label, reasons(&issues))),
    };
    let Some(item) = item else {
        return Err(Bad::new(&label, "is empty"));
    };
    Ok(Unit {
        label,
        bytes,
        spans: 1,
        content: if is_trace {
            Content::Trace(item)
        } else {
            Content::Span(item)
        },
    })
}

/// What is wrong, field by field.
fn reasons(issues: &[Json]) -> String {
    let said = issues.iter().map(|issue| {
        let path = issue.get("path").and_then(Json::as_list);
        let field = path.and_then(|path| path.last()).and_then(Json::as_text);
        let message = issue.get("message").and_then(Json::as_text);
        let message = message.unwrap_or("is wrong");
        field.map_or_else(|| message.to_owned(), |field| format!("{field}: {message}"))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// A time of a database as the routes take it: ISO with a zone. What is none stays as it is.
fn moment(value: Json) -> Json {
    let text = match &value {
        Json::Number(number) if *number >= 0.0 => {
            let ms = if *number < SECONDS_BELOW {
                number * 1e3
            } else {
                *number
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "stops at the bounds of the type"
            )]
            let nanos = i128::from(ms as i64) * 1_000_000;
            return Json::text(scalar::iso(nanos));
        }
        Json::Text(text) => text.replacen(' ', "T", 1),
        _ => return value,
    };
    // A time without a zone is in UTC.
    let with_zone = format!("{text}Z");
    if scalar::datetime(&text).is_some() {
        Json::Text(text)
    } else if scalar::datetime(&with_zone).is_some() {
        Json::Text(with_zone)
    } else {
        value
    }
}

/// An OTLP request of any length, in pieces that the route would take.
fn exports(label: &str, line: &[u8], json: Json) -> Vec<Result<Unit, Bad>> {
    let hasher = Sha256::new_with_prefix(line);
    // Ids of spans without one follow from the line, so that they are the same each time.
    let missing = |number: usize| {
        let digest = hasher.clone().chain_update(number.to_be_bytes()).finalize();
        let seed = digest.iter().take(16);
        let seed = seed.fold(0, |seed, byte| seed << 8 | u128::from(*byte));
        Missing {
            now_unix_nano: 0,
            seed,
        }
    };
    if spans_of(&json) <= SPANS_MAX {
        let export = otlp::export(&json, missing(0));
        return units_of(label, export, Content::Export).collect();
    }
    let (whole, mut units) = (Arc::new(json), Vec::new());
    for (number, (resource, scope, chunk)) in places(&whole).enumerate() {
        let part = Part {
            whole: Arc::clone(&whole),
            resource,
            scope,
            chunk,
            missing: missing(number),
        };
        let export = part.export();
        units.extend(units_of(label, export, |_| Content::Part(part)));
    }
    units
}

/// What can be sent of an export, and what can't.
fn units_of(
    label: &str,
    export: Result<Export, Refusal>,
    content: impl FnOnce(ExportTraceServiceRequest) -> Content,
) -> impl Iterator<Item = Result<Unit, Bad>> {
    let refused = |reason: &str| (Some(Err(Bad::new(label, reason))), None);
    let (bad, good) = match export {
        Ok(export) => (
            (export.rejected > 0).then(|| {
                Err(Bad {
                    spans: export.rejected as u64,
                    ..Bad::new(label, export.error_message)
                })
            }),
            (export.accepted > 0).then(|| {
                Ok(Unit {
                    label: label.to_owned(),
                    bytes: export.request.encoded_len(),
                    spans: export.accepted as u64,
                    content: content(export.request),
                })
            }),
        ),
        Err(Refusal::MissingResourceSpans) => refused("resourceSpans: is no list"),
        Err(Refusal::TooManySpans) => refused("has too many spans"),
    };
    bad.into_iter().chain(good)
}

fn list<'j>(json: &'j Json, key: &str) -> &'j [Json] {
    json.get(key).and_then(Json::as_list).unwrap_or_default()
}

/// The members of an object besides one.
fn besides(json: &Json, member: &str) -> Vec<(String, Json)> {
    let Json::Map(members) = json else {
        return Vec::new();
    };
    let others = members.iter().filter(|(name, _)| name != member);
    others.cloned().collect()
}

fn spans_of(json: &Json) -> usize {
    let resources = list(json, "resourceSpans").iter();
    let scopes = resources.flat_map(|it| list(it, "scopeSpans"));
    scopes.map(|it| list(it, "spans").len()).sum()
}

/// The places of a request's parts: of one scope each, and of [`SPANS_MAX`] spans at most.
fn places(json: &Json) -> impl Iterator<Item = (usize, usize, usize)> {
    let resources = list(json, "resourceSpans").iter().enumerate();
    resources.flat_map(|(resource, json)| {
        let scopes = list(json, "scopeSpans").iter().enumerate();
        scopes.flat_map(move |(scope, json)| {
            let chunks = list(json, "spans").len().div_ceil(SPANS_MAX);
            (0..chunks).map(move |chunk| (resource, scope, chunk))
        })
    })
}

impl Part {
    fn export(&self) -> Result<Export, Refusal> {
        let json = self.json().ok_or(Refusal::MissingResourceSpans)?;
        otlp::export(&json, self.missing)
    }

    /// A request of its own.
    fn json(&self) -> Option<Json> {
        let resource = list(&self.whole, "resourceSpans").get(self.resource)?;
        let scope = list(resource, "scopeSpans").get(self.scope)?;
        let spans = list(scope, "spans").chunks(SPANS_MAX).nth(self.chunk)?;
        let mut scope = besides(scope, "spans");
        scope.push(("spans".to_owned(), Json::List(spans.to_vec())));
        let mut resource = besides(resource, "scopeSpans");
        let scopes = Json::List(vec![Json::Map(scope)]);
        resource.push(("scopeSpans".to_owned(), scopes));
        let resources = Json::List(vec![Json::Map(resource)]);
        Some(Json::map([("resourceSpans", resources)]))
    }
}

#[cfg(test)]
mod tests;
