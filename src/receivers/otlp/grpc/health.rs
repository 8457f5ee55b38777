//! The health service.

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server;
use tonic_health::ServingStatus;

use crate::service::tasks::Tasks;
use crate::telemetry::health::Readiness;

/// Services whose health is told; the empty name is all of them.
const SERVICES: [&str; 4] = [
    "",
    trace_service_server::SERVICE_NAME,
    logs_service_server::SERVICE_NAME,
    "pulse.trace.v1.TraceIngest",
];

/// Keeps the health service in step with the readiness of the daemon; it tells of the service beside, too.
pub(super) fn report(
    reporter: tonic_health::server::HealthReporter,
    beside: Option<&'static str>,
    readiness: &Readiness,
    tasks: &Tasks,
) {
    let mut ready = readiness.watch();
    let shutdown = tasks.shutdown_token();
    tasks.spawn("grpc health", async move {
        loop {
            let is_serving = *ready.borrow_and_update() && !shutdown.is_cancelled();
            let status = if is_serving {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for name in SERVICES.into_iter().chain(beside) {
                reporter.set_service_status(name, status).await;
            }
            if shutdown.is_cancelled() {
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                changed = ready.changed() => if changed.is_err() {
                    shutdown.cancelled().await;
                },
            }
        }
    });
}
