//! Many collectors, one database.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Config, NOW, PROJECT, PostgresWriter, Store, conformance, request, span, wait, write};
use crate::exporters::storage::assemble::Assembler;
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::storage::conformance::text;
use crate::storage::{Error, EventFeed as _, RetentionConfig, SpanWriter as _};

pub(super) const WRITERS: u64 = 16;

/// A span of a model call; those of one trace tell of three calls, over and over, and of those
/// below an agent.
fn told(trace: u8, number: u64) -> Span {
    let mut span = span(trace, number);
    let operation = if number == 1 { "invoke_agent" } else { "chat" };
    let response = format!("r{}", number % 3);
    span.attributes.extend([
        text("gen_ai.operation.name", operation),
        text(
            "gen_ai.request.model",
            if trace.is_multiple_of(3) { "a" } else { "b" },
        ),
        text("gen_ai.response.id", &response),
        text(
            "gen_ai.usage.input_tokens",
            if number.is_multiple_of(4) { "0" } else { "10" },
        ),
        text("gen_ai.usage.output_tokens", &number.to_string()),
    ]);
    span
}

/// Some traces, of which each batch has a part; resends within and between batches.
pub(super) fn batches() -> Vec<Vec<Record>> {
    (0..12_u64)
        .map(|batch| {
            let spans = |odd: u8| {
                (1..=20_u8)
                    .filter(|trace| trace % 2 == odd)
                    .flat_map(|trace| {
                        let first = 1 + (batch * 3 + u64::from(trace)) % 17;
                        (first..first + 6).map(move |number| told(trace, number))
                    })
                    .collect()
            };
            let record = |position, request: &[u8]| Record {
                position: Position(position),
                project: PROJECT,
                received_unix_nano: NOW,
                kind: PayloadKind::OtlpTraces,
                payload: Bytes::copy_from_slice(request),
            };
            let even = request("even", spans(0)).encode_to_vec();
            let odd = request("odd", spans(1)).encode_to_vec();
            vec![record(1 + 2 * batch, &even), record(2 + 2 * batch, &odd)]
        })
        .collect()
}

async fn deliver(
    writer: &mut PostgresWriter,
    batches: &[Vec<Record>],
    partition: u32,
    from: usize,
) {
    let limits = limits::Config::default();
    let turned = batches.iter().cycle().skip(from).take(batches.len());
    for records in turned {
        let (batch, _) = Assembler::new(partition, &limits).assemble(records);
        writer.write(&batch).await.unwrap();
    }
}

fn sums(store: &Store) -> Vec<Vec<Option<String>>> {
    store.database.rows(
        "SELECT 'rollup', level::text, minute::text, service_name, operation, span_count::text,
            error_count::text, duration_sum_ns::text, duration_hist::text,
            llm_call_count::text, input_tokens::text, output_tokens::text FROM rollup
         UNION ALL
         SELECT 'session', session_id, '', '', '', span_count::text, error_count::text,
            trace_count::text, '', llm_call_count::text, input_tokens::text, output_tokens::text
            FROM session
         UNION ALL
         SELECT 'join', session_id, encode(trace_id, 'hex'), '', '', '', '', '', '', '', '', ''
            FROM session_trace
         UNION ALL
         SELECT 'service', service_name, encode(trace_id, 'hex'), start_unix_nano::text, '', '',
            '', '', '', '', '', '' FROM trace_service
         UNION ALL
         SELECT 'calls', encode(trace_id, 'hex'), '', '', '', span_count::text, '', '',
            encode(calls, 'hex'), llm_call_count::text, input_tokens::text, output_tokens::text
            FROM trace
         ORDER BY 1, 2, 3, 4, 5, 6",
    )
}

// Scenario: sixteen collectors write the same batches at once, each beginning with another.
// Guarantees: rows, summaries, sessions, services and rollups are as if it had been one; nothing
// fails, not even with a deadlock that would have to be tried again.
#[test]
fn the_same_batches_from_many_collectors_count_once() {
    let batches = Arc::new(batches());
    let mut alone = Store::open();
    wait(deliver(&mut alone.writer, &batches, 0, 0));
    let store = Store::open();
    wait(async {
        let barrier = Arc::new(Barrier::new(usize::try_from(WRITERS).unwrap()));
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let (batches, barrier) = (Arc::clone(&batches), Arc::clone(&barrier));
            let config = store.config.clone();
            writers.spawn(async move {
                let retention = RetentionConfig::default();
                let mut writer = PostgresWriter::new(&config, retention).unwrap();
                writer.prepare(NOW).await.unwrap();
                barrier.wait().await;
                let number = u32::try_from(number).unwrap();
                deliver(&mut writer, &batches, number, number as usize).await;
            });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
    });
    assert_eq!(
        conformance::everything(&store, PROJECT),
        conformance::everything(&alone, PROJECT)
    );
    assert_eq!(sums(&store), sums(&alone));
    assert_eq!(store.count("span"), alone.count("span"));
    let twice = "SELECT count(*) FROM (SELECT FROM span GROUP BY project_id, trace_id, span_id
        HAVING count(*) > 1) AS twice";
    assert_eq!(store.database.value(twice), "0");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(store.database.value(deadlocks), "0");
    assert_eq!(
        store.count("log_checkpoint"),
        i64::try_from(WRITERS).unwrap()
    );
}

// Scenario: a batch is larger than a block and holds two projects.
// Guarantees: no block is shared, every span is found in its block.
#[test]
fn blocks_hold_one_project_each() {
    let mut store = Store::open();
    let other = crate::model::ProjectId(7);
    for project in [PROJECT, other] {
        let spans = (1..=300).map(|number| {
            let mut span = span(1, number);
            let noise: String = (0..3000_u64)
                .map(|n| char::from(b'a' + ((n * n * number * 31 + n) % 26) as u8))
                .collect();
            span.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
                code: 1,
                message: noise + &"x".repeat(3000),
            });
            span
        });
        write(&mut store, project, 1, &[request("api", spans.collect())]);
    }
    assert!(store.count("content_block WHERE project_id = 1") > 1);
    let misplaced = "SELECT count(*) FROM span s WHERE NOT EXISTS (
        SELECT FROM content_block b WHERE (b.project_id, b.block_id) = (s.project_id, s.block_id))";
    assert_eq!(store.database.value(misplaced), "0");
    conformance::everything(&store, PROJECT);
    conformance::everything(&store, other);
}

/// Requests of logs that have records in common.
fn logs() -> Vec<Vec<Record>> {
    let record = |number: u64| LogRecord {
        // Many of one time, and some of no partition.
        time_unix_nano: if number.is_multiple_of(9) {
            number
        } else {
            NOW + number / 5
        },
        severity_number: 9,
        trace_id: vec![7; 16],
        span_id: (number + 1).to_be_bytes().to_vec(),
        ..LogRecord::default()
    };
    let request = |first: u64| ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: (first..first + 60).map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    let records = (0..12).map(|batch| {
        vec![Record {
            position: Position(1 + batch),
            project: PROJECT,
            received_unix_nano: NOW,
            kind: PayloadKind::OtlpLogs,
            payload: Bytes::from(request(batch * 20).encode_to_vec()),
        }]
    });
    records.collect()
}

/// Writes all batches, from another one on than the others do; tries again where it is refused for
/// another's sake, as the exporter does.
async fn write_logs(config: &Config, number: u32, batches: &[Vec<Record>]) {
    let retention = RetentionConfig::default();
    let mut writer = PostgresWriter::new(config, retention).unwrap();
    writer.prepare(NOW).await.unwrap();
    let limits = limits::Config::default();
    let turned = batches.iter().cycle().skip(number as usize);
    for records in turned.take(batches.len()) {
        let (batch, _) = Assembler::new(number, &limits).assemble(records);
        let mut tries = 0;
        while let Err(error) = writer.write(&batch).await {
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
            tries += 1;
            assert!(tries < 100, "{error}");
        }
    }
}

// Scenario: eight collectors write the same logs at once, each beginning with another request; one
// that is refused for another's sake tries again, as the exporter does.
// Guarantees: each record is stored once, in a block that is there.
#[test]
fn the_same_logs_from_many_collectors_are_stored_once() {
    const COLLECTORS: u32 = 8;
    let batches = Arc::new(logs());
    let store = Store::open();
    wait(async {
        let mut writers = JoinSet::new();
        for number in 0..COLLECTORS {
            let (batches, config) = (Arc::clone(&batches), store.config.clone());
            writers.spawn(async move { write_logs(&config, number, &batches).await });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
    });
    assert_eq!(store.count("event"), 11 * 20 + 60);
    let twice = "SELECT count(*) FROM (SELECT FROM event GROUP BY project_id, digest
        HAVING count(*) > 1) AS twice";
    assert_eq!(store.database.value(twice), "0");
    let misplaced = "SELECT count(*) FROM event e WHERE NOT EXISTS (
        SELECT FROM content_block b WHERE (b.project_id, b.block_id) = (e.project_id, e.block_id))";
    assert_eq!(store.database.value(misplaced), "0");
}

// Scenario: as above, and a client follows the feed of events all the while, in small pieces.
// Guarantees: once all have written, it has had every event once, in the order of positions.
#[test]
fn who_follows_many_collectors_misses_no_event() {
    const COLLECTORS: u32 = 4;
    let batches = Arc::new(logs());
    let store = Store::open();
    let seen = wait(async {
        let mut writers = JoinSet::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut after = store.reader.event_feed_end().await.unwrap();
        for number in 0..COLLECTORS {
            let (batches, config) = (Arc::clone(&batches), store.config.clone());
            writers.spawn(async move { write_logs(&config, number, &batches).await });
        }
        let mut seen = Vec::new();
        let mut is_written = false;
        loop {
            assert!(Instant::now() < deadline, "the feed stands still");
            let page = store.reader.event_feed(PROJECT, after, 7).await.unwrap();
            after = page.next;
            seen.extend(page.events);
            // Transactions of ours may be under way when the last writer answers.
            if is_written && !page.more && seen.len() >= 11 * 20 + 60 {
                return seen;
            }
            if let Some(written) = writers.try_join_next() {
                written.unwrap();
            }
            is_written = writers.is_empty();
        }
    });
    assert!(seen.is_sorted_by(|a, b| a.position < b.position));
    let ids: HashSet<_> = seen.iter().map(|it| it.event.columns.id).collect();
    assert_eq!((ids.len(), seen.len()), (280, 280));
}
