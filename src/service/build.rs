//! Wires the parts, top to bottom.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::banner::Banner;
use super::lock::DataDirLock;
use super::sample::{self, Sampled};
use super::tasks::{Panics, Tasks};
use crate::config::Config;
use crate::exporters::storage::StorageExporter;
use crate::gateway;
use crate::net::listener::{self, Bound};
use crate::pipeline::Ingest;
use crate::pipeline::clock::{Clock, SystemClock};
use crate::processors::memory_limiter::MemoryLimiter;
use crate::queue::{self, Durability, Log, Position, RecoveryReport};
use crate::receivers::otlp::{Receiver, RequestObserver};
use crate::storage::postgres::{self, PostgresStore};
use crate::storage::sqlite::{SqliteReader, SqliteWriter};
use crate::storage::{Kind, SpanReader, SpanWriter};
use crate::telemetry::health::{self, Check, Readiness};
use crate::telemetry::metrics::{self, Metrics};

/// The embedded store has one writer, so one partition of the log.
const PARTITION: u32 = 0;

/// The running daemon, as far as stopping it needs.
pub(super) struct Daemon {
    pub(super) tasks: Tasks,
    /// Probes and metrics, answered until the very end.
    _operations: Tasks,
    pub(super) log: Log,
    pub(super) abandon: CancellationToken,
    panics: Panics,
    writer_end: oneshot::Receiver<()>,
    /// Says whether the daemon as a whole takes requests.
    accepting: Check,
    _lock: DataDirLock,
}

impl Daemon {
    /// Waits until a part ends that must not, and names it.
    pub(super) async fn part_failed(&mut self) -> &'static str {
        tokio::select! {
            task = self.panics.recv() => task.unwrap_or("the task tracker"),
            _ = &mut self.writer_end => "the writer",
        }
    }

    pub(super) fn not_ready(&self) {
        self.accepting.set(false, "stopping");
    }

    pub(super) async fn writer_ended(&mut self) {
        // Closed or sent: either way the thread is gone.
        if !self.writer_end.is_terminated() {
            (&mut self.writer_end).await.ok();
        }
    }
}

/// The listeners, bound and not serving.
struct Listeners {
    otlp: Receiver,
    gateway: gateway::Listener,
    operations: Option<Bound>,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, Error> {
        let endpoint = &config.service.telemetry.metrics.endpoint;
        let operations = (!endpoint.is_empty())
            .then(|| listener::bind("service.telemetry.metrics", endpoint))
            .transpose()?;
        Ok(Self {
            otlp: Receiver::bind(&config.receivers.otlp)?,
            gateway: gateway::Listener::bind(&config.gateway)?,
            operations,
        })
    }
}

/// Starts everything. When it fails, nothing is left open.
pub(super) async fn start(config: Config) -> Result<Daemon, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lock = DataDirLock::acquire(&config.data_dir())?;
    let mut listeners = Listeners::bind(&config)?;
    let metrics = Metrics::new()?;
    let Store {
        writer,
        reader,
        checkpoint,
        name,
    } = open_store(&config, clock.as_ref()).await?;
    let (log, log_reader) = open_log(&config, checkpoint, &metrics)?;

    let (tasks, panics) = Tasks::new();
    let readiness = Readiness::new();
    let accepting = readiness.register("daemon");
    let limiter = MemoryLimiter::new(&config.processors.memory_limiter);
    let abandon = CancellationToken::new();
    let exporter = StorageExporter {
        partition: PARTITION,
        reader: log_reader,
        log: log.clone(),
        writer,
        batch: config.processors.batch.clone(),
        limits: config.processors.limits.clone(),
        retention_interval: config.storage.retention.check_interval.0,
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        health: readiness.register("store"),
        abandon: abandon.clone(),
    };
    exporter.health.set(true, "");
    metrics.storage_up(true);
    let banner = banner(&config, &listeners, name);
    let writer_end = spawn_writer(exporter)?;
    let ingest = Ingest::new(log.clone(), Arc::clone(&limiter), clock, metrics.clone());
    let sampled = Sampled {
        ingest: ingest.clone(),
        log: log.clone(),
        limiter: Arc::clone(&limiter),
        reader: Arc::clone(&reader),
        metrics: metrics.clone(),
        queue_check: readiness.register("queue"),
        memory_check: readiness.register("memory"),
        memory_interval: config.processors.memory_limiter.check_interval.0,
    };
    sample::spawn(sampled, &tasks);
    let shutdown = tasks.shutdown_token();
    tasks.spawn("metrics-upkeep", metrics::upkeep(metrics.clone(), shutdown));
    let operations = serve_operations(listeners.operations.take(), &metrics, &readiness)?;
    serve(
        listeners, &ingest, reader, &metrics, &readiness, &tasks, &config,
    )?;
    accepting.set(true, "");
    announce(&banner);
    Ok(Daemon {
        tasks,
        _operations: operations,
        log,
        abandon,
        panics,
        writer_end,
        accepting,
        _lock: lock,
    })
}

/// A store, open.
struct Store {
    writer: Box<dyn SpanWriter>,
    reader: Arc<dyn SpanReader>,
    /// First position of the log that is not stored.
    checkpoint: Position,
    /// What a person calls it.
    name: String,
}

async fn open_store(config: &Config, clock: &dyn Clock) -> Result<Store, Error> {
    match config.storage.kind {
        Kind::Sqlite => open_sqlite(config, clock),
        Kind::Postgres => open_postgres(config, clock).await,
    }
}

fn open_sqlite(config: &Config, clock: &dyn Clock) -> Result<Store, Error> {
    let path = config.sqlite_path();
    let failed = |source| Error::Store {
        store: path.display().to_string(),
        source,
    };
    let storage = &config.storage;
    let now = clock.unix_nano();
    let writer = SqliteWriter::open(&path, &storage.sqlite, storage.retention.clone(), now)
        .map_err(failed)?;
    let timeout = config.gateway.query_timeout.0;
    let reader = SqliteReader::open(&path, &storage.sqlite, timeout).map_err(failed)?;
    Ok(Store {
        checkpoint: writer.checkpoint(PARTITION).map_err(failed)?,
        writer: Box::new(writer),
        reader: Arc::new(reader),
        name: format!("{} (sqlite)", path.display()),
    })
}

async fn open_postgres(config: &Config, clock: &dyn Clock) -> Result<Store, Error> {
    let storage = &config.storage;
    let failed = |source| Error::Store {
        store: storage.postgres.url.to_string(),
        source,
    };
    let timeout = config.gateway.query_timeout.0;
    let store = PostgresStore::open(&storage.postgres, storage.retention.clone(), timeout)
        .map_err(failed)?;
    let writer = store.writer(clock.unix_nano()).await.map_err(failed)?;
    let reader = store.reader().map_err(failed)?;
    reader.load_cursor_key().await.map_err(failed)?;
    let checkpoint = writer.checkpoint(postgres::LOG_ID, PARTITION).await;
    Ok(Store {
        checkpoint: checkpoint.map_err(failed)?,
        writer: Box::new(writer),
        reader: Arc::new(reader),
        name: store.describe(),
    })
}

fn open_log(
    config: &Config,
    checkpoint: Position,
    metrics: &Metrics,
) -> Result<(Log, queue::Reader), Error> {
    let directory = config.log_directory().join(format!("p{PARTITION}"));
    let observer = Arc::new(LogObserver {
        metrics: metrics.clone(),
    });
    let (log, reader, report) = queue::open(&config.queue, &directory, checkpoint, observer)
        .map_err(|source| Error::Log {
            path: directory.clone(),
            source,
        })?;
    report_recovery(&directory, &report);
    Ok((log, reader))
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

/// Runs the writer on a thread of its own; the answer resolves when it ends.
fn spawn_writer(exporter: StorageExporter) -> Result<oneshot::Receiver<()>, Error> {
    let (ended, writer_end) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name(format!("pulse-writer-{}", exporter.partition))
        .spawn(move || {
            if let Err(error) = exporter.run(&runtime) {
                tracing::error!(error = %crate::telemetry::logs::chain(&error), "the writer ended");
            }
            // A panic drops the sender, which is heard the same way.
            ended.send(()).ok();
        })
        .map_err(|source| Error::System {
            what: "start the writer thread",
            source,
        })?;
    Ok(writer_end)
}

fn serve(
    listeners: Listeners,
    ingest: &Ingest,
    reader: Arc<dyn SpanReader>,
    metrics: &Metrics,
    readiness: &Readiness,
    tasks: &Tasks,
    config: &Config,
) -> Result<(), Error> {
    let observer: Arc<dyn RequestObserver> = Arc::new(metrics.clone());
    listeners.otlp.start(ingest, &observer, readiness, tasks)?;
    let state = gateway::State {
        reader,
        config: config.gateway.clone(),
        metrics: metrics.clone(),
    };
    listeners.gateway.serve(state, tasks)?;
    Ok(())
}

/// Serves probes and metrics on tasks of their own, which do not end with the drain, so that
/// `/readyz` tells of it.
fn serve_operations(
    bound: Option<Bound>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> Result<Tasks, Error> {
    let (tasks, _panics) = Tasks::new();
    if let Some(bound) = bound {
        let (metrics, asked) = (metrics.clone(), readiness.clone());
        let render = Arc::new(move || {
            metrics.ready(asked.is_ready());
            metrics.render()
        });
        health::serve(bound, readiness.clone(), render, &tasks)?;
    }
    Ok(tasks)
}

fn banner(config: &Config, listeners: &Listeners, store: String) -> Banner {
    let protocols = &config.receivers.otlp.protocols;
    let grpc_tls = protocols
        .grpc
        .as_ref()
        .is_some_and(|grpc| grpc.tls.is_some());
    let http_tls = protocols
        .http
        .as_ref()
        .is_some_and(|http| http.tls.is_some());
    Banner {
        grpc: listeners
            .otlp
            .grpc_address()
            .map(|address| (address, grpc_tls)),
        http: listeners
            .otlp
            .http_address()
            .map(|address| (address, http_tls)),
        gateway: (listeners.gateway.address(), config.gateway.tls.is_some()),
        metrics: listeners.operations.as_ref().map(Bound::address),
        store,
        durability: match config.queue.durability {
            Durability::SyncBeforeAck => "synced to disk before OK",
            Durability::OsBuffered => "synced within a second of OK (os_buffered)",
        },
    }
}

/// Prints the banner; nobody reading it is no reason to stop.
fn announce(banner: &Banner) {
    std::io::stdout()
        .lock()
        .write_all(banner.to_string().as_bytes())
        .ok();
}

/// Passes what the log thread does on to the metrics.
#[derive(Debug)]
struct LogObserver {
    metrics: Metrics,
}

impl queue::Observer for LogObserver {
    fn fsync(&self, took: Duration) {
        self.metrics.log_fsync(took);
    }

    fn group(&self, records: usize, payload_bytes: usize) {
        self.metrics.log_group(records as u64, payload_bytes as u64);
    }
}
