//! Finding the spans of a trace by their keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rusqlite::{Row, params};

use super::failure::read_error;
use super::pool::Session;
use super::{corrupt, unsigned};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::Error;
use crate::storage::attributes::AttributeTest;
use crate::storage::content::BlockSpan;
use crate::storage::query::{StoredResource, StoredScope};
use crate::storage::sqlite::blocks::KEY_BYTES;
use crate::storage::sqlite::ids::{self, Space};

/// A span's place in its trace: sorts by (start, span id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpanKey {
    /// Start, as stored.
    pub(super) start: i64,
    /// The span.
    pub(super) span_id: SpanId,
    /// The block that holds it.
    pub(super) block_id: i64,
    /// Its place in the block.
    pub(super) place: usize,
    /// When the first span that came with it was received, ns.
    pub(super) received_unix_nano: u64,
}

/// A stretch of a block that holds spans of one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The block.
    pub(super) block_id: i64,
    /// Place of the first span.
    pub(super) first_place: usize,
    /// Spans.
    pub(super) spans: usize,
}

/// Row of a trace by its id.
pub(super) fn trace_key(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
) -> Result<Option<i64>, Error> {
    ids::find(
        session.connection,
        Space::Traces,
        project,
        &trace_id.0,
        |key| {
            session
                .connection
                .prepare_cached(
                    "SELECT 1 FROM trace WHERE trace_key = ?1 AND trace_id = ?2 AND project_id = ?3",
                )?
                .exists(params![key, trace_id.0, project.0])
        },
    )
    .map_err(read_error("look up a trace"))
}

/// Calls `visit` with the key of every span of a trace.
pub(super) fn visit_keys(
    session: &Session<'_>,
    project: ProjectId,
    trace_key: i64,
    mut visit: impl FnMut(SpanKey),
) -> Result<(), Error> {
    let read = read_error("read the keys of a trace");
    let mut statement = session
        .connection
        .prepare_cached(
            "SELECT block_id, first_place, received_unix_nano, keys FROM trace_part
             WHERE trace_key = ?1 AND project_id = ?2",
        )
        .map_err(&read)?;
    let mut rows = statement
        .query(params![trace_key, project.0])
        .map_err(&read)?;
    while let Some(row) = rows.next().map_err(&read)? {
        session.check()?;
        let block_id = row.get(0).map_err(&read)?;
        let first_place = place(row, 1).map_err(&read)?;
        let received_unix_nano = unsigned(row.get(2).map_err(&read)?);
        let keys = blob(row, 3).map_err(&read)?;
        for (index, key) in keys.chunks_exact(KEY_BYTES).enumerate() {
            let (span_id, start) = split_key(key).ok_or_else(|| corrupt("keys of a part"))?;
            visit(SpanKey {
                start,
                span_id,
                block_id,
                place: first_place.saturating_add(index),
                received_unix_nano,
            });
        }
    }
    Ok(())
}

/// The trace of a span, by its key; the traces that arrived last are looked at first.
pub(super) fn find_span(
    session: &Session<'_>,
    project: ProjectId,
    span_id: SpanId,
) -> Result<Option<TraceId>, Error> {
    let read = read_error("look for a span");
    let mut statement = session
        .connection
        .prepare_cached(
            "SELECT keys, trace_key FROM trace_part WHERE project_id = ?1 ORDER BY trace_key DESC",
        )
        .map_err(&read)?;
    let mut rows = statement.query(params![project.0]).map_err(&read)?;
    while let Some(row) = rows.next().map_err(&read)? {
        session.check()?;
        let keys = blob(row, 0).map_err(&read)?;
        let mut keys = keys.chunks_exact(KEY_BYTES);
        if !keys.any(|key| key.starts_with(&span_id.0)) {
            continue;
        }
        let trace_key: i64 = row.get(1).map_err(&read)?;
        let trace_id = session.connection.query_row(
            "SELECT trace_id FROM trace WHERE trace_key = ?1 AND project_id = ?2",
            params![trace_key, project.0],
            |row| id_bytes(row, 0),
        );
        return trace_id.map(|id| Some(TraceId(id))).map_err(&read);
    }
    Ok(None)
}

fn split_key(key: &[u8]) -> Option<(SpanId, i64)> {
    let (span_id, start) = key.split_first_chunk::<8>()?;
    let start = u64::from_be_bytes(start.try_into().ok()?);
    Some((SpanId(*span_id), super::signed(start)))
}

/// Keeps the smallest keys it is shown, in bounded memory.
#[derive(Debug)]
pub(super) struct SmallestKeys<K> {
    keep: usize,
    keys: Vec<K>,
}

impl<K: Ord> SmallestKeys<K> {
    /// Keeps at most `keep` keys.
    pub(super) const fn new(keep: usize) -> Self {
        Self {
            keep,
            keys: Vec::new(),
        }
    }

    /// Shows it a key.
    pub(super) fn push(&mut self, key: K) {
        self.keys.push(key);
        if self.keys.len() >= self.keep.saturating_mul(2).max(1024) {
            self.cut();
        }
    }

    /// The smallest keys, in order.
    pub(super) fn into_sorted(mut self) -> Vec<K> {
        self.cut();
        self.keys
    }

    fn cut(&mut self) {
        self.keys.sort_unstable();
        self.keys.truncate(self.keep);
    }
}

/// The parts of a trace.
pub(super) fn parts(
    session: &Session<'_>,
    project: ProjectId,
    trace_key: i64,
) -> Result<Vec<Part>, Error> {
    session
        .connection
        .prepare_cached(
            "SELECT block_id, first_place, length(keys) FROM trace_part
             WHERE trace_key = ?1 AND project_id = ?2",
        )
        .and_then(|mut statement| {
            statement
                .query_map(params![trace_key, project.0], |row| {
                    Ok(Part {
                        block_id: row.get(0)?,
                        first_place: place(row, 1)?,
                        spans: place(row, 2)? / KEY_BYTES,
                    })
                })?
                .collect()
        })
        .map_err(read_error("list the parts of a trace"))
}

/// Resources and scopes, each read once per query and shared by the spans of the answer.
#[derive(Debug)]
pub(super) struct Origins<'s> {
    session: &'s Session<'s>,
    project: ProjectId,
    resources: HashMap<i64, Arc<StoredResource>>,
    scopes: HashMap<i64, Arc<StoredScope>>,
}

impl<'s> Origins<'s> {
    /// Knows none yet.
    pub(super) fn new(session: &'s Session<'s>, project: ProjectId) -> Self {
        Self {
            session,
            project,
            resources: HashMap::new(),
            scopes: HashMap::new(),
        }
    }

    /// A resource by its row.
    pub(super) fn resource(&mut self, resource_id: i64) -> Result<Arc<StoredResource>, Error> {
        match self.resources.entry(resource_id) {
            Entry::Occupied(entry) => Ok(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let resource = self
                    .session
                    .connection
                    .prepare_cached(
                        "SELECT message, schema_url, service_name FROM resource \
                         WHERE resource_id = ?1 AND project_id = ?2",
                    )
                    .and_then(|mut statement| {
                        statement.query_row(params![resource_id, self.project.0], |row| {
                            Ok(StoredResource {
                                message: row.get(0)?,
                                schema_url: row.get(1)?,
                                service_name: row.get(2)?,
                            })
                        })
                    })
                    .map_err(read_error("read a resource"))?;
                Ok(Arc::clone(entry.insert(Arc::new(resource))))
            }
        }
    }

    /// Whether a span, with its resource, has all attributes that a test wants.
    pub(super) fn test(
        &mut self,
        test: &mut AttributeTest<'_>,
        span: BlockSpan<'_>,
    ) -> Result<bool, Error> {
        if !test.knows(span.resource_id) {
            let resource = self.resource(span.resource_id)?;
            test.learn(span.resource_id, &resource.message)?;
        }
        test.matches(span)
    }

    /// A scope by its row.
    pub(super) fn scope(&mut self, scope_id: i64) -> Result<Arc<StoredScope>, Error> {
        match self.scopes.entry(scope_id) {
            Entry::Occupied(entry) => Ok(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let scope = self
                    .session
                    .connection
                    .prepare_cached(
                        "SELECT message, schema_url FROM scope \
                         WHERE scope_id = ?1 AND project_id = ?2",
                    )
                    .and_then(|mut statement| {
                        statement.query_row(params![scope_id, self.project.0], |row| {
                            Ok(StoredScope {
                                message: row.get(0)?,
                                schema_url: row.get(1)?,
                            })
                        })
                    })
                    .map_err(read_error("read a scope"))?;
                Ok(Arc::clone(entry.insert(Arc::new(scope))))
            }
        }
    }
}

/// A place or a length.
pub(super) fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    let place: i64 = row.get(column)?;
    Ok(usize::try_from(place).unwrap_or(usize::MAX))
}

/// A blob column without a copy.
pub(super) fn blob<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

/// An id column of exactly the right length.
pub(super) fn id_bytes<const N: usize>(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    row.get(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_keys_are_kept_in_order_whatever_the_order_shown() {
        let mut smallest = SmallestKeys::new(3);
        for value in (0..5000).rev().chain(2..10) {
            smallest.push(value);
        }
        assert_eq!(smallest.into_sorted(), [0, 1, 2]);
    }

    #[test]
    fn a_key_is_span_id_then_big_endian_start() {
        let mut key = vec![1, 2, 3, 4, 5, 6, 7, 8];
        key.extend(500_u64.to_be_bytes());
        assert_eq!(
            split_key(&key),
            Some((SpanId([1, 2, 3, 4, 5, 6, 7, 8]), 500))
        );
        assert_eq!(split_key(&key[..12]), None);
    }
}
