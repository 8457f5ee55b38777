//! TLS on both receivers, and certificates that change while the daemon runs.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tonic::transport::Endpoint;

use crate::daemon::{Daemon, Setup, eventually};
use crate::http;
use crate::otlp::{PROTOBUF, request, runtime, span};
use crate::random::Random;

/// A certificate of its own authority, as files.
fn write_certificate(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

fn client(trusted: &[CertificateDer<'static>], protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// Sends a request over HTTPS; answers the status and the certificate that the daemon showed.
fn post(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    body: &[u8],
) -> std::io::Result<(u16, CertificateDer<'static>)> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection =
        ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, http::connect(address)?);
    stream.write_all(&http::post_head(
        address,
        "/v1/traces",
        &[PROTOBUF],
        body.len(),
    ))?;
    stream.write_all(body)?;
    let answer = http::read_response(&mut stream)?;
    let shown = stream.conn.peer_certificates().expect("a certificate")[0]
        .clone()
        .into_owned();
    Ok((answer.status, shown))
}

/// A gRPC client with a new connection.
async fn grpc(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> TraceServiceClient<tonic::transport::Channel> {
    let connector = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").expect("a valid name");
            let stream = tokio_rustls::TlsConnector::from(config)
                .connect(name, stream)
                .await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://localhost").timeout(Duration::from_secs(10));
    TraceServiceClient::new(
        endpoint
            .connect_with_connector(connector)
            .await
            .expect("a connection"),
    )
}

// Scenario: both receivers speak TLS; while clients send over old and new connections, the
// certificate is replaced on disk.
// Guarantees: every export is accepted before, during and after; new connections get the new
// certificate without a restart; there is no way in without TLS.
#[test]
fn certificates_rotate_without_a_failed_export() {
    let directory = tempfile::tempdir().unwrap();
    let old = write_certificate(directory.path());
    let mut setup = Setup::new(&directory.path().join("data"));
    for transport in ["grpc", "http"] {
        let file = |name: &str| directory.path().join(name).display().to_string();
        let key = |key: &str| format!("receivers.otlp.protocols.{transport}.tls.{key}");
        setup = setup
            .set(&key("cert_file"), &file("cert.pem"))
            .set(&key("key_file"), &file("key.pem"))
            .set(&key("reload_interval"), "100ms");
    }
    let daemon = Daemon::spawn_with(setup);
    let addresses = daemon.addresses();
    let mut random = Random::new(5);
    let mut traces = Vec::new();
    let mut next = || {
        traces.push(random.id::<16>());
        request("tls", vec![span(traces.last().unwrap(), &[1; 8], "x")])
    };

    let config = client(std::slice::from_ref(&old), b"http/1.1");
    let (status, shown) = post(addresses.http, &config, &next().encode_to_vec()).unwrap();
    assert_eq!((status, shown), (200, old.clone()));
    let runtime = runtime();
    let h2 = client(std::slice::from_ref(&old), b"h2");
    let mut kept = runtime.block_on(grpc(addresses.grpc, h2));
    runtime.block_on(kept.export(next())).unwrap();

    let new = write_certificate(directory.path());
    let both = [old, new.clone()];
    eventually("the new certificate", Duration::from_secs(10), || {
        runtime
            .block_on(kept.export(next()))
            .expect("the old connection goes on");
        let config = client(&both, b"http/1.1");
        let (status, shown) =
            post(addresses.http, &config, &next().encode_to_vec()).expect("an answer");
        assert_eq!(status, 200);
        (shown == new).then_some(())
    });
    let h2 = client(std::slice::from_ref(&new), b"h2");
    eventually(
        "the new certificate over gRPC",
        Duration::from_secs(10),
        || {
            let trusted = client(&both, b"h2");
            runtime
                .block_on(async { grpc(addresses.grpc, trusted).await.export(next()).await })
                .unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = http::connect(addresses.grpc).unwrap();
            let mut stream = StreamOwned::new(
                ClientConnection::new(Arc::clone(&h2), name).unwrap(),
                stream,
            );
            stream.flush().ok()
        },
    );

    let body = next().encode_to_vec();
    let plain = http::post(addresses.http, "/v1/traces", &[PROTOBUF], &body);
    assert!(plain.is_err(), "an answer without TLS: {plain:?}");
    traces.pop();
    for trace_id in traces {
        daemon.await_trace(&trace_id, 1);
    }
}
