//! Appending in one process and storing in another, against a model of what must come of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::follow::{end, follow_sim, open_shared};
use super::sweep::extents;
use super::*;

#[derive(Debug, Clone)]
enum Operation {
    /// These many bytes each, all at once.
    Append(Vec<usize>),
    /// Up to so many records.
    Read(usize),
    /// What has been read is stored, and noted.
    Store,
    /// What has been read is stored; the storing process dies before it can say so.
    StoreAndDie,
    /// The storing process dies with what it has read.
    Die,
    /// The appending process ends gracefully; the next append starts it again.
    Stop,
    /// The appending process is killed and started again.
    Kill,
    /// Both die with the machine, and the note may go back in time.
    PowerLoss(u64),
    FailSyncs(u32),
    FailWrites(u32),
    Full(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = prop_oneof![6 => 0..300_usize, 3 => 300..6000_usize, 1 => 6000..40_000_usize];
    prop_oneof![
        12 => prop::collection::vec(size, 1..12).prop_map(Operation::Append),
        10 => (1..30_usize).prop_map(Operation::Read),
        6 => Just(Operation::Store),
        1 => Just(Operation::StoreAndDie),
        1 => Just(Operation::Die),
        1 => Just(Operation::Stop),
        2 => Just(Operation::Kill),
        2 => any::<u64>().prop_map(Operation::PowerLoss),
        2 => (1..3_u32).prop_map(Operation::FailSyncs),
        1 => (1..3_u32).prop_map(Operation::FailWrites),
        1 => any::<bool>().prop_map(Operation::Full),
    ]
}

/// Record ids and lengths.
type Content = (u64, usize);

struct World {
    disk: SimDisk,
    config: Config,
    log: Option<Log>,
    followed: Option<Followed>,
    /// Read and not stored yet.
    pending: Vec<Record>,
    acknowledged: BTreeSet<Content>,
    refused: HashSet<Content>,
    /// What the store has.
    stored: BTreeSet<Content>,
    /// The store's checkpoints.
    checkpoints: BTreeMap<LogId, Position>,
    next_id: u64,
}

impl World {
    fn new(durability: Durability) -> Self {
        Self {
            disk: SimDisk::default(),
            config: Config {
                durability,
                ..small()
            },
            log: None,
            followed: None,
            pending: Vec::new(),
            acknowledged: BTreeSet::new(),
            refused: HashSet::new(),
            stored: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            next_id: 1,
        }
    }

    fn log(&mut self) -> Log {
        let log = self.log.take();
        let log = log.unwrap_or_else(|| open_shared(&self.disk, &self.config));
        self.log = Some(log.clone());
        log
    }

    fn append(&mut self, sizes: &[usize]) {
        let contents: Vec<Content> = (self.next_id..).zip(sizes.iter().copied()).collect();
        self.next_id += sizes.len() as u64;
        let log = self.log();
        let appends = contents
            .iter()
            .map(|(id, length)| log.append(entry(*id, *length)));
        for (answer, content) in block_on(join_all(appends)).into_iter().zip(contents) {
            match answer {
                Ok(_) => {
                    self.acknowledged.insert(content);
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    self.refused.insert(content);
                }
            }
        }
    }

    /// Reads until there is nothing now; whether the log has begun a new life.
    fn read(&mut self, count: usize) {
        if self.followed.is_none() {
            self.followed = follow_sim(&self.disk);
            if let Some(followed) = &mut self.followed {
                let checkpoint = self.checkpoints.get(&followed.id).copied();
                let stored = followed.reader.skip_stored(checkpoint.unwrap_or_default());
                followed.release.upto(stored);
            }
        }
        let Some(followed) = &mut self.followed else {
            return;
        };
        for _ in 0..count {
            match followed.reader.next(AT_ONCE).unwrap() {
                Next::Record(record) => {
                    let last = self.pending.last();
                    assert!(last.is_none_or(|last| last.position < record.position));
                    let content = (record.received_unix_nano, record.payload.len());
                    assert_record(&record, record.position.0, content.0, content.1);
                    let promised = self.acknowledged.contains(&content);
                    assert!(promised || self.refused.contains(&content), "not from us");
                    if promised && self.config.durability == Durability::SyncBeforeAck {
                        assert_durable(&self.disk, record.position.0);
                    }
                    self.pending.push(record);
                }
                Next::Idle => return,
                Next::Closed => {
                    self.store(true);
                    self.followed = None;
                    return;
                }
            }
        }
    }

    fn store(&mut self, noted: bool) {
        let Some(followed) = &mut self.followed else {
            return;
        };
        if noted {
            // After what follows; nothing comes between in this process.
            followed.release.upto(followed.reader.position());
        }
        let Some(last) = self.pending.last() else {
            return;
        };
        let next = Position(last.position.0 + 1);
        // A damaged record would be lost; nothing damages one here, but a refused one that had
        // come back may go again.
        assert!(followed.damage.lost_records() <= self.refused.len() as u64);
        let checkpoint = self.checkpoints.entry(followed.id).or_default();
        assert!(*checkpoint < next, "stored again under the same name");
        *checkpoint = next;
        for record in self.pending.drain(..) {
            let content = (record.received_unix_nano, record.payload.len());
            self.stored.insert(content);
        }
    }

    fn die(&mut self) {
        self.followed = None;
        self.pending.clear();
    }

    fn kill(&mut self) {
        self.disk.kill();
        if let Some(log) = self.log.take() {
            end(&log);
        }
        self.disk.restart();
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(sizes) => self.append(sizes),
            Operation::Read(count) => self.read(*count),
            Operation::Store => self.store(true),
            Operation::StoreAndDie => {
                self.store(false);
                self.die();
            }
            Operation::Die => self.die(),
            Operation::Stop => {
                if let Some(log) = self.log.take() {
                    end(&log);
                }
            }
            Operation::Kill => {
                self.kill();
                self.disk.set_full(false);
                self.log();
            }
            Operation::PowerLoss(seed) => {
                self.die();
                self.kill();
                let mut state = *seed;
                self.disk.power_loss(|| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state >> 63 == 1
                });
                if self.config.durability == Durability::OsBuffered {
                    // Not promised any more; what is stored stays.
                    self.refused.extend(std::mem::take(&mut self.acknowledged));
                }
                self.log();
            }
            Operation::FailSyncs(count) => self.disk.fail_syncs(*count),
            Operation::FailWrites(count) => self.disk.fail_writes(*count),
            Operation::Full(full) => self.disk.set_full(*full),
        }
    }

    /// Lets everything be stored, and looks at what was.
    fn finish(&mut self) {
        self.disk.restart();
        self.disk.set_full(false);
        let log = self.log();
        eventually("everything to be stored", || {
            self.read(usize::MAX);
            self.store(true);
            self.acknowledged.is_subset(&self.stored)
        });
        eventually("everything to be released", || {
            self.read(usize::MAX);
            self.store(true);
            log.stats().unstored_records == 0
        });
        end(&log);
    }
}

fn assert_durable(disk: &SimDisk, position: u64) {
    // The log thread goes on with the other one.
    let disk = &disk.fork();
    let names = disk.names();
    let segments = names
        .iter()
        .rev()
        .filter(|name| Identity::parse(name).is_some());
    for name in segments {
        let found = extents(disk, name);
        if let Some(extent) = found.iter().find(|extent| extent.position == position) {
            assert!(
                disk.is_durable(name, extent.start..extent.end),
                "{position} in {name}"
            );
            return;
        }
    }
    panic!("record {position} was read and is in no segment");
}

fn run(durability: Durability, operations: &[Operation]) {
    let mut world = World::new(durability);
    for operation in operations {
        world.apply(operation);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Scenario: one process appends and another stores, in any order of appends, reads, commits,
    // kills of either, graceful ends, power losses that take back unsynced notes, failing syncs
    // and writes, and full disks.
    // Guarantees: what was acknowledged is stored; what is read is durable, in order, and from us;
    // what is stored is released.
    #[test]
    fn what_one_process_acknowledges_another_stores(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        run(Durability::SyncBeforeAck, &operations);
    }

    // Scenario: the same, when acknowledged records may not survive a power loss.
    // Guarantees: a power loss costs at most what was acknowledged before it; nothing that is
    // appended after it is taken for what was stored before.
    #[test]
    fn a_power_loss_never_hides_what_comes_after_it(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        run(Durability::OsBuffered, &operations);
    }
}
