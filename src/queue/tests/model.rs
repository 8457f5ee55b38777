//! The log against a model of it, under everything that can happen to it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::sweep::extents;
use super::*;

#[derive(Debug, Clone)]
enum Operation {
    /// These many bytes each, all at once.
    Append(Vec<usize>),
    Read(usize),
    /// This share of what has been read, in quarters.
    Release(u64),
    /// A graceful stop and a start.
    Reopen,
    /// `kill -9` and a start.
    Kill,
    /// A power loss and a start; the number seeds what survives.
    PowerLoss(u64),
    /// A stop, a flipped bit somewhere in a segment, a start.
    Flip(usize, usize),
    /// A stop, a segment cut somewhere, a start.
    Truncate(usize, usize),
    FailSyncs(u32),
    FailWrites(u32),
    Full(bool),
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = prop_oneof![6 => 0..300_usize, 3 => 300..6000_usize, 1 => 6000..40_000_usize];
    prop_oneof![
        12 => prop::collection::vec(size, 1..12).prop_map(Operation::Append),
        8 => (1..30_usize).prop_map(Operation::Read),
        4 => (1..5_u64).prop_map(Operation::Release),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Kill),
        2 => any::<u64>().prop_map(Operation::PowerLoss),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(file, bit)| Operation::Flip(file, bit)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(file, cut)| Operation::Truncate(file, cut)),
        2 => (1..3_u32).prop_map(Operation::FailSyncs),
        1 => (1..3_u32).prop_map(Operation::FailWrites),
        1 => any::<bool>().prop_map(Operation::Full),
    ]
}

/// Record ids and lengths.
type Content = (u64, usize);

/// The log and what must be in it.
struct World {
    disk: SimDisk,
    log: Log,
    reader: Reader,
    /// Every acknowledged record that may still be in the log.
    acknowledged: BTreeMap<u64, Content>,
    /// Refused records; they may come back after a restart, like any request without an answer.
    refused: HashSet<Content>,
    /// Positions of refused records that a restart found: read like the others, but not promised,
    /// as they may never have reached the disk.
    unpromised: BTreeSet<u64>,
    /// Positions of acknowledged records that damage has cost.
    gone: BTreeSet<u64>,
    stored: u64,
    read: u64,
    next_id: u64,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::default();
        let (log, reader, _) = open_sim(&disk, &small(), 1);
        Self {
            disk,
            log,
            reader,
            acknowledged: BTreeMap::new(),
            refused: HashSet::new(),
            unpromised: BTreeSet::new(),
            gone: BTreeSet::new(),
            stored: 1,
            read: 1,
            next_id: 1,
        }
    }

    fn append(&mut self, sizes: &[usize]) {
        let contents: Vec<Content> = (self.next_id..).zip(sizes.iter().copied()).collect();
        self.next_id += sizes.len() as u64;
        let appends = contents
            .iter()
            .map(|(id, length)| self.log.append(entry(*id, *length)));
        for (answer, content) in block_on(join_all(appends)).into_iter().zip(contents) {
            match answer {
                Ok(position) => {
                    let before = self.acknowledged.insert(position.0, content);
                    assert_eq!(before, None, "{position:?} was given twice");
                }
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    self.refused.insert(content);
                }
            }
        }
    }

    /// Reads in the same run: exactly what was acknowledged.
    fn read(&mut self, count: usize) {
        for _ in 0..count {
            let expected = self.acknowledged.range(self.read..).next();
            let record = take(&mut self.reader);
            let Some((position, (id, length))) = expected else {
                assert_eq!(record, None);
                return;
            };
            assert_record(&record.expect("a record"), *position, *id, *length);
            self.read = position + 1;
        }
    }

    fn release(&mut self, quarters: u64) {
        self.stored += (self.read - self.stored) * quarters / 4;
        self.log.release(Position(self.stored));
        self.acknowledged = self.acknowledged.split_off(&self.stored);
    }

    /// Starts on what the disk holds now; records at these positions may be missing.
    fn start(&mut self, hit: &HashSet<u64>) {
        self.disk.restart();
        let (log, reader, report) = open_sim(&self.disk, &small(), self.stored);
        (self.log, self.reader) = (log, reader);
        let records = drain(&mut self.reader);
        let found: BTreeMap<u64, &Record> = records
            .iter()
            .map(|record| (record.position.0, record))
            .collect();
        assert_eq!(found.len(), records.len());
        assert!(records.is_sorted_by_key(|record| record.position));
        assert_eq!(report.records, records.len() as u64);
        for (position, (id, length)) in &self.acknowledged {
            match found.get(position) {
                Some(record) => assert_record(record, *position, *id, *length),
                // Came back though it was refused, so the log may count it when it goes.
                None if self.unpromised.contains(position) => {
                    self.gone.insert(*position);
                }
                None => {
                    assert!(hit.contains(position), "record {position} is gone");
                    self.gone.insert(*position);
                }
            }
        }
        let end = report.next_position.0;
        let holes = (self.stored..end)
            .filter(|position| !found.contains_key(position))
            .count();
        assert_eq!(holes as u64, report.lost_records + report.torn_records);
        // Beyond the end they are kept: what a later start finds may move the end up again.
        self.gone.retain(|position| *position >= self.stored);
        let gone = self.gone.range(..end).count() as u64;
        assert!(report.lost_records <= gone, "{report:?}, {:?}", self.gone);
        assert_eq!(self.log.stats().lost_records, report.lost_records);
        let mut acknowledged = BTreeMap::new();
        for (position, record) in found {
            let content = (record.received_unix_nano, record.payload.len());
            let known = self.acknowledged.get(&position) == Some(&content);
            assert!(
                known || self.refused.contains(&content),
                "{position} is not from us"
            );
            assert_record(record, position, content.0, content.1);
            if !known {
                self.unpromised.insert(position);
            }
            acknowledged.insert(position, content);
        }
        self.unpromised
            .retain(|position| acknowledged.contains_key(position));
        self.acknowledged = acknowledged;
        self.read = end;
    }

    fn stop(&mut self) {
        close(&self.log, &mut self.reader);
    }

    fn kill(&mut self) {
        self.disk.kill();
        self.stop();
    }

    /// Damages a segment at a byte chosen by `place`; returns the positions that are hit.
    fn damage(
        &mut self,
        file: usize,
        damage: impl FnOnce(&mut Vec<u8>) -> std::ops::Range<usize>,
    ) -> HashSet<u64> {
        self.stop();
        let mut names = self.disk.names();
        names.retain(|name| Identity::parse(name).is_some());
        let Some(name) = names.get(file % names.len().max(1)) else {
            return HashSet::new();
        };
        let mut contents = self.disk.contents(name);
        if contents.is_empty() {
            return HashSet::new();
        }
        let extents = extents(&self.disk, name);
        let range = damage(&mut contents);
        self.disk.overwrite(name, contents);
        let hit = extents
            .iter()
            .filter(|extent| extent.start < range.end && range.start < extent.end);
        hit.map(|extent| extent.position).collect()
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(sizes) => self.append(sizes),
            Operation::Read(count) => self.read(*count),
            Operation::Release(quarters) => self.release(*quarters),
            Operation::Reopen => {
                self.stop();
                self.start(&HashSet::new());
            }
            Operation::Kill => {
                self.kill();
                self.start(&HashSet::new());
            }
            Operation::PowerLoss(seed) => {
                self.kill();
                let mut state = *seed;
                self.disk.power_loss(|| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    state >> 63 == 1
                });
                self.start(&HashSet::new());
            }
            Operation::Flip(file, bit) => {
                let hit = self.damage(*file, |contents| {
                    let byte = (bit / 8) % contents.len();
                    contents[byte] ^= 1 << (bit % 8);
                    byte..byte + 1
                });
                self.start(&hit);
            }
            Operation::Truncate(file, cut) => {
                let hit = self.damage(*file, |contents| {
                    let cut = cut % contents.len();
                    contents.truncate(cut);
                    cut..usize::MAX
                });
                self.start(&hit);
            }
            Operation::FailSyncs(count) => self.disk.fail_syncs(*count),
            Operation::FailWrites(count) => self.disk.fail_writes(*count),
            Operation::Full(full) => self.disk.set_full(*full),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Scenario: any sequence of appends, reads, releases, restarts, crashes, power losses, damage,
    // failing syncs and writes, and full disks.
    // Guarantees: what was acknowledged and not released comes back exactly once and in order;
    // damage costs at most the records it hits and is counted; nothing else ever comes back.
    #[test]
    fn acknowledged_records_survive_everything_but_damage_to_themselves(
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let mut world = World::new();
        for operation in &operations {
            world.apply(operation);
        }
        world.stop();
        world.start(&HashSet::new());
        world.stop();
    }
}
