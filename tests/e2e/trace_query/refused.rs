//! Questions that are not answered.

use pulse_collector::receivers::native::proto::TailRequest;
use tonic_types::StatusExt as _;

use super::*;
use crate::raw_grpc;

const LIST: &str = "/pulse.trace.v1.TraceQuery/ListTraces";

fn fields(refused: &Refusal) -> Vec<String> {
    let details = refused.get_error_details();
    let violations = details.bad_request().map(|it| it.field_violations.clone());
    let fields = violations.unwrap_or_default().into_iter();
    fields.map(|it| it.field).collect()
}

fn bad_filters() -> Vec<(Filter, &'static [&'static str])> {
    let none = Filter::default;
    let attributes = (0..17).map(|number| (format!("k{number}"), String::new()));
    vec![
        (
            Filter {
                start: Some(2),
                end: Some(1),
                min_tokens: Some(u64::MAX),
                ..none()
            },
            &["filter.end", "filter.min_tokens"],
        ),
        (
            Filter {
                min_duration: Some(2),
                max_duration: Some(1),
                ..none()
            },
            &["filter.max_duration"],
        ),
        (
            Filter {
                status: 9,
                ..none()
            },
            &["filter.status"],
        ),
        (
            Filter {
                error_kind: "bad luck".to_owned(),
                ..none()
            },
            &["filter.error_kind"],
        ),
        (
            Filter {
                name: "a\0b".to_owned(),
                ..none()
            },
            &["filter.name"],
        ),
        (
            Filter {
                min_cost: Some(u64::MAX),
                ..none()
            },
            &["filter.min_cost"],
        ),
        (
            Filter {
                attributes: attributes.collect(),
                ..none()
            },
            &["filter.attributes"],
        ),
        (
            Filter {
                attributes: [(String::new(), String::new())].into(),
                ..none()
            },
            &["filter.attributes"],
        ),
    ]
}

// Scenario: questions with wrong filters, ids, page sizes, tokens and places to go on from.
// Guarantees: each is refused as INVALID_ARGUMENT, and every wrong field is named.
#[test]
fn what_is_wrong_is_named() {
    let daemon = Daemon::spawn(&[]);
    runtime().block_on(async {
        let mut client = TraceQueryClient::new(channel(&daemon));
        let expect = |refused: Refusal, expected: &[&str]| {
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
            assert_eq!(fields(&refused), expected, "{refused}");
            assert!(refused.message().contains(expected[0]), "{refused}");
        };
        for (filter, expected) in bad_filters() {
            let filter = Some(filter);
            let list = ListTracesRequest {
                filter: filter.clone(),
                ..ListTracesRequest::default()
            };
            expect(client.list_traces(list).await.unwrap_err(), expected);
            let tail = TailRequest {
                filter,
                ..TailRequest::default()
            };
            expect(client.tail(tail).await.unwrap_err(), expected);
        }
        let list = |page_size, page_token: &str| ListTracesRequest {
            page_size,
            page_token: page_token.to_owned(),
            ..ListTracesRequest::default()
        };
        expect(
            client.list_traces(list(1001, "")).await.unwrap_err(),
            &["page_size"],
        );
        expect(
            client.list_traces(list(0, "forged")).await.unwrap_err(),
            &["page_token"],
        );
        let get = |trace_id: &[u8], page_size, page_token: &str| GetTraceRequest {
            trace_id: trace_id.to_vec(),
            page_size,
            page_token: page_token.to_owned(),
        };
        for bad in [&[][..], &[1; 15], &[0; 16], &[1; 17]] {
            expect(
                client.get_trace(get(bad, 0, "")).await.unwrap_err(),
                &["trace_id"],
            );
        }
        expect(
            client
                .get_trace(get(&[1; 8], 10_001, ""))
                .await
                .unwrap_err(),
            &["trace_id", "page_size"],
        );
        expect(
            client.get_trace(get(&[1; 16], 0, "x")).await.unwrap_err(),
            &["page_token"],
        );
        let tail = TailRequest {
            trace_id: vec![1; 3],
            rate: 1001,
            resume_after: "yesterday".to_owned(),
            ..TailRequest::default()
        };
        expect(
            client.tail(tail).await.unwrap_err(),
            &["trace_id", "rate", "resume_after"],
        );
        let unknown = client.get_trace(get(&[1; 16], 0, "")).await.unwrap_err();
        assert_eq!(unknown.code(), tonic::Code::NotFound, "{unknown}");
    });
}

// Scenario: two projects, each with a trace; keys of each, a key that may only send, no key and a key of
// nobody.
// Guarantees: nobody sees what is the other's, whatever token they show; who may not read is told why.
fn nobody_reads_what_is_anothers(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    daemon.setup.run(&["project", "create", "second"]);
    let first = create_key(&daemon.setup, "default", "ingest,read").text;
    let second = create_key(&daemon.setup, "second", "ingest,read").text;
    let sender = create_key(&daemon.setup, "default", "ingest").text;
    runtime().block_on(async {
        let channel = channel(&daemon);
        for number in 1..=3 {
            export(&channel, &first, sent(&[number; 16])).await;
            await_trace(&channel, &first, &[number; 16], 2).await;
        }
        export(&channel, &second, sent(&[9; 16])).await;
        await_trace(&channel, &second, &[9; 16], 2).await;
        let get = |trace_id: [u8; 16], page_token: &str| GetTraceRequest {
            trace_id: trace_id.to_vec(),
            page_size: 1,
            page_token: page_token.to_owned(),
        };
        let unseen = super::get(&channel, &second, get([1; 16], ""))
            .await
            .unwrap_err();
        assert_eq!(unseen.code(), tonic::Code::NotFound, "{unseen}");
        let mut client = TraceQueryClient::new(channel.clone());
        let list = |page_token: &str| ListTracesRequest {
            page_size: 1,
            page_token: page_token.to_owned(),
            ..ListTracesRequest::default()
        };
        let of_second = client
            .list_traces(with_key(list(""), &second))
            .await
            .unwrap();
        let of_second = of_second.into_inner();
        assert_eq!(of_second.traces.len(), 1);
        assert_eq!(of_second.traces[0].trace_id, [9; 16]);
        // Tokens are good for one project, method, trace and filter.
        let page = client
            .list_traces(with_key(list(""), &first))
            .await
            .unwrap()
            .into_inner();
        let token = page.next_page_token;
        let spans = super::get(&channel, &first, get([1; 16], ""))
            .await
            .unwrap();
        let span_token = spans.next_page_token;
        let filtered = ListTracesRequest {
            filter: Some(Filter {
                user_id: "u-1".to_owned(),
                ..Filter::default()
            }),
            ..list(&token)
        };
        let refusals = [
            client
                .list_traces(with_key(list(&token), &second))
                .await
                .unwrap_err(),
            client
                .list_traces(with_key(list(&span_token), &first))
                .await
                .unwrap_err(),
            client
                .list_traces(with_key(filtered, &first))
                .await
                .unwrap_err(),
            super::get(&channel, &first, get([1; 16], &token))
                .await
                .unwrap_err(),
            super::get(&channel, &first, get([2; 16], &span_token))
                .await
                .unwrap_err(),
        ];
        for refused in refusals {
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
            assert_eq!(fields(&refused), ["page_token"]);
        }
        assert!(
            super::get(&channel, &first, get([1; 16], &span_token))
                .await
                .is_ok()
        );
        // A node hears of the first key within some seconds.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while super::get(&channel, "", get([1; 16], "")).await.is_ok() {
            assert!(tokio::time::Instant::now() < deadline, "not in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (key, code) in [
            (sender.as_str(), tonic::Code::PermissionDenied),
            ("", tonic::Code::Unauthenticated),
            ("pulse_sk_of_nobody", tonic::Code::Unauthenticated),
        ] {
            let gets = super::get(&channel, key, get([1; 16], ""))
                .await
                .unwrap_err();
            let lists = client
                .list_traces(with_key(list(""), key))
                .await
                .unwrap_err();
            let tails = client
                .tail(with_key(TailRequest::default(), key))
                .await
                .unwrap_err();
            for refused in [gets, lists, tails] {
                assert_eq!(refused.code(), code, "{refused}");
            }
        }
    });
}

// Scenario: calls that are no questions: a method that there is not, a message that is none, one that is
// too large, a deadline that is none.
// Guarantees: each has the code that says so; each is counted by its method and named by an id.
#[test]
fn what_is_no_question_is_refused() {
    let daemon = Daemon::spawn(&[]);
    let address = daemon.addresses().grpc;
    let grpc = ("content-type", "application/grpc");
    let send = |path: &str, headers: &[(&str, &str)], message: &[u8]| {
        let headers = [&[grpc], headers].concat();
        raw_grpc::send(address, path, &headers, raw_grpc::frame(false, message))
    };
    let status = |code: tonic::Code| Some(i32::from(code));
    let known = send(LIST, &[("x-request-id", "mine")], b"");
    assert_eq!(known.status, status(tonic::Code::Ok), "{known:?}");
    assert_eq!(known.headers["x-request-id"], "mine");
    let unknown = send("/pulse.trace.v1.TraceQuery/Drop", &[], b"");
    assert_eq!(
        unknown.status,
        status(tonic::Code::Unimplemented),
        "{unknown:?}"
    );
    let malformed = send(LIST, &[], b"\x0a\xff");
    assert_eq!(
        malformed.status,
        status(tonic::Code::InvalidArgument),
        "{malformed:?}"
    );
    let newer = send(LIST, &[], b"\x0a\x03\xa0\x01\x01");
    assert_eq!(
        newer.status,
        status(tonic::Code::InvalidArgument),
        "{newer:?}"
    );
    assert!(
        newer.message.contains("field%2020") || newer.message.contains("field 20"),
        "{newer:?}"
    );
    let large = send(LIST, &[], &vec![0; 65 << 10]);
    assert_eq!(
        large.status,
        status(tonic::Code::ResourceExhausted),
        "{large:?}"
    );
    let soon = send(LIST, &[("grpc-timeout", "soon")], b"");
    assert_eq!(
        soon.status,
        status(tonic::Code::InvalidArgument),
        "{soon:?}"
    );
    let counted =
        |labels: &str| daemon.metric(&format!("pulse_gateway_requests_total{{{labels}}}"));
    let of = |code: u16| counted(&format!("route=\"{LIST}\",code=\"{code}\""));
    assert_eq!((of(200), of(400), of(413)), (1.0, 3.0, 1.0));
}

on_both_stores! {
    nobody_reads_what_is_anothers,
}
