//! Writing metrics: series, and their points in chunks.

pub(super) mod retention;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rusqlite::{Transaction, params};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::metrics::directory::{Counts, Decided, Known, StoredSeries, decide, unknown};
use crate::storage::metrics::merge::{Added, ChunkKey, PartWrite, Plan, Stored, Times};
use crate::storage::write::MetricRows;

/// Writes the points that are not stored yet, and their series.
///
/// # Errors
/// As the store's.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    rows: &MetricRows<'_>,
    known: &mut Known,
) -> Result<Added, Error> {
    let mut added = Added::default();
    if rows.points.is_empty() {
        return Ok(added);
    }
    let mut decided = place(transaction, rows, known)?;
    for series in &decided.new {
        insert_series(transaction, series)?;
    }
    note_seen(transaction, &decided)?;
    let plan = Plan::of(rows, &decided.homes);
    for write in plan.merge(&load(transaction, &plan.reads())?)? {
        write_part(transaction, &write)?;
        added.count(&write);
    }
    // A rollback forgets it.
    known.remember(std::mem::take(&mut decided.known));
    Ok(added)
}

/// Where the points of a batch go. Nobody else writes, so what is looked up stays true.
fn place(
    transaction: &Transaction<'_>,
    rows: &MetricRows<'_>,
    known: &Known,
) -> Result<Decided, Error> {
    let failed = storage_error("look for metric series");
    let asked = unknown(rows, known);
    let mut stored = HashSet::new();
    let mut counts = HashMap::new();
    if !asked.is_empty() {
        let mut find = transaction
            .prepare_cached("SELECT 1 FROM metric_series WHERE project_id = ?1 AND series_id = ?2")
            .map_err(&failed)?;
        for owned @ (project, series) in asked {
            if find.exists(params![project.0, series.0]).map_err(&failed)? {
                stored.insert(owned);
            }
        }
        let owners = rows.series.iter().map(|series| series.project);
        for project in owners.collect::<BTreeSet<_>>() {
            counts.insert(project, count(transaction, project)?);
        }
    }
    Ok(decide(rows, known, &stored, &counts))
}

fn count(transaction: &Transaction<'_>, project: ProjectId) -> Result<Counts, Error> {
    let failed = storage_error("count metric series");
    let mut count = transaction
        .prepare_cached(
            "SELECT count(*) FROM metric_series INDEXED BY metric_series_overflow
             WHERE project_id = ?1 AND is_overflow = ?2",
        )
        .map_err(&failed)?;
    let mut count = |is_overflow: bool| {
        let count = count.query_row(params![project.0, is_overflow], |row| row.get::<_, i64>(0));
        count.map(i64::cast_unsigned).map_err(&failed)
    };
    Ok(Counts {
        series: count(false)?,
        overflows: count(true)?,
    })
}

fn insert_series(transaction: &Transaction<'_>, series: &StoredSeries) -> Result<(), Error> {
    let json = |object| serde_json::to_string(object).unwrap_or_else(|_| "{}".to_owned());
    transaction
        .prepare_cached(
            "INSERT INTO metric_series (project_id, series_id, metric_id, last_seen_unix_nano, kind,
                temporality, is_monotonic, is_overflow, name, unit, description, service_name,
                environment, scope_name, scope_version, attributes, resource)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT DO NOTHING",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                series.project.0,
                series.id.0,
                series.metric,
                series.last_seen_unix_nano,
                series.kind as u8,
                series.temporality as u8,
                series.is_monotonic,
                series.is_overflow,
                series.name,
                series.unit,
                series.description,
                series.service_name,
                series.environment,
                series.scope_name,
                series.scope_version,
                json(&series.attributes),
                json(&series.resource),
            ])
        })
        .map_err(storage_error("store a metric series"))?;
    Ok(())
}

fn note_seen(transaction: &Transaction<'_>, decided: &Decided) -> Result<(), Error> {
    let failed = storage_error("note that a metric series was seen");
    let mut note = transaction
        .prepare_cached(
            "UPDATE metric_series SET last_seen_unix_nano = ?3
             WHERE project_id = ?1 AND series_id = ?2 AND last_seen_unix_nano < ?3",
        )
        .map_err(&failed)?;
    for ((project, series), seen) in &decided.seen {
        note.execute(params![project.0, series.0, seen])
            .map_err(&failed)?;
    }
    Ok(())
}

fn load(transaction: &Transaction<'_>, reads: &BTreeMap<ChunkKey, Times>) -> Result<Stored, Error> {
    let failed = storage_error("read points of metrics");
    let mut select = transaction
        .prepare_cached(
            "SELECT part, points FROM metric_chunk
             WHERE project_id = ?1 AND metric_id = ?2 AND slot_unix_nano = ?3 AND series_id = ?4
                AND (first_unix_nano <= ?6 AND last_unix_nano >= ?5 OR part = (
                    SELECT max(part) FROM metric_chunk
                    WHERE project_id = ?1 AND metric_id = ?2 AND slot_unix_nano = ?3
                        AND series_id = ?4))
             ORDER BY part",
        )
        .map_err(&failed)?;
    let mut stored = Stored::new();
    for (key, (first, last)) in reads {
        let place = params![
            key.project.0,
            key.metric,
            key.slot,
            key.series.0,
            first,
            last
        ];
        let parts: BTreeMap<i32, Vec<u8>> = select
            .query_map(place, |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(&failed)?;
        if !parts.is_empty() {
            stored.insert(*key, parts);
        }
    }
    Ok(stored)
}

fn write_part(transaction: &Transaction<'_>, write: &PartWrite) -> Result<(), Error> {
    let key = &write.key;
    transaction
        .prepare_cached(
            "INSERT INTO metric_chunk (project_id, metric_id, slot_unix_nano, series_id, part,
                received_unix_nano, first_unix_nano, last_unix_nano, points)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET points = excluded.points,
                first_unix_nano = excluded.first_unix_nano,
                last_unix_nano = excluded.last_unix_nano,
                received_unix_nano = max(received_unix_nano, excluded.received_unix_nano)",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![
                key.project.0,
                key.metric,
                key.slot,
                key.series.0,
                write.part,
                write.received,
                write.times.0,
                write.times.1,
                write.points
            ])
        })
        .map_err(storage_error("store points of metrics"))?;
    Ok(())
}
