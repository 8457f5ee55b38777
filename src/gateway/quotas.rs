//! What projects may send, and what they sent, for admins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::control::{
    BODY_BYTES_MAX, change, changed, meant, not_found, only_operators, project_of, within, wrong,
};
use super::params::Params;
use super::problem::{Code, Problem};
use super::{Shared, body, window};
use crate::model::ProjectId;
use crate::model::quota::{Day, Quota};
use crate::storage::quota::{USAGE_DAYS_MAX, Usage};

/// Days told of when the client does not say.
const DAYS_DEFAULT: u32 = 30;

/// What a project may send, and has sent today.
#[derive(Serialize)]
struct Answer {
    project_id: u32,
    items_per_second: Option<u32>,
    bytes_per_day: Option<u64>,
    /// Whether these are the limits of the configuration.
    is_default: bool,
    bytes_today: u64,
}

/// What was sent of a signal on a day.
#[derive(Serialize)]
struct Sent {
    date: String,
    signal: String,
    items: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Days {
    items: Vec<Sent>,
}

/// The project of a path that the caller may know of.
async fn known(shared: &Shared, caller: &Caller, id: &str) -> Result<ProjectId, Problem> {
    let id = id.parse().map_err(|_| not_found("project"))?;
    let id = meant(caller, Some(id))?;
    let found = project_of(shared, id).await?;
    if found.items.is_empty() {
        return Err(not_found("project"));
    }
    Ok(id)
}

async fn answer(shared: &Shared, project: ProjectId) -> Result<Response, Problem> {
    let quotas = within(shared, shared.access.quotas()).await?;
    let own = quotas.into_iter().find(|(id, _)| *id == project);
    let own = own.map(|(_, quota)| quota);
    let today = Day::of(window::now());
    let usage = within(shared, shared.access.usage(project, today)).await?;
    let bytes = usage.iter().map(|usage| usage.bytes);
    let quota = own.unwrap_or_else(|| shared.gate.default_quota());
    let answer = Answer {
        project_id: project.0,
        items_per_second: quota.items_per_second,
        bytes_per_day: quota.bytes_per_day,
        is_default: own.is_none(),
        bytes_today: bytes.fold(0, u64::saturating_add),
    };
    Ok(Json(answer).into_response())
}

/// `GET /api/v1/projects/{project_id}/quota`.
pub(super) async fn quota(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    answer(&shared, project).await
}

/// What `PUT` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    items_per_second: Option<u32>,
    #[serde(default)]
    bytes_per_day: Option<u64>,
}

impl Wanted {
    fn check(self) -> Result<Quota, Problem> {
        let mut fields = Vec::new();
        if self.items_per_second == Some(0) {
            let message = "must be more than zero; null is no limit";
            fields.push(wrong("items_per_second", message));
        }
        let max = Quota::BYTES_PER_DAY_MAX;
        if let Some(bytes) = self.bytes_per_day
            && !(1..=max).contains(&bytes)
        {
            let message = format!("must be from 1 to {max}; null is no limit");
            fields.push(wrong("bytes_per_day", message));
        }
        if fields.is_empty() {
            Ok(Quota {
                items_per_second: self.items_per_second,
                bytes_per_day: self.bytes_per_day,
            })
        } else {
            Err(Problem::fields(Code::InvalidParameter, fields))
        }
    }
}

/// `PUT /api/v1/projects/{project_id}/quota`: for operators.
pub(super) async fn replace(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    only_operators(&caller)?;
    let limit = shared.config.query_timeout.0;
    let wanted: Wanted = body::json(request, BODY_BYTES_MAX, limit).await?;
    set(&shared, &caller, project, Some(wanted.check()?)).await
}

/// `DELETE /api/v1/projects/{project_id}/quota`: for operators.
pub(super) async fn reset(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    only_operators(&caller)?;
    set(&shared, &caller, project, None).await
}

async fn set(
    shared: &Shared,
    caller: &Caller,
    project: ProjectId,
    quota: Option<Quota>,
) -> Result<Response, Problem> {
    let setting = shared.access.set_quota(project, quota, change(caller));
    changed(shared, "project", setting).await?;
    answer(shared, project).await
}

/// `GET /api/v1/projects/{project_id}/usage`: oldest day first.
pub(super) async fn usage(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let days = params.whole("days", DAYS_DEFAULT, USAGE_DAYS_MAX);
    params.finish()?;
    let project = known(&shared, &caller, &id).await?;
    let today = Day::of(window::now());
    let from = Day(today.0.saturating_sub(days.saturating_sub(1)));
    let found = within(&shared, shared.access.usage(project, from)).await?;
    let items = found.into_iter().map(sent).collect();
    Ok(Json(Days { items }).into_response())
}

fn sent(usage: Usage) -> Sent {
    let start = i128::from(usage.day.start());
    let start = jiff::Timestamp::from_nanosecond(start).unwrap_or(jiff::Timestamp::MAX);
    let day = start.to_zoned(jiff::tz::TimeZone::UTC).date();
    Sent {
        date: day.to_string(),
        signal: usage.signal,
        items: usage.items,
        bytes: usage.bytes,
    }
}
