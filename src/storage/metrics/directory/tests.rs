use super::*;
use crate::storage::write::PointRow;

fn series(name: &'static str, number: u8) -> SeriesRow<'static> {
    SeriesRow {
        project: ProjectId(1),
        id: SeriesId([number; 16]),
        instrument: Instrument {
            name,
            unit: "s",
            kind: MetricKind::Sum,
            temporality: Temporality::Delta,
            is_monotonic: true,
        },
        description: "d",
        attributes: KeyValues::default(),
        resource: 0,
        scope: 0,
        received_unix_nano: 10 * SEEN_STEP_NS + 1,
    }
}

fn rows(series: Vec<SeriesRow<'static>>, series_max: u32) -> MetricRows<'static> {
    MetricRows {
        series_max,
        series,
        points: Vec::<PointRow>::new(),
        ..MetricRows::default()
    }
}

/// A store in few words.
#[derive(Default)]
struct Fake {
    stored: HashMap<Owned, bool>,
    known: Known,
}

impl Fake {
    fn write(&mut self, rows: &MetricRows<'_>) -> Decided {
        let asked = unknown(rows, &self.known);
        let stored = asked.into_iter().filter(|it| self.stored.contains_key(it));
        let stored = stored.collect();
        let of = |wanted| self.stored.values().filter(|it| **it == wanted).count() as u64;
        let counts = Counts {
            series: of(false),
            overflows: of(true),
        };
        let counts = HashMap::from([(ProjectId(1), counts)]);
        let mut decided = decide(rows, &self.known, &stored, &counts);
        for series in &decided.new {
            let before = self
                .stored
                .insert((series.project, series.id), series.is_overflow);
            assert_eq!(before, None);
        }
        self.known.remember(std::mem::take(&mut decided.known));
        decided
    }
}

// Scenario: a project may have two series, and three come.
// Guarantees: the first two have a place and keep it, also when nothing is remembered; the third shares
// the one of its instrument, whenever it comes, and has an origin there.
#[test]
fn series_beyond_the_limit_share_one() {
    let mut fake = Fake::default();
    let all = || rows(vec![series("m", 1), series("m", 2), series("m", 3)], 2);
    for round in 0..3 {
        if round == 2 {
            fake.known.forget();
        }
        let decided = fake.write(&all());
        let origins: Vec<_> = decided.homes.iter().map(|it| it.origin).collect();
        assert_eq!(origins, [0, 0, SeriesId([3; 16]).origin()]);
        assert_eq!(decided.new.len(), if round == 0 { 3 } else { 0 });
        let shared = overflow(&series("m", 3).instrument);
        assert_eq!(decided.homes[2].place, (metric_id("m"), shared));
        assert_eq!(decided.homes[0].place, (metric_id("m"), SeriesId([1; 16])));
    }
    let shared: Vec<_> = fake.stored.values().filter(|it| **it).collect();
    assert_eq!((shared.len(), fake.stored.len()), (1, 3));
}

// Scenario: a series that shared a place gets one of its own, because another one was deleted.
// Guarantees: its points are looked for where they went before.
#[test]
fn a_series_that_gets_a_place_remembers_where_it_was() {
    let mut fake = Fake::default();
    fake.write(&rows(vec![series("m", 1), series("m", 2)], 1));
    fake.stored.remove(&(ProjectId(1), SeriesId([1; 16])));
    fake.known.forget();
    for _ in 0..2 {
        let decided = fake.write(&rows(vec![series("m", 2)], 1));
        let shared = (metric_id("m"), overflow(&series("m", 2).instrument));
        let home = &decided.homes[0];
        assert_eq!((home.origin, home.elsewhere.as_slice()), (0, &[shared][..]));
    }
}

// Scenario: more instruments than may have an overflow series of their own.
// Guarantees: there is one for all others, and no more rows than there may be.
#[test]
fn instruments_beyond_the_limit_share_one_too() {
    let names: Vec<&'static str> = (0..OVERFLOWS_MAX + 50)
        .map(|it| &*Box::leak(format!("m{it}").into_boxed_str()))
        .collect();
    let mut fake = Fake::default();
    let many = names.iter().map(|name| series(name, 7)).collect();
    let decided = fake.write(&rows(many, 0));
    let shared: HashSet<_> = decided.homes.iter().map(|home| home.place).collect();
    assert_eq!(shared.len() as u64, OVERFLOWS_MAX + 1);
    assert_eq!(fake.stored.len() as u64, OVERFLOWS_MAX + 1);
    assert!(decided.new.iter().all(|it| it.is_overflow));
    assert_eq!(decided.new.last().unwrap().name, OVERFLOW);
    // Again, with nothing new, though one that has its own comes last.
    let again = fake.write(&rows(vec![series(names[1049], 7), series(names[3], 7)], 0));
    assert!(again.new.is_empty());
    assert_eq!(again.homes[0].place.0, metric_id(OVERFLOW));
    assert_eq!(again.homes[1].place.0, metric_id(names[3]));
    assert_eq!(again.homes[1].elsewhere, [again.homes[0].place]);
}

// Guarantees: a known series costs no look-up until it must be noted as seen again.
#[test]
fn what_is_known_is_not_asked_again() {
    let mut fake = Fake::default();
    fake.write(&rows(vec![series("m", 1)], 5));
    assert!(unknown(&rows(vec![series("m", 1)], 5), &fake.known).is_empty());
    let later = SeriesRow {
        received_unix_nano: 11 * SEEN_STEP_NS,
        ..series("m", 1)
    };
    let decided = fake.write(&rows(vec![later], 5));
    let seen = i64::try_from(11 * SEEN_STEP_NS).unwrap();
    assert_eq!(
        decided.seen.into_iter().collect::<Vec<_>>(),
        [((ProjectId(1), SeriesId([1; 16])), seen)]
    );
}
