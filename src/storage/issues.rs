//! Issues: events that are alike, and what is known of them together.
//!
//! An issue is a row per (project, fingerprint, type, level), as PulseKit has it, and a row per five
//! minutes in which something of a fingerprint happened. The writer keeps both in the transaction that
//! stores the events, from those events that were new in it: so each event counts once, as it is stored
//! once, and since all that is kept is sums, minima, maxima, smallest and latest few, the order does not
//! matter. Counting from an index over events instead would cost an entry at a random place for each of
//! them, and every list as much as was ever stored of what it shows.
//!
//! **Retention.** A row goes when what last arrived for it is old, as rollups do: an issue that goes on
//! keeps its count and its beginning though its first events are gone.
//!
//! **Status** belongs to (project, fingerprint) and is what a person said last. That a resolved issue
//! came back is not stored but derived: something of it was *seen* after it was resolved. An event is
//! seen when it says it happened, but not after it arrived: a clock that is ahead brings nothing back,
//! and what happened before and arrives late does not either.

pub mod board;
mod gather;
mod list;

use std::collections::BTreeSet;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::access::{Change, Done};
use super::{Error, Page, PageRequest};
use crate::model::ProjectId;
use crate::model::event::{EventId, EventSource};
use crate::model::fingerprint::Fingerprint;

pub(super) use gather::{Bucket, Gathered, Tally};
pub(super) use list::{After, SCANNED_MAX, page_of};

/// Length of the stretches of time by which events are counted, ns.
pub const BUCKET_NS: u64 = 300_000_000_000;
/// Latest events that an issue names.
pub const LATEST_MAX: usize = 10;
/// Services, environments and releases that an issue names, each: the first by name.
pub const NAMES_MAX: usize = 16;
/// Types and levels of a fingerprint that are answered.
pub const GROUPS_MAX: usize = 100;

/// What a person says of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IssueStatus {
    /// It is to be looked at. What nobody said anything of, and what came back.
    #[default]
    Unresolved,
    /// It is mended.
    Resolved,
    /// It does not matter.
    Ignored,
}

impl IssueStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Unresolved, Self::Resolved, Self::Ignored];

    /// Its name in stores and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }
}

impl FromStr for IssueStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.as_str() == text).ok_or(())
    }
}

/// The names of levels, from 0 on.
pub const LEVELS: [&str; 6] = ["trace", "debug", "info", "warning", "error", "fatal"];

/// By what issues are ordered, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IssueSort {
    /// When they were last seen.
    #[default]
    LastSeen,
    /// When they were first seen.
    FirstSeen,
    /// How many events they have.
    Count,
}

/// Filters of the list of issues. All given ones must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IssueFilter {
    /// Status it has now.
    pub status: Option<IssueStatus>,
    /// Its type.
    pub kind: Option<String>,
    /// Its level, an index of [`LEVELS`].
    pub level: Option<u8>,
    /// A service that it names.
    pub service: Option<String>,
    /// An environment that it names.
    pub environment: Option<String>,
    /// A part of its type or message, in any case.
    pub search: Option<String>,
    /// Order.
    pub sort: IssueSort,
}

/// What is kept of an issue beside its sums.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    /// Message of the latest event.
    message: String,
    services: BTreeSet<String>,
    environments: BTreeSet<String>,
    releases: BTreeSet<String>,
    /// The latest events, the latest first.
    latest: Vec<String>,
}

impl Details {
    /// Reads what is stored; empty for a row that was just made.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(text).map_err(|error| Error::Corrupt {
            context: format!("the details of an issue: {error}"),
        })
    }

    /// What is stored.
    pub(super) fn text(&self) -> String {
        // Texts always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// What its events have in common.
    pub fingerprint: Fingerprint,
    /// Type of the exception, else name of the event; may be empty.
    pub kind: String,
    /// Index of [`LEVELS`].
    pub level: u8,
    /// Events that were ever counted while the issue was there.
    pub event_count: u64,
    /// When it was first seen, ns since the Unix epoch.
    pub first_unix_nano: u64,
    /// When it was last seen, ns since the Unix epoch.
    pub last_unix_nano: u64,
    /// What the latest event says.
    pub message: String,
    /// Services of its events, the first [`NAMES_MAX`] by name.
    pub services: Vec<String>,
    /// Environments of its events, as many.
    pub environments: Vec<String>,
    /// Releases of its events, as many.
    pub releases: Vec<String>,
    /// Its latest events, the latest first. Retention may have deleted some.
    pub latest: Vec<EventId>,
    /// What was said of its fingerprint last, and when.
    pub said: Option<(IssueStatus, u64)>,
}

impl Issue {
    /// Whether it was resolved and seen again.
    #[must_use]
    pub fn is_regressed(&self) -> bool {
        let last = self.last_unix_nano;
        matches!(self.said, Some((IssueStatus::Resolved, at)) if last > at)
    }

    /// Its status now.
    #[must_use]
    pub fn status(&self) -> IssueStatus {
        if self.is_regressed() {
            return IssueStatus::Unresolved;
        }
        self.said
            .map_or(IssueStatus::Unresolved, |(status, _)| status)
    }
}

/// Events of five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssueBucket {
    /// Its first time, ns since the Unix epoch.
    pub start_unix_nano: u64,
    /// Events in it.
    pub event_count: u64,
}

/// Answers and changes issues. Every call names the project.
pub trait IssueStore: board::BoardEvents {
    /// The events of a source that arrived last, the last first. Only for
    /// [`EventSource::PulseBoard`], whose clients ask for it, there is an index.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn latest(
        &self,
        project: ProjectId,
        source: EventSource,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<EventId>, Error>>;

    /// Issues, in the order of the filter. An issue that something happens to while pages are asked
    /// for may be on two of them, or on none.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn issues(
        &self,
        project: ProjectId,
        filter: IssueFilter,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Issue>, Error>>;

    /// The issues of a fingerprint by type and level, the last seen first: at most [`GROUPS_MAX`].
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn issue(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
    ) -> BoxFuture<'_, Result<Vec<Issue>, Error>>;

    /// When events of a fingerprint were seen, by time, from one time to before another.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn timeline(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        start_unix_nano: u64,
        end_unix_nano: u64,
    ) -> BoxFuture<'_, Result<Vec<IssueBucket>, Error>>;

    /// Says something of a fingerprint.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; refused with [`super::access::Refusal::Unknown`] when there is no
    /// such issue.
    fn set_status(
        &self,
        project: ProjectId,
        fingerprint: Fingerprint,
        status: IssueStatus,
        change: Change,
    ) -> BoxFuture<'_, Done<()>>;
}

#[cfg(test)]
mod tests;
