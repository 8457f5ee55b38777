//! Rules on whole requests, and what is said of wrong ones.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::*;
use crate::model::ProjectId;
use crate::otlp::Signal;

mod logs;
mod properties;

const KEY: &str = "a key of enough bytes";

/// Rules as they are written.
pub(super) fn config(yaml: &str) -> Config {
    let rules: Vec<Rule> = serde_saphyr::from_str(yaml).unwrap();
    Config {
        enabled: true,
        hash_key: KEY.into(),
        rules,
        ..Config::default()
    }
}

pub(super) fn redactor(yaml: &str) -> Redactor {
    config(yaml).compile().unwrap().unwrap()
}

pub(super) fn redact(redactor: &Redactor, request: &[u8]) -> Redacted {
    let redacted = redactor.redact(ProjectId(1), Signal::Traces, request, &mut |_| Ok(()));
    redacted.unwrap()
}

fn value(value: Any) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

fn pair(key: &str, any: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(value(any)),
        ..KeyValue::default()
    }
}

fn request(span: Span) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn span(attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        name: "span".to_owned(),
        attributes,
        ..Span::default()
    }
}

fn redacted_request(
    redactor: &Redactor,
    request: &ExportTraceServiceRequest,
) -> ExportTraceServiceRequest {
    match redact(redactor, &request.encode_to_vec()).request {
        Some(bytes) => ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap(),
        None => request.clone(),
    }
}

/// What becomes of a span's attributes.
fn attributes(yaml: &str, attributes: Vec<KeyValue>) -> Vec<KeyValue> {
    let out = redacted_request(&redactor(yaml), &request(span(attributes)));
    let span = &out.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(
        (span.trace_id.len(), span.dropped_attributes_count),
        (16, 0)
    );
    span.attributes.clone()
}

/// What becomes of a text.
fn changed(yaml: &str, before: &str) -> String {
    match attributes(yaml, vec![pair("k", text(before))])[0]
        .value
        .clone()
    {
        Some(AnyValue {
            value: Some(Any::StringValue(after)),
        }) => after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_part_of_a_text_is_masked_removed_or_hashed() {
    let before = "from bob@example.com to eve@example.com, not bob@";
    for (action, after) in [
        ("", "from [email] to [email], not bob@"),
        (", action: mask", "from [email] to [email], not bob@"),
        (
            ", action: mask, mask: <gone>",
            "from <gone> to <gone>, not bob@",
        ),
        (", action: remove", "from  to , not bob@"),
    ] {
        let rule = format!("[{{detectors: [email]{action}}}]");
        assert_eq!(changed(&rule, before), after);
    }
    let hash = "[{detectors: [email], action: hash}]";
    let one = changed(hash, "bob@example.com");
    assert_eq!(one.len(), 24);
    let both = changed(hash, "a bob@example.com, bob@example.com, eve@example.com");
    assert_eq!(both.matches(&one).count(), 2, "{both}");
    assert!(!both.contains("eve"), "{both}");
    let other_key = Config {
        hash_key: "another key of enough bytes".into(),
        ..config(hash)
    };
    let other = other_key.compile().unwrap().unwrap();
    let before = request(span(vec![pair("k", text("bob@example.com"))]));
    let other = format!("{:?}", redacted_request(&other, &before));
    assert!(!other.contains(&one) && !other.contains("bob"), "{other}");
}

#[test]
fn values_go_by_key_whatever_they_are() {
    let list = Any::KvlistValue(KeyValueList {
        values: vec![pair("password", text("p")), pair("user", text("u"))],
    });
    let all = vec![
        pair("password", text("p")),
        pair("db.password", Any::IntValue(4711)),
        pair("passwords", text("kept")),
        pair(
            "http.request.header.authorization",
            Any::ArrayValue(ArrayValue {
                values: vec![value(text("Bearer x"))],
            }),
        ),
        pair("nested", list),
        pair("n", Any::IntValue(1)),
    ];
    let keys = "keys: [password, \"*.password\", \"http.request.header.*\"]";
    let kept = [pair("passwords", text("kept")), pair("n", Any::IntValue(1))];
    let nested = |values| pair("nested", Any::KvlistValue(KeyValueList { values }));

    let removed = attributes(&format!("[{{{keys}, action: remove}}]"), all.clone());
    let user = pair("user", text("u"));
    assert_eq!(
        removed,
        [kept[0].clone(), nested(vec![user.clone()]), kept[1].clone()]
    );

    let mask = |key: &str| pair(key, text("[redacted]"));
    let masked = attributes(&format!("[{{{keys}}}]"), all.clone());
    let expected = [
        mask("password"),
        mask("db.password"),
        kept[0].clone(),
        mask("http.request.header.authorization"),
        nested(vec![mask("password"), user]),
        kept[1].clone(),
    ];
    assert_eq!(masked, expected);

    let hashed = attributes(&format!("[{{{keys}, action: hash}}]"), all);
    // The same value has the same hash, wherever it is.
    let [_, inner] = ["password", "nested"].map(|key| hashed.iter().find(|it| it.key == key));
    let Some(Any::KvlistValue(list)) = inner.unwrap().value.clone().unwrap().value else {
        panic!("no list");
    };
    assert_eq!(list.values[0].value, hashed[0].value);
    assert_ne!(hashed[1].value, hashed[0].value);
}

#[test]
fn texts_are_found_wherever_they_are() {
    let mail = || text("bob@example.com");
    let place = |key: &str| vec![pair(key, mail())];
    let deep = Any::ArrayValue(ArrayValue {
        values: vec![value(Any::KvlistValue(KeyValueList {
            values: vec![
                pair("bob@example.com", mail()),
                pair("b", Any::BytesValue(b"\xffbob@example.com\xff".to_vec())),
            ],
        }))],
    });
    let mut request = request(Span {
        name: "GET bob@example.com".to_owned(),
        trace_state: "v=bob@example.com".to_owned(),
        events: vec![Event {
            name: "bob@example.com".to_owned(),
            attributes: place("e"),
            ..Event::default()
        }],
        links: vec![Link {
            attributes: place("l"),
            ..Link::default()
        }],
        status: Some(Status {
            message: "no bob@example.com".to_owned(),
            code: 2,
        }),
        ..span(vec![pair("s", mail()), pair("deep", deep)])
    });
    request.resource_spans[0].resource = Some(Resource {
        attributes: place("r"),
        ..Resource::default()
    });
    request.resource_spans[0].scope_spans[0].scope = Some(InstrumentationScope {
        attributes: place("i"),
        ..InstrumentationScope::default()
    });
    let left = |scope: &str| {
        let redactor = redactor(&format!("[{{detectors: [email]{scope}}}]"));
        format!("{:?}", redacted_request(&redactor, &request))
            .matches("bob@example.com")
            .count()
    };
    // Besides, there are a key and the trace state; bytes are shown as numbers.
    assert_eq!(
        left(
            ", scope: [span, event, link, resource, instrumentation, span_name, event_name, status_message]"
        ),
        2
    );
    assert_eq!(left(""), 5);
    assert_eq!(left(", scope: [resource]"), 10);
    assert_eq!(left(", scope: [span_name, status_message]"), 9);
    let all = redactor("[{detectors: [email]}]");
    let bytes = redact(&all, &request.encode_to_vec()).request.unwrap();
    assert!(bytes.windows(9).any(|it| it == b"\xff[email]\xff"));
}

#[test]
fn json_stays_json() {
    let rule = "[{detectors: [email, payment_card, phone, api_key, private_key]}, {patterns: ['n\\w+x', '[^a-z\"]{3}']}]";
    for (before, after) in [
        (
            r#"{"a":"\nbob@example.com\n","b":4111111111111111,"c":[4111111111111111]}"#,
            Some(r#"{"a":"\n[email]\n","b":"[payment_card]","c":["[payment_card]"]}"#),
        ),
        (
            r#"{"a":"card: 4111111111111111, ok"}"#,
            Some(r#"{"a":"card: [payment_card], ok"}"#),
        ),
        (r#"[{"t":"a\"b 4111111111111111"}]"#, None),
        (
            r#"["\u00e9bob@example.com\u00e9","\\nbob@example.com","C:\\"]"#,
            None,
        ),
        (r#"["\nnax","a\\","\u0041\u0042"]"#, None),
        (
            "{\"k\":\"-----BEGIN PRIVATE KEY-----\\nMII\\n-----END PRIVATE KEY-----\\n\"}",
            None,
        ),
    ] {
        let changed = changed(
            "[{detectors: [email, payment_card, phone, api_key, private_key]}]",
            before,
        );
        assert!(
            serde_json::from_str::<serde_json::Value>(&changed).is_ok(),
            "{before} {changed}"
        );
        if let Some(after) = after {
            assert_eq!(changed, after);
        }
    }
    for before in [r#"["\nnax \u0041\u0042 x"]"#, r#"["é\\n-éé--x\"--"]"#] {
        let changed = changed(rule, before);
        assert!(
            serde_json::from_str::<serde_json::Value>(&changed).is_ok(),
            "{before} {changed}"
        );
    }
    let removed = changed(
        "[{detectors: [payment_card], action: remove}]",
        r#"{"b":4111111111111111}"#,
    );
    assert_eq!(removed, r#"{"b":null}"#);
}

#[test]
fn what_overlaps_goes_as_one() {
    // The address begins within what the expression finds, and ends behind it.
    let rule = "[{patterns: ['user: \\w+'], mask: A}, {detectors: [email], mask: B}]";
    assert_eq!(changed(rule, "user: bob.x@example.com."), "A.");
    let reversed = "[{detectors: [email], mask: B}, {patterns: ['user: \\w+'], mask: A}]";
    assert_eq!(changed(reversed, "user: bob.x@example.com."), "B.");
    let many = "[{patterns: ['ab', 'bc', 'cd', 'z'], mask: '-'}]";
    assert_eq!(changed(many, "xabcdyabz"), "x-y--");
}

#[test]
fn the_first_rule_counts_and_keys_go_before_patterns() {
    let rules = "[{detectors: [email], mask: P}, {keys: [k], mask: A}, {keys: ['*'], mask: B}]";
    let out = attributes(
        rules,
        vec![pair("k", text("bob@example.com")), pair("m", text("x"))],
    );
    assert_eq!(out, [pair("k", text("A")), pair("m", text("B"))]);
}

#[test]
fn expressions_may_match_bytes_and_leave_characters_whole() {
    assert_eq!(
        changed(r"[{patterns: ['(?-u)\xa9'], mask: '?'}]", "aéb"),
        "a?b"
    );
    assert_eq!(
        changed(
            r"[{patterns: ['\bid-\d+'], mask: '#'}]",
            "id-1, xid-2, id-33"
        ),
        "#, xid-2, #"
    );
    assert_eq!(
        changed(r"[{patterns: ['x+|\b'], mask: '#'}]", "a xx b"),
        "a # b"
    );
}

#[test]
fn rules_are_for_projects() {
    let redactor = redactor("[{detectors: [email], projects: [7, 3]}, {keys: [p], projects: [5]}]");
    let bytes = request(span(vec![
        pair("k", text("bob@example.com")),
        pair("p", text("x")),
    ]))
    .encode_to_vec();
    let values = |project| {
        let redacted = redactor
            .redact(ProjectId(project), Signal::Traces, &bytes, &mut |_| Ok(()))
            .unwrap();
        redacted.tally.values()[..2].to_vec()
    };
    assert_eq!(values(1), [0, 0]);
    assert_eq!(values(3), [1, 0]);
    assert_eq!(values(7), [1, 0]);
    assert_eq!(values(5), [0, 1]);
}

#[test]
fn values_are_counted_by_rule() {
    let redactor = redactor("[{detectors: [email]}, {name: k, keys: [k]}]");
    assert_eq!(redactor.names().collect::<Vec<_>>(), ["rule_1", "k"]);
    let attributes = vec![
        pair("a", text("bob@example.com, eve@example.com")),
        pair("b", text("bob@example.com")),
        pair("k", text("bob@example.com")),
        pair("c", text("nothing")),
    ];
    let tally = redact(&redactor, &request(span(attributes)).encode_to_vec()).tally;
    assert_eq!(tally.values()[..3], [2, 1, 0]);
    assert_eq!(tally.scanned_bytes, 32 + 15 + 7);
}

#[test]
fn content_goes_and_facts_stay() {
    let event = |name: &str, attributes| Event {
        name: name.to_owned(),
        attributes,
        ..Event::default()
    };
    let before = request(Span {
        events: vec![
            event(
                "gen_ai.choice",
                vec![
                    pair("message", text("SAID")),
                    pair("finish_reason", text("stop")),
                    pair("future", text("SAID")),
                ],
            ),
            event("gen_ai.user.message", vec![pair("content", text("SAID"))]),
            event("exception", vec![pair("message", text("kept"))]),
        ],
        ..span(vec![
            pair("gen_ai.request.model", text("gpt-5")),
            pair("gen_ai.usage.input_tokens", Any::IntValue(7)),
            pair("gen_ai.input.messages", text("SAID")),
            pair("gen_ai.prompt.0.content", text("SAID")),
            pair("llm.input_messages.0.message.content", text("SAID")),
            pair(
                "gen_ai.tool.call.arguments",
                Any::ArrayValue(ArrayValue {
                    values: vec![value(text("SAID"))],
                }),
            ),
            pair("llm.openai.messages", text("SAID")),
        ])
    });
    let out = redacted_request(&redactor("[{drop_content: true}]"), &before);
    let span = &out.resource_spans[0].scope_spans[0].spans[0];
    let facts = [
        pair("gen_ai.request.model", text("gpt-5")),
        pair("gen_ai.usage.input_tokens", Any::IntValue(7)),
    ];
    assert_eq!(span.attributes, facts);
    assert_eq!(
        span.events[0].attributes,
        [pair("finish_reason", text("stop"))]
    );
    assert_eq!(span.events[1].attributes, []);
    assert_eq!(span.events[2].attributes, [pair("message", text("kept"))]);
    let masked = redacted_request(&redactor("[{drop_content: true, action: mask}]"), &before);
    let shown = format!("{masked:?}");
    assert!(
        !shown.contains("SAID") && shown.matches("[content]").count() == 8,
        "{shown}"
    );
}

/// The problems with rules.
fn problems(yaml: &str) -> Vec<String> {
    let found = config(yaml).problems(true);
    found
        .iter()
        .map(|it| format!("{}: {}", it.path, it.message))
        .collect()
}

#[test]
fn wrong_rules_are_named_with_their_field() {
    for (yaml, expected) in [
        (
            "[{}]",
            "rules[0]: needs one of drop_content, keys, detectors and patterns",
        ),
        (
            "[{keys: [a]}, {keys: [a], patterns: [b]}]",
            "rules[1]: has more than one of",
        ),
        (
            "[{keys: [a], scope: [span, span_name]}]",
            "rules[0].scope[1]: is only for detectors and patterns",
        ),
        (
            "[{keys: [a, '']}]",
            "rules[0].keys[1]: expected 1 to 256 bytes",
        ),
        (
            "[{patterns: [ok, '(']}]",
            "rules[0].patterns[1]: not a regular expression: unclosed group",
        ),
        (
            "[{patterns: ['a*']}]",
            "rules[0].patterns[0]: also matches the empty text",
        ),
        (
            "[{patterns: ['(\\w{100}){100}']}]",
            "rules[0].patterns[0]: needs more than 1048576 bytes once compiled",
        ),
        (
            "[{patterns: ['(?=a)']}]",
            "rules[0].patterns[0]: not a regular expression: look-around",
        ),
        (
            "[{keys: [a], action: remove, mask: x}]",
            "rules[0].mask: is only for action mask",
        ),
        (
            "[{keys: [a], name: 'a b'}]",
            "rules[0].name: expected up to 64 letters",
        ),
        (
            "[{keys: [a], name: x}, {keys: [b], name: x}]",
            "rules[1].name: \"x\" is the name of another rule",
        ),
        ("[]", "rules: enabled, and nothing says what is to go"),
    ] {
        let found = problems(yaml);
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{yaml}: {found:?}"
        );
        assert!(config(yaml).compile().is_err() || yaml == "[]");
    }
    let long = format!("[{{keys: [a], mask: {}}}]", "x".repeat(65));
    assert_eq!(problems(&long), ["rules[0].mask: must be at most 64 bytes"]);
    let many = format!("[{}]", vec!["{keys: [a]}"; 65].join(", "));
    assert_eq!(problems(&many), ["rules: at most 64 rules, not 65"]);
    let patterns = format!("[{{patterns: [{}]}}]", vec!["a"; 65].join(", "));
    assert_eq!(
        problems(&patterns),
        ["rules: at most 64 patterns in all rules together, not 65"]
    );
}

#[test]
fn a_hash_needs_a_key_which_may_be_in_a_file() {
    let rules = "[{keys: [k], action: hash}]";
    let with = |key: &str, file: PathBuf| Config {
        hash_key: key.into(),
        hash_key_file: file,
        ..config(rules)
    };
    let said = |config: &Config| -> Vec<String> {
        config
            .problems(true)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let none = with("", PathBuf::new());
    assert_eq!(
        said(&none),
        ["processors.redaction.rules[0].action: hash needs hash_key or hash_key_file"]
    );
    let short = with("short", PathBuf::new());
    assert_eq!(
        said(&short),
        ["processors.redaction.hash_key: must have at least 16 bytes"]
    );
    let masked = with("***", PathBuf::new());
    assert_eq!(
        said(&masked),
        ["processors.redaction.hash_key: is masked: print-config doesn't show secrets"]
    );
    let missing = with("", file.clone());
    assert!(said(&missing)[0].starts_with("processors.redaction.hash_key_file: read "));
    assert_eq!(missing.problems(false), []);
    assert!(missing.compile().is_err());
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    assert_eq!(said(&with("", file.clone())), Vec::<String>::new());
    assert_eq!(said(&with(KEY, file.clone())).len(), 2);

    let bytes = request(span(vec![pair("k", text("v"))])).encode_to_vec();
    let [by_file, by_text] = [with("", file), with(KEY, PathBuf::new())].map(|config| {
        assert!(!format!("{config:?}{}", serde_json::to_string(&config).unwrap()).contains(KEY));
        redact(&config.compile().unwrap().unwrap(), &bytes).request
    });
    assert!(by_file.is_some());
    assert_eq!(by_file, by_text);
}

#[test]
fn nothing_is_done_unless_it_is_switched_on() {
    let off = Config {
        enabled: false,
        ..config("[{keys: [k]}]")
    };
    assert!(off.compile().unwrap().is_none());
    assert!(Config::default().compile().unwrap().is_none());
    // What is wrong is told all the same.
    let wrong = Config {
        enabled: false,
        ..config("[{}]")
    };
    assert_eq!(wrong.problems(true).len(), 1);
}
