//! Slices against the whole.

use std::convert::Infallible;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans as PbResourceSpans, ScopeSpans as PbScopeSpans, Span as PbSpan,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::model::ProjectId;

/// Resources of scopes of spans; a span that is false has no valid id.
type Shape = Vec<Vec<Vec<bool>>>;

fn request(record: usize, shape: &Shape) -> ExportTraceServiceRequest {
    let mut number = 0_u32;
    let mut span = |valid: &bool| {
        number += 1;
        PbSpan {
            trace_id: vec![7; 16],
            span_id: if *valid {
                (record as u64 * 1000 + u64::from(number))
                    .to_be_bytes()
                    .to_vec()
            } else {
                Vec::new()
            },
            name: "a name over the limit".to_owned(),
            ..PbSpan::default()
        }
    };
    let resource_spans = shape.iter().enumerate().map(|(resource, scopes)| {
        let scope_spans = scopes
            .iter()
            .enumerate()
            .map(|(scope, spans)| PbScopeSpans {
                scope: Some(InstrumentationScope {
                    name: format!("{record}.{resource}.{scope}"),
                    ..InstrumentationScope::default()
                }),
                spans: spans.iter().map(&mut span).collect(),
                ..PbScopeSpans::default()
            });
        PbResourceSpans {
            resource: Some(Resource {
                attributes: vec![KeyValue {
                    key: "service.name".to_owned(),
                    value: Some(AnyValue {
                        value: Some(Value::StringValue(format!("{record}.{resource}"))),
                    }),
                    ..KeyValue::default()
                }],
                ..Resource::default()
            }),
            scope_spans: scope_spans.collect(),
            ..PbResourceSpans::default()
        }
    });
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}

fn records(shapes: &[Shape]) -> Vec<Record> {
    let records = shapes.iter().enumerate().map(|(index, shape)| Record {
        // With a hole, as after a lost record.
        position: Position(10 + 2 * index as u64),
        project: ProjectId::DEFAULT,
        received_unix_nano: 1,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(request(index, shape).encode_to_vec()),
    });
    records.collect()
}

/// What a store sees of each span, and the record it is from.
fn rows(batch: &Batch<'_>) -> Vec<(u64, String, String, Vec<u8>)> {
    let rows = batch.spans.iter().map(|span| {
        (
            u64::from_be_bytes(span.span_id.0),
            batch.resources[span.resource].service_name.to_string(),
            batch.scopes[span.scope].name.to_string(),
            span.message.to_vec(),
        )
    });
    rows.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Scenario: requests of any shape, cut into slices of any size.
    // Guarantees: the slices hold the same spans in the same order with the same origins, none is
    // too large, none is empty but a lone one, the checkpoint never passes a record that is not
    // wholly written and ends after the last.
    #[test]
    fn slices_are_the_batch_in_parts(
        shapes in vec(vec(vec(vec(prop::bool::weighted(0.9), 0..9), 0..4), 0..4), 1..5),
        rows_max in 1..12_usize,
    ) {
        let records = records(&shapes);
        let limits = limits::Config {
            name_length: crate::config::ByteSize(6),
            ..limits::Config::default()
        };
        let assembler = Assembler::new(3, &limits);
        let (whole, truncated) = assembler.assemble(&records);
        let expected = rows(&whole);
        prop_assert_eq!(whole.next, Position(records.last().unwrap().position.0 + 1));
        prop_assert_eq!(usize::try_from(truncated), Ok(expected.len()));

        let mut slices = Vec::new();
        let done: Result<(), Infallible> =
            assembler.slices(&records, rows_max, &mut |slice| {
                slices.push(slice);
                Ok(())
            });
        prop_assert!(done.is_ok());
        prop_assert_eq!(slices.last().map(|slice| slice.batch.next), Some(whole.next));
        prop_assert_eq!(slices.iter().map(|slice| slice.truncated).sum::<u64>(), truncated);
        let (mut seen, mut completed) = (Vec::new(), Vec::new());
        let mut reached = Position(0);
        for slice in &slices {
            let batch = &slice.batch;
            prop_assert_eq!(batch.partition, 3);
            prop_assert!(batch.spans.len() <= rows_max);
            prop_assert!(!batch.spans.is_empty() || slices.len() == 1);
            let used = |count, index: fn(&SpanRow<'_>) -> usize| {
                (0..count).all(|row| batch.spans.iter().any(|span| index(span) == row))
            };
            prop_assert!(used(batch.resources.len(), |span| span.resource));
            prop_assert!(used(batch.scopes.len(), |span| span.scope));
            seen.extend(rows(batch));
            completed.extend(slice.completed.iter().map(|record| record.position));
            prop_assert!(batch.next >= reached);
            reached = batch.next;
            let written = expected.iter().filter(|(id, ..)| {
                records[usize::try_from(id / 1000).unwrap()].position < batch.next
            });
            prop_assert!(written.count() <= seen.len());
            prop_assert!(completed.iter().all(|position| *position < batch.next));
        }
        prop_assert_eq!(seen, expected);
        let all: Vec<_> = records.iter().map(|record| record.position).collect();
        prop_assert_eq!(completed, all);
    }
}

// Scenario: the sink fails.
// Guarantees: it is not asked again, and its error is the answer.
#[test]
fn the_first_error_ends_it() {
    let records = records(&[vec![vec![vec![true; 10]]]]);
    let limits = limits::Config::default();
    let mut calls = 0;
    let done = Assembler::new(0, &limits).slices(&records, 3, &mut |_| {
        calls += 1;
        if calls == 2 { Err("full") } else { Ok(()) }
    });
    assert_eq!((done, calls), (Err("full"), 2));
}
