//! Metrics: series, and their points in chunks.
//!
//! A *series* is a row: metric, resource, scope and attributes, found by a digest of all of them. Its
//! *points* lie in chunks of a quarter of an hour, some bytes a point: a row for each point would be mostly
//! keys. A chunk is read, added to and written again when a point comes, which costs less than it seems:
//! chunks of one time lie together, so that a batch changes few pages, and an exporter adds to each
//! series once a minute.
//!
//! - **Exactly once.** A point is identified by its series, its time and its start; a chunk is a set of
//!   points. The first one stored wins.
//! - **Order-independent.** Points in any order, split and repeated in any way, make the same chunks, and
//!   so the same answers.
//! - **Bounded.** See [`directory`] for how many series a project has, [`merge`] for chunks.
//!
//! What both stores do alike is here, pure; they only look up and write rows.

mod bytes;
mod cell;
pub mod chunk;
pub mod directory;
mod distribution;
pub mod engine;
pub mod gather;
#[cfg(test)]
pub(crate) mod generate;
pub mod identity;
pub mod labels;
pub mod merge;
pub mod query;

use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::write::{MetricRows, PointRow};

/// A data point that a store refused, as it is set aside.
#[derive(Debug)]
pub struct Refused {
    /// Owner.
    pub project: ProjectId,
    /// Series.
    pub series: [u8; 16],
    /// When it was received, ns since the Unix epoch.
    pub received_unix_nano: u64,
    /// The point as [`chunk::encode`] writes it.
    pub points: Vec<u8>,
    /// Name of its metric.
    pub name: String,
}

impl Refused {
    /// What is kept of a point.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its series is not among the rows.
    pub fn of(rows: &MetricRows<'_>, row: &PointRow) -> Result<Self, Error> {
        let series = rows.series.get(row.series).ok_or_else(|| Error::Corrupt {
            context: "a point refers to a series that is not in its batch".to_owned(),
        })?;
        let entry = chunk::Entry {
            origin: 0,
            point: row.point.clone(),
        };
        Ok(Self {
            project: series.project,
            series: series.id.0,
            received_unix_nano: row.received_unix_nano,
            points: chunk::encode(&[entry]),
            name: labels::clean(series.instrument.name),
        })
    }
}
