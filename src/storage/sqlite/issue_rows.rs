//! Rows of issues, in the transaction that stores their events.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::error::storage_error;
use crate::storage::Error;
use crate::storage::issues::{Details, Gathered, Tally};

const FIND: &str =
    "SELECT event_count, first_unix_nano, last_unix_nano, received_unix_nano, details
    FROM issue WHERE project_id = ?1 AND fingerprint = ?2 AND level = ?3 AND type = ?4";
const PUT: &str = "INSERT OR REPLACE INTO issue (project_id, fingerprint, level, type, event_count,
        first_unix_nano, last_unix_nano, received_unix_nano, details)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const COUNT: &str = "INSERT INTO issue_bucket (project_id, fingerprint, start_unix_nano,
        event_count, received_unix_nano)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (project_id, fingerprint, start_unix_nano) DO UPDATE SET
        event_count = event_count + excluded.event_count,
        received_unix_nano = max(received_unix_nano, excluded.received_unix_nano)";

/// Adds what was gathered.
///
/// # Errors
/// As the store's.
pub(super) fn save(transaction: &Transaction<'_>, gathered: Gathered) -> Result<(), Error> {
    let failed = storage_error("store issues");
    for (key, mut tally) in gathered.issues {
        let (project, print, level) = (key.project.0, key.fingerprint, key.level);
        let found: Option<([i64; 4], String)> = transaction
            .prepare_cached(FIND)
            .and_then(|mut find| {
                find.query_row(params![project, print, level, key.kind], |row| {
                    let sums = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
                    Ok((sums, row.get(4)?))
                })
                .optional()
            })
            .map_err(&failed)?;
        if let Some(([count, first, last, received], details)) = found {
            tally.add(Tally {
                count,
                first,
                last,
                received,
                // What can't be read is begun anew: it must not hold up the events.
                details: Details::parse(&details).unwrap_or_default(),
            });
        }
        transaction
            .prepare_cached(PUT)
            .and_then(|mut put| {
                put.execute(params![
                    project,
                    print,
                    level,
                    key.kind,
                    tally.count,
                    tally.first,
                    tally.last,
                    tally.received,
                    tally.details.text()
                ])
            })
            .map_err(&failed)?;
    }
    for ((project, print, start), (count, received)) in gathered.buckets {
        transaction
            .prepare_cached(COUNT)
            .and_then(|mut add| add.execute(params![project.0, print, start, count, received]))
            .map_err(&failed)?;
    }
    Ok(())
}
