//! Rollups and service totals: what a batch adds, merged into rows.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::storage_error;
use crate::model::genai::Totals;
use crate::model::histogram::Histogram;
use crate::storage::Error;
use crate::storage::rollup::{Key, Rollups, Rows, Sums};
use crate::telemetry::faults;

// Sums of numbers that clients send stop at the largest integer instead of turning into floats.
const UPSERT: &str =
    "INSERT INTO rollup VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
        ?14, ?15, ?16, ?17)
     ON CONFLICT (project_id, level, minute, service_name, operation, provider, model)
     DO UPDATE SET
        received_unix_nano = max(received_unix_nano, excluded.received_unix_nano),
        span_count = span_count + excluded.span_count,
        error_count = error_count + excluded.error_count,
        duration_sum_ns = duration_sum_ns
            + min(excluded.duration_sum_ns, 9223372036854775807 - duration_sum_ns),
        llm_call_count = llm_call_count + excluded.llm_call_count,
        input_tokens = input_tokens
            + min(excluded.input_tokens, 9223372036854775807 - input_tokens),
        output_tokens = output_tokens
            + min(excluded.output_tokens, 9223372036854775807 - output_tokens),
        cache_read_tokens = cache_read_tokens
            + min(excluded.cache_read_tokens, 9223372036854775807 - cache_read_tokens),
        cost_nano_usd = cost_nano_usd
            + min(excluded.cost_nano_usd, 9223372036854775807 - cost_nano_usd),
        duration_hist = excluded.duration_hist";

// A sum that stopped at the largest integer may be less than what it was made of.
const REMOVE: &str = "UPDATE rollup SET
        llm_call_count = max(0, llm_call_count - ?8),
        input_tokens = max(0, input_tokens - ?9),
        output_tokens = max(0, output_tokens - ?10),
        cache_read_tokens = max(0, cache_read_tokens - ?11),
        cost_nano_usd = max(0, cost_nano_usd - ?12)
     WHERE project_id = ?1 AND level = ?2 AND minute = ?3 AND service_name = ?4
        AND operation = ?5 AND provider = ?6 AND model = ?7";

/// Merges what a batch adds into the rows.
pub(super) fn save(transaction: &Transaction<'_>, rollups: &Rollups<'_>) -> Result<(), Error> {
    save_rows(transaction, &rollups.rows())?;
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
    for ((project, name), sums) in &rollups.services {
        upsert
            .execute(params![
                project.0,
                name,
                sums.first_seen,
                sums.last_seen,
                sums.received,
                sums.span_count,
                sums.error_count
            ])
            .map_err(&failed)?;
    }
    Ok(())
}

/// Merges sums into rollups.
pub(super) fn save_rows(transaction: &Transaction<'_>, rows: &Rows<'_>) -> Result<(), Error> {
    for (key, sums) in rows {
        save_row(transaction, key, sums)?;
    }
    Ok(())
}

/// `None` when the stored value is damaged.
fn decode_durations(stored: ValueRef<'_>) -> Option<Histogram> {
    Histogram::decode(stored.as_blob().ok()?).ok()
}

/// The durations of a rollup, if there is one; none counted where they are damaged.
pub(super) fn durations(
    transaction: &Transaction<'_>,
    key: &Key<'_>,
) -> Result<Option<Histogram>, Error> {
    let failed = storage_error("read a rollup");
    let mut select = transaction
        .prepare_cached(
            "SELECT duration_hist FROM rollup WHERE project_id = ?1 AND level = ?2 AND minute = ?3
                AND service_name = ?4 AND operation = ?5 AND provider = ?6 AND model = ?7",
        )
        .map_err(&failed)?;
    let place = (
        key.project.0,
        key.level as u8,
        key.minute,
        key.service.as_ref(),
        key.operation.as_ref(),
        key.provider.as_ref(),
        key.model.as_ref(),
    );
    let stored = select
        .query_row(place, |row| Ok(decode_durations(row.get_ref(0)?)))
        .optional()
        .map_err(&failed)?;
    if let Some(None) = stored {
        // An error would be met again with every retry, and nothing would be stored any more.
        tracing::error!(
            ?key,
            "the durations of a rollup are damaged; counting them anew"
        );
        faults::DAMAGED_ROLLUPS.happened();
    }
    Ok(stored.map(Option::unwrap_or_default))
}

fn save_row(transaction: &Transaction<'_>, key: &Key<'_>, sums: &Sums) -> Result<(), Error> {
    let failed = storage_error("store a rollup");
    let mut durations = durations(transaction, key)?.unwrap_or_default();
    durations.merge(&sums.durations);
    let mut upsert = transaction.prepare_cached(UPSERT).map_err(&failed)?;
    upsert
        .execute(params![
            key.project.0,
            key.level as u8,
            key.minute,
            key.service,
            key.operation,
            key.provider,
            key.model,
            sums.received,
            sums.span_count,
            sums.error_count,
            sums.duration_sum_ns,
            sums.totals.llm_calls,
            sums.totals.input_tokens,
            sums.totals.output_tokens,
            sums.totals.cache_read_tokens,
            sums.totals.cost_nano_usd,
            durations.encode()
        ])
        .map_err(&failed)?;
    if sums.removed != Totals::default() {
        remove(transaction, key, &sums.removed).map_err(&failed)?;
    }
    Ok(())
}

fn remove(
    transaction: &Transaction<'_>,
    key: &Key<'_>,
    removed: &Totals,
) -> rusqlite::Result<usize> {
    transaction.prepare_cached(REMOVE)?.execute(params![
        key.project.0,
        key.level as u8,
        key.minute,
        key.service,
        key.operation,
        key.provider,
        key.model,
        removed.llm_calls,
        removed.input_tokens,
        removed.output_tokens,
        removed.cache_read_tokens,
        removed.cost_nano_usd
    ])
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
    use crate::model::ProjectId;
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
                .execute("UPDATE rollup SET duration_hist = ?1", [damage])
                .unwrap();
            assert_eq!(damaged, 3, "one a level");
            let is_readable = Histogram::decode(damage).is_ok();
            let before = faults::DAMAGED_ROLLUPS.count();
            spans += 1;
            write(&mut writer, spans);
            let counted = faults::DAMAGED_ROLLUPS.count() > before;
            assert_eq!(counted, !is_readable);
            let row = "SELECT span_count, duration_hist FROM rollup WHERE level = 1";
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
