//! A second consumer beside the one that stores: what is kept for it, and for how long.

use super::*;
use crate::queue::file::Disk;
use crate::queue::follow::follow_on;

pub(super) const PLENTY: Hold = Hold {
    bytes_max: u64::MAX,
    refuses: false,
};

/// A log that one process appends to, stores and sends.
pub(super) struct Sending {
    pub(super) log: Log,
    pub(super) reader: Reader,
    pub(super) tee: Tee,
}

pub(super) fn open_sending(disk: &SimDisk, config: &Config, first: u64, hold: Hold) -> Sending {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let start = Start::At(Position(first));
    let host = Host {
        hold: Some(hold),
        ..host()
    };
    let opened = open_on(&disk, config, start, Arc::new(()), host).unwrap();
    let (beside, sent) = opened.tee.unwrap();
    let tee = Tee::new(beside, &disk, sent, (Some(opened.log.clone()), None));
    Sending {
        log: opened.log,
        reader: opened.reader,
        tee,
    }
}

fn ids(records: &[Record]) -> Vec<u64> {
    let ids = records.iter().map(|record| record.received_unix_nano);
    ids.collect()
}

fn held(disk: &SimDisk) -> usize {
    let names = disk.names();
    names.iter().filter(|name| name.ends_with(".held")).count()
}

fn segments(disk: &SimDisk) -> usize {
    let names = disk.names();
    let of_queue = names.iter().filter(|name| Identity::parse(name).is_some());
    of_queue.count()
}

impl Sending {
    /// Appends one segment's worth a record, stores all, and waits until the queue is empty of it.
    fn fill(&mut self, disk: &SimDisk, numbers: std::ops::Range<u64>) {
        for id in numbers {
            append(&self.log, id, 12_000).unwrap();
            drain(&mut self.reader);
            self.log.release(self.reader.position());
        }
        eventually("the queue to be empty", || segments(disk) <= 1);
    }
}

// Scenario: everything is stored at once, nothing is sent for a while, then all of it is; the
// daemon ends in between.
// Guarantees: what is kept to be sent takes no room of the queue, survives a restart, is read in
// order, and goes when it has been sent.
#[test]
fn what_is_stored_is_kept_until_it_has_been_sent() {
    let disk = SimDisk::default();
    let config = Config {
        max_size: ByteSize::kib(64),
        ..small()
    };
    let mut sending = open_sending(&disk, &config, 1, PLENTY);
    sending.fill(&disk, 1..21);
    assert!(sending.log.stats().bytes_used < config.max_size.0 / 2);
    assert!(held(&disk) >= 19);
    assert_eq!(
        sending.log.stats().held_bytes,
        held(&disk) as u64 * (16 << 10)
    );
    let backlog = sending.tee.reader.backlog_from(Position(1));
    assert_eq!(backlog.records, 20);
    assert!(backlog.bytes > 20 * 12_000, "{backlog:?}");
    let read = drain(&mut sending.tee.reader);
    assert_eq!(ids(&read), (1..21).collect::<Vec<_>>());
    sending.tee.release.upto(Position(11));
    eventually("what was sent to go", || held(&disk) < 11);
    close(&sending.log, &mut sending.reader);

    let mut sending = open_sending(&disk, &config, 21, PLENTY);
    append(&sending.log, 21, 12_000).unwrap();
    let read = drain(&mut sending.tee.reader);
    assert_eq!(ids(&read), (11..22).collect::<Vec<_>>());
    assert_eq!(ids(&drain(&mut sending.reader)), [21]);
    sending.tee.release.upto(Position(22));
    eventually("what was sent to go", || held(&disk) == 0);
    assert_eq!(sending.log.stats().given_up_records, 0);
    close(&sending.log, &mut sending.reader);
}

// Scenario: more is kept than may be.
// Guarantees: the oldest is given up and counted, the rest stays, nothing of the queue is refused.
#[test]
fn beyond_its_limit_the_oldest_is_given_up() {
    let disk = SimDisk::default();
    let hold = Hold {
        bytes_max: 5 * (16 << 10),
        refuses: false,
    };
    let mut sending = open_sending(&disk, &small(), 1, hold);
    sending.fill(&disk, 1..21);
    eventually("the oldest to be given up", || held(&disk) <= 5);
    let given_up = sending.log.stats().given_up_records;
    let read = ids(&drain(&mut sending.tee.reader));
    assert_eq!(read, (given_up + 1..21).collect::<Vec<_>>());
    assert!((14..16).contains(&given_up), "{given_up}");
    close(&sending.log, &mut sending.reader);
}

// Scenario: more is kept than the disk has room for, below the limit.
// Guarantees: some room is left to others: the oldest is given up and counted, the rest stays.
#[test]
fn some_room_on_the_disk_is_left_to_others() {
    let disk = SimDisk::default();
    let segment = 16 << 10;
    disk.set_capacity(60 * segment);
    let mut sending = open_sending(&disk, &small(), 1, PLENTY);
    sending.fill(&disk, 1..101);
    let free = || disk.space().unwrap().free;
    // But for the segment that was begun since.
    eventually("room on the disk", || free() >= 2 * segment as u64);
    let given_up = sending.log.stats().given_up_records;
    let read = ids(&drain(&mut sending.tee.reader));
    assert_eq!(read, (given_up + 1..101).collect::<Vec<_>>());
    assert!((43..60).contains(&given_up), "{given_up}");
    close(&sending.log, &mut sending.reader);
}

// Scenario: the same where nothing is to be given up.
// Guarantees: requests are refused when what may be kept and the queue are full; what was sent
// makes room again; nothing is lost.
#[test]
fn requests_are_refused_where_nothing_may_be_given_up() {
    let disk = SimDisk::default();
    let hold = Hold {
        bytes_max: 3 * (16 << 10),
        refuses: true,
    };
    let config = Config {
        max_size: ByteSize::kib(64),
        ..small()
    };
    let mut sending = open_sending(&disk, &config, 1, hold);
    let mut taken = 0;
    eventually("the log to be full", || {
        drain(&mut sending.reader);
        sending.log.release(sending.reader.position());
        let appended = append(&sending.log, taken + 1, 12_000);
        taken += u64::from(appended.is_ok());
        appended.is_err()
    });
    assert!((6..9).contains(&taken), "{taken}");
    assert!(sending.log.check_room(12_000).is_err());
    let read = ids(&drain(&mut sending.tee.reader));
    assert_eq!(read, (1..taken + 1).collect::<Vec<_>>());
    sending.tee.release.upto(Position(taken + 1));
    eventually("room", || append(&sending.log, taken + 1, 12_000).is_ok());
    assert_eq!(sending.log.stats().given_up_records, 0);
    close(&sending.log, &mut sending.reader);
}

// Scenario: the disk has no room for the next segment of the queue.
// Guarantees: what is kept to be sent makes it; no request is refused.
#[test]
fn a_full_disk_takes_from_what_is_kept_first() {
    let disk = SimDisk::default();
    let mut sending = open_sending(&disk, &small(), 1, PLENTY);
    sending.fill(&disk, 1..6);
    disk.set_full(true);
    sending.fill(&disk, 6..9);
    let given_up = sending.log.stats().given_up_records;
    assert!((2..5).contains(&given_up), "{given_up}");
    let read = ids(&drain(&mut sending.tee.reader));
    assert_eq!(read, (given_up + 1..9).collect::<Vec<_>>());
    close(&sending.log, &mut sending.reader);
}

// Scenario: sending is switched on in a log that is in use, off again, and on again.
// Guarantees: it begins at what comes then; nothing is kept while it is off.
#[test]
fn it_begins_at_the_present_and_leaves_nothing_behind() {
    let disk = SimDisk::default();
    let (log, mut reader, _) = open_sim(&disk, &small(), 1);
    append(&log, 1, 12_000).unwrap();
    close(&log, &mut reader);
    let mut sending = open_sending(&disk, &small(), 1, PLENTY);
    sending.fill(&disk, 2..5);
    assert_eq!(ids(&drain(&mut sending.tee.reader)), [2, 3, 4]);
    close(&sending.log, &mut sending.reader);
    assert!(held(&disk) > 0);

    let (log, mut reader, _) = open_sim(&disk, &small(), 5);
    assert_eq!(held(&disk), 0);
    append(&log, 5, 12_000).unwrap();
    close(&log, &mut reader);
    let mut sending = open_sending(&disk, &small(), 6, PLENTY);
    append(&sending.log, 6, 12_000).unwrap();
    assert_eq!(ids(&drain(&mut sending.tee.reader)), [6]);
    close(&sending.log, &mut sending.reader);
}

// Scenario: one process appends, another one stores and sends, and ends; one that does not send
// takes over.
// Guarantees: the first keeps what has not been sent, goes on with it when it starts anew, and frees
// it when nobody sends any more.
#[test]
fn another_process_sends_what_one_appends() {
    let disk = SimDisk::default();
    let as_disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let follow_sending = |hold| follow_on(&as_disk, None, hold).unwrap().unwrap();
    let log = follow::open_shared(&disk, &small());
    let mut followed = follow_sending(Some(PLENTY));
    for id in 1..11 {
        append(&log, id, 12_000).unwrap();
    }
    eventually("all to be read", || {
        drain(&mut followed.reader);
        followed.reader.position() == Position(11)
    });
    followed.release.upto(Position(11));
    eventually("all to be kept", || held(&disk) >= 9);
    let mut tee = followed.tee.take().unwrap();
    assert_eq!(ids(&drain(&mut tee.reader)), (1..11).collect::<Vec<_>>());
    tee.release.upto(Position(4));
    eventually("what was sent to go", || held(&disk) <= 7);
    drop((followed, tee));
    follow::end(&log);

    let log = follow::open_shared(&disk, &small());
    let mut followed = follow_sending(Some(PLENTY));
    let mut tee = followed.tee.take().unwrap();
    assert_eq!(ids(&drain(&mut tee.reader)), (4..11).collect::<Vec<_>>());
    drop((followed, tee));
    let followed = follow_sending(None);
    assert!(followed.tee.is_none());
    eventually("all to go", || held(&disk) == 0);
    follow::end(&log);
}
