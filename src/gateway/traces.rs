//! Traces: the list, and one with its spans.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::SemaphorePermit;

use super::caller::Caller;
use super::params::{PAGE_SIZE_DEFAULT, Params};
use super::problem::{Code, Problem};
use super::{Shared, facts, list_answer, render};
use crate::storage::{SpanEvents, TraceFilter};

/// Where the spans go on when the body, being OTLP, has no place for it.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// `GET /api/v1/traces`: newest start first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let filter = filter(&mut params);
    let (page, binding) =
        params.finish_page(&shared, PAGE_SIZE_DEFAULT, shared.config.page_size_max)?;
    let answer = shared.reader.list_traces(caller.project, &filter, &page);
    let found = answer.await?;
    Ok(list_answer::<_, render::TraceSummary>(
        &shared, &binding, found,
    ))
}

/// Which traces are meant; what is wrong is noted in the parameters.
pub(super) fn filter(params: &mut Params) -> TraceFilter {
    let range = params.range();
    let (duration_min_ns, duration_max_ns) = params.durations();
    let (status, facts) = facts::read(params);
    TraceFilter {
        range,
        service: params.text("service"),
        name: params.text("name"),
        status,
        duration_min_ns,
        duration_max_ns,
        session_id: params.text("session_id"),
        user_id: params.text("user_id"),
        tokens_min: params.tokens_min(),
        cost_min_nano_usd: params.cost_min_nano_usd(),
        facts,
        attributes: params.attributes(),
    }
}

/// A turn to read a trace: each may hold tens of megabytes.
///
/// # Errors
/// Too many are being read for as long as a query may take.
pub(super) async fn permit(shared: &Shared) -> Result<SemaphorePermit<'_>, Problem> {
    let waited = tokio::time::timeout(
        shared.config.query_timeout.0,
        shared.trace_permits.acquire(),
    );
    match waited.await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::new(
            Code::StorageUnavailable,
            "too many traces are being read",
        )),
    }
}

/// `GET /api/v1/traces/{trace_id}`: the trace and its spans in start order.
pub(super) async fn detail(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    Path(trace_id): Path<String>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let trace_id = params.path_id("trace_id", &trace_id);
    let words = [("json", Format::Json), ("otlp", Format::Otlp)];
    let format = params.choice("format", &words);
    let format = format.unwrap_or_else(|| accepted_format(&headers));
    let spans_max = shared.config.trace_spans_max;
    let (page, binding) = params.finish_page(&shared, spans_max, spans_max)?;
    let trace_id = trace_id.ok_or_else(Problem::internal)?;
    let _permit = permit(&shared).await?;
    let found = shared.reader.trace(caller.project, trace_id, &page).await?;
    let trace = found.ok_or_else(|| Problem::new(Code::NotFound, "no such trace"))?;
    let events = match format {
        // They come with the first page.
        Format::Json if page.after.is_none() => {
            let events = shared.reader.events_of(caller.project, trace_id, None);
            events.await?
        }
        Format::Json | Format::Otlp => SpanEvents::default(),
    };
    let next = trace.next.as_ref();
    let next_cursor = next.map(|cursor| shared.cursors().seal(&binding, cursor));
    let next_header = match (&next_cursor, format) {
        (Some(cursor), Format::Otlp) => HeaderValue::try_from(cursor).ok(),
        _ => None,
    };
    let json = render_apart(move || match format {
        Format::Json => render::write_trace(trace, events, next_cursor.as_deref()),
        Format::Otlp => render::write_otlp(&trace.spans),
    });
    let mut response = json.await?.into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if let Some(next) = next_header {
        headers.insert(NEXT_CURSOR, next);
    }
    Ok(response)
}

/// How a trace is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Our own JSON.
    Json,
    /// OTLP/JSON `TracesData`.
    Otlp,
}

impl Format {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Otlp => "application/json; profile=otlp",
        }
    }
}

/// `Accept: application/json; profile=otlp` asks for OTLP; everything else gets our JSON.
fn accepted_format(headers: &HeaderMap) -> Format {
    let accepted = headers.get_all(ACCEPT).iter();
    let ranges = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let is_json = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
        let is_otlp = |part: &str| {
            let profile = part.split_once('=').map(|(name, value)| {
                name.eq_ignore_ascii_case("profile") && value.trim_matches('"') == "otlp"
            });
            profile == Some(true)
        };
        if is_json && parts.any(is_otlp) {
            return Format::Otlp;
        }
    }
    Format::Json
}

/// Runs the rendering of a large answer beside the threads that serve everybody else. How many
/// run at once is bounded by the trace permits.
pub(super) async fn render_apart<F>(render: F) -> Result<Vec<u8>, Problem>
where
    F: FnOnce() -> Result<Vec<u8>, crate::storage::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(render).await {
        Ok(rendered) => Ok(rendered?),
        Err(_) => Err(Problem::internal()),
    }
}
