//! Taking traces and spans in JSON of their own: at once (`batch`) or soon (`async`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::time::Instant;

use super::super::Shared;
use super::answer::{self, Refused};
use super::body::{self, Taken};
use super::caller::Keyed;
use super::record::Record;
use super::{load, render};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::otlp::Signal;
use crate::pipeline::Transport;
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::records::{self, Ids};
use crate::receivers::pulse::schema::{self, Item, Schema};
use crate::storage::StoredSpan;

/// How long an answer waits until what was taken is stored.
const STORED_WITHIN: Duration = Duration::from_secs(10);
/// Pauses between two looks, the first and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a route takes.
struct Sort {
    schema: &'static Schema,
    ids: fn(&Item) -> Ids,
    request: fn(&[&Item]) -> ExportTraceServiceRequest,
    /// Said when nothing can be taken now.
    busy: &'static str,
}

static TRACES: Sort = Sort {
    schema: &schema::TRACE,
    ids: records::trace_ids,
    request: |items| records::traces(items.iter().copied()),
    busy: "Failed to enqueue trace",
};

static SPANS: Sort = Sort {
    schema: &schema::SPAN,
    ids: records::span_ids,
    request: |items| records::spans(items.iter().copied()),
    busy: "Failed to enqueue span",
};

/// `POST /v1/traces/batch`.
pub(super) async fn traces_batch(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    request: Request,
) -> Result<Response, Refused> {
    let (stored, skipped) = batch(&shared, keyed.project, request, &TRACES).await?;
    let project = keyed.project.to_string();
    let traces = stored.iter().map(Record::of);
    let traces: Vec<_> = traces
        .map(|record| render::first_generation(&record, &project))
        .collect();
    let mut entries = vec![("count", Json::count(traces.len()))];
    if skipped > 0 {
        entries.push(("skipped", Json::count(skipped)));
    }
    entries.push(("traces", Json::List(traces)));
    Ok(answer::json(StatusCode::ACCEPTED, &Json::map(entries)))
}

/// `POST /v1/spans/batch`.
pub(super) async fn spans_batch(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    request: Request,
) -> Result<Response, Refused> {
    let (stored, skipped) = batch(&shared, keyed.project, request, &SPANS).await?;
    let project = keyed.project.to_string();
    let spans = stored.iter().map(Record::of);
    let spans: Vec<_> = spans
        .map(|record| render::span(&record, &project))
        .collect();
    let body = Json::map([
        ("count", Json::count(spans.len())),
        ("skipped", Json::count(skipped)),
        ("spans", Json::List(spans)),
    ]);
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}

/// `POST /v1/traces/async`.
pub(super) async fn traces_async(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    request: Request,
) -> Result<Response, Refused> {
    queue(&shared, keyed.project, request, &TRACES).await
}

/// `POST /v1/spans/async`.
pub(super) async fn spans_async(
    State(shared): State<Arc<Shared>>,
    keyed: Keyed,
    request: Request,
) -> Result<Response, Refused> {
    queue(&shared, keyed.project, request, &SPANS).await
}

async fn queue(
    shared: &Shared,
    project: ProjectId,
    request: Request,
    sort: &Sort,
) -> Result<Response, Refused> {
    let (mut taken, items) = take(shared, request, sort).await?;
    append(&mut taken, project, sort, &items.iter().collect::<Vec<_>>()).await?;
    let body = Json::map([
        ("status", Json::text("queued")),
        ("count", Json::count(items.len())),
    ]);
    Ok(answer::json(StatusCode::ACCEPTED, &body))
}

/// Takes what is not stored yet and waits until it is; answers it as it is stored, and how many
/// were stored before.
async fn batch(
    shared: &Shared,
    project: ProjectId,
    request: Request,
    sort: &Sort,
) -> Result<(Vec<StoredSpan>, usize), Refused> {
    let (mut taken, items) = take(shared, request, sort).await?;
    let ids: Vec<Ids> = items.iter().map(sort.ids).collect();
    let turn = load::turn(shared).await?;
    let known = load::stored(shared, project, &pairs(&ids)).await?;
    drop(turn);
    let mut seen = HashSet::new();
    let new: Vec<(&Item, Ids)> = items
        .iter()
        .zip(&ids)
        .zip(&known)
        .filter(|((_, ids), known)| known.is_none() && seen.insert(**ids))
        .map(|((item, ids), _)| (item, *ids))
        .collect();
    drop(known);
    let skipped = items.len() - new.len();
    let (new_items, new_ids): (Vec<&Item>, Vec<Ids>) = new.into_iter().unzip();
    append(&mut taken, project, sort, &new_items).await?;
    drop(taken);
    await_stored(shared, project, new_ids.last()).await?;
    // Others have their turn while this one waits to be stored.
    let _turn = load::turn(shared).await?;
    let stored = load::stored(shared, project, &pairs(&new_ids)).await?;
    Ok((stored.into_iter().flatten().collect(), skipped))
}

fn pairs(ids: &[Ids]) -> Vec<(TraceId, SpanId)> {
    ids.iter().map(|ids| (ids.trace, ids.span)).collect()
}

async fn take<'s>(
    shared: &'s Shared,
    request: Request,
    sort: &Sort,
) -> Result<(Taken<'s>, Vec<Item>), Refused> {
    let refused = |failure| body::refused(&failure, sort.busy);
    let mut taken = body::read(shared, Transport::HttpJson, request)
        .await
        .map_err(refused)?;
    let json = taken.json().await.map_err(refused)?;
    let checked = sort.schema.check(json);
    let items = checked.map_err(|issues| Refused::invalid("Validation failed", issues))?;
    Ok((taken, items))
}

/// Makes items durable.
async fn append(
    taken: &mut Taken<'_>,
    project: ProjectId,
    sort: &Sort,
    items: &[&Item],
) -> Result<(), Refused> {
    if items.is_empty() {
        return Ok(());
    }
    let payload = (sort.request)(items).encode_to_vec();
    let refused = |failure| body::refused(&failure, sort.busy);
    taken.admission.reserve(payload.len()).map_err(refused)?;
    let (ingest, admission) = (taken.ingest, &mut taken.admission);
    let appended = ingest.export(admission, Signal::Traces, project, payload.into());
    let accepted = appended.await.map_err(refused)?;
    if accepted.rejected > 0 {
        let reason = accepted.error_message;
        tracing::error!(reason, "spans made of valid items were rejected");
        return Err(Refused::internal());
    }
    Ok(())
}

/// Waits until the last span of a request is stored; the others are stored before it.
async fn await_stored(
    shared: &Shared,
    project: ProjectId,
    last: Option<&Ids>,
) -> Result<(), Refused> {
    let Some(last) = last else {
        return Ok(());
    };
    let deadline = Instant::now() + STORED_WITHIN;
    let mut pause = PAUSE_MIN;
    loop {
        let found = shared.reader.span(project, last.trace, last.span).await;
        if let Ok(Some(_)) = found {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let sentence = "Taken and safe, but not stored yet; it will be";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, sentence));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
