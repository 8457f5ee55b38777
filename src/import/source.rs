//! What is imported: the tables of an old database, or the lines of a file.

use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::shown;
use super::unit::{self, Bad, Unit};
use crate::storage::older::{OldDatabase, OldKey, OldProject, OldRow, Table};
use crate::storage::postgres::DatabaseUrl;

/// Longest line, in bytes: what the routes take as a body.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Lines, and about how many bytes, that are read at once.
const PAGE_LINES: usize = 500;
const PAGE_BYTES: u64 = 4 << 20;

/// Kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SourceKind {
    /// The database file of a Pulse server in single mode.
    PulseSqlite,
    /// The Postgres database of a Pulse server in scale mode.
    PulsePostgres,
    /// A file with a JSON object a line: traces or spans of Pulse, or OTLP requests.
    Ndjson,
}

/// Something to import.
pub struct Source(Inner);

enum Inner {
    Database(Box<Database>),
    Lines(Lines),
}

struct Database {
    database: OldDatabase,
    project: String,
    /// The table that is read, and those after it.
    tables: Vec<Table>,
}

struct Lines {
    reader: Box<dyn BufRead + Send>,
    /// The file as it was opened; none of a pipe.
    state: Option<FileState>,
    offset: u64,
    /// Lines read; not known in a file that was gone on with.
    number: Option<u64>,
    file: Option<File>,
}

/// How far a source was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At {
    /// After a position of the table of this number.
    Row(usize, String),
    /// After this many bytes.
    Byte(u64),
}

/// By what a file is known again: as long as nothing of it changes, a place in it means the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    device: u64,
    inode: u64,
    /// In bytes.
    length: u64,
    /// When it was written last, seconds since the Unix epoch and ns after them.
    written: (i64, i64),
}

impl FileState {
    /// `None` for what is no file: a pipe, a terminal.
    pub(super) fn of(metadata: &Metadata) -> Option<Self> {
        metadata.is_file().then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// Some of a source.
pub(super) struct Page {
    pub(super) units: Vec<Result<Unit, Bad>>,
    /// Rows or bytes.
    pub(super) read: u64,
    /// How far the source is read with this page.
    pub(super) at: At,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").finish_non_exhaustive()
    }
}

/// Opens an old database.
///
/// # Errors
/// It can't be read, or is none of a Pulse server.
pub async fn open_database(kind: SourceKind, source: &str) -> anyhow::Result<OldDatabase> {
    match kind {
        SourceKind::PulsePostgres => {
            let url = DatabaseUrl::from(source);
            let opened = OldDatabase::postgres(&url).await;
            opened.with_context(|| format!("use {url}"))
        }
        _ => OldDatabase::sqlite(Path::new(source)).with_context(|| format!("use {source}")),
    }
}

/// The project that is meant by its id or name, or else the only one.
///
/// # Errors
/// There is none, or more than one.
pub async fn project(database: &OldDatabase, named: Option<&str>) -> anyhow::Result<OldProject> {
    let all = database.projects().await?;
    let list = || {
        let first = all.iter().take(20);
        let named = first.map(|it| format!("{} ({})", shown(&it.id), shown(&it.name)));
        named.collect::<Vec<_>>().join(", ")
    };
    let Some(named) = named else {
        return match all.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!("the database has no projects"),
            _ => bail!("say which project with --source-project: {}", list()),
        };
    };
    if let Some(found) = all.iter().find(|it| it.id == named) {
        return Ok(found.clone());
    }
    let mut by_name = all.iter().filter(|it| it.name == named);
    match (by_name.next(), by_name.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => bail!("several projects are called {named}: {}", list()),
        _ => bail!(
            "there is no project {named} in the old database: {}",
            list()
        ),
    }
}

impl Source {
    /// What one project has in a database.
    #[must_use]
    pub fn of_project(database: OldDatabase, project: &OldProject) -> Self {
        Self(Inner::Database(Box::new(Database {
            database,
            project: project.id.clone(),
            tables: Table::ALL.to_vec(),
        })))
    }

    /// The lines of a file; those of standard input for `-`.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn lines(path: &str) -> anyhow::Result<Self> {
        let (reader, state, file): (Box<dyn BufRead + Send>, _, _) = if path == "-" {
            (Box::new(BufReader::new(std::io::stdin())), None, None)
        } else {
            let failed = || format!("read {path}");
            let file = File::open(path).with_context(failed)?;
            let metadata = file.metadata().with_context(failed)?;
            let again = file.try_clone().with_context(failed)?;
            let state = FileState::of(&metadata);
            (Box::new(BufReader::new(file)), state, Some(again))
        };
        Ok(Self(Inner::Lines(Lines {
            reader,
            state,
            offset: 0,
            number: Some(0),
            file,
        })))
    }

    /// The keys of the project, where there are any.
    ///
    /// # Errors
    /// They can't be read.
    pub async fn keys(&self) -> anyhow::Result<Vec<OldKey>> {
        match &self.0 {
            Inner::Database(it) => Ok(it.database.keys(&it.project).await?),
            Inner::Lines(_) => Ok(Vec::new()),
        }
    }

    /// Rows or bytes, if that is known.
    pub(super) async fn length(&self) -> anyhow::Result<Option<u64>> {
        match &self.0 {
            Inner::Database(it) => {
                let mut rows = 0;
                for table in Table::ALL {
                    rows += it.database.count(table, &it.project).await?;
                }
                Ok(Some(rows))
            }
            Inner::Lines(lines) => Ok(lines.state.as_ref().map(|state| state.length)),
        }
    }

    /// The file that is read, as it was opened.
    pub(super) fn file(&self) -> Option<&FileState> {
        match &self.0 {
            Inner::Database(_) => None,
            Inner::Lines(lines) => lines.state.as_ref(),
        }
    }

    /// Whether it is a database, in which rows may change while it is imported.
    pub(super) const fn is_database(&self) -> bool {
        matches!(self.0, Inner::Database(_))
    }

    /// Whether a place that was noted for a file, or none, means the same here.
    pub(super) fn is_same(&self, noted: Option<&FileState>) -> bool {
        self.is_database() || noted.is_some_and(|noted| self.file() == Some(noted))
    }

    /// Goes to where an earlier import was.
    pub(super) async fn begin(&mut self, at: Option<At>) -> anyhow::Result<()> {
        match (&mut self.0, at) {
            (Inner::Database(it), at) => {
                let (table, after) = match at {
                    Some(At::Row(table, after)) => (table, Some(after)),
                    _ => (0, None),
                };
                it.tables = Table::ALL.into_iter().skip(table).collect();
                it.begin(after.as_deref()).await
            }
            (Inner::Lines(lines), Some(At::Byte(offset))) => lines.go_to(offset),
            (Inner::Lines(_), _) => Ok(()),
        }
    }

    /// The next part; `None` at the end.
    pub(super) async fn page(&mut self) -> anyhow::Result<Option<Page>> {
        match &mut self.0 {
            Inner::Database(it) => it.page().await,
            Inner::Lines(lines) => lines.page(),
        }
    }
}

impl Database {
    async fn begin(&mut self, after: Option<&str>) -> anyhow::Result<()> {
        if let Some(table) = self.tables.first() {
            self.database.begin(*table, &self.project, after).await?;
        }
        Ok(())
    }

    async fn page(&mut self) -> anyhow::Result<Option<Page>> {
        while let Some(&table) = self.tables.first() {
            let rows = self.database.page().await?;
            if let Some(last) = rows.last() {
                let number = Table::ALL.len() - self.tables.len();
                return Ok(Some(Page {
                    at: At::Row(number, last.position.clone()),
                    read: rows.len() as u64,
                    units: rows.into_iter().map(|row| of_row(table, row)).collect(),
                }));
            }
            self.tables.remove(0);
            self.begin(None).await?;
        }
        Ok(None)
    }
}

/// Each row is given up as it is read: a page of them is not held twice.
fn of_row(table: Table, row: OldRow) -> Result<Unit, Bad> {
    match row.json {
        Ok(json) => unit::of_row(table, &row.id, &json),
        Err(reason) => Err(Bad::new(&format!("{} {}", table.name(), row.id), reason)),
    }
}

impl Lines {
    /// Only files are gone on with; of a pipe nothing is noted.
    fn go_to(&mut self, offset: u64) -> anyhow::Result<()> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(offset))
            .context("go on in the file")?;
        self.reader = Box::new(BufReader::new(file));
        self.offset = offset;
        self.number = None;
        Ok(())
    }

    fn page(&mut self) -> anyhow::Result<Option<Page>> {
        let (mut units, began) = (Vec::new(), self.offset);
        for _ in 0..PAGE_LINES {
            let at = self.offset;
            let mut line = Vec::new();
            let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX + 1);
            let bytes = limited.read_until(b'\n', &mut line);
            let bytes = bytes.context("read a line")? as u64;
            if bytes == 0 {
                break;
            }
            self.offset += bytes;
            self.number = self.number.map(|number| number + 1);
            let label = match self.number {
                Some(number) => format!("line {number}"),
                None => format!("line at byte {at}"),
            };
            units.extend(self.of_line(&label, &line)?);
            if self.offset - began >= PAGE_BYTES {
                break;
            }
        }
        let read = self.offset - began;
        Ok((read > 0).then_some(Page {
            units,
            read,
            at: At::Byte(self.offset),
        }))
    }

    fn of_line(&mut self, label: &str, line: &[u8]) -> anyhow::Result<Vec<Result<Unit, Bad>>> {
        if line.len() as u64 > LINE_BYTES_MAX {
            if !line.ends_with(b"\n") {
                self.offset += skip_line(&mut self.reader)?;
            }
            return Ok(vec![Err(Bad::new(label, "is longer than 64 MiB"))]);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(Vec::new());
        }
        Ok(unit::of_line(label, line))
    }
}

/// Passes over the rest of a line; answers its bytes.
fn skip_line(reader: &mut dyn BufRead) -> anyhow::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf().context("read a line")?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(length);
        skipped += length as u64;
        if end.is_some() {
            return Ok(skipped);
        }
    }
}
