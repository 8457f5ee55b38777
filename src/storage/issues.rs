//! What is kept of events beside them, and asked for by the gateway.

use futures_util::future::BoxFuture;

use super::Error;
use crate::model::ProjectId;
use crate::model::event::{EventId, EventSource};

/// Answers what is kept of events beside them. Every call names the project.
pub trait IssueStore: Send + Sync + std::fmt::Debug {
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
}
