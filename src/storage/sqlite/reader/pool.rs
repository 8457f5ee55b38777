//! The threads that run queries, each with its own connection.
//!
//! Bounded in threads (`readers`), in waiting queries (refused beyond that) and in time: a query's
//! time starts when it is asked, so that time spent waiting counts. SQLite is interrupted through
//! its progress handler; code between statements calls [`Session::check`].

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::failure::read_error;
use crate::storage::Error;
use crate::storage::sqlite::Config;

/// Queries that may wait for each connection.
const WAITING_PER_READER: usize = 32;
/// Virtual machine steps between two looks at the clock; some tens of microseconds.
const STEPS_BETWEEN_CHECKS: i32 = 2000;
/// A reader waits this long for a lock, which in WAL mode only recovery takes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Distinct statements the reader has, with room to spare.
const STATEMENTS_CACHED: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Runs queries.
#[derive(Debug)]
pub(super) struct Pool {
    /// The threads end when this is dropped.
    jobs: SyncSender<Job>,
    query_timeout: Duration,
}

/// What a query may use while it runs.
#[derive(Debug)]
pub(super) struct Session<'c> {
    /// In a read transaction.
    pub(super) connection: &'c Connection,
    limit: Limit,
    /// From here on a list answers what it has found.
    pub(super) scan_deadline: Instant,
}

/// When a query must end.
#[derive(Debug, Clone)]
struct Limit {
    deadline: Instant,
    /// Set when nobody waits for the answer any more.
    abandoned: Arc<AtomicBool>,
}

impl Limit {
    fn is_over(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

impl Session<'_> {
    /// Ends the query when its time is up.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.limit.is_over() {
            Err(Error::Timeout)
        } else {
            Ok(())
        }
    }
}

/// Tells a running query that its caller has gone.
struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
enum Busy {
    #[error("too many queries are waiting")]
    QueueFull,
    #[error("the query threads have ended")]
    Stopped,
}

/// Opens a connection that can only read.
pub(super) fn connect(path: &Path, config: &Config) -> Result<Connection, Error> {
    const CONTEXT: &str = "open a read connection";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(read_error(CONTEXT))?;
    let cache_kib = i64::try_from(config.cache_size.0 / 4 / 1024).unwrap_or(i64::MAX);
    // No mmap: mapped pages count as our resident memory, and the file can be large.
    let settings = [
        ("query_only", 1),
        ("mmap_size", 0),
        ("cache_size", -cache_kib),
        ("temp_store", 2),
    ];
    for (name, value) in settings {
        connection
            .pragma_update(None, name, value)
            .map_err(read_error(CONTEXT))?;
    }
    connection
        .busy_timeout(BUSY_TIMEOUT)
        .map_err(read_error(CONTEXT))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

impl Pool {
    /// Starts one thread per connection.
    pub(super) fn start(
        connections: Vec<Connection>,
        query_timeout: Duration,
    ) -> Result<Self, Error> {
        let (jobs, receiver) = sync_channel(connections.len() * WAITING_PER_READER);
        let receiver = Arc::new(Mutex::new(receiver));
        for (number, connection) in connections.into_iter().enumerate() {
            let receiver = Arc::clone(&receiver);
            thread::Builder::new()
                .name(format!("sqlite-read-{number}"))
                .spawn(move || work(connection, &receiver))
                .map_err(|source| Error::Unavailable {
                    context: "start a query thread",
                    source: Box::new(source),
                })?;
        }
        Ok(Self {
            jobs,
            query_timeout,
        })
    }

    /// Runs a query on one of the threads. Dropping the future ends the query.
    pub(super) async fn run<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Session<'_>) -> Result<T, Error> + Send + 'static,
    {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _guard = AbandonOnDrop(Arc::clone(&abandoned));
        let asked = Instant::now();
        let limit = Limit {
            deadline: asked + self.query_timeout,
            abandoned,
        };
        let scan_deadline = asked + self.query_timeout / 2;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                in_transaction(connection, limit, scan_deadline, query)
            }));
            // The receiver is gone when the caller is; the answer then has no use.
            drop(answer.send(outcome));
        });
        self.jobs
            .try_send(job)
            .map_err(|_| unavailable(Busy::QueueFull))?;
        match answered.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(unavailable(Busy::Stopped)),
        }
    }
}

fn unavailable(source: Busy) -> Error {
    Error::Unavailable {
        context: "queue a query",
        source: Box::new(source),
    }
}

fn work(mut connection: Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // Held only while waiting; a job runs after the lock is released.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(&mut connection),
            Err(_) => return,
        }
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    limit: Limit,
    scan_deadline: Instant,
    query: impl FnOnce(&Session<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    const CONTEXT: &str = "start a query";
    if limit.is_over() {
        return Err(Error::Timeout);
    }
    let watched = limit.clone();
    connection
        .progress_handler(STEPS_BETWEEN_CHECKS, Some(move || watched.is_over()))
        .map_err(read_error(CONTEXT))?;
    let transaction = connection.transaction().map_err(read_error(CONTEXT))?;
    let session = Session {
        connection: &transaction,
        limit,
        scan_deadline,
    };
    query(&session)
    // The transaction rolls back here: there is nothing to keep.
}
