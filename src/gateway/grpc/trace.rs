//! `TraceQuery.GetTrace`.

mod encode;
mod span;

use bytes::Bytes;
use prost::Message as _;

use super::request::{self, Pairs};
use super::{Asked, Method};
use crate::gateway::problem::{Code, Problem};
use crate::gateway::{Shared, traces};
use crate::model::TraceId;
use crate::otlp::Failure;
use crate::receivers::native::proto::{GetTraceRequest, GetTraceResponse};
use crate::storage::{Cursor, SpanEvents, StoredTrace};
use encode::Encoded;

/// What gRPC clients read unless told otherwise, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Of an answer, what is not spans: the summary and the token are less than this, in bytes.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Spans that are read for a page when the client does not say: as many of 4 KiB fill an answer.
const PAGE_SIZE_DEFAULT: u32 = 1000;

/// Names of what can be asked; no route has them.
const KNOWN: [&str; 3] = ["trace_id", "limit", "cursor"];

/// Answers a trace and a page of its spans.
pub(super) async fn get(shared: &Shared, asked: &Asked) -> Result<Bytes, Failure> {
    let request: GetTraceRequest = request::read(&asked.message)?;
    let pairs = Pairs::default()
        .trace_id(&request.trace_id)
        .unless_zero("limit", request.page_size)
        .text("cursor", request.page_token);
    let named = (KNOWN.as_slice(), Method::GetTrace);
    let mut params = pairs.named(shared, asked, named).await?;
    request::check_trace_id(&mut params, &request.trace_id, false);
    let spans_max = shared.config.trace_spans_max;
    let (page, binding) = params.finish_page(shared, PAGE_SIZE_DEFAULT, spans_max)?;
    let trace_id = TraceId::from_bytes(&request.trace_id).ok_or(Failure::Internal)?;
    let _permit = traces::permit(shared).await?;
    let found = shared.reader.trace(asked.project, trace_id, &page).await?;
    let trace = found.ok_or_else(|| Problem::new(Code::NotFound, "no such trace"))?;
    let tells_of_models = trace.spans.iter().any(|span| span.summary.genai.is_some());
    let events = match tells_of_models {
        true => {
            shared
                .reader
                .events_of(asked.project, trace_id, None)
                .await?
        }
        false => SpanEvents::default(),
    };
    let cursors = shared.cursors();
    let rendered = traces::render_apart(move || {
        encoded(trace, &events, |cursor| cursors.seal(&binding, cursor))
    });
    Ok(rendered.await?.into())
}

/// The answer in protobuf, cut where it is as large as clients read.
fn encoded(
    trace: StoredTrace,
    events: &SpanEvents,
    seal: impl Fn(&Cursor) -> String,
) -> Result<Vec<u8>, crate::storage::Error> {
    let Encoded {
        resource_spans,
        spans,
    } = encode::spans(&trace.spans, events, ANSWER_BYTES_MAX - HEAD_BYTES_MAX)?;
    let is_cut = spans < trace.spans.len();
    let last = spans.checked_sub(1).and_then(|last| trace.spans.get(last));
    let next = match last {
        Some(last) if is_cut => Some(last.summary.cursor()),
        _ => trace.next,
    };
    let head = GetTraceResponse {
        trace: Some(trace.summary.into()),
        resource_spans: Vec::new(),
        next_page_token: next.map_or_else(String::new, |cursor| seal(&cursor)),
    };
    // Encoded parts in a row are the encoding of the whole.
    let mut answer = head.encode_to_vec();
    answer.extend_from_slice(&resource_spans);
    Ok(answer)
}
