//! Every truncation and every bit flip of a small log.

use super::*;
use crate::queue::file::{BLOCK, Disk as _};
use crate::queue::record::{HEADER_BYTES, record_bytes};
use crate::queue::scan::{Found, Scanner};

/// Where in a file a record lies, header and payload.
pub(super) struct Extent {
    pub(super) position: u64,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The records that are readable in a segment now.
pub(super) fn extents(disk: &SimDisk, name: &str) -> Vec<Extent> {
    let identity = Identity::parse(name).unwrap();
    let contents = disk.contents(name);
    let file = disk.open_read(name).unwrap();
    let limit = contents.len() as u64;
    let mut scanner = Scanner::new(file, identity.epoch, identity.first, limit);
    let mut extents = Vec::new();
    while let Found::Header(header) = scanner.next().unwrap() {
        let start = scanner.offset();
        if scanner.verify(&header).unwrap() {
            extents.push(Extent {
                position: header.position,
                start,
                end: start + HEADER_BYTES + header.payload_bytes(),
            });
        }
    }
    extents
}

/// Two groups of three records, in one segment that has been recycled.
fn sample() -> (SimDisk, String, u64) {
    let disk = SimDisk::default();
    let config = Config {
        group_commit_delay: crate::config::Duration::millis(5),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    // Three of these fill a segment; the tenth is the first in a file that was used before.
    let first = 10;
    for position in 1..=first {
        assert_eq!(append(&log, position, 3500).unwrap(), position);
        take(&mut reader).unwrap();
        log.release(Position(position));
    }
    for group in 0..2 {
        let appends =
            (0..3).map(|id| log.append(entry(group * 3 + id, 50 + usize::try_from(id).unwrap())));
        let answers = block_on(join_all(appends));
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    }
    close(&log, &mut reader);
    let name = disk
        .names()
        .into_iter()
        .rfind(|name| Identity::parse(name).is_some())
        .unwrap();
    (disk, name, first)
}

/// Opens a copy of the disk with other contents of one file, and returns what is read from it.
fn reopened(
    disk: &SimDisk,
    name: &str,
    contents: Vec<u8>,
    first: u64,
) -> (RecoveryReport, Vec<Record>) {
    let disk = disk.fork();
    disk.overwrite(name, contents);
    let (log, mut reader, report) = open_sim(&disk, &small(), first);
    let records = close(&log, &mut reader);
    assert_eq!(records.len() as u64, report.records);
    // Opening again finds the same, and the log still works.
    let (log, mut reader, again) = open_sim(&disk, &small(), first);
    assert_eq!(again.records, report.records);
    assert_eq!(append(&log, 77, 77).unwrap(), report.next_position.0);
    let more = close(&log, &mut reader);
    assert_eq!(more.len(), records.len() + 1);
    assert_eq!(more[..records.len()], records);
    (report, records)
}

fn positions(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.position.0).collect()
}

// Scenario: the file of the last segment is cut at every byte in turn.
// Guarantees: the log opens, returns exactly the records that are whole, and goes on.
#[test]
fn a_log_cut_at_any_byte_opens_with_all_whole_records() {
    let (disk, name, first) = sample();
    let extents = extents(&disk, &name);
    assert_eq!(extents.len(), 7);
    let contents = disk.contents(&name);
    for cut in 0..contents.len() {
        let whole = extents.iter().filter(|extent| extent.end <= cut);
        let whole: Vec<u64> = whole.map(|extent| extent.position).collect();
        let (report, records) = reopened(&disk, &name, contents[..cut].to_vec(), first);
        assert_eq!(positions(&records), whole, "cut at {cut}");
        assert_eq!(report.lost_records, 0, "cut at {cut}");
    }
}

// Scenario: every single bit of headers, payloads and the header block flips in turn.
// Guarantees: only the record that is hit is missing, it is reported, and the log goes on.
#[test]
fn any_bit_flip_costs_only_the_record_it_hits_and_is_reported() {
    let (disk, name, first) = sample();
    let extents = extents(&disk, &name);
    let contents = disk.contents(&name);
    let all: Vec<u64> = extents.iter().map(|extent| extent.position).collect();
    let last_group = extents[extents.len() - 3].position;
    let small_records = extents
        .iter()
        .skip(1)
        .flat_map(|extent| extent.start..extent.end);
    for byte in (0..64).chain(small_records) {
        for bit in 0..8 {
            let mut flipped = contents.clone();
            flipped[byte] ^= 1 << bit;
            let (report, records) = reopened(&disk, &name, flipped, first);
            let hit = extents
                .iter()
                .find(|extent| (extent.start..extent.end).contains(&byte));
            let hit = hit.map(|extent| extent.position);
            let left: Vec<u64> = all
                .iter()
                .copied()
                .filter(|position| Some(*position) != hit)
                .collect();
            assert_eq!(positions(&records), left, "bit {bit} of byte {byte}");
            let found = (report.lost_records, report.torn_records, report.torn_tail);
            let expected = match hit {
                None => (0, 0, false),
                // Something later says that it was acknowledged.
                Some(position) if position < last_group => (1, 0, false),
                Some(position) if position == all[all.len() - 1] => (0, 0, true),
                Some(_) => (0, 1, false),
            };
            assert_eq!(found, expected, "bit {bit} of byte {byte}");
            let damaged = hit.is_none_or(|position| position < last_group);
            assert_eq!(report.damaged_segments.len(), usize::from(damaged));
        }
    }
}

// Scenario: damage in a segment that is followed by others, found by the reader while it runs.
// Guarantees: the reader skips only what is hit, counts it once, and the file stays under another
// name after its release.
#[test]
fn damage_found_while_running_is_skipped_counted_and_kept() {
    let disk = SimDisk::default();
    let config = Config {
        memory_size: ByteSize(0),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    for id in 1..=40 {
        append(&log, id, 700).unwrap();
    }
    let name = disk.names()[1].clone();
    let hit = &extents(&disk, &name)[1];
    let mut contents = disk.contents(&name);
    contents[hit.start + 3] ^= 1;
    disk.overwrite(&name, contents);
    let read = positions(&drain(&mut reader));
    let expected: Vec<u64> = (1..=40)
        .filter(|position| *position != hit.position)
        .collect();
    assert_eq!(read, expected);
    let stats = log.stats();
    assert_eq!((stats.lost_records, stats.damaged_segments), (1, 1));
    log.release(Position(41));
    eventually("released", || !disk.names().contains(&name));
    close(&log, &mut reader);
    assert!(disk.names().contains(&format!("{name}.damaged")));
}

// Scenario: a payload is full of things that look like record headers, and its own is damaged.
// Guarantees: nothing that a client sent is taken for a record, and the search stays fast.
#[test]
fn payloads_that_imitate_records_are_not_mistaken_for_them() {
    let disk = SimDisk::default();
    let config = Config {
        segment_size: ByteSize::mib(4),
        max_size: ByteSize::mib(16),
        ..small()
    };
    let (log, mut reader, _) = open_sim(&disk, &config, 1);
    append(&log, 1, 10).unwrap();
    let mut forged = disk.contents(&disk.names()[0])[BLOCK..BLOCK + 72].to_vec();
    // Another epoch, which the client had to guess; the checksum is right.
    let header = record::Header {
        payload_crc: crc32fast::hash(b""),
        length: 0,
        epoch: 1,
        position: 2,
        durable_before: 2,
        received_unix_nano: 0,
        project: 9,
        kind: 1,
        version: 1,
    };
    forged[..HEADER_BYTES].copy_from_slice(&header.encode());
    let imitation = Entry {
        payload: forged.repeat(30_000).into(),
        ..entry(2, 0)
    };
    assert!(record_bytes(imitation.payload.len()) > 2_000_000);
    block_on(log.append(imitation)).unwrap();
    append(&log, 3, 10).unwrap();
    close(&log, &mut reader);
    let name = disk.names()[0].clone();
    let hit = &extents(&disk, &name)[1];
    let mut contents = disk.contents(&name);
    contents[hit.start] ^= 1;
    let (report, records) = {
        disk.overwrite(&name, contents);
        let (log, mut reader, report) = open_sim(&disk, &config, 1);
        (report, close(&log, &mut reader))
    };
    assert_eq!(positions(&records), [1, 3]);
    assert_eq!(report.lost_records, 1);
}
