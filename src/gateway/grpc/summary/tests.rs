use super::*;
use crate::gateway::tests::rows::{span_summary, stored_span};
use crate::model::genai::GenAi;

// Scenario: a span whose columns were taken from words of another convention, and one whose sender used
// the fields.
// Guarantees: what the sender said stays; what is missing is filled in, and whose cost it is is said.
#[test]
fn columns_fill_in_what_the_sender_did_not_say() {
    let span = SpanSummary {
        operation: "chat".to_owned(),
        provider: Some("openai".to_owned()),
        response_model: Some("m".to_owned()),
        user_id: Some("u".to_owned()),
        ..span_summary()
    };
    let mut filled = proto::GenAi::default();
    fill(&mut filled, &span);
    let expected = proto::GenAi {
        operation: "chat".to_owned(),
        provider: "openai".to_owned(),
        response_model: "m".to_owned(),
        response_id: "r-1".to_owned(),
        streaming: Some(true),
        time_to_first_token_ns: Some(7),
        usage: Some(proto::Usage {
            input_tokens: Some(15),
            output_tokens: Some(0),
            ..proto::Usage::default()
        }),
        cost: Some(proto::Cost {
            total_nano_usd: Some(2_500_000_000),
            source: proto::CostSource::Computed.into(),
            price_version: "2026-11".to_owned(),
            ..proto::Cost::default()
        }),
        user_id: "u".to_owned(),
        agent: Some(proto::Agent {
            name: "writer".to_owned(),
            id: String::new(),
        }),
        tags: vec!["beta".to_owned(), "a,b".to_owned()],
        ..proto::GenAi::default()
    };
    assert_eq!(filled, expected);
    let said = proto::GenAi {
        operation: "my word".to_owned(),
        usage: Some(proto::Usage {
            input_tokens: Some(1),
            ..proto::Usage::default()
        }),
        cost: Some(proto::Cost {
            input_nano_usd: Some(1),
            ..proto::Cost::default()
        }),
        tags: vec!["own".to_owned()],
        ..proto::GenAi::default()
    };
    let mut filled = said.clone();
    fill(&mut filled, &span);
    assert_eq!(
        filled,
        proto::GenAi {
            operation: said.operation,
            usage: said.usage,
            cost: said.cost,
            tags: said.tags,
            ..expected
        }
    );
}

// Guarantees: a span that has nothing to do with models has no such columns.
#[test]
fn other_spans_have_no_columns_of_models() {
    let span = SpanSummary {
        genai: None,
        ..span_summary()
    };
    let told = summary(&span);
    assert_eq!(told.gen_ai, None);
    assert_eq!(told.operation, "http");
    assert_eq!(told.status.unwrap().code, 2);
    assert_eq!(
        (told.error_kind.as_str(), told.is_model_call),
        ("server", false)
    );
    assert_eq!(told.end_time_unix_nano, span.start_unix_nano + 10);
    assert_eq!(told.time_marks, ["end_before_start"]);
    let empty = SpanSummary {
        genai: Some(Box::new(GenAi::default())),
        ..span
    };
    assert_eq!(summary(&empty).gen_ai, None);
    assert_eq!(
        encoded(&stored_span().summary),
        summary(&stored_span().summary).encode_to_vec()
    );
}
