//! `remap`: takes the columns of stored spans anew, after the mapper or the prices got better.

mod times;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{ConfigArgs, say, serve};
use crate::config::{CheckFiles, Config};
use crate::exporters::storage::assemble::Remapper;
use crate::pipeline::clock::{Clock as _, SystemClock};
use crate::pricing::Book;
use crate::service::Mode;
use crate::service::lock::{self, DataDirLock};
use crate::storage::postgres::{PostgresSettings, PostgresWriter};
use crate::storage::remap::{Job, Jobs, Range};
use crate::storage::settings::{PRICES, ProjectSettings};
use crate::storage::sqlite::{RemoteJob, SqliteSettings, SqliteWriter};
use crate::storage::{Error, Kind, SpanWriter};
use times::Moment;

/// Between two looks at what the daemon has done.
const POLL: Duration = Duration::from_millis(200);
/// Between two lines of progress where nobody looks at a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How long a store may fail before the command gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the daemon may make no progress before the command says so.
const SILENCE: Duration = Duration::from_secs(30);

/// Flags of `remap`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "TIME is RFC 3339 (2026-11-01T00:00:00Z), a date (2026-11-01, UTC), \
    how long ago (36h, 7d), or now.\n\
    Progress is kept in the store: interrupted, the same command goes on where it was."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Traces that start at this time or later. Default: all there are.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Traces that start before this time. Default: now.
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Begin anew, in place of a job that was interrupted.
    #[arg(long)]
    restart: bool,
    /// Drop a job that was interrupted. What it changed stays so.
    #[arg(long, conflicts_with_all = ["from", "to", "restart"])]
    cancel: bool,
}

/// What the flags ask for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    from: Option<Moment>,
    to: Option<Moment>,
    restart: bool,
    cancel: bool,
}

pub(super) fn run(outer: ConfigArgs, args: Args) -> anyhow::Result<ExitCode> {
    let asked = Asked {
        from: args.from,
        to: args.to,
        restart: args.restart,
        cancel: args.cancel,
    };
    let config = outer.then(args.config).load(CheckFiles::Yes)?;
    serve::runtime()?.block_on(async {
        match config.storage.kind {
            Kind::Sqlite => on_sqlite(&config, asked).await,
            Kind::Postgres => on_postgres(&config, asked).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn on_postgres(config: &Config, asked: Asked) -> anyhow::Result<()> {
    let database = &config.storage.postgres;
    let failed = || format!("use {}", database.url);
    let open = || PostgresWriter::new(database, config.storage.retention.clone());
    let mut writer = open().with_context(failed)?;
    let now = SystemClock.unix_nano();
    writer.prepare(now).await.with_context(failed)?;
    let Some(job) = choose(&mut writer, asked, now).await? else {
        return Ok(());
    };
    let settings = PostgresSettings::new(database).with_context(failed)?;
    work(&mut writer, &settings, config, job).await
}

async fn on_sqlite(config: &Config, asked: Asked) -> anyhow::Result<()> {
    let path = config.sqlite_path();
    let failed = || format!("use {}", path.display());
    if !path.exists() {
        bail!("there is no store at {}", path.display());
    }
    let now = SystemClock.unix_nano();
    let directory = config.data_dir();
    // Only one process may write to the file; if that is a daemon, it does the work.
    match DataDirLock::acquire(&directory, Mode::All) {
        Ok(_lock) => {
            let storage = &config.storage;
            let retention = storage.retention.clone();
            let writer = SqliteWriter::open(&path, &storage.sqlite, retention, now);
            let mut writer = writer.with_context(failed)?;
            let mut jobs = RemoteJob::open(&path).with_context(failed)?;
            match choose(&mut jobs, asked, now).await? {
                Some(job) => {
                    let settings = SqliteSettings::open(&path).with_context(failed)?;
                    work(&mut writer, &settings, config, job).await
                }
                None => Ok(()),
            }
        }
        Err(lock::Error::Directory { path, source }) => {
            Err(source).with_context(|| format!("use data directory {}", path.display()))
        }
        Err(_) => {
            let mut jobs = RemoteJob::open(&path).with_context(failed)?;
            match choose(&mut jobs, asked, now).await? {
                Some(job) => watch(&mut jobs, job).await,
                None => Ok(()),
            }
        }
    }
}

/// The job to work on: a new one, or the one that was interrupted. `None` when there is nothing
/// to do.
async fn choose(jobs: &mut dyn Jobs, asked: Asked, now: u64) -> anyhow::Result<Option<Job>> {
    let unfinished = jobs.state().await?.filter(|job| !job.is_done);
    if asked.cancel {
        jobs.cancel().await?;
        say(match unfinished {
            Some(_) => "dropped; what was mapped anew stays so",
            None => "there is no interrupted job",
        })?;
        return Ok(None);
    }
    let names_range = asked.from.is_some() || asked.to.is_some();
    let range = Range {
        start_unix_nano: asked.from.map_or(0, |from| from.before(now)),
        end_unix_nano: asked.to.map_or(now, |to| to.before(now)),
    };
    if range.start_unix_nano >= range.end_unix_nano {
        bail!("--from must be before --to");
    }
    let Some(job) = unfinished.filter(|_| !asked.restart) else {
        let job = jobs.begin(range).await?;
        say(&format!(
            "mapping {} anew, {}",
            traces(job.traces_expected),
            times::range(&job.range)
        ))?;
        return Ok(Some(job));
    };
    let is_same = asked
        .from
        .is_none_or(|from| from.is_about(job.range.start_unix_nano, now))
        && asked
            .to
            .is_none_or(|to| to.is_about(job.range.end_unix_nano, now));
    if names_range && !is_same {
        bail!(
            "a job for {} was interrupted at {} of {} traces: go on with `remap` alone, \
             or give --restart to begin anew, or --cancel to drop it",
            times::range(&job.range),
            job.traces,
            job.traces_expected
        );
    }
    say(&format!(
        "going on after {} of {} traces, {}",
        job.traces,
        job.traces_expected,
        times::range(&job.range)
    ))?;
    Ok(Some(job))
}

/// Does the work.
async fn work(
    writer: &mut dyn SpanWriter,
    settings: &dyn ProjectSettings,
    config: &Config,
    mut job: Job,
) -> anyhow::Result<()> {
    let mut prices = Book::new(config.processors.pricing.table()?);
    let mut entries = Vec::new();
    for (project, value) in settings.all(PRICES).await? {
        let unusable = || format!("use the prices of project {}", project.0);
        entries.push((
            project,
            serde_json::from_slice(&value).with_context(unusable)?,
        ));
    }
    if let Some((project, error)) = prices.settle(entries).into_iter().next() {
        return Err(error).with_context(|| format!("use the prices of project {}", project.0));
    }
    let mapper = Remapper {
        limits: config.processors.limits.clone(),
        prices,
    };
    let mut progress = Progress::new(&job);
    let mut works_since = Instant::now();
    while !job.is_done {
        match writer.remap_step(&mapper).await {
            Ok(Some(state)) => job = state,
            Ok(None) => bail!("the job was ended by another process"),
            Err(Error::Unavailable { .. }) if works_since.elapsed() < PATIENCE => {
                tokio::time::sleep(POLL).await;
                continue;
            }
            Err(error) => return Err(error).context("map spans anew"),
        }
        works_since = Instant::now();
        progress.show(&job);
    }
    progress.finish(&job)
}

/// Watches the daemon do the work.
async fn watch(jobs: &mut dyn Jobs, mut job: Job) -> anyhow::Result<()> {
    let mut progress = Progress::new(&job);
    let mut changed = Instant::now();
    while !job.is_done {
        tokio::time::sleep(POLL).await;
        let Some(state) = jobs.state().await? else {
            bail!("the job was dropped by another process");
        };
        if state == job && changed.elapsed() > SILENCE {
            progress.remark("the daemon makes no progress; its log may say why");
            changed = Instant::now();
        } else if state != job {
            changed = Instant::now();
            job = state;
        }
        progress.show(&job);
    }
    progress.finish(&job)
}

/// Shows how far a job is: on one line of a terminal, else now and then a line.
struct Progress {
    is_terminal: bool,
    began: Instant,
    traces_before: u64,
    shown: Instant,
}

impl Progress {
    fn new(job: &Job) -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            began: Instant::now(),
            traces_before: job.traces,
            shown: Instant::now(),
        }
    }

    fn show(&mut self, job: &Job) {
        let every = if self.is_terminal { POLL } else { LINE_EVERY };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let done = job.traces.saturating_sub(self.traces_before);
        let left = job.traces_expected.saturating_sub(job.traces);
        let remaining = remaining(self.began.elapsed(), done, left);
        self.line(&format!(
            "{} % of {} traces, {} spans, {} changed{remaining}",
            percent(job.traces, job.traces_expected),
            job.traces_expected,
            job.spans,
            job.spans_changed
        ));
    }

    fn remark(&self, text: &str) {
        self.line(text);
    }

    /// When nobody reads standard error there is nobody to tell.
    fn line(&self, text: &str) {
        let line = if self.is_terminal {
            format!("\r\x1b[K{text}")
        } else {
            format!("{text}\n")
        };
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn finish(&self, job: &Job) -> anyhow::Result<()> {
        if self.is_terminal {
            self.line("");
        }
        let skipped = match job.traces_skipped {
            0 => String::new(),
            count => format!(
                "; {} left as they are: too large, or damaged",
                traces(count)
            ),
        };
        say(&format!(
            "done: {}, {} of {} spans changed{skipped}",
            traces(job.traces),
            job.spans_changed,
            job.spans
        ))
    }
}

fn traces(count: u64) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} trace{ending}")
}

fn percent(done: u64, of: u64) -> u64 {
    let percent = done.saturating_mul(100).checked_div(of);
    percent.unwrap_or(100).min(100)
}

fn remaining(elapsed: Duration, done: u64, left: u64) -> String {
    let per_trace = elapsed.as_millis().checked_div(u128::from(done));
    let Some(ms) = per_trace.map(|_| elapsed.as_millis() * u128::from(left) / u128::from(done))
    else {
        return String::new();
    };
    let seconds = ms / 1000;
    format!(", about {} min {} s left", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_in_bounds() {
        assert_eq!(traces(1) + ", " + &traces(2), "1 trace, 2 traces");
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(u64::MAX, 1), 100);
        assert_eq!(remaining(Duration::from_secs(1), 0, 10), "");
        let left = remaining(Duration::from_secs(60), 10, 15);
        assert_eq!(left, ", about 1 min 30 s left");
    }
}
