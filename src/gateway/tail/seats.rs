//! How many clients may follow: at all, of a project, and of a person.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Who;
use crate::gateway::problem::{Code, Problem};
use crate::gateway::shares::{Share, Shares, of_one_person};
use crate::model::ProjectId;
use crate::storage::Error;

/// Somebody who was let in; it may have a seat in each feed.
pub(super) struct Client {
    _permit: OwnedSemaphorePermit,
    _of_project: Share<ProjectId>,
    _of_person: Option<Share<Arc<str>>>,
}

/// Why a client is not let in.
#[derive(Debug)]
pub(in crate::gateway) enum NoSeat {
    /// As many follow as may, of the project or at all.
    AtAll,
    /// As many of this person's do as may.
    OfPerson,
    /// The store can't say where the feed is.
    Store(Error),
}

impl From<Error> for NoSeat {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<NoSeat> for Problem {
    fn from(none: NoSeat) -> Self {
        let detail = match none {
            NoSeat::AtAll => {
                "as many clients follow the feed as may; see gateway.max_tail_watchers"
            }
            NoSeat::OfPerson => {
                "as many clients of yours follow the feed as one person's may; see \
                    gateway.max_tail_watchers"
            }
            NoSeat::Store(error) => return error.into(),
        };
        Self::new(Code::StorageUnavailable, detail)
    }
}

/// All seats.
pub(super) struct Seats {
    all: Arc<Semaphore>,
    by_project: Shares<ProjectId>,
    by_person: Shares<Arc<str>>,
}

impl Seats {
    /// So many.
    pub(super) fn new(all: u32) -> Self {
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        Self {
            all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            // The last tenth is for others.
            by_project: Shares::new(all - all / 10),
            by_person: Shares::new(of_one_person(all)),
        }
    }

    /// Lets one more client of a project in, unless there are as many as may be. Who makes projects has
    /// no more of the seats for it.
    pub(super) fn take(&self, project: ProjectId, who: &Who) -> Result<Client, NoSeat> {
        let of_person = match who {
            Who::User(id) => {
                let share = self.by_person.take(Arc::clone(id));
                Some(share.ok_or(NoSeat::OfPerson)?)
            }
            Who::Key(_) | Who::Anonymous => None,
        };
        let of_project = self.by_project.take(project).ok_or(NoSeat::AtAll)?;
        let permit = Arc::clone(&self.all).try_acquire_owned();
        Ok(Client {
            _permit: permit.map_err(|_| NoSeat::AtAll)?,
            _of_project: of_project,
            _of_person: of_person,
        })
    }
}
