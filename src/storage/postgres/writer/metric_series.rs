//! Series of metrics: which are stored, which are new.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use crate::model::ProjectId;
use crate::model::metric::SeriesId;
use crate::storage::Error;
use crate::storage::metrics::directory::{
    Counts, Decided, Known, Owned, StoredSeries, all_stored, decide, unknown,
};
use crate::storage::write::MetricRows;

/// Held, for the length of a transaction, by who adds series to a project: with its number.
const LOCK: i32 = 0x7075_6d73;

/// Which of some series are stored.
const STORED: &str = "SELECT wanted.project_id, wanted.series_id
    FROM unnest($1::bigint[], $2::bytea[]) AS wanted (project_id, series_id)
    CROSS JOIN LATERAL (SELECT 1 FROM metric_series s WHERE s.project_id = wanted.project_id
        AND s.series_id = wanted.series_id OFFSET 0) AS found";

/// Notes that series were seen. Who holds a row of another is noting the same.
const SEEN: &str = "UPDATE metric_series s SET last_seen_unix_nano = k.seen
    FROM (SELECT s.project_id, s.series_id, wanted.seen
        FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS wanted (project_id, series_id, seen)
        JOIN metric_series s ON s.project_id = wanted.project_id
            AND s.series_id = wanted.series_id AND s.last_seen_unix_nano < wanted.seen
        FOR UPDATE OF s SKIP LOCKED) AS k
    WHERE s.project_id = k.project_id AND s.series_id = k.series_id";

const INSERT: &str = "INSERT INTO metric_series (project_id, metric_id, last_seen_unix_nano, kind,
        temporality, is_monotonic, is_overflow, series_id, name, unit, description, service_name,
        environment, scope_name, scope_version, attributes, resource)
    SELECT a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p::jsonb, q::jsonb
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[],
        $6::boolean[], $7::boolean[], $8::bytea[], $9::text[], $10::text[], $11::text[],
        $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[])
        AS new (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
    ON CONFLICT DO NOTHING";

/// Decides where the points of a batch go, and stores what is new. A series that was found to have no
/// place gets none before this transaction ends: see [`crate::storage::metrics::directory`].
///
/// # Errors
/// As the store's.
pub(super) async fn place(
    transaction: &Transaction,
    rows: &MetricRows<'_>,
    known: &Known,
) -> Result<Decided, Error> {
    let asked = unknown(rows, known);
    let mut found = HashSet::new();
    let mut counts = HashMap::new();
    if !asked.is_empty() {
        found = stored(transaction, &asked).await?;
        if !all_stored(rows, &asked, &found) {
            let owners = rows.series.iter().map(|series| series.project);
            for project in owners.collect::<BTreeSet<_>>() {
                lock(transaction, project).await?;
            }
            // What others stored meanwhile is seen by a new statement.
            found = stored(transaction, &asked).await?;
            let owners = rows.series.iter().map(|series| series.project);
            for project in owners.collect::<BTreeSet<_>>() {
                counts.insert(project, count(transaction, project).await?);
            }
        }
    }
    let decided = decide(rows, known, &found, &counts);
    insert(transaction, &decided.new).await?;
    note_seen(transaction, &decided).await?;
    Ok(decided)
}

async fn lock(transaction: &Transaction, project: ProjectId) -> Result<(), Error> {
    transaction
        .query(
            "SELECT pg_advisory_xact_lock($1, $2)::text",
            &[(&LOCK, Type::INT4), (&project.0.cast_signed(), Type::INT4)],
            "lock the metric series of a project",
        )
        .await?;
    Ok(())
}

async fn stored(
    transaction: &Transaction,
    asked: &HashSet<Owned>,
) -> Result<HashSet<Owned>, Error> {
    let projects: Vec<_> = asked.iter().map(|(it, _)| i64::from(it.0)).collect();
    let series: Vec<_> = asked.iter().map(|(_, it)| it.0.as_slice()).collect();
    let rows = transaction
        .query(
            STORED,
            &[(&projects, Type::INT8_ARRAY), (&series, Type::BYTEA_ARRAY)],
            "look for metric series",
        )
        .await?;
    rows.iter()
        .map(|row| Ok((project_of(row.get(0))?, series_of(row.get(1))?)))
        .collect()
}

/// Reads a project's number.
///
/// # Errors
/// [`Error::Corrupt`] when it is none.
pub(super) fn project_of(number: i64) -> Result<ProjectId, Error> {
    let number = u32::try_from(number).map_err(|_| Error::Corrupt {
        context: "the number of a project".to_owned(),
    });
    number.map(ProjectId)
}

/// Reads the identity of a series.
///
/// # Errors
/// [`Error::Corrupt`] when it does not have 16 bytes.
pub(in super::super) fn series_of(bytes: &[u8]) -> Result<SeriesId, Error> {
    let id = bytes.try_into().map_err(|_| Error::Corrupt {
        context: "the id of a metric series".to_owned(),
    });
    id.map(SeriesId)
}

async fn count(transaction: &Transaction, project: ProjectId) -> Result<Counts, Error> {
    let rows = transaction
        .query(
            "SELECT (SELECT count(*) FROM metric_series WHERE project_id = $1 AND NOT is_overflow),
                (SELECT count(*) FROM metric_series WHERE project_id = $1 AND is_overflow)",
            &[(&i64::from(project.0), Type::INT8)],
            "count metric series",
        )
        .await?;
    let count = |place| {
        rows.first()
            .map_or(0, |row| row.get::<_, i64>(place).cast_unsigned())
    };
    Ok(Counts {
        series: count(0),
        overflows: count(1),
    })
}

async fn note_seen(transaction: &Transaction, decided: &Decided) -> Result<(), Error> {
    if decided.seen.is_empty() {
        return Ok(());
    }
    let seen = &decided.seen;
    let projects: Vec<_> = seen.keys().map(|(it, _)| i64::from(it.0)).collect();
    let series: Vec<_> = seen.keys().map(|(_, it)| it.0.as_slice()).collect();
    let times: Vec<_> = seen.values().copied().collect();
    transaction
        .execute(
            SEEN,
            &[
                (&projects, Type::INT8_ARRAY),
                (&series, Type::BYTEA_ARRAY),
                (&times, Type::INT8_ARRAY),
            ],
            "note that metric series were seen",
        )
        .await?;
    Ok(())
}

async fn insert(transaction: &Transaction, new: &[StoredSeries]) -> Result<(), Error> {
    if new.is_empty() {
        return Ok(());
    }
    fn all<'s, T>(new: &'s [StoredSeries], of: impl Fn(&'s StoredSeries) -> T) -> Vec<T> {
        new.iter().map(of).collect()
    }
    let json = |object| serde_json::to_string(object).unwrap_or_else(|_| "{}".to_owned());
    transaction
        .execute(
            INSERT,
            &[
                (&all(new, |it| i64::from(it.project.0)), Type::INT8_ARRAY),
                (&all(new, |it| it.metric), Type::INT8_ARRAY),
                (&all(new, |it| it.last_seen_unix_nano), Type::INT8_ARRAY),
                (&all(new, |it| i16::from(it.kind as u8)), Type::INT2_ARRAY),
                (
                    &all(new, |it| i16::from(it.temporality as u8)),
                    Type::INT2_ARRAY,
                ),
                (&all(new, |it| it.is_monotonic), Type::BOOL_ARRAY),
                (&all(new, |it| it.is_overflow), Type::BOOL_ARRAY),
                (&all(new, |it| it.id.0.as_slice()), Type::BYTEA_ARRAY),
                (&all(new, |it| it.name.as_str()), Type::TEXT_ARRAY),
                (&all(new, |it| it.unit.as_str()), Type::TEXT_ARRAY),
                (&all(new, |it| it.description.as_str()), Type::TEXT_ARRAY),
                (&all(new, |it| it.service_name.as_str()), Type::TEXT_ARRAY),
                (&all(new, |it| it.environment.as_deref()), Type::TEXT_ARRAY),
                (&all(new, |it| it.scope_name.as_str()), Type::TEXT_ARRAY),
                (&all(new, |it| it.scope_version.as_str()), Type::TEXT_ARRAY),
                (&all(new, |it| json(&it.attributes)), Type::TEXT_ARRAY),
                (&all(new, |it| json(&it.resource)), Type::TEXT_ARRAY),
            ],
            "store metric series",
        )
        .await?;
    Ok(())
}
