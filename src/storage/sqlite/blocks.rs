//! Blocks: the spans of a batch, some dozens together.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Transaction, params};

use super::columns::ColumnsBuilder;
use super::error::storage_error;
use super::insert::Dimensions;
use super::width;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::content::Packer;
use crate::storage::summary::clamp_time;
use crate::storage::write::{Batch, SpanRow};

/// Bytes of one span in the keys of a part: span id and start.
pub(super) const KEY_BYTES: usize = 16;

/// Writes the new spans of a batch, trace by trace, into blocks.
pub(super) struct BlockWriter<'t, 'b> {
    transaction: &'t Transaction<'t>,
    insert_part: CachedStatement<'t>,
    packer: &'t mut Packer,
    dimensions: &'t Dimensions,
    batch: &'b Batch<'b>,
    columns: ColumnsBuilder<'b>,
    open: Option<Open<'b>>,
}

/// The block that is being filled.
struct Open<'b> {
    project: ProjectId,
    start_min: i64,
    start_max: i64,
    span_count: i64,
    error_count: i64,
    parts: Vec<Part<'b>>,
}

/// Spans of one trace in a block.
struct Part<'b> {
    trace_key: i64,
    received: i64,
    first_place: u32,
    keys: Vec<u8>,
    sessions: BTreeSet<&'b str>,
}

impl<'t, 'b> BlockWriter<'t, 'b> {
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        packer: &'t mut Packer,
        dimensions: &'t Dimensions,
        batch: &'b Batch<'b>,
    ) -> Result<Self, Error> {
        let insert_part = transaction
            .prepare_cached("INSERT INTO trace_part VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .map_err(storage_error("prepare block writes"))?;
        Ok(Self {
            transaction,
            insert_part,
            packer,
            dimensions,
            batch,
            columns: ColumnsBuilder::default(),
            open: None,
        })
    }

    /// Adds new spans of one trace, in start order.
    pub(super) fn add_trace(
        &mut self,
        trace_key: i64,
        trace_id: TraceId,
        spans: &[&'b SpanRow<'b>],
    ) -> Result<(), Error> {
        let mut begun = false;
        for span in spans {
            if !self.has_room_for(span) {
                self.flush()?;
                begun = false;
            }
            self.add(span, (!begun).then_some((trace_key, trace_id)))?;
            begun = true;
        }
        Ok(())
    }

    /// Writes the block that is being filled, if any.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let failed = storage_error("store a block");
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let packed = self.packer.finish().map_err(|source| Error::Poison {
            context: "compress a block",
            source: Box::new(source),
        })?;
        // No block is wider than the last class: spans that would make it so go to another.
        let width = open.start_max.saturating_sub(open.start_min);
        let class = width::class_of(width).unwrap_or(width::WIDTHS_NS.len() - 1);
        self.transaction
            .prepare_cached(
                "INSERT INTO block (project_id, width, start_min, start_max, span_count,
                    error_count, columns, codec, content)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    open.project.0,
                    i64::try_from(class).unwrap_or(i64::MAX),
                    open.start_min,
                    open.start_max,
                    open.span_count,
                    open.error_count,
                    self.columns.finish(),
                    packed.codec,
                    packed.content
                ])
            })
            .map_err(&failed)?;
        let block_id = self.transaction.last_insert_rowid();
        self.transaction
            .prepare_cached("INSERT INTO block_sieve VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![block_id, packed.sieve]))
            .map_err(&failed)?;
        let part_count = i64::try_from(open.parts.len()).unwrap_or(i64::MAX);
        self.transaction
            .prepare_cached("INSERT INTO block_use VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute([block_id, part_count]))
            .map_err(&failed)?;
        for part in open.parts {
            let sessions = (!part.sessions.is_empty())
                .then(|| serde_json::Value::from_iter(part.sessions).to_string());
            self.insert_part
                .execute(params![
                    part.trace_key,
                    block_id,
                    open.project.0,
                    part.received,
                    part.first_place,
                    part.keys,
                    sessions
                ])
                .map_err(&failed)?;
        }
        Ok(())
    }

    fn has_room_for(&self, span: &SpanRow<'_>) -> bool {
        let Some(open) = &self.open else {
            return true;
        };
        let start = clamp_time(span.start_unix_nano);
        let (min, max) = (open.start_min.min(start), open.start_max.max(start));
        open.project == span.project
            && !self.packer.is_full_for(span.message.len())
            && width::class_of(max.saturating_sub(min)).is_some()
    }

    /// Adds a span; the first of a part says of which trace it is.
    fn add(&mut self, span: &'b SpanRow<'b>, begin: Option<(i64, TraceId)>) -> Result<(), Error> {
        let start = clamp_time(span.start_unix_nano);
        let missing = || Error::Corrupt {
            context: "a span refers to a dimension that is not in its batch".to_owned(),
        };
        let resource = self
            .batch
            .resources
            .get(span.resource)
            .ok_or_else(missing)?;
        let resource_id = self
            .dimensions
            .resources
            .get(span.resource)
            .ok_or_else(missing)?;
        let scope_id = self.dimensions.scopes.get(span.scope).ok_or_else(missing)?;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.packer.begin();
                self.open.insert(Open {
                    project: span.project,
                    start_min: start,
                    start_max: start,
                    span_count: 0,
                    error_count: 0,
                    parts: Vec::new(),
                })
            }
        };
        open.start_min = open.start_min.min(start);
        open.start_max = open.start_max.max(start);
        open.span_count += 1;
        open.error_count += i64::from(span.status == crate::model::span::Status::Error);
        let place = self.packer.push(*resource_id, *scope_id, &span.message);
        if let Some((trace_key, trace_id)) = begin {
            self.columns.begin_trace(trace_key, trace_id);
            open.parts.push(Part {
                trace_key,
                received: i64::MAX,
                first_place: place,
                keys: Vec::new(),
                sessions: BTreeSet::new(),
            });
        }
        self.columns
            .push(span, *resource_id, &resource.service_name);
        if let Some(part) = open.parts.last_mut() {
            part.received = part.received.min(clamp_time(span.received_unix_nano));
            part.keys.extend_from_slice(&span.span_id.0);
            part.keys.extend_from_slice(&start.to_be_bytes());
            part.sessions.extend(span.basics.session_id.as_deref());
        }
        Ok(())
    }
}
