//! How far an import got: a small file, replaced after each page that was acknowledged.
//!
//! It is never ahead of what is durable. When it is lost, or damaged, or was made of a file that is
//! another one by now, the import begins anew, and what is there already is recognised.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Report;
use super::source::{At, FileState};

/// The note of one import.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
    /// Whether it was said that notes can't be written.
    is_warned: bool,
}

/// What is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) at: At,
    pub(super) report: Report,
    /// The file that the place lies in; of databases there is none.
    pub(super) file: Option<FileState>,
}

impl Notes {
    /// In a directory, for an import of something to somewhere: the same `what`, the same note.
    #[must_use]
    pub fn new(directory: &Path, what: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in what {
            hasher.update(part.len().to_be_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let name: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            path: directory.join(format!("import-{name}.json")),
            is_warned: false,
        }
    }

    pub(super) fn read(&self) -> Option<Note> {
        let text = fs::read(&self.path).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Without a note the next import begins anew, which is no reason to stop this one.
    pub(super) fn write(&mut self, note: &Note) {
        let written = self.replace(note);
        if let Err(error) = written
            && !self.is_warned
        {
            self.is_warned = true;
            let path = self.path.display().to_string();
            tracing::warn!(%error, path, "can't note how far the import got");
        }
    }

    fn replace(&self, note: &Note) -> std::io::Result<()> {
        let text = serde_json::to_vec(note)?;
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &self.path)
    }

    /// Forgets how far the import got.
    pub fn remove(self) {
        // What is not there is forgotten.
        fs::remove_file(self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_found_again_until_it_is_removed_or_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("imports");
        let notes = |what: &str| Notes::new(&inner, &["ndjson", what]);
        assert!(notes("a").read().is_none());
        let report = Report {
            items: 3,
            ..Report::default()
        };
        let file = tempfile::tempfile().unwrap();
        let note = Note {
            at: At::Byte(7),
            report,
            file: FileState::of(&file.metadata().unwrap()),
        };
        notes("a").write(&note);
        assert!(notes("b").read().is_none());
        assert_eq!(notes("a").read(), Some(note));
        fs::write(&notes("a").path, "{").unwrap();
        assert!(notes("a").read().is_none());
        notes("a").remove();
        assert!(!notes("a").path.exists());
    }
}
