//! Rules on log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::*;

fn record(body: Any, attributes: Vec<KeyValue>) -> LogRecord {
    LogRecord {
        body: Some(value(body)),
        attributes,
        ..LogRecord::default()
    }
}

fn left(yaml: &str, record: LogRecord) -> LogRecord {
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![record],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    let bytes = request.encode_to_vec();
    let redactor = redactor(yaml);
    let redacted = redactor.redact(ProjectId(1), Signal::Logs, &bytes, &mut |_| Ok(()));
    let out = redacted.unwrap().request.unwrap_or(bytes);
    let mut request = ExportLogsServiceRequest::decode(out.as_slice()).unwrap();
    request
        .resource_logs
        .remove(0)
        .scope_logs
        .remove(0)
        .log_records
        .remove(0)
}

fn map(pairs: Vec<KeyValue>) -> Any {
    Any::KvlistValue(KeyValueList { values: pairs })
}

// Guarantees: what patterns and keys find goes from attributes and from bodies of any shape, wherever
// the rule looks, and the rest stays.
#[test]
fn patterns_and_keys_apply_to_attributes_and_bodies() {
    let emails = "[{detectors: [email]}]";
    let sent = record(
        text("mail bob@example.com now"),
        vec![pair("to", text("a@b.org"))],
    );
    let kept = left(emails, sent.clone());
    assert_eq!(
        kept,
        record(text("mail [email] now"), vec![pair("to", text("[email]"))])
    );
    let body_only = left("[{detectors: [email], scope: [log_body]}]", sent.clone());
    assert_eq!(body_only.attributes, sent.attributes);
    assert_eq!(body_only.body, kept.body);
    let attributes_only = left("[{detectors: [email], scope: [log]}]", sent.clone());
    assert_eq!(attributes_only.body, sent.body);
    assert_eq!(attributes_only.attributes, kept.attributes);
    assert_eq!(
        left("[{detectors: [email], scope: [span, event]}]", sent.clone()),
        sent
    );

    let structured = record(
        map(vec![
            pair("password", text("x")),
            pair("user", text("a@b.org")),
        ]),
        vec![pair("password", text("y"))],
    );
    let kept = left("[{keys: [password]}, {detectors: [email]}]", structured);
    let expected = record(
        map(vec![
            pair("password", text("[redacted]")),
            pair("user", text("[email]")),
        ]),
        vec![pair("password", text("[redacted]"))],
    );
    assert_eq!(kept, expected);
    let named = LogRecord {
        event_name: "sent to a@b.org".to_owned(),
        ..LogRecord::default()
    };
    let kept = left("[{detectors: [email], scope: [event_name]}]", named);
    assert_eq!(kept.event_name, "sent to [email]");
}

// Guarantees: what was said goes, however the record tells that it was: by its name in either place,
// by the keys of its attributes, by its body; what tells of the call stays, and so do other records.
#[test]
fn content_goes_in_each_shape_it_comes_in() {
    let rule = "[{drop_content: true}]";
    let secret = || text("SECRET");
    let shown = |record: LogRecord| format!("{:?}", left(rule, record));
    let message = |name: &str| LogRecord {
        event_name: name.to_owned(),
        ..record(
            map(vec![pair("content", secret())]),
            vec![pair("gen_ai.system", text("openai"))],
        )
    };
    let kept = left(rule, message("gen_ai.user.message"));
    assert_eq!(kept.body, None);
    assert_eq!(kept.attributes, [pair("gen_ai.system", text("openai"))]);
    let by_attribute = record(secret(), vec![pair("event.name", text("gen_ai.choice"))]);
    let details = LogRecord {
        event_name: "gen_ai.client.inference.operation.details".to_owned(),
        attributes: vec![
            pair("gen_ai.input.messages", secret()),
            pair("gen_ai.usage.input_tokens", Any::IntValue(7)),
        ],
        ..LogRecord::default()
    };
    let spring = record(text("Chat Model Completion:\nSECRET"), Vec::new());
    let claude = record(
        text("claude_code.user_prompt"),
        vec![
            pair("event.name", text("user_prompt")),
            pair("prompt", secret()),
        ],
    );
    let gemini = record(
        text("API response"),
        vec![
            pair("event.name", text("gemini_cli.api_response")),
            pair("response_text", secret()),
            pair("model", text("kept")),
        ],
    );
    for record in [
        by_attribute,
        details.clone(),
        spring,
        claude,
        gemini.clone(),
    ] {
        let shown = shown(record);
        assert!(!shown.contains("SECRET"), "{shown}");
    }
    assert!(shown(details).contains("gen_ai.usage.input_tokens"));
    assert!(shown(gemini).contains("kept"));
    let other = record(secret(), vec![pair("prompt", secret())]);
    assert_eq!(left(rule, other.clone()), other);
    let masked = left(
        "[{drop_content: true, action: mask}]",
        message("gen_ai.choice"),
    );
    assert_eq!(masked.body, Some(value(text("[content]"))));
}
