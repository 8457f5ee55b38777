//! Reading a partition that another process appends to.
//!
//! The other process says through its note how far the log goes ([`super::note`]); the segments
//! are found by their names, as a start finds them. Nothing here is written but the note of what
//! is stored, and second names for damaged segments.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::file::{Directory, Disk};
use super::note::{self, Appended, Sent};
use super::segment::{Identity, Segment};
use super::tail::{Live, Source};
use super::tee::{self, Beside};
use super::{Error, Hold, LogId, Position, Reader, Release, Tee, lease};

/// How often the note is looked at while nothing new is there.
const POLL: Duration = Duration::from_millis(20);

/// A partition that another process appends to, held for storing.
#[derive(Debug)]
pub struct Followed {
    /// Which life of the log is followed. When the next one begins the reader says
    /// [`super::Next::Closed`].
    pub id: LogId,
    /// Reads from the first record that is not noted as stored.
    pub reader: Reader,
    /// Tells the other process what is stored.
    pub release: Release,
    /// What was found damaged.
    pub damage: Damage,
    /// For sending records elsewhere, where that is wanted.
    pub tee: Option<Tee>,
}

/// What a reader found damaged in another process's log. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    lost_records: Arc<AtomicU64>,
    segments: Arc<AtomicU64>,
}

impl Damage {
    /// Acknowledged records that are gone.
    #[must_use]
    pub fn lost_records(&self) -> u64 {
        self.lost_records.load(Ordering::Relaxed)
    }

    /// Segments set aside.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.segments.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, lost_records: u64, segments: u64) {
        self.lost_records.fetch_add(lost_records, Ordering::Relaxed);
        self.segments.fetch_add(segments, Ordering::Relaxed);
    }
}

/// Takes a partition for storing; `None` when another process has it, or when none appends to it
/// for others to store.
///
/// # Errors
/// [`Error::Io`] when the directory can't be used.
pub fn follow(directory: &Path) -> Result<Option<Followed>, Error> {
    follow_and_send(directory, None)
}

/// The same for who also sends records elsewhere, and has so much held back for it. Without,
/// nothing is held back any more.
///
/// # Errors
/// As [`follow`].
pub fn follow_and_send(directory: &Path, hold: Option<Hold>) -> Result<Option<Followed>, Error> {
    let Some(lock) = lease::take(directory)? else {
        return Ok(None);
    };
    let disk: Arc<dyn Disk> = Arc::new(Directory::new(directory));
    let followed = follow_on(&disk, Some(Arc::new(lock)), hold);
    followed.map_err(|error| Error::io("read", error))
}

pub(super) fn follow_on(
    disk: &Arc<dyn Disk>,
    lock: Option<Arc<File>>,
    hold: Option<Hold>,
) -> io::Result<Option<Followed>> {
    let Some(appended) = Appended::read(&**disk)? else {
        return Ok(None);
    };
    let mut follower = Follower::new(Arc::clone(disk), appended);
    follower.list()?;
    let tee = match hold {
        Some(hold) => Some(send_on(disk, appended, lock.clone(), hold)?),
        None => {
            note::forget(&**disk, note::SENT);
            None
        }
    };
    let release = Release::new(None, lock);
    // What lies below the oldest segment was released, whatever has become of the note. A note
    // beyond the end is not of this log.
    let noted = note::read_stored(&**disk)?.filter(|noted| *noted <= appended.end);
    let first = noted.unwrap_or_default().max(follower.first());
    let damage = Damage::default();
    Ok(Some(Followed {
        id: appended.log,
        reader: Reader::following(follower, Arc::clone(disk), first, damage.clone()),
        release: release.with_note(disk),
        damage,
        tee,
    }))
}

/// Opens the end of who sends.
fn send_on(
    disk: &Arc<dyn Disk>,
    appended: Appended,
    lock: Option<Arc<File>>,
    hold: Hold,
) -> io::Result<Tee> {
    let mut follower = Follower::new(Arc::clone(disk), appended);
    follower.with_held = true;
    follower.list()?;
    let reach = (follower.first(), follower.end());
    // With a limit given there is always something to go on with.
    let sent = tee::resume(&**disk, Some(hold), reach)?;
    let sent = sent.unwrap_or(Sent {
        next: follower.end(),
        hold,
    });
    tee::begin(&**disk, &sent)?;
    Ok(Tee::new(
        Beside::Elsewhere(follower),
        disk,
        sent,
        (None, lock),
    ))
}

/// Finds the records of another process's log.
#[derive(Debug)]
pub(super) struct Follower {
    disk: Arc<dyn Disk>,
    appended: Appended,
    /// Segments up to the newest that the note names, in order.
    segments: Vec<Live>,
    /// Those that are kept to be sent are looked for, too.
    with_held: bool,
}

impl Follower {
    fn new(disk: Arc<dyn Disk>, appended: Appended) -> Self {
        Self {
            disk,
            appended,
            segments: Vec::new(),
            with_held: false,
        }
    }

    /// What was found last.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Live> {
        self.segments.iter()
    }

    /// Position of the oldest record there is, or of the next one.
    fn first(&self) -> u64 {
        let oldest = self.segments.first();
        oldest.map_or(self.appended.end, |live| live.segment.identity.first)
    }

    /// Position after the last record that may be read.
    pub(super) fn end(&self) -> u64 {
        self.appended.end
    }

    /// Tells where the record at `next` is, waiting for it if it isn't there yet.
    pub(super) fn locate(&mut self, next: u64, wait: Duration) -> io::Result<Source> {
        let deadline = Instant::now() + wait;
        loop {
            if next < self.appended.end {
                return self.find(next);
            }
            match Appended::read(&*self.disk)? {
                Some(appended) if appended.log != self.appended.log => return Ok(Source::Ended),
                Some(appended) => self.update(appended),
                // Nobody appends now.
                None => {}
            }
            if next < self.appended.end {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Source::Nothing);
            }
            std::thread::sleep(left.min(POLL));
        }
    }

    /// Takes what is known of the segments for out of date.
    pub(super) fn forget(&mut self) {
        self.segments.clear();
    }

    fn update(&mut self, appended: Appended) {
        self.appended = appended;
        match self.segments.last_mut() {
            Some(live) if live.segment.identity.sequence == appended.sequence => {
                live.end = appended.end;
                live.written = appended.written.min(live.segment.bytes);
            }
            _ => self.segments.clear(),
        }
    }

    fn find(&mut self, next: u64) -> io::Result<Source> {
        if self.segments.is_empty() {
            self.list()?;
        }
        let found = self.look_for(next);
        if matches!(found, Source::Disk(_)) {
            return Ok(found);
        }
        // Nothing is taken for missing that a second look finds.
        self.list()?;
        Ok(self.look_for(next))
    }

    fn look_for(&self, next: u64) -> Source {
        let index = self.segments.partition_point(|live| live.end <= next);
        match self.segments.get(index) {
            Some(live) if live.segment.identity.first <= next => Source::Disk(live.clone()),
            Some(live) => Source::Missing(live.segment.identity.first),
            None => Source::Missing(self.appended.end),
        }
    }

    /// Finds the segments, as recovery does: each holds the positions below those of the ones that
    /// were made after it; what it has above was left behind by a failed write.
    fn list(&mut self) -> io::Result<()> {
        let listed = self.disk.list()?;
        let identities = listed.iter().filter_map(|file| {
            let held = || Identity::parse_held(&file.name).filter(|_| self.with_held);
            let identity = Identity::parse(&file.name).or_else(held)?;
            (identity.sequence <= self.appended.sequence).then_some((identity, file.bytes))
        });
        let mut identities: Vec<_> = identities.collect();
        identities.sort_unstable_by_key(|(identity, _)| identity.sequence);
        // Seen under both names while it gets the other one.
        identities.dedup_by_key(|(identity, _)| identity.sequence);
        let mut segments = Vec::new();
        let mut bound = self.appended.end;
        for (identity, bytes) in identities.into_iter().rev() {
            let newest = identity.sequence == self.appended.sequence;
            if identity.first >= bound {
                continue;
            }
            segments.push(Live {
                segment: Arc::new(Segment::new(identity, bytes)),
                end: bound,
                written: if newest {
                    self.appended.written.min(bytes)
                } else {
                    bytes
                },
                sealed: !newest,
                payload_bytes: 0,
            });
            bound = identity.first;
        }
        segments.reverse();
        self.segments = segments;
        Ok(())
    }
}

impl Reader {
    /// Leaves out what the store has, by its own account, when that is more than was noted. Answers
    /// where reading begins: everything before is stored.
    pub fn skip_stored(&mut self, first_unstored: Position) -> Position {
        if let Some(end) = self.followed_end() {
            if first_unstored.0 > end {
                tracing::warn!(
                    first_unstored = first_unstored.0,
                    end,
                    "the store's checkpoint lies beyond the log; reading all of the log"
                );
            } else {
                self.start_at(first_unstored.0);
            }
        }
        self.position()
    }
}
