//! The prices of projects, looked up again and again: people change them while the daemon runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{Halt, StorageExporter, until_abandoned};
use crate::model::ProjectId;
use crate::pricing::{self, Book};
use crate::storage::settings::{PRICES, ProjectSettings};
use crate::telemetry::logs::chain;

/// How old what is known may be.
const REFRESH: Duration = Duration::from_secs(2);
/// Between two tries while nothing is known.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The prices of all projects, as they were a moment ago.
pub(super) struct Prices {
    book: Book,
    settings: Arc<dyn ProjectSettings>,
    /// What the book was made of; absent before the first look.
    known: Option<Vec<(ProjectId, Vec<u8>)>>,
    due: Instant,
}

impl Prices {
    pub(super) fn new(base: pricing::Table, settings: Arc<dyn ProjectSettings>) -> Self {
        Self {
            book: base.into(),
            settings,
            known: None,
            due: Instant::now(),
        }
    }

    pub(super) const fn book(&self) -> &Book {
        &self.book
    }

    /// Looks, if it is time to. What was never known is waited for: a store that can't say can't
    /// store spans either.
    pub(super) fn refresh(
        &mut self,
        exporter: &StorageExporter,
        runtime: &Handle,
    ) -> Result<(), Halt> {
        if self.known.is_some() && Instant::now() < self.due {
            return Ok(());
        }
        loop {
            self.due = Instant::now() + REFRESH;
            let look = self.settings.all(PRICES);
            match until_abandoned(runtime, &exporter.abandon, look)? {
                Ok(mut found) => {
                    found.sort_unstable();
                    if self.known.as_ref() != Some(&found) {
                        self.settle(&found);
                        self.known = Some(found);
                    }
                    return Ok(());
                }
                Err(error) if self.known.is_some() => {
                    tracing::debug!(error = %chain(&error), "can't look up the prices of projects");
                    return Ok(());
                }
                Err(error) => {
                    let reason = chain(&error);
                    tracing::error!(error = %reason, "can't look up the prices of projects, will try again");
                    exporter.health.fails(exporter.partition, reason);
                    exporter.pause(runtime, RETRY_PAUSE)?;
                }
            }
        }
    }

    fn settle(&mut self, found: &[(ProjectId, Vec<u8>)]) {
        let entries = found.iter().filter_map(|(project, value)| {
            match serde_json::from_slice(value) {
                Ok(entries) => Some((*project, entries)),
                Err(error) => {
                    tracing::error!(project = project.0, %error, "can't read the prices of a project");
                    None
                }
            }
        });
        for (project, error) in self.book.settle(entries) {
            tracing::error!(project = project.0, %error, "can't use the prices of a project");
        }
    }
}
