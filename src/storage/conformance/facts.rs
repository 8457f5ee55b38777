//! Lists filtered by what spans say: operation, provider, model, agent, tool, tag, kind of failure,
//! user, tokens and cost.

use super::fixture::{
    OTHER, TestSpan, call, named, page, span, span_list, spans_with, trace_list, traces_with,
    write_spans,
};
use super::{Backend, PROJECT, feed, runtime, search};
use crate::model::failure::ErrorKind;
use crate::model::genai::GenAi;
use crate::model::span::{Basics, Operation};
use crate::storage::query::Fact;
use crate::storage::{SpanFilter, StatusFilter, TraceFilter};

fn operation(name: &'static str, genai: GenAi<'static>) -> Basics<'static> {
    Basics {
        operation: Operation::GenAi(name),
        genai: Some(Box::new(genai)),
        ..Basics::default()
    }
}

fn priced(mut basics: Basics<'static>, nano_usd: i64) -> Basics<'static> {
    if let Some(genai) = &mut basics.genai {
        genai.cost.total = Some(nano_usd);
    }
    basics
}

fn failed(span: TestSpan, kind: ErrorKind) -> TestSpan {
    let mut span = TestSpan {
        failed: true,
        ..span
    };
    span.basics.error_kind = Some(kind);
    span
}

fn with(span: TestSpan, basics: Basics<'static>) -> TestSpan {
    TestSpan { basics, ..span }
}

/// An agent that calls a model and a tool; a call that failed; a plain request that failed; a trace
/// of more models than its summary keeps; one with odd names.
fn varied() -> Vec<TestSpan> {
    let agent = operation(
        "invoke_agent",
        GenAi {
            agent_name: Some("writer".into()),
            agent_id: Some("a-1".into()),
            tags: vec!["beta".into(), "eu".into()],
            ..GenAi::default()
        },
    );
    let tool = operation(
        "execute_tool",
        GenAi {
            tool_name: Some("search".into()),
            ..GenAi::default()
        },
    );
    let asked = Basics {
        request_model: Some("small".into()),
        response_model: None,
        provider: Some("other".into()),
        ..call("", 7, 0)
    };
    let mut spans = vec![
        with(span(1, 1, 100), agent),
        with(span(1, 2, 110), priced(call("large", 100, 20), 5_000_000)),
        failed(with(span(1, 3, 120), tool), ErrorKind::Timeout),
        failed(with(span(2, 4, 200), asked), ErrorKind::RateLimited).in_session("s", "ada"),
        failed(span(3, 5, 300), ErrorKind::Server),
        with(
            span(5, 40, 500),
            operation(
                "chat",
                GenAi {
                    tags: vec!["nul\0 in it".into()],
                    ..GenAi::default()
                },
            ),
        ),
    ];
    let models = [
        "m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12", "m13",
        "m14", "m15", "m16", "m17", "m18",
    ];
    let calls = (20..)
        .zip(models)
        .map(|(number, model)| with(span(4, number, 400 + number), call(model, i64::MAX - 1, 9)));
    spans.extend(calls);
    spans
}

fn fact(kind: fn(String) -> Fact, text: &str) -> Vec<Fact> {
    vec![kind(text.to_owned())]
}

// Scenario: each filter of what spans say, alone and with others, in pages of one and of many.
// Guarantees: exactly the traces that have a span for each of the facts, newest first, also where a
// trace has more models than its summary keeps.
pub(super) fn traces_are_found_by_what_their_spans_say(backend: &mut impl Backend) {
    for part in varied().chunks(4) {
        write_spans(backend, part);
    }
    let facts = |facts: Vec<Fact>| traces_with(|f| f.facts = facts);
    let timeout = Fact::ErrorKind(ErrorKind::Timeout);
    let cases: Vec<(TraceFilter, &[u64])> = vec![
        (facts(fact(Fact::Operation, "chat")), &[5, 4, 2, 1]),
        (facts(fact(Fact::Operation, "http")), &[3]),
        (facts(fact(Fact::Operation, "none")), &[]),
        (facts(fact(Fact::Provider, "other")), &[2]),
        (facts(fact(Fact::Model, "large")), &[1]),
        (facts(fact(Fact::Model, "small")), &[2]),
        (facts(fact(Fact::Model, "m01")), &[4]),
        (facts(fact(Fact::Model, "m18")), &[4]),
        (facts(fact(Fact::Model, "m19")), &[]),
        (facts(fact(Fact::Agent, "writer")), &[1]),
        (facts(fact(Fact::Agent, "a-1")), &[1]),
        (facts(fact(Fact::Tool, "search")), &[1]),
        (facts(fact(Fact::Tag, "eu")), &[1]),
        (facts(fact(Fact::Tag, "nul\0 in it")), &[5]),
        (facts(vec![Fact::ErrorKind(ErrorKind::Server)]), &[3]),
        (facts(vec![timeout.clone()]), &[1]),
        // Each of another span.
        (
            facts(
                [
                    fact(Fact::Tool, "search"),
                    fact(Fact::Provider, "provider"),
                    fact(Fact::Model, "large"),
                    fact(Fact::Tag, "beta"),
                    vec![timeout],
                ]
                .concat(),
            ),
            &[1],
        ),
        (
            facts([fact(Fact::Tool, "search"), fact(Fact::Model, "small")].concat()),
            &[],
        ),
        (traces_with(|f| f.user_id = named("ada")), &[2]),
        (traces_with(|f| f.user_id = named("bob")), &[]),
        (traces_with(|f| f.tokens_min = Some(120)), &[4, 1]),
        (traces_with(|f| f.tokens_min = Some(121)), &[4]),
        (traces_with(|f| f.tokens_min = Some(i64::MAX)), &[4]),
        (traces_with(|f| f.cost_min_nano_usd = Some(5_000_000)), &[1]),
        (traces_with(|f| f.cost_min_nano_usd = Some(5_000_001)), &[]),
        (
            traces_with(|f| {
                f.facts = fact(Fact::Operation, "chat");
                f.status = Some(StatusFilter::Ok);
            }),
            &[5, 4],
        ),
        (
            traces_with(|f| {
                f.facts = vec![Fact::ErrorKind(ErrorKind::RateLimited)];
                f.session_id = named("s");
                f.service = named("api");
            }),
            &[2],
        ),
    ];
    for (filter, expected) in cases {
        for limit in [1, 10] {
            let found = trace_list(backend, &filter, limit);
            assert_eq!(found, expected, "{filter:?} limit {limit}");
        }
    }
}

// Scenario: the same filters on spans, in lists and in searches.
// Guarantees: exactly the spans that say everything that is wanted, newest first.
pub(super) fn spans_are_found_by_what_they_say(backend: &mut impl Backend) {
    for part in varied().chunks(5) {
        write_spans(backend, part);
    }
    let facts = |facts: Vec<Fact>| spans_with(|f| f.facts = facts);
    let cases: Vec<(SpanFilter, &[u64])> = vec![
        (facts(fact(Fact::Operation, "execute_tool")), &[3]),
        (facts(fact(Fact::Operation, "http")), &[5]),
        (facts(fact(Fact::Provider, "other")), &[4]),
        (facts(fact(Fact::Model, "large")), &[2]),
        (facts(fact(Fact::Model, "small")), &[4]),
        (facts(fact(Fact::Model, "m18")), &[37]),
        (facts(fact(Fact::Agent, "writer")), &[1]),
        (facts(fact(Fact::Agent, "a-1")), &[1]),
        (facts(fact(Fact::Tool, "search")), &[3]),
        (facts(fact(Fact::Tag, "beta")), &[1]),
        (facts(fact(Fact::Tag, "nul\0 in it")), &[40]),
        (facts(vec![Fact::ErrorKind(ErrorKind::Timeout)]), &[3]),
        (
            facts([fact(Fact::Tool, "search"), fact(Fact::Tag, "beta")].concat()),
            &[],
        ),
        (
            facts([fact(Fact::Operation, "chat"), fact(Fact::Model, "large")].concat()),
            &[2],
        ),
        (spans_with(|f| f.session_id = named("s")), &[4]),
        (spans_with(|f| f.user_id = named("ada")), &[4]),
        (
            spans_with(|f| f.tokens_min = Some(8)),
            &[
                37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 2,
            ],
        ),
        (spans_with(|f| f.cost_min_nano_usd = Some(1)), &[2]),
        (
            spans_with(|f| {
                f.trace_id = Some(super::fixture::trace_id(1));
                f.facts = vec![Fact::ErrorKind(ErrorKind::Timeout)];
            }),
            &[3],
        ),
    ];
    for (filter, expected) in cases {
        for limit in [1, 3, 50] {
            let found = span_list(backend, &filter, limit);
            assert_eq!(found, expected, "{filter:?} limit {limit}");
        }
        let found = search::named_op(backend, &filter);
        assert_eq!(found, expected, "{filter:?} of a search");
        let found = feed::matching(backend, &filter);
        assert_eq!(found, expected, "{filter:?} of the feed");
    }
}

// Scenario: a failed span names no kind and one that did not fail names one; another project's
// spans say what is looked for.
// Guarantees: a kind of failure is one of a failed span of ours.
pub(super) fn facts_are_of_failed_spans_and_of_our_own(backend: &mut impl Backend) {
    let mut fine = span(1, 1, 100);
    fine.basics.error_kind = Some(ErrorKind::Timeout);
    let nameless = TestSpan {
        failed: true,
        ..span(2, 2, 200)
    };
    let theirs = TestSpan {
        project: OTHER,
        ..failed(
            with(span(1, 3, 100), call("secret", 1, 1)),
            ErrorKind::Timeout,
        )
    };
    write_spans(backend, &[theirs, fine, nameless]);
    for wanted in [
        Fact::ErrorKind(ErrorKind::Timeout),
        Fact::Model("secret".to_owned()),
        Fact::Operation("chat".to_owned()),
    ] {
        let traces = traces_with(|f| f.facts = vec![wanted.clone()]);
        assert!(trace_list(backend, &traces, 10).is_empty(), "{wanted:?}");
        let spans = spans_with(|f| f.facts = vec![wanted.clone()]);
        assert!(span_list(backend, &spans, 10).is_empty(), "{wanted:?}");
    }
}

// Scenario: the one trace that matches is older than more spans than a page may look at.
// Guarantees: the first page says where to go on, and following it finds the trace once.
pub(super) fn a_rare_fact_is_found_behind_many_spans(backend: &mut impl Backend) {
    let rare = operation(
        "execute_tool",
        GenAi {
            tool_name: Some("rare".into()),
            ..GenAi::default()
        },
    );
    write_spans(backend, &[with(span(1, 1, 1), rare)]);
    for batch in 0..24_u64 {
        let spans = (0..4000_u64).map(|number| {
            let trace = 2 + batch * 80 + number / 50;
            span(trace, number + 2, 1_000 + trace * 1_000_000 + number % 50)
        });
        write_spans(backend, &spans.collect::<Vec<_>>());
    }
    let wanted = fact(Fact::Tool, "rare");
    let traces = traces_with(|f| f.facts = wanted.clone());
    let ten = page(10);
    let first = backend.reader().list_traces(PROJECT, &traces, &ten);
    let first = runtime().block_on(first).unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    assert_eq!(trace_list(backend, &traces, 10), [1]);
    let spans = spans_with(|f| f.facts = wanted);
    assert_eq!(span_list(backend, &spans, 10), [1]);
    let frequent = traces_with(|f| f.facts = fact(Fact::Operation, "http"));
    let found = backend.reader().list_traces(PROJECT, &frequent, &ten);
    assert_eq!(runtime().block_on(found).unwrap().items.len(), 10);
}
