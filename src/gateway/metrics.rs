//! Metrics: the list of them, and their points over time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, FieldError, Problem};
use super::render::{self, aggregations};
use super::{Shared, list_answer, window};
use crate::storage::metrics::query::{MetricFilter, MetricQuery, NoAnswer};

/// Groups of an answer at most, and when the client does not say.
const GROUPS_MAX: u32 = 1000;
const GROUPS_DEFAULT: u32 = 100;
/// Time buckets of an answer at most.
const BUCKETS_MAX: u64 = 10_000;
/// Shortest bucket, ns.
const STEP_MIN_NS: u64 = 1_000_000_000;

/// `GET /api/v1/metrics`: by name.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let filter = MetricFilter {
        prefix: params.text("prefix"),
        service: params.text("service"),
    };
    let limit_max = shared.config.page_size_max;
    let (page, binding) = params.finish_page(&shared, PAGE_SIZE_DEFAULT, limit_max)?;
    let found = shared.reader.list_metrics(caller.project, &filter, &page);
    Ok(list_answer::<_, render::Metric>(
        &shared,
        &binding,
        found.await?,
    ))
}

/// `GET /api/v1/metrics/{metric_name}`: by group, in the order of time.
pub(super) async fn points(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(name): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let query = read(&mut params, name, window::now());
    params.finish()?;
    let answer = shared.reader.metric(caller.project, &query).await?;
    match answer {
        Ok(answer) => Ok(Json(render::MetricPoints::new(&query, answer)).into_response()),
        Err(NoAnswer::Unknown) => Err(Problem::new(Code::NotFound, "no such metric")),
        Err(NoAnswer::NotOf(kind)) => {
            let words = aggregations()
                .filter(|(_, aggregation)| aggregation.applies_to(kind))
                .map(|(word, _)| word);
            let message = format!(
                "is not to be had of a metric of type {}; expected {}",
                kind.as_str(),
                words.collect::<Vec<_>>().join(" or ")
            );
            let field = FieldError {
                path: "aggregation".to_owned(),
                message,
            };
            Err(Problem::fields(Code::InvalidParameter, vec![field]))
        }
    }
}

/// What is asked; what is wrong is noted in the parameters.
fn read(params: &mut Params, name: String, now: u64) -> MetricQuery {
    let (start, end) = window::exact(params, now);
    let step = params.step_ns(STEP_MIN_NS);
    if step.is_some_and(|step| (end - start).div_ceil(step) > BUCKETS_MAX) {
        let message = format!("makes more than {BUCKETS_MAX} buckets of this range");
        params.reject("step", message);
    }
    let words: Vec<_> = aggregations().collect();
    MetricQuery {
        name,
        start_unix_nano: start,
        end_unix_nano: end,
        step_ns: step,
        group_by: params.attribute_keys("group_by"),
        service: params.text("service"),
        environment: params.text("environment"),
        attributes: params.attributes(),
        aggregation: params.choice("aggregation", &words),
        groups_max: params.limit(GROUPS_DEFAULT, GROUPS_MAX),
    }
}
