//! Storing and sending one log, against a model of what must come of it: a segment goes when it is
//! both stored and sent.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::follow::{end, open_shared};
use super::tee::{PLENTY, Sending, open_sending};
use super::*;
use crate::queue::file::Disk;
use crate::queue::follow::follow_on;

#[derive(Debug, Clone)]
enum Operation {
    /// These many bytes each, all at once.
    Append(Vec<usize>),
    /// Reads up to so many records and stores them.
    Store(usize),
    /// Reads up to so many records for the other backend.
    Read(usize),
    /// This share of what has been read is sent, in quarters.
    Send(usize),
    /// Ends gracefully and starts.
    Reopen,
    Kill,
    PowerLoss(u64),
    FailSyncs(u32),
    FailWrites(u32),
    Full(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = prop_oneof![6 => 0..300_usize, 3 => 300..6000_usize, 1 => 6000..40_000_usize];
    prop_oneof![
        12 => prop::collection::vec(size, 1..12).prop_map(Operation::Append),
        8 => (1..30_usize).prop_map(Operation::Store),
        6 => (1..30_usize).prop_map(Operation::Read),
        4 => (1..5_usize).prop_map(Operation::Send),
        1 => Just(Operation::Reopen),
        2 => Just(Operation::Kill),
        2 => any::<u64>().prop_map(Operation::PowerLoss),
        2 => (1..3_u32).prop_map(Operation::FailSyncs),
        1 => (1..3_u32).prop_map(Operation::FailWrites),
        1 => any::<bool>().prop_map(Operation::Full),
    ]
}

/// Record ids and lengths.
type Content = (u64, usize);

/// The consumers' ends, in one process with the log or in another.
struct Ends {
    id: Option<LogId>,
    reader: Reader,
    release: Option<Release>,
    tee: Tee,
}

struct World {
    disk: SimDisk,
    config: Config,
    hold: Hold,
    /// Storing and sending are another process's.
    apart: bool,
    log: Log,
    ends: Option<Ends>,
    /// Read to be sent, and not sent yet.
    read: Vec<Record>,
    acknowledged: BTreeSet<Content>,
    refused: HashSet<Content>,
    stored: BTreeSet<Content>,
    sent: BTreeSet<Content>,
    /// The store's checkpoints; all under one name where they are not kept by life.
    checkpoints: BTreeMap<Option<LogId>, Position>,
    given_up: u64,
    next_id: u64,
}

fn content(record: &Record) -> Content {
    (record.received_unix_nano, record.payload.len())
}

fn open_log(
    disk: &SimDisk,
    config: &Config,
    (hold, apart): (Hold, bool),
    stored: Position,
) -> (Log, Option<Ends>) {
    if apart {
        return (open_shared(disk, config), None);
    }
    let Sending { log, reader, tee } = open_sending(disk, config, stored.0.max(1), hold);
    let ends = Ends {
        id: None,
        reader,
        release: None,
        tee,
    };
    (log, Some(ends))
}

impl World {
    fn new(durability: Durability, hold: Hold, apart: bool) -> Self {
        let disk = SimDisk::default();
        let config = Config {
            durability,
            ..small()
        };
        let (log, ends) = open_log(&disk, &config, (hold, apart), Position(1));
        let mut world = Self {
            disk,
            config,
            hold,
            apart,
            log,
            ends,
            read: Vec::new(),
            acknowledged: BTreeSet::new(),
            refused: HashSet::new(),
            stored: BTreeSet::new(),
            sent: BTreeSet::new(),
            checkpoints: BTreeMap::new(),
            given_up: 0,
            next_id: 1,
        };
        eventually("the log to be there", || world.ends().is_some());
        world
    }

    fn ends(&mut self) -> Option<&mut Ends> {
        if self.ends.is_none() && self.apart {
            let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
            let followed = follow_on(&disk, None, Some(self.hold)).ok()??;
            let Followed {
                id,
                mut reader,
                mut release,
                tee,
                ..
            } = followed;
            let checkpoint = self.checkpoints.get(&Some(id)).copied();
            release.upto(reader.skip_stored(checkpoint.unwrap_or_default()));
            self.read.clear();
            self.ends = Some(Ends {
                id: Some(id),
                reader,
                release: Some(release),
                tee: tee.unwrap(),
            });
        }
        self.ends.as_mut()
    }

    fn append(&mut self, sizes: &[usize]) {
        let contents: Vec<Content> = (self.next_id..).zip(sizes.iter().copied()).collect();
        self.next_id += sizes.len() as u64;
        let log = self.log.clone();
        let appends = contents
            .iter()
            .map(|(id, length)| log.append(entry(*id, *length)));
        for (answer, content) in block_on(join_all(appends)).into_iter().zip(contents) {
            match answer {
                Ok(_) => drop(self.acknowledged.insert(content)),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    self.refused.insert(content);
                }
            }
        }
    }

    fn store(&mut self, count: usize) {
        let Some(ends) = self.ends() else {
            return;
        };
        let mut records = Vec::new();
        let mut ended = false;
        while records.len() < count {
            match ends.reader.next(AT_ONCE).unwrap() {
                Next::Record(record) => records.push(record),
                Next::Idle => break,
                Next::Closed => {
                    ended = true;
                    break;
                }
            }
        }
        let next = ends.reader.position();
        let id = ends.id;
        match &mut ends.release {
            Some(release) => release.upto(next),
            None => self.log.release(next),
        }
        for record in &records {
            let content = content(record);
            let ours = self.acknowledged.contains(&content) || self.refused.contains(&content);
            assert!(ours, "not from us");
            self.stored.insert(content);
        }
        let checkpoint = self.checkpoints.entry(id).or_default();
        *checkpoint = next.max(*checkpoint);
        if ended && self.apart {
            self.ends = None;
        }
    }

    fn read(&mut self, count: usize) {
        let mut read = std::mem::take(&mut self.read);
        let fresh = self.ends.is_none();
        let Some(ends) = self.ends() else {
            return;
        };
        if fresh {
            read.clear();
        }
        let mut ended = false;
        for _ in 0..count {
            // The simulated disk does not read on in a file that was removed; a real one does.
            let Ok(next) = ends.tee.reader.next(AT_ONCE) else {
                continue;
            };
            match next {
                Next::Record(record) => {
                    let last = read.last();
                    assert!(last.is_none_or(|last| last.position < record.position));
                    let (id, length) = content(&record);
                    assert_record(&record, record.position.0, id, length);
                    read.push(record);
                }
                Next::Idle => break,
                Next::Closed => {
                    ended = true;
                    break;
                }
            }
        }
        self.read = read;
        if ended && self.apart {
            self.send(4);
            self.ends = None;
        }
    }

    fn send(&mut self, quarters: usize) {
        let count = self.read.len() * quarters / 4;
        let sent: Vec<Record> = self.read.drain(..count).collect();
        let (Some(ends), Some(last)) = (&mut self.ends, sent.last()) else {
            return;
        };
        ends.tee.release.upto(Position(last.position.0 + 1));
        self.sent.extend(sent.iter().map(content));
    }

    /// Ends both processes.
    fn stop(&mut self) {
        self.log.close();
        block_on(self.log.ended());
        self.given_up += self.log.stats().given_up_records;
        self.ends = None;
        self.read.clear();
    }

    fn start(&mut self) {
        self.disk.restart();
        self.disk.set_full(false);
        let stored = self.checkpoints.get(&None).copied().unwrap_or_default();
        let how = (self.hold, self.apart);
        (self.log, self.ends) = open_log(&self.disk, &self.config, how, stored);
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(sizes) => self.append(sizes),
            Operation::Store(count) => self.store(*count),
            Operation::Read(count) => self.read(*count),
            Operation::Send(quarters) => self.send(*quarters),
            Operation::Reopen => {
                self.stop();
                self.start();
            }
            Operation::Kill => {
                self.disk.kill();
                self.stop();
                self.start();
            }
            Operation::PowerLoss(seed) => {
                self.disk.kill();
                self.stop();
                let mut state = *seed;
                self.disk.power_loss(|| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state >> 63 == 1
                });
                if self.config.durability == Durability::OsBuffered {
                    // Not promised any more.
                    self.refused.extend(std::mem::take(&mut self.acknowledged));
                }
                self.start();
            }
            Operation::FailSyncs(count) => self.disk.fail_syncs(*count),
            Operation::FailWrites(count) => self.disk.fail_writes(*count),
            Operation::Full(full) => self.disk.set_full(*full),
        }
    }

    /// Lets everything be stored and sent, and looks at what was.
    fn finish(&mut self) {
        self.disk.restart();
        self.disk.set_full(false);
        eventually("everything to be stored", || {
            self.store(usize::MAX);
            self.acknowledged.is_subset(&self.stored)
        });
        eventually("everything to be sent", || {
            self.read(usize::MAX);
            self.send(4);
            let given_up = self.given_up + self.log.stats().given_up_records;
            let missing = self.acknowledged.difference(&self.sent).count();
            missing as u64 <= given_up
        });
        eventually("nothing to be kept", || {
            self.store(usize::MAX);
            self.read(usize::MAX);
            self.send(4);
            if let Some(ends) = &mut self.ends {
                // What is missing at the end is not waited for.
                ends.tee.release.upto(ends.tee.reader.position());
            }
            self.log.stats().held_bytes == 0
        });
        end(&self.log);
    }
}

fn run(mut world: World, operations: &[Operation]) {
    for operation in operations {
        world.apply(operation);
    }
    world.finish();
}

const LITTLE: Hold = Hold {
    bytes_max: 48 << 10,
    refuses: false,
};
const REFUSING: Hold = Hold {
    bytes_max: 48 << 10,
    refuses: true,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Scenario: one log is stored and sent at paces of their own, in one process or two, through
    // kills, power losses that take back unsynced notes, failing syncs and writes, and full disks.
    // Guarantees: everything acknowledged is stored, and sent but for what was given up and counted;
    // in the end nothing is kept.
    #[test]
    fn what_is_acknowledged_is_stored_and_sent(
        operations in prop::collection::vec(operation(), 1..40),
        apart in any::<bool>(),
    ) {
        run(World::new(Durability::SyncBeforeAck, PLENTY, apart), &operations);
    }

    // Scenario: the same, with little room for what is kept.
    #[test]
    fn what_is_given_up_is_counted(
        operations in prop::collection::vec(operation(), 1..40),
        apart in any::<bool>(),
    ) {
        run(World::new(Durability::SyncBeforeAck, LITTLE, apart), &operations);
    }

    // Scenario: the same, where requests are refused instead.
    // Guarantees: nothing is given up.
    #[test]
    fn nothing_is_given_up_where_that_is_not_wanted(
        operations in prop::collection::vec(operation(), 1..40),
        apart in any::<bool>(),
    ) {
        let world = World::new(Durability::SyncBeforeAck, REFUSING, apart);
        let log = world.log.clone();
        run(world, &operations);
        assert_eq!(log.stats().given_up_records, 0);
    }

    // Scenario: the same, when acknowledged records may not survive a power loss.
    // Guarantees: what comes after it is sent though it has positions that were sent before.
    #[test]
    fn a_power_loss_hides_nothing_from_who_sends(
        operations in prop::collection::vec(operation(), 1..40),
        apart in any::<bool>(),
    ) {
        run(World::new(Durability::OsBuffered, PLENTY, apart), &operations);
    }
}
