//! Connecting to a server named by a URL, in the clear or over TLS; for the commands that talk to a
//! running daemon, and for sending what was received elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest time to connect, TLS included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no URL of a server.
    #[error("{0}: expected http://host:port or https://host:port")]
    Url(String),
    /// A file of authorities can't be read.
    #[error("read {path}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// TLS can't be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
    /// Authorities are named for a server that shows no certificate.
    #[error("a file of authorities is given, but the URL is not https://")]
    NotTls,
    /// There is nothing to check a certificate against.
    #[error("there are no certificate authorities; name some with --ca-file or ca_file")]
    NoAuthorities,
    /// Our own certificate or its key can't be read.
    #[error("read {path}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// What the server's certificate is to be for is no name.
    #[error("{0}: expected the name of a server")]
    ServerName(String),
    /// The server can't be reached.
    #[error("connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
}

/// A connection, whatever it is made of.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a TLS server is talked to.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientTls<'a> {
    /// PEM file of authorities; the system's when absent.
    pub authorities: Option<&'a Path>,
    /// PEM files of our own certificate and its key, where the server wants one.
    pub identity: Option<(&'a Path, &'a Path)>,
    /// What the server's certificate must be for, when that is not the URL's host.
    pub server_name: Option<&'a str>,
    /// Protocols to choose from (ALPN).
    pub protocols: &'a [&'a [u8]],
}

/// A server to connect to.
#[derive(Clone)]
pub struct Dialer {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Dialer");
        shown.field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Dialer {
    /// For a URL, whose scheme may be left out; `authorities` is a PEM file, the system's when absent.
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// All but [`Error::Connect`].
    pub fn new(endpoint: &str, authorities: Option<&Path>) -> Result<Self, Error> {
        let tls = ClientTls {
            authorities,
            ..ClientTls::default()
        };
        Self::with_tls(endpoint, &tls)
    }

    /// For a URL, whose scheme may be left out, and says whether TLS is used. Connects to nothing
    /// yet; files are read once.
    ///
    /// # Errors
    /// All but [`Error::Connect`].
    pub fn with_tls(endpoint: &str, tls: &ClientTls<'_>) -> Result<Self, Error> {
        let uri = parse(endpoint).ok_or_else(|| Error::Url(endpoint.to_owned()))?;
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = match is_tls {
            false if tls.authorities.is_some() => return Err(Error::NotTls),
            true => {
                let name = tls.server_name.unwrap_or(&host).to_owned();
                let parsed = ServerName::try_from(name.clone());
                let parsed = parsed.map_err(|_| match tls.server_name {
                    Some(_) => Error::ServerName(name),
                    None => Error::Url(endpoint.to_owned()),
                });
                Some((connector(tls)?, parsed?))
            }
            false => None,
        };
        Ok(Self {
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            host,
            uri,
            tls,
        })
    }

    /// The URL.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let connecting = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match &self.tls {
                None => Box::new(stream),
                Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
            };
            Ok(stream)
        };
        let connected = tokio::time::timeout(TIMEOUT, connecting).await;
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        connected
            .unwrap_or_else(|_| late())
            .map_err(|source| Error::Connect {
                address: format!("{}:{}", self.host, self.port),
                source,
            })
    }
}

fn parse(endpoint: &str) -> Option<Uri> {
    let text = match endpoint.contains("://") {
        true => endpoint.to_owned(),
        false => format!("http://{endpoint}"),
    };
    let uri: Uri = text.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    // A password in a URL would be shown and logged.
    let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    (is_http && !has_user && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

fn connector(tls: &ClientTls<'_>) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    match tls.authorities {
        Some(path) => {
            let failed = |source| Error::Authorities {
                path: path.to_owned(),
                source,
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
                roots.add(certificate.map_err(failed)?)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(Error::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match tls.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let failed = |path: &Path| {
                let path = path.to_owned();
                move |source| Error::Identity { path, source }
            };
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .map_err(failed(certificate))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    let protocols = tls.protocols.iter().map(|name| name.to_vec());
    config.alpn_protocols = protocols.collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_lack_its_scheme() {
        let at = |text: &str| Dialer::new(text, None).map(|it| (it.host.clone(), it.port));
        assert_eq!(
            at("127.0.0.1:3000").unwrap(),
            ("127.0.0.1".to_owned(), 3000)
        );
        assert_eq!(at("http://[::1]:9/x").unwrap(), ("::1".to_owned(), 9));
        assert_eq!(at("http://pulse.example").unwrap().1, 80);
        for wrong in ["ftp://c", "", "http://", "http://a b", "https://me:pw@c"] {
            assert!(matches!(at(wrong), Err(Error::Url(_))), "{wrong}");
        }
        let plain = Dialer::new("c:1", Some(Path::new("ca.pem")));
        assert!(matches!(plain, Err(Error::NotTls)));
        let missing = Dialer::new("https://c", Some(Path::new("/nowhere/ca.pem")));
        assert!(matches!(missing, Err(Error::Authorities { .. })));
    }
}
