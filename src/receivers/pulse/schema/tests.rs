use proptest::prelude::*;

use super::*;

const TRACE_TEXT: &str = r#"{"trace_id":"0d5f6c0e-8d0c-4f7e-9d55-6a3c1f0f9a11","timestamp":"2026-01-05T10:00:00Z","provider":"openai","model_requested":"gpt-4o","request_body":{},"status":"success","latency_ms":1.5}"#;
const SPAN_TEXT: &str = r#"{"span_id":"a","session_id":"s","timestamp":"2026-01-05T10:00:00Z","source":"codex","kind":"tool_use","event_type":"x","status":"error"}"#;

fn issues(schema: &Schema, body: &str) -> String {
    let body = Json::parse(body.as_bytes()).unwrap();
    let issues = schema.check(body).unwrap_err();
    Json::List(issues).to_string()
}

/// The issues of a good item of which one field is another.
fn with(schema: &Schema, field: &str, value: &str) -> String {
    let good = if schema.null_is_absent {
        TRACE_TEXT
    } else {
        SPAN_TEXT
    };
    let Json::Map(mut entries) = Json::parse(good.as_bytes()).unwrap() else {
        panic!("an object")
    };
    entries.retain(|(key, _)| key != field);
    if !value.is_empty() {
        entries.push((field.to_owned(), Json::parse(value.as_bytes()).unwrap()));
    }
    issues(schema, &Json::List(vec![Json::Map(entries)]).to_string())
}

#[test]
fn every_failure_has_its_issue() {
    let uuid = UUID.replace('\\', "\\\\");
    let datetime = DATETIME.replace('\\', "\\\\");
    let uuid_issue = format!(
        r#"[{{"origin":"string","code":"invalid_format","format":"uuid","pattern":"{uuid}","path":[0,"trace_id"],"message":"Invalid UUID"}}]"#
    );
    let datetime_issue = format!(
        r#"[{{"origin":"string","code":"invalid_format","format":"datetime","pattern":"{datetime}","path":[0,"timestamp"],"message":"Invalid ISO datetime"}}]"#
    );
    let wrong_type = |expected: &str, received: &str, field: &str| {
        format!(
            r#"[{{"expected":"{expected}","code":"invalid_type","path":[0,"{field}"],"message":"Invalid input: expected {expected}, received {received}"}}]"#
        )
    };
    let provider = r#"[{"code":"invalid_value","values":["openai","anthropic","openrouter"],"path":[0,"provider"],"message":"Invalid option: expected one of \"openai\"|\"anthropic\"|\"openrouter\""}]"#;
    for (field, value, expected) in [
        ("trace_id", "", wrong_type("string", "undefined", "trace_id")),
        ("trace_id", "null", wrong_type("string", "null", "trace_id")),
        ("trace_id", "\"x\"", uuid_issue),
        ("timestamp", "\"2026-01-05\"", datetime_issue),
        ("timestamp", "5", wrong_type("string", "number", "timestamp")),
        ("provider", "\"google\"", provider.to_owned()),
        ("provider", "", provider.to_owned()),
        ("model_requested", "\"\"", r#"[{"origin":"string","code":"too_small","minimum":1,"inclusive":true,"path":[0,"model_requested"],"message":"Too small: expected string to have >=1 characters"}]"#.to_owned()),
        ("request_body", "[]", wrong_type("record", "array", "request_body")),
        ("metadata", "\"m\"", wrong_type("record", "string", "metadata")),
        ("latency_ms", "-1", r#"[{"origin":"number","code":"too_small","minimum":0,"inclusive":true,"path":[0,"latency_ms"],"message":"Too small: expected number to be >=0"}]"#.to_owned()),
        ("latency_ms", "{}", wrong_type("number", "object", "latency_ms")),
        ("input_tokens", "1.5", r#"[{"expected":"int","format":"safeint","code":"invalid_type","path":[0,"input_tokens"],"message":"Invalid input: expected int, received number"}]"#.to_owned()),
        ("output_tokens", "9007199254740992", r#"[{"code":"too_big","maximum":9007199254740991,"note":"Integers must be within the safe integer range.","origin":"int","inclusive":true,"path":[0,"output_tokens"],"message":"Too big: expected int to be <=9007199254740991"}]"#.to_owned()),
        ("output_text", "true", wrong_type("string", "boolean", "output_text")),
    ] {
        assert_eq!(with(&TRACE, field, value), expected, "{field} {value}");
    }
    assert_eq!(
        with(&SPAN, "is_interrupt", "null"),
        wrong_type("boolean", "null", "is_interrupt")
    );
    assert_eq!(
        with(&SPAN, "kind", "\"span\""),
        r#"[{"code":"invalid_value","values":["llm_call","tool_use","agent_run","session","user_prompt","llm_response","notification"],"path":[0,"kind"],"message":"Invalid option: expected one of \"llm_call\"|\"tool_use\"|\"agent_run\"|\"session\"|\"user_prompt\"|\"llm_response\"|\"notification\""}]"#
    );
}

const UUID: &str = scalar::UUID_PATTERN;
const DATETIME: &str = scalar::DATETIME_PATTERN;

#[test]
fn bodies_are_arrays_of_at_most_a_hundred_objects() {
    assert_eq!(
        issues(&TRACE, "{}"),
        r#"[{"expected":"array","code":"invalid_type","path":[],"message":"Invalid input: expected array, received object"}]"#
    );
    assert_eq!(
        issues(&SPAN, "[\"a\"]"),
        r#"[{"expected":"object","code":"invalid_type","path":[0],"message":"Invalid input: expected object, received string"}]"#
    );
    let too_big = r#"{"origin":"array","code":"too_big","maximum":100,"inclusive":true,"path":[],"message":"Too big: expected array to have <=100 items"}"#;
    let many = |count: usize| format!("[{}]", vec![TRACE_TEXT; count].join(","));
    assert_eq!(issues(&TRACE, &many(101)), format!("[{too_big}]"));
    assert_eq!(issues(&TRACE, &many(1001)), format!("[{too_big}]"));
    let hundred = Json::parse(many(100).as_bytes()).unwrap();
    assert_eq!(TRACE.check(hundred).unwrap().len(), 100);
    assert_eq!(TRACE.check(Json::List(Vec::new())), Ok(Vec::new()));
}

#[test]
fn all_failures_are_said_in_the_order_of_the_fields() {
    let text = issues(&TRACE, r#"[{"status":1,"trace_id":7},{"latency_ms":"x"}]"#);
    let all = Json::parse(text.as_bytes()).unwrap();
    let path = |issue: &Json| issue.get("path").unwrap().to_string();
    let paths: Vec<_> = all.as_list().unwrap().iter().map(path).collect();
    let fields = |index: usize| {
        let required = TRACE.fields.iter().filter(|field| field.required);
        required.map(move |field| format!("[{index},\"{}\"]", field.name))
    };
    assert_eq!(paths, fields(0).chain(fields(1)).collect::<Vec<_>>());
}

#[test]
fn null_is_absent_in_traces_only_and_unknown_fields_are_dropped() {
    let open = TRACE_TEXT.strip_suffix('}').unwrap();
    let more = r#""output_text":null,"input_tokens":2.0,"session_id":null,"other":1}"#;
    let body = format!("{open},{more}");
    let body = Json::parse(format!("[{body}]").as_bytes()).unwrap();
    let items = TRACE.check(body).unwrap();
    assert_eq!(items[0].get("output_text"), None);
    assert_eq!(items[0].get("other"), None);
    assert_eq!(items[0].get("input_tokens"), Some(&Json::Number(2.0)));
    let span = SPAN_TEXT.replace("\"status\"", "\"tool_input\":null,\"status\"");
    let body = Json::parse(format!("[{span}]").as_bytes()).unwrap();
    let items = SPAN.check(body).unwrap();
    assert_eq!(items[0].get("tool_input"), Some(&Json::Null));
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<f64>().prop_map(Json::Number),
        "[a-z0-9:TZ-]{0,12}".prop_map(Json::Text),
    ];
    let name = prop::sample::select(
        TRACE
            .fields
            .iter()
            .chain(SPAN.fields)
            .map(|it| it.name)
            .collect::<Vec<_>>(),
    );
    leaf.prop_recursive(3, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(Json::map),
        ]
    })
}

proptest! {
    // Scenario: any JSON of any shape under the names of the fields.
    // Guarantees: never a panic; items or issues, and issues never empty.
    #[test]
    fn checking_never_panics(body in json()) {
        for schema in [&TRACE, &SPAN] {
            if let Err(issues) = schema.check(body.clone()) {
                prop_assert!(!issues.is_empty());
            }
        }
    }
}
