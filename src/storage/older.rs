//! Databases of older Pulse servers, which are read and never written: `pulse-collector import`
//! moves what they hold.
//!
//! Both engines have the same tables. A row is answered as the JSON object that a client would
//! have sent, by the names of its columns: what columns there are differs between versions, and
//! which of them count is not decided here.

mod postgres;
mod sqlite;

use std::path::Path;

use super::access::Hash;
use super::postgres::DatabaseUrl;
use super::{Error, postgres as store};

/// Rows answered at once, at most.
pub const PAGE_ROWS: u32 = 100;
/// Text of the rows answered at once, in bytes: the row with which there is more is the last.
const PAGE_BYTES: u64 = 8 << 20;
/// Longest text of a row, in bytes: what the routes take as a body. Longer ones are not loaded.
const ROW_BYTES_MAX: u64 = 64 << 20;
const TOO_LONG: &str = "is longer than 64 MiB";

/// A table of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Traces of the first generation.
    Traces,
    /// Spans of either generation.
    Spans,
}

impl Table {
    /// Both, in the order in which they are moved.
    pub const ALL: [Self; 2] = [Self::Traces, Self::Spans];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Spans => "spans",
        }
    }
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldProject {
    /// Its id, any text.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRow {
    /// Where it lies: later rows of the table come after it.
    pub position: String,
    /// What it is called.
    pub id: String,
    /// A JSON object of its columns, or why it can't be read.
    pub json: Result<String, String>,
}

/// A key, of which older servers kept the hash that we keep.
#[derive(Clone, PartialEq, Eq)]
pub struct OldKey {
    /// Its name.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: Hash,
}

impl std::fmt::Debug for OldKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OldKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// An open database.
#[derive(Debug)]
pub struct OldDatabase(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(sqlite::Old),
    Postgres(postgres::Old),
}

impl OldDatabase {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unsuitable`] when it is no database of a Pulse server.
    pub fn sqlite(path: &Path) -> Result<Self, Error> {
        sqlite::Old::open(path).map(|old| Self(Engine::Sqlite(old)))
    }

    /// Connects to a database, with TLS as its URL says.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unsuitable`] when it is no database of a Pulse server.
    pub async fn postgres(url: &DatabaseUrl) -> Result<Self, Error> {
        let config = store::Config {
            url: url.clone(),
            ..store::Config::default()
        };
        let old = postgres::Old::connect(&config).await?;
        Ok(Self(Engine::Postgres(old)))
    }

    /// Its projects, by id.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn projects(&self) -> Result<Vec<OldProject>, Error> {
        match &self.0 {
            Engine::Sqlite(old) => old.projects(),
            Engine::Postgres(old) => old.projects().await,
        }
    }

    /// The keys of a project whose hash can be read.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn keys(&self, project: &str) -> Result<Vec<OldKey>, Error> {
        match &self.0 {
            Engine::Sqlite(old) => old.keys(project),
            Engine::Postgres(old) => old.keys(project).await,
        }
    }

    /// Rows that a project has in a table; none where there is no such table.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn count(&self, table: Table, project: &str) -> Result<u64, Error> {
        match &self.0 {
            Engine::Sqlite(old) => old.count(table, project),
            Engine::Postgres(old) => old.count(table, project).await,
        }
    }

    /// Begins to read a project's rows of a table, after a position.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn begin(
        &mut self,
        table: Table,
        project: &str,
        after: Option<&str>,
    ) -> Result<(), Error> {
        match &mut self.0 {
            Engine::Sqlite(old) => old.begin(table, project, after),
            Engine::Postgres(old) => old.begin(table, project, after).await,
        }
    }

    /// The next rows in the order of their positions, [`PAGE_ROWS`] at most, and fewer when they
    /// are long; none at the end.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn page(&mut self) -> Result<Vec<OldRow>, Error> {
        match &mut self.0 {
            Engine::Sqlite(old) => old.page(),
            Engine::Postgres(old) => old.page().await,
        }
    }
}

/// The hash that hex digits stand for.
fn hash(hex: &str) -> Option<Hash> {
    let (mut hash, digits) = ([0; 32], hex.as_bytes());
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}

/// `None` for a key whose hash is missing or none: nobody can use it.
fn key((name, hex): (Option<String>, Option<String>)) -> Option<OldKey> {
    let name = name.unwrap_or_default();
    hash(&hex?).map(|hash| OldKey { name, hash })
}

fn not_pulse() -> Error {
    Error::Unsuitable {
        reason: "it has no table projects, or neither traces nor spans: no database of a Pulse \
                 server"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_from_hex() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(of_abc).unwrap()[..3], [0xba, 0x78, 0x16]);
        let wrong = of_abc.replace('b', "g");
        for wrong in [
            "",
            "ba",
            &wrong,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        ] {
            assert_eq!(hash(wrong), None, "{wrong}");
        }
    }
}
