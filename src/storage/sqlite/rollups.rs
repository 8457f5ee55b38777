//! Minute rollups and service totals: summed up in memory over a batch, then merged into rows.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::model::histogram::Histogram;
use crate::model::span::Status;
use crate::storage::Error;
use crate::storage::summary::clamp_time;
use crate::storage::write::SpanRow;
use crate::telemetry::faults;

const NS_PER_MINUTE: i64 = 60 * 1_000_000_000;

/// Distinct rollup rows one batch may touch; what is over goes to the service [`OVERFLOW`], so
/// that a client that invents names can't grow the table without bound.
const ROWS_PER_BATCH_MAX: usize = 4096;

/// Stands for everything over the bound.
const OVERFLOW: &str = "other";

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    project: ProjectId,
    minute: i64,
    service: &'a str,
    operation: &'a str,
    provider: &'a str,
    model: &'a str,
}

#[derive(Debug, Default)]
struct Totals {
    received: i64,
    span_count: i64,
    error_count: i64,
    duration_sum_ns: i64,
    durations: Histogram,
}

#[derive(Debug)]
struct ServiceTotals {
    received: i64,
    first_seen: i64,
    last_seen: i64,
    span_count: i64,
    error_count: i64,
}

/// What a batch adds.
#[derive(Debug, Default)]
pub(super) struct Rollups<'a> {
    minutes: BTreeMap<Key<'a>, Totals>,
    services: BTreeMap<(ProjectId, &'a str), ServiceTotals>,
}

impl<'a> Rollups<'a> {
    pub(super) fn add(&mut self, span: &'a SpanRow<'a>, service: &'a str) {
        let start = clamp_time(span.start_unix_nano);
        let failed = i64::from(span.status == Status::Error);
        let basics = &span.basics;
        let mut key = Key {
            project: span.project,
            minute: start / NS_PER_MINUTE,
            service,
            operation: basics.operation.as_str(),
            provider: basics.provider.unwrap_or_default(),
            model: basics
                .response_model
                .or(basics.request_model)
                .unwrap_or_default(),
        };
        if self.minutes.len() >= ROWS_PER_BATCH_MAX && !self.minutes.contains_key(&key) {
            let minute = clamp_time(span.received_unix_nano) / NS_PER_MINUTE;
            let other = OVERFLOW;
            key = Key {
                minute,
                service: other,
                operation: other,
                provider: "",
                model: "",
                ..key
            };
        }
        let totals = self.minutes.entry(key).or_default();
        let received = clamp_time(span.received_unix_nano);
        totals.received = totals.received.max(received);
        totals.span_count += 1;
        totals.error_count += failed;
        totals.duration_sum_ns = totals
            .duration_sum_ns
            .saturating_add(clamp_time(span.duration_ns()));
        totals.durations.record(span.duration_ns());
        self.add_to_service(span, service);
    }

    fn add_to_service(&mut self, span: &SpanRow<'_>, service: &'a str) {
        let start = clamp_time(span.start_unix_nano);
        let received = clamp_time(span.received_unix_nano);
        let crowded = self.services.len() >= ROWS_PER_BATCH_MAX
            && !self.services.contains_key(&(span.project, service));
        let service = if crowded { OVERFLOW } else { service };
        let totals = self
            .services
            .entry((span.project, service))
            .or_insert(ServiceTotals {
                received,
                first_seen: start,
                last_seen: start,
                span_count: 0,
                error_count: 0,
            });
        totals.received = totals.received.max(received);
        totals.first_seen = totals.first_seen.min(start);
        totals.last_seen = totals.last_seen.max(start);
        totals.span_count += 1;
        totals.error_count += i64::from(span.status == Status::Error);
    }

    pub(super) fn save(&self, transaction: &Transaction<'_>) -> Result<(), Error> {
        for (key, totals) in &self.minutes {
            save_minute(transaction, key, totals)?;
        }
        let failed = storage_error("store service totals");
        let mut upsert = transaction
            .prepare_cached(
                "INSERT INTO service VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (project_id, name) DO UPDATE SET
                    first_seen_unix_nano = min(first_seen_unix_nano, excluded.first_seen_unix_nano),
                    last_seen_unix_nano = max(last_seen_unix_nano, excluded.last_seen_unix_nano),
                    received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
                    span_count = span_count + excluded.span_count,
                    error_count = error_count + excluded.error_count",
            )
            .map_err(&failed)?;
        for ((project, name), totals) in &self.services {
            upsert
                .execute(params![
                    project.0,
                    name,
                    totals.first_seen,
                    totals.last_seen,
                    totals.received,
                    totals.span_count,
                    totals.error_count
                ])
                .map_err(&failed)?;
        }
        Ok(())
    }
}

/// `None` when the stored value is damaged.
fn decode_durations(stored: ValueRef<'_>) -> Option<Histogram> {
    Histogram::decode(stored.as_blob().ok()?).ok()
}

fn save_minute(transaction: &Transaction<'_>, key: &Key<'_>, totals: &Totals) -> Result<(), Error> {
    let failed = storage_error("store a minute rollup");
    let mut select = transaction
        .prepare_cached(
            "SELECT duration_hist FROM rollup_minute WHERE project_id = ?1 AND minute = ?2
                AND service_name = ?3 AND operation = ?4 AND provider = ?5 AND model = ?6",
        )
        .map_err(&failed)?;
    let place = (
        key.project.0,
        key.minute,
        key.service,
        key.operation,
        key.provider,
        key.model,
    );
    let stored = select
        .query_row(place, |row| Ok(decode_durations(row.get_ref(0)?)))
        .optional()
        .map_err(&failed)?;
    let mut durations = stored.unwrap_or_else(|| Some(Histogram::default()));
    if durations.is_none() {
        // An error would be met again with every retry, and nothing would be stored any more.
        tracing::error!(
            project = key.project.0,
            minute = key.minute,
            service = key.service,
            "the durations of a rollup are damaged; counting them anew"
        );
        faults::DAMAGED_ROLLUPS.happened();
    }
    let durations = durations.get_or_insert_default();
    durations.merge(&totals.durations);
    let mut upsert = transaction
        .prepare_cached(
            "INSERT INTO rollup_minute VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (project_id, minute, service_name, operation, provider, model)
             DO UPDATE SET
                received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
                span_count = span_count + excluded.span_count,
                error_count = error_count + excluded.error_count,
                -- Stops at the largest integer instead of turning into a float.
                duration_sum_ns = duration_sum_ns
                    + min(excluded.duration_sum_ns, 9223372036854775807 - duration_sum_ns),
                duration_hist = excluded.duration_hist",
        )
        .map_err(&failed)?;
    upsert
        .execute(params![
            key.project.0,
            key.minute,
            key.service,
            key.operation,
            key.provider,
            key.model,
            totals.received,
            totals.span_count,
            totals.error_count,
            totals.duration_sum_ns,
            durations.encode()
        ])
        .map_err(&failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use prost::Message as _;
    use rusqlite::Connection;

    use super::*;
    use crate::config::ByteSize;
    use crate::exporters::storage::assemble::Assembler;
    use crate::processors::limits;
    use crate::queue::{PayloadKind, Position, Record};
    use crate::storage::conformance::{NOW, request, span};
    use crate::storage::sqlite::{Config, SqliteWriter};
    use crate::storage::{RetentionConfig, SpanWriter as _};

    fn write(writer: &mut SqliteWriter, position: u64) {
        let record = Record {
            position: Position(position),
            project: ProjectId::DEFAULT,
            received_unix_nano: NOW,
            kind: PayloadKind::OtlpTraces,
            payload: Bytes::from(request("a", vec![span(1, position)]).encode_to_vec()),
        };
        let limits = limits::Config::default();
        let records = [record];
        let (batch, _) = Assembler::new(0, &limits).assemble(&records);
        let written = writer.write(&batch).now_or_never();
        assert_eq!(written.expect("writes at once").unwrap().spans_stored, 1);
    }

    // Scenario: the durations of a rollup are not a histogram, or not even bytes; spans go on
    // coming in for it.
    // Guarantees: they are stored, counted with the rollup and in a histogram begun anew, and the
    // fault is counted. (An error here would be tried again for ever.)
    #[test]
    fn damaged_durations_are_counted_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pulse.db");
        let config = Config {
            cache_size: ByteSize::mib(1),
            ..Config::default()
        };
        let retention = RetentionConfig::default();
        let mut writer = SqliteWriter::open(&path, &config, retention, NOW).unwrap();
        write(&mut writer, 1);
        let other = Connection::open(&path).unwrap();
        let mut spans = 1;
        for damage in [&b"\xff\xff\xff\xff\xff"[..], b""] {
            let damaged = other
                .execute("UPDATE rollup_minute SET duration_hist = ?1", [damage])
                .unwrap();
            assert_eq!(damaged, 1);
            let is_readable = Histogram::decode(damage).is_ok();
            let before = faults::DAMAGED_ROLLUPS.count();
            spans += 1;
            write(&mut writer, spans);
            let counted = faults::DAMAGED_ROLLUPS.count() > before;
            assert_eq!(counted, !is_readable);
            let row = "SELECT span_count, duration_hist FROM rollup_minute";
            let (count, stored): (i64, Vec<u8>) = other
                .query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!(count.cast_unsigned(), spans);
            assert_eq!(Histogram::decode(&stored).unwrap().count(), 1);
        }
        assert_eq!(decode_durations(ValueRef::Null), None);
        assert_eq!(decode_durations(ValueRef::Text(b"x")), None);
    }
}
