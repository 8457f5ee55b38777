use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::metric::{Histogram, MetricKind, Point, Temporality};
use crate::otlp::protobuf::KeyValues;
use crate::storage::metrics::generate::entry;
use crate::storage::metrics::identity::Instrument;
use crate::storage::write::{PointRow, SeriesRow};

const SERIES: [SeriesId; 3] = [SeriesId([1; 16]), SeriesId([2; 16]), SeriesId([3; 16])];
const SHARED: SeriesId = SeriesId([9; 16]);

fn rows(points: &[(usize, Point)]) -> MetricRows<'static> {
    let series = SERIES.map(|id| SeriesRow {
        project: ProjectId(1),
        id,
        instrument: Instrument {
            name: "m",
            unit: "",
            kind: MetricKind::Gauge,
            temporality: Temporality::None,
            is_monotonic: false,
        },
        description: "",
        attributes: KeyValues::default(),
        resource: 0,
        scope: 0,
        received_unix_nano: 5,
    });
    MetricRows {
        series_max: 10,
        series: series.to_vec(),
        points: points
            .iter()
            .map(|(series, point)| PointRow {
                series: *series,
                received_unix_nano: 5,
                point: point.clone(),
            })
            .collect(),
        ..MetricRows::default()
    }
}

/// The first series has a place, the second and the third share one.
fn homes() -> Vec<Home> {
    let own = |id: SeriesId| Home {
        place: (7, id),
        origin: 0,
        elsewhere: Vec::new(),
    };
    let shared = |id: SeriesId| Home {
        origin: id.origin(),
        ..own(SHARED)
    };
    vec![own(SERIES[0]), shared(SERIES[1]), shared(SERIES[2])]
}

/// What a store reads for a plan: of each chunk the last part, and those of the plan's times.
fn read_for(plan: &Plan, stored: &Stored) -> Stored {
    let mut read = Stored::new();
    for (key, (first, last)) in plan.reads() {
        let Some(parts) = stored.get(&key) else {
            continue;
        };
        let newest = parts.keys().next_back();
        let mut wanted = parts.clone();
        wanted.retain(|&number, part| {
            let times = times_of(&decode(part).unwrap()).unwrap();
            Some(&number) == newest || times.0 <= last && times.1 >= first
        });
        read.insert(key, wanted);
    }
    read
}

/// Writes points as a store does; answers how many were new.
fn store(stored: &mut Stored, points: &[(usize, Point)], homes: &[Home]) -> Added {
    let plan = Plan::of(&rows(points), homes);
    let mut added = Added::default();
    for write in plan.merge(&read_for(&plan, stored)).unwrap() {
        added.count(&write);
        assert_eq!(times_of(&decode(&write.points).unwrap()), Some(write.times));
        let parts = stored.entry(write.key).or_default();
        let before = parts.insert(write.part, write.points);
        assert_eq!(write.is_new, before.is_none());
    }
    added
}

fn point() -> impl Strategy<Value = (usize, Point)> {
    (0..3_usize, entry(), 0..3_u64).prop_map(|(series, entry, hour)| {
        let mut point = entry.point;
        point.time_unix_nano = point.time_unix_nano % 100 + hour * SLOT_NS;
        (series, point)
    })
}

proptest! {
    // Scenario: points delivered in any order, in batches of any size, some of them again and again.
    // Guarantees: the same chunks as if they had come once, together; each counts as new once.
    #[test]
    fn any_order_and_repetition_makes_the_same_chunks(
        mut points in vec(point(), 1..30),
        order in vec(any::<prop::sample::Index>(), 0..60),
        size in 1..7_usize,
    ) {
        // What is sent is the same whenever it is sent: one value for one identity.
        let identity = |(series, point): &(usize, Point)| {
            (*series, point.time_unix_nano, point.start_unix_nano)
        };
        points.sort_by_key(identity);
        points.dedup_by_key(|it| identity(it));
        let mut at_once = Stored::new();
        let first = store(&mut at_once, &points, &homes());
        prop_assert_eq!(first.stored, points.len() as u64);
        let shared = points.iter().filter(|(series, _)| *series > 0).count();
        prop_assert_eq!(first.overflow, shared as u64);

        let mut deliveries: Vec<_> = order.iter().map(|it| it.get(&points).clone()).collect();
        deliveries.extend(points.iter().rev().cloned());
        let mut stored = Stored::new();
        let mut added = 0;
        for batch in deliveries.chunks(size) {
            added += store(&mut stored, batch, &homes()).stored;
        }
        prop_assert_eq!(added, points.len() as u64);
        prop_assert_eq!(&stored, &at_once);
        prop_assert_eq!(store(&mut stored, &deliveries, &homes()), Added::default());
        prop_assert_eq!(&stored, &at_once);
    }
}

fn number(series: usize, time: u64, value: i64) -> (usize, Point) {
    let point = Point {
        time_unix_nano: time,
        start_unix_nano: 0,
        value: Value::Int(value),
        exemplars: Vec::new(),
    };
    (series, point)
}

// Scenario: points of a series go to the one that several share, until it has a place; then some are sent
// again, with a new one.
// Guarantees: only the new one is stored. Another series' point of the same time is no reason to leave
// out one.
#[test]
fn points_that_are_with_others_are_not_stored_again() {
    let mut stored = Stored::new();
    let before = [number(1, 10, 1), number(2, 10, 2), number(2, 11, 3)];
    let added = store(&mut stored, &before, &homes());
    assert_eq!((added.stored, added.overflow), (3, 3));
    let mut placed = homes();
    placed[2] = Home {
        place: (7, SERIES[2]),
        origin: 0,
        elsewhere: vec![(7, SHARED)],
    };
    let again = [number(2, 10, 2), number(2, 11, 3), number(2, 12, 4)];
    let added = store(&mut stored, &again, &placed);
    assert_eq!((added.stored, added.overflow), (1, 0));
    assert_eq!(store(&mut stored, &[number(1, 11, 5)], &placed).stored, 1);
}

#[test]
fn the_first_of_two_values_stays() {
    let mut stored = Stored::new();
    assert_eq!(store(&mut stored, &[number(0, 10, 1)], &homes()).stored, 1);
    let before = stored.clone();
    assert_eq!(store(&mut stored, &[number(0, 10, 2)], &homes()).stored, 0);
    assert_eq!(stored, before);
}

// Scenario: a client sends large histograms a thousand times a second.
// Guarantees: no part grows beyond its bound, nothing is lost, and a resend finds what is in any part.
#[test]
fn chunks_have_parts_of_bounded_size() {
    let histogram = |time| {
        let histogram = Histogram {
            bounds: (0..999).map(f64::from).collect(),
            counts: vec![time; 1000],
            ..Histogram::default()
        };
        let (_, mut point) = number(0, time, 0);
        point.value = Value::Histogram(Box::new(histogram));
        (0, point)
    };
    let points: Vec<_> = (1..100).map(histogram).collect();
    let mut stored = Stored::new();
    for batch in points.chunks(7) {
        store(&mut stored, batch, &homes());
    }
    let parts = stored.values().next().unwrap();
    assert_eq!(stored.len(), 1);
    assert!(parts.len() > 5, "{}", parts.len());
    for part in parts.values() {
        let numbers: usize = decode(part).unwrap().iter().map(weight).sum();
        assert!(numbers <= PART_WEIGHT_MAX);
    }
    assert_eq!(store(&mut stored, &points, &homes()).stored, 0);
}

// Scenario: points come and come, as to the series that all beyond the limit share; then some of the
// middle come again, with one of their time that is new.
// Guarantees: later points read the last part alone, however many there are; what was stored is found in
// whatever part it is, and what is new beside it is stored.
#[test]
fn only_parts_with_points_of_the_times_at_hand_are_read() {
    let points: Vec<_> = (0..100_000).map(|time| number(1, 10 + time, 1)).collect();
    let mut stored = Stored::new();
    for batch in points.chunks(5_000) {
        let plan = Plan::of(&rows(batch), &homes());
        let read = read_for(&plan, &stored);
        assert!(read.values().map(BTreeMap::len).sum::<usize>() <= 1);
        assert_eq!(store(&mut stored, batch, &homes()).stored, 5_000);
    }
    assert!(stored.values().next().unwrap().len() > 5);
    let mut again = points[40_000..41_000].to_vec();
    again.push(number(2, 40_500, 2));
    assert_eq!(store(&mut stored, &again, &homes()).stored, 1);
    assert_eq!(store(&mut stored, &again, &homes()).stored, 0);
}

// Scenario: retention takes the first parts of a chunk; a late point of it comes.
// Guarantees: it is added to the part that is left, in its place; no number is used again.
#[test]
fn a_chunk_goes_on_without_its_first_parts() {
    let points: Vec<_> = (0..40_000).map(|time| number(0, 10 + time, 1)).collect();
    let mut stored = Stored::new();
    for batch in points.chunks(10_000) {
        store(&mut stored, batch, &homes());
    }
    let parts = stored.values_mut().next().unwrap();
    let last = *parts.keys().next_back().unwrap();
    parts.retain(|part, _| *part == last);
    let left = decode(&parts[&last]).unwrap().len();
    assert!(last > 0 && left > 0);
    assert_eq!(
        store(&mut stored, &[number(0, 99_999, 1)], &homes()).stored,
        1
    );
    let parts = stored.values().next().unwrap();
    assert_eq!(parts.keys().copied().collect::<Vec<_>>(), [last]);
    assert_eq!(decode(&parts[&last]).unwrap().len(), left + 1);
}

// Guarantees: a chunk that can't be read sets aside what goes to it, and is no reason to try again.
#[test]
fn a_damaged_chunk_is_poison() {
    let mut stored = Stored::new();
    store(&mut stored, &[number(0, 10, 1)], &homes());
    for parts in stored.values_mut() {
        parts.insert(0, vec![0xff; 9]);
    }
    let plan = Plan::of(&rows(&[number(0, 11, 1)]), &homes());
    assert!(matches!(plan.merge(&stored), Err(Error::Poison { .. })));
}
