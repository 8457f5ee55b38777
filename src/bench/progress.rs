//! One line a second on standard error while the load runs.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::stats::Stats;
use crate::service::tasks::Tasks;

/// Starts the line; cancel the token to end it.
pub(super) fn spawn(tasks: &Tasks, stats: Arc<Stats>, quiet: bool) -> CancellationToken {
    let stop = CancellationToken::new();
    if quiet {
        return stop;
    }
    let token = stop.clone();
    tasks.spawn("bench progress", async move {
        let is_terminal = std::io::stderr().is_terminal();
        let mut timer = tokio::time::interval(Duration::from_secs(1));
        timer.tick().await;
        let mut before = 0;
        for second in 1_u64.. {
            tokio::select! {
                _ = timer.tick() => {}
                () = token.cancelled() => break,
            }
            let (counts, interval) = stats.lap();
            let errors: u64 = counts.errors.values().sum();
            let line = format!(
                "{second:>4} s  {:>10} spans  {:>8} spans/s  p99 {:>8.2} ms  {errors} errors",
                counts.spans,
                counts.spans - before,
                interval.percentiles().p99,
            );
            before = counts.spans;
            write_line(&line, is_terminal);
        }
        if is_terminal {
            write_line("", false);
        }
    });
    stop
}

/// A terminal shows one line that changes, anything else a line a second.
fn write_line(line: &str, overwrite: bool) {
    let mut out = std::io::stderr().lock();
    let written = if overwrite {
        write!(out, "\r{line}\x1b[K").and_then(|()| out.flush())
    } else {
        writeln!(out, "{line}")
    };
    // Progress that nobody can read is no reason to end the run.
    written.ok();
}
