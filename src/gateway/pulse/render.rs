//! Spans and traces in the JSON of the older servers, keys in their order. Pure.

use super::record::{Origin, Record};
use crate::receivers::pulse::json::Json;

/// Tools that edit files.
const EDITING: [&str; 4] = ["Edit", "Write", "MultiEdit", "apply_patch"];

fn text(text: Option<&str>) -> Json {
    Json::text_or_null(text)
}

fn number(number: Option<f64>) -> Json {
    number.map_or(Json::Null, Json::Number)
}

fn status(failed: bool) -> Json {
    Json::text(if failed { "error" } else { "success" })
}

/// A span.
pub(super) fn span(record: &Record, project: &str) -> Json {
    Json::map(span_entries(record, project))
}

fn span_entries(record: &Record, project: &str) -> Vec<(&'static str, Json)> {
    vec![
        ("spanId", Json::text(record.span_id.as_str())),
        ("traceId", text(record.trace_id.as_deref())),
        ("projectId", Json::text(project)),
        ("sessionId", text(record.session_id.as_deref())),
        ("parentSpanId", text(record.parent_span_id.as_deref())),
        ("timestamp", Json::text(record.timestamp.as_str())),
        ("durationMs", number(record.duration_ms)),
        ("source", Json::text(record.source.as_str())),
        ("service", text(record.service.as_deref())),
        ("kind", Json::text(record.kind.as_str())),
        ("eventType", Json::text(record.event_type.as_str())),
        ("status", status(record.failed)),
        ("toolUseId", text(record.tool_use_id.as_deref())),
        ("toolName", text(record.tool_name.as_deref())),
        ("toolInput", record.tool_input.clone()),
        ("toolResponse", record.tool_response.clone()),
        ("error", record.error.clone()),
        ("isInterrupt", record.is_interrupt.clone()),
        ("cwd", text(record.cwd.as_deref())),
        ("model", text(record.model.as_deref())),
        ("agentName", text(record.agent_name.as_deref())),
        ("provider", text(record.provider.as_deref())),
        ("modelUsed", text(record.model_used.as_deref())),
        ("inputTokens", number(record.input_tokens)),
        ("outputTokens", number(record.output_tokens)),
        ("costCents", number(record.cost_cents)),
        ("finishReason", text(record.finish_reason.as_deref())),
        ("outputText", text(record.output_text.as_deref())),
        (
            "providerRequestId",
            text(record.provider_request_id.as_deref()),
        ),
        ("metadata", record.metadata.clone()),
    ]
}

fn labelled(record: &Record, project: &str) -> Json {
    let named = [&record.event_type, &record.kind].into_iter();
    let label = record.tool_name.iter().chain(named);
    let label = label.map(String::as_str).find(|it| !it.is_empty());
    let mut entries = span_entries(record, project);
    entries.push(("label", text(label)));
    Json::map(entries)
}

/// A trace by its spans in the order of time, of which there is at least one: a trace of the first
/// generation as it came, any other summed up.
pub(super) fn trace(records: &[Record], project: &str) -> Json {
    match records {
        [only] if only.origin == Origin::Trace => first_generation(only, project),
        _ => summary(records, project),
    }
}

/// A trace of which not all spans are shown.
pub(super) fn partial(trace: Json) -> Json {
    let Json::Map(mut entries) = trace else {
        return trace;
    };
    entries.push(("isPartial".to_owned(), Json::Bool(true)));
    Json::Map(entries)
}

/// A trace of the first generation, in the order of that time.
pub(super) fn first_generation(record: &Record, project: &str) -> Json {
    let or_null = |json: &Option<Json>| json.clone().unwrap_or(Json::Null);
    let mut entries = vec![
        ("traceId", text(record.trace_id.as_deref())),
        ("projectId", Json::text(project)),
        ("sessionId", text(record.session_id.as_deref())),
        ("timestamp", Json::text(record.timestamp.as_str())),
        ("latencyMs", number(record.duration_ms)),
        ("provider", text(record.provider.as_deref())),
        ("modelRequested", text(record.model.as_deref())),
        ("modelUsed", text(record.model_used.as_deref())),
        (
            "providerRequestId",
            text(record.provider_request_id.as_deref()),
        ),
        ("requestBody", or_null(&record.request)),
        ("responseBody", or_null(&record.response)),
        ("inputTokens", number(record.input_tokens)),
        ("outputTokens", number(record.output_tokens)),
        ("outputText", text(record.output_text.as_deref())),
        ("finishReason", text(record.finish_reason.as_deref())),
        ("status", status(record.failed)),
        ("error", record.error.clone()),
        ("costCents", number(record.cost_cents)),
        ("metadata", record.metadata.clone()),
    ];
    entries.extend([
        ("source", Json::text(record.source.as_str())),
        ("services", Json::List(Vec::new())),
        ("spanCount", Json::count(1)),
        ("summary", text(record.model.as_deref())),
        ("toolCallCount", Json::count(0)),
        ("filesEdited", Json::List(Vec::new())),
        ("errorService", Json::Null),
        ("spans", Json::List(vec![labelled(record, project)])),
    ]);
    Json::map(entries)
}

/// Distinct texts in the order in which they come.
fn distinct<'r>(texts: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let mut found = Vec::new();
    for text in texts {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

fn texts(texts: Vec<&str>) -> Json {
    Json::List(texts.into_iter().map(Json::text).collect())
}

/// The sum of what is there; null when nothing is.
fn total<'r>(
    records: impl Iterator<Item = &'r Record>,
    field: impl Fn(&Record) -> Option<f64>,
) -> Json {
    let known = records.filter_map(field);
    number(known.reduce(|sum, more| sum + more))
}

fn summary(records: &[Record], project: &str) -> Json {
    let is_call = |record: &&Record| record.kind == "llm_call";
    let Some(main) = records.iter().find(is_call).or(records.first()) else {
        return Json::Null;
    };
    let tools = records.iter().filter(|record| record.kind == "tool_use");
    let tool_ids = tools
        .clone()
        .map(|it| it.tool_use_id.as_deref().unwrap_or(&it.span_id));
    let tool_calls = distinct(tool_ids).len();
    let edits = tools.filter(|it| {
        let tool = it.tool_name.as_deref();
        tool.is_some_and(|tool| EDITING.contains(&tool))
    });
    let files = edits.filter_map(|it| it.tool_input.get("file_path")?.as_text());
    let files = distinct(files);
    let services = distinct(records.iter().filter_map(|it| it.service.as_deref()));
    let failed = records.iter().find(|it| it.failed);
    let error = records.iter().find(|it| !it.error.is_falsy());
    let latency: f64 = records.iter().filter_map(|it| it.duration_ms).sum();
    let file_count = files.len();
    let spans = records.iter().map(|it| labelled(it, project)).collect();
    let mut entries = vec![
        ("traceId", text(main.trace_id.as_deref())),
        ("sessionId", text(main.session_id.as_deref())),
        ("timestamp", Json::text(main.timestamp.as_str())),
        ("latencyMs", Json::Number(latency)),
        ("source", Json::text(main.source.as_str())),
        ("services", texts(services)),
        ("spanCount", Json::count(records.len())),
        (
            "summary",
            Json::text(headline(main, tool_calls, file_count)),
        ),
        ("toolCallCount", Json::count(tool_calls)),
        ("filesEdited", texts(files)),
    ];
    let optional = [
        ("providerRequestId", &main.provider_request_id),
        ("outputText", &main.output_text),
        ("finishReason", &main.finish_reason),
    ];
    for (key, value) in optional {
        entries.extend(value.as_deref().map(|value| (key, Json::text(value))));
    }
    entries.push(("status", status(failed.is_some())));
    entries.extend(error.map(|it| ("error", it.error.clone())));
    entries.extend([
        (
            "errorService",
            text(failed.and_then(|it| it.service.as_deref())),
        ),
        ("metadata", metadata(main, tool_calls)),
        ("spans", Json::List(spans)),
    ]);
    entries.extend(of_model(records, main));
    entries.push(("projectId", Json::text(project)));
    Json::map(entries)
}

fn headline(main: &Record, tool_calls: usize, files: usize) -> String {
    if main.kind == "llm_call" {
        return main.model.clone().unwrap_or_else(|| "unknown".to_owned());
    }
    let edited = if files > 0 {
        format!(" · {files} files edited")
    } else {
        String::new()
    };
    format!("{tool_calls} tool calls{edited}")
}

/// Of a trace that came as OTLP the application's own metadata; of others what came, and the
/// number of tool calls.
fn metadata(main: &Record, tool_calls: usize) -> Json {
    if main.origin == Origin::Otlp {
        return main.user_metadata.clone();
    }
    let mut entries = match &main.metadata {
        Json::Map(entries) => entries.clone(),
        _ => Vec::new(),
    };
    entries.retain(|(key, _)| key != "toolCalls");
    entries.push(("toolCalls".to_owned(), Json::count(tool_calls)));
    Json::Map(entries)
}

/// What model calls say; null where there is none.
fn of_model(records: &[Record], main: &Record) -> Vec<(&'static str, Json)> {
    let keys = [
        "provider",
        "modelRequested",
        "modelUsed",
        "inputTokens",
        "outputTokens",
        "costCents",
    ];
    if main.kind != "llm_call" {
        let bodies = ["requestBody", "responseBody"];
        let keys = keys.into_iter().chain(bodies);
        return keys.map(|key| (key, Json::Null)).collect();
    }
    let calls = || records.iter().filter(|it| it.kind == "llm_call");
    let model = main.model.as_deref();
    let used = main.model_used.as_deref().or(model);
    let values = [
        Json::text(provider(main)),
        Json::text(model.unwrap_or("unknown")),
        text(used),
        total(calls(), |it| it.input_tokens),
        total(calls(), |it| it.output_tokens),
        total(calls(), |it| it.cost_cents),
    ];
    let mut entries: Vec<_> = keys.into_iter().zip(values).collect();
    let member = |keys: [&str; 2]| keys.iter().find_map(|key| main.metadata.get(key).cloned());
    let request = main.request.clone();
    let request = request.or_else(|| member(["pulse.request", "request"]));
    let response = main.response.clone();
    let response = response.or_else(|| member(["pulse.response", "response"]));
    entries.extend(request.map(|it| ("requestBody", it)));
    entries.extend(response.map(|it| ("responseBody", it)));
    entries
}

/// Who served the call, as far as the span or its metadata says.
fn provider(main: &Record) -> String {
    let keys = ["pulse.provider", "provider", "gen_ai.system"];
    let mut found = keys
        .iter()
        .filter_map(|key| main.metadata.get(key)?.as_text());
    let found = main.provider.as_deref().or_else(|| found.next());
    found.unwrap_or("sdk").to_owned()
}
