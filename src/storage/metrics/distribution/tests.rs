use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn histogram(bounds: &[f64], counts: &[u64], (min, max): (Option<f64>, Option<f64>)) -> Histogram {
    Histogram {
        totals: Totals {
            count: counts.iter().sum(),
            min,
            max,
            ..Totals::default()
        },
        bounds: bounds.to_vec(),
        counts: counts.to_vec(),
    }
}

fn of(histograms: &[Histogram]) -> Distribution {
    let mut all = Distribution::default();
    for one in histograms {
        all.add_histogram(one, &one.counts);
    }
    all
}

fn near(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn percentiles_are_between_the_bounds() {
    let one = of(&[histogram(&[1.0, 2.0, 4.0], &[10, 10, 20, 0], (None, None))]);
    near(one.quantile(0.25), 1.0);
    near(one.quantile(0.5), 2.0);
    near(one.quantile(0.75), 3.0);
    near(one.quantile(1.0), 4.0);
    // What is beyond the last bound is told as the bound, unless more is known.
    let above = histogram(&[1.0, 2.0], &[0, 0, 10], (None, None));
    near(of(&[above]).quantile(0.5), 2.0);
    let above = histogram(&[1.0, 2.0], &[0, 0, 10], (Some(2.0), Some(12.0)));
    near(of(&[above]).quantile(0.5), 7.0);
    assert_eq!(of(&[histogram(&[], &[], (None, None))]).quantile(0.5), None);
    assert_eq!(Distribution::default().quantile(0.5), None);
}

#[test]
fn layouts_that_differ_are_added_up() {
    let all = of(&[
        histogram(&[0.0, 10.0], &[0, 10, 0], (None, None)),
        histogram(&[0.0, 5.0, 20.0], &[0, 0, 15, 0], (None, None)),
    ]);
    // Half of the ten are below five, none of the fifteen.
    near(all.quantile(0.2), 5.0);
    near(all.quantile(1.0), 20.0);
}

fn exponential(scale: i32, offset: i32, counts: &[u64]) -> Exponential {
    Exponential {
        scale,
        positive: Buckets {
            offset,
            counts: counts.to_vec(),
        },
        ..Exponential::default()
    }
}

#[test]
fn buckets_of_powers_are_read_and_subtracted_over_scales() {
    let mut all = Distribution::default();
    // Scale 0: 1 to 2, and 2 to 4.
    all.add_exponential(&exponential(0, 0, &[10, 10]), None);
    near(all.quantile(0.5), 2.0);
    near(all.quantile(1.0), 4.0);
    let mut grown = Distribution::default();
    // Scale 1 before has four buckets where now there are two.
    let before = exponential(1, 0, &[2, 3, 1, 4]);
    grown.add_exponential(&exponential(0, 0, &[10, 5]), Some(&before));
    let mut expected = Distribution::default();
    expected.add_exponential(&exponential(0, 0, &[5]), None);
    assert_eq!(grown.quantile(1.0), expected.quantile(1.0));
    let mut negative = Distribution::default();
    let both = Exponential {
        zero_count: 10,
        negative: exponential(0, 0, &[10]).positive,
        ..exponential(0, 0, &[10])
    };
    negative.add_exponential(&both, None);
    near(negative.quantile(0.5), 0.0);
    near(negative.quantile(0.0), -2.0);
    assert!(power(-32, 1 << 30).is_finite() && power(-32, -(1 << 30)) >= 0.0);
}

proptest! {
    // Guarantees: percentiles grow, lie within what was measured, and don't depend on the order in which
    // distributions are added.
    #[test]
    fn percentiles_are_in_order(values in vec((vec(0..50_u64, 4), 0..3_usize), 1..6)) {
        let bounds = [[1.0, 2.0, 3.0], [0.5, 5.0, 50.0], [-1.0, 0.0, 9.0]];
        let limits = (Some(-10.0), Some(100.0));
        let all: Vec<_> = values
            .iter()
            .map(|(counts, layout)| histogram(&bounds[*layout], counts, limits))
            .collect();
        let reversed: Vec<_> = all.iter().rev().cloned().collect();
        let (one, other) = (of(&all), of(&reversed));
        let shares = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0];
        let found: Vec<_> = shares.iter().map(|share| one.quantile(*share)).collect();
        let again: Vec<_> = shares.iter().map(|share| other.quantile(*share)).collect();
        prop_assert_eq!(&found, &again);
        let known: Vec<f64> = found.into_iter().flatten().collect();
        prop_assert!(known.is_sorted(), "{:?}", known);
        prop_assert!(known.iter().all(|it| (-10.0..=100.0).contains(it)), "{:?}", known);
    }
}
