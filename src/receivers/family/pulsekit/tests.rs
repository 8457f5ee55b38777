use opentelemetry_proto::tonic::common::v1::KeyValue;
use serde_json::json;

use super::*;
use crate::model::ProjectId;

const NOW: u64 = 1_800_000_000_000_000_000;

fn read(json: &Value) -> Result<(Taken, Draft), Vec<Wrong>> {
    event(json, NOW, &mut Identities::new(ProjectId(1), [7; 16]))
}

fn found<'d>(draft: &'d Draft, key: &str) -> Option<&'d Any> {
    let is = |it: &&KeyValue| it.key == key;
    let attribute = draft.record.attributes.iter().find(is)?;
    attribute.value.as_ref()?.value.as_ref()
}

fn said(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

#[test]
fn every_field_has_its_place() {
    let json = json!({
        "type": "payment.failed", "level": "fatal", "message": "no", "environment": "production",
        "release": "1.0", "fingerprint": "mine", "tags": {"a": "b", "n": 1},
        "stacktrace": [{"function": "f", "file": "a.ts", "line": 3, "column": 4}],
        "metadata": {"amount": 1.5, "trace_id": "0d5f6c0e8d0c4f7e9d556a3c1f0f9a11",
            "spanId": "00f067aa0ba902b7", "userId": "u", "big": 9_007_199_254_740_993_u64},
        "timestamp": "2026-01-05T10:00:00.123456789+00:00", "unknown": 1
    });
    let (taken, draft) = read(&json).unwrap();
    assert_eq!(
        (taken.kind.as_str(), taken.level),
        ("payment.failed", "fatal")
    );
    assert_eq!(taken.unix_nano, 1_767_607_200_123_456_789);
    assert_eq!(draft.record.time_unix_nano, taken.unix_nano);
    assert_eq!(draft.record.severity_number, 21);
    assert_eq!(draft.record.event_name, "payment.failed");
    assert_eq!(draft.record.body.as_ref().unwrap().value, Some(said("no")));
    assert_eq!(draft.origin.release.as_deref(), Some("1.0"));
    assert_eq!(draft.origin.environment.as_deref(), Some("production"));
    assert_eq!(
        (draft.record.trace_id.len(), draft.record.span_id.len()),
        (16, 8)
    );
    for (key, expected) in [
        (names::EVENT_ID, said(&taken.id)),
        (names::FINGERPRINT, said("mine")),
        ("pulse.tag.a", said("b")),
        ("pulse.tag.n", Any::IntValue(1)),
        (names::USER_ID, said("u")),
    ] {
        assert_eq!(found(&draft, key), Some(&expected), "{key}");
    }
    let metadata = value::to_json(found(&draft, names::METADATA).cloned());
    assert_eq!(metadata.get("amount").unwrap().as_number(), Some(1.5));
    let Some(Any::KvlistValue(list)) = found(&draft, names::METADATA) else {
        panic!("metadata")
    };
    let big = list.values.iter().find(|it| it.key == "big").unwrap();
    let big = big.value.as_ref().unwrap().value.as_ref();
    assert_eq!(big, Some(&Any::IntValue(9_007_199_254_740_993)));
    let stack = value::to_json(found(&draft, names::STACK).cloned());
    let frame = &stack.as_list().unwrap()[0];
    assert_eq!(frame.get("line").unwrap().as_number(), Some(3.0));
}

// Scenario: what each SDK sends at the least, the Elixir one with null for what it has not got.
// Guarantees: taken, with the defaults of the contract.
#[test]
fn sdks_send_what_they_have() {
    let elixir = json!({"type": "error", "level": "nil", "message": null, "metadata": {},
        "stacktrace": [], "environment": null, "release": null, "tags": null, "fingerprint": null,
        "timestamp": null});
    for json in [json!({"type": "error"}), elixir] {
        let (taken, draft) = read(&json).unwrap();
        assert_eq!((taken.level, taken.unix_nano), ("info", NOW));
        assert_eq!(draft.record.severity_number, 9);
        assert_eq!(draft.record.body, None);
        assert_eq!(draft.origin, Origin::default());
        // MD5 of `error:`.
        assert_eq!(
            found(&draft, names::FINGERPRINT),
            Some(&said("f3bab23b0e814f9f"))
        );
    }
    assert_eq!(fingerprint("a", "b"), "d8160c9b3dc20d4e");
    for stack in [json!("at f"), json!({"frames": []}), json!([1])] {
        let (_, draft) = read(&json!({"type": "e", "stacktrace": stack})).unwrap();
        let is_text = stack.is_string();
        assert_eq!(found(&draft, names::STACK_TEXT).is_some(), is_text);
        assert_eq!(found(&draft, names::STACK).is_some(), !is_text);
    }
}

#[test]
fn what_is_wrong_is_said_by_field() {
    for (json, wrong) in [
        (json!({}), vec![("type", BLANK)]),
        (json!([1]), vec![("type", BLANK)]),
        (json!(null), vec![("type", BLANK)]),
        (json!({"type": ""}), vec![("type", BLANK)]),
        (json!({"type": " "}), vec![("type", BLANK)]),
        (json!({"type": 1}), vec![("type", INVALID)]),
        (
            json!({"type": "a", "level": "warn"}),
            vec![("level", INVALID)],
        ),
        (json!({"type": "a", "level": 3}), vec![("level", INVALID)]),
        (
            json!({"type": "a", "message": 1, "metadata": [], "stacktrace": 1, "tags": "x",
                "environment": {}, "release": [], "fingerprint": true}),
            vec![
                ("message", INVALID),
                ("metadata", INVALID),
                ("stacktrace", INVALID),
                ("release", INVALID),
                ("environment", INVALID),
                ("tags", INVALID),
                ("fingerprint", INVALID),
            ],
        ),
    ] {
        assert_eq!(read(&json).unwrap_err(), wrong, "{json}");
    }
}

#[test]
fn times_that_can_not_be_read_are_now() {
    for timestamp in ["soon", "2026-01-05", "1960-01-05T10:00:00Z", ""] {
        let json = json!({"type": "a", "timestamp": timestamp});
        assert_eq!(read(&json).unwrap().0.unix_nano, NOW, "{timestamp}");
    }
    assert_eq!(
        read(&json!({"type": "a", "timestamp": 5}))
            .unwrap()
            .0
            .unix_nano,
        NOW
    );
}

// Scenario: an event with a time is sent again; one without.
// Guarantees: the first has the same id and record, the other a new one.
#[test]
fn an_event_sent_again_is_the_same() {
    let again = |json: &Value, salt: u8| {
        let mut identities = Identities::new(ProjectId(1), [salt; 16]);
        event(json, NOW + u64::from(salt), &mut identities).unwrap()
    };
    let timed = json!({"type": "a", "timestamp": "2026-01-05T10:00:00Z"});
    assert_eq!(again(&timed, 1), again(&timed, 2));
    let untimed = json!({"type": "a"});
    assert_ne!(again(&untimed, 1).0.id, again(&untimed, 2).0.id);
}
