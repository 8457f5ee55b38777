//! What PulseBoard's owners do with the events that its lists show.

use futures_util::future::BoxFuture;

use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::access::Change;

/// Events deleted in one transaction.
pub const EVENTS_PER_STEP: u32 = 2000;

/// Deletes events of PulseBoard. Every call names the project.
pub trait BoardEvents: Send + Sync + std::fmt::Debug {
    /// Deletes some of the project's events that PulseBoard's list shows and that arrived until a
    /// time (ns since the Unix epoch): [`EVENTS_PER_STEP`] at most. Answers how many; none are left
    /// when it is zero. Nothing finds them any more; the compressed block that a message lies in goes
    /// with retention. A change given is noted if there was any.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn delete_some(
        &self,
        project: ProjectId,
        until_unix_nano: u64,
        change: Option<Change>,
    ) -> BoxFuture<'_, Result<u64, Error>>;
}
