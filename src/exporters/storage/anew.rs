//! Taking the columns of stored spans anew, between batches.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::assemble::Remapper;
use super::prices::Prices;
use super::{Halt, IDLE_WAIT, StorageExporter, until_abandoned};
use crate::telemetry::logs::chain;

/// Between two looks whether there is a job.
const POLL: Duration = Duration::from_millis(500);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);

/// What the thread knows of jobs.
pub(super) struct Remap {
    due: Instant,
    /// Whether there is more to do.
    is_busy: bool,
}

impl Remap {
    pub(super) fn new() -> Self {
        Self {
            due: Instant::now(),
            is_busy: false,
        }
    }

    /// How long the log is waited for while nothing comes.
    pub(super) const fn idle_wait(&self) -> Duration {
        if self.is_busy {
            Duration::from_millis(1)
        } else {
            IDLE_WAIT
        }
    }

    /// Works on a job, if there is one, for as long as it may.
    pub(super) fn work(
        &mut self,
        exporter: &mut StorageExporter,
        prices: &mut Prices,
        runtime: &Handle,
        share: Duration,
    ) -> Result<(), Halt> {
        let began = Instant::now();
        if !self.is_busy && began < self.due {
            return Ok(());
        }
        prices.refresh(exporter, runtime)?;
        let mapper = Remapper {
            limits: exporter.limits.clone(),
            prices: prices.book().clone(),
        };
        self.is_busy = true;
        self.due = began;
        while self.is_busy && began.elapsed() < share {
            self.step(exporter, &mapper, runtime)?;
        }
        self.due = self.due.max(Instant::now() + POLL);
        Ok(())
    }

    fn step(
        &mut self,
        exporter: &mut StorageExporter,
        mapper: &Remapper,
        runtime: &Handle,
    ) -> Result<(), Halt> {
        let abandon = exporter.abandon.clone();
        let step = exporter.writer.remap_step(mapper);
        self.is_busy = match until_abandoned(runtime, &abandon, step)? {
            Ok(Some(job)) if job.is_done => {
                tracing::info!(
                    traces = job.traces,
                    spans = job.spans,
                    spans_changed = job.spans_changed,
                    traces_skipped = job.traces_skipped,
                    "the columns of stored spans were taken anew"
                );
                false
            }
            Ok(Some(_)) => true,
            Ok(None) => false,
            Err(error) => {
                let error = chain(&error);
                tracing::error!(%error, "can't take columns anew now, will try again");
                self.due = Instant::now() + RETRY;
                false
            }
        };
        Ok(())
    }
}
