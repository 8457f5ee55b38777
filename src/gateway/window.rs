//! Ranges of time that end now and are a day long where nothing else is said.

use std::time::SystemTime;

use super::params::Params;
use crate::storage::TimeRange;

/// Length of the range when the client does not say where it starts.
const DEFAULT_MINUTES: u64 = 24 * 60;

const NS_PER_MINUTE: u64 = 60_000_000_000;

/// Now, ns since the Unix epoch.
pub(super) fn now() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// `start` and `end` in minutes since the Unix epoch, rounded outwards; what is wrong is noted in
/// the parameters. Never reversed.
pub(super) fn minutes(params: &mut Params, now: u64) -> (u64, u64) {
    whole_minutes(range(params, now), now)
}

/// `start` and `end`, ns. Never reversed.
pub(super) fn exact(params: &mut Params, now: u64) -> (u64, u64) {
    let range = range(params, now);
    let end = range.end_unix_nano.unwrap_or(now);
    let day_before = end.saturating_sub(DEFAULT_MINUTES * NS_PER_MINUTE);
    (range.start_unix_nano.unwrap_or(day_before).min(end), end)
}

fn range(params: &mut Params, now: u64) -> TimeRange {
    let range = params.range();
    if range.end_unix_nano.is_none() && range.start_unix_nano.is_some_and(|start| start > now) {
        params.reject("start", "is in the future; give end too");
    }
    range
}

fn whole_minutes(range: TimeRange, now: u64) -> (u64, u64) {
    let end = range.end_unix_nano.unwrap_or(now).div_ceil(NS_PER_MINUTE);
    let start = match range.start_unix_nano {
        Some(start) => start / NS_PER_MINUTE,
        None => end.saturating_sub(DEFAULT_MINUTES),
    };
    (start.min(end), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_rounded_outwards_to_whole_minutes() {
        let range = |start_unix_nano, end_unix_nano| TimeRange {
            start_unix_nano,
            end_unix_nano,
        };
        let minute = NS_PER_MINUTE;
        let now = 3000 * minute + 1;
        assert_eq!(whole_minutes(range(None, None), now), (1561, 3001));
        assert_eq!(whole_minutes(range(Some(minute - 1), None), now), (0, 3001));
        assert_eq!(
            whole_minutes(range(None, Some(2000 * minute)), now),
            (560, 2000)
        );
        let odd = range(Some(5 * minute + 1), Some(7 * minute + 1));
        assert_eq!(whole_minutes(odd, now), (5, 8));
        assert_eq!(whole_minutes(range(None, Some(0)), now), (0, 0));
        let (start, end) = whole_minutes(range(Some(u64::MAX), Some(u64::MAX)), now);
        assert!(start < end);
    }
}
