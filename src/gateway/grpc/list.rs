//! `TraceQuery.ListTraces`.

use bytes::Bytes;
use prost::Message as _;

use super::request::{self, Pairs};
use super::{Asked, Method};
use crate::gateway::params::PAGE_SIZE_DEFAULT;
use crate::gateway::{Shared, traces};
use crate::otlp::Failure;
use crate::receivers::native::proto::{ListTracesRequest, ListTracesResponse, TraceSummary};

/// Answers a page of traces, newest start first.
pub(super) async fn traces(shared: &Shared, asked: &Asked) -> Result<Bytes, Failure> {
    let request: ListTracesRequest = request::read(&asked.message)?;
    let pairs = Pairs::default()
        .filter(request.filter)
        .unless_zero("limit", request.page_size)
        .text("cursor", request.page_token);
    let like = ("/api/v1/traces", Method::ListTraces);
    let mut params = pairs.of_route(shared, asked, like).await?;
    let filter = traces::filter(&mut params);
    let limit_max = shared.config.page_size_max;
    let (page, binding) = params.finish_page(shared, PAGE_SIZE_DEFAULT, limit_max)?;
    let found = shared.reader.list_traces(asked.project, &filter, &page);
    let found = found.await?;
    let next = found.next.as_ref();
    let next = next.map(|cursor| shared.cursors().seal(&binding, cursor));
    let response = ListTracesResponse {
        traces: found.items.into_iter().map(TraceSummary::from).collect(),
        next_page_token: next.unwrap_or_default(),
    };
    Ok(response.encode_to_vec().into())
}
