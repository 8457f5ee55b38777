//! Issues: the list, one with its counts over time and its latest events, and what people say of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::caller::{self, Caller};
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, FieldError, Problem};
use super::render::issue::{Detail, Issue, Timeline};
use super::{Shared, body, list_answer, render, window};
use crate::model::fingerprint::Fingerprint;
use crate::storage::access::{Change, Refusal};
use crate::storage::issues::{
    BUCKET_NS, Issue as Stored, IssueFilter, IssueSort, IssueStatus, LATEST_MAX, LEVELS,
};
use crate::storage::{self};

/// Bytes of a body at most: one word.
const BODY_BYTES_MAX: usize = 1 << 10;
/// Minutes of the shortest stretch of time that is counted.
const STEP_MINUTES: u64 = 5;
/// Steps where none is named, in minutes: the first that gives few enough.
const STEPS: [u64; 5] = [5, 15, 60, 360, 1440];
/// How many are few enough, and how many are answered at most.
const BUCKETS_DEFAULT_MAX: u64 = 100;
const BUCKETS_MAX: u64 = 2000;
const NS_PER_MINUTE: u64 = 60_000_000_000;
/// Longest range, ns.
const RANGE_MAX: u64 = 92 * 1440 * NS_PER_MINUTE;

async fn within<T>(
    shared: &Shared,
    work: impl Future<Output = Result<T, storage::Error>>,
) -> Result<T, Problem> {
    let done = tokio::time::timeout(shared.config.query_timeout.0, work).await;
    Ok(done.unwrap_or(Err(storage::Error::Timeout))?)
}

fn not_found() -> Problem {
    Problem::new(Code::NotFound, "no such issue")
}

/// `GET /api/v1/issues`.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let statuses = IssueStatus::ALL.map(|status| (status.as_str(), status));
    let levels: Vec<_> = LEVELS.into_iter().zip(0_u8..).collect();
    let sorts = [
        ("last_seen", IssueSort::LastSeen),
        ("first_seen", IssueSort::FirstSeen),
        ("count", IssueSort::Count),
    ];
    let filter = IssueFilter {
        status: params.choice("status", &statuses),
        kind: params.text("type"),
        level: params.choice("level", &levels),
        service: params.text("service"),
        environment: params.text("environment"),
        search: params.text("search"),
        sort: params.choice("sort", &sorts).unwrap_or_default(),
    };
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let asked = shared.issues.issues(caller.project, filter, page);
    let found = within(&shared, asked).await?;
    Ok(list_answer::<_, Issue>(&shared, &binding, found))
}

/// Times of a timeline, ns: its first, the first after it, and the length of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretches {
    start: u64,
    end: u64,
    step: u64,
}

impl Stretches {
    /// What is asked for, rounded outwards to whole stretches.
    fn of(params: &mut Params, now: u64) -> Self {
        let (start, end) = window::exact(params, now);
        let length = end - start;
        if length > RANGE_MAX {
            params.reject("start", "is more than 92 days before end");
        }
        let minutes = match params.step().map(u64::from) {
            Some(minutes) if minutes % STEP_MINUTES != 0 => {
                params.reject("step", "is not a multiple of 5 minutes");
                STEP_MINUTES
            }
            Some(minutes) => minutes,
            None => default_step(length),
        };
        let stretches = Self::rounded(start, end, minutes * NS_PER_MINUTE);
        if (stretches.end - stretches.start) / stretches.step > BUCKETS_MAX {
            let message = format!("divides the range into more than {BUCKETS_MAX} parts");
            params.reject("step", message);
        }
        stretches
    }

    fn rounded(start: u64, end: u64, step: u64) -> Self {
        let step = step.max(BUCKET_NS);
        Self {
            start: start - start % step,
            end: end.div_ceil(step).saturating_mul(step),
            step,
        }
    }
}

fn default_step(length: u64) -> u64 {
    let few = |minutes: &u64| length / (minutes * NS_PER_MINUTE) <= BUCKETS_DEFAULT_MAX;
    STEPS.into_iter().find(few).unwrap_or(1440)
}

fn path_fingerprint(params: &mut Params, text: &str) -> Option<Fingerprint> {
    params.path_id("fingerprint", text)
}

/// `GET /api/v1/issues/{fingerprint}`.
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(fingerprint): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let fingerprint = path_fingerprint(&mut params, &fingerprint);
    let stretches = Stretches::of(&mut params, window::now());
    params.finish()?;
    let fingerprint = fingerprint.ok_or_else(Problem::internal)?;
    let detail = read(&shared, &caller, fingerprint, stretches);
    Ok(Json(detail.await?).into_response())
}

async fn read(
    shared: &Shared,
    caller: &Caller,
    fingerprint: Fingerprint,
    stretches: Stretches,
) -> Result<Detail, Problem> {
    let Stretches { start, end, step } = stretches;
    let asked = async {
        let project = caller.project;
        let groups = shared.issues.issue(project, fingerprint).await?;
        let buckets = shared.issues.timeline(project, fingerprint, start, end);
        let buckets = buckets.await?;
        let mut events = Vec::new();
        for id in latest(&groups) {
            // Retention may have deleted some.
            if let Some(event) = shared.reader.event(project, id).await? {
                events.push(render::EventDetail::new(event)?);
            }
        }
        Ok((groups, buckets, events))
    };
    let (groups, buckets, events) = within(shared, asked).await?;
    let timeline = Timeline::new(start, end, step, &buckets);
    Detail::new(fingerprint, groups, timeline, events).ok_or_else(not_found)
}

/// The latest events of all types and levels.
fn latest(groups: &[Stored]) -> Vec<crate::model::event::EventId> {
    let mut ids: Vec<_> = groups.iter().flat_map(|it| it.latest.clone()).collect();
    ids.sort_unstable_by(|one, another| another.cmp(one));
    ids.dedup();
    ids.truncate(LATEST_MAX);
    ids
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    status: String,
}

/// `PATCH /api/v1/issues/{fingerprint}`: for who may both read and send, and for admins.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(fingerprint): Path<String>,
    mut params: Params,
    request: Request,
) -> Result<Response, Problem> {
    caller::may_change(&caller)?;
    let fingerprint = path_fingerprint(&mut params, &fingerprint);
    params.finish()?;
    let fingerprint = fingerprint.ok_or_else(Problem::internal)?;
    let limit = shared.config.query_timeout.0;
    let wanted: Wanted = body::json(request, BODY_BYTES_MAX, limit).await?;
    let status = wanted.status.parse::<IssueStatus>().map_err(|()| {
        let field = FieldError {
            path: "status".to_owned(),
            message: "expected unresolved, resolved or ignored".to_owned(),
        };
        Problem::fields(Code::InvalidParameter, vec![field])
    })?;
    let now = window::now();
    let by = Change {
        by: caller.principal.who.to_string(),
        at_unix_nano: now,
    };
    let said = shared
        .issues
        .set_status(caller.project, fingerprint, status, by);
    match within(&shared, said).await? {
        Ok(()) => {}
        Err(Refusal::Unknown | Refusal::Taken | Refusal::TooMany) => return Err(not_found()),
    }
    let day_before = now.saturating_sub(1440 * NS_PER_MINUTE);
    let step = default_step(now - day_before) * NS_PER_MINUTE;
    let stretches = Stretches::rounded(day_before, now, step);
    let detail = read(&shared, &caller, fingerprint, stretches);
    Ok(Json(detail.await?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_whole_and_few() {
        let day = 1440 * NS_PER_MINUTE;
        assert_eq!(default_step(60 * NS_PER_MINUTE), 5);
        assert_eq!(default_step(day), 15);
        assert_eq!(default_step(30 * day), 1440);
        assert_eq!(default_step(92 * day), 1440);
        let minute = NS_PER_MINUTE;
        let rounded = Stretches::rounded(7 * minute, 11 * minute, 5 * minute);
        assert_eq!((rounded.start, rounded.end), (5 * minute, 15 * minute));
        let largest = Stretches::rounded(u64::MAX, u64::MAX, 5 * minute);
        assert!(largest.start <= largest.end);
    }
}
