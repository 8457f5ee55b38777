use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use super::*;
use crate::model::ProjectId;

const NOW: u64 = 1_800_000_000_000_000_000;

fn read(text: &str) -> Result<Vec<Draft>, Refusal> {
    let body = Json::parse(text.as_bytes()).unwrap();
    events(&body, NOW, &mut Identities::new(ProjectId(1), [7; 16]))
}

fn found<'d>(draft: &'d Draft, key: &str) -> Option<&'d str> {
    let is = |it: &&KeyValue| it.key == key;
    let attribute = draft.record.attributes.iter().find(is)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

// Scenario: what DebugQueue sends, with an error and a trace id for correlation.
// Guarantees: each field has its place; a correlation id that is no trace id is kept and no link.
#[test]
fn every_field_has_its_place() {
    let body = r#"{"events":[
        {"eventType":"SESSION_DROP","details":{},"correlationId":"1767607200000-ab12cd34e","level":"info","priority":"medium","service":"s","timestamp":"2026-01-05T10:00:00.000Z"},
        {"eventType":"FAILED","details":{"error":{"message":"m","stack":"at f","name":"TypeError"}},"correlationId":"0d5f6c0e8d0c4f7e9d556a3c1f0f9a11","level":"critical","metadata":{"userId":"u","sessionId":"x","more":[1]}},
        {"eventType":"","details":{"message":"hello"},"timestamp":"soon","level":"warn"}
    ],"environment":"development"}"#;
    let drafts = read(body).unwrap();
    let [one, two, three] = drafts.as_slice() else {
        panic!("three")
    };
    assert!(
        drafts
            .iter()
            .all(|it| it.origin.environment.as_deref() == Some("development"))
    );
    assert_eq!(one.origin.service.as_deref(), Some("s"));
    assert_eq!(one.record.event_name, "SESSION_DROP");
    assert_eq!(one.record.time_unix_nano, 1_767_607_200_000_000_000);
    assert_eq!(
        found(one, names::CORRELATION_ID),
        Some("1767607200000-ab12cd34e")
    );
    assert_eq!(found(one, names::PRIORITY), Some("medium"));
    assert!(one.record.trace_id.is_empty());
    assert_eq!(two.record.trace_id.len(), 16);
    assert_eq!(
        (two.record.severity_number, two.record.time_unix_nano),
        (21, NOW)
    );
    assert_eq!(found(two, "exception.type"), Some("TypeError"));
    assert_eq!(found(two, names::STACK_TEXT), Some("at f"));
    assert_eq!(found(two, names::SESSION_ID), Some("x"));
    assert_eq!(found(three, names::TIMESTAMP), Some("soon"));
    assert_eq!(three.record.severity_number, 13);
    let body = three.record.body.as_ref().unwrap().value.clone();
    assert_eq!(body, Some(Any::StringValue("hello".to_owned())));
    assert_eq!(read(r#"{"events":[]}"#), Ok(Vec::new()));
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_server() {
    let messages = |text: &str| {
        let refusal = read(text).unwrap_err();
        assert!(refusal.form.is_empty());
        refusal.events
    };
    assert_eq!(messages("{}"), ["Required"]);
    assert_eq!(
        messages(r#"{"events":null}"#),
        ["Expected array, received null"]
    );
    assert_eq!(messages(r#"{"eventType":"A","details":{}}"#), ["Required"]);
    let wrong = r#"{"events":[{},7,{"eventType":1,"details":[],"correlationId":null,"level":"warning","priority":2,"metadata":{"userId":5}}]}"#;
    assert_eq!(
        messages(wrong),
        [
            "Required",
            "Required",
            "Expected object, received number",
            "Expected string, received number",
            "Expected object, received array",
            "Expected string, received null",
            "Invalid enum value. Expected 'debug' | 'info' | 'warn' | 'error' | 'critical', received 'warning'",
            "Expected 'low' | 'medium' | 'high', received number",
            "Expected string, received number",
        ]
    );
    let refusal = read(r#"{"events":[],"environment":5}"#).unwrap_err();
    assert_eq!(refusal.environment, ["Expected string, received number"]);
    let refusal = read("[]").unwrap_err();
    assert_eq!(refusal.form, ["Expected object, received array"]);
    let many = vec!["{\"eventType\":\"a\",\"details\":{}}"; EVENTS_MAX + 1].join(",");
    let said = messages(&format!("{{\"events\":[{many}]}}"));
    assert_eq!(said, ["Array must contain at most 10000 element(s)"]);
    let bad = vec!["1"; EVENTS_MAX].join(",");
    assert_eq!(
        messages(&format!("{{\"events\":[{bad}]}}")).len(),
        MESSAGES_MAX
    );
}
