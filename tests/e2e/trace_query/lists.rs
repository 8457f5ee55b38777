//! Lists of traces.

use pulse_collector::receivers::native::proto::{StatusFilter, TraceSummary};
use tonic::codec::CompressionEncoding;

use super::*;

async fn list(channel: &Channel, filter: Option<Filter>, page_size: u32) -> Vec<TraceSummary> {
    let mut client = TraceQueryClient::new(channel.clone());
    let mut traces = Vec::new();
    let mut page_token = String::new();
    loop {
        let question = ListTracesRequest {
            filter: filter.clone(),
            page_size,
            page_token,
        };
        let page = client.list_traces(question).await.unwrap().into_inner();
        assert!(page_size == 0 || page.traces.len() <= page_size as usize);
        traces.extend(page.traces);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return traces;
        }
    }
}

/// Every filter, and the same as parameters.
fn filters(start: u64) -> Vec<(Filter, String)> {
    let none = Filter::default;
    let of = |filter: Filter, query: &str| (filter, query.to_owned());
    let text = |text: &str| text.to_owned();
    vec![
        (
            Filter {
                start: Some(start),
                ..none()
            },
            format!("start={start}"),
        ),
        (
            Filter {
                end: Some(start + 1),
                ..none()
            },
            format!("end={}", start + 1),
        ),
        of(
            Filter {
                service: text("writer"),
                ..none()
            },
            "service=writer",
        ),
        of(
            Filter {
                name: text("GET /"),
                ..none()
            },
            "name=GET%20/",
        ),
        of(
            Filter {
                status: StatusFilter::Error.into(),
                ..none()
            },
            "status=error",
        ),
        of(
            Filter {
                status: StatusFilter::Ok.into(),
                ..none()
            },
            "status=ok",
        ),
        of(
            Filter {
                min_duration: Some(1_000),
                ..none()
            },
            "min_duration=1us",
        ),
        of(
            Filter {
                max_duration: Some(100),
                ..none()
            },
            "max_duration=100ns",
        ),
        of(
            Filter {
                session_id: text("s-1"),
                ..none()
            },
            "session_id=s-1",
        ),
        of(
            Filter {
                user_id: text("u-1"),
                ..none()
            },
            "user_id=u-1",
        ),
        of(
            Filter {
                min_tokens: Some(1050),
                ..none()
            },
            "min_tokens=1050",
        ),
        of(
            Filter {
                min_cost: Some(7_000_001),
                ..none()
            },
            "min_cost=0.007000001",
        ),
        of(
            Filter {
                operation: text("chat"),
                ..none()
            },
            "operation=chat",
        ),
        of(
            Filter {
                provider: text("openai"),
                ..none()
            },
            "provider=openai",
        ),
        of(
            Filter {
                model: text("gpt-4o-2024-08-06"),
                ..none()
            },
            "model=gpt-4o-2024-08-06",
        ),
        of(
            Filter {
                agent: text("planner"),
                ..none()
            },
            "agent=planner",
        ),
        of(
            Filter {
                tool: text("search"),
                ..none()
            },
            "tool=search",
        ),
        of(
            Filter {
                tag: text("blue"),
                ..none()
            },
            "tag=blue",
        ),
        of(
            Filter {
                error_kind: text("timeout"),
                ..none()
            },
            "error_kind=timeout",
        ),
        of(
            Filter {
                attributes: [(text("tier"), text("gold"))].into(),
                ..none()
            },
            "attr.tier=gold",
        ),
    ]
}

// Scenario: traces are listed by every filter, and in pages of one and of many.
// Guarantees: each list is that of the query API, and no filter leaves all or nothing; pages join to it.
fn lists_are_those_of_the_query_api(store: Store) {
    let daemon = Daemon::spawn_on(store, &[]);
    let first = sent(&[1; 16]);
    let start = first[0].scope_spans[0].spans[0].start_time_unix_nano;
    runtime().block_on(async {
        let channel = channel(&daemon);
        export(&channel, "", first).await;
        for number in 2..=5 {
            let mut span = span(&[number; 16], &[number; 8], "other");
            span.start_time_unix_nano = start - 1_000_000_000 * u64::from(number);
            if number == 5 {
                span.start_time_unix_nano = start + 1_000_000_000;
            }
            span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000;
            if number == 5 {
                span.attributes = vec![
                    text("gen_ai.operation.name", "execute_tool"),
                    text("gen_ai.tool.name", "search"),
                ];
            }
            post_accepted(daemon.addresses().http, &request("db", vec![span]));
        }
        for number in 1..=5 {
            let spans = if number == 1 { 2 } else { 1 };
            await_trace(&channel, "", &[number; 16], spans).await;
        }
        for (filter, query) in filters(start) {
            let told = daemon.list(&format!("/api/v1/traces?{query}"));
            let told: Vec<_> = told
                .iter()
                .map(|it| it["trace_id"].as_str().unwrap())
                .collect();
            let found = list(&channel, Some(filter), 0).await;
            let found: Vec<_> = found.iter().map(|trace| hex(&trace.trace_id)).collect();
            assert_eq!(found, told, "{query}");
            assert!((1..5).contains(&found.len()), "{query}: {found:?}");
        }
        let all = list(&channel, None, 0).await;
        assert_eq!(all.len(), 5);
        for page_size in [1, 2, 1000] {
            assert_eq!(list(&channel, None, page_size).await, all, "{page_size}");
        }
        let gzip = TraceQueryClient::new(channel.clone());
        let mut gzip = gzip
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let answer = gzip
            .list_traces(ListTracesRequest::default())
            .await
            .unwrap();
        assert!(answer.metadata().contains_key("x-request-id"));
        assert_eq!(answer.into_inner().traces, all);
    });
}

on_both_stores! {
    lists_are_those_of_the_query_api,
}
