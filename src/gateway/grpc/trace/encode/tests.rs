use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::*;
use crate::gateway::tests::rows::stored_span;
use crate::receivers::native::proto::GetTraceResponse;
use crate::storage::query::{StoredResource, StoredScope};

fn resource(name: &str) -> Arc<StoredResource> {
    Arc::new(StoredResource {
        // Attribute 1 of the resource, and a field of a newer version.
        message: [b"\x0a\x03\x0a\x01k".as_slice(), b"\xa0\x06\x01"].concat(),
        schema_url: format!("https://example.com/{name}"),
        service_name: name.to_owned(),
    })
}

fn scope() -> Arc<StoredScope> {
    Arc::new(StoredScope {
        message: b"\x0a\x03lib".to_vec(),
        schema_url: String::new(),
    })
}

fn span(number: u8, resource: &Arc<StoredResource>, scope: &Arc<StoredScope>) -> StoredSpan {
    let message = crate::receivers::native::proto::Span {
        span_id: vec![number; 8],
        name: "x".repeat(100),
        ..crate::receivers::native::proto::Span::default()
    };
    let mut stored = stored_span();
    stored.summary.genai = None;
    StoredSpan {
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
        message: message.encode_to_vec(),
        ..stored
    }
}

fn encode(stored: &[StoredSpan], bytes_max: usize) -> (GetTraceResponse, Encoded) {
    let encoded = spans(stored, &SpanEvents::default(), bytes_max).unwrap();
    let answer = GetTraceResponse::decode(encoded.resource_spans.as_slice()).unwrap();
    (answer, encoded)
}

// Scenario: spans of two resources and two scopes, mixed.
// Guarantees: each group is told once, with its spans in order and the bytes it came with.
#[test]
fn spans_are_grouped_by_what_made_them() {
    let (api, db) = (resource("api"), resource("db"));
    let (one, two) = (scope(), scope());
    let mixed = [
        span(1, &api, &one),
        span(2, &db, &one),
        span(3, &api, &two),
        span(4, &api, &one),
    ];
    let (answer, encoded) = encode(&mixed, 1 << 20);
    assert_eq!(encoded.spans, 4);
    let told = answer.resource_spans.iter().map(|item| {
        let scopes = item.scope_spans.iter().map(|scope| {
            assert_eq!(scope.scope.as_ref().unwrap().name, "lib");
            let ids = scope.spans.iter().map(|span| span.span_id[0]);
            ids.collect::<Vec<_>>()
        });
        (item.schema_url.as_str(), scopes.collect::<Vec<_>>())
    });
    let expected = [
        ("https://example.com/api", vec![vec![1, 4], vec![3]]),
        ("https://example.com/db", vec![vec![2]]),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let resource = [b"\x0a\x08".as_slice(), &api.message].concat();
    let has_all = encoded.resource_spans.windows(resource.len());
    assert_eq!(has_all.filter(|bytes| *bytes == resource).count(), 2);
}

// Guarantees: an answer is never larger than it may be, unless one span is; what fits is in it.
#[test]
fn an_answer_ends_where_it_is_full() {
    let scope = scope();
    let stored: Vec<_> = (1..=50)
        .map(|number| span(number, &resource("api"), &scope))
        .collect();
    for bytes_max in [0, 1, 150, 1000, 3000] {
        let (_, encoded) = encode(&stored, bytes_max);
        let bytes = encoded.resource_spans.len();
        assert!(encoded.spans >= 1 && encoded.spans < 50);
        assert!(
            bytes <= bytes_max || encoded.spans == 1,
            "{bytes} > {bytes_max}"
        );
        // One more, with its resource, has less than 250 bytes; what is counted for each that is in it
        // is 36 bytes too much at most.
        assert!(bytes + 250 + 36 * encoded.spans > bytes_max);
    }
    let (answer, encoded) = encode(&stored, 1 << 20);
    assert_eq!((encoded.spans, answer.resource_spans.len()), (50, 50));
    assert_eq!(encode(&[], 100).1.spans, 0);
}

// Guarantees: spans are OTLP's with a field more: an OTLP reader reads them.
#[test]
fn an_answer_can_be_sent_again() {
    let stored = [span(1, &resource("api"), &scope())];
    let (answer, _) = encode(&stored, 1 << 20);
    let request = crate::receivers::native::proto::ExportRequest {
        resource_spans: answer.resource_spans,
    };
    let request = ExportTraceServiceRequest::decode(request.encode_to_vec().as_slice()).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.span_id, [1; 8]);
}
