//! Walking blocks newest first.
//!
//! The spans of a block start within its width, which has a class (`width`). Blocks that hold spans
//! before some time are, class by class, those whose latest start is before that time plus the
//! class's width; walked by latest start, all classes together, a span is known to be the next of
//! the list once no block that is left starts as late.

use rusqlite::{CachedStatement, Rows, params};

use super::failure::read_error;
use super::pool::Session;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::sqlite::width::WIDTHS_NS;

/// Headers of a class within a range of latest starts, latest first; all from the index.
pub(super) const HEADERS: &str = "SELECT start_max, start_min, error_count, block_id, span_count
    FROM block INDEXED BY block_start
    WHERE project_id = ?1 AND width = ?2 AND start_max BETWEEN ?3 AND ?4
    ORDER BY start_max DESC";

/// What is known of a block without reading its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) start_max: i64,
    pub(super) start_min: i64,
    pub(super) error_count: i64,
    pub(super) block_id: i64,
    pub(super) span_count: i64,
}

/// One statement per class.
pub(super) struct Statements<'s>(Vec<CachedStatement<'s>>);

impl<'s> Statements<'s> {
    pub(super) fn prepare(session: &'s Session<'s>) -> Result<Self, Error> {
        let statements = WIDTHS_NS
            .iter()
            .map(|_| session.connection.prepare_cached(HEADERS))
            .collect::<Result<_, _>>()
            .map_err(read_error("list blocks"))?;
        Ok(Self(statements))
    }

    /// The blocks that may hold spans that start within `from..=to`.
    pub(super) fn walk(
        &mut self,
        project: ProjectId,
        from: i64,
        to: i64,
    ) -> Result<Walk<'_>, Error> {
        let mut classes = Vec::with_capacity(WIDTHS_NS.len());
        for ((class, widest), statement) in (0_i64..).zip(WIDTHS_NS).zip(&mut self.0) {
            let latest = to.saturating_add(widest);
            let rows = statement
                .query(params![project.0, class, from, latest])
                .map_err(read_error("list blocks"))?;
            let mut class = Class { rows, next: None };
            class.advance(to)?;
            classes.push(class);
        }
        Ok(Walk { classes, to })
    }
}

/// Blocks, latest start first.
pub(super) struct Walk<'w> {
    classes: Vec<Class<'w>>,
    to: i64,
}

struct Class<'w> {
    rows: Rows<'w>,
    next: Option<Header>,
}

impl Class<'_> {
    fn advance(&mut self, to: i64) -> Result<(), Error> {
        let read = read_error("list blocks");
        self.next = None;
        while let Some(row) = self.rows.next().map_err(&read)? {
            let header = (|| {
                Ok(Header {
                    start_max: row.get(0)?,
                    start_min: row.get(1)?,
                    error_count: row.get(2)?,
                    block_id: row.get(3)?,
                    span_count: row.get(4)?,
                })
            })()
            .map_err(&read)?;
            if header.start_min <= to {
                self.next = Some(header);
                break;
            }
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// The latest start of what is left.
    pub(super) fn latest(&self) -> Option<i64> {
        let headers = self.classes.iter().filter_map(|class| class.next);
        headers.map(|header| header.start_max).max()
    }

    /// The block with the latest start.
    pub(super) fn next(&mut self) -> Result<Option<Header>, Error> {
        let class = self
            .classes
            .iter_mut()
            .filter(|class| class.next.is_some())
            .max_by_key(|class| class.next.map(|header| header.start_max));
        let Some(class) = class else {
            return Ok(None);
        };
        let header = class.next;
        class.advance(self.to)?;
        Ok(header)
    }
}
