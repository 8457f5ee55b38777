//! `pulse.trace.v1.TraceQuery`: the questions of the query API that gRPC clients ask, beside the
//! receiver on its port.
//!
//! What a question may say, and what is answered, is the same as over HTTP: a `request` is read as the
//! parameters of a route, problems become `failure`s, and the store is asked through the same limits.

mod failure;
mod list;
mod request;
pub(super) mod summary;
mod tail;
mod trace;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use tokio::time::Instant;
use tonic::body::Body;
use tracing::Instrument as _;

use super::envelope::{NO_ROUTE, REQUEST_ID};
use super::problem::Problem;
use super::{Gateway, Shared};
use crate::auth::{Gate, Who};
use crate::model::ProjectId;
use crate::model::access::Scope;
use crate::otlp::Failure;
use crate::receivers::otlp::{Beside, Wire};

/// Full name of the service.
const NAME: &str = "pulse.trace.v1.TraceQuery";

/// The service.
#[derive(Clone)]
struct TraceQuery {
    shared: Arc<Shared>,
    /// The way in of the gRPC port, for those who ask.
    gate: Gate,
}

impl fmt::Debug for TraceQuery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TraceQuery").finish_non_exhaustive()
    }
}

impl Gateway {
    /// The questions that gRPC clients ask, for the receiver's port. `gate` is the way in of that port.
    #[must_use]
    pub fn trace_query(&self, gate: Gate) -> Arc<dyn Beside> {
        let shared = Arc::clone(&self.shared);
        let origins = shared.config.allowed_origins.clone();
        let gate = gate.with_people(Arc::clone(&shared.access), origins);
        Arc::new(TraceQuery { shared, gate })
    }
}

/// A method of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    GetTrace,
    ListTraces,
    Tail,
}

impl Method {
    const ALL: [Self; 3] = [Self::GetTrace, Self::ListTraces, Self::Tail];

    /// Its path, which is what it is called in metrics, too.
    const fn path(self) -> &'static str {
        match self {
            Self::GetTrace => "/pulse.trace.v1.TraceQuery/GetTrace",
            Self::ListTraces => "/pulse.trace.v1.TraceQuery/ListTraces",
            Self::Tail => "/pulse.trace.v1.TraceQuery/Tail",
        }
    }

    fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.path() == path)
    }
}

/// Who asks, and with what.
struct Asked {
    project: ProjectId,
    who: Who,
    message: Bytes,
    /// What the caller was let in for.
    credentials: (HeaderMap, Uri),
    /// When the client no longer waits.
    deadline: Option<Instant>,
}

/// What a call comes to.
enum Answer {
    /// An encoded message.
    One(Bytes),
    /// Framed messages, until something ends them.
    Many(BoxStream<'static, Result<Bytes, Failure>>),
}

impl Beside for TraceQuery {
    fn name(&self) -> &'static str {
        NAME
    }

    fn call(&self, request: Request<Incoming>, wire: Wire) -> BoxFuture<'static, Response<Body>> {
        self.clone().answer(request, wire).boxed()
    }
}

impl TraceQuery {
    /// Answers a call, as the envelope of the HTTP routes does: with a request id, counted, and
    /// whatever happens in it.
    async fn answer(self, request: Request<Incoming>, wire: Wire) -> Response<Body> {
        let shared = Arc::clone(&self.shared);
        let request_id = shared.request_ids.choose(request.headers());
        let id_text = request_id.to_str().unwrap_or_default().to_owned();
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        let asked_headers = request.headers().clone();
        let nobody = tracing::field::Empty;
        let span = tracing::info_span!(
            "query",
            request_id = id_text,
            path,
            project = nobody,
            by = nobody
        );
        let method = Method::of(&path);
        let work = Box::pin(self.in_time(method, request, &wire));
        let answered = AssertUnwindSafe(work)
            .catch_unwind()
            .instrument(span.clone())
            .await;
        let answered = answered.unwrap_or_else(|_panic| {
            tracing::error!(request_id = id_text, "query handler panicked");
            Err(Failure::Internal)
        });
        // For HTTP and gRPC alike, so that one rule watches both.
        let code = answered
            .as_ref()
            .map_or_else(|failure| failure.http_status().as_u16(), |_| 200);
        let mut response = match answered {
            Ok(Answer::One(message)) => wire.answer(&asked_headers, message).await,
            Ok(Answer::Many(messages)) => wire.stream(messages),
            Err(failure) => wire.failed(&failure),
        };
        let elapsed = started.elapsed();
        let route = method.map_or(NO_ROUTE.0, Method::path);
        shared.metrics.gateway_request(route, code, elapsed);
        if shared.config.access_log {
            let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            span.in_scope(|| tracing::info!(method = "POST", route, status = code, ms, "answered"));
        }
        response.headers_mut().insert(REQUEST_ID, request_id);
        response
    }

    async fn in_time(
        &self,
        method: Option<Method>,
        request: Request<Incoming>,
        wire: &Wire,
    ) -> Result<Answer, Failure> {
        let limit = wire.time_limit(request.headers())?;
        let answered = tokio::time::timeout(limit, self.serve(method, request, wire));
        answered
            .await
            .unwrap_or_else(|_elapsed| Err(too_slow("the question was not answered in time")))
    }

    async fn serve(
        &self,
        method: Option<Method>,
        request: Request<Incoming>,
        wire: &Wire,
    ) -> Result<Answer, Failure> {
        let (head, body) = request.into_parts();
        let Some(method) = method else {
            return Err(Failure::NotServed {
                what: head.uri.path().chars().take(128).collect(),
            });
        };
        let admitted = self.gate.admit(&head.headers, &head.uri, Scope::Read).await;
        let principal = admitted.map_err(Problem::from)?;
        let now = Instant::now();
        let limit = wire.asked_time_limit(&head.headers)?;
        let asked = Asked {
            project: principal.project,
            who: principal.who,
            message: wire.question(&head.headers, body).await?,
            credentials: (head.headers, head.uri),
            deadline: limit.and_then(|limit: Duration| now.checked_add(limit)),
        };
        Ok(match method {
            Method::GetTrace => Answer::One(trace::get(&self.shared, &asked).await?),
            Method::ListTraces => Answer::One(list::traces(&self.shared, &asked).await?),
            Method::Tail => Answer::Many(tail::follow(self, asked).await?),
        })
    }
}

fn too_slow(message: &str) -> Failure {
    Failure::TooSlow {
        message: message.to_owned(),
    }
}
