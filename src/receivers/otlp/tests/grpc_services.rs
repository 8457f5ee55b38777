//! Health and reflection on the gRPC port.

use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::support::*;

const TRACE_SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";

async fn channel(server: &Server) -> Channel {
    let address = format!("http://{}", server.grpc);
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

// Scenario: the daemon becomes ready, then drains, while a client watches.
// Guarantees: both service names follow, the watcher hears of it, and does not hold up the drain.
#[tokio::test]
async fn health_follows_readiness_and_a_watch_ends_with_the_drain() {
    let server = Server::start();
    let mut client = HealthClient::new(channel(&server).await);
    for service in ["", TRACE_SERVICE] {
        let status = client
            .check(named(service))
            .await
            .unwrap()
            .into_inner()
            .status;
        assert_eq!(status, 2, "not serving yet: {service:?}");
    }
    let unknown = client.check(named("nobody")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let mut watch = client
        .watch(named(TRACE_SERVICE))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    server.check.set(true, "");
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    let status = client.check(named("")).await.unwrap().into_inner().status;
    assert_eq!(status, 1);
    server.tasks.start_shutdown();
    let end = loop {
        match watch.message().await {
            Ok(Some(_not_serving)) => {}
            Ok(None) => panic!("ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), tonic::Code::Unavailable);
    let drained = tokio::time::timeout(PATIENCE, server.tasks.wait());
    drained.await.expect("drained");
}

async fn reflect(server: &Server, request: MessageRequest) -> ServerReflectionResponse {
    let mut client = ServerReflectionClient::new(channel(server).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let requests = futures_util::stream::once(async { request });
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap()
}

// Scenario: a tool like grpcurl asks what is served.
// Guarantees: the services are listed, and the trace service can be described.
#[tokio::test]
async fn reflection_describes_the_trace_service() {
    let server = Server::start();
    let listed = reflect(&server, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else {
        panic!("no list");
    };
    let names: Vec<_> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    assert!(names.iter().any(|name| name == TRACE_SERVICE), "{names:?}");
    assert!(
        names.iter().any(|name| name == "grpc.health.v1.Health"),
        "{names:?}"
    );
    let symbol = MessageRequest::FileContainingSymbol(TRACE_SERVICE.to_owned());
    let described = reflect(&server, symbol).await.message_response;
    let Some(MessageResponse::FileDescriptorResponse(files)) = described else {
        panic!("not described: {described:?}");
    };
    assert!(!files.file_descriptor_proto.is_empty());
    let import = "opentelemetry/proto/common/v1/common.proto".to_owned();
    let import = reflect(&server, MessageRequest::FileByFilename(import)).await;
    assert!(matches!(
        import.message_response,
        Some(MessageResponse::FileDescriptorResponse(_))
    ));
}
