//! Events: which are new, their messages in blocks, their rows.

use std::collections::HashSet;

use tokio_postgres::types::Type;

use super::super::partitions::{Arrivals, Partitions, Table};
use super::super::transaction::Transaction;
use super::block_id::BlockIds;
use super::copy::{Copy, Rows};
use super::event_rows::{COPY, Places};
use super::issues;
use super::spans::{Source, write_block};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::content::Packer;
use crate::storage::event_feed::add_key;
use crate::storage::issues::Gathered;
use crate::storage::summary::clamp_time;
use crate::storage::write::EventRow;

/// Writes the events that are not stored yet; answers how many those are, and what their partitions
/// are to note.
///
/// # Errors
/// As the store's.
pub(super) async fn write(
    transaction: &Transaction,
    source: &Source<'_>,
    packer: &mut Packer,
    partitions: &Partitions,
) -> Result<(u64, Arrivals), Error> {
    let mut arrivals = Arrivals::of(Table::Event);
    let fresh = unstored(transaction, source.batch.events).await?;
    for event in &fresh {
        let received = clamp_time(event.received_unix_nano);
        partitions.note(&mut arrivals, clamp_time(event.id.unix_nano), received);
    }
    // Before they are copied in: who drops partitions locks the note first, and then the partition.
    arrivals.save(transaction).await?;
    save(transaction, source, packer, &fresh).await?;
    let known = fresh
        .iter()
        .filter_map(|event| Some((*event, source.batch.resources.get(event.resource)?)));
    let gathered = Gathered::of(known);
    issues::save(transaction, gathered).await?;
    Ok((fresh.len() as u64, arrivals))
}

/// Which of some events are stored. Looked up one by one; all the times together say which partitions
/// are read.
const STORED: &str = "SELECT wanted.place FROM unnest($1::bigint[],
        $2::bigint[], $3::bytea[]) WITH ORDINALITY AS wanted (project_id, time, digest, place)
    CROSS JOIN LATERAL (SELECT 1 FROM event WHERE event.project_id = wanted.project_id
        AND time_unix_nano = wanted.time AND event.digest = wanted.digest
        AND time_unix_nano BETWEEN $4 AND $5 OFFSET 0) AS found";

/// The events that are not stored, each once, by time and then as they were sent, so that writers who
/// store the same request wait for each other in order.
///
/// # Errors
/// As the store's.
async fn unstored<'b>(
    transaction: &Transaction,
    events: &'b [EventRow<'b>],
) -> Result<Vec<&'b EventRow<'b>>, Error> {
    let mut wanted: Vec<_> = events.iter().collect();
    let mut seen = HashSet::with_capacity(wanted.len());
    wanted.retain(|event| seen.insert((event.project, event.id)));
    wanted.sort_by_key(|event| (event.project, event.id.unix_nano));
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let projects: Vec<_> = wanted.iter().map(|it| i64::from(it.project.0)).collect();
    let times: Vec<_> = wanted
        .iter()
        .map(|it| clamp_time(it.id.unix_nano))
        .collect();
    let digests: Vec<_> = wanted.iter().map(|it| it.id.digest.as_slice()).collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    let rows = transaction
        .query(
            STORED,
            &[
                (&projects, Type::INT8_ARRAY),
                (&times, Type::INT8_ARRAY),
                (&digests, Type::BYTEA_ARRAY),
                (&first.copied().unwrap_or(0), Type::INT8),
                (&last.copied().unwrap_or(0), Type::INT8),
            ],
            "look for stored events",
        )
        .await?;
    let stored: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let places = 1..;
    let fresh = places
        .zip(wanted)
        .filter(|(place, _)| !stored.contains(place));
    Ok(fresh.map(|(_, event)| event).collect())
}

/// Writes the events and their blocks.
///
/// # Errors
/// As the store's.
async fn save(
    transaction: &Transaction,
    source: &Source<'_>,
    packer: &mut Packer,
    events: &[&EventRow<'_>],
) -> Result<(), Error> {
    const BLOCKS: &str = "COPY content_block (project_id, block_id, codec, content, sieve, \
         event_keys) FROM STDIN (FORMAT binary)";
    if events.is_empty() {
        return Ok(());
    }
    let mut copy = Copy::begin(transaction, BLOCKS, "store blocks of events").await?;
    let mut block_ids = BlockIds::of(source.received);
    let mut placed = Vec::with_capacity(events.len());
    let mut open: Option<(ProjectId, i64)> = None;
    let mut keys = Vec::new();
    for event in events {
        let block = match open {
            Some(block) if block.0 == event.project && !packer.is_full_for(event.message.len()) => {
                block
            }
            _ => {
                close_block(&mut copy.rows, packer, open, &mut keys)?;
                copy.send_if_full().await?;
                packer.begin();
                (event.project, block_ids.next())
            }
        };
        open = Some(block);
        add_key(&mut keys, event.id);
        let (resource_id, scope_id) = source.ids.of(event.resource, event.scope)?;
        placed.push(Places {
            block_id: block.1,
            block_place: packer.push(resource_id, scope_id, &event.message),
        });
    }
    close_block(&mut copy.rows, packer, open, &mut keys)?;
    copy.finish().await?;
    let mut copy = Copy::begin(transaction, COPY, "store events").await?;
    for (event, places) in events.iter().zip(placed) {
        let resource = source.batch.resources.get(event.resource);
        let resource = resource.ok_or_else(|| Error::Corrupt {
            context: "an event refers to a resource that is not in its batch".to_owned(),
        })?;
        places.write(&mut copy.rows, event, resource);
        copy.send_if_full().await?;
    }
    copy.finish().await?;
    Ok(())
}

fn close_block(
    rows: &mut Rows,
    packer: &mut Packer,
    block: Option<(ProjectId, i64)>,
    keys: &mut Vec<u8>,
) -> Result<(), Error> {
    if let Some(block) = block {
        write_block(rows, packer, block, 6)?;
        rows.bytes(keys);
        keys.clear();
    }
    Ok(())
}
