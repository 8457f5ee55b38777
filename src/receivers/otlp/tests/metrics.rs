//! Metrics on both transports.

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;

use super::support::*;
use crate::otlp::Signal;

// Scenario: the generated client exports metrics.
// Guarantees: they reach the pipeline as metrics; success has no field, partial success has the count
// of data points.
#[tokio::test]
async fn the_generated_client_exports_metrics() {
    let server = Server::start();
    let address = format!("http://{}", server.grpc);
    let mut client = MetricsServiceClient::connect(address).await.unwrap();
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![Default::default()],
    };
    let response = client.export(request.clone()).await.unwrap();
    assert_eq!(
        response.into_inner(),
        ExportMetricsServiceResponse::default()
    );
    assert_eq!(server.double.payloads(), [request.encode_to_vec()]);
    assert_eq!(server.double.signals(), [Signal::Metrics]);
    server.double.behave(Behaviour::Reject(7, "no room"));
    let partial = client.export(request).await.unwrap().into_inner();
    let partial = partial.partial_success.unwrap();
    assert_eq!(
        (partial.rejected_data_points, partial.error_message.as_str()),
        (7, "no room")
    );
}

// Scenario: the same data point in protobuf, plain and packed, and in JSON; then things that are none.
// Guarantees: each reaches the pipeline as the same metrics and is answered in its type; refusals have a
// Status.
#[tokio::test]
async fn metrics_come_in_protobuf_and_json() {
    let server = Server::start();
    let json = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"timeUnixNano":"7","asDouble":"NaN"}]}}]}]}]}"#;
    let protobuf = crate::otlp::json::decode_metrics(json)
        .unwrap()
        .encode_to_vec();
    let of_protobuf = "content-type: application/x-protobuf";
    let of_json = "content-type: application/json";
    let packed = gzip(&protobuf);
    for (headers, body) in [
        (&[of_protobuf][..], protobuf.as_slice()),
        (&[of_protobuf, "content-encoding: gzip"], packed.as_slice()),
        (&[of_json], json.as_slice()),
    ] {
        let request = String::from_utf8_lossy(&post(headers, body)).len();
        assert!(request > 0);
        let mut request = post(headers, body);
        let path = b"/v1/traces";
        let at = request
            .windows(path.len())
            .position(|it| it == path)
            .unwrap();
        request.splice(at..at + path.len(), *b"/v1/metrics");
        let answer = exchange(server.http, request).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(
            answer.header("content-type"),
            headers[0].split_once(": ").unwrap().1
        );
    }
    assert_eq!(server.double.payloads(), [&protobuf[..]; 3]);
    assert_eq!(server.double.signals(), [Signal::Metrics; 3]);
    for (line, status) in [
        ("POST /v1/metrics", 415),
        ("GET /v1/metrics", 405),
        ("POST /v1/metric", 404),
    ] {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
        let answer = exchange(server.http, request).await;
        assert_eq!(answer.status, status, "{line}");
        answer.assert_status_body();
    }
}
