//! Wires the parts, top to bottom.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::banner::Banner;
use super::late_reader::LateReader;
use super::leases::Leases;
use super::lock::DataDirLock;
use super::sample::{self, Sampled};
use super::slots::Slot;
use super::store::{self, Store};
use super::tasks::{Panics, Tasks};
use super::tees::{Tees, Until};
use super::writers::{Failures, Work, Writers};
use super::{Error, Mode, log};
use crate::auth::{Gates, Purpose};
use crate::config::Config;
use crate::exporters::storage::StoreHealth;
use crate::gateway::{self, Gateway};
use crate::net::listener::{self, Bound};
use crate::pipeline::clock::{Clock, SystemClock};
use crate::pipeline::{Ingest, Rules};
use crate::processors::memory_limiter::MemoryLimiter;
use crate::processors::redaction::Redactor;
use crate::queue::{Durability, Partitions};
use crate::receivers::otlp::{Receiver, RequestObserver};
use crate::telemetry::health::{self, Check, Readiness};
use crate::telemetry::metrics::{self, Metrics};

/// The running daemon, as far as stopping it needs.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) tasks: Tasks,
    /// Probes and metrics, answered until the very end.
    _operations: Tasks,
    /// The log, where requests are taken.
    log: Option<Partitions>,
    writers: Arc<Writers>,
    tees: Arc<Tees>,
    failures: Failures,
    panics: Panics,
    /// Says whether the daemon as a whole takes requests.
    accepting: Check,
    pub(super) banner: Banner,
    _lock: DataDirLock,
}

impl Daemon {
    /// Waits until a part ends that must not, and names it.
    pub(super) async fn part_failed(&mut self) -> &'static str {
        tokio::select! {
            task = self.panics.recv() => task.unwrap_or("the task tracker"),
            _ = self.failures.recv() => "the writer",
            () = log_ended(self.log.as_ref()) => "the log",
        }
    }

    pub(super) fn not_ready(&self) {
        self.accepting.set(false, "stopping");
    }

    /// Closes the log; what it has accepted is still written and answered.
    pub(super) fn close_log(&self) {
        if let Some(log) = &self.log {
            log.close();
        }
    }

    /// Waits until the log is written and, where this process stores it, stored and sent.
    pub(super) async fn drained(&self) {
        if let Some(log) = &self.log {
            log.ended().await;
        }
        self.writers.ended().await;
        self.tees.ended().await;
    }

    pub(super) fn abandon(&self) {
        self.writers.abandon();
        self.tees.abandon();
    }
}

async fn log_ended(log: Option<&Partitions>) {
    match log {
        Some(log) => log.any_ended().await,
        None => std::future::pending().await,
    }
}

/// What listens for requests, bound and not serving.
struct Listeners {
    otlp: Receiver,
    gateway: gateway::Listener,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            otlp: Receiver::bind(&config.receivers.otlp)?,
            gateway: gateway::Listener::bind(&config.gateway)?,
        })
    }
}

impl Listeners {
    /// Whether one of them answers nobody until there is a key.
    fn lack_a_key(&self, gates: &Gates) -> bool {
        let otlp = [self.otlp.grpc_address(), self.otlp.http_address()];
        let mut ingest = otlp.into_iter().flatten();
        let read = gates.at(Purpose::Read, self.gateway.address());
        read.lacks_a_key() || ingest.any(|address| gates.at(Purpose::Ingest, address).lacks_a_key())
    }
}

fn bind_operations(config: &Config) -> Result<Option<Bound>, Error> {
    let endpoint = &config.service.telemetry.metrics.endpoint;
    let bound = (!endpoint.is_empty())
        .then(|| listener::bind("service.telemetry.metrics.endpoint", endpoint))
        .transpose()?;
    Ok(bound)
}

/// What every mode has.
struct Base {
    config: Config,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    store: Arc<dyn Store>,
    store_health: StoreHealth,
    reader: Arc<LateReader>,
    access: Access,
    gates: Gates,
    readiness: Readiness,
    tasks: Tasks,
}

/// Starts everything. When it fails, nothing is left open.
pub(super) async fn start(config: Config) -> Result<Daemon, Error> {
    start_with(config, store::open).await
}

/// Starts everything on a store that is opened in some way.
pub(super) async fn start_with(
    config: Config,
    open_store: impl FnOnce(&Config, &dyn Clock) -> Result<Arc<dyn Store>, Error>,
) -> Result<Daemon, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mode = config.service.mode;
    let lock = DataDirLock::acquire(&config.data_dir(), mode)?;
    let redactor = config.processors.redaction.compile()?;
    if let Some(redactor) = &redactor {
        let rules: Vec<_> = redactor.names().collect();
        tracing::info!(?rules, "requests are redacted");
    }
    let operations = bind_operations(&config)?;
    let listeners = match mode {
        Mode::All | Mode::Api => Some(Listeners::bind(&config)?),
        Mode::Listener => None,
    };
    let metrics = Metrics::new()?;
    let store = open_store(&config, clock.as_ref())?;
    let (tasks, panics) = Tasks::new();
    let readiness = Readiness::new();
    let accepting = readiness.register("daemon");
    let store_health = StoreHealth::new(readiness.register("store"), metrics.clone());
    let reader = LateReader::connect(&store, &store_health, &tasks).await?;
    let (writers, failures) = Writers::new(&config, &store, &clock, &metrics, &store_health);
    let tees = Tees::new(&config, &clock, &metrics)?;
    let access = Access::open(&*store, &clock, &config, &metrics).await?;
    let gates = Gates::new(
        access.resolver.clone(),
        access.quotas.clone(),
        config.auth.clone(),
    );
    let mut banner = banner(&config, listeners.as_ref(), operations.as_ref(), &*store);
    banner.lacks_a_key = listeners
        .as_ref()
        .is_some_and(|them| them.lack_a_key(&gates));
    let base = Base {
        config,
        clock,
        metrics,
        store,
        store_health,
        reader,
        access,
        gates,
        readiness,
        tasks,
    };
    let log = base.open_log(&writers, &tees)?;
    let operations = base.serve_operations(operations)?;
    match (listeners, &log) {
        (Some(listeners), Some(log)) => base.serve(listeners, log, redactor)?,
        _ => base.store_for_others(&writers, &tees)?,
    }
    base.sample_store();
    accepting.set(true, "");
    Ok(Daemon {
        tasks: base.tasks,
        _operations: operations,
        log,
        writers,
        tees,
        failures,
        panics,
        accepting,
        banner,
        _lock: lock,
    })
}

impl Base {
    /// Opens the log as the mode wants it, with a writer for each partition where this process
    /// stores.
    fn open_log(&self, writers: &Arc<Writers>, tees: &Tees) -> Result<Option<Partitions>, Error> {
        match self.config.service.mode {
            Mode::Listener => Ok(None),
            Mode::Api => Ok(Some(log::open_for_append(&self.config, &self.metrics)?)),
            Mode::All => {
                let hold = tees.hold();
                let (log, opened) = log::open(&self.config, &*self.store, &self.metrics, hold)?;
                for (partition, opened) in opened {
                    let until = Until::Closed(self.tasks.shutdown_token());
                    tees.spawn(partition, opened.tee, until)?;
                    writers.spawn(Work {
                        log_id: opened.id,
                        partition,
                        reader: opened.reader,
                        release: opened.release,
                        stop: CancellationToken::new(),
                        may_end: false,
                    })?;
                }
                Ok(Some(log))
            }
        }
    }

    /// Takes requests and answers queries.
    fn serve(
        &self,
        listeners: Listeners,
        log: &Partitions,
        redactor: Option<Redactor>,
    ) -> Result<(), Error> {
        let limiter = MemoryLimiter::new(&self.config.processors.memory_limiter);
        let clock = Arc::clone(&self.clock);
        let metrics = self.metrics.clone();
        let limit = Arc::clone(&limiter);
        let rules = Rules {
            redactor,
            quotas: Some(self.access.quotas.clone()),
        };
        let ingest = Ingest::with(log.clone(), limit, clock, metrics, rules);
        let sampled = Sampled {
            ingest: ingest.clone(),
            log: log.clone(),
            limiter,
            metrics: self.metrics.clone(),
            queue_check: self.readiness.register("queue"),
            memory_check: self.readiness.register("memory"),
            memory_interval: self.config.processors.memory_limiter.check_interval.0,
        };
        sample::spawn(sampled, &self.tasks);
        let known = self.readiness.register("keys");
        self.access.keep(known, &self.tasks);
        let failed = |source| Error::Store {
            store: self.store.describe(),
            source,
        };
        let state = gateway::State {
            reader: Arc::<LateReader>::clone(&self.reader),
            gate: self.gates.at(Purpose::Read, listeners.gateway.address()),
            access: Arc::clone(&self.access.store),
            issues: self.store.issues().map_err(failed)?,
            settings: self.store.settings().map_err(failed)?,
            config: self.config.gateway.clone(),
            prices: self.config.processors.pricing.table()?,
            ingest: Some(ingest.clone()),
            metrics: self.metrics.clone(),
            tasks: self.tasks.clone(),
        };
        let gateway = Gateway::new(state);
        let otlp = match listeners.otlp.grpc_address() {
            Some(address) => {
                let gate = self.gates.at(Purpose::Read, address);
                listeners.otlp.beside(gateway.trace_query(gate))
            }
            None => listeners.otlp,
        };
        let observer: Arc<dyn RequestObserver> = Arc::new(self.metrics.clone());
        otlp.start(
            &ingest,
            &observer,
            &self.gates,
            &self.readiness,
            &self.tasks,
        )?;
        listeners.gateway.serve(&gateway, &self.tasks)?;
        Ok(())
    }

    /// Stores what another process takes.
    fn store_for_others(&self, writers: &Arc<Writers>, tees: &Arc<Tees>) -> Result<(), Error> {
        let slot = Slot::take(&self.config.data_dir())?;
        let log = self.config.log_directory();
        let check = self.readiness.register("queue");
        let threads = (Arc::clone(writers), Arc::clone(tees));
        let leases = Leases::new(log, slot, threads, self.metrics.clone(), check);
        leases.spawn(&self.tasks);
        Ok(())
    }

    fn sample_store(&self) {
        let (reader, health) = (Arc::clone(&self.reader), self.store_health.clone());
        sample::spawn_store_sampler(reader, self.metrics.clone(), health, &self.tasks);
        let shutdown = self.tasks.shutdown_token();
        let upkeep = metrics::upkeep(self.metrics.clone(), shutdown);
        self.tasks.spawn("metrics-upkeep", upkeep);
    }

    /// Serves probes and metrics on tasks of their own, which do not end with the drain, so that
    /// `/readyz` tells of it.
    fn serve_operations(&self, bound: Option<Bound>) -> Result<Tasks, Error> {
        let (tasks, _panics) = Tasks::new();
        if let Some(bound) = bound {
            let (metrics, asked) = (self.metrics.clone(), self.readiness.clone());
            let render = Arc::new(move || {
                metrics.ready(asked.is_ready());
                metrics.render()
            });
            health::serve(bound, self.readiness.clone(), render, &tasks)?;
        }
        Ok(tasks)
    }
}

fn banner(
    config: &Config,
    listeners: Option<&Listeners>,
    operations: Option<&Bound>,
    store: &dyn Store,
) -> Banner {
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
        mode: config.service.mode,
        grpc: listeners
            .and_then(|listeners| listeners.otlp.grpc_address())
            .map(|address| (address, grpc_tls)),
        http: listeners
            .and_then(|listeners| listeners.otlp.http_address())
            .map(|address| (address, http_tls)),
        gateway: listeners
            .map(|listeners| (listeners.gateway.address(), config.gateway.tls.is_some())),
        metrics: operations.map(Bound::address),
        store: store.describe(),
        lacks_a_key: false,
        durability: match config.queue.durability {
            Durability::SyncBeforeAck => "synced to disk before OK",
            Durability::OsBuffered => "synced within a second of OK (os_buffered)",
        },
    }
}
