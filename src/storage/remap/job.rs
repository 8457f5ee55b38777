//! The state of a job, as a store keeps it.

use serde::{Deserialize, Serialize};

use crate::storage::Error;

/// Which traces are mapped anew: those whose first span starts in here, ns since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First start included.
    pub start_unix_nano: u64,
    /// First start excluded.
    pub end_unix_nano: u64,
}

/// How far mapping anew is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// What it covers.
    pub range: Range,
    /// Traces in the range when it began.
    pub traces_expected: u64,
    /// Where to go on; absent at the beginning.
    pub(in crate::storage) after: Option<After>,
    /// Whether all of it is done.
    pub is_done: bool,
    /// Traces looked at.
    pub traces: u64,
    /// Spans looked at.
    pub spans: u64,
    /// Spans whose columns changed.
    pub spans_changed: u64,
    /// Traces left as they are, because they are too large or can't be read whole.
    pub traces_skipped: u64,
}

/// The last trace that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::storage) struct After {
    /// Its project.
    pub(in crate::storage) project: u32,
    /// Its start, ns since the Unix epoch.
    pub(in crate::storage) start: i64,
    /// Its key; what that is is the store's business.
    pub(in crate::storage) key: Vec<u8>,
}

impl Job {
    /// A job at its beginning.
    pub(in crate::storage) const fn new(range: Range, traces_expected: u64) -> Self {
        Self {
            range,
            traces_expected,
            after: None,
            is_done: false,
            traces: 0,
            spans: 0,
            spans_changed: 0,
            traces_skipped: 0,
        }
    }

    /// Notes the trace that was looked at last.
    pub(in crate::storage) fn go_on_after(&mut self, project: u32, start: i64, key: Vec<u8>) {
        self.after = Some(After {
            project,
            start,
            key,
        });
    }

    /// Reads what [`Self::encode`] wrote.
    pub(in crate::storage) fn decode(stored: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(stored).map_err(|source| Error::Corrupt {
            context: format!("the state of mapping anew: {source}"),
        })
    }

    /// What a store keeps of it.
    pub(in crate::storage) fn encode(&self) -> Vec<u8> {
        // Numbers and lists of them: nothing of it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The first start included and the first excluded, as stores compare them.
    pub(in crate::storage) fn bounds(&self) -> (i64, i64) {
        let clamp = crate::storage::summary::clamp_time;
        (
            clamp(self.range.start_unix_nano),
            clamp(self.range.end_unix_nano),
        )
    }
}
