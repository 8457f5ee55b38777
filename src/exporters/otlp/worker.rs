//! Sends one partition of the log, from a thread of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::health::Behind;
use super::sender::{Delivered, Ends, Sender};
use crate::pipeline::clock::Clock;
use crate::queue::{Error, Next, Position, Record, Tee};
use crate::telemetry::logs::chain;

/// How long the reader waits for a record while nothing is on its way, and while something is.
const IDLE_WAIT: Duration = Duration::from_millis(500);
const BUSY_WAIT: Duration = Duration::from_millis(10);
/// How often it is told how far behind the partition is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How long a log that can't be read is left alone.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of requests on their way, at least one of them whatever its size.
const BYTES_MAX: usize = 32 << 20;
/// Records whose outcome is waited for or, though they are done, that of an earlier one.
const RECORDS_MAX: usize = 256;

/// What sends a partition.
#[derive(Debug)]
pub struct Worker {
    /// Log partition.
    pub partition: u32,
    /// Where records come from, and who is told what has been sent.
    pub tee: Tee,
    /// What sends them.
    pub sender: Arc<Sender>,
    /// Current time.
    pub clock: Arc<dyn Clock>,
    /// Cancelled when there are to be no more retries.
    pub stop: CancellationToken,
    /// Whether everything is read nevertheless, until the log is closed.
    pub reads_to_end: bool,
    /// Cancelled when what has not been sent is to stay in the log.
    pub abandon: CancellationToken,
}

/// A record that was read.
#[derive(Debug)]
struct Taken {
    /// Its number, in the order of reading.
    number: u64,
    next: Position,
    received_unix_nano: u64,
    bytes: usize,
    done: bool,
}

/// The work as it goes on.
struct Run<'w> {
    runtime: &'w Handle,
    sender: Arc<Sender>,
    ends: Ends,
    on_their_way: JoinSet<(u64, Delivered)>,
    taken: VecDeque<Taken>,
    /// Bytes of requests on their way.
    bytes: usize,
    number: u64,
    /// Something stays in the log.
    left: bool,
}

impl Worker {
    /// Sends until the log is closed and all of it is sent, until told to stop, or until something
    /// has to stay in the log.
    pub fn run(mut self, runtime: &Handle) {
        let mut run = Run {
            runtime,
            sender: Arc::clone(&self.sender),
            ends: Ends {
                stop: self.stop.clone(),
                abandon: self.abandon.clone(),
            },
            on_their_way: JoinSet::new(),
            taken: VecDeque::new(),
            bytes: 0,
            number: 0,
            left: false,
        };
        self.read(&mut run);
        while !run.left && !run.taken.is_empty() {
            run.wait_for_one();
            self.settle(&mut run);
        }
        let partition = self.partition;
        if run.left {
            tracing::info!(partition, "what has not been sent stays in the log");
        }
        let now = self.clock.unix_nano();
        self.sender.health.behind(partition, None, now);
    }

    /// Reads and sends until there is nothing more to read.
    fn read(&mut self, run: &mut Run<'_>) {
        let (mut complained, mut told) = (false, None::<Instant>);
        loop {
            run.reap();
            self.settle(run);
            if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                self.tell(run);
                told = Some(Instant::now());
            }
            if run.left || (self.stop.is_cancelled() && !self.reads_to_end) {
                return;
            }
            if run.is_full() {
                run.wait_for_one();
                continue;
            }
            let wait = match run.taken.is_empty() {
                true => IDLE_WAIT,
                false => BUSY_WAIT,
            };
            match self.tee.reader.next(wait) {
                Ok(Next::Record(record)) => run.take(&record),
                Ok(Next::Idle) => {}
                Ok(Next::Closed) => return,
                Err(error @ (Error::NewerFormat { .. } | Error::NewerRecord { .. })) => {
                    tracing::error!(
                        partition = self.partition, error = %chain(&error),
                        "exporters.otlp can't read the log any further"
                    );
                    return;
                }
                Err(_) if self.stop.is_cancelled() => {
                    run.left = true;
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::error!(
                            partition = self.partition, error = %chain(&error),
                            "exporters.otlp can't read the log, will try again"
                        );
                    }
                    run.pause(READ_PAUSE);
                }
            }
        }
    }

    /// Notes what has been sent: all up to the first record whose outcome is not known.
    fn settle(&mut self, run: &mut Run<'_>) {
        let mut next = None;
        while let Some(taken) = run.taken.pop_front_if(|taken| taken.done) {
            next = Some(taken.next);
        }
        if run.taken.is_empty() {
            // What the log does not have is not waited for.
            next = Some(self.tee.reader.position());
        }
        if let Some(next) = next {
            self.tee.release.upto(next);
        }
    }

    fn tell(&self, run: &Run<'_>) {
        let first = run.taken.front();
        let behind = Behind {
            backlog: self.tee.reader.backlog_from(self.tee.release.position()),
            oldest_unix_nano: first.map(|taken| taken.received_unix_nano),
        };
        let now = self.clock.unix_nano();
        self.sender.health.behind(self.partition, Some(behind), now);
    }
}

impl Run<'_> {
    fn is_full(&self) -> bool {
        self.on_their_way.len() >= self.sender.consumers
            || self.bytes >= BYTES_MAX
            || self.taken.len() >= RECORDS_MAX
    }

    /// Sends a record, unless nothing of it is wanted.
    fn take(&mut self, record: &Record) {
        let number = self.number;
        self.number += 1;
        let prepared = self.sender.prepare(record);
        let bytes = prepared.as_ref().map_or(0, |it| it.body.len());
        self.taken.push_back(Taken {
            number,
            next: Position(record.position.0 + 1),
            received_unix_nano: record.received_unix_nano,
            bytes,
            done: prepared.is_none(),
        });
        let Some(prepared) = prepared else {
            return;
        };
        self.bytes += bytes;
        let (sender, ends) = (Arc::clone(&self.sender), self.ends.clone());
        let deliver = async move { (number, sender.deliver(prepared, &ends).await) };
        self.on_their_way.spawn_on(deliver, self.runtime);
    }

    /// Takes note of what is done.
    fn reap(&mut self) {
        while let Some(joined) = self.on_their_way.try_join_next() {
            self.joined(joined);
        }
    }

    /// Waits until something is done, for a while.
    fn wait_for_one(&mut self) {
        let (runtime, joining) = (self.runtime, &mut self.on_their_way);
        let joined =
            runtime.block_on(async { tokio::time::timeout(TELL_EVERY, joining.join_next()).await });
        if let Ok(Some(joined)) = joined {
            self.joined(joined);
        }
    }

    fn joined(&mut self, joined: Result<(u64, Delivered), tokio::task::JoinError>) {
        match joined {
            Ok((number, Delivered::Done)) => {
                let mut taken = self.taken.iter_mut();
                if let Some(taken) = taken.find(|taken| taken.number == number) {
                    taken.done = true;
                    self.bytes = self.bytes.saturating_sub(taken.bytes);
                }
            }
            Ok((_, Delivered::Left)) => self.left = true,
            Err(error) => {
                tracing::error!(%error, "exporters.otlp ends in this partition; a restart goes on");
                self.left = true;
            }
        }
    }

    fn pause(&self, pause: Duration) {
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.ends.stop.cancelled() => {}
            }
        });
    }
}
