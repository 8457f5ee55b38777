//! What spans add up to: totals of traces and sessions, sums over time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{OTHER, TestSpan, call, page, span, trace_id, write_spans};
use super::{Backend, NOW, PROJECT, runtime};
use crate::model::genai::{GenAi, Totals};
use crate::model::span::Basics;
use crate::storage::SessionFilter;
use crate::storage::query::{AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, Dimension, Measures};

const MINUTE: u64 = 60_000_000_000;

fn priced(input: i64, cost: i64) -> Basics<'static> {
    let mut basics = call("m", input, 2);
    if let Some(genai) = &mut basics.genai {
        genai.usage.cache_read = Some(3);
        genai.cost.total = Some(cost);
    }
    basics.session_id = Some("s".into());
    basics
}

/// The totals of trace 1 and of its session.
fn totals(backend: &impl Backend) -> (Totals, Totals) {
    let reader = backend.reader();
    runtime().block_on(async {
        let trace = reader.trace(PROJECT, trace_id(1), &page(1)).await.unwrap();
        let sessions = reader
            .list_sessions(PROJECT, &SessionFilter::default(), &page(1))
            .await;
        (
            trace.unwrap().summary.totals,
            sessions.unwrap().items[0].totals,
        )
    })
}

// Scenario: model calls and an agent that repeats their usage arrive in several batches, twice.
// Guarantees: trace and session totals count each call once and the agent not at all.
pub(super) fn totals_count_each_model_call_once(backend: &mut impl Backend) {
    let mut agent = priced(1_000, 1_000);
    if let Some(genai) = &mut agent.genai {
        genai.is_model_call = false;
    }
    let spans: Vec<_> = [agent, priced(10, 100), priced(20, 200), priced(30, 300)]
        .into_iter()
        .zip(1..)
        .map(|(basics, number)| TestSpan {
            basics,
            ..span(1, number, NOW + number)
        })
        .collect();
    write_spans(backend, &spans[..2]);
    write_spans(backend, &spans[1..]);
    write_spans(backend, &spans);
    let expected = Totals {
        llm_calls: 3,
        input_tokens: 60,
        output_tokens: 6,
        cache_read_tokens: 9,
        cost_nano_usd: 600,
    };
    assert_eq!(totals(backend), (expected, expected));
}

// Scenario: calls that report more tokens than an integer holds when added up, in one batch and in
// several; durations likewise.
// Guarantees: sums stop at the largest integer, everywhere; nothing is refused.
pub(super) fn sums_stop_at_the_largest_integer(backend: &mut impl Backend) {
    let spans: Vec<_> = (1..=4)
        .map(|number| TestSpan {
            basics: priced(i64::MAX - 1, i64::MAX),
            duration: u64::MAX / 2,
            ..span(1, number, number)
        })
        .collect();
    write_spans(backend, &spans[..2]);
    write_spans(backend, &spans[2..3]);
    let report = write_spans(backend, &spans[3..]);
    assert_eq!(report.spans_stored, 1);
    let expected = Totals {
        llm_calls: 4,
        input_tokens: i64::MAX,
        output_tokens: 8,
        cache_read_tokens: 12,
        cost_nano_usd: i64::MAX,
    };
    assert_eq!(totals(backend), (expected, expected));
    let answer = ask(backend, &query(0, 10));
    let measures = &answer.rows[0].measures;
    assert_eq!(measures.totals, expected);
    assert_eq!(measures.duration_sum_ns, i64::MAX.unsigned_abs());
    assert_eq!(measures.durations.count(), 4);
}

fn query(start_minute: i64, end_minute: i64) -> AnalyticsQuery {
    AnalyticsQuery {
        start_minute,
        end_minute,
        step_minutes: None,
        group_by: Vec::new(),
        filters: Vec::new(),
        durations: true,
        limit: 1000,
    }
}

fn ask(backend: &impl Backend, query: &AnalyticsQuery) -> AnalyticsAnswer {
    let answer = backend.reader().analytics(PROJECT, query);
    runtime().block_on(answer).unwrap()
}

/// What the spans add up to, span by span.
fn added_up(spans: &[TestSpan], query: &AnalyticsQuery) -> AnalyticsAnswer {
    let mut rows: BTreeMap<(i64, Vec<String>), Measures> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.project == PROJECT) {
        let minute = i64::try_from(span.start / MINUTE).unwrap();
        let value = |dimension| match dimension {
            Dimension::Service => span.service,
            Dimension::Operation => span.basics.operation.as_str(),
            Dimension::Provider => span.basics.provider.as_deref().unwrap_or_default(),
            Dimension::Model => span.basics.model().unwrap_or_default(),
        };
        let matches = query
            .filters
            .iter()
            .all(|(dimension, wanted)| value(*dimension) == wanted);
        if !(query.start_minute..query.end_minute).contains(&minute) || !matches {
            continue;
        }
        let bucket = query.step_minutes.map_or(query.start_minute, |step| {
            minute / i64::from(step) * i64::from(step)
        });
        let group = query
            .group_by
            .iter()
            .map(|dimension| value(*dimension).to_owned());
        let sums = rows.entry((bucket, group.collect())).or_default();
        sums.span_count += 1;
        sums.error_count += u64::from(span.failed);
        sums.duration_sum_ns += span.duration;
        sums.durations.record(span.duration);
        let genai = span.basics.genai.as_deref().filter(|it| it.is_model_call);
        sums.totals
            .add(genai.map(GenAi::amounts).unwrap_or_default());
    }
    let truncated = rows.len() > query.limit;
    let rows = rows.into_iter().take(query.limit);
    let rows = rows.map(|((bucket_minute, group), measures)| AnalyticsRow {
        bucket_minute,
        group,
        measures,
    });
    AnalyticsAnswer {
        rows: rows.collect(),
        truncated,
    }
}

// Scenario: spans of another project, a range without spans, groups nobody asked for.
// Guarantees: answers hold our spans only, are empty where there are none, and keep to the limit.
pub(super) fn sums_keep_to_their_project_range_and_limit(backend: &mut impl Backend) {
    let hour = 60 * MINUTE;
    let spans = [
        TestSpan {
            service: "a",
            ..span(1, 1, 100 * hour)
        },
        TestSpan {
            service: "B",
            failed: true,
            ..span(1, 2, 100 * hour + MINUTE)
        },
        TestSpan {
            service: "é",
            basics: call("m", 5, 6),
            ..span(1, 3, 101 * hour)
        },
        TestSpan {
            project: OTHER,
            ..span(1, 4, 100 * hour)
        },
    ];
    write_spans(backend, &spans);
    let all = query(0, 1_000 * 60);
    let mut cases = vec![
        all.clone(),
        query(200 * 60, 300 * 60),
        query(100 * 60, 100 * 60 + 1),
        query(100 * 60, 100 * 60),
    ];
    for group_by in [
        vec![Dimension::Service],
        vec![Dimension::Model, Dimension::Service],
        vec![Dimension::Operation],
        vec![Dimension::Provider, Dimension::Operation],
    ] {
        for limit in [1, 2, 1000] {
            cases.push(AnalyticsQuery {
                group_by: group_by.clone(),
                limit,
                ..all.clone()
            });
        }
    }
    cases.push(AnalyticsQuery {
        filters: vec![
            (Dimension::Model, "m".to_owned()),
            (Dimension::Service, "a".to_owned()),
        ],
        ..all.clone()
    });
    cases.push(AnalyticsQuery {
        filters: vec![(Dimension::Model, "m".to_owned())],
        step_minutes: Some(60),
        ..all
    });
    for query in cases {
        assert_eq!(ask(backend, &query), added_up(&spans, &query), "{query:?}");
    }
}

fn any_span() -> impl Strategy<Value = (u64, bool, u64, u8, u8)> {
    // Five days of minutes, close enough together that rows of every level hold several spans.
    let minute = prop_oneof![
        3 => 0_u64..90,
        2 => 1_350_u64..1_500,
        1 => 0_u64..7_200,
    ];
    let duration = prop_oneof![0_u64..10, 1_000_u64..10_000_000];
    (minute, any::<bool>(), duration, 0_u8..3, 0_u8..4)
}

fn any_query() -> impl Strategy<Value = AnalyticsQuery> {
    let dimensions = vec![
        Dimension::Service,
        Dimension::Operation,
        Dimension::Provider,
        Dimension::Model,
    ];
    let step = prop::option::of(prop::sample::select(vec![1_u32, 5, 60, 90, 1_440, 2_880]));
    let group_by = prop::sample::subsequence(dimensions, 0..4).prop_shuffle();
    let service = prop::option::of(prop::sample::select(vec!["api", "db"]));
    let bounds = (0_i64..7_300, 0_i64..7_300);
    (bounds, step, group_by, service, 1_usize..400).prop_map(
        |((one, other), step_minutes, group_by, service, limit)| AnalyticsQuery {
            start_minute: FIRST_MINUTE + one.min(other),
            end_minute: FIRST_MINUTE + one.max(other),
            step_minutes,
            group_by,
            filters: service
                .map(|service| (Dimension::Service, service.to_owned()))
                .into_iter()
                .collect(),
            durations: true,
            limit,
        },
    )
}

/// A day that begins at midnight, long ago.
const FIRST_MINUTE: i64 = 20_000 * 1_440;

// Scenario: any spans over five days in any batches, each batch twice; any range, step, groups and
// filter.
// Guarantees: the answer is what the spans add up to one by one, whichever levels it is read from.
pub(super) fn sums_are_what_the_spans_add_up_to<B: Backend>(open: impl Fn() -> B, cases: u32) {
    let spans = prop::collection::vec(prop::collection::vec(any_span(), 1..20), 1..5);
    let case = (spans, prop::collection::vec(any_query(), 12));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let checked = runner.run(&case, |(batches, queries)| {
        let mut backend = open();
        let mut all: Vec<TestSpan> = Vec::new();
        for batch in batches {
            let spans = batch
                .into_iter()
                .zip(all.len() as u64..)
                .map(|(span_of, number)| {
                    let (minute, failed, duration, service, model) = span_of;
                    let minute = FIRST_MINUTE.unsigned_abs() + minute;
                    TestSpan {
                        failed,
                        duration,
                        service: ["api", "db", "web"][usize::from(service)],
                        basics: match model {
                            0 => span(1, 1, 1).basics,
                            1 => call("", 3, 4),
                            2 => call("small", 5, 6),
                            _ => call("large", 7, 8),
                        },
                        ..span(number % 5 + 1, number + 1, minute * MINUTE + number)
                    }
                });
            let spans: Vec<_> = spans.collect();
            write_spans(&mut backend, &spans);
            write_spans(&mut backend, &spans);
            all.extend(spans);
        }
        for query in queries {
            prop_assert_eq!(ask(&backend, &query), added_up(&all, &query), "{:?}", query);
        }
        Ok(())
    });
    checked.unwrap();
}
