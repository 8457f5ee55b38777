//! What the processes on one partition tell each other: small files beside the segments.
//!
//! - `appended`, written by the process that appends, if another stores: which records there are.
//! - `stored`, written by whoever stores: which records are in the store.
//! - `sent`, written by whoever sends records to another backend (`tee`), and there only while
//!   somebody does: which have been sent, and what may be held back of the others.
//!
//! Each is one block, overwritten in place and never synced. A reader that finds it torn looks
//! again. What a power loss leaves is older than the truth or unreadable, never newer: the log is
//! synced before `appended` says so, and the store has committed before `stored` does. Then the
//! log is read anew by the process that appends, and records are stored again that already were,
//! which the store recognises.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};

use super::file::{Disk, SegmentFile};
use super::{Hold, LogId};

/// Name of the note of the process that appends.
pub(super) const APPENDED: &str = "appended";
/// Name of the note of the process that stores.
pub(super) const STORED: &str = "stored";
/// Name of the note of whoever sends.
pub(super) const SENT: &str = "sent";

/// Size of a note; a sector, so that most disks write it whole.
const BYTES: usize = 512;
const FORMAT_VERSION: u32 = 1;
const APPENDED_MAGIC: [u8; 8] = *b"PULSEAPP";
const STORED_MAGIC: [u8; 8] = *b"PULSESTO";
const SENT_MAGIC: [u8; 8] = *b"PULSESEN";

/// How often, and after which pause, a note is read again that is being overwritten.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);

/// Which records there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appended {
    /// Which life of the log this is.
    pub(super) log: LogId,
    /// Position after the last record that may be read.
    pub(super) end: u64,
    /// The newest segment that holds one.
    pub(super) sequence: u64,
    /// Bytes of that segment that may be read; more than the file has means all.
    pub(super) written: u64,
}

impl Appended {
    fn encode(&self) -> [u8; BYTES] {
        encode(APPENDED_MAGIC, |rest| {
            rest.put_slice(&self.log.0);
            rest.put_u64_le(self.end);
            rest.put_u64_le(self.sequence);
            rest.put_u64_le(self.written);
        })
    }

    fn decode(block: &[u8]) -> Block<Self> {
        decode(block, APPENDED_MAGIC, |rest| {
            let mut log = LogId::default();
            rest.copy_to_slice(&mut log.0);
            Self {
                log,
                end: rest.get_u64_le(),
                sequence: rest.get_u64_le(),
                written: rest.get_u64_le(),
            }
        })
    }

    /// Overwrites the note.
    pub(super) fn write(&self, note: &dyn SegmentFile) -> io::Result<()> {
        note.write_at(&self.encode(), 0)
    }

    /// Reads the note; `None` when there is none that can be read.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        read(disk, APPENDED, TRIES, Self::decode)
    }
}

/// Overwrites the note of what is stored: everything below `next`.
pub(super) fn write_stored(note: &dyn SegmentFile, next: u64) -> io::Result<()> {
    let block = encode(STORED_MAGIC, |rest| rest.put_u64_le(next));
    note.write_at(&block, 0)
}

/// Reads the note of what is stored; `None` when there is none that can be read.
pub(super) fn read_stored(disk: &dyn Disk) -> io::Result<Option<u64>> {
    read(disk, STORED, TRIES, decode_stored)
}

/// The same for who looks again soon anyway.
pub(super) fn glance_at_stored(disk: &dyn Disk) -> io::Result<Option<u64>> {
    read(disk, STORED, 1, decode_stored)
}

fn decode_stored(block: &[u8]) -> Block<u64> {
    decode(block, STORED_MAGIC, |rest| rest.get_u64_le())
}

/// What has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Everything below has been sent, or given up.
    pub(super) next: u64,
    /// What may be held back.
    pub(super) hold: Hold,
}

impl Sent {
    /// Overwrites the note.
    pub(super) fn write(&self, note: &dyn SegmentFile) -> io::Result<()> {
        let block = encode(SENT_MAGIC, |rest| {
            rest.put_u64_le(self.next);
            rest.put_u64_le(self.hold.bytes_max);
            rest.put_u8(u8::from(self.hold.refuses));
        });
        note.write_at(&block, 0)
    }

    /// Reads the note; `None` when there is none that can be read.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        read(disk, SENT, TRIES, Self::decode)
    }

    /// The same for who looks again soon anyway.
    pub(super) fn glance(disk: &dyn Disk) -> io::Result<Option<Self>> {
        read(disk, SENT, 1, Self::decode)
    }

    fn decode(block: &[u8]) -> Block<Self> {
        decode(block, SENT_MAGIC, |rest| Self {
            next: rest.get_u64_le(),
            hold: Hold {
                bytes_max: rest.get_u64_le(),
                refuses: rest.get_u8() != 0,
            },
        })
    }
}

/// Whether there is a note, readable or not.
pub(super) fn exists(disk: &dyn Disk, name: &str) -> io::Result<bool> {
    match disk.open_read(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the note of what is stored, with its block in place, so that overwriting it needs no
/// room on a disk that is full.
pub(super) fn open_stored(disk: &dyn Disk) -> io::Result<Box<dyn SegmentFile>> {
    open(disk, STORED)
}

/// Opens the note of what has been sent likewise.
pub(super) fn open_sent(disk: &dyn Disk) -> io::Result<Box<dyn SegmentFile>> {
    open(disk, SENT)
}

/// Removes a note.
pub(super) fn forget(disk: &dyn Disk, name: &str) {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%name, %error, "can't remove a note beside the log");
        }
        _ => {}
    }
}

fn open(disk: &dyn Disk, name: &str) -> io::Result<Box<dyn SegmentFile>> {
    let note = disk.open_note(name)?;
    if note.read_at(&mut [0; BYTES], 0)? < BYTES {
        note.write_at(&[0; BYTES], 0)?;
    }
    Ok(note)
}

/// What a block is.
enum Block<T> {
    Valid(T),
    /// Never written, or in a format that this release does not know.
    Absent,
    /// Being overwritten, or damaged.
    Torn,
}

fn encode(magic: [u8; 8], fields: impl FnOnce(&mut &mut [u8])) -> [u8; BYTES] {
    let mut body = [0; BYTES - 12];
    let mut rest = body.as_mut_slice();
    rest.put_u32_le(FORMAT_VERSION);
    fields(&mut rest);
    let mut block = [0; BYTES];
    let mut rest = block.as_mut_slice();
    rest.put_slice(&magic);
    rest.put_u32_le(crc32fast::hash(&body));
    rest.put_slice(&body);
    block
}

fn decode<T>(block: &[u8], magic: [u8; 8], fields: impl FnOnce(&mut &[u8]) -> T) -> Block<T> {
    if block.len() < BYTES || block.iter().all(|byte| *byte == 0) {
        return Block::Absent;
    }
    let mut rest = block;
    let known = rest.get_u64_le() == u64::from_le_bytes(magic);
    if !known || rest.get_u32_le() != crc32fast::hash(rest) {
        return Block::Torn;
    }
    if rest.get_u32_le() != FORMAT_VERSION {
        return Block::Absent;
    }
    Block::Valid(fields(&mut rest))
}

fn read<T>(
    disk: &dyn Disk,
    name: &str,
    tries: u32,
    decode: impl Fn(&[u8]) -> Block<T>,
) -> io::Result<Option<T>> {
    for _ in 0..tries {
        let file = match disk.open_read(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut block = [0; BYTES];
        let length = file.read_at(&mut block, 0)?;
        match decode(block.get(..length).unwrap_or_default()) {
            Block::Valid(note) => return Ok(Some(note)),
            Block::Absent => return Ok(None),
            Block::Torn => std::thread::sleep(PAUSE),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::file::Directory;

    #[test]
    fn notes_read_back_what_they_say_and_torn_ones_say_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Directory::new(directory.path());
        assert_eq!(Appended::read(&disk).unwrap(), None);
        assert_eq!(read_stored(&disk).unwrap(), None);
        let appended = Appended {
            log: LogId::new(),
            end: 7,
            sequence: 3,
            written: 8192,
        };
        let note = disk.open_note(APPENDED).unwrap();
        appended.write(&*note).unwrap();
        assert_eq!(Appended::read(&disk).unwrap(), Some(appended));

        let note = open_stored(&disk).unwrap();
        assert_eq!(read_stored(&disk).unwrap(), None);
        write_stored(&*note, 5).unwrap();
        drop(open_stored(&disk).unwrap());
        assert_eq!(read_stored(&disk).unwrap(), Some(5));
        note.write_at(&[1], 100).unwrap();
        assert_eq!(read_stored(&disk).unwrap(), None);
        write_stored(&*note, 6).unwrap();
        assert_eq!(read_stored(&disk).unwrap(), Some(6));

        assert!(!exists(&disk, SENT).unwrap());
        let note = open_sent(&disk).unwrap();
        assert!(exists(&disk, SENT).unwrap());
        assert_eq!(Sent::read(&disk).unwrap(), None);
        let sent = Sent {
            next: 9,
            hold: Hold {
                bytes_max: 1 << 40,
                refuses: true,
            },
        };
        sent.write(&*note).unwrap();
        assert_eq!(Sent::glance(&disk).unwrap(), Some(sent));
        forget(&disk, SENT);
        assert!(!exists(&disk, SENT).unwrap());
    }
}
