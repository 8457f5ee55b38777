//! Which partitions of `span` a list reads, and in which order.
//!
//! A walk over all partitions at once would have to open each of them, and to plan for each. So the
//! time axis is cut into slices at the bounds of partitions, read newest first: one partition, then
//! one more, then twice as many each time. Together the slices are the whole axis, whatever is known
//! of the partitions: what is not known costs time, never rows.

use std::time::{Duration, SystemTime};

use super::columns::Columns;
use super::session::Session;
use super::unsigned;
use crate::storage::Error;

/// Bounds of the partitions that hold something.
pub(super) const PARTITIONS: &str = "SELECT lower_unix_nano FROM span_partition \
     WHERE received_unix_nano > 0 AND NOT starts_with(name, 'event_p') ORDER BY lower_unix_nano DESC";

const NS_PER_MICROSECOND: i64 = 1_000;

/// A part of the time axis, by the cut start that spans are partitioned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slice {
    /// First start in it.
    pub(super) from: SystemTime,
    /// First start after it.
    pub(super) before: SystemTime,
}

/// The slices that hold the starts `from..=to`, latest first.
pub(super) async fn slices(session: &Session, from: i64, to: i64) -> Result<Vec<Slice>, Error> {
    let rows = session.query(PARTITIONS, &[], "list partitions").await?;
    let lower: Result<Vec<i64>, Error> = rows.iter().map(|row| Columns::new(row).take()).collect();
    Ok(cut(&lower?, from, to))
}

/// The slice that holds the starts `from..=to`.
pub(super) fn whole(from: i64, to: i64) -> Slice {
    Slice {
        from: instant(from),
        before: instant(to) + Duration::from_micros(1),
    }
}

/// `lower` are the bounds of partitions, latest first.
fn cut(lower: &[i64], from: i64, to: i64) -> Vec<Slice> {
    let relevant: Vec<_> = lower
        .iter()
        .copied()
        .filter(|bound| (from..=to).contains(bound))
        .collect();
    let mut slices = Vec::new();
    let (mut end, mut next, mut step) = (to, 0, 1);
    while let Some(bound) = relevant.get(next) {
        slices.push(whole(*bound, end));
        end = bound - 1;
        next += step;
        step *= 2;
    }
    if from <= end {
        slices.push(whole(from, end));
    }
    slices
}

fn instant(unix_nano: i64) -> SystemTime {
    let microseconds = unsigned(unix_nano / NS_PER_MICROSECOND);
    SystemTime::UNIX_EPOCH + Duration::from_micros(microseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn microseconds(slices: &[Slice]) -> Vec<(u128, u128)> {
        let at = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let pair = |slice: &Slice| (at(slice.from).as_micros(), at(slice.before).as_micros());
        slices.iter().map(pair).collect()
    }

    #[test]
    fn slices_follow_partitions_and_grow() {
        let lower: Vec<i64> = (1..=9).rev().map(|day| day * 1_000_000).collect();
        let slices = cut(&lower, 0, 20_000_000);
        assert_eq!(
            microseconds(&slices),
            [
                (9000, 20_001),
                (8000, 9000),
                (6000, 8000),
                (2000, 6000),
                (0, 2000)
            ]
        );
    }

    #[test]
    fn a_range_within_a_partition_is_one_slice() {
        assert_eq!(microseconds(&cut(&[9_000_000], 500, 700_999)), [(0, 701)]);
        assert_eq!(
            microseconds(&cut(&[], 0, i64::MAX)),
            [(0, 9_223_372_036_854_776)]
        );
        assert_eq!(microseconds(&cut(&[5_000], 5_000, 5_999)), [(5, 6)]);
    }

    use proptest::strategy::Strategy as _;

    proptest::proptest! {
        // Scenario: any range and any partitions.
        // Guarantees: the slices join to exactly the range, without gap or overlap.
        #[test]
        fn slices_join_to_the_range(
            mut lower in proptest::collection::vec((0_i64..1000).prop_map(|n| n * 1000), 0..20),
            from in 0_i64..1_000_000,
            length in 0_i64..1_000_000,
        ) {
            lower.sort_unstable_by(|left, right| right.cmp(left));
            lower.dedup();
            let slices = microseconds(&cut(&lower, from, from + length));
            let whole = microseconds(&[whole(from, from + length)]);
            proptest::prop_assert_eq!(slices.first().unwrap().1, whole[0].1);
            proptest::prop_assert_eq!(slices.last().unwrap().0, whole[0].0);
            for pair in slices.windows(2) {
                proptest::prop_assert_eq!(pair[0].0, pair[1].1);
                proptest::prop_assert!(pair[0].0 < pair[0].1);
            }
        }
    }
}
