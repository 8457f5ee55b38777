//! What projects may send, and what they sent, by day.
//!
//! What was sent is added up in memory and written every few seconds ([`QuotaStore::add_usage`]):
//! when a process dies, what it had not written is missing, and when the answer to a write is lost
//! it may be counted twice. Good enough for a limit and for a chart; what is stored is counted
//! exactly elsewhere.

use futures_util::future::BoxFuture;

use super::Error;
use super::access::{Change, Done};
use crate::model::ProjectId;
use crate::model::quota::{Day, Quota};

/// Days that usage is kept for.
pub const USAGE_DAYS_MAX: u32 = 400;

/// What a project sent of a signal on a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usage {
    /// Who.
    pub project: ProjectId,
    /// When.
    pub day: Day,
    /// `traces`, `logs` or `metrics`.
    pub signal: String,
    /// Spans, log records or data points that were accepted.
    pub items: u64,
    /// Uncompressed bytes of the requests they came in.
    pub bytes: u64,
}

/// Keeps what projects may send and what they sent.
pub trait QuotaStore: Send + Sync + std::fmt::Debug {
    /// The projects that have limits of their own, with them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn quotas(&self) -> BoxFuture<'_, Result<Vec<(ProjectId, Quota)>, Error>>;

    /// Gives a project limits of its own, or with `None` those that all have.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::access::Refusal::Unknown`].
    fn set_quota(
        &self,
        project: ProjectId,
        quota: Option<Quota>,
        change: Change,
    ) -> BoxFuture<'_, Done<()>>;

    /// Adds to what was sent. Is no change. Drops days beyond [`USAGE_DAYS_MAX`], and what is of
    /// projects that are gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn add_usage(&self, usage: Vec<Usage>) -> BoxFuture<'_, Result<(), Error>>;

    /// Bytes that every project sent on a day.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn bytes_of(&self, day: Day) -> BoxFuture<'_, Result<Vec<(ProjectId, u64)>, Error>>;

    /// What a project sent from a day on, oldest first, then by signal.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn usage(&self, project: ProjectId, from: Day) -> BoxFuture<'_, Result<Vec<Usage>, Error>>;
}
