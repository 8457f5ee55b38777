//! What real GenAI libraries send, unmodified, is understood: each model call once, with its tokens,
//! model, provider, messages, cost and error. The APIs that they call are stand-ins.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::sdk;

/// What a library tells of the calls that `tests/support/python/genai.py` makes with it.
struct Library {
    name: &'static str,
    dialect: &'static str,
    provider: &'static str,
    model: &'static str,
    /// In nano-USD, of a call with 100 tokens in and 20 out.
    cost: i64,
    /// Output tokens and cost of the streamed call, where the library counts it in another way.
    stream: (i64, i64),
    has_session: bool,
}

/// A trace of a scenario as the API answers it.
struct Answer {
    trace: Value,
    /// The spans that count as model calls, in the order of their start, with messages.
    calls: Vec<Value>,
}

/// Runs a script that calls a library, and asks for each scenario's trace.
fn answers(daemon: &Daemon, command: &mut Command) -> (BTreeMap<String, Answer>, String) {
    let endpoint = format!("http://{}", daemon.addresses().http);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command.env("OTEL_SERVICE_NAME", "genai-application");
    let done = sdk::run(command);
    let session = done[0]["session"].as_str().unwrap().to_owned();
    let answer = |done: &Value| {
        let id = sdk::unhex(done["trace_id"].as_str().unwrap());
        let found = daemon.await_trace(&id, done["spans"].as_u64().unwrap());
        let spans = found["spans"].as_array().unwrap().iter();
        let mut calls: Vec<Value> = spans
            .filter(|span| span["genai"]["is_model_call"] == true)
            .cloned()
            .collect();
        calls.sort_by_key(|span| span["start_time_unix_nano"].as_str().map(str::to_owned));
        let trace = found["trace"].clone();
        (
            done["scenario"].as_str().unwrap().to_owned(),
            Answer { trace, calls },
        )
    };
    (done.iter().map(answer).collect(), session)
}

fn python(library: &str) -> Command {
    let mut command = Command::new(sdk::tool("genai/bin/python"));
    command
        .arg("-B")
        .arg(sdk::root().join("tests/support/python/genai.py"))
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

impl Library {
    fn assert_totals(&self, answer: &Answer, calls: i64, output: i64, cost: i64) {
        let totals = &answer.trace["totals"];
        assert_eq!(totals["llm_call_count"], calls, "{totals}");
        assert_eq!(totals["input_tokens"], 100 * calls, "{totals}");
        assert_eq!(totals["output_tokens"], output, "{totals}");
        assert_eq!(totals["cost_nano_usd"], cost, "{totals}");
        assert!(!answer.calls.is_empty());
        for call in &answer.calls {
            assert_eq!(call["provider"], self.provider, "{call}");
            assert_eq!(call["request_model"], self.model, "{call}");
            assert_eq!(call["status"]["code"] == "error", false, "{call}");
        }
        let dialects = answer.calls.iter().map(|call| &call["genai"]["dialect"]);
        assert!(dialects.into_iter().any(|dialect| *dialect == self.dialect));
    }

    /// The first and the last call as this library tells them; others may have told them too.
    fn own<'a>(&self, answer: &'a Answer) -> Vec<&'a Value> {
        let calls = answer.calls.iter();
        calls
            .filter(|call| call["genai"]["dialect"] == self.dialect)
            .collect()
    }

    fn assert_chat(&self, answer: &Answer) {
        let call = self.own(answer)[0];
        let messages = &call["messages"];
        let instructions = messages["system_instructions"].to_string();
        let asked = said(&messages["input_messages"]);
        assert!((asked.clone() + &instructions).contains("Be brief."), "{messages}");
        assert!(asked.ends_with("Weather in Paris?"), "{messages}");
        let answered = said(&messages["output_messages"]);
        assert_eq!(answered, "It is 22 degrees.", "{messages}");
    }

    fn assert_tool(&self, answer: &Answer) {
        let [asked, told] = self.own(answer)[..] else {
            panic!("two calls: {:?}", answer.calls)
        };
        let parts = asked["messages"]["output_messages"][0]["parts"].as_array();
        let call = parts.unwrap().iter().find(|part| part["type"] == "tool_call");
        let call = call.unwrap_or_else(|| panic!("no tool call: {asked}"));
        assert_eq!(call["name"], "get_weather");
        assert_eq!(call["arguments"], json!({"city": "Paris"}));
        assert_eq!(asked["genai"]["finish_reason"], "tool_call");
        let result = told["messages"]["input_messages"].to_string();
        assert!(result.contains("22 degrees"), "{told}");
        assert_eq!(said(&told["messages"]["output_messages"]), "It is 22 degrees.");
    }

    fn assert_error(&self, answer: &Answer) {
        let calls = self.own(answer);
        let [call] = calls[..] else {
            panic!("one call: {calls:?}")
        };
        assert_eq!(call["status"]["code"], "error");
        assert_eq!(call["error_kind"], "rate_limit", "{call}");
        assert_eq!(call["request_model"], "busy");
        assert_eq!(answer.trace["totals"]["llm_call_count"], 1);
        assert_eq!(answer.trace["totals"]["cost_nano_usd"], 0);
        assert!(answer.trace["error_count"].as_u64().unwrap() >= 1);
    }

    fn assert_session(&self, daemon: &Daemon, session: &str) {
        let path = format!("/api/v1/sessions/{session}");
        let found = daemon.api(&path);
        if !self.has_session {
            assert_eq!(found.status, 404);
            return;
        }
        let found = found.json();
        assert_eq!(found["session"]["trace_count"], 2, "{found}");
        assert_eq!(found["session"]["totals"]["llm_call_count"], 2);
        assert_eq!(found["session"]["totals"]["input_tokens"], 200);
        let second = &found["traces"][1]["calls"][0]["messages"]["input_messages"];
        assert!(said(second).ends_with("It is 22 degrees.|And Rome?"), "{second}");
    }

    fn assert_understood(&self) {
        let daemon = Daemon::spawn(&[("processors.batch.timeout", "20ms")]);
        let (answers, session) = answers(&daemon, &mut python(self.name));
        if std::env::var("SHOW").is_ok() {
            for (k, a) in &answers {
                eprintln!("{k}: {}", a.trace);
                for call in &a.calls {
                    eprintln!("  {} {} {} {} {}\n   {}", call["name"], call["genai"], call["provider"], call["error_kind"], call["error_type"], call["messages"]);
                }
            }
        }
        for (scenario, calls) in [("chat", 1), ("tool", 2), ("first turn", 1), ("second turn", 1)] {
            self.assert_totals(&answers[scenario], calls, 20 * calls, self.cost * calls);
        }
        let (output, cost) = self.stream;
        self.assert_totals(&answers["stream"], 1, output, cost);
        self.assert_chat(&answers["chat"]);
        self.assert_chat(&answers["stream"]);
        self.assert_tool(&answers["tool"]);
        self.assert_error(&answers["error"]);
        self.assert_session(&daemon, &session);
    }
}

const OPENAI: Library = Library {
    name: "",
    dialect: "",
    provider: "openai",
    model: "gpt-4o",
    // 60 tokens at 2.50 USD a million, 40 cached at 1.25, 20 out at 10.
    cost: 400_000,
    stream: (20, 400_000),
    has_session: false,
};

const ANTHROPIC: Library = Library {
    provider: "anthropic",
    model: "claude-haiku-4-5",
    // 10 tokens at 1 USD a million, 60 cached at 0.10, 30 written at 1.25, 20 out at 5.
    cost: 153_500,
    stream: (20, 153_500),
    ..OPENAI
};

// Scenario: applications with OpenInference's instrumentation call OpenAI and Anthropic: plainly,
// streamed, with a tool, over the rate limit, and in a session of two turns.
// Guarantees: each call counts once, with what the library tells of it; the session has its turns.
#[test]
fn openinference_is_understood() {
    let openai = Library {
        name: "openinference-openai",
        dialect: "openinference",
        has_session: true,
        ..OPENAI
    };
    openai.assert_understood();
    let anthropic = Library {
        name: "openinference-anthropic",
        dialect: "openinference",
        has_session: true,
        // It adds up the counts of a stream's first and last message, 1 and 20.
        stream: (21, 158_500),
        ..ANTHROPIC
    };
    anthropic.assert_understood();
}

// Scenario: the same with OpenLLMetry's instrumentation.
// Guarantees: as above.
#[test]
fn openllmetry_is_understood() {
    let openai = Library {
        name: "openllmetry-openai",
        dialect: "openllmetry",
        ..OPENAI
    };
    openai.assert_understood();
    let anthropic = Library {
        name: "openllmetry-anthropic",
        dialect: "openllmetry",
        ..ANTHROPIC
    };
    anthropic.assert_understood();
}
