//! The HTTP query API.
//!
//! Nearly every route is a GET (and HEAD) that asks the store one bounded question; what a project
//! settles for itself is the only thing that is written. Layers,
//! outermost first: the envelope (request id, panics, problem bodies, cache headers), then the
//! routes of `routes`. Each handler reads its `params`, asks the [`SpanReader`] for the
//! project of its `caller`, which nobody gets around, and `render`s the answer. What goes wrong is a `problem`.

mod analytics;
mod assets;
mod body;
mod caller;
mod control;
mod cursor;
mod envelope;
mod events;
mod facts;
mod family;
mod grpc;
mod invites;
mod issues;
mod listen;
mod lists;
mod metrics;
mod models;
mod params;
mod pieces;
mod prices;
mod problem;
mod pulse;
mod quotas;
mod render;
mod routes;
mod search;
mod sessions;
mod shares;
mod spans;
mod tail;
mod traces;
mod websocket;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::extract::{self, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Extension, Json, Router, middleware};
use http::{Method, Uri};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::auth::Gate;
use crate::config::{ByteSize, Duration};
use crate::net::{cors, tls};
use crate::pipeline::Ingest;
use crate::pricing;
use crate::service::tasks::Tasks;
use crate::storage::access::AccessStore;
use crate::storage::issues::IssueStore;
use crate::storage::settings::ProjectSettings;
use crate::storage::{Page, SpanReader};
use crate::telemetry::metrics::Metrics;
use cursor::{Binding, Cursors};
use envelope::RequestIds;
use problem::{Code, Problem};
use pulse::PeopleRoute;
use tail::Hub;

pub use listen::Listener;

/// Traces rendered at once: each may hold tens of megabytes.
const TRACES_AT_ONCE: usize = 4;
/// Searches run at once: each has a connection of the store for as long as it runs, and all share
/// the same few threads.
const SEARCHES_AT_ONCE: usize = 2;
/// Questions of the older servers' routes at once, for the same reason: they read whole traces and
/// count whole lists.
const PULSE_AT_ONCE: usize = 2;

/// `gateway`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port` to listen on.
    pub endpoint: String,
    /// TLS; absent means cleartext.
    pub tls: Option<tls::Config>,
    /// Cross-origin rules; absent means browsers of other origins are refused.
    pub cors: Option<cors::Config>,
    /// Origins whose pages may use the cookie of a session, each as a browser says it
    /// (`https://board.example.com`). The gateway's own origin always may.
    pub allowed_origins: Vec<String>,
    /// Whether what a proxy says of the client is believed: `x-forwarded-for` and
    /// `x-forwarded-proto`. Only where nobody reaches the gateway but through a proxy that sets both.
    pub trust_forwarded: bool,
    /// Whether each request is a line of the log: when it was answered, who asked for which route, the
    /// status, how long it took. Never what was asked or answered.
    pub access_log: bool,
    /// A built dashboard to serve beside the API; absent means none.
    pub dashboard: Option<assets::Config>,
    /// Largest page a list answers.
    pub page_size_max: u32,
    /// Spans of one trace answered at most; a larger trace is answered in pages.
    pub trace_spans_max: u32,
    /// Clients that follow the feed at once (`/api/v1/tail`).
    pub max_tail_watchers: u32,
    /// Longest time one query may take.
    pub query_timeout: Duration,
    /// Largest header section, in bytes.
    pub max_header_list_size: ByteSize,
    /// Connections open at once; more wait in the accept queue.
    pub max_connections: u32,
    /// Longest time the header section may take.
    pub read_header_timeout: Duration,
    /// A kept-alive connection without a request for this long is closed.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: "127.0.0.1:3000".to_owned(),
            tls: None,
            cors: None,
            allowed_origins: Vec::new(),
            trust_forwarded: false,
            access_log: false,
            dashboard: None,
            page_size_max: 1000,
            trace_spans_max: 10_000,
            max_tail_watchers: 1000,
            query_timeout: Duration::seconds(10),
            max_header_list_size: ByteSize::kib(16),
            max_connections: 1024,
            read_header_timeout: Duration::seconds(10),
            idle_timeout: Duration::seconds(60),
        }
    }
}

/// What the gateway is built from.
#[derive(Clone)]
pub struct State {
    /// Answers the queries.
    pub reader: Arc<dyn SpanReader>,
    /// Who may ask.
    pub gate: Gate,
    /// Projects and keys.
    pub access: Arc<dyn AccessStore>,
    /// Issues, and the latest events of a source.
    pub issues: Arc<dyn IssueStore>,
    /// What projects have settled.
    pub settings: Arc<dyn ProjectSettings>,
    /// Limits of pages and time.
    pub config: Config,
    /// What model calls cost.
    pub prices: pricing::Table,
    /// The way in, for the routes of the older servers; nothing is taken where there is none.
    pub ingest: Option<Ingest>,
    /// Our own metrics.
    pub metrics: Metrics,
    /// Runs what goes on behind requests, and says when to end.
    pub tasks: Tasks,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("State")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What handlers share.
struct Shared {
    reader: Arc<dyn SpanReader>,
    gate: Gate,
    access: Arc<dyn AccessStore>,
    issues: Arc<dyn IssueStore>,
    settings: Arc<dyn ProjectSettings>,
    config: Config,
    prices: pricing::Table,
    ingest: Option<Ingest>,
    metrics: Metrics,
    request_ids: RequestIds,
    /// Bounds the memory of trace answers.
    trace_permits: Semaphore,
    /// Bounds the connections that searches have.
    search_permits: Semaphore,
    /// Bounds what routes of the older servers read, and how much of the store they keep busy.
    pulse_permits: Semaphore,
    /// Who follows the feed.
    tail: Arc<Hub>,
    /// Who follows it as PulseBoard's clients do.
    live: family::Sessions,
}

impl Shared {
    fn new(state: State) -> Self {
        let tail = Hub::new(
            Arc::clone(&state.reader),
            state.tasks,
            state.config.max_tail_watchers,
        );
        Self {
            tail: Arc::new(tail),
            live: family::Sessions::new(state.config.max_tail_watchers),
            reader: state.reader,
            gate: state.gate.with_people(
                Arc::clone(&state.access),
                state.config.allowed_origins.clone(),
            ),
            access: state.access,
            issues: state.issues,
            settings: state.settings,
            config: state.config,
            prices: state.prices,
            ingest: state.ingest,
            metrics: state.metrics,
            request_ids: RequestIds::new(),
            trace_permits: Semaphore::new(TRACES_AT_ONCE),
            search_permits: Semaphore::new(SEARCHES_AT_ONCE),
            pulse_permits: Semaphore::new(PULSE_AT_ONCE),
        }
    }

    /// Seals and opens cursors with the store's key, which a store that was not reached yet may
    /// not know yet.
    fn cursors(&self) -> Cursors {
        Cursors::new(self.reader.cursor_key())
    }
}

/// The API, for the listeners that serve it.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// Builds it; nothing is served yet.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self {
            shared: Arc::new(Shared::new(state)),
        }
    }

    /// The HTTP routes. Listening, TLS, cross-origin rules and connection limits are the caller's.
    pub fn router(&self) -> Router {
        routed(Arc::clone(&self.shared))
    }
}

/// The HTTP routes of a gateway of their own.
pub fn router(state: State) -> Router {
    Gateway::new(state).router()
}

fn routed(shared: Arc<Shared>) -> Router {
    let own = routes::ROUTES.iter().fold(Router::new(), |router, route| {
        let guarded = middleware::from_fn_with_state((Arc::clone(&shared), route), caller::guard);
        let handler = (route.serve)()
            .layer::<_, std::convert::Infallible>(guarded)
            .layer(Extension(route));
        router.route(route.path, named(handler, route.path))
    });
    let with_family = family::ROUTES.iter().fold(own, |router, route| {
        router.route(route.path, named((route.serve)(), route.path))
    });
    let older = pulse::ROUTES.iter().fold(with_family, |router, route| {
        router.route(route.path, named((route.serve)(), route.path))
    });
    pulse::PEOPLE_ROUTES
        .iter()
        .fold(older, |router, PeopleRoute { route, needs }| {
            let state = (Arc::clone(&shared), *needs);
            let guarded = middleware::from_fn_with_state(state, pulse::guard);
            // Around the methods that there are: the others are nothing to anybody.
            let handler = (route.serve)().route_layer(guarded);
            router.route(route.path, named(handler, route.path))
        })
        .fallback(no_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(no_nul))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&shared),
            pulse::origins::wrap,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&shared),
            envelope::wrap,
        ))
        .with_state(shared)
}

/// A handler that says which route it is.
fn named(handler: MethodRouter<Arc<Shared>>, path: &'static str) -> MethodRouter<Arc<Shared>> {
    handler.layer(middleware::map_response(
        move |response: Response| async move { envelope::name_route(response, path) },
    ))
}

/// Nothing that is stored is called by a name with a NUL in it: Postgres has no such texts.
async fn no_nul(request: Request, next: Next) -> Response {
    if request.uri().path().contains("%00") {
        return no_such_route(request.method().clone(), request.uri().clone()).await;
    }
    next.run(request).await
}

/// No route is at this path; a file of the dashboard may be.
async fn no_route(
    extract::State(shared): extract::State<Arc<Shared>>,
    request: Request,
) -> Response {
    let (asked, _) = request.into_parts();
    let (method, uri) = (&asked.method, &asked.uri);
    let is_of_older = pulse::is_ours(uri.path()) || family::not_found(method, uri).is_some();
    if !is_of_older && assets::is_asked_for(method, uri) {
        return assets::answer(shared.config.dashboard.as_ref(), &asked).await;
    }
    no_such_route(asked.method, asked.uri).await
}

async fn no_such_route(method: Method, uri: Uri) -> Response {
    if pulse::is_ours(uri.path()) {
        return pulse::not_found();
    }
    if let Some(not_found) = family::not_found(&method, &uri) {
        return not_found;
    }
    let detail = "nothing is served at this path; see /openapi.json";
    Problem::new(Code::NoSuchRoute, detail).into_response()
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "the allow header names the methods of this path",
    )
}

/// Answers a page of a list.
fn list_answer<T, J>(shared: &Shared, binding: &Binding, page: Page<T>) -> Response
where
    J: From<T> + Serialize,
{
    let next = page.next.as_ref();
    let next_cursor = next.map(|cursor| shared.cursors().seal(binding, cursor));
    let items = page.items.into_iter().map(J::from).collect();
    Json(render::List::<J> { items, next_cursor }).into_response()
}
