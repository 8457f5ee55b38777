//! Opens the partitions of the log and tells what the last end left behind.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::store::Store;
use crate::config::Config;
use crate::queue::{self, Hold, Opened, Partitions, RecoveryReport};
use crate::telemetry::metrics::Metrics;

/// Opens every partition for a process that also stores them: those that are appended to, and
/// those left from a start with more, to be emptied. So much is held back to be sent elsewhere.
///
/// # Errors
/// [`Error::Log`], [`Error::FormerPartitions`].
pub(super) fn open(
    config: &Config,
    store: &dyn Store,
    metrics: &Metrics,
    hold: Option<Hold>,
) -> Result<(Partitions, Vec<(u32, Opened)>), Error> {
    let count = config.log_partitions();
    let directory = config.log_directory();
    let former = former(&directory, count)?;
    for partition in former
        .iter()
        .filter(|number| **number >= store.partitions_max())
    {
        let path = queue::directory_of(&directory, *partition);
        if queue::holds_unstored(&path).map_err(|source| failed(&path, source))? {
            return Err(Error::FormerPartitions {
                path,
                store: store.describe(),
            });
        }
    }
    let settings = config.queue.of_one_in(count);
    let mut opened = Vec::new();
    let writable = former
        .into_iter()
        .filter(|number| *number < store.partitions_max());
    for partition in (0..count).chain(writable) {
        let path = queue::directory_of(&directory, partition);
        let start = store.start(partition);
        let partition_opened =
            queue::open_and_send(&settings, &path, start, observer(metrics), hold)
                .map_err(|source| failed(&path, source))?;
        report_recovery(&path, &partition_opened.report);
        opened.push((partition, partition_opened));
    }
    let logs = |current| {
        let of = opened
            .iter()
            .filter(move |(number, _)| (*number < count) == current);
        of.map(|(_, opened)| opened.log.clone()).collect()
    };
    Ok((Partitions::new(logs(true), logs(false)), opened))
}

/// Opens every partition for a process that leaves storing to listeners.
///
/// # Errors
/// [`Error::Log`].
pub(super) fn open_for_append(config: &Config, metrics: &Metrics) -> Result<Partitions, Error> {
    let count = config.log_partitions();
    let directory = config.log_directory();
    let former = former(&directory, count)?;
    let settings = config.queue.of_one_in(count);
    let mut logs = (Vec::new(), Vec::new());
    for partition in (0..count).chain(former) {
        let path = queue::directory_of(&directory, partition);
        let (log, report) = queue::open_for_append(&settings, &path, observer(metrics))
            .map_err(|source| failed(&path, source))?;
        report_recovery(&path, &report);
        if partition < count {
            logs.0.push(log);
        } else {
            logs.1.push(log);
        }
    }
    Ok(Partitions::new(logs.0, logs.1))
}

fn former(directory: &Path, count: u32) -> Result<Vec<u32>, Error> {
    queue::former(directory, count).map_err(|source| failed(directory, source))
}

fn failed(path: &Path, source: queue::Error) -> Error {
    Error::Log {
        path: path.to_owned(),
        source,
    }
}

/// Tells what the last end left behind: nothing after a graceful stop.
fn report_recovery(directory: &Path, report: &RecoveryReport) {
    let directory = directory.display();
    if report.records > 0 {
        tracing::info!(
            %directory,
            records = report.records,
            bytes = report.payload_bytes,
            "storing records that were acknowledged before the last end"
        );
    }
    if report.lost_records > 0 || !report.damaged_segments.is_empty() {
        tracing::error!(
            %directory,
            lost_records = report.lost_records,
            damaged_segments = ?report.damaged_segments,
            "the log is damaged; damaged segments are kept beside it with .damaged in their name"
        );
    }
}

/// Passes what the log threads do on to the metrics.
#[derive(Debug)]
struct LogObserver {
    metrics: Metrics,
}

fn observer(metrics: &Metrics) -> Arc<dyn queue::Observer> {
    Arc::new(LogObserver {
        metrics: metrics.clone(),
    })
}

impl queue::Observer for LogObserver {
    fn fsync(&self, took: Duration) {
        self.metrics.log_fsync(took);
    }

    fn group(&self, records: usize, payload_bytes: usize) {
        self.metrics.log_group(records as u64, payload_bytes as u64);
    }
}
