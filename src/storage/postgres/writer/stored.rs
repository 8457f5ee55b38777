//! Which spans of a batch their traces hold already.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use super::params::Time;
use super::trace_rows::KnownTrace;
use super::traces::{Group, Key};
use crate::storage::Error;

/// Most traces lie within this much of the batch's arrival, ns; they are looked up apart from the
/// others.
const NEAR_NS: i64 = 26 * 3600 * 1_000_000_000;

/// The subquery is run once a span: without the offset it would be turned into a join of
/// everything. The last two parameters bound all times, so that the statement is planned for few
/// partitions; the times of a trace prune further while it runs.
pub(super) const FIND_STORED: &str = "SELECT k.place::bigint
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::timestamptz[], $5::timestamptz[])
        WITH ORDINALITY AS k(project_id, trace_id, span_id, first_start, last_start, place)
    CROSS JOIN LATERAL (
        SELECT FROM span s
        WHERE s.project_id = k.project_id AND s.trace_id = k.trace_id AND s.span_id = k.span_id
            AND s.start_time >= k.first_start AND s.start_time <= k.last_start
            AND s.start_time >= $6 AND s.start_time <= $7
        LIMIT 1 OFFSET 0) AS found";

/// Spans to look up, column by column.
#[derive(Default)]
struct Wanted<'b> {
    projects: Vec<i64>,
    trace_ids: Vec<&'b [u8]>,
    span_ids: Vec<&'b [u8]>,
    first_starts: Vec<Time>,
    last_starts: Vec<Time>,
    /// Where each is among the spans of known traces.
    places: Vec<usize>,
}

/// Leaves out the spans that their traces hold already. `received` is the arrival of the newest
/// span, ns.
///
/// # Errors
/// As the store's.
pub(super) async fn without_stored<'b>(
    transaction: &Transaction,
    groups: Vec<Group<'b>>,
    known: &HashMap<Key, KnownTrace>,
    received: i64,
) -> Result<Vec<Group<'b>>, Error> {
    let (mut near, mut far) = (Wanted::default(), Wanted::default());
    let mut count = 0;
    for group in &groups {
        let Some(known) = known.get(&group.key) else {
            continue;
        };
        let (first, last) = (known.summary.start, known.last_start);
        let is_near =
            first >= received.saturating_sub(NEAR_NS) && last <= received.saturating_add(NEAR_NS);
        let wanted = if is_near { &mut near } else { &mut far };
        for span in &group.spans {
            wanted.projects.push(i64::from(span.project.0));
            wanted.trace_ids.push(&span.trace_id.0);
            wanted.span_ids.push(&span.span_id.0);
            wanted.first_starts.push(Time(first));
            wanted.last_starts.push(Time(last));
            wanted.places.push(count);
            count += 1;
        }
    }
    if count == 0 {
        return Ok(groups);
    }
    let mut stored = near.find(transaction).await?;
    stored.extend(far.find(transaction).await?);
    let mut fresh = groups;
    let mut place = 0;
    for group in &mut fresh {
        if known.contains_key(&group.key) {
            group.spans.retain(|_| {
                place += 1;
                !stored.contains(&(place - 1))
            });
        }
    }
    fresh.retain(|group| !group.spans.is_empty());
    Ok(fresh)
}

impl Wanted<'_> {
    /// Places of the spans that are stored.
    async fn find(&self, transaction: &Transaction) -> Result<HashSet<usize>, Error> {
        let first = self.first_starts.iter().map(|time| time.0).min();
        let last = self.last_starts.iter().map(|time| time.0).max();
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(HashSet::new());
        };
        let rows = transaction
            .query(
                FIND_STORED,
                &[
                    (&self.projects, Type::INT8_ARRAY),
                    (&self.trace_ids, Type::BYTEA_ARRAY),
                    (&self.span_ids, Type::BYTEA_ARRAY),
                    (&self.first_starts, Type::TIMESTAMPTZ_ARRAY),
                    (&self.last_starts, Type::TIMESTAMPTZ_ARRAY),
                    (&Time(first), Type::TIMESTAMPTZ),
                    (&Time(last), Type::TIMESTAMPTZ),
                ],
                "look up stored spans",
            )
            .await?;
        let place = |row: &tokio_postgres::Row| {
            let ordinal = usize::try_from(row.get::<_, i64>(0)).ok()?;
            self.places.get(ordinal.checked_sub(1)?).copied()
        };
        Ok(rows.iter().filter_map(place).collect())
    }
}
