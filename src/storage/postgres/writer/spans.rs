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

/// What rows are made from.
pub(super) struct Source<'b> {
    pub(super) batch: &'b CleanBatch<'b>,
    pub(super) ids: &'b Ids,
    /// Arrival of the newest span, ns.
    pub(super) received: i64,
    /// Whether small attributes are kept as `jsonb`.
    pub(super) attributes: bool,
}

/// A block being filled.
struct Open {
    project: ProjectId,
    id: i64,
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
    let spans: Vec<_> = groups
        .iter()
        .flat_map(|group| &group.spans)
        .copied()
        .collect();
    let columns = Columns::of(&spans, source.attributes);
    let statement = columns.copy_statement();
    let mut copy = Copy::begin(transaction, &statement, "store spans").await?;
    let mut block_ids = BlockIds::of(source.received);
    let mut blocks = Blocks::default();
    let mut open: Option<Open> = None;
    for span in spans {
        let fits =
            |open: &Open| open.project == span.project && !packer.is_full_for(span.message.len());
        let block = match open.take_if(|open| fits(open)) {
            Some(block) => block,
            None => {
                blocks.close(packer, open.take())?;
                packer.begin();
                Open {
                    project: span.project,
                    id: block_ids.next(),
                }
            }
        };
        let id_of = |ids: &[Option<i64>], index: usize| {
            ids.get(index)
                .copied()
                .flatten()
                .ok_or_else(|| Error::Corrupt {
                    context: "a span refers to a dimension that is not in its batch".to_owned(),
                })
        };
        let resource_id = id_of(&source.ids.resources, span.resource)?;
        let scope_id = id_of(&source.ids.scopes, span.scope)?;
        let places = Places {
            resource_id,
            scope_id,
            block_id: block.id,
            block_place: packer.push(resource_id, scope_id, &span.message),
            service_name: &resource_of(source.batch, span)?.service_name,
        };
        columns.write(&mut copy.rows, span, &places);
        copy.send_if_full().await?;
        open = Some(block);
    }
    blocks.close(packer, open)?;
    copy.finish().await?;
    blocks.save(transaction).await
}

/// Rows of `content_block`, compressed, kept until the spans are copied: a connection does one copy
/// at a time.
#[derive(Default)]
struct Blocks {
    rows: Rows,
    count: usize,
}

impl Blocks {
    fn close(&mut self, packer: &mut Packer, block: Option<Open>) -> Result<(), Error> {
        let Some(block) = block else { return Ok(()) };
        let packed = packer.finish().map_err(|source| Error::Poison {
            context: "compress messages",
            source: Box::new(source),
        })?;
        self.rows.row(4);
        self.rows.i64(i64::from(block.project.0));
        self.rows.i64(block.id);
        self.rows
            .i16(i16::try_from(packed.codec).unwrap_or(i16::MAX));
        self.rows.bytes(packed.content);
        self.count += 1;
        Ok(())
    }

    async fn save(self, transaction: &Transaction) -> Result<(), Error> {
        const STATEMENT: &str =
            "COPY content_block (project_id, block_id, codec, content) FROM STDIN (FORMAT binary)";
        let mut copy = Copy::begin(transaction, STATEMENT, "store blocks").await?;
        copy.send_rows(self.rows).await?;
        let stored = copy.finish().await?;
        debug_assert_eq!(stored, self.count as u64);
        Ok(())
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
