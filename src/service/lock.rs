//! Who works in a data directory: one daemon that takes requests, and either it stores them, or any
//! number of listeners do. Advisory locks on files in it, which the system gives back when the
//! process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::Mode;

/// A predecessor that was killed a moment ago may still be on its way out.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Held by the daemon that takes requests.
const RECEIVING: &str = "lock";
/// Held by the daemon that stores them, alone or, by listeners, together.
const STORING: &str = "writers.lock";

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be created or written.
    #[error("use data directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("data directory {} is in use by another pulse-collector", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Listeners use it, and this daemon would store its log itself.
    #[error(
        "data directory {} is in use by listeners: stop them, or start with service.mode=api",
        path.display()
    )]
    HasListeners {
        /// The directory.
        path: PathBuf,
    },
    /// A daemon that stores its log itself uses it.
    #[error(
        "data directory {} is in use by a pulse-collector that stores its log itself: \
         a listener works beside one with service.mode=api",
        path.display()
    )]
    StoresItself {
        /// The directory.
        path: PathBuf,
    },
}

/// Holds a data directory for this process.
#[derive(Debug)]
pub struct DataDirLock {
    /// Locked for as long as they are open.
    _files: Vec<File>,
}

impl DataDirLock {
    /// Creates the directory if needed and locks it for what the mode does.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn acquire(directory: &Path, mode: Mode) -> Result<Self, Error> {
        let alone = FlockOperation::NonBlockingLockExclusive;
        let together = FlockOperation::NonBlockingLockShared;
        let path = directory.to_owned();
        let wanted = match mode {
            Mode::All => vec![
                (RECEIVING, alone, Error::InUse { path: path.clone() }),
                (STORING, alone, Error::HasListeners { path }),
            ],
            Mode::Api => vec![(RECEIVING, alone, Error::InUse { path })],
            Mode::Listener => vec![(STORING, together, Error::StoresItself { path })],
        };
        let files = wanted
            .into_iter()
            .map(|(name, operation, in_use)| lock(directory, name, operation, in_use));
        Ok(Self {
            _files: files.collect::<Result<_, _>>()?,
        })
    }
}

fn lock(
    directory: &Path,
    name: &str,
    operation: FlockOperation,
    in_use: Error,
) -> Result<File, Error> {
    let failed = |source| Error::Directory {
        path: directory.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(directory.join(name)).map_err(failed)?;
    for _ in 0..TRIES {
        match flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    Err(in_use)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        for mode in [Mode::All, Mode::Api] {
            let held = DataDirLock::acquire(&path, mode).unwrap();
            for other in [Mode::All, Mode::Api] {
                let refused = DataDirLock::acquire(&path, other);
                assert!(matches!(refused, Err(Error::InUse { .. })));
            }
            drop(held);
        }
        DataDirLock::acquire(&path, Mode::All).unwrap();
    }

    #[test]
    fn listeners_share_a_directory_with_who_leaves_storing_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let api = DataDirLock::acquire(path, Mode::Api).unwrap();
        let first = DataDirLock::acquire(path, Mode::Listener).unwrap();
        let second = DataDirLock::acquire(path, Mode::Listener).unwrap();
        drop((api, first));
        let refused = DataDirLock::acquire(path, Mode::All);
        assert!(matches!(refused, Err(Error::HasListeners { .. })));
        drop(second);
        let all = DataDirLock::acquire(path, Mode::All).unwrap();
        let refused = DataDirLock::acquire(path, Mode::Listener).unwrap_err();
        assert!(matches!(refused, Error::StoresItself { .. }));
        assert!(refused.to_string().contains("service.mode=api"));
        drop(all);
    }

    #[test]
    fn an_unusable_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataDirLock::acquire(&file.join("data"), Mode::All).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
