//! Models, and those without a price; users.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, Problem};
use super::render::{self, Extent};
use super::{Shared, window};
use crate::model::genai::CostSource;
use crate::storage::query::{AnalyticsQuery, Dimension, Measures, UsersQuery};
use crate::storage::{Cursor, PageRequest};

/// Groups that a store adds up at most.
const GROUPS_MAX: usize = 100_000;
/// Models without a price that are answered at most.
const UNPRICED_MAX: u32 = 1000;

/// `GET /api/v1/models`: by provider and name.
pub(super) async fn models(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let (start, end) = window::minutes(&mut params, window::now());
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let query = AnalyticsQuery {
        group_by: vec![Dimension::Provider, Dimension::Model, Dimension::Operation],
        durations: true,
        ..within(start, end, GROUPS_MAX)
    };
    let answer = shared.reader.analytics(caller.project, &query).await?;
    let mut models: BTreeMap<(String, String), Measures> = BTreeMap::new();
    // An agent that repeats what its calls used names the model, too, and calls none.
    let calls = answer.rows.into_iter();
    for row in calls.filter(|row| row.measures.totals.llm_calls > 0) {
        let mut group = row.group.into_iter();
        let (provider, model) = (group.next(), group.next());
        let key = (provider.unwrap_or_default(), model.unwrap_or_default());
        models.entry(key).or_default().merge(&row.measures);
    }
    let after = page.after.as_ref().map(names_of).transpose()?;
    let left = models
        .into_iter()
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let mut left = left.peekable();
    let mut last = None;
    let mut items = Vec::new();
    for ((provider, model), sums) in left.by_ref().take(page.limit.max(1)) {
        last = Some(Cursor {
            unix_nano: 0,
            key: format!("{provider}\0{model}").into_bytes(),
        });
        items.push(render::Model::new(provider, model, &sums));
    }
    let last = last.filter(|_| left.peek().is_some());
    Ok(Json(render::Models {
        extent: extent(&query, answer.counted_from_unix_nano),
        items,
        next_cursor: last.map(|last| shared.cursors().seal(&binding, &last)),
    })
    .into_response())
}

/// The provider and model that a cursor stands for. A provider holds no U+0000: what comes after
/// the first is the model.
fn names_of(cursor: &Cursor) -> Result<(String, String), Problem> {
    let text = std::str::from_utf8(&cursor.key).ok();
    let names = text.and_then(|text| text.split_once('\0'));
    let (provider, model) = names.ok_or_else(Problem::internal)?;
    Ok((provider.to_owned(), model.to_owned()))
}

/// `GET /api/v1/prices/unpriced`: by provider and name.
pub(super) async fn unpriced(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let (start, end) = window::minutes(&mut params, window::now());
    let limit = params.limit(UNPRICED_MAX, UNPRICED_MAX);
    params.finish()?;
    let query = AnalyticsQuery {
        group_by: vec![Dimension::Provider, Dimension::Model],
        filters: vec![(
            Dimension::CostSource,
            CostSource::Unpriced.as_str().to_owned(),
        )],
        ..within(start, end, limit)
    };
    let answer = shared.reader.analytics(caller.project, &query).await?;
    let items = answer.rows.into_iter().map(|row| {
        let mut group = row.group.into_iter();
        let (provider, model) = (group.next(), group.next());
        let (provider, model) = (provider.unwrap_or_default(), model.unwrap_or_default());
        render::UnpricedModel::new(provider, model, &row.measures)
    });
    Ok(Json(render::UnpricedModels {
        items: items.collect(),
        extent: extent(&query, answer.counted_from_unix_nano),
        truncated: answer.truncated,
    })
    .into_response())
}

/// A question about a range of minutes.
fn within(start: u64, end: u64, limit: usize) -> AnalyticsQuery {
    AnalyticsQuery {
        start_minute: i64::try_from(start).unwrap_or(i64::MAX),
        end_minute: i64::try_from(end).unwrap_or(i64::MAX),
        step_minutes: None,
        group_by: Vec::new(),
        filters: Vec::new(),
        durations: false,
        details: false,
        limit,
    }
}

fn extent(query: &AnalyticsQuery, counted_from: Option<u64>) -> Extent {
    let (start, end) = (query.start_minute, query.end_minute);
    Extent::new(
        render::unix_nano(start),
        render::unix_nano(end),
        counted_from,
    )
}

/// `GET /api/v1/users`: last seen first.
pub(super) async fn users(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let (mut start, mut end) = window::exact(&mut params, window::now());
    let (mut page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    if let Some(cursor) = &mut page.after {
        // All pages are of the range of the first.
        (start, end) = take_range(&mut cursor.key).ok_or_else(|| {
            Problem::new(Code::InvalidCursor, "the cursor is not one of this list")
        })?;
    }
    let query = UsersQuery {
        start_unix_nano: start,
        end_unix_nano: end,
        page: PageRequest {
            limit: page.limit,
            after: page.after,
        },
    };
    let answer = shared.reader.list_users(caller.project, &query).await?;
    let next = answer.page.next.map(|mut next| {
        let range = [start.to_be_bytes(), end.to_be_bytes()].concat();
        next.key.splice(0..0, range);
        shared.cursors().seal(&binding, &next)
    });
    let items = answer.page.items.into_iter().map(render::User::from);
    Ok(Json(render::Users {
        extent: Extent::new(start, end, answer.counted_from_unix_nano),
        items: items.collect(),
        next_cursor: next,
    })
    .into_response())
}

/// Takes start and end off the front of a cursor's key.
fn take_range(key: &mut Vec<u8>) -> Option<(u64, u64)> {
    let (start, rest) = key.split_first_chunk::<8>()?;
    let (end, rest) = rest.split_first_chunk::<8>()?;
    let range = (u64::from_be_bytes(*start), u64::from_be_bytes(*end));
    *key = rest.to_vec();
    Some(range)
}
