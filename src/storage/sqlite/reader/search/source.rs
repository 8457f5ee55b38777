//! Which blocks are searched.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::sqlite::reader::keys;
use crate::storage::sqlite::reader::pool::Session;
use crate::storage::sqlite::reader::spans::{Place, Wanted};
use crate::storage::sqlite::reader::walk::{Header, Walk};

/// Blocks, latest start first.
pub(super) enum Source<'w> {
    Time(Walk<'w>),
    Trace(VecDeque<Header>),
}

impl Source<'_> {
    /// The latest start of what is left.
    pub(super) fn latest(&self) -> Option<i64> {
        match self {
            Self::Time(walk) => walk.latest(),
            Self::Trace(blocks) => blocks.front().map(|header| header.start_max),
        }
    }

    /// The block with the latest start.
    pub(super) fn next(&mut self) -> Result<Option<Header>, Error> {
        match self {
            Self::Time(walk) => walk.next(),
            Self::Trace(blocks) => Ok(blocks.pop_front()),
        }
    }
}

/// The blocks that hold spans of a trace which are wanted, with the bounds of those spans.
pub(super) fn blocks_of_trace(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    wanted: &Wanted,
) -> Result<VecDeque<Header>, Error> {
    let mut blocks: BTreeMap<i64, Header> = BTreeMap::new();
    let Some(trace_key) = keys::trace_key(session, project, trace_id)? else {
        return Ok(VecDeque::new());
    };
    keys::visit_keys(session, project, trace_key, |key| {
        let place = Place {
            start: key.start,
            block_id: key.block_id,
            place: key.place,
        };
        if !wanted.holds(place) {
            return;
        }
        match blocks.entry(key.block_id) {
            Entry::Occupied(mut entry) => {
                let header = entry.get_mut();
                header.start_max = header.start_max.max(key.start);
                header.start_min = header.start_min.min(key.start);
                header.span_count += 1;
            }
            Entry::Vacant(entry) => {
                entry.insert(Header {
                    start_max: key.start,
                    start_min: key.start,
                    // Not known without the block.
                    error_count: i64::MAX,
                    block_id: key.block_id,
                    span_count: 1,
                });
            }
        }
    })?;
    let mut blocks: Vec<_> = blocks.into_values().collect();
    blocks.sort_unstable_by_key(|header| std::cmp::Reverse(header.start_max));
    Ok(blocks.into())
}
