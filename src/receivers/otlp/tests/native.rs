//! The native service on the gRPC port: single requests, and streams of batches.

use std::time::Duration;

use futures_util::StreamExt as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::codec::{CompressionEncoding, Streaming};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use super::super::grpc::STREAM_CREDIT;
use super::support::*;
use crate::auth;
use crate::model::ProjectId;
use crate::model::access::{Scope, Scopes};
use crate::model::quota::Quota;
use crate::otlp::Failure;
use crate::receivers::native::proto::stream_response::Event;
use crate::receivers::native::proto::trace_ingest_client::TraceIngestClient;
use crate::receivers::native::proto::{
    self, Acknowledged, Batch, ExportRequest, GenAi, ResourceSpans, ScopeSpans, Span,
    StreamRequest, StreamResponse,
};
use crate::storage::access::Change;
use crate::storage::quota::QuotaStore as _;

type Client = TraceIngestClient<tonic::transport::Channel>;

async fn client(server: &Server) -> Client {
    let address = format!("http://{}", server.grpc);
    TraceIngestClient::connect(address).await.unwrap()
}

/// A span of a model call.
fn spans() -> Vec<ResourceSpans> {
    let call = GenAi {
        request_model: "gpt-4o".to_owned(),
        ..GenAi::default()
    };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        gen_ai: Some(call),
        ..Span::default()
    };
    vec![ResourceSpans {
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }]
}

fn batch(sequence: u64) -> StreamRequest {
    StreamRequest {
        batch: Some(Batch {
            resource_spans: spans(),
            sequence,
        }),
    }
}

/// A stream and the way to say something on it.
struct Stream {
    requests: Option<mpsc::UnboundedSender<StreamRequest>>,
    answers: Streaming<StreamResponse>,
}

impl Stream {
    async fn open(mut client: Client, key: &str) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let asked = futures_util::stream::unfold(receiver, async |mut receiver| {
            let request: StreamRequest = receiver.recv().await?;
            Some((request, receiver))
        });
        let mut request = Request::new(asked.boxed());
        if !key.is_empty() {
            let key = MetadataValue::try_from(key).unwrap();
            request.metadata_mut().insert("x-api-key", key);
        }
        let mut answers = client.stream(request).await?.into_inner();
        let opened = answers.message().await?.unwrap().event;
        let Some(Event::Opened(opened)) = opened else {
            panic!("not opened: {opened:?}");
        };
        assert_eq!(opened.credit as usize, STREAM_CREDIT);
        assert_eq!(opened.max_message_bytes, 64 << 20);
        Ok(Self {
            requests: Some(requests),
            answers,
        })
    }

    fn say(&self, request: StreamRequest) {
        self.requests.as_ref().unwrap().send(request).unwrap();
    }

    async fn answer(&mut self) -> Result<Option<Event>, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        Ok(answer.unwrap()?.map(|answer| answer.event.unwrap()))
    }

    /// The next batches are acknowledged, and nothing else is said.
    async fn acknowledged(&mut self, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            let expected = Event::Acknowledged(Acknowledged {
                sequence,
                partial_success: None,
            });
            assert_eq!(self.answer().await.unwrap(), Some(expected));
        }
    }
}

fn models(server: &Server) -> Vec<String> {
    let payloads = server.double.payloads().into_iter();
    let models = payloads.map(|payload| {
        let request = ExportTraceServiceRequest::decode(payload).unwrap();
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        format!("{:?}", span.attributes)
    });
    models.collect()
}

// Scenario: one request of the native service, in whole and with rejected spans.
// Guarantees: it is answered as OTLP's is; what is stored is OTLP.
#[tokio::test]
async fn a_single_request_is_one_of_otlp() {
    let server = Server::start();
    let mut client = client(&server).await;
    let request = ExportRequest {
        resource_spans: spans(),
    };
    let answer = client.export(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.partial_success, None);
    server.double.behave(Behaviour::Reject(3, "bad id"));
    let answer = client.export(request).await.unwrap().into_inner();
    let partial = answer.partial_success.unwrap();
    assert_eq!(
        (partial.rejected_spans, partial.error_message),
        (3, "bad id".to_owned())
    );
    for attributes in models(&server) {
        assert!(attributes.contains("gen_ai.request.model") && attributes.contains("gpt-4o"));
    }
}

// Scenario: more batches than there is credit for, while the log is stalled, plain and compressed;
// then the client has said all.
// Guarantees: nothing is acknowledged before it is durable; no more is read than there is credit for;
// answers keep the order; the stream ends with OK and holds nothing.
#[tokio::test]
async fn batches_are_acknowledged_in_order_once_durable() {
    let server = Server::start();
    let client = client(&server)
        .await
        .send_compressed(CompressionEncoding::Gzip);
    let mut stream = Stream::open(client, "").await.unwrap();
    server.double.behave(Behaviour::Stall);
    let all = 1..=STREAM_CREDIT as u64 * 2;
    for sequence in all.clone() {
        stream.say(batch(sequence));
    }
    eventually("the credit to be used up", || {
        server.double.admissions() >= STREAM_CREDIT
    })
    .await;
    let early = tokio::time::timeout(Duration::from_millis(100), stream.answer()).await;
    assert!(early.is_err(), "{early:?}");
    // One more is being read, and waits for its turn.
    assert!(server.double.admissions() <= STREAM_CREDIT + 1);
    server.double.release();
    stream.acknowledged(all).await;
    stream.requests = None;
    assert_eq!(stream.answer().await.unwrap(), None);
    assert_eq!(models(&server).len(), STREAM_CREDIT * 2);
    eventually("nothing to be held", || server.double.reserved() == 0).await;
}

// Scenario: spans are rejected, the log can't take a batch now, a batch is too large to be taken ever.
// Guarantees: each batch is answered for itself, with the time to come back where that helps, and the
// stream goes on.
#[tokio::test]
async fn batches_are_refused_one_by_one() {
    let server = Server::start();
    let mut stream = Stream::open(client(&server).await, "").await.unwrap();
    server.double.behave(Behaviour::Reject(1, "no id"));
    stream.say(batch(9));
    let rejected = proto::PartialSuccess {
        rejected_spans: 1,
        error_message: "no id".to_owned(),
    };
    let expected = Event::Acknowledged(Acknowledged {
        sequence: 9,
        partial_success: Some(rejected),
    });
    assert_eq!(stream.answer().await.unwrap(), Some(expected));
    let full = Failure::Overloaded {
        message: "full".to_owned(),
        retry_after: Duration::from_secs(7),
    };
    for (failure, retry_after_ms) in [
        (full, Some(7000)),
        (Failure::DeadlineExceeded, Some(1000)),
        (Failure::TooLarge { limit_bytes: 5 }, None),
    ] {
        server.double.behave(Behaviour::Fail(failure.clone()));
        stream.say(batch(3));
        let refused = Event::Refused(proto::Refused {
            sequence: 3,
            message: failure.to_string(),
            retry_after_ms,
        });
        assert_eq!(stream.answer().await.unwrap(), Some(refused));
    }
    server.double.behave(Behaviour::Accept);
    stream.say(batch(3));
    stream.acknowledged([3]).await;
}

// Scenario: memory is full while a batch comes, and has room again.
// Guarantees: the client is told to wait, and the batch is taken then.
#[tokio::test]
async fn a_busy_server_says_so_and_goes_on() {
    let server = Server::start();
    let mut stream = Stream::open(client(&server).await, "").await.unwrap();
    server.double.behave(Behaviour::Refuse(Failure::Overloaded {
        message: "memory is full".to_owned(),
        retry_after: Duration::from_secs(1),
    }));
    stream.say(batch(1));
    let busy = Event::Busy(proto::Busy {
        message: "memory is full".to_owned(),
        retry_after_ms: 1000,
    });
    assert_eq!(stream.answer().await.unwrap(), Some(busy.clone()));
    server.double.behave(Behaviour::Accept);
    // It may have looked once more.
    let mut answer = stream.answer().await.unwrap();
    while answer == Some(busy.clone()) {
        answer = stream.answer().await.unwrap();
    }
    assert!(matches!(answer, Some(Event::Acknowledged(_))), "{answer:?}");
}

// Scenario: what is not a batch comes behind one that is; a batch larger than a message may be.
// Guarantees: the first is acknowledged; the stream ends with a status that is not retried.
#[tokio::test]
async fn wrong_messages_end_the_stream() {
    let server = Server::with(|config| {
        config
            .protocols
            .grpc
            .as_mut()
            .unwrap()
            .max_recv_msg_size_mib = 1;
    });
    let open = async || {
        let mut client = client(&server).await;
        let request = futures_util::stream::iter([batch(1), StreamRequest::default()]);
        client.stream(request).await.unwrap().into_inner()
    };
    let mut answers = open().await;
    assert!(answers.message().await.unwrap().is_some());
    let acknowledged = answers.message().await;
    let ended = match acknowledged {
        Ok(_) => answers.message().await.unwrap_err(),
        Err(_) => panic!("the batch before it was durable"),
    };
    assert_eq!(ended.code(), Code::InvalidArgument, "{ended}");
    assert!(ended.message().contains("no batch"), "{ended}");

    let mut large = batch(1);
    large.batch.as_mut().unwrap().resource_spans[0].schema_url = "x".repeat(1 << 20);
    let mut client = client(&server).await;
    let stream = client.stream(futures_util::stream::iter([large])).await;
    let mut answers = stream.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let ended = answers.message().await.unwrap_err();
    assert_eq!(
        (ended.code(), ended.details()),
        (Code::ResourceExhausted, &b""[..])
    );
}

// Scenario: a stream with a key of a project; the project goes over its quota and may go on; the key is
// revoked.
// Guarantees: batches go into the project; those over the quota are refused for themselves; the stream
// ends with the key.
#[tokio::test]
async fn a_stream_ends_with_its_key() {
    let server = Server::guarded(|_| {}, &auth::Config::default());
    let key = server
        .keys
        .put("pulse_sk_send", 7, Scopes::NONE.with(Scope::Ingest));
    server.refresh().await;
    let without = Stream::open(client(&server).await, "").await;
    assert_eq!(without.err().unwrap().code(), Code::Unauthenticated);
    let mut stream = Stream::open(client(&server).await, "pulse_sk_send")
        .await
        .unwrap();
    stream.say(batch(1));
    stream.acknowledged([1]).await;
    let limit = async |quota| {
        let change = Change {
            by: String::new(),
            at_unix_nano: 0,
        };
        let set = server.keys.set_quota(ProjectId(7), quota, change);
        set.await.unwrap().unwrap();
        server.refresh().await;
    };
    limit(Some(Quota {
        items_per_second: None,
        bytes_per_day: Some(1),
    }))
    .await;
    let sent = server.gates.quotas().charge(ProjectId(7), "traces", 1, 1);
    sent.unwrap().keep();
    stream.say(batch(2));
    let refused = stream.answer().await.unwrap();
    let Some(Event::Refused(refused)) = refused else {
        panic!("over its quota: {refused:?}");
    };
    assert_eq!((refused.sequence, refused.retry_after_ms), (2, None));
    limit(None).await;
    stream.say(batch(3));
    stream.acknowledged([3]).await;
    assert_eq!(server.double.projects(), [ProjectId(7); 2]);

    server.keys.change(&key, |grant| grant.revoked = true);
    server.refresh().await;
    stream.say(batch(4));
    let ended = stream.answer().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
}

// Scenario: the daemon drains while a batch waits for the log and the stream stays open.
// Guarantees: the client is told to go away, the batch is still answered, the stream ends with a code
// that sends it elsewhere, and the drain waits for no client.
#[tokio::test]
async fn a_drain_answers_what_was_read() {
    let server = Server::start();
    let mut stream = Stream::open(client(&server).await, "").await.unwrap();
    let mut idle = Stream::open(client(&server).await, "").await.unwrap();
    server.double.behave(Behaviour::Stall);
    stream.say(batch(1));
    eventually("the batch to wait", || server.double.admissions() == 1).await;
    server.tasks.start_shutdown();
    let away = stream.answer().await.unwrap();
    assert!(matches!(away, Some(Event::GoAway(_))), "{away:?}");
    server.double.release();
    stream.acknowledged([1]).await;
    let ended = stream.answer().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert!(matches!(
        idle.answer().await.unwrap(),
        Some(Event::GoAway(_))
    ));
    assert_eq!(idle.answer().await.unwrap_err().code(), Code::Unavailable);
    let drained = tokio::time::timeout(PATIENCE, server.tasks.wait());
    drained.await.expect("drained");
}

// Scenario: taking a batch panics; clients leave in the middle of a message and of a batch.
// Guarantees: the stream ends with INTERNAL, the daemon goes on, and nothing is held.
#[tokio::test]
async fn streams_that_break_off_leave_nothing() {
    let server = Server::start();
    let mut stream = Stream::open(client(&server).await, "").await.unwrap();
    server.double.behave(Behaviour::Panic);
    stream.say(batch(1));
    assert_eq!(stream.answer().await.unwrap_err().code(), Code::Internal);

    server.double.behave(Behaviour::Stall);
    let stream = Stream::open(client(&server).await, "").await.unwrap();
    stream.say(batch(1));
    eventually("the batch to wait", || server.double.admissions() == 1).await;
    drop(stream);
    server.double.release();
    eventually("nothing to be held", || {
        server.double.admissions() == 0 && server.double.reserved() == 0
    })
    .await;
}
