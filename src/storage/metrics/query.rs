//! What a store is asked about metrics, and what it answers.

use futures_util::future::BoxFuture;

use crate::model::ProjectId;
use crate::model::metric::{MetricKind, Temporality};
use crate::storage::query::AttributeEquals;
use crate::storage::{Cursor, Error, Page, PageRequest};

/// Services named of a metric at most.
pub const SERVICES_MAX: usize = 100;

/// Filters of the list of metrics. All given ones must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricFilter {
    /// How the name begins.
    pub prefix: Option<String>,
    /// Service it is of; only its series count then.
    pub service: Option<String>,
}

/// What tells metrics of one name apart; in the order of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricKey {
    /// Name.
    pub name: String,
    /// What it is.
    pub kind: MetricKind,
    /// What its totals are of.
    pub temporality: Temporality,
    /// Whether its sum never falls.
    pub is_monotonic: bool,
    /// Unit.
    pub unit: String,
}

impl MetricKey {
    /// The cursor of a list that goes on after it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let mut key = vec![
            self.kind as u8,
            self.temporality as u8,
            u8::from(self.is_monotonic),
        ];
        key.extend(self.unit.bytes());
        key.push(0);
        key.extend(self.name.bytes());
        Cursor { unix_nano: 0, key }
    }

    /// What a cursor was made of.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it was not made by [`MetricKey::cursor`].
    pub fn of_cursor(cursor: &Cursor) -> Result<Self, Error> {
        Self::parse(&cursor.key).ok_or_else(|| Error::Corrupt {
            context: "the cursor of a list of metrics".to_owned(),
        })
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let (&[kind, temporality, is_monotonic], rest) = key.split_first_chunk()?;
        let (unit, name) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
        Some(Self {
            name: name.to_owned(),
            kind: MetricKind::from_number(kind.into())?,
            temporality: Temporality::from_number(temporality.into()),
            is_monotonic: is_monotonic != 0,
            unit: unit.to_owned(),
        })
    }
}

/// A metric, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSummary {
    /// What it is.
    pub key: MetricKey,
    /// What it is, for people.
    pub description: String,
    /// The services it is of, [`SERVICES_MAX`] at most.
    pub services: Vec<String>,
    /// Its series.
    pub series_count: u64,
    /// Whether there are points of series beyond the limit among them.
    pub has_overflow: bool,
    /// When a point last arrived, to a quarter of an hour, ns since the Unix epoch.
    pub last_seen_unix_nano: u64,
}

/// What is answered of the points of a bucket and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregation {
    /// Increase of a total, or measurements, per second.
    Rate,
    /// Increase of a total, or measurements.
    Increase,
    /// Of totals the increase, of values the sum of the last one of each series, of distributions the
    /// sum of what was measured.
    Sum,
    /// Mean of the values, or of what was measured.
    Avg,
    /// Least value.
    Min,
    /// Largest value.
    Max,
    /// Latest value.
    Last,
    /// Measurements; points, where each is one.
    Count,
    /// A percentile of what was measured.
    Quantile(u8),
}

impl Aggregation {
    /// What is answered where nothing is asked for.
    #[must_use]
    pub const fn usual(kind: MetricKind, temporality: Temporality, is_monotonic: bool) -> Self {
        match kind {
            MetricKind::Sum if is_monotonic || matches!(temporality, Temporality::Delta) => {
                Self::Increase
            }
            MetricKind::Histogram | MetricKind::Exponential => Self::Quantile(50),
            MetricKind::Gauge | MetricKind::Sum | MetricKind::Summary => Self::Avg,
        }
    }

    /// Whether it says something of metrics of a kind.
    #[must_use]
    pub const fn applies_to(self, kind: MetricKind) -> bool {
        match self {
            Self::Sum | Self::Avg | Self::Count => true,
            Self::Rate | Self::Increase => !matches!(kind, MetricKind::Gauge),
            Self::Last => matches!(kind, MetricKind::Gauge | MetricKind::Sum),
            Self::Min | Self::Max => !matches!(kind, MetricKind::Summary),
            Self::Quantile(_) => matches!(kind, MetricKind::Histogram | MetricKind::Exponential),
        }
    }
}

/// A question about the points of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricQuery {
    /// Name.
    pub name: String,
    /// First time included, ns since the Unix epoch.
    pub start_unix_nano: u64,
    /// First time excluded.
    pub end_unix_nano: u64,
    /// Length of a bucket, ns, counted from the Unix epoch; absent: one bucket for the range.
    pub step_ns: Option<u64>,
    /// Attributes by which series are grouped, in this order.
    pub group_by: Vec<String>,
    /// Service the series must be of.
    pub service: Option<String>,
    /// Deployment environment they must be of.
    pub environment: Option<String>,
    /// Attributes they must have.
    pub attributes: Vec<AttributeEquals>,
    /// What is answered; what is usual for the metric where absent.
    pub aggregation: Option<Aggregation>,
    /// Groups at most.
    pub groups_max: usize,
}

impl MetricQuery {
    /// Start of the bucket that a time is in.
    #[must_use]
    pub fn bucket_of(&self, unix_nano: u64) -> u64 {
        match self.step_ns {
            Some(step) if step > 0 => unix_nano / step * step,
            _ => self.start_unix_nano,
        }
    }

    /// Seconds in the bucket that starts then, as far as it is asked for.
    #[must_use]
    pub fn seconds_in(&self, bucket: u64) -> f64 {
        let end = match self.step_ns {
            Some(step) if step > 0 => bucket.saturating_add(step).min(self.end_unix_nano),
            _ => self.end_unix_nano,
        };
        let start = bucket.max(self.start_unix_nano);
        end.saturating_sub(start) as f64 / 1e9
    }
}

/// Points of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Values of the attributes grouped by, in their order; absent where a series has none.
    pub values: Vec<Option<String>>,
    /// Starts of buckets and what is answered of them, in order. Buckets without points are left out.
    pub points: Vec<(u64, f64)>,
}

/// What is answered to a [`MetricQuery`].
#[derive(Debug, Clone, PartialEq)]
pub struct MetricAnswer {
    /// The metrics of the name that have what is asked for.
    pub metrics: Vec<MetricKey>,
    /// What is answered.
    pub aggregation: Aggregation,
    /// Series that were added up.
    pub series_count: u64,
    /// By the values they are grouped by.
    pub groups: Vec<Group>,
    /// Whether there are more groups.
    pub is_cut: bool,
}

/// Why there is no answer to a question about a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is no metric of this name.
    Unknown,
    /// What is asked for is not to be had of metrics of its kind.
    NotOf(MetricKind),
}

/// Answers queries about metrics. Every call names the project.
pub trait MetricReader {
    /// Metrics by name.
    fn list_metrics<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a MetricFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<MetricSummary>, Error>>;

    /// The points of a metric over time, by groups of its series.
    fn metric<'a>(
        &'a self,
        project: ProjectId,
        query: &'a MetricQuery,
    ) -> BoxFuture<'a, Result<Result<MetricAnswer, NoAnswer>, Error>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_made() {
        let key = MetricKey {
            name: "gen_ai.client.token.usage".to_owned(),
            kind: MetricKind::Histogram,
            temporality: Temporality::Cumulative,
            is_monotonic: false,
            unit: "{token}".to_owned(),
        };
        assert_eq!(MetricKey::of_cursor(&key.cursor()).unwrap(), key);
        for wrong in [&b""[..], b"abc", b"\x09\0\0\0", b"\0\0\0no end"] {
            let cursor = Cursor {
                unix_nano: 0,
                key: wrong.to_vec(),
            };
            assert!(MetricKey::of_cursor(&cursor).is_err());
        }
    }
}
