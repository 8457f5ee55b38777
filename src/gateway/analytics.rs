//! Sums over time: any measure by any dimension.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use super::caller::Caller;
use super::params::Params;
use super::problem::Problem;
use super::render::{self, Measure, dimension_name};
use crate::storage::TimeRange;
use crate::storage::query::{AnalyticsQuery, Dimension};

/// Rows of an answer at most, and when the client does not say.
const ROWS_MAX: u32 = 10_000;
/// Time buckets of an answer at most.
const BUCKETS_MAX: u64 = 10_000;
/// Minutes of the range when the client does not say where it starts.
const RANGE_DEFAULT_MINUTES: u64 = 24 * 60;

const NS_PER_MINUTE: u64 = 60_000_000_000;

const DIMENSIONS: [Dimension; 4] = [
    Dimension::Service,
    Dimension::Operation,
    Dimension::Provider,
    Dimension::Model,
];

/// `GET /api/v1/analytics`: rows in order of bucket and group.
pub(super) async fn sums(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let (query, measures) = read(&mut params, now);
    params.finish()?;
    let answer = shared.reader.analytics(caller.project, &query).await?;
    Ok(Json(render::Sums::new(&query, &measures, answer)).into_response())
}

/// What is asked; what is wrong is noted in the parameters.
fn read(params: &mut Params, now: u64) -> (AnalyticsQuery, Vec<Measure>) {
    let range = params.range();
    if range.end_unix_nano.is_none() && range.start_unix_nano.is_some_and(|start| start > now) {
        params.reject("start", "is in the future; give end too");
    }
    let (start, end) = whole_minutes(range, now);
    let step_minutes = params.step();
    if step_minutes.is_some_and(|step| (end - start).div_ceil(u64::from(step)) > BUCKETS_MAX) {
        let message = format!("makes more than {BUCKETS_MAX} buckets of this range");
        params.reject("step", message);
    }
    let by_name = DIMENSIONS.map(|dimension| (dimension_name(dimension), dimension));
    let filters = by_name
        .iter()
        .filter_map(|(name, dimension)| Some((*dimension, params.text(name)?)))
        .collect();
    let measures = params.choices("measures", &Measure::NAMES);
    let all = || Measure::NAMES.iter().map(|(_, measure)| *measure).collect();
    let measures: Vec<_> = measures.unwrap_or_else(all);
    let query = AnalyticsQuery {
        start_minute: i64::try_from(start).unwrap_or(i64::MAX),
        end_minute: i64::try_from(end).unwrap_or(i64::MAX),
        step_minutes,
        group_by: params.choices("group_by", &by_name).unwrap_or_default(),
        filters,
        durations: measures.iter().any(|measure| measure.is_of_durations()),
        limit: params.limit(ROWS_MAX, ROWS_MAX),
    };
    (query, measures)
}

/// The range in minutes since the Unix epoch, rounded outwards. It ends now and is a day long
/// where nothing else is said. Never reversed.
fn whole_minutes(range: TimeRange, now: u64) -> (u64, u64) {
    let end = range.end_unix_nano.unwrap_or(now).div_ceil(NS_PER_MINUTE);
    let start = match range.start_unix_nano {
        Some(start) => start / NS_PER_MINUTE,
        None => end.saturating_sub(RANGE_DEFAULT_MINUTES),
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
