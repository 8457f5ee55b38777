//! Shapes of messages, one by one, and what holds for any attributes. Whole spans of each dialect
//! are in `tests/golden`.

use opentelemetry_proto::tonic::common::v1 as proto;
use opentelemetry_proto::tonic::trace::v1 as trace;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn attribute(key: &str, value: &str) -> proto::KeyValue {
    proto::KeyValue {
        key: key.to_owned(),
        value: Some(proto::AnyValue {
            value: Some(proto::any_value::Value::StringValue(value.to_owned())),
        }),
        ..proto::KeyValue::default()
    }
}

fn read(attributes: &[(&str, &str)]) -> Option<Messages> {
    let span = trace::Span {
        attributes: attributes
            .iter()
            .map(|(key, value)| attribute(key, value))
            .collect(),
        ..trace::Span::default()
    };
    let bytes = span.encode_to_vec();
    Messages::of(&Span::parse(&bytes).unwrap(), "")
}

/// The messages of a chat whose input is this value.
fn input(value: &str) -> serde_json::Value {
    let chat = ("gen_ai.operation.name", "chat");
    let messages = read(&[chat, ("gen_ai.input.messages", value)]).unwrap();
    serde_json::to_value(messages.input_messages).unwrap()
}

macro_rules! assert_input {
    ($sent:expr, $expected:tt) => {
        assert_eq!(input($sent), serde_json::json!($expected), "{}", $sent)
    };
}

#[test]
fn the_shape_of_the_conventions_stays() {
    assert_input!(
        r#"[{"role":"user","parts":[{"type":"text","content":"Hi"}],"name":null}]"#,
        [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]
    );
}

#[test]
fn a_tool_may_answer_in_parts_of_text() {
    assert_input!(
        r#"[{"role":"tool","parts":[{"type":"text","content":"22"}],"tool_call_id":"c1"}]"#,
        [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "22"}]}]
    );
    assert_input!(
        r#"[{"role":"tool","parts":[{"type":"text","content":"{\"a\":1}"}],"tool_call_id":"c1"}]"#,
        [{"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"a": 1}}]}]
    );
    assert_input!(
        r#"[{"role":"tool","parts":[{"type":"text","content":"a"},{"type":"text","content":"b"}],"tool_call_id":"c1"}]"#,
        [{"role": "tool", "parts": [
            {"type": "tool_call_response", "id": "c1", "response": ["a", "b"]}
        ]}]
    );
    // Without the id of a call it is what it says.
    assert_input!(
        r#"[{"role":"tool","parts":[{"type":"text","content":"22"}]}]"#,
        [{"role": "tool", "parts": [{"type": "text", "content": "22"}]}]
    );
}

#[test]
fn content_may_be_text_or_parts() {
    let expected = serde_json::json!([
        {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}
    ]);
    for sent in [
        r#"[{"role":"user","content":"Hi"}]"#,
        r#"[{"role":"user","content":[{"type":"text","text":"Hi"}]}]"#,
        r#"{"role":"user","content":"Hi"}"#,
        r#"{"messages":[{"role":"human","content":"Hi"}]}"#,
        r#"[[{"role":"user","content":"Hi"}]]"#,
        r#"[{"role":"user","parts":[{"text":"Hi"}]}]"#,
        r#""Hi""#,
        "Hi",
        r#"["Hi"]"#,
        r#"[{"text":"Hi"}]"#,
        r#"{"prompt":"Hi"}"#,
        r#"[{"event.name":"gen_ai.user.message","content":"Hi"}]"#,
        r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#,
        r#"[{"lc":1,"type":"constructor","id":["langchain","schema","messages","HumanMessage"],"kwargs":{"content":"Hi","type":"human"}}]"#,
    ] {
        assert_eq!(input(sent), expected, "{sent}");
    }
    let twice = serde_json::to_string(r#"[{"role":"user","content":"Hi"}]"#).unwrap();
    assert_eq!(input(&twice), expected);
}

#[test]
fn calls_of_tools_are_read_in_every_providers_shape() {
    let expected = serde_json::json!([
        {"role": "assistant", "parts": [{
            "type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}
        }]}
    ]);
    for sent in [
        r#"[{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}}]}]"#,
        r#"[{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"weather","input":{"city":"Paris"}}]}]"#,
        r#"[{"role":"assistant","content":[{"type":"tool-call","toolCallId":"c1","toolName":"weather","input":{"city":"Paris"}}]}]"#,
        r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"weather","arguments":"{\"city\": \"Paris\"}"}]}]"#,
        r#"[{"role":"assistant","content":[{"toolUse":{"toolUseId":"c1","name":"weather","input":{"city":"Paris"}}}]}]"#,
        r#"[{"role":"model","parts":[{"functionCall":{"id":"c1","name":"weather","args":{"city":"Paris"}}}]}]"#,
        r#"[{"type":"function_call","call_id":"c1","name":"weather","arguments":"{\"city\":\"Paris\"}"}]"#,
        r#"[{"lc":1,"type":"constructor","id":["x","AIMessage"],"kwargs":{"content":"","tool_calls":[{"id":"c1","name":"weather","args":{"city":"Paris"}}]}}]"#,
        // The same call twice is one call.
        r#"[{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"weather","input":{"city":"Paris"}}],"tool_calls":[{"id":"c1","function":{"name":"weather","arguments":"{}"}}]}]"#,
    ] {
        assert_eq!(input(sent), expected, "{sent}");
    }
}

#[test]
fn answers_of_tools_are_read_in_every_providers_shape() {
    let expected = |role: &str| {
        serde_json::json!([
            {"role": role, "parts": [{"type": "tool_call_response", "id": "c1", "response": "22"}]}
        ])
    };
    for (role, sent) in [
        (
            "tool",
            r#"[{"role":"tool","tool_call_id":"c1","content":"22"}]"#,
        ),
        (
            "tool",
            r#"[{"role":"tool","parts":[{"type":"tool_call_response","id":"c1","result":"22"}]}]"#,
        ),
        (
            "user",
            r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"22"}]}]"#,
        ),
        (
            "tool",
            r#"[{"type":"function_call_output","call_id":"c1","output":"22"}]"#,
        ),
        (
            "tool",
            r#"[{"role":"tool","content":[{"type":"tool-result","toolCallId":"c1","result":"22"}]}]"#,
        ),
    ] {
        assert_eq!(input(sent), expected(role), "{sent}");
    }
}

#[test]
fn arguments_keep_the_order_of_their_keys_and_stay_text_when_they_are_no_json() {
    let chat = ("gen_ai.operation.name", "chat");
    let sent = r#"[{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{\"z\":1,\"a\":2}"}},{"id":"d","function":{"name":"f","arguments":"{\"z\":"}}]}]"#;
    let messages = read(&[chat, ("gen_ai.input.messages", sent)]).unwrap();
    let text = serde_json::to_string(&messages.input_messages).unwrap();
    assert!(text.contains(r#""arguments":{"z":1,"a":2}"#), "{text}");
    assert!(text.contains(r#""arguments":"{\"z\":""#), "{text}");
}

#[test]
fn media_are_references_or_inline_up_to_a_size() {
    assert_input!(
        r#"[{"role":"user","content":[
            {"type":"image_url","image_url":{"url":"https://example.com/a.png"}},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}},
            {"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"aGk="}},
            {"inlineData":{"mimeType":"audio/wav","data":"aGk="}},
            {"type":"input_audio","input_audio":{"data":"aGk=","format":"mp3"}},
            {"type":"file","file":{"file_id":"f1"}},
            {"type":"hologram","depth":3}]}]"#,
        [{"role": "user", "parts": [
            {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
            {"type": "blob", "mime_type": "image/png", "modality": "image", "content": "aGk="},
            {"type": "blob", "mime_type": "image/jpeg", "modality": "image", "content": "aGk="},
            {"type": "blob", "mime_type": "audio/wav", "modality": "audio", "content": "aGk="},
            {"type": "blob", "mime_type": "audio/mp3", "modality": "audio", "content": "aGk="},
            {"type": "file", "file_id": "f1"},
            {"type": "hologram", "depth": 3}
        ]}]
    );
    let large = "A".repeat(media::INLINE_BYTES_MAX + 1);
    let sent = format!(
        r#"[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{large}"}}}}]}}]"#
    );
    assert_input!(
        &sent,
        [{"role": "user", "parts": [{
            "type": "blob", "mime_type": "image/png", "modality": "image", "omitted_bytes": 65537
        }]}]
    );
}

#[test]
fn reasoning_is_kept_apart() {
    assert_input!(
        r#"[{"role":"assistant","content":[{"type":"thinking","thinking":"Hm"},{"type":"text","text":"Hi"}]},
            {"role":"assistant","reasoning_content":"Hm","content":"Hi"},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"Hm"}]},
            {"role":"model","parts":[{"text":"Hm","thought":true}]}]"#,
        [
            {"role": "assistant", "parts": [
                {"type": "reasoning", "content": "Hm"}, {"type": "text", "content": "Hi"}]},
            {"role": "assistant", "parts": [
                {"type": "reasoning", "content": "Hm"}, {"type": "text", "content": "Hi"}]},
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm"}]},
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm"}]}
        ]
    );
}

#[test]
fn what_was_cut_off_is_kept_and_marked() {
    let cut = r#"[{"role":"user","parts":[{"type":"text","content":"A long"#;
    let chat = ("gen_ai.operation.name", "chat");
    let messages = read(&[chat, ("gen_ai.input.messages", cut)]).unwrap();
    assert_eq!(messages.unparsed, ["gen_ai.input.messages"]);
    assert_input!(
        cut,
        [{"role": "user", "parts": [{"type": "text", "content": cut, "unparsed": true}]}]
    );
}

#[test]
fn indexed_keys_are_sorted_by_number_and_bounded() {
    let messages = read(&[
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.prompt.10.content", "third"),
        ("gen_ai.prompt.2.content", "second"),
        ("gen_ai.prompt.0.content", "first"),
        ("gen_ai.prompt.0.role", "system"),
        ("gen_ai.prompt.4294967295.content", "never"),
        ("gen_ai.prompt.-1.content", "never"),
        ("gen_ai.prompt.__proto__.content", "never"),
        ("gen_ai.prompt.99999.content", "never"),
        ("gen_ai.completion.0.content", "answer"),
        ("gen_ai.completion.0.finish_reason", "tool_calls"),
        ("gen_ai.completion.0.tool_calls.0.name", "f"),
        ("gen_ai.completion.0.tool_calls.0.arguments", "{\"a\":1}"),
    ])
    .unwrap();
    assert_eq!(
        serde_json::to_value(&messages.input_messages).unwrap(),
        serde_json::json!([
            {"role": "system", "parts": [{"type": "text", "content": "first"}]},
            {"role": "user", "parts": [{"type": "text", "content": "second"}]},
            {"role": "user", "parts": [{"type": "text", "content": "third"}]}
        ])
    );
    assert_eq!(
        serde_json::to_value(&messages.output_messages).unwrap(),
        serde_json::json!([{"role": "assistant", "finish_reason": "tool_call", "parts": [
            {"type": "text", "content": "answer"},
            {"type": "tool_call", "name": "f", "arguments": {"a": 1}}
        ]}])
    );
}

#[test]
fn spans_without_content_have_no_messages() {
    assert_eq!(read(&[("http.request.method", "GET")]), None);
    assert_eq!(read(&[("gen_ai.operation.name", "chat")]), None);
    assert_eq!(read(&[("input.value", "not a span of a model")]), None);
}

#[test]
fn steps_show_values_and_models_show_messages() {
    let step = [
        ("openinference.span.kind", "CHAIN"),
        ("input.value", r#"{"question":"Why?","k":2}"#),
        ("output.value", "Because."),
    ];
    let messages = read(&step).unwrap();
    assert_eq!(messages.input_messages, []);
    assert_eq!(
        serde_json::to_value(&messages.input_value).unwrap(),
        serde_json::json!({"question": "Why?", "k": 2})
    );
    assert_eq!(messages.output_value, Some("Because.".into()));
    let model = read(&[("openinference.span.kind", "LLM"), ("input.value", "Why?")]).unwrap();
    assert_eq!(model.input_messages.len(), 1);
    assert_eq!(model.input_value, None);
}

/// JSON, whole or cut off, of the words that messages are made of.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    let words = prop::sample::select(vec![
        "role",
        "parts",
        "content",
        "type",
        "text",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "messages",
        "message",
        "choices",
        "kwargs",
        "lc",
        "id",
        "image_url",
        "url",
        "source",
        "toolUse",
        "toolResult",
        "functionCall",
        "output",
        "finish_reason",
        "event.name",
        "data",
    ]);
    let tree = leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::hash_map(words.clone(), inner, 0..5).prop_map(|map| {
                map.into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    });
    (tree, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(tree, end, whole)| {
        let text = tree.to_string();
        if whole {
            return text;
        }
        let end = text.floor_char_boundary(end.index(text.len() + 1));
        text.get(..end).unwrap_or_default().to_owned()
    })
}

proptest! {
    /// Any JSON, whole or cut off, wherever content is, is read without a panic, and is shown.
    #[test]
    fn any_json_is_read(
        text in json_text(),
        key in prop::sample::select(vec![
            "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions",
            "gen_ai.tool.definitions", "input.value", "output.value", "events", "request_data",
            "ai.prompt.messages", "ai.response.toolCalls", "gcp.vertex.agent.llm_request",
            "llm.input_messages.0.message.content", "gen_ai.prompt.0.tool_calls.0.arguments",
            "retrieval.documents.0.document.metadata", "embedding.embeddings.0.embedding.text",
        ]),
        operation in prop::sample::select(vec![
            "chat", "embeddings", "execute_tool", "retrieval", "invoke_agent",
        ]),
    ) {
        let messages = read(&[("gen_ai.operation.name", operation), (key, &text)]);
        let json = serde_json::to_string(&messages).unwrap();
        // A list of messages that is null or empty has nothing to show.
        let rest = ["messages", "message", "choices", "output", "null"]
            .iter()
            .fold(text.clone(), |rest, word| rest.replace(word, ""));
        let says_something = rest.contains(char::is_alphanumeric);
        if operation == "chat" && key == "gen_ai.input.messages" && says_something {
            prop_assert!(json.len() > 4, "{}", text);
        }
    }
}
