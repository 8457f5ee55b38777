//! `trace_service`: the services of traces, for lists by service.
//!
//! Nobody else writes the rows of a trace whose lock is held, so that what is to be added and to be
//! deleted is known exactly, and new rows can be copied in.

use std::borrow::Cow;

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use super::Care;
use super::copy::Copy;
use super::traces::Key;
use crate::storage::Error;
use crate::storage::summary::Summary;

/// Rows to write and to delete.
#[derive(Default)]
pub(super) struct Services<'b> {
    added: Vec<Row<'b>>,
    gone: Vec<Row<'b>>,
}

struct Row<'b> {
    key: Key,
    service: Cow<'b, str>,
    start: i64,
}

impl<'b> Services<'b> {
    /// A trace that is new.
    pub(super) fn add(&mut self, key: Key, start: i64, services: &[Cow<'b, str>]) {
        let row = |service: &Cow<'b, str>| Row {
            key,
            service: service.clone(),
            start,
        };
        self.added.extend(services.iter().map(row));
    }

    /// A trace that grew: it may begin earlier, and a service may have been pushed out of a full
    /// list.
    pub(super) fn change(&mut self, key: Key, before: &Summary<'static>, after: &Summary<'b>) {
        let moved = before.start != after.start;
        let gone = before
            .services
            .iter()
            .filter(|service| moved || !after.services.contains(service));
        self.gone.extend(gone.map(|service| Row {
            key,
            service: service.clone(),
            start: before.start,
        }));
        let added = after
            .services
            .iter()
            .filter(|service| moved || !before.services.contains(service));
        self.added.extend(added.map(|service| Row {
            key,
            service: service.clone(),
            start: after.start,
        }));
    }

    /// Writes the changes.
    ///
    /// # Errors
    /// As the store's.
    pub(super) async fn save(mut self, transaction: &Transaction, care: Care) -> Result<(), Error> {
        delete(transaction, &self.gone).await?;
        if care == Care::LookForLeftovers {
            delete(transaction, &self.added).await?;
        }
        // In the order of the index.
        self.added.sort_unstable_by(|a, b| {
            let rank = |row: &Row<'_>| (row.start, row.key.1);
            (a.key.0, &a.service)
                .cmp(&(b.key.0, &b.service))
                .then_with(|| rank(a).cmp(&rank(b)))
        });
        insert(transaction, &self.added).await
    }
}

async fn insert(transaction: &Transaction, rows: &[Row<'_>]) -> Result<(), Error> {
    const STATEMENT: &str = "COPY trace_service (project_id, service_name, start_unix_nano, \
        trace_id) FROM STDIN (FORMAT binary)";
    if rows.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(transaction, STATEMENT, "store the services of traces").await?;
    for row in rows {
        copy.rows.row(4);
        copy.rows.i64(i64::from(row.key.0.0));
        copy.rows.text(&row.service);
        copy.rows.i64(row.start);
        copy.rows.bytes(&row.key.1.0);
        copy.send_if_full().await?;
    }
    copy.finish().await?;
    Ok(())
}

async fn delete(transaction: &Transaction, rows: &[Row<'_>]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let projects: Vec<_> = rows.iter().map(|row| i64::from(row.key.0.0)).collect();
    let services: Vec<_> = rows.iter().map(|row| row.service.as_ref()).collect();
    let starts: Vec<_> = rows.iter().map(|row| row.start).collect();
    let trace_ids: Vec<_> = rows.iter().map(|row| row.key.1.0.as_slice()).collect();
    transaction
        .execute(
            "DELETE FROM trace_service t
             USING unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])
                AS k(project_id, service_name, start_unix_nano, trace_id)
             WHERE t.project_id = k.project_id AND t.service_name = k.service_name
                AND t.start_unix_nano = k.start_unix_nano AND t.trace_id = k.trace_id",
            &[
                (&projects, Type::INT8_ARRAY),
                (&services, Type::TEXT_ARRAY),
                (&starts, Type::INT8_ARRAY),
                (&trace_ids, Type::BYTEA_ARRAY),
            ],
            "store the services of traces",
        )
        .await?;
    Ok(())
}
