//! Sums over time: any measure by any dimension.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::Params;
use super::problem::Problem;
use super::render::{self, Measure, dimension_name};
use super::{Shared, window};
use crate::model::failure::ErrorKind;
use crate::model::genai::CostSource;
use crate::storage::query::{AnalyticsQuery, Dimension};

/// Rows of an answer at most, and when the client does not say.
const ROWS_MAX: u32 = 10_000;
/// Time buckets of an answer at most.
const BUCKETS_MAX: u64 = 10_000;

/// `GET /api/v1/analytics`: rows in order of bucket and group.
pub(super) async fn sums(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let (query, measures) = read(&mut params, window::now());
    params.finish()?;
    let answer = shared.reader.analytics(caller.project, &query).await?;
    Ok(Json(render::Sums::new(&query, &measures, answer)).into_response())
}

/// What is asked; what is wrong is noted in the parameters.
fn read(params: &mut Params, now: u64) -> (AnalyticsQuery, Vec<Measure>) {
    let (start, end) = window::minutes(params, now);
    let step_minutes = params.step();
    if step_minutes.is_some_and(|step| (end - start).div_ceil(u64::from(step)) > BUCKETS_MAX) {
        let message = format!("makes more than {BUCKETS_MAX} buckets of this range");
        params.reject("step", message);
    }
    let by_name = Dimension::ALL.map(|dimension| (dimension_name(dimension), dimension));
    let filters = by_name
        .iter()
        .filter_map(|(name, dimension)| Some((*dimension, value(params, name, *dimension)?)))
        .collect();
    let measures = params.choices("measures", &Measure::NAMES);
    // What takes a look at every span is answered only to who asks for it.
    let rolled_up = || {
        let all = Measure::NAMES.iter().map(|(_, measure)| *measure);
        all.filter(|measure| !measure.is_of_details()).collect()
    };
    let measures: Vec<_> = measures.unwrap_or_else(rolled_up);
    let query = AnalyticsQuery {
        start_minute: i64::try_from(start).unwrap_or(i64::MAX),
        end_minute: i64::try_from(end).unwrap_or(i64::MAX),
        step_minutes,
        group_by: params.choices("group_by", &by_name).unwrap_or_default(),
        filters,
        durations: measures.iter().any(|measure| measure.is_of_durations()),
        details: measures.iter().any(|measure| measure.is_of_details()),
        limit: params.limit(ROWS_MAX, ROWS_MAX),
    };
    (query, measures)
}

/// The value that a dimension must have.
fn value(params: &mut Params, name: &str, dimension: Dimension) -> Option<String> {
    let words: Vec<_> = match dimension {
        Dimension::ErrorKind => ErrorKind::ALL.map(ErrorKind::as_str).to_vec(),
        Dimension::CostSource => CostSource::ALL.map(CostSource::as_str).to_vec(),
        _ => return params.text(name),
    };
    let words: Vec<_> = words.into_iter().map(|word| (word, word)).collect();
    params.choice(name, &words).map(str::to_owned)
}
