//! What the pipeline asks of the writer.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{PostgresWriter, remap};
use crate::storage::remap::{Job, Mapper};
use crate::storage::write::{Batch, EventRow, MetricRows, PointRow, SpanRow, WriteReport};
use crate::storage::{Error, RetentionReport, SpanWriter};

impl SpanWriter for PostgresWriter {
    fn write<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<WriteReport, Error>> {
        self.write_now(batch).boxed()
    }

    fn quarantine<'a>(
        &'a mut self,
        span: &'a SpanRow<'a>,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.quarantine_now(span, reason).boxed()
    }

    fn quarantine_event<'a>(
        &'a mut self,
        event: &'a EventRow<'a>,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.quarantine_event_now(event, reason).boxed()
    }

    fn quarantine_point<'a>(
        &'a mut self,
        rows: &'a MetricRows<'a>,
        point: &'a PointRow,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.quarantine_point_now(rows, point, reason).boxed()
    }

    fn remap_step<'a>(
        &'a mut self,
        mapper: &'a dyn Mapper,
    ) -> BoxFuture<'a, Result<Option<Job>, Error>> {
        remap::step(&self.pool, &self.settings, &self.config, mapper).boxed()
    }

    fn enforce_retention<'a>(
        &'a mut self,
        now_unix_nano: u64,
    ) -> BoxFuture<'a, Result<RetentionReport, Error>> {
        self.enforce_retention_now(now_unix_nano).boxed()
    }
}
