//! Records that wait until more is known of their traces.
//!
//! It stands between the log and the writer: records are read, looked at, and handed on in the order
//! of the log, once others that tell of the same traces have had time to come. A record that
//! waits is not stored, so it is not released either, and is read again after a crash. What is decided
//! about a trace when its first record is handed on goes by all that was read of it until then.
//!
//! Time is that of the log: a record has waited when one that was received so much later has been read,
//! or when the log is quiet and the clock says so. So a log that is read again decides alike, and a
//! backlog is looked through as it would have been when it came. When the clock was set back, that time
//! goes back with it. Spans of a trace may be in any partition of the log, so the others are waited for,
//! too, until they have been read as far; but not one that is not read any further.
//!
//! At the end of the log, nothing more can come: what is left is decided about at once, and counted as
//! early.

mod traces;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StorageExporter;
use super::assemble::{Assembler, Sampling};
use crate::pipeline::clock::Clock;
use crate::pricing;
use crate::processors::sampling::tail::Tail;
use crate::queue::{Error, Next, PayloadKind, Position, Reader, Record};
use crate::telemetry::metrics::Metrics;

pub use traces::Traces;
pub(super) use traces::Verdicts;
use traces::{Glance, Key};

/// Rows looked at together.
const ROWS_MAX: usize = 4096;

/// Memory of a waiting record besides its payload, bytes.
const RECORD_BYTES: u64 = 128;

/// How often it is looked whether other partitions have got as far.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Longest that another partition is waited for that is not read any further.
const PATIENCE: Duration = Duration::from_secs(5);

/// A record that waits.
struct Waiter {
    record: Record,
    /// Since when it waits, ns: how far the log had been looked through with it.
    since: u64,
    /// Its traces, each once.
    traces: Vec<Key>,
    /// Memory it takes.
    bytes: u64,
}

/// The records of a partition that wait.
pub(super) struct Waiting {
    records: VecDeque<Waiter>,
    /// Memory they take.
    bytes: u64,
    bytes_max: u64,
    /// Among how many partitions the memory is divided.
    partitions: u64,
    wait_ns: u64,
    /// How far the log has been looked through: when what was read last was received, ns.
    seen_until: u64,
    /// Nothing more comes.
    closed: bool,
    partition: u32,
    traces: Arc<Traces>,
    metrics: Metrics,
}

impl StorageExporter {
    /// What makes records wait, if anything does.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let tail = self.sampler.as_ref()?.tail.as_ref()?;
        let (traces, partitions) = self.traces.as_ref()?;
        let (traces, metrics) = (Arc::clone(traces), self.metrics.clone());
        let place = (self.partition, *partitions);
        Some(Waiting::new(tail, traces, metrics, place))
    }

    /// The next record that is to be stored, waiting for it up to `wait`.
    ///
    /// # Errors
    /// As the reader's.
    pub(super) fn next(
        &mut self,
        wait: Duration,
        waiting: &mut Option<Waiting>,
        (prices, verdicts): (&pricing::Book, &mut Verdicts),
    ) -> Result<Next, Error> {
        let Some(waiting) = waiting else {
            return self.reader.next(wait);
        };
        let sampling = self.sampler.as_deref().map(|sampler| Sampling {
            sampler,
            verdicts: None,
        });
        let assembler = Assembler::new(self.partition, &self.limits)
            .priced(prices)
            .sampled(sampling);
        let clock = self.clock.as_ref();
        waiting.next(&mut self.reader, &assembler, clock, (wait, verdicts))
    }
}

impl Waiting {
    /// `traces`: of all partitions, among which the memory is divided.
    pub(super) fn new(
        tail: &Tail,
        traces: Arc<Traces>,
        metrics: Metrics,
        (partition, partitions): (u32, u32),
    ) -> Self {
        traces.expect(partition);
        let partitions = u64::from(partitions.max(1));
        Self {
            records: VecDeque::new(),
            bytes: 0,
            bytes_max: tail.memory / partitions,
            partitions,
            wait_ns: tail.wait_ns,
            seen_until: 0,
            closed: false,
            partition,
            traces,
            metrics,
        }
    }

    /// Position of the first record that has not been handed on, if any waits.
    pub(super) fn position(&self) -> Option<Position> {
        self.records.front().map(|first| first.record.position)
    }

    /// The next record that has waited long enough, as [`Reader::next`].
    ///
    /// # Errors
    /// As the reader's.
    pub(super) fn next(
        &mut self,
        reader: &mut Reader,
        assembler: &Assembler<'_>,
        clock: &dyn Clock,
        (wait, verdicts): (Duration, &mut Verdicts),
    ) -> Result<Next, Error> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(record) = self.hand_on(verdicts) {
                return Ok(Next::Record(record));
            }
            if self.closed && self.records.is_empty() {
                return Ok(Next::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.closed {
                std::thread::sleep(left.min(LOOK_AGAIN));
            } else {
                let due_in = self.due_in(clock.unix_nano());
                match reader.next(left.min(due_in))? {
                    Next::Record(record) => self.take(record, assembler),
                    Next::Idle => self.looked_until(clock.unix_nano()),
                    Next::Closed => self.close(),
                }
            }
            let has_time = Instant::now() < deadline;
            if !has_time && !self.is_due() {
                return Ok(Next::Idle);
            }
        }
    }

    /// The log has been looked through as far as what was received until a time.
    fn looked_until(&mut self, time: u64) {
        if time < self.seen_until.saturating_sub(self.wait_ns) {
            // The clock was set back: what waits, waits from now on, and so does what comes.
            self.seen_until = time;
            for waiter in &mut self.records {
                waiter.since = waiter.since.min(time);
            }
            self.traces.set_back(time);
        }
        self.seen_until = self.seen_until.max(time);
        self.traces.looked_until(self.partition, self.seen_until);
    }

    /// Nothing more comes: nobody needs to wait for this partition.
    fn close(&mut self) {
        self.closed = true;
        self.traces.looked_until(self.partition, u64::MAX);
    }

    /// How long it takes until the first record has waited, if nothing more comes; until one should look
    /// again.
    fn due_in(&self, now: u64) -> Duration {
        let first = self.records.front();
        let due = first.map_or(u64::MAX, |first| self.due(first));
        match Duration::from_nanos(due.saturating_sub(now)) {
            // Others are waited for, or wait for this one.
            Duration::ZERO => LOOK_AGAIN,
            due_in => due_in.min(LOOK_AGAIN),
        }
    }

    const fn due(&self, waiter: &Waiter) -> u64 {
        waiter.since.saturating_add(self.wait_ns)
    }

    const fn has_waited(&self, waiter: &Waiter) -> bool {
        self.due(waiter) <= self.seen_until
    }

    fn is_due(&self) -> bool {
        let Some(first) = self.records.front() else {
            return false;
        };
        if self.bytes + self.traces.bytes() / self.partitions > self.bytes_max {
            return true;
        }
        let patience = PATIENCE.min(Duration::from_nanos(self.wait_ns));
        (self.closed || self.has_waited(first))
            && self.traces.all_looked_until(self.due(first), patience)
    }

    /// Takes a record in, and what it tells of its traces.
    fn take(&mut self, record: Record, assembler: &Assembler<'_>) {
        let mut glance = Glance::default();
        // Spans are made of some log records.
        if record.kind != PayloadKind::OtlpMetrics {
            let records = std::slice::from_ref(&record);
            let looked = assembler.slices(records, ROWS_MAX, &mut |slice| {
                self.traces.look(&slice.batch, &mut glance);
                Ok::<(), std::convert::Infallible>(())
            });
            match looked {
                Ok(()) => {}
                Err(never) => match never {},
            }
        }
        self.looked_until(record.received_unix_nano);
        let bytes = RECORD_BYTES + record.payload.len() as u64 + glance.bytes;
        self.bytes += bytes;
        self.traces.waits(&self.metrics, 1, bytes.cast_signed());
        self.records.push_back(Waiter {
            record,
            since: self.seen_until,
            traces: glance.traces.into_iter().collect(),
            bytes,
        });
    }

    /// The first record, if it is due, and what becomes of its traces.
    fn hand_on(&mut self, verdicts: &mut Verdicts) -> Option<Record> {
        if !self.is_due() {
            return None;
        }
        let first = self.records.pop_front()?;
        if !self.has_waited(&first) {
            self.metrics.sampling_early();
        }
        self.bytes -= first.bytes;
        self.traces
            .decide(&self.metrics, first.since, &first.traces, verdicts);
        let bytes = first.bytes.cast_signed();
        self.traces.waits(&self.metrics, -1, -bytes);
        Some(first.record)
    }
}

impl Drop for Waiting {
    /// What waits is for who reads the log next.
    fn drop(&mut self) {
        self.traces.expect_no_more(self.partition);
        for waiter in self.records.drain(..) {
            self.traces.leave(&waiter.traces);
            let bytes = waiter.bytes.cast_signed();
            self.traces.waits(&self.metrics, -1, -bytes);
        }
    }
}

#[cfg(test)]
mod tests;
