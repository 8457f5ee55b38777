//! What the store refused, kept with the reason.

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use super::{PostgresWriter, clean_text};
use crate::storage::Error;
use crate::storage::metrics::Refused;
use crate::storage::summary::clamp_time;
use crate::storage::write::{EventRow, MetricRows, PointRow, SpanRow};

impl PostgresWriter {
    pub(super) async fn quarantine_now(
        &self,
        span: &SpanRow<'_>,
        reason: &str,
    ) -> Result<(), Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        transaction
            .execute(
                "INSERT INTO dead_letter
                    (project_id, trace_id, span_id, reason, created_unix_nano, message)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                &[
                    (&i64::from(span.project.0), Type::INT8),
                    (&span.trace_id.0.as_slice(), Type::BYTEA),
                    (&span.span_id.0.as_slice(), Type::BYTEA),
                    (&clean_text(reason).as_ref(), Type::TEXT),
                    (&clamp_time(span.received_unix_nano), Type::INT8),
                    (&span.message.as_ref(), Type::BYTEA),
                ],
                "quarantine a span",
            )
            .await?;
        transaction.commit("quarantine a span").await
    }

    pub(super) async fn quarantine_event_now(
        &self,
        event: &EventRow<'_>,
        reason: &str,
    ) -> Result<(), Error> {
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        transaction
            .execute(
                "INSERT INTO dead_event
                    (project_id, created_unix_nano, time_unix_nano, digest, reason, message)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                &[
                    (&i64::from(event.project.0), Type::INT8),
                    (&clamp_time(event.received_unix_nano), Type::INT8),
                    (&clamp_time(event.id.unix_nano), Type::INT8),
                    (&event.id.digest.as_slice(), Type::BYTEA),
                    (&clean_text(reason).as_ref(), Type::TEXT),
                    (&event.message.as_ref(), Type::BYTEA),
                ],
                "quarantine an event",
            )
            .await?;
        transaction.commit("quarantine an event").await
    }

    pub(super) async fn quarantine_point_now(
        &self,
        rows: &MetricRows<'_>,
        row: &PointRow,
        reason: &str,
    ) -> Result<(), Error> {
        let refused = Refused::of(rows, row)?;
        let transaction = Transaction::begin(&self.pool, &self.settings).await?;
        transaction
            .execute(
                "INSERT INTO dead_point (project_id, time_unix_nano, start_unix_nano,
                    created_unix_nano, series_id, name, reason, points)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                &[
                    (&i64::from(refused.project.0), Type::INT8),
                    (&clamp_time(row.point.time_unix_nano), Type::INT8),
                    (&clamp_time(row.point.start_unix_nano), Type::INT8),
                    (&clamp_time(refused.received_unix_nano), Type::INT8),
                    (&refused.series.as_slice(), Type::BYTEA),
                    (&refused.name, Type::TEXT),
                    (&clean_text(reason).as_ref(), Type::TEXT),
                    (&refused.points, Type::BYTEA),
                ],
                "quarantine a data point",
            )
            .await?;
        transaction.commit("quarantine a data point").await
    }
}
