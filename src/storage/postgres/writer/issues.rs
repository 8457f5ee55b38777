//! Rows of issues, in the transaction that stores their events.
//!
//! All writers go through the rows in the order of their keys, after everything else but the
//! checkpoint, so that they wait for each other and never in a circle.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::issues::{Bucket, Details, Gathered};

const CONTEXT: &str = "store issues";

/// Adds sums, and locks the rows; answers what else is known of them.
const SUMS: &str = "INSERT INTO issue AS i (project_id, fingerprint, level, type, event_count,
        first_unix_nano, last_unix_nano, received_unix_nano, details)
    SELECT project_id, fingerprint, level, type, event_count, first, last, received, ''
    FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[]) WITH ORDINALITY
        AS w (project_id, fingerprint, level, type, event_count, first, last, received, place)
    ORDER BY place
    ON CONFLICT (project_id, fingerprint, level, type) DO UPDATE SET
        event_count = i.event_count + excluded.event_count,
        first_unix_nano = least(i.first_unix_nano, excluded.first_unix_nano),
        last_unix_nano = greatest(i.last_unix_nano, excluded.last_unix_nano),
        received_unix_nano = greatest(i.received_unix_nano, excluded.received_unix_nano)
    RETURNING i.project_id, i.fingerprint, i.level, i.type, i.details";
const DETAILS: &str = "UPDATE issue AS i SET details = w.details
    FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[])
        AS w (project_id, fingerprint, level, type, details)
    WHERE i.project_id = w.project_id AND i.fingerprint = w.fingerprint AND i.level = w.level
        AND i.type = w.type";
const BUCKETS: &str = "INSERT INTO issue_bucket AS b (project_id, fingerprint, start_unix_nano,
        event_count, received_unix_nano)
    SELECT project_id, fingerprint, start, event_count, received
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        WITH ORDINALITY AS w (project_id, fingerprint, start, event_count, received, place)
    ORDER BY place
    ON CONFLICT (project_id, fingerprint, start_unix_nano) DO UPDATE SET
        event_count = b.event_count + excluded.event_count,
        received_unix_nano = greatest(b.received_unix_nano, excluded.received_unix_nano)";

/// Adds what was gathered.
///
/// # Errors
/// As the store's.
pub(super) async fn save(transaction: &Transaction, gathered: Gathered) -> Result<(), Error> {
    if gathered.issues.is_empty() {
        return Ok(());
    }
    let (keys, tallies): (Vec<_>, Vec<_>) = gathered.issues.into_iter().unzip();
    let projects: Vec<_> = keys.iter().map(|it| i64::from(it.project.0)).collect();
    let prints: Vec<_> = keys.iter().map(|it| it.fingerprint).collect();
    let levels: Vec<_> = keys.iter().map(|it| i16::from(it.level)).collect();
    let kinds: Vec<_> = keys.iter().map(|it| it.kind.as_str()).collect();
    let counts: Vec<_> = tallies.iter().map(|it| it.count).collect();
    let firsts: Vec<_> = tallies.iter().map(|it| it.first).collect();
    let lasts: Vec<_> = tallies.iter().map(|it| it.last).collect();
    let received: Vec<_> = tallies.iter().map(|it| it.received).collect();
    let rows = transaction
        .query(
            SUMS,
            &[
                (&projects, Type::INT8_ARRAY),
                (&prints, Type::INT8_ARRAY),
                (&levels, Type::INT2_ARRAY),
                (&kinds, Type::TEXT_ARRAY),
                (&counts, Type::INT8_ARRAY),
                (&firsts, Type::INT8_ARRAY),
                (&lasts, Type::INT8_ARRAY),
                (&received, Type::INT8_ARRAY),
            ],
            CONTEXT,
        )
        .await?;
    let known: HashMap<_, &str> = rows
        .iter()
        .map(|row| {
            let key: (i64, i64, i16, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
            (key, row.get(4))
        })
        .collect();
    let mut details = Vec::with_capacity(keys.len());
    for (key, tally) in keys.iter().zip(tallies) {
        let of = (
            i64::from(key.project.0),
            key.fingerprint,
            i16::from(key.level),
            key.kind.as_str(),
        );
        // What can't be read is begun anew: it must not hold up the events.
        let mut all =
            Details::parse(known.get(&of).copied().unwrap_or_default()).unwrap_or_default();
        all.add(tally.details);
        details.push(all.text());
    }
    transaction
        .execute(
            DETAILS,
            &[
                (&projects, Type::INT8_ARRAY),
                (&prints, Type::INT8_ARRAY),
                (&levels, Type::INT2_ARRAY),
                (&kinds, Type::TEXT_ARRAY),
                (&details, Type::TEXT_ARRAY),
            ],
            CONTEXT,
        )
        .await?;
    count(transaction, gathered.buckets).await
}

/// Adds events to stretches of time.
///
/// # Errors
/// As the store's.
async fn count(
    transaction: &Transaction,
    buckets: BTreeMap<(ProjectId, i64, i64), Bucket>,
) -> Result<(), Error> {
    let (keys, sums): (Vec<_>, Vec<_>) = buckets.into_iter().unzip();
    let projects: Vec<_> = keys.iter().map(|(it, _, _)| i64::from(it.0)).collect();
    let prints: Vec<_> = keys.iter().map(|(_, print, _)| *print).collect();
    let starts: Vec<_> = keys.iter().map(|(_, _, start)| *start).collect();
    let (counts, received): (Vec<_>, Vec<_>) = sums.into_iter().unzip();
    transaction
        .execute(
            BUCKETS,
            &[
                (&projects, Type::INT8_ARRAY),
                (&prints, Type::INT8_ARRAY),
                (&starts, Type::INT8_ARRAY),
                (&counts, Type::INT8_ARRAY),
                (&received, Type::INT8_ARRAY),
            ],
            CONTEXT,
        )
        .await?;
    Ok(())
}
