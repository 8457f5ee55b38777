//! Following what is stored.

use std::pin::Pin;

use pulse_collector::receivers::native::proto::tail_response::Event;
use pulse_collector::receivers::native::proto::{SpanSummary, TailRequest, TailResponse};
use tonic::Streaming;

use super::*;

struct Tail {
    stream: Pin<Box<Streaming<TailResponse>>>,
}

impl Tail {
    /// Follows, and hears that it does.
    async fn follow(channel: &Channel, key: &str, question: TailRequest) -> Self {
        let mut client = TraceQueryClient::new(channel.clone());
        let answer = client.tail(with_key(question, key)).await.unwrap();
        let mut tail = Self {
            stream: Box::pin(answer.into_inner()),
        };
        let first = tail.next().await.unwrap();
        assert!(
            matches!(first.event, Some(Event::Following(_))),
            "{first:?}"
        );
        tail
    }

    async fn next(&mut self) -> Result<TailResponse, Refusal> {
        let next = tokio::time::timeout(PATIENCE, self.stream.message()).await;
        next.expect("an event in time")
            .map(|it| it.expect("no end without a status"))
    }

    /// The next span, and its id to go on from.
    async fn span(&mut self) -> (SpanSummary, String) {
        let next = self.next().await.unwrap();
        let Some(Event::Span(span)) = next.event else {
            panic!("{next:?}");
        };
        (span, next.event_id)
    }
}

fn of_service(service: &str) -> TailRequest {
    TailRequest {
        filter: Some(Filter {
            service: service.to_owned(),
            ..Filter::default()
        }),
        ..TailRequest::default()
    }
}

fn send(daemon: &Daemon, service: &str, number: u8) {
    let span = span(&[number; 16], &[number; 8], &format!("op {number}"));
    post_accepted(daemon.addresses().http, &request(service, vec![span]));
}

// Scenario: a client follows the spans of a service; the daemon is stopped, and spans arrive before the
// client is back.
// Guarantees: it is told when to come back, and hears of every span of that service once, in order.
fn a_client_hears_of_each_span_once_across_a_stop(store: Store) {
    let mut daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "10ms")]);
    runtime().block_on(async {
        let channel = channel(&daemon);
        let mut tail = Tail::follow(&channel, "", of_service("shop")).await;
        send(&daemon, "shop", 2);
        assert_eq!(tail.span().await.0.name, "op 2");
        send(&daemon, "other", 3);
        send(&daemon, "shop", 4);
        let (span, event_id) = tail.span().await;
        assert_eq!(
            (span.name.as_str(), span.service_name.as_str()),
            ("op 4", "shop")
        );
        assert_eq!(
            (span.trace_id, span.kind),
            (vec![4; 16], SpanKind::Internal.into())
        );
        daemon.process.sigterm();
        let ended = tail.next().await.unwrap_err();
        assert_eq!(ended.code(), tonic::Code::Unavailable, "{ended}");
        assert!(daemon.process.wait_exit(PATIENCE).success());
        daemon.restart();
        send(&daemon, "shop", 5);
        daemon.await_trace(&[5; 16], 1);
        let question = TailRequest {
            resume_after: event_id,
            ..of_service("shop")
        };
        let mut tail = Tail::follow(&channel, "", question).await;
        assert_eq!(tail.span().await.0.name, "op 5");
        send(&daemon, "shop", 6);
        assert_eq!(tail.span().await.0.name, "op 6");
    });
}

// Scenario: somebody follows one trace with a filter by attribute, and with a rate that is too low.
// Guarantees: only what matches is told of, with the columns of a model call; what is over the rate is
// counted; the client's deadline ends the call.
fn a_trace_can_be_followed(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "10ms")]);
    runtime().block_on(async {
        let channel = channel(&daemon);
        let question = TailRequest {
            filter: Some(Filter {
                attributes: [("tier".to_owned(), "gold".to_owned())].into(),
                ..Filter::default()
            }),
            trace_id: vec![2; 16],
            ..TailRequest::default()
        };
        let mut tail = Tail::follow(&channel, "", question).await;
        export(&channel, "", sent(&[1; 16])).await;
        export(&channel, "", sent(&[2; 16])).await;
        let (span, _) = tail.span().await;
        assert_eq!((span.trace_id, span.span_id), (vec![2; 16], vec![2; 8]));
        assert!(
            span.is_model_call && span.dialect == "otel",
            "{}",
            span.dialect
        );
        let told = span.gen_ai.unwrap();
        let without_content = GenAi {
            input_messages: String::new(),
            output_messages: String::new(),
            system_instructions: String::new(),
            tool_definitions: String::new(),
            // A call of a model calls no tool itself.
            tool: None,
            ..call()
        };
        assert_eq!(told, without_content);

        // The other span may be told of later: the feed waits for transactions that began before.
        let slow = TailRequest {
            trace_id: vec![9; 16],
            rate: 3,
            ..TailRequest::default()
        };
        let mut tail = Tail::follow(&channel, "", slow).await;
        let spans = (1..=50).map(|number| crate::otlp::span(&[9; 16], &[number; 8], "many"));
        post_accepted(daemon.addresses().http, &request("shop", spans.collect()));
        for _ in 0..3 {
            assert_eq!(tail.span().await.0.name, "many");
        }
        let next = tail.next().await.unwrap();
        let Some(Event::Missed(missed)) = next.event else {
            panic!("{next:?}");
        };
        assert_eq!((missed.unseen, missed.over_rate), (Some(0), 47));

        let mut question = Request::new(TailRequest::default());
        question
            .metadata_mut()
            .insert("grpc-timeout", "300m".parse().unwrap());
        let mut client = TraceQueryClient::new(channel);
        let mut stream = client.tail(question).await.unwrap().into_inner();
        let ended = loop {
            match stream.message().await {
                Ok(event) => assert!(event.is_some(), "no end without a status"),
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended}");
    });
}

// Scenario: keys of two projects follow; one is revoked.
// Guarantees: each hears of its own project alone; the revoked one is told so.
fn a_key_follows_its_own_project(store: Store) {
    let daemon = Daemon::spawn_on(store, &[("processors.batch.timeout", "10ms")]);
    daemon.setup.run(&["project", "create", "second"]);
    let first = create_key(&daemon.setup, "default", "ingest,read");
    let second = create_key(&daemon.setup, "second", "ingest,read");
    runtime().block_on(async {
        let channel = channel(&daemon);
        let all = TailRequest::default;
        let mut of_first = Tail::follow(&channel, &first.text, all()).await;
        let mut of_second = Tail::follow(&channel, &second.text, all()).await;
        export(&channel, &first.text, sent(&[1; 16])).await;
        export(&channel, &second.text, sent(&[2; 16])).await;
        for _ in 0..2 {
            assert_eq!(of_first.span().await.0.trace_id, [1; 16]);
            assert_eq!(of_second.span().await.0.trace_id, [2; 16]);
        }
        crate::access::command(&daemon.setup, &["key", "revoke", &first.id]);
        let ended = loop {
            match of_first.next().await {
                Ok(event) => assert!(matches!(event.event, Some(Event::Alive(_))), "{event:?}"),
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended.code(), tonic::Code::Unauthenticated, "{ended}");
    });
}

on_both_stores! {
    a_client_hears_of_each_span_once_across_a_stop,
    a_trace_can_be_followed,
    a_key_follows_its_own_project,
}
