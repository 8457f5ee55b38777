use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::genai::{Cost, CostSource, GenAi, Usage};
use crate::model::span::{Basics, Kind, Operation, Status, TimeMarks};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::rollup::{Crowd, Rollups};
use crate::storage::session::Sessions;

const MINUTE: u64 = 60_000_000_000;

/// A span in few words. Zero and empty are absent.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    id: u64,
    parent: u64,
    response: &'static str,
    wraps: bool,
    tokens: (i64, i64),
    cost: (i64, bool),
    model: &'static str,
    request_model: &'static str,
    session: &'static str,
    dialect: &'static str,
    scope: &'static str,
    start: u64,
    end: u64,
}

fn some<T: PartialEq + Default>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn row(told: &Told) -> SpanRow<'static> {
    let text = |text: &'static str| some(text).map(Cow::Borrowed);
    let (cost, is_reported) = told.cost;
    let genai = GenAi {
        dialect: text(told.dialect),
        response_id: text(told.response),
        usage: Usage {
            input: some(told.tokens.0),
            output: some(told.tokens.1),
            ..Usage::default()
        },
        cost: Cost {
            total: some(cost),
            source: Some(if is_reported {
                CostSource::Reported
            } else {
                CostSource::Computed
            }),
            ..Cost::default()
        },
        is_model_call: !told.wraps,
        ..GenAi::default()
    };
    SpanRow {
        project: ProjectId::DEFAULT,
        trace_id: TraceId([1; 16]),
        span_id: SpanId(told.id.to_be_bytes()),
        parent_span_id: SpanId::from_bytes(&told.parent.to_be_bytes()),
        name: Cow::Borrowed("span"),
        kind: Kind::Client,
        status: Status::Unset,
        status_message: Cow::Borrowed(""),
        start_unix_nano: told.start,
        end_unix_nano: told.end,
        time_marks: TimeMarks::default(),
        resource: 0,
        scope: 0,
        received_unix_nano: 7 * MINUTE,
        basics: Basics {
            operation: Operation::GenAi(if told.wraps { "invoke_agent" } else { "chat" }),
            response_model: text(told.model),
            request_model: text(told.request_model),
            session_id: text(told.session),
            genai: Some(Box::new(genai)),
            ..Basics::default()
        },
        message: Cow::Borrowed(&[]),
        scope_digest: scope_digest(told.scope),
        is_derived: false,
        is_recorded: false,
        sampled_out: None,
    }
}

/// A trace and the sums that it is part of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct World {
    stored: Stored,
    rollups: BTreeMap<String, Totals>,
    sessions: BTreeMap<String, Totals>,
}

fn sum(one: Totals, sign: i64, other: Totals) -> Totals {
    let sum = Totals {
        llm_calls: one.llm_calls + sign * other.llm_calls,
        input_tokens: one.input_tokens + sign * other.input_tokens,
        output_tokens: one.output_tokens + sign * other.output_tokens,
        cache_read_tokens: one.cache_read_tokens + sign * other.cache_read_tokens,
        cost_nano_usd: one.cost_nano_usd + sign * other.cost_nano_usd,
    };
    let all = [sum.llm_calls, sum.input_tokens, sum.output_tokens];
    assert!(
        all.iter().all(|it| *it >= 0) && sum.cost_nano_usd >= 0,
        "{sum:?}"
    );
    sum
}

impl World {
    fn add(&mut self, max: usize, spans: &[Told]) {
        let rows: Vec<_> = spans.iter().map(row).collect();
        let mut fresh = Fresh::default();
        for (row, told) in rows.iter().zip(spans) {
            fresh.add(row, "api", || told.id.is_multiple_of(7));
        }
        let settled = settle_within(max, &self.stored, &fresh);
        self.stored.totals = settled.totals;
        if let Some(list) = settled.list {
            self.stored.list = list;
        }
        // As the stores do: everything is added before anything is taken away.
        let mut rollups = Rollups::default();
        let mut sessions = Sessions::<u8>::default();
        for change in &settled.changes {
            rollups.change(ProjectId::DEFAULT, change);
            sessions.change(ProjectId::DEFAULT, change);
        }
        for (key, sums) in rollups.rows() {
            let total = self.rollups.entry(format!("{key:?}")).or_default();
            *total = sum(sum(*total, 1, sums.totals), -1, sums.removed);
        }
        for ((_, session), sums) in sessions.sums {
            let total = self.sessions.entry(session.into_owned()).or_default();
            *total = sum(sum(*total, 1, sums.totals), -1, sums.removed);
        }
    }

    /// What is left when sums of nothing are left out.
    fn without_zeros(mut self) -> Self {
        self.rollups.retain(|_, sum| *sum != Totals::default());
        self.sessions.retain(|_, sum| *sum != Totals::default());
        self
    }
}

/// Calls, input tokens, output tokens and cost of a trace; the same in every order and split.
fn totals(spans: &[Told]) -> (i64, i64, i64, i64) {
    let mut together = World::default();
    together.add(CALLS_MAX, spans);
    let mut backwards = World::default();
    for span in spans.iter().rev() {
        backwards.add(CALLS_MAX, std::slice::from_ref(span));
    }
    assert_eq!(together.clone().without_zeros(), backwards.without_zeros());
    let it = together.stored.totals;
    (
        it.llm_calls,
        it.input_tokens,
        it.output_tokens,
        it.cost_nano_usd,
    )
}

fn call(id: u64, parent: u64, response: &'static str) -> Told {
    Told {
        id,
        parent,
        response,
        tokens: (10, 2),
        cost: (5, false),
        model: "m",
        ..Told::default()
    }
}

fn wrapper(id: u64, parent: u64, input: i64, times: (u64, u64)) -> Told {
    Told {
        id,
        parent,
        wraps: true,
        tokens: (input, 1),
        start: times.0,
        end: times.1,
        ..Told::default()
    }
}

// Scenario: two packages tell of one call, the one's span below the other's.
// Guarantees: the outer one counts, unless the inner one knows more.
#[test]
fn one_call_in_two_spans_counts_once() {
    let outer = call(2, 9, "r");
    let inner = call(1, 2, "r");
    assert_eq!(totals(&[outer, inner]), (1, 10, 2, 5));
    // Figures that differ are of one call all the same, if it has one id.
    let other = Told {
        tokens: (10, 3),
        ..inner
    };
    assert_eq!(totals(&[outer, other]), (1, 10, 2, 5));
    // The same figures are charged higher by who knows how long what was cached is kept.
    let charged = |cost, span| Told { cost, ..span };
    let dearer = charged((6, false), inner);
    assert_eq!(totals(&[outer, dearer]), (1, 10, 2, 6));
    assert_eq!(totals(&[charged((6, false), outer), inner]), (1, 10, 2, 6));
    // What was reported is what was charged.
    let reported = charged((4, true), outer);
    assert_eq!(totals(&[reported, dearer]), (1, 10, 2, 4));
    let discounted = charged((3, true), inner);
    assert_eq!(totals(&[reported, discounted]), (1, 10, 2, 4));
    let bare = Told {
        tokens: (0, 0),
        cost: (0, false),
        ..outer
    };
    assert_eq!(totals(&[bare, inner]), (1, 10, 2, 5));
    let priced = Told {
        tokens: (10, 3),
        cost: (9, true),
        ..inner
    };
    assert_eq!(totals(&[outer, priced]), (1, 10, 3, 9));
    let free = Told {
        cost: (0, false),
        ..outer
    };
    assert_eq!(totals(&[free, priced]), (1, 10, 3, 9));
    // Three of them, and one that is only below the call that is in the middle.
    let third = call(3, 1, "");
    assert_eq!(totals(&[outer, inner, third]), (1, 10, 2, 5));
}

#[test]
fn without_an_id_a_call_is_told_by_tokens_and_model() {
    let outer = call(1, 0, "");
    let inner = call(2, 1, "r");
    assert_eq!(totals(&[outer, inner]).0, 1);
    let more = Told {
        tokens: (11, 2),
        ..inner
    };
    assert_eq!(totals(&[outer, more]), (2, 21, 4, 10));
    let other = Told {
        model: "other",
        ..inner
    };
    assert_eq!(totals(&[outer, other]).0, 2);
    let asked = Told {
        model: "m-2026",
        request_model: "vendor/m",
        ..inner
    };
    assert_eq!(totals(&[outer, asked]).0, 1);
    let unnamed = Told { model: "", ..inner };
    assert_eq!(totals(&[outer, unnamed]).0, 1);
    // Nothing is known of the tokens: only of a parent and its child.
    let failed = Told {
        tokens: (0, 0),
        cost: (0, false),
        response: "",
        ..inner
    };
    assert_eq!(totals(&[outer, failed]), (1, 10, 2, 5));
    let both = [
        Told {
            tokens: (0, 0),
            cost: (0, false),
            ..outer
        },
        failed,
    ];
    assert_eq!(totals(&both), (1, 0, 0, 0));
    let between = wrapper(4, 1, 50, (0, 9));
    let below = Told {
        parent: 4,
        ..failed
    };
    assert_eq!(totals(&[outer, between, below]), (2, 10, 2, 5));
    let below = Told { parent: 4, ..inner };
    assert_eq!(totals(&[outer, between, below]), (1, 10, 2, 5));
    // Below something that is not in the list: nothing says that they belong together.
    let apart = Told { parent: 8, ..inner };
    assert_eq!(totals(&[outer, apart]).0, 2);
}

#[test]
fn gateways_make_up_ids_of_their_own() {
    let gateway = Told {
        dialect: "gateway",
        ..call(1, 0, "made-up")
    };
    let provider = Told {
        dialect: "sdk",
        ..call(2, 1, "r")
    };
    assert_eq!(totals(&[gateway, provider]).0, 1);
    let same_package = Told {
        dialect: "gateway",
        ..provider
    };
    assert_eq!(totals(&[gateway, same_package]).0, 2);
    let other_output = Told {
        tokens: (10, 3),
        ..provider
    };
    assert_eq!(totals(&[gateway, other_output]).0, 2);
}

#[test]
fn one_response_id_is_one_call_wherever_it_is() {
    let (one, other) = (call(1, 8, "r"), call(2, 9, "r"));
    assert_eq!(totals(&[one, other]), (1, 10, 2, 5));
    // Ids out of a small range.
    let collides = Told {
        tokens: (11, 2),
        ..other
    };
    assert_eq!(totals(&[one, collides]).0, 2);
    // A provider that always answers with one id.
    let first = Told { end: 5, ..one };
    let later = Told {
        start: 6,
        end: 9,
        ..other
    };
    assert_eq!(totals(&[first, later]).0, 2);
    // Asked for again when it was not ready yet.
    let not_ready = Told {
        tokens: (0, 0),
        cost: (0, false),
        ..first
    };
    assert_eq!(totals(&[not_ready, later]), (1, 10, 2, 5));
    // An agent that has the id of its last call.
    let agent = Told {
        response: "r",
        ..wrapper(3, 0, 10, (0, 9))
    };
    assert_eq!(totals(&[one, agent]), (1, 10, 2, 5));
    assert_eq!(totals(&[call(1, 8, ""), call(2, 8, "")]).0, 2);
}

// Scenario: two packages tell of one call, neither's span is below the other's, and not both know
// the response id; or the call failed.
// Guarantees: each call counts once, also where calls run side by side.
#[test]
fn calls_within_the_time_of_others_are_told_by_tokens_and_dialect() {
    let timed = |start, end, dialect, span| Told {
        start,
        end,
        dialect,
        ..span
    };
    let outer = timed(0, 9, "framework", call(1, 8, ""));
    let inner = timed(1, 8, "sdk", call(2, 9, "r"));
    assert_eq!(totals(&[outer, inner]), (1, 10, 2, 5));
    let unnamed = Told {
        response: "",
        ..inner
    };
    assert_eq!(totals(&[outer, unnamed]), (1, 10, 2, 5));
    for other in [
        Told { end: 12, ..inner },
        Told {
            model: "other",
            ..inner
        },
        Told {
            tokens: (10, 3),
            ..inner
        },
        Told {
            dialect: "framework",
            ..inner
        },
    ] {
        assert_eq!(totals(&[outer, other]).0, 2, "{other:?}");
    }
    // Packages of one family, of which one may leave out the id: by their scopes.
    let of_scope = |scope, span| Told {
        dialect: "framework",
        scope,
        ..span
    };
    let (frame, sdk) = (of_scope("chain", outer), of_scope("client", inner));
    assert_eq!(totals(&[frame, sdk]), (1, 10, 2, 5));
    assert_eq!(totals(&[frame, of_scope("client", unnamed)]).0, 1);
    assert_eq!(totals(&[frame, of_scope("chain", inner)]).0, 2);
    assert_eq!(totals(&[frame, of_scope("", inner)]).0, 2, "not known");
    let half_known = |span| Told {
        tokens: (10, 0),
        ..span
    };
    assert_eq!(totals(&[frame, sdk].map(half_known)).0, 2);
    // Two such calls at once.
    let outer_too = timed(0, 9, "framework", call(3, 8, ""));
    let inner_too = timed(2, 8, "sdk", call(4, 9, "s"));
    assert_eq!(totals(&[outer, inner, outer_too, inner_too]).0, 2);
    assert_eq!(totals(&[outer, inner, inner_too]).0, 2);
    assert_eq!(totals(&[outer, outer_too, inner]).0, 2);
    // What failed knows neither id nor tokens.
    let failed = |span| Told {
        tokens: (0, 0),
        cost: (0, false),
        response: "",
        ..span
    };
    let all = [outer, inner, outer_too, inner_too].map(failed);
    assert_eq!(totals(&all[..2]).0, 1);
    assert_eq!(totals(&all).0, 2);
}

#[test]
fn a_call_counts_for_a_session_that_any_of_its_spans_names() {
    let outer = call(1, 0, "r");
    let inner = Told {
        session: "s",
        ..call(2, 1, "r")
    };
    let mut world = World::default();
    world.add(CALLS_MAX, &[outer]);
    assert_eq!(world.sessions.len(), 0);
    world.add(CALLS_MAX, &[inner]);
    assert_eq!(world.sessions["s"].input_tokens, 10);
    let named = Told {
        session: "t",
        ..call(3, 1, "r")
    };
    world.add(CALLS_MAX, &[named]);
    assert_eq!(world.sessions["s"].llm_calls, 1);
    assert_eq!(world.sessions.get("t"), None);
}

// Scenario: agents have usage; there are calls with usage, calls without, or none.
// Guarantees: agents count only where no call has usage, and never one within another.
#[test]
fn wrappers_count_when_no_call_has_usage() {
    let agent = wrapper(1, 0, 100, (0, 10));
    assert_eq!(totals(&[agent]), (0, 100, 1, 0));
    let bare = Told {
        tokens: (0, 0),
        cost: (0, false),
        ..call(5, 1, "r")
    };
    assert_eq!(totals(&[agent, bare]), (1, 100, 1, 0));
    assert_eq!(totals(&[agent, bare, call(6, 9, "")]), (2, 10, 2, 5));
    let within = wrapper(2, 1, 60, (0, 5));
    assert_eq!(totals(&[agent, within]), (0, 100, 1, 0));
    // What is below which is not known: one after the other, or below one parent, is not within.
    let maybe_within = wrapper(2, 8, 60, (5, 20));
    assert_eq!(totals(&[agent, maybe_within]), (0, 100, 1, 0));
    let after = wrapper(2, 8, 60, (10, 20));
    assert_eq!(totals(&[agent, after]), (0, 160, 2, 0));
    let siblings = [wrapper(1, 8, 100, (0, 10)), wrapper(2, 8, 60, (0, 10))];
    assert_eq!(totals(&siblings), (0, 160, 2, 0));
}

#[test]
fn parents_in_a_circle_do_no_harm() {
    let calls = [
        call(1, 2, "a"),
        call(2, 3, "b"),
        call(3, 1, "c"),
        call(4, 4, "d"),
    ];
    assert_eq!(totals(&calls).0, 4);
    assert_eq!(totals(&[call(1, 2, "a"), call(2, 1, "a")]).0, 1);
    let circle = [wrapper(1, 2, 5, (0, 1)), wrapper(2, 1, 7, (0, 1))];
    assert_eq!(totals(&circle), (0, 0, 0, 0));
}

// Scenario: a trace gets more calls than a list holds; some tell of the same call.
// Guarantees: from then on each counts for itself, also for those that did not; nothing is kept of
// them but the mark.
#[test]
fn beyond_the_bound_every_call_counts() {
    let mut world = World::default();
    let agent = wrapper(9, 0, 70, (0, 1));
    world.add(2, &[agent]);
    world.add(2, &[call(1, 0, "r"), call(2, 1, "r")]);
    assert_eq!(world.stored.totals.llm_calls, 1);
    world.add(2, &[call(3, 2, "r")]);
    assert_eq!(world.stored.totals.input_tokens, 30);
    world.add(2, &[call(4, 3, "r"), wrapper(8, 0, 3, (0, 1))]);
    assert_eq!(world.stored.totals.llm_calls, 4);
    assert_eq!(world.stored.list, wire::encode_full());
    let of_day = |(key, _): &(&String, &Totals)| key.contains("level: Day");
    let counted = world.rollups.iter().filter(of_day);
    let counted: Vec<_> = counted.map(|(_, sum)| sum.llm_calls).collect();
    assert_eq!(counted, [4, 0], "calls, then agents");
}

#[test]
fn lists_are_small_and_empty_without_usage() {
    let mut rows = [
        row(&call(1, 2, "r")),
        row(&Told {
            wraps: true,
            ..Told::default()
        }),
    ];
    let mut fresh = Fresh::default();
    fresh.add(&rows[1], "api", || false);
    assert_eq!(settle(&Stored::default(), &fresh).list, None);
    rows[0].basics.session_id = Some("session-0123456789".into());
    let mut fresh = Fresh::default();
    fresh.add(&rows[0], "api", || false);
    let list = settle(&Stored::default(), &fresh).list.unwrap();
    assert!(list.len() < 110, "{} bytes", list.len());
}

// Scenario: a stored list is damaged; calls go on coming in.
// Guarantees: they are counted one by one on top of what was counted, and the fault is counted.
#[test]
fn after_damage_further_calls_count() {
    let mut world = World::default();
    world.add(CALLS_MAX, &[call(1, 0, "r")]);
    world.stored.list = vec![0xff; 5];
    let before = faults::DAMAGED_CALL_LISTS.count();
    world.add(CALLS_MAX, &[call(2, 1, "r")]);
    assert!(faults::DAMAGED_CALL_LISTS.count() > before);
    assert_eq!(world.stored.totals.llm_calls, 2);
}

// Scenario: a batch of more groups than get rows of their own; then a span that takes away what one
// of them counted for.
// Guarantees: it is taken from the row that it was added to.
#[test]
fn what_is_crowded_is_taken_away_where_it_was_added() {
    let mut world = World::default();
    world.add(CALLS_MAX, &[call(7, 1, "r")]);
    assert!(world.rollups.keys().all(|key| key.contains("other")));
    world.add(CALLS_MAX, &[call(1, 0, "r")]);
    let crowded = world
        .rollups
        .iter()
        .filter(|(key, _)| key.contains("other"));
    let crowded: Vec<_> = crowded.map(|(_, sum)| *sum).collect();
    assert_eq!(crowded, [Totals::default(); 3]);

    let mut rows: Vec<_> = (0..5_000_u64).map(|id| row(&call(id + 1, 0, ""))).collect();
    let spread = |rows: &mut [SpanRow<'_>]| {
        for (minute, row) in (0..).zip(rows) {
            row.start_unix_nano = minute * MINUTE;
        }
    };
    let resource = crate::storage::write::ResourceRow {
        project: ProjectId::DEFAULT,
        message: Cow::Borrowed(&[]),
        schema_url: "",
        service_name: "api".into(),
        service_version: None,
        service_instance: None,
        environment: None,
    };
    let resources = [resource];
    let crowded = |rows: &[SpanRow<'_>]| {
        let crowd = Crowd::of(rows, &resources);
        let is_crowded = |row: &&SpanRow<'_>| crowd.has_no_room_for(row, "api");
        rows.iter().filter(is_crowded).count()
    };
    assert_eq!(crowded(&rows), 0, "all in one group");
    spread(&mut rows[..4_000]);
    assert_eq!(crowded(&rows), 0);
    spread(&mut rows);
    assert_eq!(crowded(&rows), 5_000 - 4_096);
}

fn any_told() -> impl Strategy<Value = Told> {
    let ids = (
        0_u64..9,
        prop::sample::select(vec!["", "", "r1", "r2", "r3"]),
    );
    let tokens = (
        prop::sample::select(vec![0, 10, 20]),
        prop::sample::select(vec![0, 2, 3]),
    );
    let cost = (prop::sample::select(vec![0, 5, 7]), any::<bool>());
    let texts = (
        prop::sample::select(vec!["", "m", "m", "v/m", "n"]),
        prop::sample::select(vec!["", "m"]),
        prop::sample::select(vec!["", "s", "t", "u"]),
        prop::sample::select(vec!["", "d"]),
        prop::sample::select(vec!["", "p", "q"]),
    );
    let times = (0_u64..4, 0_u64..4);
    (ids, prop::bool::weighted(0.3), tokens, cost, texts, times).prop_map(
        |((parent, response), wraps, tokens, cost, texts, (start, length))| Told {
            id: 0,
            parent,
            response,
            wraps,
            tokens,
            cost,
            model: texts.0,
            request_model: texts.1,
            session: texts.2,
            dialect: texts.3,
            scope: texts.4,
            start: start * MINUTE,
            end: (start + length) * MINUTE,
        },
    )
}

// Scenario: a trace has more calls than a list holds, some of which were counted without being stored;
// those that are stored are settled anew. Then the same where all are stored, and turn out to be fewer.
// Guarantees: what the list can't name stays counted; where there is no such thing, a list is made again.
#[test]
fn what_a_full_list_does_not_name_stays_counted() {
    let told = |wraps| {
        (1..=300).map(move |id| Told {
            id,
            wraps: wraps && id > 100,
            tokens: (10, 1),
            ..Told::default()
        })
    };
    let rows: Vec<_> = told(false).map(|told| row(&told)).collect();
    let fresh = |rows: &'static [SpanRow<'static>]| {
        let mut fresh = Fresh::default();
        rows.iter().for_each(|row| fresh.add(row, "api", || false));
        fresh
    };
    let rows: &'static [_] = rows.leak();
    let anew = |before: &Stored, stored: &'static [SpanRow<'static>], now| {
        let ids = stored.iter().map(|row| row.span_id).collect();
        Unstored::of(before, &ids, &fresh(stored)).settle(&fresh(now))
    };
    let settled = settle(&Stored::default(), &fresh(rows));
    let all = Stored {
        totals: settled.totals,
        list: settled.list.unwrap(),
    };
    assert!(wire::decode(&all.list).unwrap().is_full);
    let part = &rows[..120];
    let found = anew(&all, part, part);
    assert_eq!(
        (found.totals, found.list.as_ref()),
        (all.totals, Some(&all.list))
    );
    assert_eq!(found.changes.len(), part.len());
    let fewer: Vec<_> = told(true).map(|told| row(&told)).collect();
    let found = anew(&all, rows, fewer.leak());
    assert_eq!(found.totals.llm_calls, 100);
    assert!(!wire::decode(&found.list.unwrap()).unwrap().is_full);
}

/// Spans of one trace; parents may be among them.
fn any_trace() -> impl Strategy<Value = Vec<Told>> {
    prop::collection::vec(any_told(), 1..9).prop_map(|mut spans| {
        for (span, id) in spans.iter_mut().zip(1..) {
            span.id = id;
        }
        spans
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // Scenario: any spans with any relations, in any order, in any batches; lists of any bound.
    // Guarantees: the trace's totals, its stored list, the sessions and the rollups are as if all
    // had come at once; no sum is ever below zero, and none above that of all spans.
    #[test]
    fn any_order_and_split_adds_up_to_the_same(
        (spans, shuffled) in any_trace()
            .prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle())),
        sizes in prop::collection::vec(1_usize..5, 9),
        max in prop::sample::select(vec![1_usize, 3, 5, CALLS_MAX]),
    ) {
        let mut once = World::default();
        once.add(max, &spans);
        let mut apart = World::default();
        let mut rest = shuffled.as_slice();
        for size in sizes {
            let (batch, after) = rest.split_at(size.min(rest.len()));
            apart.add(max, batch);
            rest = after;
        }
        apart.add(max, rest);
        let all = once.stored.totals;
        let (once, apart) = (once.without_zeros(), apart.without_zeros());
        prop_assert_eq!(&once, &apart);
        let calls = spans.iter().filter(|span| !span.wraps).count();
        prop_assert!(all.llm_calls <= i64::try_from(calls).unwrap());
        let input: i64 = spans.iter().map(|span| span.tokens.0).sum();
        prop_assert!(all.input_tokens <= input);
        prop_assert_eq!(all.llm_calls > 0, calls > 0);
        // Every level of the rollups adds up to the trace.
        for level in ["Minute", "Hour", "Day"] {
            let of_level = once.rollups.iter().filter(|(key, _)| key.contains(level));
            let sum = of_level.fold(Totals::default(), |total, (_, it)| sum(total, 1, *it));
            prop_assert_eq!(sum, all);
        }
    }

    // Scenario: stored bytes are anything.
    // Guarantees: a list or an error, and what is a list is written again as it was read.
    #[test]
    fn damaged_lists_never_panic(stored in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(list) = wire::decode(&stored) {
            let written = wire::encode(&list.entries, &list.texts);
            let again = wire::decode(&written).unwrap();
            prop_assert_eq!(wire::encode(&again.entries, &again.texts), written);
        }
    }
}
