//! Arbitrary points for property tests.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::chunk::Entry;
use crate::model::metric::{
    Buckets, Exemplar, Exponential, Histogram, Point, Summary, Totals, Value,
};
use crate::model::{SpanId, TraceId};

fn double() -> BoxedStrategy<f64> {
    prop_oneof![
        any::<f64>(),
        (0..1000_i32).prop_map(f64::from),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(-0.0),
    ]
    .boxed()
}

fn totals() -> impl Strategy<Value = Totals> {
    (0..1000_u64, of(double()), of(double()), of(double())).prop_map(|(count, sum, min, max)| {
        Totals {
            count,
            sum,
            min,
            max,
        }
    })
}

fn buckets() -> impl Strategy<Value = Buckets> {
    (-50..50_i32, vec(0..20_u64, 0..6)).prop_map(|(offset, counts)| Buckets { offset, counts })
}

fn value() -> BoxedStrategy<Value> {
    let bounds = prop_oneof![
        3 => Just(vec![0.0, 5.0, 10.0]),
        1 => vec(double(), 0..4),
    ];
    let histogram =
        (totals(), bounds, vec(0..50_u64, 0..6)).prop_map(|(totals, bounds, counts)| {
            Value::Histogram(Box::new(Histogram {
                totals,
                bounds,
                counts,
            }))
        });
    let exponential = (
        totals(),
        -5..20_i32,
        any::<u64>(),
        double(),
        buckets(),
        buckets(),
    )
        .prop_map(
            |(totals, scale, zero_count, zero_threshold, positive, negative)| {
                Value::Exponential(Box::new(Exponential {
                    totals,
                    scale,
                    zero_count,
                    zero_threshold,
                    positive,
                    negative,
                }))
            },
        );
    let summary = (any::<u64>(), double(), vec((double(), double()), 0..3)).prop_map(
        |(count, sum, quantiles)| {
            Value::Summary(Box::new(Summary {
                count,
                sum,
                quantiles,
            }))
        },
    );
    prop_oneof![
        Just(Value::Absent),
        any::<i64>().prop_map(Value::Int),
        double().prop_map(Value::Double),
        histogram,
        exponential,
        summary,
    ]
    .boxed()
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    (
        any::<u64>(),
        double(),
        any::<[u8; 16]>(),
        of(any::<[u8; 8]>()),
    )
        .prop_map(|(time_unix_nano, value, trace, span)| Exemplar {
            time_unix_nano,
            value,
            trace_id: TraceId(trace),
            span_id: span.map(SpanId),
        })
}

/// A stored point; times are mostly near each other.
pub(super) fn entry() -> BoxedStrategy<Entry> {
    let time = prop_oneof![4 => 1..40_u64, 1 => any::<u64>()];
    let start = prop_oneof![2 => Just(0), 2 => 0..40_u64, 1 => any::<u64>()];
    let origin = prop_oneof![3 => Just(0), 1 => any::<u64>()];
    (time, start, origin, value(), vec(exemplar(), 0..3))
        .prop_map(|(time, start, origin, value, exemplars)| Entry {
            origin,
            point: Point {
                time_unix_nano: time,
                start_unix_nano: start,
                value,
                exemplars,
            },
        })
        .boxed()
}
