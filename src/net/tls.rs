//! TLS for listeners: load, check, reload without a restart.
//!
//! Files that can't be used stop the start with one line that names the file. Later a bad file is
//! logged and the certificate in use stays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Duration;
use crate::service::tasks::Tasks;

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// PEM file with the certificate chain, leaf first.
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
    /// PEM file with the authorities that client certificates must chain to (mutual TLS).
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Lowest protocol version: `1.2` or `1.3`.
    #[serde(default)]
    pub min_version: MinVersion,
    /// How often the files are checked for a change.
    #[serde(default = "default_reload_interval")]
    pub reload_interval: Duration,
}

/// Lowest TLS version a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

fn default_reload_interval() -> Duration {
    Duration::seconds(10)
}

/// Why certificates could not be used. Reads as the rest of a path: `tls.cert_file: …`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("tls.{key}: read {}: {}", path.display(), source)]
    Read {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not PEM, or holds nothing of the right kind.
    #[error("tls.{key}: {}: {reason}", path.display())]
    Content {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The files don't make a working configuration, such as a key of another certificate.
    #[error("tls: use {} with {}: {source}", cert_file.display(), key_file.display())]
    Unusable {
        /// The certificate chain.
        cert_file: PathBuf,
        /// The private key.
        key_file: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// The authorities for client certificates can't be used.
    #[error("tls.client_ca_file: {}: {source}", path.display())]
    ClientAuthorities {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        source: VerifierBuilderError,
    },
}

/// Takes the server's side of TLS handshakes, with the certificate that is current.
#[derive(Debug, Clone)]
pub struct Acceptor {
    shared: Arc<Reloaded>,
}

#[derive(Debug)]
struct Reloaded {
    config: Config,
    protocols: &'static [&'static [u8]],
    current: ArcSwap<ServerConfig>,
    /// What was read last, whether it was usable or not.
    last_read: Mutex<Files>,
}

/// The files' content. A key is compared only with later content of its own file.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Files([REDACTED])")
    }
}

/// Protocols offered by gRPC listeners.
pub const ALPN_GRPC: &[&[u8]] = &[b"h2"];
/// Protocols offered by HTTP listeners.
pub const ALPN_HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

impl Acceptor {
    /// Reads and checks the files. `protocols` are offered by ALPN, the preferred one first.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(config: &Config, protocols: &'static [&'static [u8]]) -> Result<Self, Error> {
        let files = Files::read(config)?;
        let server = files.build(config, protocols)?;
        Ok(Self {
            shared: Arc::new(Reloaded {
                config: config.clone(),
                protocols,
                current: ArcSwap::from_pointee(server),
                last_read: Mutex::new(files),
            }),
        })
    }

    /// Shakes hands with a client, using the current certificate.
    ///
    /// # Errors
    /// The client does not speak TLS, agrees on no version or protocol, or has no certificate that
    /// is asked of it.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let current = self.shared.current.load_full();
        TlsAcceptor::from(current).accept(stream).await
    }

    /// Looks at the files every `reload_interval` until the daemon drains. New files that can't be
    /// used are logged once and the old certificate stays; connections are never touched.
    pub fn watch(&self, what: &'static str, tasks: &Tasks) {
        let interval = self.shared.config.reload_interval.0;
        if interval.is_zero() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let shutdown = tasks.shutdown_token();
        tasks.spawn("certificate reload", async move {
            let mut unreadable = false;
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
                let shared = Arc::clone(&shared);
                let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
                match reloaded.unwrap_or(Ok(false)) {
                    Ok(false) => unreadable = false,
                    Ok(true) => {
                        unreadable = false;
                        tracing::info!(listener = what, "certificate reloaded");
                    }
                    // Content is remembered, so it is tried once; a missing file is not.
                    Err(Error::Read { .. }) if unreadable => {}
                    Err(error) => {
                        unreadable = matches!(error, Error::Read { .. });
                        tracing::error!(
                            listener = what,
                            %error,
                            "certificate not reloaded; the old one stays in use"
                        );
                    }
                }
            }
        });
    }
}

impl Reloaded {
    /// Uses the files if they changed; whether they did.
    fn reload(&self) -> Result<bool, Error> {
        let files = Files::read(&self.config)?;
        let mut last_read = self
            .last_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *last_read == files {
            return Ok(false);
        }
        *last_read = files.clone();
        let server = files.build(&self.config, self.protocols)?;
        self.current.store(Arc::new(server));
        Ok(true)
    }
}

impl Files {
    fn read(config: &Config) -> Result<Self, Error> {
        let read = |key, path: &Path| {
            std::fs::read(path).map_err(|source| Error::Read {
                key,
                path: path.to_owned(),
                source,
            })
        };
        let authorities = config.client_ca_file.as_deref();
        Ok(Self {
            chain: read("cert_file", &config.cert_file)?,
            key: read("key_file", &config.key_file)?,
            client_authorities: authorities
                .map(|path| read("client_ca_file", path))
                .transpose()?,
        })
    }

    fn build(&self, config: &Config, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
        let unusable = |source| Error::Unusable {
            cert_file: config.cert_file.clone(),
            key_file: config.key_file.clone(),
            source,
        };
        let chain = certificates("cert_file", &config.cert_file, &self.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| Error::Content {
            key: "key_file",
            path: config.key_file.clone(),
            reason: format!("no private key: {error}"),
        })?;
        let versions: &[&SupportedProtocolVersion] = match config.min_version {
            MinVersion::V1_2 => &[&TLS13, &TLS12],
            MinVersion::V1_3 => &[&TLS13],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(unusable)?;
        let builder = match (&self.client_authorities, &config.client_ca_file) {
            (Some(pem), Some(path)) => {
                let verifier = client_verifier(path, pem, provider)?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(unusable)?;
        server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(server)
    }
}

fn client_verifier(
    path: &Path,
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca_file", path, pem)? {
        roots.add(certificate).map_err(|error| Error::Content {
            key: "client_ca_file",
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|source| Error::ClientAuthorities {
        path: path.to_owned(),
        source,
    })
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = |reason: String| Error::Content {
        key,
        path: path.to_owned(),
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| content(format!("not PEM: {error}")))?;
    if found.is_empty() {
        return Err(content("no certificate in it".to_owned()));
    }
    Ok(found)
}
