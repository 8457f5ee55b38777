//! What speaks for a trace.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::model::TraceId;
use crate::otlp::protobuf::Span as View;

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

fn encoded(attributes: &[(&str, Value)]) -> Vec<u8> {
    let attributes = attributes.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue {
            value: Some(value.clone()),
        }),
        ..KeyValue::default()
    });
    Span {
        attributes: attributes.collect(),
        ..Span::default()
    }
    .encode_to_vec()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn seen(message: &[u8]) -> Seen<'_> {
    Seen {
        service: "api",
        operation: "chat",
        model: Some("m"),
        is_genai: true,
        failed: false,
        start: START,
        end: START + SECOND,
        is_plausible: true,
        randomness: Randomness::of(TraceId([0x10; 16]), ""),
        attributes: View::parse(message).unwrap().attributes,
    }
}

fn tail(set: impl FnOnce(&mut TailConfig)) -> Tail {
    let mut config = TailConfig {
        percentage: 0.0,
        ..TailConfig::default()
    };
    set(&mut config);
    Tail::of(&config)
}

fn policy(tail: &Tail, spans: &[Seen<'_>]) -> Option<Policy> {
    let mut facts = Facts::default();
    for span in spans {
        tail.look(span, &mut facts);
    }
    tail.policy(&facts)
}

#[test]
fn failures_and_flags_speak_for_a_trace() {
    let plain = encoded(&[]);
    let failed = Seen {
        failed: true,
        ..seen(&plain)
    };
    let usual = tail(|_| {});
    assert_eq!(policy(&usual, &[seen(&plain)]), None);
    assert_eq!(policy(&usual, &[seen(&plain), failed]), Some(Policy::Error));
    assert_eq!(policy(&tail(|it| it.errors = false), &[failed]), None);
    for (value, is_flag) in [
        (Value::IntValue(1), true),
        (Value::IntValue(0), false),
        (Value::IntValue(-1), false),
        (Value::DoubleValue(0.5), true),
        (Value::DoubleValue(f64::NAN), false),
        (Value::BoolValue(true), true),
        (Value::BoolValue(false), false),
        (text("1"), true),
        (text("0"), false),
        (text(""), false),
    ] {
        let message = encoded(&[
            ("other", Value::IntValue(1)),
            ("sampling.priority", value.clone()),
        ]);
        let expected = is_flag.then_some(Policy::Flag);
        assert_eq!(policy(&usual, &[seen(&message)]), expected, "{value:?}");
    }
}

#[test]
fn a_filter_names_a_span_by_all_it_says() {
    let attributes = BTreeMap::from([
        ("tier".to_owned(), "gold".to_owned()),
        ("tries".to_owned(), "3".to_owned()),
    ]);
    let filter = Filter {
        service: Some("api".to_owned()),
        operation: Some("chat".to_owned()),
        model: Some("m".to_owned()),
        genai: Some(true),
        attributes,
    };
    let tail = tail(|it| it.keep = vec![filter]);
    let message = encoded(&[("tier", text("gold")), ("tries", Value::IntValue(3))]);
    let named = seen(&message);
    assert_eq!(policy(&tail, &[named]), Some(Policy::Filter));
    let other = encoded(&[("tier", text("gold")), ("tries", Value::IntValue(4))]);
    for span in [
        seen(&other),
        Seen {
            service: "web",
            ..named
        },
        Seen {
            operation: "http",
            ..named
        },
        Seen {
            model: None,
            ..named
        },
        Seen {
            is_genai: false,
            ..named
        },
    ] {
        assert_eq!(policy(&tail, &[span]), None, "{span:?}");
    }
}

#[test]
fn what_takes_long_or_costs_much_is_kept() {
    let plain = encoded(&[]);
    let slow = tail(|it| it.slow = Duration::seconds(5));
    let at = |start, end| Seen {
        start: START + start * SECOND,
        end: START + end * SECOND,
        ..seen(&plain)
    };
    assert_eq!(policy(&slow, &[at(0, 4), at(0, 1)]), None);
    assert_eq!(policy(&slow, &[at(0, 5)]), Some(Policy::Slow));
    assert_eq!(policy(&slow, &[at(4, 5), at(0, 1)]), Some(Policy::Slow));
    // A clock that is off does not make a trace long; a span that is long does.
    let off = |end| Seen {
        start: 0,
        end,
        is_plausible: false,
        ..seen(&plain)
    };
    assert_eq!(policy(&slow, &[off(1), at(0, 1)]), None);
    assert_eq!(policy(&slow, &[off(5 * SECOND)]), Some(Policy::Slow));
    let expensive = tail(|it| it.expensive_usd = 0.5);
    let cost = |cost_nano_usd| {
        expensive.policy(&Facts {
            cost_nano_usd,
            ..Facts::default()
        })
    };
    assert_eq!(cost(499_999_999), None);
    assert_eq!(cost(500_000_000), Some(Policy::Expensive));
    assert!(expensive.asks_for_cost() && !slow.asks_for_cost());
}

// Scenario: more spans are among the percentage than may be kept in a second.
// Guarantees: traces are taken whole while there is room; what was owed is paid first; time gives room.
#[test]
fn what_the_percentage_keeps_is_limited() {
    let tail = tail(|it| {
        it.percentage = 100.0;
        it.max_spans_per_second = 10;
    });
    let plain = encoded(&[]);
    let mut facts = Facts::default();
    tail.look(&seen(&plain), &mut facts);
    let mut budget = Budget::new(&tail);
    let mut keep = |received, spans| {
        budget.fill(received);
        tail.by_percentage(&facts, &mut budget, spans)
    };
    assert_eq!(keep(START, 6), Ok(()));
    assert_eq!(keep(START, 24), Ok(()));
    assert_eq!(keep(START, 1), Err(Reason::Rate));
    assert_eq!(keep(START + 2 * SECOND, 1), Err(Reason::Rate));
    assert_eq!(keep(START + 2 * SECOND + SECOND / 10, 1), Ok(()));
    assert_eq!(keep(START, 1), Err(Reason::Rate));
    assert_eq!(keep(START + 1_000 * SECOND, 10), Ok(()));
    assert_eq!(keep(START + 1_000 * SECOND, 1), Err(Reason::Rate));
    // By a clock that was set back, time goes on from there.
    budget.set_back(START);
    budget.fill(START + SECOND);
    assert_eq!(tail.by_percentage(&facts, &mut budget, 1), Ok(()));
    let none = Tail::of(&TailConfig {
        percentage: 0.0,
        ..TailConfig::default()
    });
    let nothing = none.by_percentage(&facts, &mut Budget::new(&none), 1);
    assert_eq!(nothing, Err(Reason::Tail));
}

#[test]
fn nonsense_is_told() {
    let config = TailConfig {
        decision_wait: Duration::seconds(0),
        decision_memory: ByteSize(0),
        expensive_usd: -1.0,
        flags: vec![String::new()],
        keep: vec![Filter::default()],
        percentage: 101.0,
        ..TailConfig::default()
    };
    let mut problems = Vec::new();
    config.problems(&mut problems);
    let paths: Vec<_> = problems.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "tail.decision_wait",
            "tail.decision_memory",
            "tail.percentage",
            "tail.expensive_usd",
            "tail.flags[0]",
            "tail.keep[0]"
        ]
    );
    let mut problems = Vec::new();
    TailConfig::default().problems(&mut problems);
    assert_eq!(problems, []);
}

proptest! {
    // Scenario: spans of a trace in any order.
    // Guarantees: the same is known of it, and what speaks for it is never taken back.
    #[test]
    fn facts_do_not_depend_on_the_order(
        spans in prop::collection::vec(
            (any::<bool>(), 0_u64..20, 0_u64..20, any::<bool>(), 0_u64..3, 0_u8..3), 1..8,
        ),
        seed in any::<prop::sample::Index>(),
    ) {
        let tail = tail(|it| {
            it.slow = Duration::seconds(9);
            it.keep = vec![Filter { service: Some("web".to_owned()), ..Filter::default() }];
        });
        let message = encoded(&[]);
        let seen: Vec<_> = spans
            .iter()
            .map(|(failed, start, took, is_plausible, random, service)| Seen {
                failed: *failed,
                start: START + start * SECOND,
                end: START + (start + took) * SECOND,
                is_plausible: *is_plausible,
                randomness: Randomness::of(TraceId([u8::try_from(*random).unwrap(); 16]), ""),
                service: if *service == 0 { "web" } else { "api" },
                ..seen(&message)
            })
            .collect();
        let mut turned = seen.clone();
        turned.rotate_left(seed.index(seen.len()));
        turned.reverse();
        let mut facts = [Facts::default(), Facts::default()];
        let mut spoke = false;
        for (one, other) in seen.iter().zip(&turned) {
            tail.look(one, &mut facts[0]);
            tail.look(other, &mut facts[1]);
            let speaks = tail.policy(&facts[0]).is_some();
            prop_assert!(speaks || !spoke);
            spoke = speaks;
        }
        prop_assert_eq!(&facts[0], &facts[1]);
    }
}
