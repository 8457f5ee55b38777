//! What real GenAI libraries send, unmodified, is understood: each model call once, with its tokens,
//! model, provider, messages, cost and error. The APIs that they call are stand-ins.

mod library;
mod told;

use library::{ANTHROPIC, Library, OPENAI, Stream, UNTOLD_STREAM};
use told::{Told, node, python};

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
        ..OTEL_OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

/// The instrumentation of OpenTelemetry's contributors, as far as it tells the same in all its modes.
const OTEL_OPENAI: Library = Library {
    dialect: "otel",
    // It tells of no tokens from the cache, which cost half.
    cache_read: None,
    reasoning: None,
    cost: 450_000,
    counted_cost: 450_000,
    stream: Stream {
        cost: 450_000,
        counted_cost: 450_000,
        cache_read: None,
        reasoning: None,
        ..UNTOLD_STREAM
    },
    finish_reason_of_stream: None,
    has_tool_definitions: false,
    ..OPENAI
};

// Scenario: the same, with messages as log records, one event a message; they arrive before the spans,
// then after them.
// Guarantees: as above: they are joined to their spans in either order.
#[test]
fn messages_in_events_are_joined_to_their_spans() {
    for order in [&[][..], &["logs-last"]] {
        let library = Library {
            name: "otel-openai-messages",
            ..OTEL_OPENAI
        };
        Told::by(library, python(library.name).args(order)).assert_understood();
    }
}

// Scenario: the same, with one event that has all messages of a call.
// Guarantees: as above.
#[test]
fn details_in_events_are_joined_to_their_spans() {
    for order in [&[][..], &["logs-last"]] {
        let library = Library {
            name: "otel-openai-details",
            ..OTEL_OPENAI
        };
        Told::by(library, python(library.name).args(order)).assert_understood();
    }
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
// Guarantees: each call counts once, as both spans have the id of the answer; of a stream neither has
// it, but one is within the time of the other and they are of two packages.
#[test]
fn a_call_that_two_instrumentations_tell_counts_once() {
    let library = Library {
        name: "langchain-and-openai",
        dialect: "openinference",
        ..OPENAI
    };
    let told = Told::by(library, &mut python(library.name));
    for scenario in ["chat", "stream", "tool", "first turn", "second turn"] {
        let calls = 1 + u64::from(scenario == "tool");
        told.assert_totals(scenario, calls, 20 * calls, 400_000 * calls);
        let spans = told.answer(scenario).calls().count();
        assert_eq!(spans as u64, 2 * calls, "{scenario}");
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

/// Versions of the AI SDK that tell of calls themselves.
const AI_SDK: Library = Library {
    dialect: "ai_sdk",
    has_tool_span: true,
    ..OPENAI
};

// Scenario: the same with version 4, which tells of cached tokens and of reasoning in what the provider
// says besides.
// Guarantees: as above.
#[test]
fn ai_sdk_4_is_understood() {
    let library = Library {
        name: "ai-sdk-4",
        ..AI_SDK
    };
    Told::by(library, &mut node(library.name)).assert_understood();
}

// Scenario: the same with version 5, which tells of cached tokens and of reasoning in streams only.
// Guarantees: as above.
#[test]
fn ai_sdk_5_is_understood() {
    let library = Library {
        name: "ai-sdk-5",
        cache_read: None,
        reasoning: None,
        cost: 450_000,
        counted_cost: 450_000,
        ..AI_SDK
    };
    Told::by(library, &mut node(library.name)).assert_understood();
}

// Scenario: the same with version 6.
// Guarantees: as above.
#[test]
fn ai_sdk_6_is_understood() {
    let library = Library {
        name: "ai-sdk-6",
        ..AI_SDK
    };
    Told::by(library, &mut node(library.name)).assert_understood();
}

// Scenario: the same with OpenAI's Responses API and OpenInference's instrumentation.
// Guarantees: as above. (Why a call ended is not told.)
#[test]
fn openinference_responses_are_understood() {
    let library = Library {
        name: "openinference-responses",
        dialect: "openinference",
        finish_reason_of_stream: None,
        tells_reasons: false,
        has_session: true,
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}

// Scenario: the same with OpenLLMetry's, which takes another id for a tool's call than its result
// has.
// Guarantees: as above.
#[test]
fn openllmetry_responses_are_understood() {
    let library = Library {
        name: "openllmetry-responses",
        dialect: "openllmetry",
        stream: Stream {
            has_first_token: false,
            ..OPENAI.stream
        },
        keeps_tool_ids: false,
        ..OPENAI
    };
    Told::by(library, &mut python(library.name)).assert_understood();
}
