//! What projects may send, and what they sent.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::Type;

use super::{CONTEXT, Entry, Param, PostgresAccess, finish, number, project_id, projects, time};
use crate::model::ProjectId;
use crate::model::quota::{Day, Quota};
use crate::storage::Error;
use crate::storage::access::{Change, Done, Refusal};
use crate::storage::quota::{QuotaStore, USAGE_DAYS_MAX, Usage};
use crate::storage::summary::clamp_time;

impl QuotaStore for PostgresAccess {
    fn quotas(&self) -> BoxFuture<'_, Result<Vec<(ProjectId, Quota)>, Error>> {
        async move {
            let sql = "SELECT project_id, items_per_second, bytes_per_day FROM project_quota
                ORDER BY project_id";
            let rows = self.ask(sql, &[]).await?;
            let quotas = rows.iter().map(|row| {
                let items: Option<i64> = row.get(1);
                let quota = Quota {
                    items_per_second: items.map(|items| u32::try_from(items).unwrap_or(u32::MAX)),
                    bytes_per_day: row.get::<_, Option<i64>>(2).map(time),
                };
                (project_id(row.get(0)), quota)
            });
            Ok(quotas.collect())
        }
        .boxed()
    }

    fn set_quota(
        &self,
        project: ProjectId,
        quota: Option<Quota>,
        change: Change,
    ) -> BoxFuture<'_, Done<()>> {
        self.set_quota_now(project, quota, change).boxed()
    }

    fn add_usage(&self, usage: Vec<Usage>) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.add_usage_now(usage).await }.boxed()
    }

    fn bytes_of(&self, day: Day) -> BoxFuture<'_, Result<Vec<(ProjectId, u64)>, Error>> {
        async move {
            let sql = "SELECT project_id, sum(bytes)::bigint FROM project_usage
                WHERE day = $1 GROUP BY project_id ORDER BY project_id";
            let rows = self.ask(sql, &[(&i64::from(day.0), Type::INT8)]).await?;
            let bytes = rows
                .iter()
                .map(|row| (project_id(row.get(0)), time(row.get(1))));
            Ok(bytes.collect())
        }
        .boxed()
    }

    fn usage(&self, project: ProjectId, from: Day) -> BoxFuture<'_, Result<Vec<Usage>, Error>> {
        async move {
            let sql = "SELECT day, signal, items, bytes FROM project_usage
                WHERE project_id = $1 AND day >= $2 ORDER BY day, signal";
            let (id, from) = (number(project), i64::from(from.0));
            let rows = self
                .ask(sql, &[(&id, Type::INT8), (&from, Type::INT8)])
                .await?;
            let usage = rows.iter().map(|row| Usage {
                project,
                day: Day(u32::try_from(row.get::<_, i64>(0)).unwrap_or_default()),
                signal: row.get(1),
                items: time(row.get(2)),
                bytes: time(row.get(3)),
            });
            Ok(usage.collect())
        }
        .boxed()
    }
}

impl PostgresAccess {
    async fn set_quota_now(
        &self,
        project: ProjectId,
        quota: Option<Quota>,
        change: Change,
    ) -> Done<()> {
        let transaction = self.begin_change().await?;
        if !projects::exists(&transaction, project).await? {
            return Ok(Err(Refusal::Unknown));
        }
        let id = number(project);
        let target = match quota {
            Some(quota) => {
                let items = quota.items_per_second.map(i64::from);
                let bytes = quota.bytes_per_day.map(clamp_time);
                let sql = "INSERT INTO project_quota (project_id, items_per_second, bytes_per_day)
                    VALUES ($1, $2, $3) ON CONFLICT (project_id) DO UPDATE
                    SET items_per_second = excluded.items_per_second,
                        bytes_per_day = excluded.bytes_per_day";
                let params: [Param<'_>; 3] = [
                    (&id, Type::INT8),
                    (&items, Type::INT8),
                    (&bytes, Type::INT8),
                ];
                transaction.execute(sql, &params, CONTEXT).await?;
                quota.to_string()
            }
            None => {
                let sql = "DELETE FROM project_quota WHERE project_id = $1";
                transaction
                    .execute(sql, &[(&id, Type::INT8)], CONTEXT)
                    .await?;
                "default".to_owned()
            }
        };
        let entry = Entry {
            action: "project.quota",
            project: Some(project),
            target: &target,
        };
        finish(transaction, &change, entry).await?;
        Ok(Ok(()))
    }

    async fn add_usage_now(&self, mut usage: Vec<Usage>) -> Result<(), Error> {
        // In order, so that two collectors never wait for each other.
        usage.sort();
        let projects: Vec<_> = usage.iter().map(|usage| number(usage.project)).collect();
        let days: Vec<_> = usage.iter().map(|usage| i64::from(usage.day.0)).collect();
        let signals: Vec<_> = usage.iter().map(|usage| usage.signal.as_str()).collect();
        let items: Vec<_> = usage.iter().map(|usage| clamp_time(usage.items)).collect();
        let bytes: Vec<_> = usage.iter().map(|usage| clamp_time(usage.bytes)).collect();
        let sql = "INSERT INTO project_usage AS old (project_id, day, signal, items, bytes)
            SELECT u.project_id, u.day, u.signal, sum(u.items)::bigint, sum(u.bytes)::bigint
            FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
                AS u (project_id, day, signal, items, bytes)
            JOIN project p ON p.project_id = u.project_id
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            ON CONFLICT (project_id, day, signal) DO UPDATE
            SET items = old.items + excluded.items, bytes = old.bytes + excluded.bytes";
        let params: [Param<'_>; 5] = [
            (&projects, Type::INT8_ARRAY),
            (&days, Type::INT8_ARRAY),
            (&signals, Type::TEXT_ARRAY),
            (&items, Type::INT8_ARRAY),
            (&bytes, Type::INT8_ARRAY),
        ];
        let transaction = self.begin().await?;
        transaction.execute(sql, &params, CONTEXT).await?;
        let newest = usage.iter().map(|usage| usage.day.0).max();
        if let Some(oldest) = newest.and_then(|newest| newest.checked_sub(USAGE_DAYS_MAX)) {
            let sql = "DELETE FROM project_usage WHERE day <= $1";
            let params = [(&i64::from(oldest) as _, Type::INT8)];
            transaction.execute(sql, &params, CONTEXT).await?;
        }
        transaction.commit(CONTEXT).await
    }
}
