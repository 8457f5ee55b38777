use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use super::*;
use crate::receivers::family::schema::check;

const NOW: u64 = 1_800_000_000_000_000_000;

fn item(fields: &[Field], text: &str) -> Item {
    check("body", fields, Json::parse(text.as_bytes()).unwrap()).unwrap()
}

fn identities(salt: u8) -> Identities {
    Identities::new(ProjectId(1), [salt; 16])
}

fn found<'d>(draft: &'d Draft, key: &str) -> Option<&'d str> {
    let is = |it: &&KeyValue| it.key == key;
    let attribute = draft.record.attributes.iter().find(is)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn details(draft: &Draft) -> String {
    let is = |it: &&KeyValue| it.key == names::DETAILS;
    let attribute = draft.record.attributes.iter().find(is).unwrap();
    value::to_json(attribute.value.clone().unwrap().value).to_string()
}

// Scenario: a metric, an error with a stack, both again; one without a time.
// Guarantees: the payload comes back as it came; an error has the parts of one, and its fingerprint;
// what has a time is known again.
#[test]
fn events_have_their_places() {
    let metric = r#"{"apiKey":"k","type":"metric","name":"screen_load_time","payload":{"value":142,"screen":"Home","x":[1.5,null]},"context":{"app":{}}}"#;
    let metric = item(INGEST, metric);
    let (id, draft) = event(&metric, Some(5_000_000), NOW, &mut identities(1));
    assert_eq!(
        details(&draft),
        r#"{"value":142,"screen":"Home","x":[1.5,null]}"#
    );
    assert_eq!(draft.record.event_name, "screen_load_time");
    assert_eq!(
        (draft.record.severity_number, draft.record.time_unix_nano),
        (9, 5_000_000)
    );
    assert_eq!(found(&draft, names::EVENT_TYPE), Some("metric"));
    assert_eq!(found(&draft, names::FINGERPRINT), None);
    assert_eq!(
        event(&metric, Some(5_000_000), NOW, &mut identities(2)).0,
        id
    );
    let (new, draft) = event(&metric, None, NOW, &mut identities(1));
    assert_ne!(new, event(&metric, None, NOW, &mut identities(2)).0);
    assert_eq!(draft.record.time_unix_nano, NOW);
    let (_, early) = event(&metric, Some(-1_000_000), NOW, &mut identities(1));
    assert_eq!(
        found(&early, names::TIMESTAMP),
        Some("1969-12-31T23:59:59.999Z")
    );
    let error = r#"{"apiKey":"k","type":"error","name":"TypeError","payload":{"message":"m","stack":"a\nb\nc\nd"}}"#;
    let (_, draft) = event(&item(INGEST, error), None, NOW, &mut identities(1));
    assert_eq!(draft.record.severity_number, 17);
    assert_eq!(found(&draft, names::STACK_TEXT), Some("a\nb\nc\nd"));
    let print = fingerprint("TypeError", "a\nb\nc");
    assert_eq!(found(&draft, names::FINGERPRINT), Some(print.as_str()));
}

#[test]
fn crashes_are_grouped_by_name_and_three_lines() {
    // SHA-256 of `E:a\nb\nc`.
    assert_eq!(fingerprint("E", "a\nb\nc\nd"), "2145eafa615b91b7");
    assert_ne!(fingerprint("E", "a\nb\nx"), fingerprint("E", "a\nb\nc"));
    let (one, other) = (ProjectId(1), ProjectId(2));
    assert_ne!(group_id(one, "f"), group_id(other, "f"));
    let crash = r#"{"apiKey":"k","errorName":"E","errorMessage":"m","stackTrace":"a\nb","isFatal":"true","sessionId":"s","context":{"device":{"model":"Pixel","appVersion":"2.0"},"user":{"userId":"u"},"app":{}}}"#;
    let draft = told(
        Told::Crash,
        &item(CRASH, crash),
        None,
        NOW,
        &mut identities(1),
    );
    assert_eq!(
        (
            draft.record.severity_number,
            draft.record.event_name.as_str()
        ),
        (21, "E")
    );
    assert_eq!(draft.origin.release.as_deref(), Some("2.0"));
    assert_eq!(found(&draft, names::USER_ID), Some("u"));
    assert_eq!(found(&draft, names::SESSION_ID), Some("s"));
    assert_eq!(found(&draft, names::EVENT_TYPE), Some("crash"));
    assert_eq!(details(&draft), r#"{"isFatal":true}"#);
    let mild = crash.replace("\"true\"", "false");
    let draft = told(
        Told::Crash,
        &item(CRASH, &mild),
        None,
        NOW,
        &mut identities(1),
    );
    assert_eq!(draft.record.severity_number, 17);
}

#[test]
fn sessions_screens_and_calls_are_told_of() {
    let session = item(
        SESSION,
        r#"{"apiKey":"k","sessionId":"s","startedAt":"2026-01-05T10:00:00Z","duration":"5","crashed":0}"#,
    );
    let draft = told(Told::Session, &session, Some(7), NOW, &mut identities(1));
    assert_eq!(
        draft,
        told(Told::Session, &session, Some(7), NOW, &mut identities(2))
    );
    assert_eq!(draft.record.event_name, "session");
    assert_eq!(
        details(&draft),
        r#"{"startedAt":"2026-01-05T10:00:00Z","duration":5,"crashed":false}"#
    );
    let view = item(
        SCREEN_VIEW,
        r#"{"apiKey":"k","screenName":"Home","loadTime":1.5}"#,
    );
    let draft = told(Told::ScreenView, &view, None, NOW, &mut identities(1));
    assert_eq!(details(&draft), r#"{"screenName":"Home","loadTime":1.5}"#);
    let call = r#"{"apiKey":"k","endpoint":"/a","httpMethod":"GET","statusCode":200,"duration":3}"#;
    let call = item(API_CALL, call);
    let draft = told(Told::ApiCall, &call, None, NOW, &mut identities(1));
    assert_eq!(
        details(&draft),
        r#"{"endpoint":"/a","httpMethod":"GET","statusCode":200,"duration":3}"#
    );
}
