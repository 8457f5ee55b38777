//! All partitions of the log, for who appends to them.
//!
//! A request goes whole to one of them, in turn, or to the next when that one can't take it. Which
//! spans of a trace are in which partition does not matter: the store decides what it has already.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file::{Directory, Disk as _};
use super::inspect::inspect_partition;
use super::open::forget_sharing;
use super::segment::Identity;
use super::{Config, Entry, Error, Log, Position, Stats, note};
use crate::config::ByteSize;

/// The directory of a partition in the directory of the log.
#[must_use]
pub fn directory_of(log: &Path, partition: u32) -> PathBuf {
    log.join(format!("p{partition}"))
}

/// The partitions that there are in the directory of the log, in order; none when it does not
/// exist.
fn existing(log: &Path) -> Result<Vec<u32>, Error> {
    let failed = |error| Error::io("read directory of", error);
    let entries = match std::fs::read_dir(log) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut partitions = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix('p')?.parse().ok());
        partitions.extend(number.filter(|number| directory_of(log, *number) == path));
    }
    partitions.sort_unstable();
    Ok(partitions)
}

/// Whether there are records in a partition that are not noted as stored. Reads all of it.
///
/// # Errors
/// [`Error::Io`] when it can't be read.
pub fn holds_unstored(directory: &Path) -> Result<bool, Error> {
    let disk = Directory::new(directory);
    let read = |error| Error::io("read", error);
    let stored = note::read_stored(&disk).map_err(read)?.unwrap_or_default();
    let found = inspect_partition(String::new(), &disk).map_err(read)?;
    let last = found
        .segments
        .iter()
        .filter_map(|segment| segment.last_position);
    Ok(last.max().is_some_and(|last| last.0 >= stored))
}

/// The partitions beyond the first ones that there is something in, left from a start with more of
/// them. Those with nothing in them are no longer offered to other processes.
///
/// # Errors
/// [`Error::Io`] when the directory can't be read.
pub fn former(log: &Path, partitions: u32) -> Result<Vec<u32>, Error> {
    let mut former = Vec::new();
    for number in existing(log)? {
        if number < partitions {
            continue;
        }
        let disk = Directory::new(&directory_of(log, number));
        let files = disk.list().map_err(|error| Error::io("list", error))?;
        let is_segment = |name| Identity::parse(name).or_else(|| Identity::parse_held(name));
        if files.iter().any(|file| is_segment(&file.name).is_some()) {
            former.push(number);
        } else {
            forget_sharing(&disk);
        }
    }
    Ok(former)
}

/// The partitions that a process appends to, or has appended to, for others to store.
///
/// # Errors
/// [`Error::Io`] when the directory can't be read.
pub fn shared(log: &Path) -> Result<Vec<u32>, Error> {
    let mut partitions = existing(log)?;
    partitions.retain(|number| directory_of(log, *number).join(note::APPENDED).exists());
    Ok(partitions)
}

impl Config {
    /// What each of several partitions gets.
    #[must_use]
    pub fn of_one_in(&self, partitions: u32) -> Self {
        let share = |size: ByteSize| ByteSize(size.0 / u64::from(partitions.max(1)));
        Self {
            max_size: share(self.max_size),
            memory_size: share(self.memory_size),
            ..self.clone()
        }
    }
}

/// Appends to the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Partitions {
    /// Appended to.
    current: Arc<[Log]>,
    /// Left from a start with more partitions; only emptied.
    former: Arc<[Log]>,
    /// Whose turn it is.
    turn: Arc<AtomicUsize>,
}

impl From<Log> for Partitions {
    fn from(log: Log) -> Self {
        Self::new(vec![log], Vec::new())
    }
}

impl Partitions {
    /// Appends to the first list. The second one is left to its readers, but counts and is closed
    /// with the others.
    #[must_use]
    pub fn new(current: Vec<Log>, former: Vec<Log>) -> Self {
        Self {
            current: current.into(),
            former: former.into(),
            turn: Arc::default(),
        }
    }

    /// Appends a record to one of the partitions and returns its position there when it is as
    /// durable as the configuration promises. Dropping the future does not take the record back.
    ///
    /// # Errors
    /// As [`Log::append`]; that of the last partition tried.
    pub async fn append(&self, entry: Entry) -> Result<Position, Error> {
        let count = self.current.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut refusal = Error::Closed;
        for offset in 0..count {
            let Some(log) = self.current.get(turn.wrapping_add(offset) % count) else {
                continue;
            };
            if offset + 1 == count {
                return log.append(entry).await;
            }
            match log.append(entry.clone()).await {
                // Of this one; another may have room, or a disk that works.
                Err(error) if error.is_retryable() => refusal = error,
                answer => return answer,
            }
        }
        Err(refusal)
    }

    /// Tells without waiting whether one of the partitions would take a record with this much
    /// payload now; see [`Log::check_room`].
    ///
    /// # Errors
    /// As [`Log::check_room`]; that of the last partition.
    pub fn check_room(&self, payload_bytes: usize) -> Result<(), Error> {
        let mut refusal = Error::Closed;
        for log in self.current.iter() {
            match log.check_room(payload_bytes) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn all(&self) -> impl Iterator<Item = &Log> {
        self.current.iter().chain(self.former.iter())
    }

    /// The state of the log now, all partitions together. There is no one next position.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for stats in self.all().map(Log::stats) {
            sum.bytes_used += stats.bytes_used;
            sum.bytes_in_memory += stats.bytes_in_memory;
            sum.segments += stats.segments;
            sum.damaged_segments += stats.damaged_segments;
            sum.lost_records += stats.lost_records;
            sum.failures += stats.failures;
            sum.unstored_records += stats.unstored_records;
            sum.unstored_bytes += stats.unstored_bytes;
            sum.held_bytes += stats.held_bytes;
            sum.held_bytes_max += stats.held_bytes_max;
            sum.given_up_records += stats.given_up_records;
        }
        for stats in self.current.iter().map(Log::stats) {
            sum.bytes_capacity += stats.bytes_capacity;
            sum.bytes_left = sum.bytes_left.max(stats.bytes_left);
            sum.writable |= stats.writable;
        }
        sum
    }

    /// Stops accepting in all partitions; see [`Log::close`].
    pub fn close(&self) {
        self.all().for_each(Log::close);
    }

    /// Waits until one of the log threads has ended.
    pub async fn any_ended(&self) {
        let ended = self.all().map(|log| Box::pin(log.ended()));
        futures_util::future::select_all(ended).await;
    }

    /// Waits until all log threads have ended.
    pub async fn ended(&self) {
        for log in self.all() {
            log.ended().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::model::ProjectId;
    use crate::queue::{PayloadKind, Start, open};

    fn entry(bytes: usize) -> Entry {
        Entry {
            project: ProjectId::DEFAULT,
            received_unix_nano: 1,
            kind: PayloadKind::OtlpTraces,
            payload: Bytes::from(vec![1; bytes]),
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.build().unwrap().block_on(future)
    }

    // Scenario: three partitions share a limit; the readers of one of them stand still.
    // Guarantees: requests are spread evenly; when one partition is full the others take them, and
    // a refusal means that all are full.
    #[test]
    fn a_full_partition_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            max_size: ByteSize::kib(3 * 64),
            segment_size: ByteSize::kib(32),
            ..Config::default()
        };
        let mut opened: Vec<_> = (0..3)
            .map(|number| {
                let path = directory_of(directory.path(), number);
                let config = config.of_one_in(3);
                open(&config, &path, Start::Noted, Arc::new(())).unwrap()
            })
            .collect();
        let logs = opened.iter().map(|opened| opened.log.clone()).collect();
        let partitions = Partitions::new(logs, Vec::new());
        assert_eq!(partitions.stats().bytes_capacity, config.max_size.0);
        let lengths = || -> BTreeMap<usize, u64> {
            let logs = partitions.all().enumerate();
            logs.map(|(number, log)| (number, log.stats().next_position.0 - 1))
                .collect()
        };
        for _ in 0..9 {
            block_on(partitions.append(entry(5000))).unwrap();
        }
        assert_eq!(lengths(), BTreeMap::from([(0, 3), (1, 3), (2, 3)]));
        let mut taken = 9;
        while block_on(partitions.append(entry(5000))).is_ok() {
            taken += 1;
            let stats = opened[0].log.stats();
            // The first is emptied, until the others are full.
            if taken < 60 {
                opened[0].release.upto(stats.next_position);
            }
        }
        let lengths = lengths();
        assert!(lengths[&0] > 30, "{lengths:?}");
        assert!(lengths[&1] < 15 && lengths[&2] < 15, "{lengths:?}");
        assert!(!partitions.stats().writable);
        partitions.close();
        block_on(partitions.ended());
        let closed = block_on(partitions.append(entry(1))).unwrap_err();
        assert!(matches!(closed, Error::Closed));
    }

    #[test]
    fn only_directories_of_partitions_are_partitions() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["p0", "p10", "p2", "p02", "px", "p", "listeners"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        assert_eq!(existing(directory.path()).unwrap(), [0, 2, 10]);
        assert!(existing(&directory.path().join("no")).unwrap().is_empty());
        assert!(former(directory.path(), 1).unwrap().is_empty());
    }
}
