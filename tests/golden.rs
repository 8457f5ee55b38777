//! The golden corpus: spans of each dialect as OTLP/JSON (`tests/golden/<dialect>/<name>.json`),
//! and beside each file the columns and messages that they must give
//! (`<name>.expected.json`, one entry per span, in order). `totals.json` has what the traces of each
//! file add up to.
//!
//! `GOLDEN_WRITE=1` writes what the code gives in place of what is expected; look at the difference
//! before you commit it. `tests/golden/README.md` says where the files come from, and has the table
//! of dialects and fields that is made from them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use pulse_collector::exporters::storage::assemble::Assembler;
use pulse_collector::model::ProjectId;
use pulse_collector::model::genai::GenAi;
use pulse_collector::model::span::Basics;
use pulse_collector::otlp::{Signal, json, protobuf};
use pulse_collector::processors::limits;
use pulse_collector::processors::redaction::{self, Rule};
use pulse_collector::queue::{PayloadKind, Position, Record};
use pulse_collector::semconv::messages::Messages;
use pulse_collector::storage::calls::{self, Fresh, Stored};
use serde_json::{Map, Value};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Files of spans, by dialect.
fn cases() -> BTreeMap<String, Vec<PathBuf>> {
    let mut found = BTreeMap::<String, Vec<PathBuf>>::new();
    for directory in fs::read_dir(corpus()).unwrap() {
        let directory = directory.unwrap().path();
        let dialect = directory.file_name().unwrap().to_str().unwrap().to_owned();
        if !directory.is_dir() || dialect == "record" {
            continue;
        }
        for file in fs::read_dir(&directory).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_name().unwrap().to_str().unwrap();
            // Metrics are in the corpus for the tests end to end.
            let is_case = name.ends_with(".json") && name != "recorded-metrics.json";
            if is_case && !name.ends_with(".expected.json") {
                found.entry(dialect.clone()).or_default().push(file);
            }
        }
    }
    for files in found.values_mut() {
        files.sort();
    }
    found
}

fn write_wanted() -> bool {
    std::env::var_os("GOLDEN_WRITE").is_some()
}

/// What a file holds.
enum Request {
    Spans(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Request {
    fn read(file: &Path) -> Self {
        let text = fs::read(file).unwrap();
        let holds: Value = serde_json::from_slice(&text).unwrap();
        if holds.get("resourceLogs").is_some() {
            Self::Logs(json::decode_logs(&text).unwrap())
        } else {
            Self::Spans(json::decode(&text).unwrap())
        }
    }

    fn decode(&self, bytes: &[u8]) -> Self {
        match self {
            Self::Spans(_) => Self::Spans(ExportTraceServiceRequest::decode(bytes).unwrap()),
            Self::Logs(_) => Self::Logs(ExportLogsServiceRequest::decode(bytes).unwrap()),
        }
    }

    fn signal(&self) -> Signal {
        match self {
            Self::Spans(_) => Signal::Traces,
            Self::Logs(_) => Signal::Logs,
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Spans(spans) => spans.encode_to_vec(),
            Self::Logs(logs) => logs.encode_to_vec(),
        }
    }

    /// The request with the attributes of everything turned around.
    fn turned(mut self) -> Self {
        match &mut self {
            Self::Spans(spans) => {
                let scopes = spans.resource_spans.iter_mut();
                for span in scopes
                    .flat_map(|it| &mut it.scope_spans)
                    .flat_map(|it| &mut it.spans)
                {
                    span.attributes.reverse();
                }
            }
            Self::Logs(logs) => {
                let scopes = logs
                    .resource_logs
                    .iter_mut()
                    .flat_map(|it| &mut it.scope_logs);
                for record in scopes.flat_map(|it| &mut it.log_records) {
                    record.attributes.reverse();
                }
            }
        }
        self
    }

    /// As a record of the log.
    fn record(&self) -> Record {
        Record {
            position: Position(0),
            project: ProjectId(1),
            received_unix_nano: 1_768_478_500_000_000_000,
            kind: match self {
                Self::Spans(_) => PayloadKind::OtlpTraces,
                Self::Logs(_) => PayloadKind::OtlpLogs,
            },
            payload: Bytes::from(self.encode()),
        }
    }

    /// What the code gives for the spans, and for what is made a span, by the path that what is
    /// received takes.
    fn rows(&self) -> Vec<Value> {
        let limits = limits::Config::default();
        let records = [self.record()];
        let (batch, _) = Assembler::new(0, &limits).assemble(&records);
        let spans = batch.spans.iter().map(|row| {
            let scope = batch.scopes.get(row.scope).unwrap();
            let span = protobuf::Span::parse(&row.message).unwrap();
            let messages = Messages::of(&span, &scope.name);
            serde_json::json!({
                "name": row.name,
                "columns": columns(&row.basics),
                "messages": messages.map(|it| dense(serde_json::to_value(it).unwrap())),
            })
        });
        spans.collect()
    }
}

/// What the code gives for what is in a file.
fn rows(file: &Path) -> Vec<Value> {
    Request::read(file).rows()
}

/// The columns that have a value.
fn columns(basics: &Basics<'_>) -> Value {
    let kind = basics.error_kind.map(|kind| kind.as_str());
    let mut found = serde_json::json!({
        "operation": basics.operation.as_str(),
        "provider": basics.provider,
        "request_model": basics.request_model,
        "response_model": basics.response_model,
        "session_id": basics.session_id,
        "user_id": basics.user_id,
        "error_type": basics.error_type,
        "error_message": basics.error_message,
        "error_kind": kind,
        "http_method": basics.http_method,
        "http_status_code": basics.http_status_code,
    });
    if let Some(genai) = basics.genai.as_deref() {
        let of_genai = genai_columns(genai);
        found.as_object_mut().unwrap().extend(of_genai);
    }
    dense(found)
}

fn genai_columns(genai: &GenAi<'_>) -> Map<String, Value> {
    let source = genai.cost.source.map(|source| source.as_str());
    let Value::Object(found) = serde_json::json!({
        "dialect": genai.dialect,
        "response_id": genai.response_id,
        "finish_reason": genai.finish_reason,
        "streaming": genai.streaming,
        "time_to_first_token_ns": genai.time_to_first_token_ns,
        "agent_name": genai.agent_name,
        "agent_id": genai.agent_id,
        "tool_name": genai.tool_name,
        "tool_call_id": genai.tool_call_id,
        "input_tokens": genai.usage.input,
        "output_tokens": genai.usage.output,
        "cache_read_tokens": genai.usage.cache_read,
        "cache_write_tokens": genai.usage.cache_write,
        "reasoning_tokens": genai.usage.reasoning,
        "audio_input_tokens": genai.usage.audio_in,
        "audio_output_tokens": genai.usage.audio_out,
        "image_input_tokens": genai.usage.image_in,
        "image_output_tokens": genai.usage.image_out,
        "cost_input": genai.cost.input,
        "cost_output": genai.cost.output,
        "cost_total": genai.cost.total,
        "cost_source": source,
        "tags": genai.tags,
        "is_model_call": genai.is_model_call,
    }) else {
        panic!("an object");
    };
    found
}

/// An object without what is null or empty.
fn dense(value: Value) -> Value {
    let Value::Object(mut map) = value else {
        return value;
    };
    map.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|it| !it.is_empty()));
    Value::Object(map)
}

fn expected_path(file: &Path) -> PathBuf {
    file.with_extension("expected.json")
}

// Scenario: the spans of every file are taken through the way that received spans take.
// Guarantees: they give the columns and messages written beside them, and nothing else.
#[test]
fn every_dialect_gives_the_columns_and_messages_expected() {
    let mut wrong = String::new();
    for file in cases().into_values().flatten() {
        let actual = rows(&file);
        let path = expected_path(&file);
        if write_wanted() {
            let text = serde_json::to_string_pretty(&actual).unwrap();
            fs::write(&path, text + "\n").unwrap();
            continue;
        }
        let expected = fs::read(&path).unwrap_or_else(|_| panic!("no {}", path.display()));
        let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
        assert_eq!(actual.len(), expected.len(), "{}", file.display());
        for (actual, expected) in actual.iter().zip(&expected) {
            if actual != expected {
                writeln!(
                    wrong,
                    "{}:\n{actual:#}\nexpected\n{expected:#}",
                    file.display()
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

// Scenario: the attributes of every span of the corpus are turned around.
// Guarantees: the columns are the same.
#[test]
fn the_order_of_attributes_does_not_matter() {
    for file in cases().into_values().flatten() {
        let turned = Request::read(&file).turned().rows();
        assert_eq!(turned, rows(&file), "{}", file.display());
    }
}

/// What the traces of a file add up to, by trace id. `one_by_one` adds its spans backwards and each
/// by itself.
fn totals(file: &Path, one_by_one: bool) -> BTreeMap<String, Value> {
    let limits = limits::Config::default();
    let records = [Request::read(file).record()];
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    let mut traces = BTreeMap::<_, Vec<_>>::new();
    for span in &batch.spans {
        traces.entry(span.trace_id).or_default().push(span);
    }
    let mut found = BTreeMap::new();
    for (trace_id, spans) in traces {
        let mut stored = Stored::default();
        let size = if one_by_one { 1 } else { spans.len() };
        for spans in spans.rchunks(size) {
            let mut fresh = Fresh::default();
            for span in spans {
                fresh.add(span, "service", || false);
            }
            let settled = calls::settle(&stored, &fresh);
            stored.totals = settled.totals;
            stored.list = settled.list.unwrap_or(stored.list);
        }
        let totals = serde_json::json!({
            "calls": stored.totals.llm_calls,
            "input_tokens": stored.totals.input_tokens,
            "output_tokens": stored.totals.output_tokens,
            "cache_read_tokens": stored.totals.cache_read_tokens,
            "cost_nano_usd": stored.totals.cost_nano_usd,
        });
        found.insert(trace_id.to_string(), totals);
    }
    found
}

// Scenario: the traces of every file are added up, at once and span by span.
// Guarantees: they add up to what `totals.json` says, with each call of a model once.
#[test]
fn every_trace_adds_up_to_what_its_calls_used() {
    let path = corpus().join("totals.json");
    let mut actual = BTreeMap::new();
    for file in cases().into_values().flatten() {
        let together = totals(&file, false);
        assert_eq!(together, totals(&file, true), "{}", file.display());
        let name = file.strip_prefix(corpus()).unwrap().to_str().unwrap();
        actual.insert(name.to_owned(), together);
    }
    if write_wanted() {
        let text = serde_json::to_string_pretty(&actual).unwrap();
        fs::write(&path, text + "\n").unwrap();
        return;
    }
    let expected: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (name, actual) in &actual {
        assert_eq!(Some(actual), expected.get(name), "{name}");
    }
    assert_eq!(actual.len(), expected.len());
}

/// Texts in messages, without names of things and what is made up by the reader.
fn said(messages: &Value, found: &mut Vec<String>) {
    match messages {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| said(item, found)),
        Value::Object(entries) => {
            const NAMES: &[&str] = &[
                "role",
                "type",
                "name",
                "id",
                "finish_reason",
                "modality",
                "mime_type",
                "unparsed",
            ];
            let inner = entries
                .iter()
                .filter(|(key, _)| !NAMES.contains(&key.as_str()));
            inner.for_each(|(_, value)| said(value, found));
        }
        _ => {}
    }
}

// Scenario: a rule leaves out content, in the spans of every dialect.
// Guarantees: there are no messages any more but for names and ids of tools' calls, and no text of
// them is anywhere in the bytes; the columns of what is no content are there.
#[test]
fn no_content_is_left_of_any_dialect_when_it_is_dropped() {
    /// Shorter ones are in other words.
    const TEXT_MIN: usize = 8;
    let rule = Rule {
        drop_content: true,
        ..Rule::default()
    };
    let config = redaction::Config {
        enabled: true,
        rules: vec![rule],
        ..redaction::Config::default()
    };
    let redactor = config.compile().unwrap().unwrap();
    let mut texts = 0;
    for file in cases().into_values().flatten() {
        let request = Request::read(&file);
        let bytes = request.encode();
        let redacted = redactor
            .redact(ProjectId(1), request.signal(), &bytes, &mut |_| Ok(()))
            .unwrap();
        let kept = redacted.request.unwrap_or(bytes);
        let shown = String::from_utf8_lossy(&kept);
        for row in rows(&file) {
            let mut found = Vec::new();
            said(&row["messages"], &mut found);
            for text in found.iter().filter(|text| text.len() >= TEXT_MIN) {
                texts += 1;
                assert!(!shown.contains(text.as_str()), "{}: {text}", file.display());
            }
        }
        let after = request.decode(&kept).rows();
        assert_eq!(after.len(), rows(&file).len(), "{}", file.display());
        for (before, after) in rows(&file).iter().zip(&after) {
            let mut left = Vec::new();
            said(&after["messages"], &mut left);
            assert!(left.is_empty(), "{}: {left:?}", file.display());
            for column in ["session_id", "user_id", "error_type", "tool_name"] {
                let [before, after] = [before, after].map(|row| &row["columns"][column]);
                assert_eq!(before, after, "{}: {column}", file.display());
            }
        }
    }
    assert!(texts > 100, "{texts}");
}

/// Columns of the table, and the names of what counts for them.
const FIELDS: [(&str, &[&str]); 21] = [
    ("operation", &["operation"]),
    ("provider", &["provider"]),
    ("model asked", &["request_model"]),
    ("model used", &["response_model"]),
    ("messages in", &["input_messages", "input_value"]),
    ("messages out", &["output_messages", "output_value"]),
    ("system", &["system_instructions"]),
    ("tools", &["tool_definitions", "tool_name", "tool_call"]),
    ("tokens", &["input_tokens", "output_tokens"]),
    ("cached", &["cache_read_tokens", "cache_write_tokens"]),
    ("reasoning", &["reasoning_tokens"]),
    ("audio", &["audio_input_tokens", "audio_output_tokens"]),
    ("images", &["image_input_tokens", "image_output_tokens"]),
    ("cost", &["cost_total"]),
    ("cost as reported", &["reported"]),
    ("session", &["session_id"]),
    ("user", &["user_id"]),
    ("agent", &["agent_name", "agent_id"]),
    ("streaming", &["streaming", "time_to_first_token_ns"]),
    ("finish reason", &["finish_reason"]),
    ("errors", &["error_kind", "error_type"]),
];

/// The names of what a file's spans have.
fn present(expected: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for span in expected {
        for part in ["columns", "messages"] {
            let names = span.get(part).and_then(Value::as_object);
            let names = names.into_iter().flat_map(Map::keys);
            let is_unknown = span.pointer("/columns/operation") == Some(&Value::from("other"));
            found.extend(
                names
                    .filter(|name| !(is_unknown && *name == "operation"))
                    .cloned(),
            );
        }
        if span["messages"].to_string().contains(r#""tool_call""#) {
            found.insert("tool_call".to_owned());
        }
        let source = span.pointer("/columns/cost_source");
        if source.is_some_and(|source| source == "reported") {
            found.insert("reported".to_owned());
        }
    }
    found
}

fn table() -> String {
    let mut text = String::from("| dialect |");
    for (title, _) in FIELDS {
        write!(text, " {title} |").unwrap();
    }
    text.push_str(" spans |\n|---|");
    text.push_str(&":-:|".repeat(FIELDS.len()));
    text.push_str("--:|\n");
    for (dialect, files) in cases() {
        let (mut names, mut spans) = (BTreeSet::new(), 0);
        for file in files {
            let expected = fs::read(expected_path(&file)).unwrap();
            let expected: Vec<Value> = serde_json::from_slice(&expected).unwrap();
            spans += expected.len();
            names.extend(present(&expected));
        }
        write!(text, "| {dialect} |").unwrap();
        for (_, meant) in FIELDS {
            let has = meant.iter().any(|name| names.contains(*name));
            text.push_str(if has { " ✓ |" } else { "   |" });
        }
        writeln!(text, " {spans} |").unwrap();
    }
    text
}

// Guarantees: README's table of dialects is the one that the corpus gives.
#[test]
fn the_table_of_dialects_and_fields_is_up_to_date() {
    const BEGIN: &str = "<!-- made by tests/golden.rs with GOLDEN_WRITE=1 -->\n";
    const END: &str = "<!-- end -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    if write_wanted() {
        let text = format!("{head}{BEGIN}\n{}\n{END}{tail}", table());
        fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(written.trim(), table().trim(), "run with GOLDEN_WRITE=1");
}
