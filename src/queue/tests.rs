//! The log on real files and on a disk that misbehaves.

mod disk;
mod follow;
mod follow_model;
mod model;
mod sweep;
mod tee;
mod tee_model;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use self::disk::SimDisk;
use super::open::{Host, open_on};
use super::segment::{Identity, Preamble};
use super::*;

const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::ZERO;

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.build().unwrap().block_on(future)
}

/// Bytes that tell which record they are of and where in it.
fn payload(id: u64, length: usize) -> Bytes {
    let words =
        (0_u64..).flat_map(|word| (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word).to_le_bytes());
    words.take(length).collect()
}

fn entry(id: u64, length: usize) -> Entry {
    Entry {
        project: ProjectId(u32::try_from(id % 1000).unwrap()),
        received_unix_nano: id,
        kind: PayloadKind::OtlpTraces,
        payload: payload(id, length),
    }
}

/// Segments of four blocks, of which three hold records.
fn small() -> Config {
    Config {
        max_size: ByteSize::kib(1024),
        segment_size: ByteSize::kib(16),
        memory_size: ByteSize::kib(16),
        ..Config::default()
    }
}

fn host() -> Host {
    Host {
        thread: "pulse-log-test".to_owned(),
        lock: None,
        retry_every: Duration::from_millis(2),
        share_every: Duration::from_millis(2),
        stored_elsewhere: false,
        hold: None,
    }
}

fn open_sim(disk: &SimDisk, config: &Config, first: u64) -> (Log, Reader, RecoveryReport) {
    let disk: Arc<dyn file::Disk> = Arc::new(disk.clone());
    let start = Start::At(Position(first));
    let opened = open_on(&disk, config, start, Arc::new(()), host()).unwrap();
    (opened.log, opened.reader, opened.report)
}

fn append(log: &Log, id: u64, length: usize) -> Result<u64, Error> {
    block_on(log.append(entry(id, length))).map(|position| position.0)
}

fn take(reader: &mut Reader) -> Option<Record> {
    match reader.next(AT_ONCE).unwrap() {
        Next::Record(record) => Some(record),
        Next::Idle | Next::Closed => None,
    }
}

fn drain(reader: &mut Reader) -> Vec<Record> {
    std::iter::from_fn(|| take(reader)).collect()
}

/// Closes, reads what is left and waits for the thread.
fn close(log: &Log, reader: &mut Reader) -> Vec<Record> {
    log.close();
    let mut rest = Vec::new();
    loop {
        match reader.next(SOON).unwrap() {
            Next::Record(record) => rest.push(record),
            Next::Idle => panic!("the log thread did not end"),
            Next::Closed => return rest,
        }
    }
}

fn assert_record(record: &Record, position: u64, id: u64, length: usize) {
    let Entry {
        project,
        received_unix_nano,
        kind,
        payload,
    } = entry(id, length);
    let expected = Record {
        position: Position(position),
        project,
        received_unix_nano,
        kind,
        payload,
    };
    assert_eq!(*record, expected, "record {position}");
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[derive(Debug, Default)]
struct Counts {
    syncs: AtomicUsize,
    groups: AtomicUsize,
    records: AtomicUsize,
}

impl Observer for Counts {
    fn fsync(&self, _took: Duration) {
        self.syncs.fetch_add(1, Ordering::SeqCst);
    }

    fn group(&self, records: usize, _payload_bytes: usize) {
        self.groups.fetch_add(1, Ordering::SeqCst);
        self.records.fetch_add(records, Ordering::SeqCst);
    }
}

fn open_real(directory: &Path, first: u64) -> (Log, Reader, RecoveryReport) {
    let start = Start::At(Position(first));
    let opened = open(&small(), directory, start, Arc::new(())).unwrap();
    (opened.log, opened.reader, opened.report)
}

// Scenario: records of all sizes, one far larger than a segment, on real files; close and reopen.
// Guarantees: every record comes back once, in order, with its bytes, from memory and from disk.
#[test]
fn records_of_any_size_come_back_in_order_from_real_files() {
    let directory = tempfile::tempdir().unwrap();
    let partition = directory.path().join("p0");
    let sizes = [0, 1, 7, 8, 4000, 4040, 4096, 300_000, 12, 70_000, 8192];
    let (log, mut reader, report) = open_real(&partition, 1);
    assert_eq!(report.next_position, Position(1));
    for (id, size) in (1..).zip(sizes) {
        assert_eq!(append(&log, id, size).unwrap(), id);
    }
    for round in 0..3 {
        let records = close(&log, &mut reader);
        let records = if round == 0 {
            records
        } else {
            let (log, mut reader, report) = open_real(&partition, 1);
            assert_eq!(report.records, sizes.len() as u64);
            assert_eq!((report.lost_records, report.torn_tail), (0, false));
            close(&log, &mut reader)
        };
        assert_eq!(records.len(), sizes.len());
        for ((id, size), record) in (1..).zip(sizes).zip(&records) {
            assert_record(record, id, id, size);
        }
        if round == 0 {
            let report = inspect::inspect(directory.path()).unwrap();
            assert!(report.is_sound(), "{report}");
            let records = report.partitions[0]
                .segments
                .iter()
                .map(|segment| segment.records);
            assert_eq!(records.sum::<u64>(), sizes.len() as u64);
        }
    }
}

// Scenario: 64 appends at once, on real files.
// Guarantees: each gets a position of its own and few syncs serve all of them.
#[test]
fn one_sync_serves_many_concurrent_appends() {
    let directory = tempfile::tempdir().unwrap();
    let counts = Arc::new(Counts::default());
    let observer: Arc<dyn Observer> = Arc::<Counts>::clone(&counts);
    let config = Config {
        group_commit_delay: crate::config::Duration::millis(50),
        ..Config::default()
    };
    let partition = directory.path().join("p0");
    let Opened {
        log, mut reader, ..
    } = open(&config, &partition, Start::Noted, observer).unwrap();
    let appends = (0..64).map(|id| log.append(entry(id, 1000)));
    let positions: BTreeSet<u64> = block_on(join_all(appends))
        .into_iter()
        .map(|position| position.unwrap().0)
        .collect();
    assert_eq!(positions, (1..=64).collect());
    assert_eq!(close(&log, &mut reader).len(), 64);
    assert_eq!(counts.records.load(Ordering::SeqCst), 64);
    let syncs = counts.syncs.load(Ordering::SeqCst);
    assert!((1..=16).contains(&syncs), "{syncs} syncs");
    assert!(counts.groups.load(Ordering::SeqCst) <= syncs);
}

// Scenario: the reader stands still while ten times its memory is appended, then reads on.
// Guarantees: it gets the same records as from memory, and memory stays within its limit.
#[test]
fn a_reader_that_falls_behind_reads_the_same_from_disk() {
    let disk = SimDisk::default();
    let config = Config {
        max_size: ByteSize::mib(4),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    for id in 1..=200 {
        assert_eq!(append(&log, id, 900).unwrap(), id);
        assert!(log.stats().bytes_in_memory <= small().memory_size.0);
        if id == 150 {
            assert_record(&take(&mut reader).unwrap(), 1, 1, 900);
        }
    }
    assert!(log.stats().bytes_in_memory > 0);
    for id in 2..=200 {
        assert_record(&take(&mut reader).unwrap(), id, id, 900);
    }
    assert_eq!(reader.next(AT_ONCE).unwrap(), Next::Idle);
    // Having caught up it is served from memory again.
    append(&log, 201, 10).unwrap();
    assert!(log.stats().bytes_in_memory > 0);
    assert_record(&take(&mut reader).unwrap(), 201, 201, 10);
}

// Scenario: segments are released and reused many times over; the process dies each time. Then
// the store is set back to its beginning, so that every position would be welcome.
// Guarantees: no record of an earlier life of a file comes back, and the disk use stays small.
#[test]
fn stale_records_of_recycled_segments_never_reappear() {
    let disk = SimDisk::default();
    let mut stored = 1;
    for life in 0..30 {
        let (log, mut reader, report) = open_sim(&disk, &small(), stored);
        assert_eq!(report.lost_records + report.torn_records, 0);
        for record in drain(&mut reader) {
            assert_eq!(record.received_unix_nano, record.position.0);
        }
        // Records of one size, so that stale headers lie where current ones would.
        for _ in 0..20 {
            let next = log.stats().next_position.0;
            append(&log, next, 500).unwrap();
            assert_eq!(take(&mut reader).unwrap().position, Position(next));
            log.release(Position(next + 1 - (life % 3)));
            stored = next + 1 - (life % 3);
        }
        let end = log.stats().next_position.0;
        disk.kill();
        close(&log, &mut reader);
        disk.restart();
        let (log, mut reader, report) = open_sim(&disk, &small(), stored);
        assert_eq!(report.records, end - stored);
        assert_eq!(drain(&mut reader).len() as u64, end - stored);
        close(&log, &mut reader);
        assert!(disk.names().len() <= 4, "{:?}", disk.names());
        let names = disk.names();
        let oldest = names.iter().find_map(|name| Identity::parse(name));
        let oldest = oldest.map_or(end, |identity| identity.first);
        let (log, mut reader, report) = open_sim(&disk.fork(), &small(), 1);
        let positions: Vec<u64> = close(&log, &mut reader)
            .iter()
            .map(|record| record.position.0)
            .collect();
        assert_eq!(positions, (oldest..end).collect::<Vec<u64>>());
        assert_eq!(report.records, end - oldest);
        let missing = if oldest < end { oldest - 1 } else { 0 };
        assert_eq!(report.lost_records + report.torn_records, missing);
    }
}

// Scenario: nobody releases anything, and the log fills up; then some is released.
// Guarantees: appends are refused as full, small ones still fit, room comes back, disk use is
// within the limit throughout.
#[test]
fn a_full_log_refuses_and_takes_again_after_a_release() {
    let disk = SimDisk::default();
    let config = Config {
        max_size: ByteSize::kib(64),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    let mut accepted = 0;
    let error = loop {
        match append(&log, accepted + 1, 6000) {
            Ok(position) => accepted = position,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.is_retryable() && !log.stats().writable);
    assert!(matches!(log.check_room(6000), Err(Error::Full { .. })));
    log.check_room(100).unwrap();
    assert_eq!(append(&log, accepted + 1, 100).unwrap(), accepted + 1);
    assert!(log.stats().bytes_used <= config.max_size.0);
    let forever = append(&log, 0, 70_000).unwrap_err();
    assert!(!forever.is_retryable(), "{forever}");
    for size in [70_000, usize::MAX] {
        let forever = log.check_room(size).unwrap_err();
        assert!(matches!(forever, Error::TooLarge { .. }), "{forever}");
    }
    assert_eq!(drain(&mut reader).len() as u64, accepted + 1);
    log.release(Position(accepted + 2));
    assert!(log.stats().writable);
    for id in accepted + 2..accepted + 50 {
        assert_eq!(append(&log, id, 6000).unwrap(), id);
        assert_record(&take(&mut reader).unwrap(), id, id, 6000);
        log.release(Position(id + 1));
        let listed = file::Disk::list(&disk).unwrap();
        let bytes: u64 = listed.iter().map(|file| file.bytes).sum();
        assert!(bytes <= config.max_size.0 + config.segment_size.0);
    }
}

// Scenario: all is stored, and a record arrives that does not fit beside the current segment but
// would fit into an empty log; nobody appends or releases anything after it.
// Guarantees: that one is refused or taken, and the log goes on counting as writable.
#[test]
fn one_record_too_large_for_now_does_not_make_the_log_full() {
    let disk = SimDisk::default();
    let config = Config {
        max_size: ByteSize::kib(48),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    assert_eq!(append(&log, 1, 100).unwrap(), 1);
    let large = 36 << 10;
    assert!(matches!(log.check_room(large), Err(Error::Full { .. })));
    assert!(matches!(append(&log, 2, large), Err(Error::Full { .. })));
    assert!(log.stats().writable, "small ones fit");
    assert_eq!(append(&log, 2, 100).unwrap(), 2);
    assert_eq!(drain(&mut reader).len(), 2);
    log.release(Position(3));
    log.check_room(large).unwrap();
    assert_eq!(append(&log, 3, large).unwrap(), 3);
}

// Scenario: records of any size are appended and released in any order of the two.
// Guarantees: what `check_room` and `bytes_left` say is what the next append does.
#[test]
fn the_room_announced_is_the_room_there_is() {
    let disk = SimDisk::default();
    let config = Config {
        max_size: ByteSize::kib(72),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    let (mut next, mut refused, mut seed) = (1, 0, 7_u64);
    for _ in 0..400 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = usize::try_from((seed >> 33) % 30_000).unwrap();
        let said = log.check_room(size).is_ok();
        let left = log.stats().bytes_left;
        assert_eq!(said, record::record_bytes(size) <= left, "{size} {left}");
        let taken = append(&log, next, size);
        assert_eq!(said, taken.is_ok(), "{size} bytes: {taken:?}");
        refused += u64::from(!said);
        next += u64::from(said);
        if seed >> 62 == 0 {
            drain(&mut reader);
            log.release(Position(next - (seed >> 40) % next.min(4)));
        }
    }
    assert!((50..350).contains(&refused), "{refused} refused");
}

// Scenario: the log may be as large as one segment, and everything is stored at once.
// Guarantees: the one segment is replaced when it is used up; the log does not stay full.
#[test]
fn a_log_of_one_segment_goes_on_when_all_is_stored() {
    let disk = SimDisk::default();
    let config = Config {
        max_size: ByteSize::kib(16),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    for id in 1..=50 {
        assert_eq!(append(&log, id, 5000).unwrap(), id);
        assert_record(&take(&mut reader).unwrap(), id, id, 5000);
        log.release(Position(id + 1));
    }
}

// Scenario: the disk is full when a segment is needed, then space is freed; no append in between.
// Guarantees: the refusal is retryable, nothing acknowledged is lost, no file stays half made,
// and the log becomes writable by itself.
#[test]
fn a_full_disk_refuses_and_recovers_without_reopening() {
    let disk = SimDisk::default();
    let (log, mut reader, _) = open_sim(&disk, &small(), 1);
    assert_eq!(append(&log, 1, 9000).unwrap(), 1);
    disk.set_full(true);
    let files = disk.names();
    let error = append(&log, 2, 9000).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(error.is_retryable() && !log.stats().writable);
    assert!(matches!(log.check_room(0), Err(Error::NoSpace { .. })));
    assert_eq!(disk.names(), files);
    disk.set_full(false);
    eventually("writable again", || log.stats().writable);
    assert_eq!(append(&log, 3, 9000).unwrap(), 2);
    let records = close(&log, &mut reader);
    assert_record(&records[0], 1, 1, 9000);
    assert_record(&records[1], 2, 3, 9000);
    assert_eq!(records.len(), 2);
}

// Scenario: a sync fails, the next succeeds, the power fails.
// Guarantees: the failed sync is not answered with OK nor tried again on its file; what was
// acknowledged before and after it survives; its own record does not come back as another.
#[test]
fn a_failed_sync_acknowledges_nothing_and_abandons_the_segment() {
    let disk = SimDisk::default();
    let (log, mut reader, _) = open_sim(&disk, &small(), 1);
    assert_eq!(append(&log, 1, 100).unwrap(), 1);
    let first_segment = disk.names();
    let before = disk.contents(&first_segment[0]);
    disk.fail_syncs(1);
    let error = append(&log, 2, 100).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.is_retryable());
    assert_eq!(log.stats().failures, 1);
    let abandoned = disk.contents(&first_segment[0]);
    assert_ne!(before, abandoned);
    eventually("writable again", || log.stats().writable);
    assert_eq!(append(&log, 3, 100).unwrap(), 2);
    assert_eq!(disk.contents(&first_segment[0]), abandoned);
    disk.kill();
    let seen = close(&log, &mut reader);
    disk.restart();
    disk.power_loss(|| true);
    let (log, mut reader, report) = open_sim(&disk, &small(), 1);
    let again = close(&log, &mut reader);
    assert_eq!(seen, again);
    assert_record(&again[0], 1, 1, 100);
    assert_record(&again[1], 2, 3, 100);
    assert_eq!((report.records, report.lost_records), (2, 0));
}

// Scenario: syncing is left to the operating system; the process dies; the disk does not.
// Guarantees: everything acknowledged is there, and few syncs were made.
#[test]
fn os_buffered_survives_the_death_of_the_process_with_few_syncs() {
    let disk = SimDisk::default();
    let config = Config {
        durability: Durability::OsBuffered,
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    for id in 1..=8 {
        assert_eq!(append(&log, id, 100).unwrap(), id);
    }
    assert!(disk.syncs() <= 4, "{}", disk.syncs());
    disk.kill();
    assert_eq!(close(&log, &mut reader).len(), 8);
    disk.restart();
    let (log, mut reader, report) = open_sim(&disk, &config, 1);
    assert_eq!(report.records, 8);
    assert_eq!(close(&log, &mut reader).len(), 8);
}

// Scenario: a segment of a newer format with records that are not stored; then all are stored.
// Guarantees: the start is refused with the file's name and the file is not touched; once nothing
// in it is needed it is no obstacle.
#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let disk = SimDisk::default();
    let (log, mut reader, _) = open_sim(&disk, &small(), 1);
    for id in 1..=10 {
        append(&log, id, 3000).unwrap();
    }
    close(&log, &mut reader);
    let name = disk.names()[0].clone();
    let mut contents = disk.contents(&name);
    let preamble = Preamble {
        identity: Identity::parse(&name).unwrap(),
        durable_before: 1,
        bytes: 16 << 10,
    };
    contents[..4096].copy_from_slice(&preamble.encode_newer());
    disk.overwrite(&name, contents.clone());
    let shared: Arc<dyn file::Disk> = Arc::new(disk.clone());
    let start = Start::At(Position(2));
    let refused = open_on(&shared, &small(), start, Arc::new(()), host());
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::NewerFormat { .. }), "{error}");
    assert!(error.to_string().contains(&name));
    assert_eq!(disk.contents(&name), contents);
    let (log, mut reader, report) = open_sim(&disk, &small(), 8);
    assert_eq!(report.records, 3);
    close(&log, &mut reader);
}

// Scenario: a second process opens the same partition; the first closes.
// Guarantees: two never write to one log, and closing gives it free.
#[test]
fn a_partition_has_one_owner_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let (log, mut reader, _) = open_real(directory.path(), 1);
    let second = open(&small(), directory.path(), Start::Noted, Arc::new(()));
    assert!(matches!(second, Err(Error::InUse { .. })));
    close(&log, &mut reader);
    let (log, ..) = open_real(directory.path(), 1);
    log.close();
}

// Scenario: the log is closed with appends on the way, then appended to.
// Guarantees: every append is answered; what was answered OK is read before the end.
#[test]
fn closing_answers_everyone_and_loses_nothing() {
    let disk = SimDisk::default();
    let (log, mut reader, _) = open_sim(&disk, &small(), 1);
    let other = log.clone();
    let appender = std::thread::spawn(move || {
        let appends = (0..50).map(|id| other.append(entry(id, 200)));
        block_on(join_all(appends))
    });
    eventually("first record", || log.stats().next_position > Position(1));
    let records = close(&log, &mut reader);
    let answers = appender.join().unwrap();
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(accepted, records.len());
    let late = append(&log, 1, 1).unwrap_err();
    assert!(matches!(late, Error::Closed));
    assert!(!log.stats().writable);
    assert!(matches!(log.check_room(0), Err(Error::Closed)));
}

// Scenario: files that are not segments, and a directory that does not exist yet.
// Guarantees: nothing found on disk stops a start; what looks like a segment is kept aside.
#[test]
fn foreign_files_are_left_or_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let partition = directory.path().join("deep/p0");
    let (log, mut reader, _) = open_real(&partition, 1);
    close(&log, &mut reader);
    std::fs::write(partition.join("notes.txt"), "keep").unwrap();
    std::fs::write(partition.join("broken.log"), "what").unwrap();
    let (log, mut reader, report) = open_real(&partition, 1);
    assert_eq!(report.damaged_segments, ["broken.log"]);
    close(&log, &mut reader);
    assert!(partition.join("notes.txt").exists());
    assert!(partition.join("broken.log.damaged").exists());
    assert!(!partition.join("broken.log").exists());
}

// Scenario: the store says it has more than the log holds, as after the log was lost.
// Guarantees: no position is used twice.
#[test]
fn positions_go_on_after_what_is_stored_when_the_log_is_gone() {
    let disk = SimDisk::default();
    let (log, mut reader, report) = open_sim(&disk, &small(), 500);
    assert_eq!(report.next_position, Position(500));
    assert_eq!(append(&log, 1, 10).unwrap(), 500);
    assert_record(&take(&mut reader).unwrap(), 500, 1, 10);
}
