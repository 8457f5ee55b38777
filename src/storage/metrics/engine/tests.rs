use super::*;
use crate::model::metric::{Histogram, Point, Summary, Totals, Value as Measured};
use crate::storage::metrics::chunk::encode;
use crate::storage::metrics::gather::SeriesFound;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const START: u64 = 1_800_000_000 * SECOND;

fn key(kind: MetricKind, temporality: Temporality, is_monotonic: bool) -> MetricKey {
    MetricKey {
        name: "m".to_owned(),
        kind,
        temporality,
        is_monotonic,
        unit: String::new(),
    }
}

fn point(start: u64, time: u64, value: Measured) -> Point {
    Point {
        time_unix_nano: time,
        start_unix_nano: start,
        value,
        exemplars: Vec::new(),
    }
}

/// A question about two minutes, a bucket each.
fn query(aggregation: Aggregation) -> MetricQuery {
    MetricQuery {
        name: "m".to_owned(),
        start_unix_nano: START,
        end_unix_nano: START + 2 * MINUTE,
        step_ns: Some(MINUTE),
        group_by: Vec::new(),
        service: None,
        environment: None,
        attributes: Vec::new(),
        aggregation: Some(aggregation),
        groups_max: 10,
    }
}

/// What is answered of one group of series with these points.
fn ask(key: &MetricKey, aggregation: Aggregation, series: &[Vec<Point>]) -> Vec<f64> {
    let id = |number: usize| SeriesId([u8::try_from(number).unwrap() + 1; 16]);
    let found: Vec<_> = (0..series.len())
        .map(|number| SeriesFound {
            id: id(number),
            key: key.clone(),
            service_name: "api".to_owned(),
            environment: None,
            attributes: "{}".to_owned(),
            resource: "{}".to_owned(),
        })
        .collect();
    let query = query(aggregation);
    let mut gather = Gather::new(&query);
    found.iter().for_each(|series| gather.add(series));
    let mut engine = Engine::new(gather).unwrap();
    let mut chunks: BTreeMap<(i64, usize), Vec<Entry>> = BTreeMap::new();
    for (number, points) in series.iter().enumerate() {
        for point in points {
            let slot = slot_of(point.time_unix_nano);
            chunks.entry((slot, number)).or_default().push(Entry {
                origin: 0,
                point: point.clone(),
            });
        }
    }
    for ((slot, number), mut entries) in chunks {
        let (first, last) = engine.slots();
        if (first..=last).contains(&slot) {
            entries.sort_by_key(Entry::key);
            engine.show(slot, id(number), encode(&entries)).unwrap();
        }
    }
    let answer = engine.finish().unwrap();
    answer.groups[0]
        .points
        .iter()
        .map(|(_, value)| *value)
        .collect()
}

fn ints(start: u64, values: &[(u64, i64)]) -> Vec<Point> {
    let points = values
        .iter()
        .map(|(seconds, value)| point(start, START + seconds * SECOND, Measured::Int(*value)));
    points.collect()
}

const CUMULATIVE: Temporality = Temporality::Cumulative;

#[test]
fn a_cumulative_total_counts_as_what_it_grew_by() {
    let sum = key(MetricKind::Sum, CUMULATIVE, true);
    // It began long ago: what it was before the range is known of a point before it.
    let before = point(1, START - 30 * SECOND, Measured::Int(100));
    let mut points = vec![before];
    points.extend(ints(1, &[(10, 110), (50, 130), (70, 131)]));
    let one = std::slice::from_ref(&points);
    assert_eq!(ask(&sum, Aggregation::Increase, one), [30.0, 1.0]);
    assert_eq!(ask(&sum, Aggregation::Sum, one), [30.0, 1.0]);
    assert_eq!(ask(&sum, Aggregation::Rate, one), [0.5, 1.0 / 60.0]);
    assert_eq!(ask(&sum, Aggregation::Max, one), [130.0, 131.0]);
    assert_eq!(ask(&sum, Aggregation::Last, one), [130.0, 131.0]);
    // Without it only what came after the first point counts.
    points.remove(0);
    assert_eq!(ask(&sum, Aggregation::Increase, &[points]), [20.0, 1.0]);
}

// Guarantees: a process that starts anew counts from zero, whether it says so or not, also while another
// one is still there; what began within the range counts from its first point on.
#[test]
fn resets_are_no_loss_and_no_gain() {
    let sum = key(MetricKind::Sum, CUMULATIVE, true);
    let mut points = ints(START, &[(10, 5), (20, 8)]);
    points.extend(ints(START + 25 * SECOND, &[(30, 2), (40, 4)]));
    assert_eq!(ask(&sum, Aggregation::Increase, &[points.clone()]), [12.0]);
    points.extend(ints(START, &[(35, 9), (70, 10)]));
    assert_eq!(ask(&sum, Aggregation::Increase, &[points]), [13.0, 1.0]);
    let fell = ints(0, &[(10, 100), (20, 107), (30, 3), (40, 4)]);
    assert_eq!(ask(&sum, Aggregation::Increase, &[fell]), [11.0]);
    // What may fall is a level.
    let level = key(MetricKind::Sum, CUMULATIVE, false);
    let fell = ints(START, &[(10, 10), (20, 4)]);
    assert_eq!(
        ask(&level, Aggregation::Increase, std::slice::from_ref(&fell)),
        [4.0]
    );
    assert_eq!(ask(&level, Aggregation::Sum, &[fell]), [4.0]);
    // Its process began anew, twice: there is still one of it.
    let mut anew = ints(START, &[(10, 10)]);
    anew.extend(ints(START + 15 * SECOND, &[(20, 10)]));
    anew.extend(ints(START + 25 * SECOND, &[(30, 9)]));
    assert_eq!(ask(&level, Aggregation::Sum, &[anew]), [9.0]);
}

#[test]
fn delta_totals_are_added_up() {
    let sum = key(MetricKind::Sum, Temporality::Delta, true);
    let series = [ints(0, &[(1, 5), (2, 6), (61, 7)]), ints(0, &[(3, 10)])];
    assert_eq!(ask(&sum, Aggregation::Sum, &series), [21.0, 7.0]);
    assert_eq!(
        ask(&sum, Aggregation::Rate, &series),
        [21.0 / 60.0, 7.0 / 60.0]
    );
    assert_eq!(ask(&sum, Aggregation::Count, &series), [3.0, 1.0]);
}

#[test]
fn gauges_are_levels() {
    let gauge = key(MetricKind::Gauge, Temporality::None, false);
    let mut series = [ints(0, &[(1, 5), (2, 7), (61, 9)]), ints(0, &[(3, 10)])];
    series[0].push(point(0, START + 62 * SECOND, Measured::Absent));
    assert_eq!(ask(&gauge, Aggregation::Sum, &series), [17.0, 9.0]);
    assert_eq!(ask(&gauge, Aggregation::Avg, &series), [22.0 / 3.0, 9.0]);
    assert_eq!(ask(&gauge, Aggregation::Min, &series), [5.0, 9.0]);
    assert_eq!(ask(&gauge, Aggregation::Max, &series), [10.0, 9.0]);
    assert_eq!(ask(&gauge, Aggregation::Last, &series), [10.0, 9.0]);
}

fn histogram(start: u64, seconds: u64, counts: [u64; 3], sum: f64) -> Point {
    let value = Histogram {
        totals: Totals {
            count: counts.iter().sum(),
            sum: Some(sum),
            ..Totals::default()
        },
        bounds: vec![10.0, 20.0],
        counts: counts.to_vec(),
    };
    point(
        start,
        START + seconds * SECOND,
        Measured::Histogram(Box::new(value)),
    )
}

#[test]
fn histograms_tell_what_is_new_in_them() {
    let cumulative = key(MetricKind::Histogram, CUMULATIVE, false);
    let series = [vec![
        histogram(START, 10, [10, 0, 0], 50.0),
        histogram(START, 70, [10, 10, 0], 200.0),
        // Begun anew.
        histogram(START + 80 * SECOND, 90, [0, 2, 0], 30.0),
    ]];
    assert_eq!(ask(&cumulative, Aggregation::Count, &series), [10.0, 12.0]);
    assert_eq!(ask(&cumulative, Aggregation::Sum, &series), [50.0, 180.0]);
    assert_eq!(ask(&cumulative, Aggregation::Avg, &series), [5.0, 15.0]);
    assert_eq!(
        ask(&cumulative, Aggregation::Quantile(50), &series),
        [5.0, 15.0]
    );
    let delta = key(MetricKind::Histogram, Temporality::Delta, false);
    let series = [vec![
        histogram(0, 10, [10, 0, 0], 50.0),
        histogram(0, 70, [10, 10, 0], 200.0),
    ]];
    assert_eq!(ask(&delta, Aggregation::Count, &series), [10.0, 20.0]);
    assert_eq!(ask(&delta, Aggregation::Quantile(90), &series), [9.0, 18.0]);
    let summary = key(MetricKind::Summary, Temporality::None, false);
    let value = |count, sum| {
        Measured::Summary(Box::new(Summary {
            count,
            sum,
            quantiles: vec![(0.5, 1.0)],
        }))
    };
    let series = [vec![
        point(START, START + SECOND, value(4, 8.0)),
        point(START, START + 2 * SECOND, value(6, 9.0)),
    ]];
    assert_eq!(ask(&summary, Aggregation::Count, &series), [6.0]);
    assert_eq!(ask(&summary, Aggregation::Avg, &series), [1.5]);
}

#[test]
fn what_can_t_be_answered_is_said() {
    let found = |kind| SeriesFound {
        id: SeriesId::default(),
        key: key(kind, Temporality::None, false),
        service_name: String::new(),
        environment: None,
        attributes: String::new(),
        resource: String::new(),
    };
    let rate = query(Aggregation::Rate);
    let of = |series: &[SeriesFound]| {
        let mut gather = Gather::new(&rate);
        series.iter().for_each(|series| gather.add(series));
        Engine::new(gather).map(|_| ())
    };
    assert_eq!(of(&[]), Err(NoAnswer::Unknown));
    let gauge = found(MetricKind::Gauge);
    assert_eq!(
        of(std::slice::from_ref(&gauge)),
        Err(NoAnswer::NotOf(MetricKind::Gauge))
    );
    assert_eq!(of(&[gauge, found(MetricKind::Histogram)]), Ok(()));
}
