//! The threads that look through blocks: a fixed number, shared by all searches of a store, so that
//! searching never takes more of the machine than it may. Each search has a few blocks with them at
//! a time, so that searches share them evenly; what nobody waits for any more is not done.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::storage::Error;

/// Buffers larger than this are not kept from one block to the next.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

type Job = Box<dyn FnOnce(&mut Buffers) + Send>;

/// Memory that a thread uses again and again.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(super) packed: Vec<u8>,
    pub(super) folded: Vec<u8>,
}

/// Looks through blocks. The threads end when this is dropped.
#[derive(Debug)]
pub struct Searchers {
    jobs: Sender<Job>,
    threads: u32,
}

impl Searchers {
    /// Starts the threads, at least one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a thread can't be started.
    pub fn start(threads: u32) -> Result<Self, Error> {
        let threads = threads.max(1);
        let (jobs, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name(format!("search-{number}"))
                .spawn(move || work(&receiver))
                .map_err(|source| Error::Unavailable {
                    context: "start a search thread",
                    source: Box::new(source),
                })?;
        }
        Ok(Self { jobs, threads })
    }

    /// How many blocks a search should have with the threads so that none is idle.
    #[must_use]
    pub fn depth(&self) -> usize {
        usize::try_from(self.threads).unwrap_or(1).saturating_mul(4)
    }

    /// Has some work done by one of the threads. The answer never comes when the work panicked;
    /// when nobody waits for it any more, the work is not begun.
    pub fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Buffers) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |buffers| {
            if answer.is_closed() {
                return;
            }
            if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| work(buffers))) {
                // Nobody waits any more.
                drop(answer.send(outcome));
            }
        });
        // The threads live as long as the sender; without one, the answer never comes.
        drop(self.jobs.send(job));
        answered
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    let mut buffers = Buffers::default();
    loop {
        // Held only while waiting; a job runs after the lock is released.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job(&mut buffers);
        for buffer in [&mut buffers.packed, &mut buffers.folded] {
            if buffer.capacity() > BUFFER_BYTES_KEPT {
                *buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    // Scenario: work that panics, work whose asker has gone while the only thread was busy, and work
    // after that.
    // Guarantees: the first has no answer, the second is not done, the third is answered.
    #[test]
    fn what_nobody_waits_for_is_not_done() {
        let searchers = Searchers::start(1).unwrap();
        assert_eq!(searchers.depth(), 4);
        let panics = searchers.submit(|_| panic!("on purpose"));
        let lost: Result<(), _> = panics.blocking_recv();
        assert!(lost.is_err());

        let (go, gone) = channel::<()>();
        let busy = searchers.submit(move |_| gone.recv().is_ok());
        let done = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&done);
        drop(searchers.submit(move |_| counted.fetch_add(1, Ordering::Relaxed)));
        go.send(()).unwrap();
        assert!(busy.blocking_recv().unwrap());
        assert_eq!(searchers.submit(|_| 5).blocking_recv(), Ok(5));
        assert_eq!(done.load(Ordering::Relaxed), 0);
    }
}
