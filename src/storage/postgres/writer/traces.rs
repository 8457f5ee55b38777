//! Traces: which spans of a batch are new to the store, and what they add to their traces.
//!
//! See the module above for why this is right with any number of writers. It can't deadlock: a
//! writer that waits while it inserts holds only rows it inserted, whose keys are smaller; one that
//! waits for the lock of a row that exists locks in key order, and can't meet a row that another
//! inserts, because its own insert would have waited for that.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::super::transaction::Transaction;
use super::Care;
use super::clean::CleanBatch;
use super::copy::Copy;
use super::stored::without_stored;
use super::trace_rows::{self, KnownTrace, TraceRows};
use super::trace_services::Services;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::calls::{self, Change, Fresh, Settled, Stored};
use crate::storage::rollup::Crowd;
use crate::storage::summary::{Summary, clamp_time};
use crate::storage::write::{ResourceRow, SpanRow, by_trace};

/// How often a trace may be deleted between our insert, which found it, and our lock.
const ROUNDS_MAX: usize = 5;

pub(super) type Key = (ProjectId, TraceId);

/// Spans of one trace that are stored together.
pub(super) struct Group<'b> {
    pub(super) key: Key,
    /// By span id, each once.
    pub(super) spans: Vec<&'b SpanRow<'b>>,
    /// What changes in sums that the trace is part of.
    pub(super) changes: Vec<Change<'b>>,
    /// Whether this transaction made the row of the trace.
    pub(super) is_new: bool,
}

/// Spans of a batch grouped by trace, in key order; of spans with one identity only the first that
/// arrived.
pub(super) fn groups<'b>(spans: &'b [SpanRow<'b>]) -> Vec<Group<'b>> {
    let key = |span: &SpanRow<'_>| (span.project, span.trace_id);
    by_trace(spans)
        .chunk_by(|a, b| key(a) == key(b))
        .filter_map(|spans| {
            Some(Group {
                key: key(spans.first()?),
                spans: spans.to_vec(),
                changes: Vec::new(),
                is_new: false,
            })
        })
        .collect()
}

/// The resource of a span.
pub(super) fn resource_of<'c, 'b>(
    batch: &'c CleanBatch<'b>,
    span: &SpanRow<'_>,
) -> Result<&'c ResourceRow<'b>, Error> {
    batch
        .resources
        .get(span.resource)
        .ok_or_else(|| Error::Corrupt {
            context: "a span refers to a resource that is not in its batch".to_owned(),
        })
}

/// What spans of one trace add up to.
struct Added<'b> {
    summary: Summary<'b>,
    last_start: i64,
    fresh: Fresh<'b>,
}

/// What spans of one trace have to do with usage.
///
/// # Errors
/// [`Error::Corrupt`].
pub(super) fn fresh_of<'b>(
    spans: &[&'b SpanRow<'b>],
    batch: &'b CleanBatch<'b>,
    crowd: &Crowd<'b>,
) -> Result<Fresh<'b>, Error> {
    let added = add_up(spans, batch, crowd)?;
    Ok(added.map(|added| added.fresh).unwrap_or_default())
}

fn add_up<'b>(
    spans: &[&'b SpanRow<'b>],
    batch: &'b CleanBatch<'b>,
    crowd: &Crowd<'b>,
) -> Result<Option<Added<'b>>, Error> {
    let mut added: Option<Added<'b>> = None;
    for span in spans {
        let resource = resource_of(batch, span)?;
        let start = clamp_time(span.start_unix_nano);
        let added = match &mut added {
            Some(added) => {
                added.summary.add(span, resource);
                added.last_start = added.last_start.max(start);
                added
            }
            None => added.insert(Added {
                summary: Summary::of(span, resource),
                last_start: start,
                fresh: Fresh::default(),
            }),
        };
        let service = &resource.service_name;
        let is_crowded = || crowd.has_no_room_for(span, service);
        added.fresh.add(span, service, is_crowded);
    }
    Ok(added)
}

/// What a batch makes of a trace that is new, if it is.
struct Begun<'b> {
    summary: Summary<'b>,
    last_start: i64,
    calls: Settled<'b>,
}

impl<'b> Begun<'b> {
    /// `unstored`: what was counted of the trace without being stored.
    fn of(added: Added<'b>, unstored: Option<&Stored>) -> Self {
        Self {
            calls: match unstored {
                Some(unstored) => calls::take_over(unstored, &added.fresh),
                None => calls::settle(&Stored::default(), &added.fresh),
            },
            summary: added.summary,
            last_start: added.last_start,
        }
    }
}

/// Saves what is new of the traces, and answers their new spans, in key order. `received` is the
/// arrival of the newest span, ns; `unstored` what was counted of traces without being stored.
///
/// # Errors
/// As the store's.
pub(super) async fn save<'b>(
    transaction: &Transaction,
    (batch, crowd): (&'b CleanBatch<'b>, &Crowd<'b>),
    (mut groups, unstored): (Vec<Group<'b>>, &HashMap<Key, Stored>),
    received: i64,
    care: Care,
) -> Result<Vec<Group<'b>>, Error> {
    let mut begun: Vec<_> = groups
        .iter()
        .map(|group| {
            let added = add_up(&group.spans, batch, crowd)?;
            Ok(added.map(|added| Begun::of(added, unstored.get(&group.key))))
        })
        .collect::<Result<_, Error>>()?;
    let mut services = Services::default();
    let mut open: Vec<_> = groups.iter().zip(&begun).collect();
    let mut known = HashMap::new();
    let mut all_new = HashSet::new();
    for round in 0..ROUNDS_MAX {
        let new = if care == Care::Alone && round == 0 {
            copy_new(transaction, &open).await?
        } else {
            insert_new(transaction, &open).await?
        };
        for (group, begun) in &open {
            if let (true, Some(begun)) = (new.contains(&group.key), begun) {
                services.add(group.key, begun.summary.start, &begun.summary.services);
            }
        }
        open.retain(|(group, _)| !new.contains(&group.key));
        known.extend(lock(transaction, &open).await?);
        // What is neither new nor there was deleted in between.
        open.retain(|(group, _)| !known.contains_key(&group.key));
        all_new.extend(new);
        if open.is_empty() {
            break;
        }
    }
    if !open.is_empty() {
        return Err(Error::Unavailable {
            context: "store traces",
            source: "traces keep being deleted while they are written".into(),
        });
    }
    for (group, begun) in groups.iter_mut().zip(&mut begun) {
        if let (false, Some(begun)) = (known.contains_key(&group.key), begun) {
            group.changes = std::mem::take(&mut begun.calls.changes);
        }
        group.is_new = all_new.contains(&group.key);
    }
    let mut fresh = without_stored(transaction, groups, &known, received).await?;
    let source = (batch, crowd);
    grow(transaction, source, &mut fresh, &known, &mut services).await?;
    services.save(transaction, care).await?;
    Ok(fresh)
}

/// Copies in the rows of traces that have none; answers which. In key order, as [`insert_new`]. Fails
/// with a unique violation when another writer makes one of them at the same time.
async fn copy_new(
    transaction: &Transaction,
    open: &[(&Group<'_>, &Option<Begun<'_>>)],
) -> Result<HashSet<Key>, Error> {
    let found = find(transaction, open).await?;
    let mut new = HashSet::with_capacity(open.len() - found.len());
    if found.len() == open.len() {
        return Ok(new);
    }
    let mut copy = Copy::begin(transaction, trace_rows::COPY, "store traces").await?;
    for (place, (group, begun)) in open.iter().enumerate() {
        if let (false, Some(begun)) = (found.contains(&place), begun) {
            let (summary, calls) = (&begun.summary, &begun.calls);
            trace_rows::write(&mut copy.rows, &group.key, summary, begun.last_start, calls);
            copy.send_if_full().await?;
            new.insert(group.key);
        }
    }
    copy.finish().await?;
    Ok(new)
}

/// Which traces have a row, by their places.
async fn find(
    transaction: &Transaction,
    open: &[(&Group<'_>, &Option<Begun<'_>>)],
) -> Result<HashSet<usize>, Error> {
    let (projects, trace_ids) = keys(open);
    let params = [
        (&projects as _, Type::INT8_ARRAY),
        (&trace_ids as _, Type::BYTEA_ARRAY),
    ];
    let rows = transaction
        .query(trace_rows::FIND, &params, "look up traces")
        .await?;
    let place = |row: &tokio_postgres::Row| {
        let ordinal = usize::try_from(row.get::<_, i64>(0)).ok()?;
        ordinal.checked_sub(1)
    };
    Ok(rows.iter().filter_map(place).collect())
}

/// Keys of traces, column by column.
fn keys<'g>(open: &[(&'g Group<'_>, &Option<Begun<'_>>)]) -> (Vec<i64>, Vec<&'g [u8]>) {
    let of = |(group, _): &(&'g Group<'_>, &Option<Begun<'_>>)| {
        (i64::from(group.key.0.0), group.key.1.0.as_slice())
    };
    open.iter().map(of).unzip()
}

/// Inserts the rows of traces that have none; answers which.
async fn insert_new(
    transaction: &Transaction,
    open: &[(&Group<'_>, &Option<Begun<'_>>)],
) -> Result<HashSet<Key>, Error> {
    let mut rows = TraceRows::default();
    for (group, begun) in open {
        if let Some(begun) = begun {
            let (project, trace_id) = &group.key;
            let calls = &begun.calls;
            rows.push(*project, trace_id, &begun.summary, begun.last_start, calls);
        }
    }
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let inserted = transaction
        .query(trace_rows::INSERT, &rows.params(), "store traces")
        .await?;
    let key = |row: &tokio_postgres::Row| {
        let project = u32::try_from(row.get::<_, i64>(0)).ok()?;
        Some((ProjectId(project), TraceId::from_bytes(row.get(1))?))
    };
    Ok(inserted.iter().filter_map(key).collect())
}

/// Locks the rows of traces and reads them.
async fn lock(
    transaction: &Transaction,
    open: &[(&Group<'_>, &Option<Begun<'_>>)],
) -> Result<HashMap<Key, KnownTrace>, Error> {
    if open.is_empty() {
        return Ok(HashMap::new());
    }
    let (projects, trace_ids) = keys(open);
    let rows = transaction
        .query(
            trace_rows::LOCK,
            &[
                (&projects, Type::INT8_ARRAY),
                (&trace_ids, Type::BYTEA_ARRAY),
            ],
            "lock traces",
        )
        .await?;
    rows.iter().map(trace_rows::read).collect()
}

/// Adds new spans to the rows of traces that were there.
async fn grow<'b>(
    transaction: &Transaction,
    (batch, crowd): (&'b CleanBatch<'b>, &Crowd<'b>),
    fresh: &mut [Group<'b>],
    known: &HashMap<Key, KnownTrace>,
    services: &mut Services<'b>,
) -> Result<(), Error> {
    let mut grown = Vec::new();
    for group in fresh {
        let Some(known) = known.get(&group.key) else {
            continue;
        };
        let Some(added) = add_up(&group.spans, batch, crowd)? else {
            continue;
        };
        let mut calls = calls::settle(&known.calls, &added.fresh);
        group.changes = std::mem::take(&mut calls.changes);
        let mut merged: Summary<'b> = known.summary.clone();
        merged.merge(added.summary);
        services.change(group.key, &known.summary, &merged);
        let last_start = known.last_start.max(added.last_start);
        grown.push((group.key, merged, last_start, calls));
    }
    let mut rows = TraceRows::default();
    for (key, summary, last_start, calls) in &grown {
        rows.push(key.0, &key.1, summary, *last_start, calls);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let updated = transaction
        .execute(trace_rows::UPDATE, &rows.params(), "update traces")
        .await?;
    if updated == grown.len() as u64 {
        Ok(())
    } else {
        Err(Error::Corrupt {
            context: "a locked trace has gone".to_owned(),
        })
    }
}
