//! Appending in one process and storing in another: two sets of objects on one directory or disk.

use super::sweep::extents;
use super::*;
use crate::queue::file::Disk;
use crate::queue::follow::follow_on;

pub(super) fn open_shared(disk: &SimDisk, config: &Config) -> Log {
    let host = Host {
        stored_elsewhere: true,
        ..host()
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    open_on(&disk, config, Start::Noted, Arc::new(()), host)
        .unwrap()
        .log
}

pub(super) fn follow_sim(disk: &SimDisk) -> Option<Followed> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    follow_on(&disk, None, None).unwrap()
}

/// Reads as much as there will be, which may be noted a moment after it was acknowledged.
fn read_all(followed: &mut Followed, until: u64) -> Vec<Record> {
    let mut records = Vec::new();
    eventually("all records", || {
        while let Some(record) = take(&mut followed.reader) {
            records.push(record);
        }
        records
            .last()
            .is_some_and(|last| last.position.0 + 1 >= until)
    });
    records
}

pub(super) fn end(log: &Log) {
    log.close();
    block_on(log.ended());
}

// Scenario: on real files, a process appends ten times what the log may hold; another one stores,
// and a third one wants to.
// Guarantees: every record is read once and in order, what is stored makes room again, one process
// at a time stores, and the next one begins where it ended.
#[test]
fn another_process_stores_what_one_appends() {
    let directory = tempfile::tempdir().unwrap();
    let partition = directory.path().join("p0");
    assert!(shared(directory.path()).unwrap().is_empty());
    let config = Config {
        max_size: ByteSize::kib(64),
        ..small()
    };
    let (log, _) = open_for_append(&config, &partition, Arc::new(())).unwrap();
    assert_eq!(shared(directory.path()).unwrap(), [0]);
    let mut followed = follow(&partition).unwrap().expect("nobody has it");
    assert!(follow(&partition).unwrap().is_none());
    let mut next = 1;
    for id in 1..=100 {
        eventually("room", || match append(&log, id, 6000) {
            Ok(position) => {
                assert_eq!(position, id);
                true
            }
            Err(error) => {
                assert!(matches!(error, Error::Full { .. }), "{error}");
                for record in read_all(&mut followed, id) {
                    assert_record(&record, next, next, 6000);
                    next += 1;
                }
                followed.release.upto(Position(next));
                false
            }
        });
    }
    assert_eq!(log.stats().bytes_in_memory, 0);
    drop(followed);
    let mut followed = follow(&partition).unwrap().expect("it was given back");
    for record in read_all(&mut followed, 101) {
        assert_record(&record, next, next, 6000);
        next += 1;
    }
    assert_eq!(next, 101);
    followed.release.upto(Position(next));
    eventually("all released", || log.stats().unstored_records == 0);
    end(&log);
    assert!(!holds_unstored(&partition).unwrap());
    drop(followed);
    let opened = open(&config, &partition, Start::Noted, Arc::new(())).unwrap();
    assert_eq!(opened.report.next_position, Position(101));
    assert_eq!(opened.report.records, 0);
    assert!(shared(directory.path()).unwrap().is_empty());
    assert!(follow(&partition).unwrap().is_none());
}

// Scenario: on real files, a process appends without a pause while another reads the segments that
// are being written, as fast as it can.
// Guarantees: it reads every record whole, once and in order, whatever is in whose cache.
#[test]
fn a_segment_can_be_read_while_it_is_written() {
    const GROUPS: u64 = 150;
    const GROUP: u64 = 16;
    let directory = tempfile::tempdir().unwrap();
    let partition = directory.path().join("p0");
    let config = Config {
        max_size: ByteSize::mib(4),
        segment_size: ByteSize::kib(256),
        ..small()
    };
    let (log, _) = open_for_append(&config, &partition, Arc::new(())).unwrap();
    let length = |id: u64| usize::try_from(id * 7919 % 3000).unwrap();
    let appender = log.clone();
    let appending = std::thread::spawn(move || {
        for group in 0..GROUPS {
            let ids = (1..=GROUP).map(|id| group * GROUP + id);
            let appends = ids.map(|id| {
                let appender = appender.clone();
                async move {
                    loop {
                        match appender.append(entry(id, length(id))).await {
                            Ok(position) => return position.0,
                            Err(Error::Full { .. }) => std::thread::yield_now(),
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
            block_on(join_all(appends));
        }
    });
    let mut followed = follow(&partition).unwrap().expect("nobody has it");
    let mut seen = BTreeSet::new();
    let mut next = 1;
    eventually("all records", || {
        while let Some(record) = take(&mut followed.reader) {
            let id = record.received_unix_nano;
            assert_record(&record, next, id, length(id));
            assert!(seen.insert(id), "{id} twice");
            next += 1;
            if next % 50 == 0 {
                followed.release.upto(Position(next));
            }
        }
        followed.release.upto(Position(next));
        next > GROUPS * GROUP
    });
    appending.join().unwrap();
    assert_eq!(followed.damage.lost_records(), 0);
    end(&log);
}

// Scenario: a process follows the log of one that ends and starts again.
// Guarantees: it reads all of the first life, then hears of the end, and the next life goes on
// with the numbers under another name.
#[test]
fn a_new_life_of_the_log_ends_what_follows_the_old_one() {
    let disk = SimDisk::default();
    let log = open_shared(&disk, &small());
    let mut followed = follow_sim(&disk).unwrap();
    append(&log, 1, 100).unwrap();
    append(&log, 2, 100).unwrap();
    end(&log);
    assert_eq!(take(&mut followed.reader).unwrap().position, Position(1));
    let log = open_shared(&disk, &small());
    assert_eq!(append(&log, 3, 100).unwrap(), 3);
    assert_eq!(take(&mut followed.reader).unwrap().position, Position(2));
    assert_eq!(followed.reader.next(AT_ONCE).unwrap(), Next::Closed);
    followed.release.upto(Position(3));
    let mut again = follow_sim(&disk).unwrap();
    assert_ne!(again.id, followed.id);
    let records = read_all(&mut again, 4);
    assert_eq!(records.len(), 1);
    assert_record(&records[0], 3, 3, 100);
    end(&log);
}

// Scenario: the store knows more than was noted; and it claims what the log has never had.
// Guarantees: the first is left out, the second is not believed.
#[test]
fn the_store_may_know_better_than_the_note_but_not_the_future() {
    let disk = SimDisk::default();
    let log = open_shared(&disk, &small());
    for id in 1..=5 {
        append(&log, id, 100).unwrap();
    }
    end(&log);
    let mut followed = follow_sim(&disk).unwrap();
    assert_eq!(followed.reader.skip_stored(Position(7)), Position(1));
    assert_eq!(followed.reader.skip_stored(Position(4)), Position(4));
    let positions: Vec<u64> = read_all(&mut followed, 6)
        .iter()
        .map(|record| record.position.0)
        .collect();
    assert_eq!(positions, [4, 5]);
    assert_eq!(followed.damage.lost_records(), 0);
    // Nor is a note of what was never appended.
    followed.release.upto(Position(1000));
    drop(followed);
    let mut followed = follow_sim(&disk).unwrap();
    assert_eq!(read_all(&mut followed, 6).len(), 5);
}

// Scenario: a record is damaged on disk in a segment that another process has not read yet; all is
// stored then, and the log goes on until segments are used again.
// Guarantees: it costs that record, which is counted; the file stays, under another name, as it is.
#[test]
fn damage_in_a_followed_log_costs_what_it_hits_and_is_kept() {
    let disk = SimDisk::default();
    let log = open_shared(&disk, &small());
    for id in 1..=30 {
        append(&log, id, 700).unwrap();
    }
    let names = disk.names();
    let segments: Vec<_> = names
        .iter()
        .filter(|name| Identity::parse(name).is_some())
        .collect();
    let hit = &extents(&disk, segments[1])[1];
    let mut damaged = disk.contents(segments[1]);
    damaged[hit.start + 60] ^= 1;
    disk.overwrite(segments[1], damaged.clone());
    let mut followed = follow_sim(&disk).unwrap();
    let read = read_all(&mut followed, 31);
    assert_eq!(read.len(), 29);
    assert!(read.iter().all(|record| record.position.0 != hit.position));
    assert_eq!(followed.damage.lost_records(), 1);
    assert_eq!(followed.damage.segments(), 1);
    followed.release.upto(Position(31));
    eventually("the segment to go", || !disk.names().contains(segments[1]));
    for id in 31..=60 {
        append(&log, id, 700).unwrap();
    }
    end(&log);
    let kept = disk.contents(&format!("{}.damaged", segments[1]));
    assert_eq!(kept, damaged);
}
