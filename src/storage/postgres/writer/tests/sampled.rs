//! Spans that are sampled out, with many collectors.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::concurrent::{WRITERS, batches};
use super::{NOW, PROJECT, PostgresWriter, Store, request, span, wait, write};
use crate::exporters::storage::assemble::Assembler;
use crate::model::sampling::Reason;
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::storage::{RetentionConfig, SpanWriter as _};

/// Writes all batches, beginning with one of them. Of four traces one is kept, one is left out, and of
/// two it depends on the batch.
async fn deliver(writer: &mut PostgresWriter, batches: &[Vec<Record>], number: usize) {
    let limits = limits::Config::default();
    let partition = u32::try_from(number).unwrap();
    let turned = batches.iter().enumerate().cycle().skip(number);
    for (place, records) in turned.take(batches.len()) {
        let (mut batch, _) = Assembler::new(partition, &limits).assemble(records);
        batch.remember_ns = Some(3600 * 1_000_000_000);
        for span in &mut batch.spans {
            let trace = usize::from(span.trace_id.0[0]);
            let is_out = match trace % 4 {
                0 => false,
                1 => true,
                _ => !(place + trace).is_multiple_of(3),
            };
            span.sampled_out = is_out.then_some(Reason::Tail);
        }
        writer.write(&batch).await.unwrap();
    }
}

// Scenario: sixteen collectors write the same batches at once, each beginning with another; some traces
// are sampled out, some in some batches only.
// Guarantees: rollups, services and sessions are as if all had been stored by one; each span is stored
// or left out once; what is stored of a trace has the totals of all of it; no deadlock.
#[test]
fn what_many_collectors_sample_out_counts_once() {
    let batches = Arc::new(batches());
    let mut alone = Store::open();
    wait(async {
        let limits = limits::Config::default();
        for records in batches.iter() {
            let (batch, _) = Assembler::new(0, &limits).assemble(records);
            alone.writer.write(&batch).await.unwrap();
        }
    });
    let store = Store::open();
    wait(async {
        let barrier = Arc::new(Barrier::new(usize::try_from(WRITERS).unwrap()));
        let mut writers = JoinSet::new();
        for number in 0..usize::try_from(WRITERS).unwrap() {
            let (batches, barrier) = (Arc::clone(&batches), Arc::clone(&barrier));
            let config = store.config.clone();
            writers.spawn(async move {
                let retention = RetentionConfig::default();
                let mut writer = PostgresWriter::new(&config, retention).unwrap();
                writer.prepare(NOW).await.unwrap();
                barrier.wait().await;
                deliver(&mut writer, &batches, number).await;
            });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
    });
    let sums = "SELECT 'rollup', level::text, minute::text, service_name, operation, model,
            span_count::text, error_count::text, duration_sum_ns::text, duration_hist::text,
            llm_call_count::text, input_tokens::text, output_tokens::text FROM rollup
         UNION ALL
         SELECT 'session', session_id, start_unix_nano::text, end_unix_nano::text, '', '',
            span_count::text, error_count::text, '', '', llm_call_count::text,
            input_tokens::text, output_tokens::text FROM session
         UNION ALL
         SELECT 'service', name, first_seen_unix_nano::text, last_seen_unix_nano::text, '', '',
            span_count::text, error_count::text, '', '', '', '', '' FROM service
         ORDER BY 1, 2, 3, 4, 5, 6";
    assert_eq!(store.database.rows(sums), alone.database.rows(sums));
    let left_out = "SELECT coalesce(sum(length(span_ids)), 0) / 8 FROM sampled_out";
    let left_out: i64 = store.database.value(left_out).parse().unwrap();
    assert!(left_out > 0);
    assert_eq!(store.count("span") + left_out, alone.count("span"));
    let always = "trace WHERE get_byte(trace_id, 0) % 4 = 1";
    assert_eq!((alone.count(always), store.count(always)), (5, 0));
    let totals = "SELECT encode(trace_id, 'hex'), llm_call_count::text, input_tokens::text,
        output_tokens::text FROM trace ORDER BY 1";
    let whole = alone.database.rows(totals);
    let stored = store.database.rows(totals);
    assert!(stored.len() >= 5);
    for trace in stored {
        assert!(whole.contains(&trace), "{trace:?}");
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(store.database.value(deadlocks), "0");
}

// Scenario: a collector that does not sample writes; then another begins to sample, and leaves a trace out;
// then the first gets that trace again.
// Guarantees: the first knows of it at once.
#[test]
fn a_collector_that_begins_to_sample_is_noticed_at_once() {
    let mut store = Store::open();
    let of = |trace| [request("api", vec![span(trace, 1)])];
    assert_eq!(write(&mut store, PROJECT, 1, &of(1)).spans_stored, 1);
    let records = [Record {
        position: Position(1),
        project: PROJECT,
        received_unix_nano: NOW,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(of(2)[0].encode_to_vec()),
    }];
    let limits = limits::Config::default();
    let (mut batch, _) = Assembler::new(1, &limits).assemble(&records);
    batch.remember_ns = Some(3600 * 1_000_000_000);
    batch.spans[0].sampled_out = Some(Reason::Head);
    let report = wait(async {
        let mut other = PostgresWriter::new(&store.config, RetentionConfig::default()).unwrap();
        other.prepare(NOW).await.unwrap();
        other.write(&batch).await.unwrap()
    });
    assert_eq!(report.spans_sampled_out.head, 1);
    assert_eq!(write(&mut store, PROJECT, 2, &of(2)).spans_duplicate, 1);
}
