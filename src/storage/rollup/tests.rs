use super::*;

#[test]
fn a_range_is_covered_by_days_then_hours_then_minutes() {
    let day = 24 * 60;
    let covered = |start, end, step| {
        let stretches = cover(start, end, step);
        let parts = stretches
            .iter()
            .map(|part| (part.level, part.start, part.end));
        parts.collect::<Vec<_>>()
    };
    assert_eq!(
        covered(day - 61, 3 * day + 121, None),
        [
            (Level::Minute, day - 61, day - 60),
            (Level::Hour, day - 60, day),
            (Level::Day, day, 3 * day),
            (Level::Hour, 3 * day, 3 * day + 120),
            (Level::Minute, 3 * day + 120, 3 * day + 121),
        ]
    );
    let hours = [(Level::Hour, 0, 3 * day)];
    assert_eq!(covered(0, 3 * day, Some(60)), hours);
    assert_eq!(covered(0, 3 * day, Some(90)), [(Level::Minute, 0, 3 * day)]);
    assert_eq!(covered(5, 50, None), [(Level::Minute, 5, 50)]);
    assert_eq!(covered(5, 5, None), []);
}

proptest::proptest! {
    // Scenario: any range and step.
    // Guarantees: what covers it joins to exactly the range, in whole buckets.
    #[test]
    fn what_covers_a_range_joins_to_it(
        start in 0_i64..100_000,
        length in 0_i64..100_000,
        step in proptest::option::of(proptest::sample::select(vec![1_u32, 60, 90, 1440, 10_080])),
    ) {
        let mut at = start;
        for part in cover(start, start + length, step) {
            proptest::prop_assert_eq!(part.start, at);
            proptest::prop_assert!(part.start < part.end);
            proptest::prop_assert_eq!(part.start % part.level.minutes(), 0);
            proptest::prop_assert_eq!(part.end % part.level.minutes(), 0);
            at = part.end;
        }
        proptest::prop_assert_eq!(at, start + length);
    }
}

#[test]
fn every_level_adds_up_to_the_same() {
    let mut rollups = Rollups::default();
    for minute in [0, 59, 60, 61, 1440] {
        let key = Key {
            project: ProjectId::DEFAULT,
            level: Level::Minute,
            minute,
            service: "api".into(),
            operation: "http".into(),
            provider: "".into(),
            model: "".into(),
        };
        let sums = Sums {
            span_count: minute + 1,
            ..Sums::default()
        };
        rollups.minutes.insert(key, sums);
    }
    let rows = rollups.rows();
    for level in Level::ALL {
        let of_level = rows.iter().filter(|(key, _)| key.level == level);
        let sum: i64 = of_level.map(|(_, sums)| sums.span_count).sum();
        assert_eq!(sum, 1 + 60 + 61 + 62 + 1441, "{level:?}");
    }
    let buckets: Vec<_> = rows.keys().map(|key| (key.level, key.minute)).collect();
    assert!(buckets.contains(&(Level::Hour, 60)) && buckets.contains(&(Level::Day, 1440)));
}
