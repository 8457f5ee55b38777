//! `TraceQuery.Tail`: the feed that `GET /api/v1/tail` follows, in protobuf.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use tokio::time::Instant;

use super::request::{self, Pairs};
use super::{Asked, Method, TraceQuery, too_slow};
use crate::gateway::pieces::{self, Text};
use crate::gateway::problem::Problem;
use crate::gateway::tail::{self, Form, Notice, Over, Right, Told, Wanted, Watcher};
use crate::otlp::Failure;
use crate::receivers::native::proto::tail_response::Event;
use crate::receivers::native::proto::{Alive, Following, Missed, TailRequest, TailResponse};
use crate::receivers::otlp::frame;

/// `TailResponse.span`.
const SPAN: u32 = 3;

/// Follows what is stored.
pub(super) async fn follow(
    query: &TraceQuery,
    asked: Asked,
) -> Result<BoxStream<'static, Result<Bytes, Failure>>, Failure> {
    let shared = &query.shared;
    let request: TailRequest = request::read(&asked.message)?;
    let pairs = Pairs::default()
        .filter(request.filter)
        .trace_id(&request.trace_id)
        .unless_zero("rate", request.rate)
        .text("last_event_id", request.resume_after);
    let like = ("/api/v1/tail", Method::Tail);
    let mut params = pairs.of_route(shared, &asked, like).await?;
    request::check_trace_id(&mut params, &request.trace_id, true);
    let following = tail::read(&mut params, &HeaderMap::new());
    params.finish()?;
    let (headers, uri) = asked.credentials;
    let wanted = Wanted {
        project: asked.project,
        filters: following.filters,
        form: Form::Protobuf,
        rate: following.rate,
        resume: following.resume,
        who: asked.who,
        right: Right::CredentialAt(query.gate.clone(), headers, uri),
    };
    let watcher = Watcher::begin(shared, wanted)
        .await
        .map_err(Problem::from)?;
    Ok(messages(watcher, asked.deadline).boxed())
}

/// What is said, until the client's time is up, the daemon drains or the client may no longer ask.
fn messages(
    watcher: Watcher,
    deadline: Option<Instant>,
) -> impl futures_util::Stream<Item = Result<Bytes, Failure>> {
    let told = watcher.into_stream().map_err(failure);
    let said = pieces::told_in(told, framed).boxed();
    stream::unfold(said, move |mut messages| async move {
        let is_over = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let said = tokio::select! {
            said = messages.next() => said?,
            () = is_over => Err(too_slow("the time that the client gave the call is up")),
        };
        Some((said, messages))
    })
}

fn failure(over: Over) -> Failure {
    match over {
        Over::Draining => Failure::ShuttingDown,
        Over::NotAllowed(denied) => Problem::from(denied).into(),
    }
}

/// What is told as a framed message.
fn framed(told: Told) -> Text {
    let event_id = told.id.to_string();
    let event = match told.what {
        Notice::Stored(_, span) => return stored(event_id, span),
        Notice::Following => Event::Following(Following {}),
        Notice::Alive => Event::Alive(Alive {}),
        Notice::Missed(tail::Missed { unseen, over_rate }) => {
            Event::Missed(Missed { unseen, over_rate })
        }
    };
    let event = Some(event);
    let mut out = BytesMut::new();
    frame(&mut out, &TailResponse { event_id, event });
    Text::new(out, Bytes::new(), "")
}

/// A span, which was encoded once for all who follow.
fn stored(event_id: String, span: Bytes) -> Text {
    let event = None;
    let mut message = TailResponse { event_id, event }.encode_to_vec();
    encode_key(SPAN, WireType::LengthDelimited, &mut message);
    encode_varint(span.len() as u64, &mut message);
    let length = message.len() + span.len();
    let mut out = BytesMut::with_capacity(message.len() + 8);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.extend_from_slice(&message);
    Text::new(out, span, "")
}
