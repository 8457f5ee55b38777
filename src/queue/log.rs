//! The producers' end of one partition of the log.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use tokio::sync::{Semaphore, oneshot};

use super::record::MAX_PAYLOAD_BYTES;
use super::tail::Shared;
use super::writer::{Command, Pending};
use super::{Entry, Error, Position, Stats};

/// Payload KiB that may wait for the log thread. Enough for one record of any size; who comes
/// later waits outside, so that what waits stays bounded however slow the disk is.
const PENDING_KIB: u32 = (64 << 10) + 1;
const _: () = assert!(PENDING_KIB as usize > MAX_PAYLOAD_BYTES >> 10);

/// Appends to one partition of the log. Cheap to clone; when the last clone is gone the log
/// closes.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// KiB that may still be sent to the thread.
    budget: Arc<Semaphore>,
}

impl Log {
    pub(super) fn new(shared: Arc<Shared>, commands: Sender<Command>) -> Self {
        Self {
            shared,
            commands,
            budget: Arc::new(Semaphore::new(PENDING_KIB as usize)),
        }
    }

    /// Appends a record and returns its position when it is as durable as the configuration
    /// promises. Dropping the future does not take the record back.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for what can never be taken; all others are retryable.
    pub async fn append(&self, entry: Entry) -> Result<Position, Error> {
        let bytes = entry.payload.len();
        if bytes > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge {
                bytes: bytes as u64,
                max: MAX_PAYLOAD_BYTES as u64,
            });
        }
        let kib = u32::try_from(bytes >> 10).map_or(PENDING_KIB, |kib| kib + 1);
        let budget = Arc::clone(&self.budget);
        let permit = budget.acquire_many_owned(kib).await;
        let permit = permit.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let pending = Command::Append(Pending {
            entry,
            reply,
            permit,
        });
        self.commands.send(pending).map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Tells without waiting whether a record with this much payload would be taken now, so that a
    /// request can be refused before it is read. A record that was let through can still meet a
    /// full log: what is on its way is not counted.
    ///
    /// # Errors
    /// What [`Log::append`] would answer: [`Error::TooLarge`], [`Error::Full`], [`Error::Closed`],
    /// or the failure of a disk that is left alone until it is tried again.
    pub fn check_room(&self, payload_bytes: usize) -> Result<(), Error> {
        let refusal = self.shared.lock().refusal(payload_bytes);
        refusal.map_or(Ok(()), Err)
    }

    /// Says that everything before `next` is stored, durably. Segments wholly below are reused
    /// or removed soon after. Never blocks on the disk.
    pub fn release(&self, next: Position) {
        if self.shared.release(next.0) {
            self.reclaim();
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Tells the thread that a segment can go.
    pub(super) fn reclaim(&self) {
        // A log that is closed keeps its segments until the next start.
        drop(self.commands.send(Command::Reclaim));
    }

    /// The state of the log now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }

    /// Waits until the log thread has ended: all that was accepted is written and answered.
    pub async fn ended(&self) {
        self.shared.ended().await;
    }

    /// Stops accepting; what was sent before is still written and answered. The thread then
    /// ends, and the reader returns [`super::Next::Closed`] once it has read everything.
    pub fn close(&self) {
        self.budget.close();
        // The thread is gone already when this fails.
        drop(self.commands.send(Command::Close));
    }
}
