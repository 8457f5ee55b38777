//! What every store must do, as tests that each backend runs against itself.
//!
//! Spans go in the way the daemon writes them: encoded requests, assembled into batches.

mod access;
mod board;
mod calls;
mod columns;
mod deleted;
mod event_feed;
mod events;
mod facts;
mod feed;
mod find;
mod fixture;
mod invites;
mod lists;
mod long;
mod metrics;
mod paging;
mod people;
mod quotas;
mod remap;
mod run;
mod sampled;
mod search;
mod search_events;
mod sign_in;
mod sources;
mod sums;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message as _;

use super::{PageRequest, SpanReader, SpanWriter, StatusFilter, TraceFilter, WriteReport};
use crate::exporters::storage::assemble::Assembler;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::storage::query::{SessionFilter, SpanFilter};

/// A store under test.
pub(crate) trait Backend {
    fn writer(&mut self) -> &mut dyn SpanWriter;
    fn reader(&self) -> &dyn SpanReader;
    fn checkpoint(&self) -> Position;
}

/// When the test data was received, ns.
pub(crate) const NOW: u64 = 1_800_000_000_000_000_000;

const PROJECT: ProjectId = ProjectId::DEFAULT;

/// One for all tests: connections to a server live on the runtime that made them.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

pub(crate) fn trace_id(number: u8) -> TraceId {
    TraceId([number; 16])
}

pub(crate) fn span_id(number: u64) -> SpanId {
    SpanId(number.to_be_bytes())
}

/// A span of a trace; number 1 is the root, the others its children.
pub(crate) fn span(trace: u8, number: u64) -> Span {
    let start = NOW + u64::from(trace) * 1_000_000 + number * 1000;
    Span {
        trace_id: trace_id(trace).0.to_vec(),
        span_id: span_id(number).0.to_vec(),
        parent_span_id: if number == 1 {
            Vec::new()
        } else {
            span_id(1).0.to_vec()
        },
        name: format!("operation {number}"),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + number * 500,
        attributes: vec![
            text("number", &number.to_string()),
            text("session.id", "s1"),
        ],
        status: number.is_multiple_of(3).then(|| Status {
            code: 2,
            message: "failed".to_owned(),
        }),
        ..Span::default()
    }
}

pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", service)],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "scope".to_owned(),
                    version: "1".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                schema_url: "https://example.com/scope".to_owned(),
            }],
            schema_url: "https://example.com/resource".to_owned(),
        }],
    }
}

/// Writes requests as one batch that begins at a log position.
pub(crate) fn write(
    backend: &mut impl Backend,
    project: ProjectId,
    position: u64,
    requests: &[ExportTraceServiceRequest],
) -> WriteReport {
    let records: Vec<_> = (position..)
        .zip(requests)
        .map(|(position, request)| Record {
            position: Position(position),
            project,
            received_unix_nano: NOW,
            kind: PayloadKind::OtlpTraces,
            payload: Bytes::from(request.encode_to_vec()),
        })
        .collect();
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    runtime().block_on(backend.writer().write(&batch)).unwrap()
}

fn page() -> PageRequest {
    PageRequest {
        limit: 1000,
        after: None,
    }
}

/// Everything a project's readers can see, for comparing two stores.
pub(crate) fn everything(backend: &impl Backend, project: ProjectId) -> String {
    let reader = backend.reader();
    runtime().block_on(async {
        let traces = reader
            .list_traces(project, &TraceFilter::default(), &page())
            .await
            .unwrap()
            .items;
        let spans = reader
            .list_spans(project, &SpanFilter::default(), &page())
            .await
            .unwrap()
            .items;
        let services = reader.list_services(project, &page()).await.unwrap().items;
        let sessions = reader
            .list_sessions(project, &SessionFilter::default(), &page())
            .await
            .unwrap()
            .items;
        let mut details = BTreeMap::new();
        for trace in &traces {
            let stored = reader
                .trace(project, trace.trace_id, &page())
                .await
                .unwrap()
                .unwrap();
            let messages: Vec<_> = stored
                .spans
                .iter()
                .map(|span| span.message.clone())
                .collect();
            details.insert(trace.trace_id, (stored.summary, messages));
        }
        format!("{traces:#?}\n{spans:#?}\n{services:#?}\n{sessions:#?}\n{details:#?}")
    })
}

// Scenario: the same request in one batch twice, in a later batch, and beside new spans.
// Guarantees: each span is stored and counted once.
pub(crate) fn a_resend_changes_nothing(backend: &mut impl Backend) {
    let first = request("api", (1..=5).map(|number| span(1, number)).collect());
    let report = write(backend, PROJECT, 1, &[first.clone(), first.clone()]);
    assert_eq!(
        report,
        WriteReport {
            spans_stored: 5,
            spans_duplicate: 5,
            ..WriteReport::default()
        }
    );
    let before = everything(backend, PROJECT);
    let report = write(backend, PROJECT, 3, std::slice::from_ref(&first));
    assert_eq!(
        report,
        WriteReport {
            spans_stored: 0,
            spans_duplicate: 5,
            ..WriteReport::default()
        }
    );
    assert_eq!(everything(backend, PROJECT), before);
    let more = request("api", vec![span(1, 5), span(1, 6)]);
    let report = write(backend, PROJECT, 4, &[more]);
    assert_eq!(
        report,
        WriteReport {
            spans_stored: 1,
            spans_duplicate: 1,
            ..WriteReport::default()
        }
    );
}

// Scenario: a second span with a known identity but other content.
// Guarantees: the first one stays, whole.
pub(crate) fn the_first_of_an_identity_wins(backend: &mut impl Backend) {
    write(backend, PROJECT, 1, &[request("api", vec![span(1, 1)])]);
    let before = everything(backend, PROJECT);
    let mut other = span(1, 1);
    "other".clone_into(&mut other.name);
    other.start_time_unix_nano += 77;
    let report = write(backend, PROJECT, 2, &[request("web", vec![other])]);
    assert_eq!(report.spans_duplicate, 1);
    assert_eq!(everything(backend, PROJECT), before);
}

// Scenario: a trace grows over many batches far beyond the size of a short one, with resends.
// Guarantees: each span is stored once, before and after the store changes how it recognises them.
pub(crate) fn long_traces_hold_each_span_once(backend: &mut impl Backend) {
    for batch in 0..20_u64 {
        let spans: Vec<_> = (1 + batch * 15..=20 + batch * 15)
            .map(|n| span(1, n))
            .collect();
        let report = write(backend, PROJECT, 1 + batch, &[request("api", spans)]);
        let expected = if batch == 0 { 20 } else { 15 };
        assert_eq!(report.spans_stored, expected, "batch {batch}");
    }
    let stored = runtime().block_on(backend.reader().trace(PROJECT, trace_id(1), &page()));
    let stored = stored.unwrap().unwrap();
    assert_eq!(stored.summary.span_count, 305);
    assert_eq!(stored.spans.len(), 305);
}

// Scenario: what came in is read back.
// Guarantees: span, resource and scope messages and schema URLs are the bytes that were sent.
pub(crate) fn messages_come_back_as_sent(backend: &mut impl Backend) {
    let sent = request("api", vec![span(1, 2), span(1, 1)]);
    write(backend, PROJECT, 1, std::slice::from_ref(&sent));
    let stored = runtime().block_on(backend.reader().trace(PROJECT, trace_id(1), &page()));
    let stored = stored.unwrap().unwrap();
    let messages: Vec<_> = stored
        .spans
        .iter()
        .map(|span| Span::decode(span.message.as_slice()).unwrap())
        .collect();
    assert_eq!(messages, [span(1, 1), span(1, 2)]);
    let sent = &sent.resource_spans[0];
    for span in &stored.spans {
        let resource = Resource::decode(span.resource.message.as_slice()).unwrap();
        assert_eq!(Some(resource), sent.resource);
        assert_eq!(span.resource.schema_url, sent.schema_url);
        let scope = InstrumentationScope::decode(span.scope.message.as_slice()).unwrap();
        assert_eq!(Some(scope), sent.scope_spans[0].scope);
        assert_eq!(span.scope.schema_url, sent.scope_spans[0].schema_url);
    }
}

// Scenario: two projects send the same trace.
// Guarantees: each sees its own, and a third sees nothing.
pub(crate) fn projects_are_separate(backend: &mut impl Backend) {
    let other = ProjectId(7);
    write(backend, PROJECT, 1, &[request("ours", vec![span(1, 1)])]);
    write(
        backend,
        other,
        2,
        &[request("theirs", vec![span(1, 1), span(1, 2)])],
    );
    let (ours, theirs) = (everything(backend, PROJECT), everything(backend, other));
    assert!(ours.contains("ours") && !ours.contains("theirs"));
    assert!(theirs.contains("theirs") && !theirs.contains("ours"));
    let reader = backend.reader();
    runtime().block_on(async {
        let nobody = ProjectId(8);
        assert!(
            reader
                .trace(nobody, trace_id(1), &page())
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            reader
                .span(nobody, trace_id(1), span_id(1))
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            reader
                .span(PROJECT, trace_id(1), span_id(2))
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            reader
                .span(other, trace_id(1), span_id(2))
                .await
                .unwrap()
                .is_some()
        );
    });
}

// Scenario: batches are written, one of them with an older position.
// Guarantees: the checkpoint is the first position not stored, and never moves back.
pub(crate) fn the_checkpoint_moves_with_the_rows(backend: &mut impl Backend) {
    assert_eq!(backend.checkpoint(), Position(1));
    let one = request("api", vec![span(1, 1)]);
    write(backend, PROJECT, 1, &[one.clone(), one.clone()]);
    assert_eq!(backend.checkpoint(), Position(3));
    write(backend, PROJECT, 1, &[one]);
    assert_eq!(backend.checkpoint(), Position(3));
}

// Scenario: spans with times at the ends of the range.
// Guarantees: each is stored and read back, with its marks, and lists still work.
pub(crate) fn times_at_the_ends_are_kept(backend: &mut impl Backend) {
    let times = [
        (0, 0),
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
        (u64::MAX, 0),
        (NOW, NOW - 1),
        (1, 2),
    ];
    let spans = (1..).zip(times).map(|(number, (start, end))| Span {
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..span(1, number)
    });
    let report = write(backend, PROJECT, 1, &[request("api", spans.collect())]);
    assert_eq!(report.spans_stored, 6);
    let reader = backend.reader();
    runtime().block_on(async {
        let stored = reader
            .trace(PROJECT, trace_id(1), &page())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored.spans.len(), 6);
        let listed = reader
            .list_spans(PROJECT, &SpanFilter::default(), &page())
            .await
            .unwrap();
        let marked = listed
            .items
            .iter()
            .filter(|span| span.time_marks.0 != 0)
            .count();
        assert_eq!((listed.items.len(), marked), (6, 6));
    });
}

/// The numbers of the traces that match, in the order of the pages.
fn list_in_pages_of_four(reader: &dyn SpanReader, filter: &TraceFilter) -> Vec<u8> {
    runtime().block_on(async {
        let mut page = PageRequest {
            limit: 4,
            after: None,
        };
        let mut found = Vec::new();
        loop {
            let answer = reader.list_traces(PROJECT, filter, &page).await.unwrap();
            assert!(answer.items.len() <= 4);
            found.extend(answer.items.iter().map(|trace| trace.trace_id.0[0]));
            match answer.next {
                Some(next) => page.after = Some(next),
                None => return found,
            }
        }
    })
}

// Scenario: traces of two services, some failed, listed page by page with filters.
// Guarantees: newest first, complete, nothing twice, only what matches.
pub(crate) fn lists_page_through_what_matches(backend: &mut impl Backend) {
    for trace in 1..=30_u8 {
        let service = if trace.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        };
        let numbers = if trace.is_multiple_of(5) {
            vec![1, 3]
        } else {
            vec![1, 2]
        };
        let spans = numbers
            .into_iter()
            .map(|number| span(trace, number))
            .collect();
        write(
            backend,
            PROJECT,
            u64::from(trace),
            &[request(service, spans)],
        );
    }
    let listed = |filter: TraceFilter| list_in_pages_of_four(backend.reader(), &filter);
    let all: Vec<u8> = (1..=30).rev().collect();
    let only = |keep: fn(&u8) -> bool| all.iter().copied().filter(keep).collect::<Vec<_>>();
    assert_eq!(listed(TraceFilter::default()), all);
    let service = Some("even".to_owned());
    assert_eq!(
        listed(TraceFilter {
            service,
            ..TraceFilter::default()
        }),
        only(|n| n % 2 == 0)
    );
    let failed = TraceFilter {
        status: Some(StatusFilter::Error),
        ..TraceFilter::default()
    };
    assert_eq!(listed(failed), only(|n| n % 5 == 0));
    let fine = TraceFilter {
        status: Some(StatusFilter::Ok),
        ..TraceFilter::default()
    };
    assert_eq!(listed(fine), only(|n| n % 5 != 0));
    let name = Some("operation 1".to_owned());
    assert_eq!(
        listed(TraceFilter {
            name,
            ..TraceFilter::default()
        }),
        all
    );
    let attributes = vec![super::query::AttributeEquals {
        key: "number".to_owned(),
        value: "3".to_owned(),
        or_absent: false,
    }];
    assert_eq!(
        listed(TraceFilter {
            attributes,
            ..TraceFilter::default()
        }),
        only(|n| n % 5 == 0)
    );
}

/// Some spans, and the requests that bring them: each in any grouping, order and number of times.
fn any_delivery() -> impl Strategy<Value = Vec<Vec<(u8, u64)>>> {
    let spans: Vec<(u8, u64)> = (1..=3)
        .flat_map(|trace| (1..=6).map(move |number| (trace, number)))
        .collect();
    let twice: Vec<_> = spans.iter().chain(&spans).copied().collect();
    let shuffled = Just(twice).prop_shuffle();
    (shuffled, prop::collection::vec(1_usize..9, 36)).prop_map(|(mut rest, sizes)| {
        let mut batches = Vec::new();
        for size in sizes {
            let tail = rest.split_off(size.min(rest.len()));
            batches.push(std::mem::replace(&mut rest, tail));
        }
        batches
    })
}

// Scenario: eighteen spans of three traces and two services arrive twice, in any order and split.
// Guarantees: the store is as if they had arrived once, in one batch.
pub(crate) fn any_delivery_gives_the_same_store<B: Backend>(open: impl Fn() -> B) {
    let deliver = |batches: &[Vec<(u8, u64)>]| {
        let mut backend = open();
        for (position, batch) in (1..).zip(batches) {
            let of = |service, even: bool| {
                let mine = batch
                    .iter()
                    .filter(|(_, number)| number.is_multiple_of(2) == even);
                request(
                    service,
                    mine.map(|(trace, number)| span(*trace, *number)).collect(),
                )
            };
            write(
                &mut backend,
                PROJECT,
                position * 2,
                &[of("even", true), of("odd", false)],
            );
        }
        everything(&backend, PROJECT)
    };
    let once: Vec<_> = (1..=3)
        .flat_map(|trace| (1..=6).map(move |n| (trace, n)))
        .collect();
    let expected = deliver(&[once]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let checked = runner.run(&any_delivery(), |batches| {
        prop_assert_eq!(deliver(&batches), expected.clone());
        Ok(())
    });
    checked.unwrap();
}
