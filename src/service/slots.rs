//! How many listeners share a data directory, and which one this is: each holds the lock of a
//! numbered file, which the system gives back when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;

/// Most listeners on one data directory; more than partitions would have nothing to do.
const LISTENERS_MAX: u32 = 64;

/// This listener's place.
#[derive(Debug)]
pub(super) struct Slot {
    directory: PathBuf,
    number: u32,
    _lock: File,
}

/// This listener among those that live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    /// Listeners before this one.
    pub(super) before: usize,
    /// All of them.
    pub(super) all: usize,
}

impl Rank {
    /// How many of these partitions this listener should hold. The shares of all listeners
    /// together are all partitions.
    pub(super) fn share_of(self, partitions: usize) -> usize {
        let all = self.all.max(1);
        partitions / all + usize::from(self.before < partitions % all)
    }
}

fn path_of(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number}.lock"))
}

impl Slot {
    /// Takes the first place that is free.
    ///
    /// # Errors
    /// [`Error::System`] when there is none, or the directory can't be used.
    pub(super) fn take(data_dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::System {
            what: "register as a listener in the data directory",
            source,
        };
        let directory = data_dir.join("listeners");
        std::fs::create_dir_all(&directory).map_err(failed)?;
        for number in 0..LISTENERS_MAX {
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            let file = options.open(path_of(&directory, number)).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        directory,
                        number,
                        _lock: file,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Err(failed(io::Error::other("too many listeners")))
    }

    /// Counts the listeners that live now.
    pub(super) fn rank(&self) -> io::Result<Rank> {
        let mut rank = Rank { before: 0, all: 1 };
        for number in (0..LISTENERS_MAX).filter(|number| *number != self.number) {
            let file = match File::open(path_of(&self.directory, number)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    rank.all += 1;
                    rank.before += usize::from(number < self.number);
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_know_of_each_other_while_they_live() {
        let directory = tempfile::tempdir().unwrap();
        let rank = |before, all| Rank { before, all };
        let first = Slot::take(directory.path()).unwrap();
        assert_eq!(first.rank().unwrap(), rank(0, 1));
        let second = Slot::take(directory.path()).unwrap();
        let third = Slot::take(directory.path()).unwrap();
        assert_eq!(first.rank().unwrap(), rank(0, 3));
        assert_eq!(third.rank().unwrap(), rank(2, 3));
        drop(second);
        assert_eq!(third.rank().unwrap(), rank(1, 2));
        let second = Slot::take(directory.path()).unwrap();
        assert_eq!(second.rank().unwrap(), rank(1, 3));
    }

    #[test]
    fn shares_are_even_and_leave_nothing_over() {
        for all in 1..70 {
            for partitions in 0..70 {
                let shares = (0..all).map(|before| Rank { before, all }.share_of(partitions));
                let shares: Vec<usize> = shares.collect();
                assert_eq!(shares.iter().sum::<usize>(), partitions);
                assert!(shares[0] - shares[all - 1] <= 1);
            }
        }
    }
}
