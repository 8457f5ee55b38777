//! Which partitions of another process's log this listener stores.
//!
//! A partition is held through a lock in its directory, so that one process stores it at a time.
//! Each listener counts the others and takes or leaves partitions until it has its share. It takes
//! what is free within a second, also what a listener leaves behind that was killed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::slots::Slot;
use super::tasks::Tasks;
use super::tees::{Tees, Until};
use super::writers::{Work, Writers};
use crate::queue::{self, Damage, Followed};
use crate::telemetry::health::Check;
use crate::telemetry::logs::chain;
use crate::telemetry::metrics::{Metrics, QueueSample};

/// How often a listener looks for partitions.
const EVERY: Duration = Duration::from_secs(1);

/// The partitions of one listener.
#[derive(Debug)]
pub(super) struct Leases {
    log: PathBuf,
    slot: Slot,
    writers: Arc<Writers>,
    tees: Arc<Tees>,
    metrics: Metrics,
    /// Says whether the log can be used.
    check: Check,
    /// The last failure has been logged.
    complained: bool,
    /// That others share the log has been logged, where it matters.
    warned: bool,
    held: BTreeMap<u32, Lease>,
    /// Damage found under leases that have ended.
    damaged_segments: u64,
    lost_records: u64,
}

/// A partition that is held by a writer thread.
#[derive(Debug)]
struct Lease {
    stop: CancellationToken,
    /// Ends at once what sends the partition elsewhere, which holds it, too.
    abandon_tee: CancellationToken,
    ended: oneshot::Receiver<()>,
    damage: Damage,
}

impl Lease {
    fn has_ended(&mut self) -> bool {
        self.ended.try_recv() != Err(TryRecvError::Empty)
    }
}

impl Leases {
    pub(super) fn new(
        log: PathBuf,
        slot: Slot,
        (writers, tees): (Arc<Writers>, Arc<Tees>),
        metrics: Metrics,
        check: Check,
    ) -> Self {
        Self {
            log,
            slot,
            writers,
            tees,
            metrics,
            check,
            complained: false,
            warned: false,
            held: BTreeMap::new(),
            damaged_segments: 0,
            lost_records: 0,
        }
    }

    /// Takes and leaves partitions until the daemon drains, then leaves all.
    pub(super) fn spawn(mut self, tasks: &Tasks) {
        let shutdown = tasks.shutdown_token();
        tasks.spawn("leases", async move {
            let mut timer = interval(EVERY);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = timer.tick() => self.balance(),
                    () = shutdown.cancelled() => break,
                }
            }
            self.held.values().for_each(|lease| lease.stop.cancel());
        });
    }

    fn balance(&mut self) {
        let ended: Vec<u32> = self
            .held
            .iter_mut()
            .filter_map(|(partition, lease)| lease.has_ended().then_some(*partition))
            .collect();
        for lease in ended.iter().filter_map(|number| self.held.remove(number)) {
            lease.abandon_tee.cancel();
            self.damaged_segments += lease.damage.segments();
            self.lost_records += lease.damage.lost_records();
        }
        let balanced = self.take_and_leave();
        let reason = balanced.err().unwrap_or_default();
        let failing = !reason.is_empty();
        if failing && !self.complained {
            tracing::error!(error = %reason, "can't use the log, will try again");
        }
        self.complained = failing;
        self.check.set(!failing, reason);
        let segments = self.held.values().map(|lease| lease.damage.segments());
        let records = self.held.values().map(|lease| lease.damage.lost_records());
        self.metrics.queue(QueueSample {
            damaged_segments: self.damaged_segments + segments.sum::<u64>(),
            lost_records: self.lost_records + records.sum::<u64>(),
            ..QueueSample::default()
        });
    }

    /// Answers what went wrong with the first partition that something went wrong with. The others
    /// do not wait for it.
    fn take_and_leave(&mut self) -> Result<(), String> {
        let of_log = |reason| format!("{}: {reason}", self.log.display());
        let partitions = queue::shared(&self.log).map_err(|error| of_log(chain(&error)))?;
        let rank = self.slot.rank().map_err(|error| of_log(chain(&error)))?;
        self.warn_of_others(rank.all);
        let share = rank.share_of(partitions.len());
        let kept = |lease: &&Lease| !lease.stop.is_cancelled();
        let count = self.held.values().filter(kept).count();
        let surplus = count.saturating_sub(share);
        for (partition, lease) in self
            .held
            .iter()
            .rev()
            .filter(|(_, lease)| kept(lease))
            .take(surplus)
        {
            tracing::info!(
                partition,
                "leaving a partition of the log to another listener"
            );
            lease.stop.cancel();
        }
        let mut wanted = share.saturating_sub(count);
        // Listeners begin at different places, so that they do not try for the same.
        let start = rank.before * partitions.len() / rank.all.max(1);
        let order = partitions.iter().cycle().skip(start).take(partitions.len());
        let mut failed = Ok(());
        for partition in order {
            if wanted == 0 {
                break;
            }
            if self.held.contains_key(partition) {
                continue;
            }
            match self.take(*partition) {
                Ok(taken) => wanted -= usize::from(taken),
                Err(reason) => failed = failed.and(Err(reason)),
            }
        }
        failed
    }

    /// Requests are dealt to the partitions in turn, so that spans of a trace may be with any listener.
    fn warn_of_others(&mut self, listeners: usize) {
        if listeners > 1 && self.writers.sample_by_tail() && !self.warned {
            self.warned = true;
            tracing::warn!(
                listeners,
                "processors.sampling.tail is on, and other listeners share this log: each decides \
                 about a trace by the spans that it reads, so traces may be stored in part; run one \
                 listener for each log, or sample by head alone"
            );
        }
    }

    /// Takes a partition, unless another process has it; answers whether it did.
    fn take(&mut self, partition: u32) -> Result<bool, String> {
        let directory = queue::directory_of(&self.log, partition);
        let of_partition = |reason| format!("{}: {reason}", directory.display());
        let followed = queue::follow_and_send(&directory, self.tees.hold());
        match followed.map_err(|error| of_partition(chain(&error)))? {
            Some(followed) => {
                let held = self.hold(partition, followed);
                held.map_err(|error| of_partition(chain(&error)))?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn hold(&mut self, partition: u32, followed: Followed) -> Result<(), super::Error> {
        let Followed {
            id,
            reader,
            release,
            damage,
            tee,
        } = followed;
        tracing::info!(partition, log = %id, "storing a partition of the log");
        let stop = CancellationToken::new();
        let abandon_tee = self.tees.abandon_token();
        let until = Until::Told(stop.clone(), abandon_tee.clone());
        self.tees.spawn(partition, tee, until)?;
        let ended = self.writers.spawn(Work {
            log_id: id,
            partition,
            reader,
            release,
            stop: stop.clone(),
            may_end: true,
        })?;
        let lease = Lease {
            stop,
            abandon_tee,
            ended,
            damage,
        };
        self.held.insert(partition, lease);
        Ok(())
    }
}
