//! What real GenAI libraries send, unmodified, is understood: each model call once, with its tokens,
//! model, provider, messages, cost and error. The APIs that they call are stand-ins.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::{api, sdk};

/// What a library tells of the calls that a script (`tests/support/python/genai.py`,
/// `tests/support/node/genai.mjs`) makes with it, as far as they differ.
#[derive(Clone, Copy)]
struct Library {
    /// The script's name for it.
    name: &'static str,
    dialect: &'static str,
    /// That of the spans in which the provider's SDK tells of the same calls.
    sdk_dialect: Option<&'static str>,
    provider: &'static str,
    model: &'static str,
    /// The answering model of a plain call and of a stream.
    answered_by: [&'static str; 2],
    /// Of a call of 100 tokens in and 20 out, as far as it is told.
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
    /// In nano-USD, of such a call: as the library's span tells it, and as it is counted, where the
    /// SDK's span knows more.
    cost: u64,
    counted_cost: u64,
    /// Where the cost comes from: `computed`, or what the library says.
    cost_source: &'static str,
    /// Of the streamed call, where the library counts it in another way.
    stream: Stream,
    finish_reason_of_stream: Option<&'static str>,
    /// The agent that the calls are made by.
    agents: [Option<&'static str>; 2],
    /// Whether tool definitions, the tool's own span, and a session are told.
    has_tool_definitions: bool,
    has_tool_span: bool,
    has_session: bool,
    /// Whether a call that failed has the messages it was asked with.
    says_what_failed: bool,
}

/// How a stream is told.
#[derive(Clone, Copy)]
struct Stream {
    output: u64,
    cost: u64,
    counted_cost: u64,
    reasoning: Option<u64>,
    /// Whether it is told that it is one, and when it began.
    is_told: bool,
    has_first_token: bool,
}

/// A trace of a scenario as the API answers it.
struct Answer {
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

    /// The model calls that spans of a dialect tell of.
    fn calls(&self, dialect: &str) -> Vec<&Value> {
        let calls = self
            .spans
            .iter()
            .filter(|span| span["genai"]["is_model_call"] == true);
        calls
            .filter(|span| span["genai"]["dialect"] == dialect)
            .collect()
    }
}

/// What an application did with a library, and the daemon that was told.
struct Told {
    library: Library,
    daemon: Daemon,
    answers: BTreeMap<String, Answer>,
    session: String,
}

fn python(library: &str) -> Command {
    let mut command = Command::new(sdk::tool("genai/bin/python"));
    let script = sdk::root().join("tests/support/python/genai.py");
    command.arg("-B").arg(script).arg(library);
    command
}

fn node(library: &str) -> Command {
    let modules = sdk::tool("node/node_modules");
    let mut command = Command::new(sdk::tool("genai/bin/python"));
    let support = sdk::root().join("tests/support");
    command.env("EXPORTER_MODULES", modules.parent().unwrap());
    command.arg("-B").arg(support.join("python/model_apis.py"));
    command
        .arg("node")
        .arg(support.join("node/genai.mjs"))
        .arg(library);
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

impl Told {
    /// Runs the script and asks for each scenario's trace.
    fn by(library: Library, command: &mut Command) -> Self {
        let daemon = Daemon::spawn(&[("processors.batch.timeout", "20ms")]);
        let endpoint = format!("http://{}", daemon.addresses().http);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        command.env("OTEL_SERVICE_NAME", library.name);
        let done = sdk::run(command);
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

    fn answer(&self, scenario: &str) -> &Answer {
        &self.answers[scenario]
    }

    /// The model calls of a scenario, as the library tells them.
    fn calls<const N: usize>(&self, scenario: &str) -> [&Value; N] {
        let answer = self.answer(scenario);
        if let Some(sdk) = self.library.sdk_dialect {
            assert_eq!(answer.calls(sdk).len(), N, "{:#?}", answer.spans);
        }
        let calls = answer.calls(self.library.dialect);
        calls
            .try_into()
            .unwrap_or_else(|calls| panic!("{scenario}: {N} model calls of {:#?}", answer.spans))
    }

    fn assert_totals(&self, scenario: &str, calls: u64, output: u64, cost: u64) {
        let answer = self.answer(scenario);
        let totals = &answer.trace["totals"];
        let expected = json!({
            "llm_call_count": calls,
            "input_tokens": 100 * calls,
            "output_tokens": output,
            "cache_read_tokens": self.library.cache_read.unwrap_or_default() * calls,
            "cost_nano_usd": cost,
        });
        assert_eq!(totals, &expected, "{scenario}: {:#?}", answer.spans);
        assert_eq!(answer.trace["error_count"], 0);
        assert_eq!(answer.trace["service_name"], self.library.name);
        for call in answer.calls(self.library.dialect) {
            self.assert_identity(call);
        }
    }

    fn assert_identity(&self, call: &Value) {
        let library = &self.library;
        assert_eq!(call["operation"], "chat", "{call:#}");
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
        assert_eq!(
            usage["cache_read_tokens"],
            json!(library.cache_read),
            "{call:#}"
        );
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

    /// What was asked and answered.
    fn assert_talk(&self, call: &Value) {
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

    fn assert_chat(&self) {
        let library = &self.library;
        self.assert_totals("chat", 1, 20, library.counted_cost);
        let [call] = self.calls("chat");
        self.assert_usage(call, 20, library.reasoning, library.cost);
        self.assert_talk(call);
        assert_eq!(call["response_model"], library.answered_by[0], "{call:#}");
        assert_eq!(call["genai"]["finish_reason"], "stop", "{call:#}");
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
        self.assert_usage(call, stream.output, stream.reasoning, stream.cost);
        self.assert_talk(call);
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
        let call = part(&asked["messages"]["output_messages"], "tool_call");
        assert_eq!(call["name"], "get_weather", "{asked:#}");
        assert_eq!(call["arguments"], json!({"city": "Paris"}), "{asked:#}");
        assert_eq!(asked["genai"]["finish_reason"], "tool_call", "{asked:#}");
        assert_eq!(asked["genai"]["agent_name"], json!(library.agents[1]));
        let given = &told["messages"]["input_messages"];
        assert_eq!(
            part(given, "tool_call")["arguments"],
            json!({"city": "Paris"})
        );
        let result = part(given, "tool_call_response");
        assert!(result.to_string().contains("22 degrees"), "{told:#}");
        assert_eq!(result["id"], part(given, "tool_call")["id"], "{told:#}");
        assert_eq!(
            said(&told["messages"]["output_messages"]),
            "It is 22 degrees.",
            "{told:#}"
        );
        assert_eq!(told["genai"]["finish_reason"], "stop");
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
            assert!(
                call["result"].to_string().contains("22 degrees"),
                "{tool:#}"
            );
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
        assert_eq!(sum("llm_call_count"), 6, "{models:#}");
        assert_eq!(sum("input_tokens"), 600, "{models:#}");
        assert_eq!(sum("output_tokens"), 120, "{models:#}");
        assert_eq!(
            sum("cost_nano_usd"),
            5 * library.counted_cost + library.stream.counted_cost,
            "{models:#}"
        );
        let busy = api::item(items, "model", "busy");
        assert_eq!(busy["totals"]["llm_call_count"], 1, "{models:#}");
        let provider = format!("provider={}", library.provider);
        assert_eq!(self.traces(&provider).len(), 6);
        let found = self.traces(&format!("model={}&min_cost=0.0001", library.answered_by[0]));
        let one_model = library.answered_by[0] == library.answered_by[1];
        assert_eq!(found.len(), 4 + usize::from(one_model));
    }

    fn assert_understood(&self) {
        self.assert_chat();
        self.assert_stream();
        self.assert_tool();
        self.assert_error();
        self.assert_session();
        self.assert_sums();
    }
}

const OPENAI: Library = Library {
    name: "",
    dialect: "",
    sdk_dialect: None,
    provider: "openai",
    model: "gpt-4o",
    answered_by: ["gpt-4o-2024-08-06"; 2],
    cache_read: Some(40),
    cache_write: None,
    reasoning: Some(5),
    // 60 tokens at 2.50 USD a million, 40 cached at 1.25, 20 out at 10.
    cost: 400_000,
    counted_cost: 400_000,
    cost_source: "computed",
    stream: Stream {
        output: 20,
        cost: 400_000,
        counted_cost: 400_000,
        reasoning: Some(5),
        is_told: true,
        has_first_token: true,
    },
    finish_reason_of_stream: Some("stop"),
    agents: [None; 2],
    has_tool_definitions: true,
    has_tool_span: false,
    has_session: false,
    says_what_failed: true,
};

/// That a call is a stream is not told.
const UNTOLD_STREAM: Stream = Stream {
    is_told: false,
    has_first_token: false,
    ..OPENAI.stream
};

const ANTHROPIC: Library = Library {
    sdk_dialect: Some("anthropic"),
    provider: "anthropic",
    model: "claude-haiku-4-5",
    answered_by: ["claude-haiku-4-5-20251001"; 2],
    cache_read: Some(60),
    cache_write: Some(30),
    reasoning: None,
    // 10 tokens at 1 USD a million, 60 cached at 0.10, 30 written at 1.25, 20 out at 5.
    cost: 153_500,
    // The SDK tells that 20 of the 30 are written for an hour, at 2.
    counted_cost: 168_500,
    stream: Stream {
        cost: 153_500,
        counted_cost: 168_500,
        reasoning: None,
        ..OPENAI.stream
    },
    ..OPENAI
};

// Scenario: an application with OpenInference's instrumentation calls OpenAI: plainly, streamed,
// with a tool, over the rate limit, and in a session of two turns.
// Guarantees: each call counts once, with what the library tells of it; the session has its turns;
// filters and sums find them.
#[test]
fn openinference_openai_is_understood() {
    let library = Library {
        name: "openinference-openai",
        dialect: "openinference",
        has_session: true,
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same with Anthropic.
// Guarantees: as above.
#[test]
fn openinference_anthropic_is_understood() {
    let library = Library {
        name: "openinference-anthropic",
        dialect: "openinference",
        stream: Stream {
            has_first_token: false,
            ..ANTHROPIC.stream
        },
        has_session: true,
        ..ANTHROPIC
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same with OpenLLMetry's instrumentation of OpenAI.
// Guarantees: as above.
#[test]
fn openllmetry_openai_is_understood() {
    let library = Library {
        name: "openllmetry-openai",
        dialect: "openllmetry",
        stream: Stream {
            reasoning: None,
            ..OPENAI.stream
        },
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same with Anthropic.
// Guarantees: as above.
#[test]
fn openllmetry_anthropic_is_understood() {
    let library = Library {
        name: "openllmetry-anthropic",
        dialect: "openllmetry",
        stream: Stream {
            // It adds up the counts of the first and the last message, 1 and 20.
            output: 21,
            cost: 158_500,
            has_first_token: false,
            ..ANTHROPIC.stream
        },
        ..ANTHROPIC
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same with the instrumentation of OpenTelemetry's contributors.
// Guarantees: as above.
#[test]
fn otel_openai_is_understood() {
    let library = Library {
        name: "otel-openai",
        dialect: "otel",
        // It tells of no tokens from the cache, which cost half.
        cache_read: None,
        reasoning: None,
        cost: 450_000,
        counted_cost: 450_000,
        stream: Stream {
            cost: 450_000,
            counted_cost: 450_000,
            reasoning: None,
            ..UNTOLD_STREAM
        },
        finish_reason_of_stream: None,
        has_tool_definitions: false,
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same through LangChain, whose chains repeat what their steps say.
// Guarantees: as above.
#[test]
fn langchain_is_understood() {
    let library = Library {
        name: "langchain",
        dialect: "openinference",
        answered_by: ["gpt-4o-2024-08-06", "gpt-4o"],
        stream: UNTOLD_STREAM,
        has_session: true,
        has_tool_span: true,
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same, with the instrumentation of OpenAI's SDK switched on too, so that each call is
// told twice, by spans neither of which is below the other.
// Guarantees: each call counts once, where LangChain tells the id of the answer: not of a stream.
#[test]
fn a_call_that_two_instrumentations_tell_counts_once() {
    let library = Library {
        name: "langchain-and-openai",
        dialect: "openinference",
        ..OPENAI
    };
    let told = Told::by(library, &mut python(library.name));
    for (scenario, calls) in [
        ("chat", 1),
        ("tool", 2),
        ("first turn", 1),
        ("second turn", 1),
    ] {
        told.assert_totals(scenario, calls, 20 * calls, 400_000 * calls);
        let spans = told.answer(scenario).calls("openinference");
        assert_eq!(spans.len() as u64, 2 * calls, "{spans:#?}");
    }
}

// Scenario: the same with agents of Pydantic AI, which repeat the sum of their calls.
// Guarantees: as above; the agent is known.
#[test]
fn pydantic_ai_is_understood() {
    let library = Library {
        name: "pydantic-ai",
        dialect: "pydantic_ai",
        says_what_failed: false,
        cost_source: "reported",
        agents: [Some("plain"), Some("weather")],
        has_session: true,
        has_tool_span: true,
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same through LiteLLM, with its OpenTelemetry callback.
// Guarantees: as above; the cost is what LiteLLM says.
#[test]
fn litellm_is_understood() {
    let library = Library {
        name: "litellm",
        dialect: "litellm",
        answered_by: ["gpt-4o-2024-08-06", "gpt-4o"],
        stream: Stream {
            has_first_token: false,
            ..OPENAI.stream
        },
        cost_source: "reported",
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same through the Vercel AI SDK, whose operations repeat the sum of their steps.
// Guarantees: as above.
#[test]
fn ai_sdk_is_understood() {
    let library = Library {
        name: "ai-sdk",
        dialect: "ai_sdk",
        reasoning: None,
        stream: Stream {
            reasoning: None,
            ..OPENAI.stream
        },
        has_tool_span: true,
        ..OPENAI
    };
    Told::by(library, &mut node(library.name)).assert_understood();
}

// Scenario: the same with the attributes of its earlier versions.
// Guarantees: as above.
#[test]
fn ai_sdk_legacy_is_understood() {
    let library = Library {
        name: "ai-sdk-legacy",
        dialect: "ai_sdk",
        has_tool_span: true,
        ..OPENAI
    };
    Told::by(library, &mut node(library.name)).assert_understood();
}
