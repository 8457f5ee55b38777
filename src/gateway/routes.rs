//! Every route, with the parameters it knows. The router is built from this table and the
//! OpenAPI document is compared with it, so that neither can drift from the other.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::params::{ATTRIBUTE, Params};
use super::problem::Problem;
use super::{
    Shared, analytics, control, events, invites, issues, lists, metrics, models, prices, quotas,
    search, sessions, spans, tail, traces,
};

/// Longest time the health answer waits for the store.
const HEALTH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// The API's description, kept by hand.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    /// Its path, with `{name}` for variable segments.
    pub(super) path: &'static str,
    /// Names of the query parameters it knows.
    pub(super) parameters: &'static [&'static str],
    /// Makes its handler.
    pub(super) serve: fn() -> MethodRouter<Arc<Shared>>,
}

/// The filters of spans and of traces, and what a route has besides.
macro_rules! filtered {
    ($($more:literal),*) => {
        &[
            "start",
            "end",
            "service",
            "name",
            "status",
            "min_duration",
            "max_duration",
            "session_id",
            "user_id",
            "min_tokens",
            "min_cost",
            "operation",
            "provider",
            "model",
            "agent",
            "tool",
            "tag",
            "error_kind",
            ATTRIBUTE,
            $($more),*
        ]
    };
}

/// All routes.
pub(super) static ROUTES: [Route; 32] = [
    Route {
        path: "/api/v1/traces",
        parameters: filtered!("limit", "cursor"),
        serve: || get(traces::list),
    },
    Route {
        path: "/api/v1/traces/{trace_id}",
        parameters: &["format", "limit", "cursor"],
        serve: || get(traces::detail),
    },
    Route {
        path: "/api/v1/spans",
        parameters: filtered!("trace_id", "limit", "cursor"),
        serve: || get(spans::list),
    },
    Route {
        path: "/api/v1/search",
        parameters: filtered!("q", "in", "kind", "trace_id", "timeout", "limit", "cursor"),
        serve: || get(search::search),
    },
    Route {
        path: "/api/v1/tail",
        parameters: filtered!(
            "trace_id",
            "kind",
            "environment",
            "min_severity",
            "span_id",
            "rate",
            "last_event_id"
        ),
        serve: || get(tail::tail),
    },
    Route {
        path: "/api/v1/spans/{trace_id}/{span_id}",
        parameters: &[],
        serve: || get(spans::detail),
    },
    Route {
        path: "/api/v1/events",
        parameters: &[
            "start",
            "end",
            "service",
            "environment",
            "min_severity",
            "name",
            "trace_id",
            "span_id",
            "session_id",
            ATTRIBUTE,
            "limit",
            "cursor",
        ],
        serve: || get(events::list),
    },
    Route {
        path: "/api/v1/events/{event_id}",
        parameters: &[],
        serve: || get(events::detail),
    },
    Route {
        path: "/api/v1/metrics",
        parameters: &["prefix", "service", "limit", "cursor"],
        serve: || get(metrics::list),
    },
    Route {
        path: "/api/v1/metrics/{metric_name}",
        parameters: &[
            "start",
            "end",
            "step",
            "group_by",
            "aggregation",
            "service",
            "environment",
            ATTRIBUTE,
            "limit",
        ],
        serve: || get(metrics::points),
    },
    Route {
        path: "/api/v1/issues",
        parameters: &[
            "status",
            "type",
            "level",
            "service",
            "environment",
            "search",
            "sort",
            "limit",
            "cursor",
        ],
        serve: || get(issues::list),
    },
    Route {
        path: "/api/v1/issues/{fingerprint}",
        parameters: &["start", "end", "step"],
        serve: || get(issues::detail).patch(issues::change),
    },
    Route {
        path: "/api/v1/services",
        parameters: &["limit", "cursor"],
        serve: || get(lists::services),
    },
    Route {
        path: "/api/v1/sessions",
        parameters: &["start", "end", "user_id", "limit", "cursor"],
        serve: || get(lists::sessions),
    },
    Route {
        path: "/api/v1/sessions/{session_id}",
        parameters: &["limit", "cursor"],
        serve: || get(sessions::detail),
    },
    Route {
        path: "/api/v1/users",
        parameters: &["start", "end", "limit", "cursor"],
        serve: || get(models::users),
    },
    Route {
        path: "/api/v1/models",
        parameters: &["start", "end", "limit", "cursor"],
        serve: || get(models::models),
    },
    Route {
        path: "/api/v1/prices",
        parameters: &["provider", "model", "at"],
        serve: || get(prices::prices),
    },
    Route {
        path: "/api/v1/prices/overrides",
        parameters: &[],
        serve: || get(prices::overrides).put(prices::replace),
    },
    Route {
        path: "/api/v1/prices/unpriced",
        parameters: &["start", "end", "limit"],
        serve: || get(models::unpriced),
    },
    Route {
        path: "/api/v1/analytics",
        parameters: &[
            "start",
            "end",
            "step",
            "group_by",
            "measures",
            "service",
            "operation",
            "provider",
            "model",
            "user_id",
            "agent",
            "tool",
            "environment",
            "tag",
            "error_kind",
            "cost_source",
            "limit",
        ],
        serve: || get(analytics::sums),
    },
    Route {
        path: "/api/v1/dead-letters",
        parameters: &["limit", "cursor"],
        serve: || get(lists::dead_letters),
    },
    Route {
        path: "/api/v1/projects",
        parameters: &["limit", "cursor"],
        serve: || get(control::projects).post(control::create_project),
    },
    Route {
        path: "/api/v1/projects/{project_id}",
        parameters: &[],
        serve: || get(control::project).delete(control::delete_project),
    },
    Route {
        path: "/api/v1/projects/{project_id}/quota",
        parameters: &[],
        serve: || {
            get(quotas::quota)
                .put(quotas::replace)
                .delete(quotas::reset)
        },
    },
    Route {
        path: "/api/v1/projects/{project_id}/usage",
        parameters: &["days"],
        serve: || get(quotas::usage),
    },
    Route {
        path: "/api/v1/projects/{project_id}/invites",
        parameters: &["invite_id"],
        serve: || {
            get(invites::list)
                .post(invites::create)
                .delete(invites::revoke)
        },
    },
    Route {
        path: "/api/v1/keys",
        parameters: &["project_id", "limit", "cursor"],
        serve: || get(control::keys).post(control::create_key),
    },
    Route {
        path: "/api/v1/keys/{key_id}",
        parameters: &["project_id"],
        serve: || get(control::key).delete(control::revoke_key),
    },
    Route {
        path: "/api/v1/audit",
        parameters: &["project_id", "limit", "cursor"],
        serve: || get(control::audit),
    },
    Route {
        path: "/api/v1/health",
        parameters: &[],
        serve: || get(health),
    },
    Route {
        path: "/openapi.json",
        parameters: &[],
        serve: || get(openapi),
    },
];

#[derive(Serialize)]
struct Health {
    /// `ok`, or `degraded` while the store does not answer.
    status: &'static str,
    version: &'static str,
    /// Now; for clients of PulseKit.
    timestamp: String,
    storage: StorageHealth,
}

#[derive(Serialize)]
struct StorageHealth {
    /// `up` or `down`.
    status: &'static str,
    /// Bytes the store uses; unknown while it is down.
    bytes: Option<u64>,
}

/// Answers 200 whenever this process can answer, so that a probe does not restart it because the
/// store is busy; whether it is, is in the body.
async fn health(State(shared): State<Arc<Shared>>, params: Params) -> Result<Response, Problem> {
    params.finish()?;
    let usage = tokio::time::timeout(HEALTH_TIMEOUT, shared.reader.usage()).await;
    let bytes = match usage {
        Ok(Ok(usage)) => Some(usage.bytes),
        Ok(Err(_)) | Err(_) => None,
    };
    let (status, storage) = match bytes {
        Some(_) => ("ok", "up"),
        None => ("degraded", "down"),
    };
    Ok(Json(Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        timestamp: jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string(),
        storage: StorageHealth {
            status: storage,
            bytes,
        },
    })
    .into_response())
}

async fn openapi(params: Params) -> Result<Response, Problem> {
    params.finish()?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, json)], OPENAPI).into_response())
}
