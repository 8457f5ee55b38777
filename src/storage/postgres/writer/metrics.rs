//! Data points: which are new, and the chunks they go to.
//!
//! Who adds points to a chunk holds the lock of its rows. Chunks that are there are locked in the order of
//! their keys; then those that are not there are made, in that order too. One that another writer made
//! meanwhile is read again and added to.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use super::super::partitions::{Arrivals, Partitions, Table};
use super::super::transaction::{Param, Transaction};
use super::metric_series::{place, project_of, series_of};
use crate::storage::Error;
use crate::storage::metrics::directory::{Known, Placed};
use crate::storage::metrics::merge::{Added, ChunkKey, PartWrite, Plan, Stored, Times};
use crate::storage::summary::clamp_time;
use crate::storage::write::MetricRows;

/// What was done.
pub(super) struct Written {
    pub(super) added: Added,
    pub(super) arrivals: Arrivals,
    /// To be remembered once it is committed.
    pub(super) known: Vec<Placed>,
}

/// Locks some chunks, by all of their parts: retention may have taken the first. Looked up one by one, in order; all the slots together say
/// which partitions there is something to look for in.
const LOCK: &str = "SELECT FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
        AS wanted (project_id, metric_id, slot, series_id)
    CROSS JOIN LATERAL (SELECT FROM metric_chunk c WHERE c.project_id = wanted.project_id
        AND c.metric_id = wanted.metric_id AND c.slot_unix_nano = wanted.slot
        AND c.series_id = wanted.series_id
        AND c.slot_unix_nano BETWEEN $5 AND $6 ORDER BY c.part FOR UPDATE) AS found";

/// Of chunks, the last part and those with points of some times. A statement of its own, so that it sees what another writer did who had the
/// lock.
const LOAD: &str =
    "SELECT found.project_id, found.metric_id, found.slot_unix_nano, found.series_id,
        found.points, found.part
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $7::bigint[], $8::bigint[])
        AS wanted (project_id, metric_id, slot, series_id, first, last)
    CROSS JOIN LATERAL (SELECT max(c.part) AS part FROM metric_chunk c
        WHERE c.project_id = wanted.project_id AND c.metric_id = wanted.metric_id
        AND c.slot_unix_nano = wanted.slot AND c.series_id = wanted.series_id
        AND c.slot_unix_nano BETWEEN $5 AND $6 OFFSET 0) AS newest
    CROSS JOIN LATERAL (SELECT c.* FROM metric_chunk c WHERE c.project_id = wanted.project_id
        AND c.metric_id = wanted.metric_id AND c.slot_unix_nano = wanted.slot
        AND c.series_id = wanted.series_id AND c.slot_unix_nano BETWEEN $5 AND $6
        AND (c.first_unix_nano <= wanted.last AND c.last_unix_nano >= wanted.first
            OR c.part = newest.part)
        ORDER BY c.part OFFSET 0) AS found";

/// Makes parts. Answers which were made, where another writer may have been first.
const INSERT: &str = "INSERT INTO metric_chunk (project_id, metric_id, slot_unix_nano,
        received_unix_nano, part, series_id, points, first_unix_nano, last_unix_nano)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::integer[],
        $6::bytea[], $7::bytea[], $8::bigint[], $9::bigint[])
    ON CONFLICT DO NOTHING
    RETURNING project_id, metric_id, slot_unix_nano, series_id";

const UPDATE: &str = "UPDATE metric_chunk c SET points = new.points,
        first_unix_nano = new.first, last_unix_nano = new.last,
        received_unix_nano = greatest(c.received_unix_nano, new.received)
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::integer[],
        $6::bytea[], $7::bytea[], $8::bigint[], $9::bigint[])
        AS new (project_id, metric_id, slot, received, part, series_id, points, first, last)
    WHERE c.project_id = new.project_id AND c.metric_id = new.metric_id
        AND c.slot_unix_nano = new.slot AND c.series_id = new.series_id AND c.part = new.part";

/// Writes the points that are not stored yet, and their series.
///
/// # Errors
/// As the store's.
pub(super) async fn write(
    transaction: &Transaction,
    rows: &MetricRows<'_>,
    known: &Known,
    partitions: &Partitions,
) -> Result<Written, Error> {
    let mut written = Written {
        added: Added::default(),
        arrivals: Arrivals::of(Table::MetricChunk),
        known: Vec::new(),
    };
    if rows.points.is_empty() {
        return Ok(written);
    }
    let decided = place(transaction, rows, known).await?;
    let mut plan = Plan::of(rows, &decided.homes);
    for (key, received) in plan.arrivals() {
        partitions.note(&mut written.arrivals, key.slot, clamp_time(received));
    }
    // Before they are written: who drops partitions locks the note first, and then the partition.
    written.arrivals.save(transaction).await?;
    while !plan.is_empty() {
        let writes = plan.merge(&load(transaction, &plan.reads()).await?)?;
        let lost = save(transaction, &writes).await?;
        for write in writes.iter().filter(|write| !lost.contains(&write.key)) {
            written.added.count(write);
        }
        // What another writer made first is added to in the next round.
        plan = plan.only(&lost);
    }
    written.known = decided.known;
    Ok(written)
}

async fn load(
    transaction: &Transaction,
    reads: &BTreeMap<ChunkKey, Times>,
) -> Result<Stored, Error> {
    let keys = || reads.keys();
    let times = || reads.values();
    let projects: Vec<_> = keys().map(|it| i64::from(it.project.0)).collect();
    let metrics: Vec<_> = keys().map(|it| it.metric).collect();
    let slots: Vec<_> = keys().map(|it| it.slot).collect();
    let series: Vec<_> = keys().map(|it| it.series.0.as_slice()).collect();
    let first = slots.iter().min().copied().unwrap_or(0);
    let last = slots.iter().max().copied().unwrap_or(0);
    let earliest: Vec<_> = times().map(|it| it.0).collect();
    let latest: Vec<_> = times().map(|it| it.1).collect();
    let mut params: Vec<Param<'_>> = vec![
        (&projects, Type::INT8_ARRAY),
        (&metrics, Type::INT8_ARRAY),
        (&slots, Type::INT8_ARRAY),
        (&series, Type::BYTEA_ARRAY),
        (&first, Type::INT8),
        (&last, Type::INT8),
    ];
    let context = "read points of metrics";
    transaction.query(LOCK, &params, context).await?;
    params.push((&earliest, Type::INT8_ARRAY));
    params.push((&latest, Type::INT8_ARRAY));
    let rows = transaction.query(LOAD, &params, context).await?;
    let mut stored = Stored::new();
    for row in rows {
        let key = ChunkKey {
            project: project_of(row.get(0))?,
            metric: row.get(1),
            slot: row.get(2),
            series: series_of(row.get(3))?,
        };
        let parts = stored.entry(key).or_default();
        parts.insert(row.get(5), row.get(4));
    }
    Ok(stored)
}

/// Writes parts; answers the chunks that another writer made first, of which nothing was written.
async fn save(
    transaction: &Transaction,
    writes: &[PartWrite],
) -> Result<BTreeSet<ChunkKey>, Error> {
    let context = "store points of metrics";
    let of = |wanted: fn(&PartWrite) -> bool| {
        let writes = writes.iter();
        writes
            .filter(move |write| wanted(write))
            .collect::<Vec<_>>()
    };
    let begun = of(|write| write.is_new && write.part == 0);
    let mut lost: BTreeSet<_> = begun.iter().map(|write| write.key).collect();
    for row in run(transaction, INSERT, &begun, context).await? {
        lost.remove(&ChunkKey {
            project: project_of(row.get(0))?,
            metric: row.get(1),
            slot: row.get(2),
            series: series_of(row.get(3))?,
        });
    }
    let kept = |writes: Vec<_>| -> Vec<&PartWrite> {
        let writes = writes.into_iter();
        writes
            .filter(|write: &&PartWrite| !lost.contains(&write.key))
            .collect()
    };
    let more = kept(of(|write| write.is_new && write.part > 0));
    run(transaction, INSERT, &more, context).await?;
    let changed = kept(of(|write| !write.is_new));
    run(transaction, UPDATE, &changed, context).await?;
    Ok(lost)
}

async fn run(
    transaction: &Transaction,
    sql: &str,
    writes: &[&PartWrite],
    context: &'static str,
) -> Result<Vec<tokio_postgres::Row>, Error> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let keys = || writes.iter().map(|write| &write.key);
    let projects: Vec<_> = keys().map(|it| i64::from(it.project.0)).collect();
    let metrics: Vec<_> = keys().map(|it| it.metric).collect();
    let slots: Vec<_> = keys().map(|it| it.slot).collect();
    let received: Vec<_> = writes.iter().map(|write| write.received).collect();
    let parts: Vec<_> = writes.iter().map(|write| write.part).collect();
    let series: Vec<_> = keys().map(|it| it.series.0.as_slice()).collect();
    let points: Vec<_> = writes.iter().map(|write| write.points.as_slice()).collect();
    let earliest: Vec<_> = writes.iter().map(|write| write.times.0).collect();
    let latest: Vec<_> = writes.iter().map(|write| write.times.1).collect();
    transaction
        .query(
            sql,
            &[
                (&projects, Type::INT8_ARRAY),
                (&metrics, Type::INT8_ARRAY),
                (&slots, Type::INT8_ARRAY),
                (&received, Type::INT8_ARRAY),
                (&parts, Type::INT4_ARRAY),
                (&series, Type::BYTEA_ARRAY),
                (&points, Type::BYTEA_ARRAY),
                (&earliest, Type::INT8_ARRAY),
                (&latest, Type::INT8_ARRAY),
            ],
            context,
        )
        .await
}
