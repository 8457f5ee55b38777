//! What projects may send, and what they sent.

use futures_util::future::BoxFuture;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use super::{Entry, SqliteAccess, note, projects, time};
use crate::model::ProjectId;
use crate::model::quota::{Day, Quota};
use crate::storage::Error;
use crate::storage::access::{Change, Done, Refusal};
use crate::storage::quota::{QuotaStore, USAGE_DAYS_MAX, Usage};
use crate::storage::summary::clamp_time;

impl QuotaStore for SqliteAccess {
    fn quotas(&self) -> BoxFuture<'_, Result<Vec<(ProjectId, Quota)>, Error>> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT project_id, items_per_second, bytes_per_day FROM project_quota
                     ORDER BY project_id",
                )?
                .query_map([], |row| {
                    let bytes: Option<i64> = row.get(2)?;
                    let quota = Quota {
                        items_per_second: row.get(1)?,
                        bytes_per_day: bytes.map(time),
                    };
                    Ok((ProjectId(row.get(0)?), quota))
                })?
                .collect()
        })
    }

    fn set_quota(
        &self,
        project: ProjectId,
        quota: Option<Quota>,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.change(move |transaction| set(transaction, &change, project, quota))
    }

    fn add_usage(&self, usage: Vec<Usage>) -> BoxFuture<'_, Result<(), Error>> {
        self.run(move |connection| add(connection, &usage))
    }

    fn bytes_of(&self, day: Day) -> BoxFuture<'_, Result<Vec<(ProjectId, u64)>, Error>> {
        self.run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT project_id, sum(bytes) FROM project_usage
                     WHERE day = ?1 GROUP BY project_id ORDER BY project_id",
                )?
                .query_map([day.0], |row| {
                    Ok((ProjectId(row.get(0)?), time(row.get(1)?)))
                })?
                .collect()
        })
    }

    fn usage(&self, project: ProjectId, from: Day) -> BoxFuture<'_, Result<Vec<Usage>, Error>> {
        self.run(move |connection| {
            connection
                .prepare_cached(
                    "SELECT project_id, day, signal, items, bytes FROM project_usage
                     WHERE project_id = ?1 AND day >= ?2 ORDER BY day, signal",
                )?
                .query_map((project.0, from.0), read)?
                .collect()
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Usage> {
    Ok(Usage {
        project: ProjectId(row.get(0)?),
        day: Day(row.get(1)?),
        signal: row.get(2)?,
        items: time(row.get(3)?),
        bytes: time(row.get(4)?),
    })
}

fn set(
    transaction: &Transaction<'_>,
    change: &Change,
    project: ProjectId,
    quota: Option<Quota>,
) -> rusqlite::Result<Result<(), Refusal>> {
    if !projects::exists(transaction, project)? {
        return Ok(Err(Refusal::Unknown));
    }
    let target = match quota {
        Some(quota) => {
            transaction.execute(
                "INSERT INTO project_quota (project_id, items_per_second, bytes_per_day)
                 VALUES (?1, ?2, ?3) ON CONFLICT (project_id) DO UPDATE
                 SET items_per_second = excluded.items_per_second,
                     bytes_per_day = excluded.bytes_per_day",
                (
                    project.0,
                    quota.items_per_second,
                    quota.bytes_per_day.map(clamp_time),
                ),
            )?;
            quota.to_string()
        }
        None => {
            let sql = "DELETE FROM project_quota WHERE project_id = ?1";
            transaction.execute(sql, [project.0])?;
            "default".to_owned()
        }
    };
    let entry = Entry {
        action: "project.quota",
        project: Some(project),
        target: &target,
    };
    note(transaction, change, &entry)?;
    Ok(Ok(()))
}

fn add(connection: &mut Connection, usage: &[Usage]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO project_usage (project_id, day, signal, items, bytes)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM project WHERE project_id = ?1)
             ON CONFLICT (project_id, day, signal) DO UPDATE
             SET items = items + excluded.items, bytes = bytes + excluded.bytes",
        )?;
        for usage in usage {
            insert.execute((
                usage.project.0,
                usage.day.0,
                &usage.signal,
                clamp_time(usage.items),
                clamp_time(usage.bytes),
            ))?;
        }
    }
    let newest = usage.iter().map(|usage| usage.day.0).max();
    if let Some(oldest) = newest.and_then(|newest| newest.checked_sub(USAGE_DAYS_MAX)) {
        transaction.execute("DELETE FROM project_usage WHERE day <= ?1", [oldest])?;
    }
    transaction.commit()
}
