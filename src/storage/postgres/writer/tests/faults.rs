//! What goes wrong while a batch is written.

use bytes::Bytes;
use prost::Message as _;

use super::retention::run;
use super::{NOW, PROJECT, PostgresWriter, Store, conformance, request, span, wait, write};
use crate::config::Duration;
use crate::exporters::storage::assemble::Assembler;
use crate::model::SpanId;
use crate::processors::limits;
use crate::queue::{PayloadKind, Position, Record};
use crate::storage::postgres::fault_proxy::{Direction, FaultProxy};
use crate::storage::{Error, RetentionConfig, SpanWriter as _, WriteReport};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

fn record(position: u64, request: &ExportTraceServiceRequest) -> Record {
    Record {
        position: Position(position),
        project: PROJECT,
        received_unix_nano: NOW,
        kind: PayloadKind::OtlpTraces,
        payload: Bytes::from(request.encode_to_vec()),
    }
}

fn try_write(
    store: &mut Store,
    position: u64,
    request: &ExportTraceServiceRequest,
) -> Result<WriteReport, Error> {
    let records = [record(position, request)];
    let limits = limits::Config::default();
    let (batch, _) = Assembler::new(0, &limits).assemble(&records);
    wait(store.writer.write(&batch))
}

/// Ends the writer's connection inside COMMIT, before anything is durable: a deferred trigger runs
/// there.
fn end_at_commit(store: &Store) {
    store.database.rows(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER cut AFTER INSERT OR UPDATE ON log_checkpoint
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION cut()",
    );
}

// Scenario: the server ends our connection inside COMMIT, before it took place.
// Guarantees: unavailable, nothing stored; the same batch is stored once when it is tried again.
#[test]
fn a_commit_that_did_not_take_place_is_repeated() {
    let mut store = Store::open();
    let batch = request("api", (1..=5).map(|number| span(1, number)).collect());
    end_at_commit(&store);
    let error = try_write(&mut store, 1, &batch).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(store.count("span"), 0);
    assert_eq!(store.count("trace"), 0);
    store.database.rows("DROP TRIGGER cut ON log_checkpoint");
    let report = try_write(&mut store, 1, &batch).unwrap();
    assert_eq!((report.spans_stored, report.spans_duplicate), (5, 0));
    assert_eq!(store.count("span"), 5);
}

// Scenario: a row that a constraint refuses, among others.
// Guarantees: the batch is refused as poison and leaves nothing; the others can be stored without
// it, and it can be set aside with the reason.
#[test]
fn a_refused_row_is_poison_and_can_be_set_aside() {
    let mut store = Store::open();
    store
        .database
        .rows("ALTER TABLE span ADD CONSTRAINT no_poison CHECK (name <> 'poison') NOT VALID");
    let mut poison = span(1, 3);
    "poison".clone_into(&mut poison.name);
    let records = [record(
        1,
        &request("api", vec![span(1, 1), poison, span(1, 2)]),
    )];
    let limits = limits::Config::default();
    let (mut batch, _) = Assembler::new(0, &limits).assemble(&records);
    let error = wait(store.writer.write(&batch)).unwrap_err();
    assert!(matches!(error, Error::Poison { .. }), "{error:?}");
    assert_eq!(store.count("trace"), 0);
    let refused = batch.spans.remove(1);
    wait(store.writer.write(&batch)).unwrap();
    wait(store.writer.quarantine(&refused, "its name\0 is poison")).unwrap();
    wait(store.writer.quarantine(&refused, "again")).unwrap();
    assert_eq!(store.count("span"), 2);
    let letters = store
        .database
        .rows("SELECT reason, encode(span_id, 'hex') FROM dead_letter");
    let expected = ["its name\u{fffd} is poison", "0000000000000003"];
    assert_eq!(letters, [expected.map(|text| Some(text.to_owned()))]);
    assert_eq!(refused.span_id, SpanId(3_u64.to_be_bytes()));
}

// Scenario: texts with U+0000 in every place a client can put one.
// Guarantees: everything is stored, the message as it came, the columns with U+FFFD.
#[test]
fn texts_that_postgres_cannot_hold_are_stored() {
    let mut store = Store::with(RetentionConfig::default(), |config| {
        config.attributes_jsonb = true;
    });
    let mut odd = span(1, 1);
    odd.name = "na\0me".to_owned();
    odd.status = Some(opentelemetry_proto::tonic::trace::v1::Status {
        code: 2,
        message: "\0".to_owned(),
    });
    let attribute = |key: &str, value: &str| {
        let mut attribute = odd.attributes[0].clone();
        key.clone_into(&mut attribute.key);
        if let Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)) =
            attribute
                .value
                .as_mut()
                .and_then(|value| value.value.as_mut())
        {
            value.clone_into(text);
        }
        attribute
    };
    odd.attributes = vec![
        attribute("gen_ai.operation.name", "ch\0at"),
        attribute("gen_ai.request.model", "\0"),
        attribute("session.id", "s\0"),
        attribute("user.id", "\0u"),
        attribute("k\0ey", "v\0"),
        attribute("logfire.tags", "whole,t\0ag"),
    ];
    let mut batch = request("ser\0vice", vec![odd.clone(), span(1, 2)]);
    batch.resource_spans[0].schema_url = "url\0".to_owned();
    batch.resource_spans[0].scope_spans[0].schema_url = "\0".to_owned();
    write(&mut store, PROJECT, 1, std::slice::from_ref(&batch));
    let report = write(&mut store, PROJECT, 2, &[batch]);
    assert_eq!(report.spans_duplicate, 2);
    let row = store.database.rows(
        "SELECT name, service_name, operation, request_model, session_id, user_id,
            array_to_string(tags, '; '), attributes->>E'k\u{fffd}ey' FROM span WHERE parent_span_id IS NULL",
    );
    let expected = [
        "na\u{fffd}me",
        "ser\u{fffd}vice",
        "ch\u{fffd}at",
        "\u{fffd}",
        "s\u{fffd}",
        "\u{fffd}u",
        "whole; t\u{fffd}ag",
        "v\u{fffd}",
    ];
    assert_eq!(row, [expected.map(|text| Some(text.to_owned()))]);
    let page = crate::storage::PageRequest {
        limit: 10,
        after: None,
    };
    let stored = wait(crate::storage::SpanReader::trace(
        &store.reader,
        PROJECT,
        conformance::trace_id(1),
        &page,
    ));
    let stored = stored.unwrap().unwrap();
    assert_eq!(stored.spans[0].message, odd.encode_to_vec());
    // No message has these.
    assert_eq!(stored.spans[0].resource.schema_url, "url\0");
    assert_eq!(stored.spans[0].scope.schema_url, "\0");
}

// Scenario: keys as long as columns allow, of characters that do not compress.
// Guarantees: they fit into the indexes.
#[test]
fn the_longest_keys_fit_into_indexes() {
    let mut store = Store::open();
    let mut seed = 7_u64;
    let mut noise = || -> String {
        (0..3000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'!' + u8::try_from(seed >> 33 & 63).unwrap())
            })
            .collect()
    };
    let mut long = span(1, 1);
    let mut attribute = |key: &str| {
        let mut attribute = long.attributes[0].clone();
        key.clone_into(&mut attribute.key);
        let value = opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(noise());
        attribute.value.as_mut().unwrap().value = Some(value);
        attribute
    };
    let attributes = [
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.provider.name",
        "session.id",
        "user.id",
    ]
    .map(&mut attribute)
    .to_vec();
    long.attributes = attributes;
    long.name = noise();
    let report = write(&mut store, PROJECT, 1, &[request(&noise(), vec![long])]);
    assert_eq!(report.spans_stored, 1);
}

/// A store whose writer goes through a proxy.
fn through_proxy() -> (Store, FaultProxy) {
    let mut store = Store::open();
    let proxy = FaultProxy::start(store.database.address());
    store.config.url = store.database.url_through(proxy.address()).as_str().into();
    store.config.connect_timeout = Duration::seconds(1);
    store.config.acquire_timeout = Duration::seconds(1);
    store.config.statement_timeout = Duration::seconds(1);
    store.writer = PostgresWriter::new(&store.config, RetentionConfig::default()).unwrap();
    (store, proxy)
}

// Scenario: a commit takes place and its answer is lost.
// Guarantees: the writer finds out that it did, and nothing is written twice.
#[test]
fn a_commit_whose_answer_is_lost_is_recognised() {
    let (mut store, proxy) = through_proxy();
    let batch = |trace| request("api", (1..=5).map(|number| span(trace, number)).collect());
    wait(async {
        let limits = limits::Config::default();
        let records = [record(1, &batch(1))];
        let (first, _) = Assembler::new(0, &limits).assemble(&records);
        store.writer.write(&first).await.unwrap();
        // The next COMMIT is that of the batch: what it refers to is stored.
        proxy.swallow_answer_to("COMMIT");
        let records = [record(2, &batch(2))];
        let (second, _) = Assembler::new(0, &limits).assemble(&records);
        let report = store.writer.write(&second).await.unwrap();
        assert!(proxy.has_swallowed());
        assert_eq!((report.spans_stored, report.spans_duplicate), (5, 0));
        let report = store.writer.write(&second).await.unwrap();
        assert_eq!((report.spans_stored, report.spans_duplicate), (0, 5));
    });
    assert_eq!(store.count("span"), 10);
    assert_eq!(
        store.database.value("SELECT sum(span_count) FROM service"),
        "10"
    );
}

// Scenario: the connection is cut after any number of bytes either way while a batch is written,
// and the batch is tried again as often as it takes.
// Guarantees: everything is there once.
#[test]
fn a_cut_anywhere_changes_nothing() {
    let (mut store, proxy) = through_proxy();
    let batch = request("api", (1..=30).map(|number| span(1, number)).collect());
    let mut random = 7_u64;
    let mut cuts = 0;
    for position in 1..=40 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let bytes = (random >> 33) % 24_000;
        let direction = if position % 2 == 0 {
            Direction::ToServer
        } else {
            Direction::ToClient
        };
        let trace = u8::try_from(position).unwrap();
        let mut batch = batch.clone();
        for span in &mut batch.resource_spans[0].scope_spans[0].spans {
            span.trace_id = vec![trace; 16];
        }
        proxy.cut_after(direction, bytes);
        while let Err(error) = try_write(&mut store, position, &batch) {
            assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
            cuts += 1;
        }
        proxy.heal();
    }
    assert!(cuts > 5, "{cuts}");
    assert_eq!(store.count("span"), 40 * 30);
    for table in [
        "service",
        "rollup WHERE level = 0",
        "rollup WHERE level = 2",
        "trace",
    ] {
        let sum = format!("SELECT sum(span_count) FROM {table}");
        assert_eq!(store.database.value(&sum), "1200", "{table}");
    }
    let trace_count = "SELECT trace_count || ' ' || span_count FROM session";
    assert_eq!(store.database.value(trace_count), "40 1200");
    conformance::everything(&store, PROJECT);
}

// Scenario: the network, or the server behind it, freezes; then it goes on.
// Guarantees: unavailable in bounded time, and the same writer goes on.
#[test]
fn a_frozen_server_is_given_up() {
    let (mut store, proxy) = through_proxy();
    let batch = |trace| request("api", vec![span(trace, 1)]);
    try_write(&mut store, 1, &batch(1)).unwrap();
    proxy.freeze();
    for _ in 0..2 {
        let error = try_write(&mut store, 2, &batch(2)).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
    proxy.heal();
    try_write(&mut store, 2, &batch(2)).unwrap();
    assert_eq!(store.count("span"), 2);
}

// Scenario: somebody locks a table and does not give it back.
// Guarantees: unavailable at the limit for locks, and the writer goes on afterwards.
#[test]
fn a_lock_is_waited_for_so_long() {
    let mut store = Store::with(RetentionConfig::default(), |config| {
        config.lock_timeout = Duration::millis(300);
    });
    let batch = request("api", vec![span(1, 1)]);
    let hold = std::thread::spawn({
        let url = store.database.url().to_owned();
        move || {
            wait(run(
                &url,
                "BEGIN; LOCK TABLE trace; SELECT pg_sleep(2); COMMIT",
            ))
        }
    });
    while store.count("pg_locks WHERE mode = 'AccessExclusiveLock'") == 0 {
        std::thread::yield_now();
    }
    let error = try_write(&mut store, 1, &batch).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    hold.join().unwrap();
    try_write(&mut store, 1, &batch).unwrap();
}

// Scenario: an administrator ends all connections between two batches.
// Guarantees: the next batch is stored without a failure.
#[test]
fn connections_that_ended_are_replaced() {
    let mut store = Store::open();
    wait(async {
        let limits = limits::Config::default();
        for position in 1..=3_u8 {
            let request = request("api", vec![span(position, 1)]);
            let records = [record(u64::from(position), &request)];
            let (batch, _) = Assembler::new(0, &limits).assemble(&records);
            store.writer.write(&batch).await.unwrap();
            store.database.rows(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()",
            );
        }
    });
    assert_eq!(store.count("span"), 3);
}
