//! Spans that are sampled out, with many collectors.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::concurrent::{WRITERS, batches};
use super::{Config, NOW, PROJECT, PostgresWriter, Store, request, span, wait, write};
use crate::exporters::storage::assemble::Assembler;
use crate::model::sampling::Reason;
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::storage::{RetentionConfig, SpanWriter as _, WriteReport};

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

/// A collector that writes one span of a trace, to its own log; it samples, and leaves the span out, or
/// does not sample.
async fn deliver_one(config: Config, log_partition: u32, trace: u8, samples: bool) -> WriteReport {
    let records = [Record {
        position: Position(1),
        project: PROJECT,
        received_unix_nano: NOW,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(request("api", vec![span(trace, 1)]).encode_to_vec()),
    }];
    let limits = limits::Config::default();
    let (mut batch, _) = Assembler::new(log_partition, &limits).assemble(&records);
    if samples {
        batch.remember_ns = Some(3600 * 1_000_000_000);
        batch.spans[0].sampled_out = Some(Reason::Head);
    }
    let mut writer = PostgresWriter::new(&config, RetentionConfig::default()).unwrap();
    writer.prepare(NOW).await.unwrap();
    writer.write(&batch).await.unwrap()
}

// Scenario: a collector that does not sample writes; then another begins to sample, and leaves a trace out;
// then the first gets that trace again.
// Guarantees: the first knows of it at once.
#[test]
fn a_collector_that_begins_to_sample_is_noticed_at_once() {
    let mut store = Store::open();
    let of = |trace| [request("api", vec![span(trace, 1)])];
    assert_eq!(write(&mut store, PROJECT, 1, &of(1)).spans_stored, 1);
    let report = wait(deliver_one(store.config.clone(), 1, 2, true));
    assert_eq!(report.spans_sampled_out.head, 1);
    assert_eq!(write(&mut store, PROJECT, 2, &of(2)).spans_duplicate, 1);
}

/// Holds transactions up when they store how far their log is stored, until there is a table that says so.
const HOLD: &str = "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'released') LOOP
            PERFORM pg_sleep(0.02);
        END LOOP;
        RETURN NEW;
    END $$;
    CREATE TRIGGER hold BEFORE INSERT OR UPDATE ON log_checkpoint
        FOR EACH ROW EXECUTE FUNCTION hold()";

/// Waits until so many transactions are held up, or wait for those.
async fn held(store: &Store, count: &str) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND (wait_event = 'PgSleep' OR wait_event_type = 'Lock')";
    for _ in 0..1000 {
        if store.database.value(waiting) == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{count} transactions are never held up");
}

// Scenario: in a rolling restart that switches sampling on, a collector that does not sample yet stores a
// span while another that does gets the same one, to leave it out.
// Guarantees: the span is stored, and counts once; what is noted for that alone is due at once, and does not
// make it look as if somebody sampled.
#[test]
fn who_does_not_sample_yet_and_who_does_count_a_span_once() {
    let store = Store::open();
    let config = &store.config;
    wait(async {
        let begun = deliver_one(config.clone(), 1, 1, true).await;
        assert_eq!(begun.spans_sampled_out.head, 1);
        store.database.rows(HOLD);
        let mut plain = JoinSet::new();
        plain.spawn(deliver_one(config.clone(), 2, 2, false));
        held(&store, "1").await;
        let mut sampling = JoinSet::new();
        sampling.spawn(deliver_one(config.clone(), 3, 2, true));
        held(&store, "2").await;
        store.database.rows("CREATE TABLE released ()");
        let stored = plain.join_next().await.unwrap().unwrap();
        let known = sampling.join_next().await.unwrap().unwrap();
        assert_eq!((stored.spans_stored, known.spans_duplicate), (1, 1));
        assert_eq!(
            deliver_one(config.clone(), 4, 3, false).await.spans_stored,
            1
        );
    });
    assert_eq!(store.database.value("SELECT span_count FROM service"), "3");
    assert_eq!(store.count("span"), 2);
    assert_eq!(store.count("sampled_out WHERE forget_unix_nano = 0"), 1);
    store
        .database
        .rows("DELETE FROM sampled_out WHERE forget_unix_nano > 0");
    wait(deliver_one(config.clone(), 5, 4, false));
    assert_eq!(store.count("sampled_out"), 1);
}
