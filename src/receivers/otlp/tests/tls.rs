//! TLS: certificates, their renewal, and clients that must show one.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::*;
use crate::net::tls::{self, Acceptor, MinVersion};
use crate::receivers::otlp::Receiver;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `localhost` and its key, in PEM.
fn issue(issuer: &Issuer) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(directory: &Path, issuer: &Issuer) -> tls::Config {
    let (certificate, key) = issue(issuer);
    std::fs::write(directory.join("key.pem"), key).unwrap();
    std::fs::write(directory.join("cert.pem"), certificate).unwrap();
    tls::Config {
        cert_file: directory.join("cert.pem"),
        key_file: directory.join("key.pem"),
        client_ca_file: None,
        min_version: MinVersion::V1_2,
        reload_interval: millis(20),
    }
}

fn serve(tls: &tls::Config) -> Server {
    Server::with(|config| {
        config.protocols.grpc.as_mut().unwrap().tls = Some(tls.clone());
        config.protocols.http.as_mut().unwrap().tls = Some(tls.clone());
    })
}

fn client(authority: &Issuer, protocol: &str, identity: Option<(String, String)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    connector: &TlsConnector,
    address: std::net::SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, stream).await
}

async fn export_http1(mut stream: TlsStream<TcpStream>) -> std::io::Result<String> {
    stream
        .write_all(&post(&[JSON, "connection: close"], b"{}"))
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

// Scenario: clients of every protocol connect under TLS.
// Guarantees: ALPN chooses; the same export works over each.
#[tokio::test]
async fn protocols_are_agreed_on_under_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let server = serve(&write(directory.path(), &authority));
    let http1 = client(&authority, "http/1.1", None);
    let answer = export_http1(connect(&http1, server.http).await.unwrap())
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let h2 = client(&authority, "h2", None);
    for address in [server.http, server.grpc] {
        let stream = connect(&h2, address).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let handshake = hyper::client::conn::http2::handshake(executor, io);
        let (mut sender, connection) = handshake.await.unwrap();
        spawn(async move { drop(connection.await) });
        if address == server.grpc {
            assert_eq!(export(&mut sender, &[], frame(0, b"")).await.code, 0);
            continue;
        }
        let request = http::Request::post("https://localhost/v1/traces")
            .header("content-type", "application/json")
            .body(full("{}"))
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    }
    assert!(connect(&http1, server.grpc).await.is_err());
}

// Scenario: the files are replaced by ones of another authority, then by nonsense.
// Guarantees: new connections see the new certificate without a restart; nonsense changes nothing.
#[tokio::test]
async fn certificates_are_renewed_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (authority(), authority());
    let server = serve(&write(directory.path(), &old));
    let before = client(&old, "http/1.1", None);
    let after = client(&new, "http/1.1", None);
    let kept = connect(&before, server.http).await.unwrap();
    assert!(connect(&after, server.http).await.is_err());
    write(directory.path(), &new);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while connect(&after, server.http).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "never renewed");
    }
    assert!(
        export_http1(kept)
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(connect(&before, server.http).await.is_err());
    std::fs::write(directory.path().join("cert.pem"), "nonsense").unwrap();
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        assert!(connect(&after, server.http).await.is_ok());
    }
}

// Scenario: a listener that wants client certificates meets clients with none, a good one, and
// one of another authority.
// Guarantees: only the good one is served.
#[tokio::test]
async fn clients_must_show_a_certificate_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, other) = (authority(), authority());
    let mut config = write(directory.path(), &authority);
    let path = directory.path().join("clients.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    config.client_ca_file = Some(path);
    let server = serve(&config);
    for (identity, is_served) in [
        (None, false),
        (Some(issue(&other)), false),
        (Some(issue(&authority)), true),
    ] {
        let connector = client(&authority, "http/1.1", identity);
        let outcome = match connect(&connector, server.http).await {
            // With TLS 1.3 the client hears of the refusal when it reads.
            Ok(stream) => export_http1(stream).await,
            Err(error) => Err(error),
        };
        assert_eq!(outcome.is_ok(), is_served, "{outcome:?}");
    }
}

// Scenario: a client offers TLS 1.2 to a listener that demands 1.3; a cleartext client and a
// silent one connect to a TLS port.
// Guarantees: the handshake is refused, or given up in time.
#[tokio::test]
async fn handshakes_are_refused_or_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    let mut config = write(directory.path(), &authority);
    config.min_version = MinVersion::V1_3;
    let server = Server::with(|all| {
        let http = all.protocols.http.as_mut().unwrap();
        http.tls = Some(config);
        http.read_header_timeout = millis(200);
    });
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let old = TlsConnector::from(Arc::new(old));
    assert!(connect(&old, server.http).await.is_err());
    let mut plain = Raw::connect(server.http).await;
    plain.send(post(&[JSON], b"{}")).await;
    assert!(
        plain
            .stream
            .read_to_end(&mut Vec::new())
            .await
            .is_ok_and(|count| count < 16)
    );
    let mut silent = Raw::connect(server.http).await;
    assert!(silent.is_closed().await);
}

// Scenario: each file missing, not PEM, or not belonging to the other.
// Guarantees: one line that names the setting and the file.
#[tokio::test]
async fn bad_certificates_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let good = write(directory.path(), &authority());
    let nonsense = directory.path().join("nonsense.pem");
    std::fs::write(&nonsense, "nonsense").unwrap();
    let missing = directory.path().join("missing.pem");
    let message = |config: tls::Config| {
        let error = Acceptor::load(&config, tls::ALPN_HTTP).unwrap_err();
        let text = error.to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    };
    let with_cert = |path: &Path| tls::Config {
        cert_file: path.to_owned(),
        ..good.clone()
    };
    let text = message(with_cert(&missing));
    let expected = format!("tls.cert_file: read {}: No such file", missing.display());
    assert!(text.starts_with(&expected), "{text}");
    assert!(message(with_cert(&nonsense)).contains("no certificate in it"));
    let key_file = nonsense;
    let text = message(tls::Config {
        key_file,
        ..good.clone()
    });
    assert!(text.starts_with("tls.key_file: "), "{text}");
    let other = tempfile::tempdir().unwrap();
    let key_file = write(other.path(), &authority()).key_file;
    let text = message(tls::Config {
        key_file,
        ..good.clone()
    });
    assert!(text.starts_with("tls: use "), "{text}");
    let mut config = config();
    config.protocols.http.as_mut().unwrap().tls = Some(with_cert(&missing));
    let text = Receiver::bind(&config).unwrap_err().to_string();
    assert!(
        text.starts_with("receivers.otlp.protocols.http.tls.cert_file: read "),
        "{text}"
    );
}
