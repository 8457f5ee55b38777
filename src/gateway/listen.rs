//! The gateway's listener: bound first, served later, with cross-origin rules around the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use tower::Service;

use super::problem::{Code, Problem};
use super::{Config, Gateway, pulse};
use crate::net::cors::Cors;
use crate::net::listener::{self, Bound, Error, Limits};
use crate::net::tls;
use crate::otlp::Failure;
use crate::service::tasks::Tasks;

const WHAT: &str = "gateway";

/// The gateway with its address reserved; serves nothing until started.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
    tls: Option<tls::Acceptor>,
    limits: Limits,
}

impl Listener {
    /// Reserves the address and loads the certificate.
    ///
    /// # Errors
    /// One line that names the setting, when the address or certificate can't be used.
    pub fn bind(config: &Config) -> Result<Self, Error> {
        let limits = Limits {
            max_connections: config.max_connections,
            max_header_list_size: u32::try_from(config.max_header_list_size.0).unwrap_or(u32::MAX),
            read_header_timeout: config.read_header_timeout.0,
            idle_timeout: Some(config.idle_timeout.0).filter(|timeout| !timeout.is_zero()),
            ..Limits::default()
        };
        Ok(Self {
            bound: listener::bind(WHAT, &config.endpoint)?,
            tls: listener::load_tls(WHAT, config.tls.as_ref(), tls::ALPN_HTTP)?,
            limits,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.bound.address()
    }

    /// Serves the API until the daemon drains.
    ///
    /// # Errors
    /// See [`listener::serve`]. Must be called within a Tokio runtime.
    pub fn serve(self, gateway: &Gateway, tasks: &Tasks) -> Result<(), Error> {
        let cors = gateway.shared.config.cors.as_ref().map(Cors::from_config);
        let service = WithCors {
            cors,
            router: gateway.router(),
        };
        listener::serve(self.bound, self.limits, self.tls, service, refuse, tasks)
    }
}

/// Answers requests that never reach the router.
fn refuse(failure: &Failure, _: Option<&HeaderValue>) -> Response<Body> {
    let code = match failure {
        Failure::HeadersTooLarge => Code::HeadersTooLarge,
        Failure::RequestTimeout => Code::RequestTimeout,
        Failure::Internal => Code::Internal,
        _ => Code::InvalidRequest,
    };
    Problem::new(code, failure.to_string()).into_unnamed_response()
}

/// Cross-origin rules around the router: preflights are answered before anything else.
#[derive(Clone)]
struct WithCors {
    cors: Option<Cors>,
    router: Router,
}

impl Service<Request<Incoming>> for WithCors {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        // Some paths, as those that cookies are for, have rules of their own.
        let is_meant = !pulse::has_own_origins(request.uri().path());
        let Some(cors) = self.cors.clone().filter(|_| is_meant) else {
            return Service::call(&mut self.router, request).boxed();
        };
        if let Some(preflight) = cors.preflight(&request, "GET, HEAD") {
            return std::future::ready(Ok(preflight.map(|()| Body::empty()))).boxed();
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let answer = Service::call(&mut self.router, request);
        async move {
            let mut response = answer.await.into_response();
            cors.decorate(response.headers_mut(), origin.as_ref());
            Ok(response)
        }
        .boxed()
    }
}
