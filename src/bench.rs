//! `pulse-collector bench`: sends OTLP traces to this or any other server and reports what it
//! took, what that cost, and whether everything it acknowledged is in its store.
//!
//! The generator must cost far less than the server, or it measures itself: requests are encoded
//! before the run and made unique in place (`template`), and go out through hyper without a gRPC
//! codec. Compressed requests can't be prepared and cost the generator more than the server.
//! Everything sent follows from a seed and a request number (`layout`), so that the list of
//! acknowledged requests (`ledger`) is enough to verify the store (`verify`), also later and
//! by another process, after a crash.

mod args;
mod compression;
mod layout;
mod ledger;
mod load;
mod payload;
mod profile;
mod progress;
mod queries;
mod report;
mod server;
mod stats;
mod stream;
mod target;
mod template;
mod verify;
mod visible;
mod watch;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

pub use args::Args;
pub use compression::Compression;
pub use profile::Profile;
pub use target::Protocol;

use crate::service::tasks::Tasks;
use crate::telemetry::process;
use layout::Ids;
use ledger::{Acknowledged, Ledger};
use load::{Load, Phase};
use report::{LoadReport, ProcessReport, Report, ServerReport};
use server::Server;
use stats::{Counts, Stats};
use target::{Getter, Target};
use visible::Histogram;
use watch::Clock;

/// Bytes of input and output messages of a chat span, unless told otherwise: over 4 KB, and
/// 2.2 KB a span on average.
const MESSAGE_BYTES: usize = 4_300;

/// Longest time one request of the query API may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the load generator and prints its report; `false` when something was lost, refused for
/// good, or could not be verified.
///
/// # Errors
/// When the arguments contradict each other, a file can't be used, or the query API needed for
/// what was asked can't be reached.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let (tasks, _panics) = Tasks::new();
    let abort = spawn_interrupts(&tasks);
    let report = tokio::select! {
        report = measure(&args, &tasks) => report?,
        () = abort.cancelled() => anyhow::bail!("interrupted twice"),
    };
    tasks.start_shutdown();
    print(&args, &report)?;
    Ok(report.is_good())
}

/// Does what was asked for, in the order load, queries, verification.
async fn measure(args: &Args, tasks: &Tasks) -> anyhow::Result<Report> {
    args.check()?;
    let stop = tasks.shutdown_token();
    let mut report = Report::default();
    let (ids, acknowledged) = if args.queries_only || args.verify_only {
        ledger::replay(args.ledger.as_deref())?
    } else {
        run_load(args, &mut report, &stop, tasks).await?
    };
    let interrupted = stop.is_cancelled();
    if (args.queries || args.queries_only) && !interrupted {
        let settings = query_settings(args, Some(args.requests), Duration::ZERO);
        let some = verify::choose(args.requests, &ids, &acknowledged).0;
        let trace_ids = some
            .into_iter()
            .map(|trace| ids.trace_id(trace).to_string());
        report.queries = Some(queries::run(&settings, trace_ids.collect(), &stop).await?);
    }
    if args.verify || args.verify_only {
        let settings = verify::Settings {
            url: args.query_base(),
            getter: Getter::new(&args.headers, QUERY_TIMEOUT),
            traces_max: args.verify_sample,
            timeout: args.verify_timeout.0,
        };
        report.verification = Some(verify::run(&settings, &ids, &acknowledged).await);
    }
    Ok(report)
}

/// The first interrupt ends the load and leads to the report; the second, seen in the token
/// answered, ends that too.
fn spawn_interrupts(tasks: &Tasks) -> CancellationToken {
    let (stop, abort) = (tasks.shutdown_token(), CancellationToken::new());
    let second = abort.clone();
    tasks.spawn("bench interrupts", async move {
        for token in [stop, second] {
            match tokio::signal::ctrl_c().await {
                Ok(()) => token.cancel(),
                Err(error) => tracing::warn!(%error, "cannot listen for interrupts"),
            }
        }
    });
    abort
}

#[expect(
    clippy::print_stdout,
    reason = "the report is what the command is run for"
)]
fn print(args: &Args, report: &Report) -> anyhow::Result<()> {
    if args.json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn query_settings(args: &Args, requests: Option<u64>, pause: Duration) -> queries::Settings {
    queries::Settings {
        url: args.query_base(),
        getter: Getter::new(&args.headers, QUERY_TIMEOUT),
        requests,
        searches: args.queries_only,
        pause,
        seed: 1,
    }
}

/// Sends the load, watches the server, and fills in the report.
async fn run_load(
    args: &Args,
    report: &mut Report,
    stop: &CancellationToken,
    tasks: &Tasks,
) -> anyhow::Result<(Ids, Acknowledged)> {
    let shape = args.shape();
    let seed = args
        .seed
        .unwrap_or_else(|| layout::mix(payload::now_unix_nano()));
    let ids = Ids::new(seed, shape.layout);
    let (connections, in_flight) = (args.connections.max(1), args.in_flight.max(1));
    let header = ledger::Header::new(seed, shape.layout);
    let transport = (args.protocol, args.compression);
    let load = Arc::new(Load {
        target: Target::new(&args.target())?,
        payloads: payload::Payloads::new(&shape, ids, seed, transport, connections * in_flight),
        ledger: Ledger::new(header, args.ledger.as_deref())?,
        connections,
        in_flight,
        spans_per_request: shape.layout.spans_per_request,
        retry: args.retry.then_some(args.retry_timeout.0),
        next: AtomicU64::new(0),
        stop: stop.clone(),
        clock: Arc::new(Clock::new(ids)),
    });
    let server = args.server();
    let warm_up = warm_up(args, &load).await;
    if warm_up.spans > 0 {
        server.wait_for_rest(args.rest_timeout.0).await;
    }
    let watchers = watchers(args, &load, tasks).await?;
    let before = Usage::now(args, &server).await?;
    let under_load = spawn_queries(args, tasks);
    let stats = Arc::new(Stats::default());
    let ticker = progress::spawn(tasks, Arc::clone(&stats), args.quiet);
    let phase = Phase {
        duration: args.measured_duration(),
        requests: args.requests_to_send(),
        rate: args.rate,
    };
    let took = load::run(&load, phase, &stats).await;
    let client_cpu = process::cpu_time("self")?.saturating_sub(before.client);
    ticker.cancel();
    if let Some(watchers) = watchers {
        report.watchers = Some(watchers.end().await);
    }
    if let Some((stop, answers)) = under_load {
        stop.cancel();
        report.queries_under_load = Some(answers.await.context("queries under load")??);
    }
    let counts = stats.lap().0;
    report.server = match before.until_rest(args, &server, counts.spans).await {
        Ok(used) => used,
        Err(error) => {
            // A server that was restarted meanwhile must not cost the rest of the report.
            tracing::warn!("what the server used is not known: {error:#}");
            None
        }
    };
    let load_report = LoadReport {
        warmup_spans: warm_up.spans,
        client_cpu_seconds: client_cpu.as_secs_f64(),
        ..describe(args, &load, seed)
    };
    report.load = Some(load_report.with_counts(counts, took.as_secs_f64()));
    let acknowledged = match Arc::try_unwrap(load) {
        Ok(load) => load.ledger.finish().await?,
        Err(load) => load.ledger.snapshot(),
    };
    Ok((ids, acknowledged))
}

/// What is known of a load before it is sent.
fn describe(args: &Args, load: &Load, seed: u64) -> LoadReport {
    LoadReport {
        protocol: args.protocol,
        profile: args.profile,
        compression: args.compression,
        seed,
        connections: load.connections,
        in_flight_per_connection: load.in_flight,
        spans_per_request: load.spans_per_request,
        spans_per_trace: args.shape().layout.spans_per_trace,
        message_bytes: load.payloads.message_bytes(),
        ..LoadReport::default()
    }
}

async fn warm_up(args: &Args, load: &Arc<Load>) -> Counts {
    let duration = args.warmup_duration();
    let stats = Arc::new(Stats::default());
    if !duration.is_zero() {
        let phase = Phase {
            duration: Some(duration),
            requests: None,
            rate: args.rate,
        };
        load::run(load, phase, &stats).await;
    }
    stats.lap().0
}

/// Those that follow the feed while the load runs.
async fn watchers(
    args: &Args,
    load: &Load,
    tasks: &Tasks,
) -> anyhow::Result<Option<watch::Watchers>> {
    let Some(settings) = args.watch() else {
        return Ok(None);
    };
    let clock = Arc::clone(&load.clock);
    watch::Watchers::start(settings, clock, tasks)
        .await
        .map(Some)
}

type QueryAnswers = tokio::sync::oneshot::Receiver<anyhow::Result<queries::Report>>;

/// Queries beside the load, 20 a second, until the token is cancelled.
fn spawn_queries(args: &Args, tasks: &Tasks) -> Option<(CancellationToken, QueryAnswers)> {
    if !args.queries {
        return None;
    }
    let stop = CancellationToken::new();
    let settings = query_settings(args, None, Duration::from_millis(50));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let token = stop.clone();
    tasks.spawn("bench queries", async move {
        // The receiver is gone only when the run failed before.
        drop(sender.send(queries::run(&settings, Vec::new(), &token).await));
    });
    Some((stop, receiver))
}

/// What client and server had used before the measured phase.
#[derive(Debug)]
struct Usage {
    client: Duration,
    /// Of each process.
    server: Vec<Duration>,
    visible: Histogram,
    disk: Option<u64>,
}

impl Usage {
    async fn now(args: &Args, server: &Server) -> anyhow::Result<Self> {
        let disk = args.data_dir.as_deref().map(server::disk_bytes);
        Ok(Self {
            client: process::cpu_time("self")?,
            server: server.cpu().context("read the server's processor time")?,
            visible: server.visible().await,
            disk: disk.transpose().context("measure --data-dir")?,
        })
    }

    /// What the server used more, once it is at rest.
    async fn until_rest(
        &self,
        args: &Args,
        server: &Server,
        spans: u64,
    ) -> anyhow::Result<Option<ServerReport>> {
        if server.pids.is_empty() && self.disk.is_none() {
            return Ok(None);
        }
        let at_rest = server.wait_for_rest(args.rest_timeout.0).await;
        let after = Self::now(args, server).await?;
        let mut report = ServerReport {
            at_rest,
            ..ServerReport::default()
        };
        let spans = (spans as f64).max(1.0);
        if !server.pids.is_empty() {
            for (pid, (after, before)) in server
                .pids
                .iter()
                .zip(after.server.iter().zip(&self.server))
            {
                let seconds = after.saturating_sub(*before).as_secs_f64();
                report.processes.push(ProcessReport {
                    pid: *pid,
                    cpu_seconds: seconds,
                    cpu_seconds_per_million_spans: seconds * 1e6 / spans,
                    peak_rss_bytes: process::peak_rss_bytes(&pid.to_string())?,
                });
            }
            let each = report.processes.iter();
            let seconds = each.map(|process| process.cpu_seconds).sum();
            report.cpu_seconds = Some(seconds);
            report.cpu_seconds_per_million_spans = Some(seconds * 1e6 / spans);
            let each = report.processes.iter();
            report.peak_rss_bytes = Some(each.map(|process| process.peak_rss_bytes).sum());
        }
        let visible = |share| after.visible.quantile_since(&self.visible, share);
        report.visible_ms_p50 = visible(0.5);
        report.visible_ms_p99 = visible(0.99);
        if let (Some(before), Some(after)) = (self.disk, after.disk) {
            let growth = after.cast_signed() - before.cast_signed();
            report.disk_growth_bytes = Some(growth);
            report.disk_bytes_per_span = Some(growth as f64 / spans);
        }
        Ok(Some(report))
    }
}
