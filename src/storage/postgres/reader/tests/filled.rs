//! A database with many partitions and rows.

use std::time::Duration;

use crate::storage::content::Packer;
use crate::storage::postgres::Config;
use crate::storage::postgres::migrate::MIGRATIONS;
use crate::storage::postgres::reader::PostgresReader;
use crate::storage::postgres::testing::Database;

/// Start of the first day, ns: 2026-09-01 UTC.
pub(super) const FIRST_DAY: u64 = 1_788_220_800_000_000_000;
pub(super) const DAYS: u64 = 40;
pub(super) const DAY: u64 = 86_400_000_000_000;
pub(super) const TRACES: u64 = 12_000;
/// Spans of each trace.
pub(super) const SPANS: u64 = 5;
/// Time between the starts of two traces.
pub(super) const BETWEEN: u64 = DAYS * DAY / TRACES;

/// An event for each trace, at its start, with its message in the trace's block, each day with its
/// partition; the server has looked at them.
pub(super) fn add_events(database: &Database) {
    let last = DAYS + 2;
    database.execute(&format!(
        "DO $do$
        BEGIN
            FOR day IN 0 .. {last} LOOP
                EXECUTE format('CREATE TABLE event_d%s PARTITION OF event FOR VALUES FROM (%s) TO (%s)',
                    day, {FIRST_DAY} + day * {DAY}, {FIRST_DAY} + (day + 1) * {DAY});
            END LOOP;
        END
        $do$;
        INSERT INTO event (project_id, time_unix_nano, observed_unix_nano, received_unix_nano, block_id,
                block_place, severity, source, digest, trace_id, service_name)
            SELECT 1, start, 0, start, block_at(start) + n, 0, 9, 0,
                decode(lpad(to_hex(n), 32, '0'), 'hex'), decode(lpad(to_hex(n), 32, '0'), 'hex'), 'api'
            FROM (SELECT n, {FIRST_DAY} + (n - 1) * {BETWEEN} AS start
                FROM generate_series(1, {TRACES}) AS n) AS made;
        ANALYZE event"
    ));
}

/// Traces spread evenly over forty days, each day with its partition, and some empty partitions
/// ahead. Trace `n` (from 1) starts `(n - 1) * BETWEEN` after the first day; its spans follow each
/// other by a millisecond. Every fourth trace is of service `rare`, every 25th fails, every tenth
/// is of session `session-7`.
pub(super) fn database() -> Database {
    let database = Database::create();
    MIGRATIONS.iter().for_each(|(_, it)| database.execute(it));
    let mut packer = Packer::new().unwrap();
    packer.begin();
    for _ in 0..SPANS {
        packer.push(1, 1, &[]);
    }
    let packed = packer.finish().unwrap();
    let content: String = packed
        .content
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let codec = packed.codec;
    let last = DAYS + 2;
    database.execute(&format!(
        "CREATE FUNCTION at(ns bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
            AS $$ SELECT 'epoch'::timestamptz + ns / 1000 * interval '1 microsecond' $$;
        CREATE FUNCTION block_at(ns bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
            AS $$ SELECT (ns / 1000000 - 1577836800000) << 22 $$;
        DO $do$
        DECLARE
            lower bigint;
        BEGIN
            FOR day IN 0 .. {last} LOOP
                lower := {FIRST_DAY} + day * {DAY};
                EXECUTE format('CREATE TABLE span_d%s PARTITION OF span
                    FOR VALUES FROM (%L) TO (%L)', day, at(lower), at(lower + {DAY}));
                EXECUTE format('CREATE TABLE content_block_d%s PARTITION OF content_block
                    FOR VALUES FROM (%s) TO (%s)', day, block_at(lower), block_at(lower + {DAY}));
                INSERT INTO span_partition VALUES ('span_d' || day, lower, lower + {DAY},
                    CASE WHEN day < {DAYS} THEN lower ELSE 0 END);
            END LOOP;
        END
        $do$;
        CREATE TEMP TABLE made AS
            SELECT n, {FIRST_DAY} + (n - 1) * {BETWEEN} AS start,
                decode(lpad(to_hex(n), 32, '0'), 'hex') AS id, n % 25 = 0 AS failed,
                CASE WHEN n % 4 = 0 THEN 'rare' ELSE 'api' END AS service,
                CASE WHEN n % 10 = 0 THEN 'session-7' ELSE 'session-' || (1000 + n) END AS session
            FROM generate_series(1, {TRACES}) AS n;
        INSERT INTO resource (project_id, resource_id, last_seen_unix_nano, content_hash,
            service_name, schema_url, message) VALUES (1, 1, 0, '', 'api', '', '');
        INSERT INTO scope (project_id, scope_id, last_seen_unix_nano, content_hash, name, version,
            schema_url, message) VALUES (1, 1, 0, '', '', '', '', '');
        INSERT INTO trace SELECT 1, start, start + {last_span}, start + {last_span}, start, {SPANS},
            failed::int, 0, 0, 0, 0, 0, 0, start, NULL, false, id, '\\x0000000000000001', 'root',
            service, ARRAY[service], '{{}}', session FROM made;
        INSERT INTO trace_service SELECT 1, start, id, service FROM made;
        INSERT INTO session SELECT 1, min(start), max(start), max(start), count(*), count(*), 0, 0,
            0, 0, 0, 0, session, CASE session WHEN 'session-7' THEN 'ada' END
            FROM made GROUP BY session;
        INSERT INTO session_trace SELECT 1, id, session FROM made;
        INSERT INTO content_block SELECT 1, block_at(start) + n, {codec}, '\\x{content}' FROM made;
        INSERT INTO span (project_id, start_time, start_unix_nano, duration_ns, received_unix_nano,
                resource_id, scope_id, block_id, block_place, kind, status, time_marks, trace_id,
                span_id, name, service_name, operation)
            SELECT 1, at(start + place * 1000000), start + place * 1000000, 1000, start, 1, 1,
                block_at(start) + n, place, 2, CASE WHEN failed AND place = 0 THEN 2 ELSE 0 END, 0,
                id, decode(lpad(to_hex(place + 1), 16, '0'), 'hex'), 'operation', service, 'http'
            FROM made CROSS JOIN generate_series(0, {SPANS} - 1) AS place;
        INSERT INTO rollup SELECT 1, minute / size * size, 0, count(*), 0, 0, 0, 0, 0, 0, 0, level,
                service, 'http', '', 'model-' || n % 5, '{{3, 1}}'
            FROM made, (VALUES (0, 1), (1, 60), (2, 1440)) AS levels (level, size),
                LATERAL (SELECT start / 60000000000 AS minute) AS minutes
            GROUP BY minute / size * size, level, service, n % 5;
        DROP TABLE made",
        last_span = (SPANS - 1) * 1_000_000,
    ));
    database
}

/// A reader of the database.
pub(super) fn reader(database: &Database, query_timeout: Duration) -> PostgresReader {
    let config = Config {
        url: database.url().into(),
        max_connections: 2,
        ..Config::default()
    };
    PostgresReader::open(&config, query_timeout).unwrap()
}
