//! One daemon per data directory: an advisory lock on a file in it, which the system gives back
//! when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// A predecessor that was killed a moment ago may still be on its way out.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

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
}

/// Holds a data directory for this process.
#[derive(Debug)]
pub struct DataDirLock {
    /// Locked for as long as it is open.
    _file: File,
}

impl DataDirLock {
    /// Creates the directory if needed and locks it.
    ///
    /// # Errors
    /// [`Error::Directory`], [`Error::InUse`].
    pub fn acquire(directory: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Directory {
            path: directory.to_owned(),
            source,
        };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .map_err(failed)?;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        Err(Error::InUse {
            path: directory.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let held = DataDirLock::acquire(&path).unwrap();
        assert!(matches!(
            DataDirLock::acquire(&path),
            Err(Error::InUse { .. })
        ));
        drop(held);
        DataDirLock::acquire(&path).unwrap();
    }

    #[test]
    fn an_unusable_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataDirLock::acquire(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
