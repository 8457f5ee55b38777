//! The new spans themselves: their messages in blocks, their rows, both copied in.

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use super::block_id::BlockIds;
use super::clean::CleanBatch;
use super::copy::{Copy, Rows};
use super::dimensions::Ids;
use super::span_row::{Columns, Places};
use super::traces::{Group, resource_of};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::content::Packer;
use crate::storage::write::SpanRow;

/// What rows are made from.
pub(super) struct Source<'b> {
    pub(super) batch: &'b CleanBatch<'b>,
    pub(super) ids: &'b Ids,
    /// Arrival of the newest span, ns.
    pub(super) received: i64,
    /// Whether small attributes are kept as `jsonb`.
    pub(super) attributes: bool,
}

/// Where the message of a span is.
struct Placed<'b> {
    span: &'b SpanRow<'b>,
    block_id: i64,
    block_place: u32,
}

/// Writes the spans and their blocks.
///
/// # Errors
/// As the store's.
pub(super) async fn save(
    transaction: &Transaction,
    source: &Source<'_>,
    packer: &mut Packer,
    groups: &[Group<'_>],
) -> Result<(), Error> {
    if groups.is_empty() {
        return Ok(());
    }
    let spans = in_order_of_time(groups);
    let mut placed = save_blocks(transaction, source, packer, &spans).await?;
    // By start: the index that lists go by is appended to, and rows that are listed together lie
    // together.
    placed.sort_unstable_by_key(|placed| {
        let span = placed.span;
        (span.project, span.start_unix_nano, span.span_id)
    });
    save_rows(transaction, source, &spans, &placed).await
}

/// Spans of a trace side by side, the traces by when they start: neighbours in time share blocks, so
/// that who looks through the newest spans reads few.
fn in_order_of_time<'b>(groups: &[Group<'b>]) -> Vec<&'b SpanRow<'b>> {
    let mut groups: Vec<_> = groups.iter().collect();
    groups.sort_by_cached_key(|group| {
        let starts = group.spans.iter().map(|span| span.start_unix_nano);
        (group.key.0, starts.min())
    });
    groups
        .into_iter()
        .flat_map(|it| &it.spans)
        .copied()
        .collect()
}

/// Packs the messages in this order and copies the blocks.
async fn save_blocks<'b>(
    transaction: &Transaction,
    source: &Source<'_>,
    packer: &mut Packer,
    spans: &[&'b SpanRow<'b>],
) -> Result<Vec<Placed<'b>>, Error> {
    const STATEMENT: &str = "COPY content_block (project_id, block_id, codec, content, sieve) \
         FROM STDIN (FORMAT binary)";
    let mut copy = Copy::begin(transaction, STATEMENT, "store blocks").await?;
    let mut block_ids = BlockIds::of(source.received);
    let mut placed = Vec::with_capacity(spans.len());
    let mut open: Option<(ProjectId, i64)> = None;
    for span in spans {
        let block = match open {
            Some(block) if block.0 == span.project && !packer.is_full_for(span.message.len()) => {
                block
            }
            _ => {
                close_block(&mut copy.rows, packer, open)?;
                copy.send_if_full().await?;
                packer.begin();
                (span.project, block_ids.next())
            }
        };
        open = Some(block);
        let (resource_id, scope_id) = source.ids_of(span)?;
        placed.push(Placed {
            span,
            block_id: block.1,
            block_place: packer.push(resource_id, scope_id, &span.message),
        });
    }
    close_block(&mut copy.rows, packer, open)?;
    copy.finish().await?;
    Ok(placed)
}

fn close_block(
    rows: &mut Rows,
    packer: &mut Packer,
    block: Option<(ProjectId, i64)>,
) -> Result<(), Error> {
    match block {
        Some(block) => write_block(rows, packer, block, 5),
        None => Ok(()),
    }
}

/// Begins a row of `content_block` of so many fields with the five that every block has.
pub(super) fn write_block(
    rows: &mut Rows,
    packer: &mut Packer,
    (project, id): (ProjectId, i64),
    fields: u16,
) -> Result<(), Error> {
    let packed = packer.finish().map_err(|source| Error::Poison {
        context: "compress messages",
        source: Box::new(source),
    })?;
    rows.row(fields);
    rows.i64(i64::from(project.0));
    rows.i64(id);
    rows.i16(i16::try_from(packed.codec).unwrap_or(i16::MAX));
    rows.bytes(packed.content);
    rows.bytes(packed.sieve);
    Ok(())
}

async fn save_rows(
    transaction: &Transaction,
    source: &Source<'_>,
    spans: &[&SpanRow<'_>],
    placed: &[Placed<'_>],
) -> Result<(), Error> {
    let columns = Columns::of(spans, source.attributes);
    let statement = columns.copy_statement();
    let mut copy = Copy::begin(transaction, &statement, "store spans").await?;
    for placed in placed {
        let (resource_id, scope_id) = source.ids_of(placed.span)?;
        let places = Places {
            resource_id,
            scope_id,
            block_id: placed.block_id,
            block_place: placed.block_place,
            service_name: &resource_of(source.batch, placed.span)?.service_name,
        };
        columns.write(&mut copy.rows, placed.span, &places);
        copy.send_if_full().await?;
    }
    copy.finish().await?;
    Ok(())
}

impl Source<'_> {
    /// Rows of a span's resource and scope.
    fn ids_of(&self, span: &SpanRow<'_>) -> Result<(i64, i64), Error> {
        self.ids.of(span.resource, span.scope)
    }
}

/// Deletes rows that stand in the way of spans whose trace does not hold them: what is left in a
/// partition of a trace that retention deleted and that came again.
///
/// # Errors
/// As the store's.
pub(super) async fn delete_leftovers(
    transaction: &Transaction,
    groups: &[Group<'_>],
) -> Result<(), Error> {
    let spans = || groups.iter().flat_map(|group| group.spans.iter());
    let projects: Vec<_> = spans().map(|span| i64::from(span.project.0)).collect();
    let trace_ids: Vec<_> = spans().map(|span| span.trace_id.0.as_slice()).collect();
    let span_ids: Vec<_> = spans().map(|span| span.span_id.0.as_slice()).collect();
    transaction
        .execute(
            "DELETE FROM span s
             USING unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS k(project_id, trace_id, span_id)
             WHERE s.project_id = k.project_id AND s.trace_id = k.trace_id
                AND s.span_id = k.span_id",
            &[
                (&projects, Type::INT8_ARRAY),
                (&trace_ids, Type::BYTEA_ARRAY),
                (&span_ids, Type::BYTEA_ARRAY),
            ],
            "delete what is left of deleted traces",
        )
        .await?;
    Ok(())
}
