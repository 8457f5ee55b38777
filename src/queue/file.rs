//! The seam between the log and the file system.
//!
//! Everything the log does to a disk goes through [`Disk`] and [`SegmentFile`], so that tests run
//! the real log on a disk that fails, tears writes, forgets what was not synced and fills up.
//! [`Directory`] is the real one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};

/// Unit of writing: groups begin and end on multiples of it, and direct I/O needs it.
pub(super) const BLOCK: usize = 4096;

/// A name in the directory and its length in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// One directory of files.
pub(super) trait Disk: Send + Sync + fmt::Debug {
    /// Lists the plain files.
    fn list(&self) -> io::Result<Vec<Listed>>;
    /// Makes a new file with its space allocated; leaves none behind when that fails.
    fn create(&self, name: &str, bytes: u64, direct: bool) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens an existing file for writing.
    fn open_write(&self, name: &str, direct: bool) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens an existing file for reading.
    fn open_read(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Opens a small file for reading and overwriting at any offset, making it if there is none.
    fn open_note(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;
    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Gives a file a second name.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes created, renamed and removed names durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// What the file system has room for.
    fn space(&self) -> io::Result<Space>;
}

/// What a file system has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes that we may still take.
    pub(super) free: u64,
    /// Bytes of all of it.
    pub(super) total: u64,
}

/// An open file.
pub(super) trait SegmentFile: Send + fmt::Debug {
    /// Writes all bytes at the offset. Both are multiples of [`BLOCK`], and so is the address, but
    /// in a note.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads at the offset until the buffer is full or the file ends; returns the bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes all written bytes durable. After an error the file must not be trusted again: the
    /// kernel may have thrown the pages away and would report success the next time.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the operating system.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Opens a file, with direct I/O where that is wanted and the file system has it.
    fn open(&self, options: &OpenOptions, name: &str, direct: bool) -> io::Result<RealFile> {
        let file = options.open(self.path.join(name))?;
        // Not with the flag at once: a file system without it refuses, but keeps the new file.
        let direct = direct && set_direct(&file, true).is_ok();
        Ok(RealFile { file, direct })
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since it was listed, by the daemon that `inspect` runs beside.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(Listed {
                    name,
                    bytes: metadata.len(),
                });
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str, bytes: u64, direct: bool) -> io::Result<Box<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let allocated = self.open(&options, name, direct).and_then(|file| {
            allocate(&file.file, bytes)?;
            Ok(file)
        });
        match allocated {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => {
                if error.kind() != io::ErrorKind::AlreadyExists {
                    // What counts is the first error; a leftover is removed at the next start.
                    drop(self.remove(name));
                }
                Err(error)
            }
        }
    }

    fn open_write(&self, name: &str, direct: bool) -> io::Result<Box<dyn SegmentFile>> {
        let file = self.open(OpenOptions::new().write(true), name, direct)?;
        Ok(Box::new(file))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let file = self.open(OpenOptions::new().read(true), name, false)?;
        Ok(Box::new(file))
    }

    fn open_note(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        Ok(Box::new(self.open(&options, name, false)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::hard_link(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

fn set_direct(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = rustix::fs::fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    rustix::fs::fcntl_setfl(file, flags)?;
    Ok(())
}

/// Gives the file its length and, where the file system can, its space: a full disk then shows
/// here and not in the middle of a group.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        other => other.map_err(io::Error::from),
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    direct: bool,
}

impl SegmentFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.file.write_all_at(bytes, offset) {
            Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                // Some say so only now.
                set_direct(&self.file, false)?;
                self.file.write_all_at(bytes, offset)
            }
            other => other,
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
