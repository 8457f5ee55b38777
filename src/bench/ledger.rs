//! Which requests were acknowledged. In memory a bit per request; in a file one number a line
//! after a first line with what is needed to derive the ids, synced before the run goes on, so
//! that a later process can verify the store after a crash of anything.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::layout::{Ids, Layout};

/// First line of a ledger: everything the ids follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) seed: u64,
    pub(super) layout: Layout,
}

const VERSION: u32 = 1;

impl Header {
    pub(super) const fn new(seed: u64, layout: Layout) -> Self {
        Self {
            version: VERSION,
            seed,
            layout,
        }
    }
}

/// A set of request numbers, a bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Acknowledged {
    bits: Vec<u64>,
    count: u64,
}

impl Acknowledged {
    pub(super) fn insert(&mut self, request: u64) {
        let Ok(word) = usize::try_from(request / 64) else {
            return;
        };
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            let bit = 1 << (request % 64);
            self.count += u64::from(*bits & bit == 0);
            *bits |= bit;
        }
    }

    pub(super) fn contains(&self, request: u64) -> bool {
        usize::try_from(request / 64)
            .ok()
            .and_then(|word| self.bits.get(word))
            .is_some_and(|bits| bits & (1 << (request % 64)) != 0)
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// One more than the largest number.
    pub(super) fn end(&self) -> u64 {
        let last = self.bits.iter().rposition(|bits| *bits != 0);
        last.and_then(|word| {
            let bits = u64::from(64 - self.bits.get(word)?.leading_zeros());
            Some(word as u64 * 64 + bits)
        })
        .unwrap_or(0)
    }
}

/// Notes acknowledgements while the load runs.
#[derive(Debug)]
pub(super) struct Ledger {
    acknowledged: Mutex<Acknowledged>,
    file: Option<FileLedger>,
}

#[derive(Debug)]
struct FileLedger {
    numbers: tokio::sync::mpsc::Sender<u64>,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
}

/// Numbers waiting for the file; the run waits beyond it.
const WAITING_MAX: usize = 4096;

impl Ledger {
    /// A ledger in memory, and in a file when a path is given.
    pub(super) fn new(header: Header, path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| FileLedger::create(header, path))
            .transpose()?;
        Ok(Self {
            acknowledged: Mutex::default(),
            file,
        })
    }

    /// Notes an acknowledged request.
    pub(super) async fn insert(&self, request: u64) {
        if let Some(file) = &self.file {
            // The thread is gone only after an error, which `finish` reports.
            file.numbers.send(request).await.ok();
        }
        let mut acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        acknowledged.insert(request);
    }

    /// What was noted so far.
    pub(super) fn snapshot(&self) -> Acknowledged {
        let acknowledged = self
            .acknowledged
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        acknowledged.clone()
    }

    /// Closes the file.
    ///
    /// # Errors
    /// When a number could not be written or synced.
    pub(super) async fn finish(self) -> anyhow::Result<Acknowledged> {
        if let Some(FileLedger { numbers, thread }) = self.file {
            drop(numbers);
            let written = tokio::task::spawn_blocking(|| thread.join()).await?;
            written
                .map_err(|_| anyhow::anyhow!("the ledger's thread panicked"))?
                .context("write the ledger")?;
        }
        let acknowledged = self.acknowledged.into_inner();
        Ok(acknowledged.unwrap_or_else(PoisonError::into_inner))
    }
}

impl FileLedger {
    fn create(header: Header, path: &Path) -> anyhow::Result<Self> {
        let mut file =
            File::create(path).with_context(|| format!("create ledger {}", path.display()))?;
        writeln!(file, "{}", serde_json::to_string(&header)?)?;
        file.sync_all()?;
        let (numbers, waiting) = tokio::sync::mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("bench-ledger".to_owned())
            .spawn(move || write_numbers(file, waiting))?;
        Ok(Self { numbers, thread })
    }
}

/// Writes whatever waits, then syncs once.
fn write_numbers(file: File, mut waiting: tokio::sync::mpsc::Receiver<u64>) -> std::io::Result<()> {
    let mut writer = BufWriter::new(file);
    while let Some(first) = waiting.blocking_recv() {
        writeln!(writer, "{first}")?;
        while let Ok(number) = waiting.try_recv() {
            writeln!(writer, "{number}")?;
        }
        writer.flush()?;
        writer.get_ref().sync_data()?;
    }
    Ok(())
}

/// Reads a ledger back. A last line without its end was being written when its process died; it
/// is left out.
pub(super) fn read(path: &Path) -> anyhow::Result<(Header, Acknowledged)> {
    let file = File::open(path).with_context(|| format!("open ledger {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let header: Header = serde_json::from_str(&line)
        .with_context(|| format!("{} is not a ledger", path.display()))?;
    anyhow::ensure!(
        header.version == VERSION,
        "ledger version {} is not known",
        header.version
    );
    let mut acknowledged = Acknowledged::default();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some(number) = line.strip_suffix('\n') else {
            return Ok((header, acknowledged));
        };
        acknowledged.insert(
            number
                .parse()
                .context("a line of the ledger is not a number")?,
        );
    }
}

/// What an earlier run was acknowledged; nothing without a ledger.
pub(super) fn replay(path: Option<&Path>) -> anyhow::Result<(Ids, Acknowledged)> {
    let nothing = Header::new(0, Layout::new(1, 1, false));
    let (header, acknowledged) = match path {
        Some(path) => read(path)?,
        None => (nothing, Acknowledged::default()),
    };
    Ok((Ids::new(header.seed, header.layout), acknowledged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_numbers_are_a_set() {
        let mut set = Acknowledged::default();
        assert_eq!((set.end(), set.count()), (0, 0));
        for request in [0, 63, 64, 64, 1000] {
            set.insert(request);
        }
        assert_eq!((set.end(), set.count()), (1001, 4));
        assert!(set.contains(64) && !set.contains(65) && !set.contains(1 << 40));
    }

    // A ledger is written, torn as a crash would leave it, and read. Guarantees that every
    // whole line counts and the torn one does not.
    #[tokio::test]
    async fn a_ledger_is_read_back_up_to_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let header = Header::new(7, Layout::new(512, 8, false));
        let ledger = Ledger::new(header, Some(&path)).unwrap();
        for request in [3, 1, 250] {
            ledger.insert(request).await;
        }
        let noted = ledger.finish().await.unwrap();
        assert_eq!(read(&path).unwrap(), (header, noted.clone()));
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("25");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap(), (header, noted));
    }
}
