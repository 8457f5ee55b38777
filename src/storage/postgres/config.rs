//! `storage.postgres`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use super::target::{self, mask_password};
use crate::config::Duration;
pub use crate::config::Secret;
pub(super) use crate::config::secret::MASK;

/// `storage.postgres`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the database is, as libpq takes it: `postgres://user:password@host:5432/database`
    /// with parameters, or `host=… user=…`. Several hosts are tried in order.
    pub url: DatabaseUrl,
    /// Where queries go, such as to a replica; empty means where writes go.
    pub read_url: DatabaseUrl,
    /// Password; wins over one in a URL.
    pub password: Secret,
    /// How the connection is encrypted and the server's certificate checked; wins over the URL's.
    pub sslmode: Option<SslMode>,
    /// PEM file with the authorities that the server's certificate must chain to; empty means the
    /// system's.
    pub sslrootcert: PathBuf,
    /// PEM file with a client certificate; empty means none.
    pub sslcert: PathBuf,
    /// PEM file with its key.
    pub sslkey: PathBuf,
    /// Connections that answer queries.
    pub max_connections: u32,
    /// Longest time to reach one host.
    pub connect_timeout: Duration,
    /// Longest time a query waits for a connection.
    pub acquire_timeout: Duration,
    /// Longest time one statement of a write may take.
    pub statement_timeout: Duration,
    /// Longest time a statement waits for a lock.
    pub lock_timeout: Duration,
    /// Longest time sent data may stay unacknowledged before a connection counts as dead.
    pub tcp_user_timeout: Duration,
    /// Prepare statements once per connection; off for a pooler that can't (PgBouncer before 1.21
    /// in transaction mode).
    pub prepared_statements: bool,
    /// Keep small attributes as `jsonb` beside the columns, for SQL.
    pub attributes_jsonb: bool,
    /// Bring the schema up to date at the start; otherwise `pulse-collector migrate` must.
    pub migrate_on_start: bool,
    /// How spans and blocks are partitioned.
    pub partitions: PartitionConfig,
}

/// `storage.postgres.partitions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PartitionConfig {
    /// Time in one partition: a part of a day, or a day.
    pub interval: Duration,
    /// How long before they are needed partitions are made.
    pub ahead: Duration,
    /// How late spans may be to get a partition of their own.
    pub past: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: DatabaseUrl::default(),
            read_url: DatabaseUrl::default(),
            password: Secret::default(),
            sslmode: None,
            sslrootcert: PathBuf::new(),
            sslcert: PathBuf::new(),
            sslkey: PathBuf::new(),
            max_connections: 8,
            connect_timeout: Duration::seconds(5),
            acquire_timeout: Duration::seconds(5),
            statement_timeout: Duration::seconds(30),
            lock_timeout: Duration::seconds(5),
            tcp_user_timeout: Duration::seconds(20),
            prepared_statements: true,
            attributes_jsonb: false,
            migrate_on_start: true,
            partitions: PartitionConfig::default(),
        }
    }
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            interval: Duration::days(1),
            ahead: Duration::days(3),
            past: Duration::days(7),
        }
    }
}

/// How the connection is encrypted and the server's certificate checked, as in libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not encrypted.
    Disable,
    /// Encrypted if the server can; its certificate is not checked.
    Prefer,
    /// Encrypted; the certificate is checked only when `sslrootcert` is given.
    Require,
    /// Encrypted; the certificate must chain to an authority.
    VerifyCa,
    /// Encrypted; the certificate must chain to an authority and name the host.
    VerifyFull,
}

/// A database URL. Shown without its password.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Whether none is given.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The URL with its password.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&mask_password(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const DAY_SECONDS: u64 = 86_400;

impl Config {
    /// What is wrong with these settings, by key below `storage.postgres`. `in_use` says whether
    /// the daemon would connect with them.
    #[must_use]
    pub fn problems(&self, in_use: bool) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if in_use && self.url.is_empty() {
            let message = "must be given for storage.kind postgres; DATABASE_URL sets it too";
            problems.push(("url", message.to_owned()));
        }
        for (key, url) in [("url", &self.url), ("read_url", &self.read_url)] {
            if url.is_empty() {
                continue;
            }
            // The text of the error never has the URL in it.
            if let Err(error) = target::parse(self, url) {
                problems.push((key, error.to_string()));
            }
        }
        if let Some(message) = self.password.problem() {
            problems.push(("password", message.to_owned()));
        }
        if self.sslcert.as_os_str().is_empty() != self.sslkey.as_os_str().is_empty() {
            let message = "sslcert and sslkey must be given together";
            problems.push(("sslcert", message.to_owned()));
        }
        self.check_times(&mut problems);
        problems
    }

    fn check_times(&self, problems: &mut Vec<(&'static str, String)>) {
        let not_zero = [
            ("connect_timeout", self.connect_timeout),
            ("acquire_timeout", self.acquire_timeout),
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            ("tcp_user_timeout", self.tcp_user_timeout),
        ];
        for (key, time) in not_zero {
            if time.0.is_zero() {
                problems.push((key, "must be more than zero".to_owned()));
            }
        }
        if self.max_connections == 0 {
            problems.push(("max_connections", "must be more than zero".to_owned()));
        }
        let interval = self.partitions.interval.0.as_secs();
        let whole_hours = interval >= 3600 && interval.is_multiple_of(3600);
        if !whole_hours || !DAY_SECONDS.is_multiple_of(interval) {
            let message = "must be a day or divide one into whole hours, such as 1d, 6h or 1h";
            problems.push(("partitions.interval", message.to_owned()));
        }
        if self.partitions.ahead.0 < self.partitions.interval.0 {
            let message = "must be at least one interval";
            problems.push(("partitions.ahead", message.to_owned()));
        }
        let partitions_max = 400 * self.partitions.interval.0;
        if self.partitions.ahead.0 + self.partitions.past.0 > partitions_max {
            let message = "ahead and past together must be at most 400 intervals";
            problems.push(("partitions.past", message.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(config: &Config) -> Vec<&'static str> {
        let problems = config.problems(true);
        problems.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_url_is_needed_and_checked() {
        assert_eq!(keys(&Config::default()), ["url"]);
        assert!(Config::default().problems(false).is_empty());
        let config = Config {
            url: "postgres://u:MARKER@db/pulse?sslmode=never".into(),
            read_url: "mysql://u:MARKER@db".into(),
            password: MASK.into(),
            ..Config::default()
        };
        let problems = config.problems(true);
        assert_eq!(keys(&config), ["url", "read_url", "password"]);
        assert!(!format!("{problems:?}").contains("MARKER"), "{problems:?}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = Config {
            url: "postgres://u:MARKER@db/pulse?password=MARKER".into(),
            password: "MARKER".into(),
            ..Config::default()
        };
        let shown = serde_json::to_string(&config).unwrap();
        assert!(shown.contains("postgres://u:***@db/pulse"), "{shown}");
        assert!(!shown.contains("MARKER"), "{shown}");
        assert!(!format!("{config:?} {}", config.url).contains("MARKER"));
    }

    #[test]
    fn a_partition_divides_a_day() {
        let with = |interval| Config {
            url: "postgres://db".into(),
            partitions: PartitionConfig {
                interval,
                ..PartitionConfig::default()
            },
            ..Config::default()
        };
        for hours in [1, 2, 6, 24] {
            let config = with(Duration::seconds(hours * 3600));
            assert_eq!(keys(&config), Vec::<&str>::new(), "{hours}");
        }
        for seconds in [0, 60, 5400, 5 * 3600, 48 * 3600] {
            let config = with(Duration::seconds(seconds));
            assert!(keys(&config).contains(&"partitions.interval"), "{seconds}");
        }
    }
}
