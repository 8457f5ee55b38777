//! Writing events: their rows, and their messages in blocks.

mod retention;

use std::collections::HashSet;

use rusqlite::{Transaction, params};

use super::error::storage_error;
use super::insert::Dimensions;
use super::issue_rows;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::content::Packer;
use crate::storage::event_feed::add_key;
use crate::storage::issues::Gathered;
use crate::storage::summary::clamp_time;
use crate::storage::write::{Batch, EventRow};

pub(super) use retention::OldestEvents;

const INSERT: &str = "INSERT INTO event (project_id, time_unix_nano, digest, observed_unix_nano,
        received_unix_nano, block_id, block_place, severity, source, service_name, severity_text,
        trace_id, span_id, environment, release, name, session_id, model, input_tokens,
        output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_nano_usd,
        duration_ns, fingerprint)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
        ?20, ?21, ?22, ?23, ?24, ?25, ?26)";

/// A block being filled.
struct Open {
    project: ProjectId,
    received: i64,
    keys: Vec<u8>,
}

/// Writes the events of a batch that are not stored yet; answers how many those are.
///
/// # Errors
/// As the store's.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    batch: &Batch<'_>,
    dimensions: &Dimensions,
    packer: &mut Packer,
) -> Result<u64, Error> {
    let mut fresh = unstored(transaction, &batch.events)?;
    // Stable: records of one time keep the order in which they were sent.
    fresh.sort_by_key(|event| (event.project, event.id.unix_nano));
    let mut placed = Vec::with_capacity(fresh.len());
    let mut open: Option<Open> = None;
    // A block's row comes first, its content when it is full.
    for event in &fresh {
        let fits =
            |open: &Open| open.project == event.project && !packer.is_full_for(event.message.len());
        if !open.as_ref().is_some_and(fits) {
            close(transaction, packer, open.take(), &mut placed, batch)?;
            packer.begin();
        }
        let open = open.get_or_insert_with(|| Open {
            project: event.project,
            received: 0,
            keys: Vec::new(),
        });
        open.received = open.received.max(clamp_time(event.received_unix_nano));
        add_key(&mut open.keys, event.id);
        let missing = || Error::Corrupt {
            context: "an event refers to a dimension that is not in its batch".to_owned(),
        };
        let resource = dimensions.resources.get(event.resource);
        let scope = dimensions.scopes.get(event.scope).ok_or_else(missing)?;
        let place = packer.push(*resource.ok_or_else(missing)?, *scope, &event.message);
        placed.push((*event, place));
    }
    close(transaction, packer, open, &mut placed, batch)?;
    let known = fresh
        .iter()
        .filter_map(|event| Some((*event, batch.resources.get(event.resource)?)));
    issue_rows::save(transaction, Gathered::of(known))?;
    Ok(fresh.len() as u64)
}

/// The events that are not stored, each once.
fn unstored<'b>(
    transaction: &Transaction<'_>,
    events: &'b [EventRow<'b>],
) -> Result<Vec<&'b EventRow<'b>>, Error> {
    let failed = storage_error("look for stored events");
    let mut find = transaction
        .prepare_cached(
            "SELECT 1 FROM event WHERE project_id = ?1 AND time_unix_nano = ?2 AND digest = ?3",
        )
        .map_err(&failed)?;
    let mut seen = HashSet::with_capacity(events.len());
    let mut fresh = Vec::with_capacity(events.len());
    for event in events {
        let id = event.id;
        if seen.insert((event.project, id)) {
            let key = params![event.project.0, clamp_time(id.unix_nano), id.digest];
            if !find.exists(key).map_err(&failed)? {
                fresh.push(event);
            }
        }
    }
    Ok(fresh)
}

/// Writes the block that was filled, and the rows of its events.
fn close(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    open: Option<Open>,
    placed: &mut Vec<(&EventRow<'_>, u32)>,
    batch: &Batch<'_>,
) -> Result<(), Error> {
    let failed = storage_error("store events");
    let Some(open) = open else { return Ok(()) };
    let packed = packer.finish().map_err(|source| Error::Poison {
        context: "compress a block of events",
        source: Box::new(source),
    })?;
    transaction
        .prepare_cached(
            "INSERT INTO event_block (project_id, received_unix_nano, codec, content, keys)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                open.project.0,
                open.received,
                packed.codec,
                packed.content,
                open.keys
            ])
        })
        .map_err(&failed)?;
    let block_id = transaction.last_insert_rowid();
    transaction
        .prepare_cached("INSERT INTO event_block_sieve VALUES (?1, ?2)")
        .and_then(|mut insert| insert.execute(params![block_id, packed.sieve]))
        .map_err(&failed)?;
    for (event, place) in placed.drain(..) {
        insert_row(transaction, batch, event, (block_id, place))?;
    }
    Ok(())
}

fn insert_row(
    transaction: &Transaction<'_>,
    batch: &Batch<'_>,
    event: &EventRow<'_>,
    (block_id, place): (i64, u32),
) -> Result<(), Error> {
    let resource = batch
        .resources
        .get(event.resource)
        .ok_or_else(|| Error::Corrupt {
            context: "an event refers to a resource that is not in its batch".to_owned(),
        })?;
    let (facts, usage) = (&event.facts, &event.facts.usage);
    let severity_text = (!event.severity_text.is_empty()).then_some(&event.severity_text);
    transaction
        .prepare_cached(INSERT)
        .and_then(|mut insert| {
            insert.execute(params![
                event.project.0,
                clamp_time(event.id.unix_nano),
                event.id.digest,
                clamp_time(event.observed_unix_nano),
                clamp_time(event.received_unix_nano),
                block_id,
                place,
                event.severity,
                event.source as u8,
                resource.service_name,
                severity_text,
                event.trace_id.map(|id| id.0),
                event.span_id.map(|id| id.0),
                resource.environment,
                resource.service_version,
                facts.name,
                facts.session_id,
                facts.model,
                usage.input,
                usage.output,
                usage.cache_read,
                usage.cache_write,
                usage.reasoning,
                facts.cost_nano_usd,
                facts.duration_ns,
                facts.fingerprint
            ])
        })
        .map_err(storage_error("store an event"))?;
    Ok(())
}
