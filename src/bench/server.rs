//! What the server's processes used: processor time until everything acknowledged is written,
//! peak memory, and growth of the data directory.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::target::Getter;
use super::visible::Histogram;
use crate::telemetry::process;

/// How the server is watched.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) pids: Vec<u32>,
    pub(super) metrics_url: Option<String>,
    pub(super) getter: Getter,
}

/// How often the server is looked at while it comes to rest.
const POLL: Duration = Duration::from_millis(250);
/// The processes are at rest when they used less than this share of a processor for a second.
const REST_SHARE: f64 = 0.03;
const UNSTORED: &str = "pulse_queue_unstored_records";

impl Server {
    /// Processor time so far of each process, its children included.
    ///
    /// # Errors
    /// When one of them is gone.
    pub(super) fn cpu(&self) -> std::io::Result<Vec<Duration>> {
        self.pids
            .iter()
            .map(|pid| process::tree_cpu_time(*pid))
            .collect()
    }

    /// How long until queries saw what was sent so far.
    pub(super) async fn visible(&self) -> Histogram {
        Histogram::fetch(&self.getter, self.metrics_url.as_deref()).await
    }

    /// Waits until the store holds everything: the log's backlog is zero where metrics say so,
    /// and the processes have stopped working. Answers whether that came in time.
    pub(super) async fn wait_for_rest(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.wait_for_writer(deadline).await && self.wait_for_quiet(deadline).await
    }

    async fn wait_for_writer(&self, deadline: Instant) -> bool {
        let Some(url) = &self.metrics_url else {
            return true;
        };
        loop {
            match self.getter.get(url).await {
                Ok((_, body)) => match sum_of(&String::from_utf8_lossy(&body), UNSTORED) {
                    // Another server's metrics: only its processes can tell.
                    None | Some(0.0) => return true,
                    Some(_) => {}
                },
                Err(error) => tracing::debug!(%error, url, "cannot read the server's metrics"),
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn wait_for_quiet(&self, deadline: Instant) -> bool {
        if self.pids.is_empty() {
            return true;
        }
        loop {
            let (before, started) = (self.cpu(), Instant::now());
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (Ok(before), Ok(after)) = (before, self.cpu()) else {
                return false;
            };
            let sum = |times: &[Duration]| times.iter().sum::<Duration>();
            let used = sum(&after).saturating_sub(sum(&before)).as_secs_f64();
            if used / started.elapsed().as_secs_f64() < REST_SHARE {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }
}

/// Sum of all series of a metric in a Prometheus text; `None` when there is none.
fn sum_of(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Bytes a directory occupies on disk, recursively. Files that vanish meanwhile count nothing.
pub(super) fn disk_bytes(directory: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut total = 0;
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                // st_blocks counts 512 bytes whatever the file system's block size (stat(2)).
                Ok(metadata) => total += metadata.blocks() * 512,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_metric_are_added_up_and_others_left_out() {
        let text = "# TYPE a gauge\na 2\na{partition=\"1\"} 3.5\nab 7\n";
        assert_eq!(sum_of(text, "a"), Some(5.5));
        assert_eq!(sum_of(text, "c"), None);
    }

    #[test]
    fn disk_use_counts_files_of_all_levels() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("inner")).unwrap();
        let before = disk_bytes(directory.path()).unwrap();
        let file = directory.path().join("inner/file");
        std::fs::write(&file, vec![1; 100_000]).unwrap();
        std::fs::File::open(&file).unwrap().sync_all().unwrap();
        let grown = disk_bytes(directory.path()).unwrap() - before;
        assert!((100_000..200_000).contains(&grown), "{grown}");
    }
}
