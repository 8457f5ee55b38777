//! Sends requests to a daemon's OTLP/HTTP listener, one after the other on one connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::service::tasks::Tasks;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Answers are small; a larger one is an error of the server.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const TRACES_PATH: &str = "/v1/traces";

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is durable, but for these spans.
    Taken { rejected: u64, message: String },
    /// What it holds can't be taken.
    Refused(String),
    /// It may be taken later.
    Later {
        reason: String,
        after: Option<Duration>,
    },
    /// No request can be taken.
    Impossible(String),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where to send, and as whom.
pub(super) struct Client {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    key: Option<HeaderValue>,
    tasks: Tasks,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Client");
        shown.field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Client {
    /// For a URL; a path may be left out. Connects to nothing yet.
    pub(super) fn new(
        endpoint: &str,
        key: Option<&str>,
        authorities: Option<&Path>,
        tasks: Tasks,
    ) -> anyhow::Result<Self> {
        let uri = endpoint_uri(endpoint)?;
        let host = uri.host().unwrap_or_default().to_owned();
        let is_tls = uri.scheme_str() == Some("https");
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = is_tls
            .then(|| {
                let name = ServerName::try_from(bare.clone())?;
                Ok::<_, anyhow::Error>((connector(authorities)?, name))
            })
            .transpose()?;
        let key = key.map(|key| {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.context("the API key holds characters that no key has")?;
            value.set_sensitive(true);
            Ok::<_, anyhow::Error>(value)
        });
        Ok(Self {
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            host: bare,
            uri,
            tls,
            key: key.transpose()?,
            tasks,
            connection: None,
        })
    }

    /// Sends a request. The next one gets a new connection if this one broke off.
    pub(super) async fn send(&mut self, payload: Bytes) -> Answer {
        match tokio::time::timeout(TIMEOUT, self.exchange(payload)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => self.lost(format!("{error:#}")),
            Err(_) => self.lost("no answer in time".to_owned()),
        }
    }

    fn lost(&mut self, reason: String) -> Answer {
        self.connection = None;
        Answer::Later {
            reason,
            after: None,
        }
    }

    async fn exchange(&mut self, payload: Bytes) -> anyhow::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) if connection.is_ready() => connection,
            _ => self.connect().await?,
        };
        let mut request = Request::new(Full::new(payload));
        *request.method_mut() = Method::POST;
        let path = self
            .uri
            .path_and_query()
            .map_or(TRACES_PATH, |it| it.as_str());
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        let authority = self.uri.authority().map_or("", |it| it.as_str());
        headers.insert(header::HOST, HeaderValue::from_str(authority)?);
        let content_type = HeaderValue::from_static("application/x-protobuf");
        headers.insert(header::CONTENT_TYPE, content_type);
        if let Some(key) = &self.key {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        let sent = connection.send_request(request).await;
        let (head, body) = sent.context("send a request")?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        connection.ready().await.ok();
        self.connection = Some(connection);
        let after = head.headers.get(header::RETRY_AFTER);
        let after = after.and_then(|it| it.to_str().ok()?.trim().parse().ok());
        Ok(judge(
            head.status.as_u16(),
            after.map(Duration::from_secs),
            &body,
        ))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let stream = stream
            .context("no connection in time")?
            .context("connect")?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => {
                let shaken = connector.connect(name.clone(), stream).await;
                Box::new(shaken.context("set up TLS")?)
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn("import connection", async move {
            // Whoever sends on it hears that it broke off.
            drop(connection.await);
        });
        Ok(sender)
    }
}

fn endpoint_uri(endpoint: &str) -> anyhow::Result<Uri> {
    let text = if endpoint.contains("://") {
        endpoint.to_owned()
    } else {
        format!("http://{endpoint}")
    };
    let uri: Uri = text
        .parse()
        .with_context(|| format!("{endpoint}: no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        bail!("{endpoint}: expected http://host:port or https://host:port");
    }
    let mut parts = uri.into_parts();
    let has_path = parts
        .path_and_query
        .as_ref()
        .is_some_and(|it| it.path() != "/");
    if !has_path {
        parts.path_and_query = Some(TRACES_PATH.parse()?);
    }
    Ok(Uri::from_parts(parts)?)
}

fn connector(authorities: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        let failed = || format!("read {}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).with_context(failed)? {
            roots.add(certificate.with_context(failed)?)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        bail!("there are no certificate authorities; name some with --ca-file");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What an answer means, by OTLP's rules on which may be tried again.
fn judge(status: u16, after: Option<Duration>, body: &[u8]) -> Answer {
    let said = || {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        format!("{status} {text}")
    };
    match status {
        200..=299 => {
            let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
            let partial = answer.partial_success.unwrap_or_default();
            Answer::Taken {
                rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
                message: partial.error_message,
            }
        }
        408 | 429 | 502 | 503 | 504 => Answer::Later {
            reason: said(),
            after,
        },
        400 | 413 | 422 => Answer::Refused(said()),
        _ => Answer::Impossible(said()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_lack_scheme_and_path() {
        let uri = |text: &str| endpoint_uri(text).unwrap().to_string();
        assert_eq!(uri("127.0.0.1:4318"), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(uri("https://c.example/"), "https://c.example/v1/traces");
        assert_eq!(uri("http://c:1/in?x=1"), "http://c:1/in?x=1");
        for wrong in ["ftp://c", "", "http://"] {
            assert!(endpoint_uri(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_mean_what_otlp_says() {
        let taken = Answer::Taken {
            rejected: 0,
            message: String::new(),
        };
        assert_eq!(judge(200, None, b""), taken);
        for later in [408, 429, 502, 503, 504] {
            assert!(matches!(judge(later, None, b""), Answer::Later { .. }));
        }
        assert_eq!(
            judge(413, None, b"too\nlarge"),
            Answer::Refused("413 toolarge".to_owned())
        );
        for status in [301, 401, 403, 404, 405, 415, 500] {
            assert!(matches!(judge(status, None, b""), Answer::Impossible(_)));
        }
    }
}
