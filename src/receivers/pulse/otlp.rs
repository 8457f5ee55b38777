//! OTLP/JSON as the second generation sends it: ids are any text or missing, times may be missing,
//! and what is malformed costs only the span it is in. What is right is taken as OTLP.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::json::Json;
use super::records::key_value;
use super::{checks, ids, names};
use crate::otlp::json::decode;

/// Spans of one export at most.
pub const SPANS_MAX: usize = 1000;

/// Why an export is refused whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has no list of resources.
    MissingResourceSpans,
    /// It has more than [`SPANS_MAX`] spans.
    TooManySpans,
}

/// An export, as far as it can be taken.
#[derive(Debug, Default)]
pub struct Export {
    /// What can be taken.
    pub request: ExportTraceServiceRequest,
    /// Spans that can be taken.
    pub accepted: usize,
    /// Spans that can't.
    pub rejected: usize,
    /// Why the first of them can't.
    pub error_message: String,
}

/// What stands for what is missing.
#[derive(Debug, Clone, Copy)]
pub struct Missing {
    /// Start of a span without one, ns since the Unix epoch.
    pub now_unix_nano: u64,
    /// Makes ids; never the same twice.
    pub seed: u128,
}

/// Reads an export.
///
/// # Errors
/// [`Refusal`].
pub fn export(body: &Json, missing: Missing) -> Result<Export, Refusal> {
    let resources = body.get("resourceSpans").and_then(Json::as_list);
    let resources = resources.ok_or(Refusal::MissingResourceSpans)?;
    let spans = resources.iter().flat_map(|it| list(it, "scopeSpans"));
    if spans.flat_map(|it| list(it, "spans")).count() > SPANS_MAX {
        return Err(Refusal::TooManySpans);
    }
    let mut export = Export::default();
    let mut reader = Reader {
        missing,
        made: 0,
        export: &mut export,
    };
    for resource in resources {
        reader.resource(resource);
    }
    Ok(export)
}

fn list<'j>(json: &'j Json, key: &str) -> &'j [Json] {
    json.get(key).and_then(Json::as_list).unwrap_or_default()
}

struct Reader<'e> {
    missing: Missing,
    /// Ids made so far.
    made: usize,
    export: &'e mut Export,
}

impl Reader<'_> {
    fn resource(&mut self, json: &Json) {
        let resource = json.get("resource").and_then(decoded_resource);
        let resource = resource.unwrap_or_default();
        let mut scope_spans = Vec::new();
        for scope in list(json, "scopeSpans") {
            let spans = list(scope, "spans").iter();
            let spans: Vec<Span> = spans
                .filter_map(|span| match self.span(span, &resource.attributes) {
                    Ok(span) => Some(span),
                    Err(message) => {
                        self.reject(message);
                        None
                    }
                })
                .collect();
            self.export.accepted += spans.len();
            if !spans.is_empty() {
                scope_spans.push(ScopeSpans {
                    scope: scope.get("scope").and_then(decoded_scope),
                    spans,
                    schema_url: text(scope, "schemaUrl"),
                });
            }
        }
        if !scope_spans.is_empty() {
            self.export.request.resource_spans.push(ResourceSpans {
                resource: Some(resource),
                scope_spans,
                schema_url: text(json, "schemaUrl"),
            });
        }
    }

    fn reject(&mut self, message: String) {
        if self.export.rejected == 0 {
            self.export.error_message = message;
        }
        self.export.rejected += 1;
    }

    fn span(&mut self, json: &Json, of_resource: &[KeyValue]) -> Result<Span, String> {
        let Json::Map(entries) = json else {
            return Err("Invalid input: expected object".to_owned());
        };
        let (start, end) = self.times(json)?;
        let rewritten = ["traceId", "spanId", "parentSpanId", "status", "kind"];
        let rewritten = |key: &str| rewritten.contains(&key) || key.ends_with("TimeUnixNano");
        let mut kept: Vec<(String, Json)> = entries
            .iter()
            .filter(|(key, _)| !rewritten(key))
            .cloned()
            .collect();
        kept.push(("status".to_owned(), checks::status(json.get("status"))));
        kept.push(("kind".to_owned(), checks::kind(json.get("kind"))));
        let request = wrapped("scopeSpans", wrapped_in_scope(Json::Map(kept)));
        let decoded = decode(request.to_string().as_bytes());
        let decoded = decoded.map_err(|error| error.to_string())?;
        let resources = decoded.resource_spans.into_iter();
        let mut spans = resources
            .flat_map(|it| it.scope_spans)
            .flat_map(|it| it.spans);
        let mut span = spans.next().ok_or("Invalid input: expected object")?;
        (span.start_time_unix_nano, span.end_time_unix_nano) = (start, end);
        inherit(&mut span, of_resource);
        checks::attributes(&span.attributes)?;
        self.identify(&mut span, json);
        Ok(span)
    }

    /// Start and end; a span without one of them has no end.
    fn times(&self, json: &Json) -> Result<(u64, u64), String> {
        let time = |key: &str| json.get(key).and_then(nanos);
        match (time("startTimeUnixNano"), time("endTimeUnixNano")) {
            (Some(start), Some(end)) if end < start => {
                Err("Too small: expected number to be >=0".to_owned())
            }
            (Some(start), end) => Ok((start, end.unwrap_or_default())),
            (None, _) => Ok((self.missing.now_unix_nano, 0)),
        }
    }

    /// Gives a span ids, and keeps those that it came with.
    fn identify(&mut self, span: &mut Span, json: &Json) {
        let given = |key: &str| {
            let text = json.get(key).and_then(Json::as_text);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let named = checks::text(&span.attributes, names::TRACE_ID).map(str::to_owned);
        let trace = named.or_else(|| given("traceId"));
        let trace = trace.unwrap_or_else(|| self.new_id());
        let name = given("spanId").unwrap_or_else(|| self.new_id());
        span.trace_id = ids::trace_id(&trace).0.to_vec();
        span.span_id = ids::span_id(&name).0.to_vec();
        keep(
            span,
            names::TRACE_ID,
            &trace,
            &ids::trace_id(&trace).to_string(),
        );
        keep(
            span,
            names::SPAN_ID,
            &name,
            &ids::span_id(&name).to_string(),
        );
        if let Some(parent) = given("parentSpanId") {
            let id = ids::span_id(&parent);
            span.parent_span_id = id.0.to_vec();
            keep(span, names::PARENT_SPAN_ID, &parent, &id.to_string());
        }
    }

    fn new_id(&mut self) -> String {
        self.made += 1;
        ids::new_uuid(self.missing.seed, self.made)
    }
}

/// Keeps an id that its bytes don't tell.
fn keep(span: &mut Span, key: &str, given: &str, shown: &str) {
    let known = span.attributes.iter().any(|it| it.key == key);
    if given != shown && !known {
        let value = Value::StringValue(given.to_owned());
        span.attributes.push(key_value(key, value));
    }
}

/// What a resource says of its spans counts for each that says nothing else, and the kind follows
/// from the event where it is not said.
fn inherit(span: &mut Span, of_resource: &[KeyValue]) {
    for attribute in of_resource {
        let is_ours = attribute.key.starts_with("pulse.") || attribute.key.starts_with("gen_ai.");
        let known = span.attributes.iter().any(|it| it.key == attribute.key);
        if is_ours && !known {
            span.attributes.push(attribute.clone());
        }
    }
    let has = |key: &str| span.attributes.iter().any(|it| it.key == key);
    let is_pulse = span
        .attributes
        .iter()
        .any(|it| it.key.starts_with("pulse."));
    if is_pulse && !has(names::KIND) && !has("gen_ai.operation.name") {
        let event = checks::text(&span.attributes, names::EVENT_TYPE);
        let kind = match event.unwrap_or("provider_call") {
            "provider_call" => "llm_call",
            _ => "tool_use",
        };
        let value = Value::StringValue(kind.to_owned());
        span.attributes.push(key_value(names::KIND, value));
    }
}

/// A time in decimal or as a number, ns.
fn nanos(json: &Json) -> Option<u64> {
    match json {
        Json::Text(text) => text.parse().ok(),
        Json::Number(_) => json.to_string().parse().ok(),
        _ => None,
    }
}

fn text(json: &Json, key: &str) -> String {
    let text = json.get(key).and_then(Json::as_text);
    text.unwrap_or_default().to_owned()
}

fn wrapped(key: &str, value: Json) -> Json {
    let one = Json::List(vec![Json::map([(key, value)])]);
    Json::map([("resourceSpans", one)])
}

fn wrapped_in_scope(span: Json) -> Json {
    Json::List(vec![Json::map([("spans", Json::List(vec![span]))])])
}

fn decoded_resource(json: &Json) -> Option<Resource> {
    let request = wrapped("resource", json.clone());
    let decoded = decode(request.to_string().as_bytes()).ok()?;
    decoded.resource_spans.into_iter().next()?.resource
}

fn decoded_scope(json: &Json) -> Option<InstrumentationScope> {
    let scope = Json::List(vec![Json::map([("scope", json.clone())])]);
    let request = wrapped("scopeSpans", scope);
    let decoded = decode(request.to_string().as_bytes()).ok()?;
    let resource = decoded.resource_spans.into_iter().next()?;
    resource.scope_spans.into_iter().next()?.scope
}

#[cfg(test)]
mod tests;
