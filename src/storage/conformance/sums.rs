//! What spans add up to: totals of traces and sessions, sums over time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::fixture::{OTHER, TestSpan, call, page, span, trace_id, write_spans};
use super::{Backend, NOW, PROJECT, runtime};
use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Totals, Usage};
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
        details: false,
        limit: 1000,
    }
}

fn ask(backend: &impl Backend, query: &AnalyticsQuery) -> AnalyticsAnswer {
    let answer = backend.reader().analytics(PROJECT, query);
    runtime().block_on(answer).unwrap()
}

/// The values a span has of a dimension: several tags, one of everything else.
fn values(span: &TestSpan, dimension: Dimension) -> Vec<String> {
    let basics = &span.basics;
    let genai = basics.genai.as_deref();
    let text = |text: &Option<Cow<'static, str>>| text.as_deref().unwrap_or_default().to_owned();
    let of_genai = |field: fn(&GenAi<'static>) -> Option<Cow<'static, str>>| {
        genai.and_then(field).unwrap_or_default().into_owned()
    };
    vec![match dimension {
        Dimension::Service => span.service.to_owned(),
        Dimension::Operation => basics.operation.as_str().to_owned(),
        Dimension::Provider => text(&basics.provider),
        Dimension::Model => basics.model().unwrap_or_default().to_owned(),
        Dimension::User => text(&basics.user_id),
        Dimension::Agent => of_genai(|it| it.agent_name.clone().or(it.agent_id.clone())),
        Dimension::Tool => of_genai(|it| it.tool_name.clone()),
        Dimension::Environment => span.environment.to_owned(),
        Dimension::ErrorKind => match basics.error_kind {
            Some(kind) if span.failed => kind.as_str().to_owned(),
            _ => String::new(),
        },
        Dimension::CostSource => {
            let source = genai.and_then(|it| it.cost.source);
            source.map_or("", CostSource::as_str).to_owned()
        }
        Dimension::Tag => {
            let tags = genai.map(|it| it.tags.iter().map(|tag| tag.to_string()));
            let tags: BTreeSet<_> = tags.into_iter().flatten().collect();
            if !tags.is_empty() {
                return tags.into_iter().collect();
            }
            String::new()
        }
    }]
}

/// What a span adds.
fn measures(span: &TestSpan, query: &AnalyticsQuery) -> Measures {
    let mut sums = Measures {
        span_count: 1,
        error_count: u64::from(span.failed),
        duration_sum_ns: span.duration,
        ..Measures::default()
    };
    sums.durations.record(span.duration);
    let call = span.basics.genai.as_deref().filter(|it| it.is_model_call);
    sums.totals = call.map(GenAi::amounts).unwrap_or_default();
    if let (true, Some(call)) = (query.details, call) {
        let amount = |amount: Option<i64>| amount.unwrap_or(0);
        sums.details.cache_write_tokens = amount(call.usage.cache_write);
        sums.details.reasoning_tokens = amount(call.usage.reasoning);
        sums.details.audio_input_tokens = amount(call.usage.audio_in);
        sums.details.audio_output_tokens = amount(call.usage.audio_out);
        sums.details.image_input_tokens = amount(call.usage.image_in);
        sums.details.image_output_tokens = amount(call.usage.image_out);
        sums.details.unpriced_calls = i64::from(call.cost.source == Some(CostSource::Unpriced));
        if let Some(first) = call.time_to_first_token_ns {
            sums.details.first_tokens.record(first.unsigned_abs());
        }
    }
    sums
}

/// What the spans add up to, span by span.
fn added_up(spans: &[TestSpan], query: &AnalyticsQuery) -> AnalyticsAnswer {
    let mut rows: BTreeMap<(i64, Vec<String>), Measures> = BTreeMap::new();
    for span in spans.iter().filter(|span| span.project == PROJECT) {
        let minute = i64::try_from(span.start / MINUTE).unwrap();
        let matches = query
            .filters
            .iter()
            .all(|(dimension, wanted)| values(span, *dimension).contains(wanted));
        if !(query.start_minute..query.end_minute).contains(&minute) || !matches {
            continue;
        }
        let bucket = query.step_minutes.map_or(query.start_minute, |step| {
            minute / i64::from(step) * i64::from(step)
        });
        let mut groups: Vec<Vec<String>> = vec![Vec::new()];
        for dimension in &query.group_by {
            let values = values(span, *dimension);
            let longer = |group: Vec<String>| {
                let values = values.iter();
                values.map(move |value| [group.clone(), vec![value.clone()]].concat())
            };
            groups = groups.into_iter().flat_map(longer).collect();
        }
        for group in groups {
            let sums = rows.entry((bucket, group)).or_default();
            sums.merge(&measures(span, query));
        }
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
        counted_from_unix_nano: None,
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

fn any_span() -> impl Strategy<Value = (u64, bool, u64, u8, u8, u16)> {
    // Five days of minutes, close enough together that rows of every level hold several spans.
    let minute = prop_oneof![
        3 => 0_u64..90,
        2 => 1_350_u64..1_500,
        1 => 0_u64..7_200,
    ];
    let duration = prop_oneof![0_u64..10, 1_000_u64..10_000_000];
    (
        minute,
        any::<bool>(),
        duration,
        0_u8..3,
        0_u8..4,
        any::<u16>(),
    )
}

fn any_query() -> impl Strategy<Value = AnalyticsQuery> {
    let rolled_up: Vec<_> = Dimension::ALL[..4].to_vec();
    // Half of the questions are of rollups alone.
    let group_by = prop_oneof![
        prop::sample::subsequence(rolled_up, 0..4),
        prop::sample::subsequence(Dimension::ALL.to_vec(), 0..5),
    ];
    let step = prop::option::of(prop::sample::select(vec![1_u32, 5, 60, 90, 1_440, 2_880]));
    let group_by = group_by.prop_shuffle();
    let filters = vec![
        (Dimension::Service, "api"),
        (Dimension::Service, "db"),
        (Dimension::User, "ada"),
        (Dimension::Tag, "eu"),
        (Dimension::Environment, "prod"),
        (Dimension::ErrorKind, "timeout"),
        (Dimension::CostSource, "unpriced"),
        (Dimension::Agent, "a-1"),
    ];
    let filter = prop::option::of(prop::sample::select(filters));
    let bounds = (0_i64..7_300, 0_i64..7_300);
    let details = prop::bool::weighted(0.3);
    (bounds, step, group_by, filter, details, 1_usize..400).prop_map(
        |((one, other), step_minutes, group_by, filter, details, limit)| AnalyticsQuery {
            start_minute: FIRST_MINUTE + one.min(other),
            end_minute: FIRST_MINUTE + one.max(other),
            step_minutes,
            group_by,
            filters: filter
                .map(|(dimension, value)| (dimension, value.to_owned()))
                .into_iter()
                .collect(),
            durations: true,
            details,
            limit,
        },
    )
}

/// With more columns, as the bits say.
fn detailed(mut basics: Basics<'static>, bits: u16) -> Basics<'static> {
    let is = |bit: u16| bits & (1 << bit) != 0;
    let text = |is: bool, text: &'static str| is.then_some(Cow::Borrowed(text));
    basics.user_id = text(is(1), if is(2) { "ada" } else { "bob" });
    basics.error_kind = is(3).then_some(ErrorKind::Timeout);
    if let Some(genai) = &mut basics.genai {
        genai.agent_name = text(is(4), "writer");
        genai.agent_id = text(is(5), "a-1");
        genai.tool_name = text(is(6), "search");
        genai.is_model_call = is(7);
        genai.time_to_first_token_ns = is(8).then_some(17);
        genai.usage.reasoning = is(9).then_some(2);
        genai.usage.cache_write = is(10).then_some(1);
        genai.usage.audio_in = is(11).then_some(4);
        genai.usage.audio_out = is(12).then_some(5);
        genai.usage.image_in = is(11).then_some(6);
        genai.usage.image_out = is(12).then_some(7);
        genai.cost.total = is(13).then_some(1_000);
        genai.cost.source = Some(if is(13) {
            CostSource::Computed
        } else {
            CostSource::Unpriced
        });
        let tags = [text(is(14), "eu"), text(is(15), "beta"), text(is(14), "eu")];
        genai.tags = tags.into_iter().flatten().collect();
        if !genai.is_model_call {
            // Whose usage counts depends on the rest of the trace; `calls` tests that.
            genai.usage = Usage::default();
            genai.cost = Cost::default();
        }
    }
    basics
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
                    let (minute, failed, duration, service, model, bits) = span_of;
                    let minute = FIRST_MINUTE.unsigned_abs() + minute;
                    TestSpan {
                        failed,
                        duration,
                        service: ["api", "db", "web"][usize::from(service)],
                        environment: if bits & 1 == 0 { "prod" } else { "" },
                        basics: detailed(
                            match model {
                                0 => span(1, 1, 1).basics,
                                1 => call("", 3, 4),
                                2 => call("small", 5, 6),
                                _ => call("large", 7, 8),
                            },
                            bits,
                        ),
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
