//! A disk in memory that fails on demand and forgets, at a crash, what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::queue::file::{BLOCK, Disk, Listed, SegmentFile, Space};

/// What survives a power loss in units of this.
const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: Vec<usize>,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    /// Directory contents after each change since the last directory sync, oldest first.
    history: Vec<BTreeMap<String, u64>>,
    next_inode: u64,
    capacity: Option<usize>,
    failing_syncs: u32,
    failing_writes: u32,
    dead: bool,
    syncs: u64,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk {
    state: Arc<Mutex<State>>,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn enospc() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(2)
}

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A disk with the same durable contents and no faults.
    pub(super) fn fork(&self) -> Self {
        let state = self.lock();
        let copy = Self::default();
        copy.lock().inodes = state.inodes.clone();
        copy.lock().names = state.names.clone();
        copy.lock().next_inode = state.next_inode;
        drop(state);
        copy
    }

    /// Lets the next syncs fail; what they should have made durable is gone for good.
    pub(super) fn fail_syncs(&self, count: u32) {
        self.lock().failing_syncs = count;
    }

    /// Lets the next writes fail half way.
    pub(super) fn fail_writes(&self, count: u32) {
        self.lock().failing_writes = count;
    }

    /// Limits the bytes of all files to what they are now, or takes the limit away.
    pub(super) fn set_full(&self, full: bool) {
        let mut state = self.lock();
        let used = state.inodes.values().map(|inode| inode.current.len()).sum();
        state.capacity = full.then_some(used);
    }

    /// Limits the bytes of all files.
    pub(super) fn set_capacity(&self, bytes: usize) {
        self.lock().capacity = Some(bytes);
    }

    /// From now on nothing that is done has an effect: the process is dead.
    pub(super) fn kill(&self) {
        self.lock().dead = true;
    }

    /// Brings the machine back after the process died.
    pub(super) fn restart(&self) {
        let mut state = self.lock();
        state.dead = false;
        state.failing_syncs = 0;
        state.failing_writes = 0;
    }

    /// The power fails: of what was not synced, `chance` decides what has arrived.
    pub(super) fn power_loss(&self, mut chance: impl FnMut() -> bool) {
        let mut state = self.lock();
        let mut survivor = None;
        for names in std::mem::take(&mut state.history) {
            if survivor.is_none() || chance() {
                survivor = Some(names);
            } else {
                break;
            }
        }
        if let Some(names) = survivor {
            state.names = names;
        }
        for inode in state.inodes.values_mut() {
            if inode.durable.len() != inode.current.len() && chance() {
                inode.durable.resize(inode.current.len(), 0);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                let range = sector * SECTOR..(sector + 1) * SECTOR;
                if range.end <= inode.durable.len() && chance() {
                    inode.durable[range.clone()].copy_from_slice(&inode.current[range]);
                }
            }
            inode.current = inode.durable.clone();
        }
        let named: Vec<u64> = state.names.values().copied().collect();
        state.inodes.retain(|inode, _| named.contains(inode));
    }

    pub(super) fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.inodes[&state.names[name]].current.clone()
    }

    pub(super) fn overwrite(&self, name: &str, contents: Vec<u8>) {
        let mut state = self.lock();
        let inode = state.names[name];
        let inode = state.inodes.get_mut(&inode).unwrap();
        inode.current = contents.clone();
        inode.durable = contents;
        inode.dirty.clear();
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    pub(super) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let inode = *self.lock().names.get(name).ok_or_else(gone)?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
            note: false,
        }))
    }

    /// Whether these files hold durably what they hold now, but for the notes.
    pub(super) fn is_durable(&self, name: &str, bytes: std::ops::Range<usize>) -> bool {
        let state = self.lock();
        let inode = &state.inodes[&state.names[name]];
        inode.durable.get(bytes.clone()) == inode.current.get(bytes)
    }

    fn change_names(&self, change: impl FnOnce(&mut BTreeMap<String, u64>)) {
        let mut state = self.lock();
        if state.history.is_empty() {
            let before = state.names.clone();
            state.history.push(before);
        }
        change(&mut state.names);
        let after = state.names.clone();
        state.history.push(after);
    }

    fn alive(&self) -> io::Result<()> {
        if self.lock().dead { Err(eio()) } else { Ok(()) }
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<Listed>> {
        let state = self.lock();
        let listed = state.names.iter().map(|(name, inode)| Listed {
            name: name.clone(),
            bytes: state.inodes[inode].current.len() as u64,
        });
        Ok(listed.collect())
    }

    fn create(&self, name: &str, bytes: u64, _direct: bool) -> io::Result<Box<dyn SegmentFile>> {
        self.alive()?;
        let bytes = usize::try_from(bytes).unwrap();
        let mut state = self.lock();
        assert!(!state.names.contains_key(name), "{name} exists");
        let used: usize = state.inodes.values().map(|inode| inode.current.len()).sum();
        if state
            .capacity
            .is_some_and(|capacity| used + bytes > capacity)
        {
            return Err(enospc());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        let contents = Inode {
            current: vec![0; bytes],
            ..Inode::default()
        };
        state.inodes.insert(inode, contents);
        drop(state);
        self.change_names(|names| {
            names.insert(name.to_owned(), inode);
        });
        self.open(name)
    }

    fn open_write(&self, name: &str, _direct: bool) -> io::Result<Box<dyn SegmentFile>> {
        self.alive()?;
        self.open(name)
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.open(name)
    }

    fn open_note(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let known = self.lock().names.contains_key(name);
        if !known {
            self.create(name, 0, false)?;
        }
        let inode = *self.lock().names.get(name).ok_or_else(gone)?;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
            note: true,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.alive()?;
        let inode = *self.lock().names.get(from).ok_or_else(gone)?;
        self.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), inode);
        });
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.alive()?;
        let state = self.lock();
        let inode = *state.names.get(from).ok_or_else(gone)?;
        if state.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        drop(state);
        self.change_names(|names| {
            names.insert(to.to_owned(), inode);
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.alive()?;
        self.lock().names.get(name).ok_or_else(gone)?;
        self.change_names(|names| {
            names.remove(name);
        });
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.lock();
        let used: usize = state.inodes.values().map(|inode| inode.current.len()).sum();
        let total = state.capacity.unwrap_or(1 << 40);
        Ok(Space {
            free: total.saturating_sub(used) as u64,
            total: total as u64,
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.alive()?;
        let mut state = self.lock();
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(eio());
        }
        state.history.clear();
        let named: Vec<u64> = state.names.values().copied().collect();
        state.inodes.retain(|inode, _| named.contains(inode));
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    note: bool,
}

impl SegmentFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.alive()?;
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.disk.lock();
        let fails = state.failing_writes > 0 && !self.note;
        if self.note {
            let inode = state.inodes.get_mut(&self.inode).ok_or_else(gone)?;
            let length = inode.current.len().max(offset + bytes.len());
            inode.current.resize(length, 0);
        } else {
            assert!(offset.is_multiple_of(BLOCK) && bytes.len().is_multiple_of(BLOCK));
            assert_eq!(bytes.as_ptr().align_offset(BLOCK), 0, "unaligned buffer");
            state.failing_writes = state.failing_writes.saturating_sub(1);
        }
        let inode = state.inodes.get_mut(&self.inode).ok_or_else(gone)?;
        let arrives = if fails { bytes.len() / 2 } else { bytes.len() };
        inode.current[offset..offset + arrives].copy_from_slice(&bytes[..arrives]);
        let dirty = offset / SECTOR..(offset + arrives) / SECTOR;
        inode.dirty.extend(dirty);
        if fails { Err(eio()) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let inode = state.inodes.get(&self.inode).ok_or_else(gone)?;
        let offset = usize::try_from(offset).unwrap();
        let rest = inode.current.get(offset..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.alive()?;
        let mut state = self.disk.lock();
        state.syncs += 1;
        let fails = state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        let inode = state.inodes.get_mut(&self.inode).ok_or_else(gone)?;
        let dirty = std::mem::take(&mut inode.dirty);
        if fails {
            // Like the kernel: the pages count as clean from now on.
            return Err(eio());
        }
        inode.durable.resize(inode.current.len(), 0);
        for sector in dirty {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            inode.durable[range.clone()].copy_from_slice(&inode.current[range]);
        }
        Ok(())
    }
}
