//! Connections: a pool per purpose, which tries every host that is named.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Client, ConfigConnectImpl, Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime,
};
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};
use tokio_postgres::{Client as PgClient, Config as PgConfig, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Config, SslMode};
use super::target::{self, Target};
use super::{error, tls};
use crate::storage::Error;

/// Quiet time after which a connection is probed, and time between probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Writing: only a server that takes writes will do.
    Write,
    /// Queries: `read_url`, where it is given.
    Read,
}

/// Makes a pool of at most `size` connections. Connects to nothing yet.
///
/// # Errors
/// [`Error::Unavailable`] when the settings can't be used: a wrong URL, a missing file.
pub(super) fn pool(config: &Config, purpose: Purpose, size: usize) -> Result<Pool, Error> {
    let url = match purpose {
        Purpose::Read if !config.read_url.is_empty() => &config.read_url,
        Purpose::Read | Purpose::Write => &config.url,
    };
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| Error::Unavailable {
        context: "set up the database connection",
        source,
    };
    let mut target = target::parse(config, url).map_err(|error| unusable(error.into()))?;
    settle(&mut target.connection, config, purpose);
    let hosts = Hosts::new(&target, config).map_err(|error| unusable(error.into()))?;
    let create_timeout = hosts.time_to_try_all();
    let manager = Manager::from_connect(
        target.connection,
        hosts,
        ManagerConfig {
            // Asks the server before a connection is used again: `is_closed` alone can miss that
            // it is gone.
            recycling_method: RecyclingMethod::Verified,
        },
    );
    Pool::builder(manager)
        .max_size(size.max(1))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(config.acquire_timeout.0))
        .create_timeout(Some(create_timeout))
        .recycle_timeout(Some(config.acquire_timeout.0))
        .build()
        .map_err(|error| unusable(error.into()))
}

/// Takes a connection from a pool.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn acquire(pool: &Pool) -> Result<Client, Error> {
    pool.get().await.map_err(error::pool_error)
}

fn settle(connection: &mut PgConfig, config: &Config, purpose: Purpose) {
    if connection.get_application_name().is_none() {
        connection.application_name("pulse-collector");
    }
    connection
        .connect_timeout(config.connect_timeout.0)
        .tcp_user_timeout(config.tcp_user_timeout.0)
        .keepalives(true)
        .keepalives_idle(KEEPALIVE_IDLE)
        .keepalives_interval(KEEPALIVE_INTERVAL)
        .keepalives_retries(KEEPALIVE_PROBES);
    let any = connection.get_target_session_attrs() == TargetSessionAttrs::Any;
    if purpose == Purpose::Write && any {
        connection.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

/// Connects to the first host that answers as asked. A host that takes the connection and then
/// says nothing does not keep the others from being tried.
struct Hosts {
    connector: Connector,
    hosts: Vec<PgConfig>,
    timeout: Duration,
    spread: bool,
    next: AtomicUsize,
}

enum Connector {
    Plain(ConfigConnectImpl<NoTls>),
    Tls(ConfigConnectImpl<MakeRustlsConnect>),
}

impl Connector {
    fn connect(
        &self,
        host: &PgConfig,
    ) -> BoxFuture<'_, Result<(PgClient, JoinHandle<()>), tokio_postgres::Error>> {
        match self {
            Self::Plain(connect) => connect.connect(host),
            Self::Tls(connect) => connect.connect(host),
        }
    }
}

impl Hosts {
    fn new(target: &Target, config: &Config) -> Result<Self, tls::Error> {
        let connector = match target.tls.mode {
            SslMode::Disable => Connector::Plain(ConfigConnectImpl { tls: NoTls }),
            _ => Connector::Tls(ConfigConnectImpl {
                tls: MakeRustlsConnect::new(tls::client_config(&target.tls)?),
            }),
        };
        let connection = &target.connection;
        Ok(Self {
            connector,
            hosts: one_by_one(connection),
            timeout: config.connect_timeout.0,
            spread: connection.get_load_balance_hosts() == LoadBalanceHosts::Random,
            next: AtomicUsize::new(0),
        })
    }

    fn time_to_try_all(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        self.timeout.saturating_mul(hosts.saturating_add(1))
    }
}

impl Connect for Hosts {
    fn connect(
        &self,
        whole: &PgConfig,
    ) -> BoxFuture<'_, Result<(PgClient, JoinHandle<()>), tokio_postgres::Error>> {
        let first = if self.spread {
            self.next.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        let whole = whole.clone();
        Box::pin(async move {
            let count = self.hosts.len().max(1);
            let in_turn = self.hosts.iter().cycle().skip(first % count).take(count);
            let mut failed = None;
            for host in in_turn {
                match tokio::time::timeout(self.timeout, self.connector.connect(host)).await {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) => failed = Some(error),
                    Err(_) => {
                        tracing::debug!(hosts = ?host.get_hosts(), "a database host does not answer");
                    }
                }
            }
            match failed {
                Some(error) => Err(error),
                // None answered in time. The pool's own limit ends this try.
                None => self.connector.connect(&whole).await,
            }
        })
    }
}

/// One configuration per host.
fn one_by_one(connection: &PgConfig) -> Vec<PgConfig> {
    let (hosts, addresses) = (connection.get_hosts(), connection.get_hostaddrs());
    let ports = connection.get_ports();
    let count = hosts.len().max(addresses.len());
    let of_host = |index: usize| {
        let mut one = without_hosts(connection);
        match hosts.get(index) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or_else(|| ports.first()) {
            one.port(*port);
        }
        one
    };
    (0..count).map(of_host).collect()
}

fn without_hosts(connection: &PgConfig) -> PgConfig {
    let mut bare = PgConfig::new();
    if let Some(user) = connection.get_user() {
        bare.user(user);
    }
    if let Some(password) = connection.get_password() {
        bare.password(password);
    }
    if let Some(dbname) = connection.get_dbname() {
        bare.dbname(dbname);
    }
    if let Some(options) = connection.get_options() {
        bare.options(options);
    }
    if let Some(name) = connection.get_application_name() {
        bare.application_name(name);
    }
    if let Some(timeout) = connection.get_connect_timeout() {
        bare.connect_timeout(*timeout);
    }
    if let Some(timeout) = connection.get_tcp_user_timeout() {
        bare.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = connection.get_keepalives_interval() {
        bare.keepalives_interval(interval);
    }
    if let Some(retries) = connection.get_keepalives_retries() {
        bare.keepalives_retries(retries);
    }
    bare.ssl_mode(connection.get_ssl_mode())
        .ssl_negotiation(connection.get_ssl_negotiation())
        .keepalives(connection.get_keepalives())
        .keepalives_idle(connection.get_keepalives_idle())
        .target_session_attrs(connection.get_target_session_attrs())
        .channel_binding(connection.get_channel_binding())
        .load_balance_hosts(connection.get_load_balance_hosts());
    bare
}

#[cfg(test)]
mod tests;
