//! What tools are told of the service.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;

const SERVICE: &str = "pulse.trace.v1.TraceQuery";

async fn reflect(channel: &Channel, request: MessageRequest) -> Option<MessageResponse> {
    let mut client = ServerReflectionClient::new(channel.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    };
    let requests = futures_util::stream::once(async { request });
    let answers = client.server_reflection_info(requests).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap();
    answer.unwrap().message_response
}

// Scenario: a tool asks whether the service is well, which services there are, and what this one has.
// Guarantees: it is told, as of the service that takes spans.
#[test]
fn tools_are_told_of_the_service() {
    let daemon = Daemon::spawn(&[]);
    runtime().block_on(async {
        let channel = channel(&daemon);
        for service in [SERVICE, "pulse.trace.v1.TraceIngest"] {
            let question = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = HealthClient::new(channel.clone()).check(question).await;
            assert_eq!(answer.unwrap().into_inner().status, 1, "{service}");
        }
        let listed = reflect(&channel, MessageRequest::ListServices(String::new())).await;
        let Some(MessageResponse::ListServicesResponse(listed)) = listed else {
            panic!("no list");
        };
        assert!(listed.service.iter().any(|it| it.name == SERVICE));
        let symbol = MessageRequest::FileContainingSymbol(format!("{SERVICE}.Tail"));
        let described = reflect(&channel, symbol).await;
        assert!(
            matches!(described, Some(MessageResponse::FileDescriptorResponse(_))),
            "{described:?}"
        );
    });
}
