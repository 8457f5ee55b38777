//! Taking the columns of stored spans anew, after the mapper or the prices got better.
//!
//! A job covers the traces that start in a range of time. Its state is a row of the store
//! ([`Job`]), so that it goes on after whatever ended the process that ran it. A step takes some
//! traces, and in one transaction
//!
//! 1. maps the messages of their spans anew ([`Mapper`]);
//! 2. replaces the columns of those that change, and the summaries of their traces;
//! 3. adds what the spans now are to rollups and sessions, and takes away what they were
//!    (`exchange`);
//! 4. notes how far the job is.
//!
//! What is taken away follows from the stored columns and, where a part of a trace was sampled out, from
//! what its list says of that part, which stays as it is. So spans that are written meanwhile are
//! none of its business: they are mapped by whoever writes them. Messages, ids and times never
//! change; neither do services, which are of the resource.
//!
//! Not exact: the bounds and the user of a session that lost some of its spans are taken from the
//! traces that are left in it; a span whose rollup went to `other` because its batch had too many
//! groups is taken from the row it would have had.

mod exchange;
mod job;
mod rows;

use futures_util::future::BoxFuture;

use super::Error;
use crate::model::ProjectId;
use crate::model::span::Basics;

pub(super) use exchange::{Exchange, Exchanged, Shifted, State, add_up, unstored};
pub use job::{Job, Range};
pub(super) use rows::{is_same, resource_of, row_of, stays};

/// A trace with more spans stays as it is, and is counted: it is mapped in one go, and would take
/// too much memory.
pub(super) const SPANS_PER_TRACE_MAX: i64 = 50_000;

/// Where a store keeps the state of the job: the name of a row of its table `setting`.
pub(super) const SETTING: &str = "remap";

/// The job of a store, seen from outside of what does its steps.
pub trait Jobs: Send {
    /// The job that was begun last, as far as it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    fn state(&mut self) -> BoxFuture<'_, Result<Option<Job>, Error>>;

    /// Begins a job, in place of the one that is there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn begin(&mut self, range: Range) -> BoxFuture<'_, Result<Job, Error>>;

    /// Drops the job. What it changed stays so.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn cancel(&mut self) -> BoxFuture<'_, Result<(), Error>>;
}

/// Takes the columns of spans.
pub trait Mapper: Send + Sync {
    /// The columns of a project's spans, given the names of their scopes and their encoded OTLP `Span`
    /// messages, in the same order; absent for a message that can't be read.
    fn map<'m>(&self, project: ProjectId, spans: &[(&'m str, &'m [u8])])
    -> Vec<Option<Basics<'m>>>;
}
