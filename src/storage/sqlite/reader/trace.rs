//! One trace with a page of its spans, and one span.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, params};

use super::failure::read_error;
use super::keys::{self, Origins, SmallestKeys, SpanKey};
use super::pool::Session;
use super::{corrupt, signed, spans, traces, unsigned};
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::{Cursor, Error, PageRequest, StoredSpan, StoredTrace};

/// Bytes of messages one page of a trace holds at most, though always one span.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// A trace with its spans from the cursor on, in (start, span id) order.
pub(super) fn load(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    page: &PageRequest,
) -> Result<Option<StoredTrace>, Error> {
    let Some(trace_key) = keys::trace_key(session, project, trace_id)? else {
        return Ok(None);
    };
    let summary = session
        .connection
        .prepare_cached(traces::ONE)
        .and_then(|mut statement| {
            statement
                .query_row(params![project.0, trace_key], |row| {
                    Ok(traces::summary(row))
                })
                .optional()
        })
        .map_err(read_error("read a trace"))?
        .transpose()?
        .ok_or_else(|| corrupt("a trace without its row"))?;

    let after = page.after.as_ref().map(split_cursor).transpose()?;
    let limit = page.limit.max(1);
    let mut smallest = SmallestKeys::new(limit.saturating_add(1));
    keys::visit_keys(session, project, trace_key, |key| {
        if after.is_none_or(|after| (key.start, key.span_id) > after) {
            smallest.push(key);
        }
    })?;
    let keys = smallest.into_sorted();
    let wanted = keys.get(..limit.min(keys.len())).unwrap_or(&keys);
    let spans = Loader::new(session, project, (trace_key, trace_id)).load(wanted)?;
    let last = spans
        .len()
        .checked_sub(1)
        .filter(|_| spans.len() < keys.len())
        .and_then(|last| keys.get(last));
    Ok(Some(StoredTrace {
        summary,
        next: last.map(cursor),
        spans,
    }))
}

/// One span.
pub(super) fn load_span(
    session: &Session<'_>,
    project: ProjectId,
    trace_id: TraceId,
    span_id: SpanId,
) -> Result<Option<StoredSpan>, Error> {
    let Some(trace_key) = keys::trace_key(session, project, trace_id)? else {
        return Ok(None);
    };
    let mut found = None;
    keys::visit_keys(session, project, trace_key, |key| {
        if key.span_id == span_id {
            found = Some(key);
        }
    })?;
    let mut loader = Loader::new(session, project, (trace_key, trace_id));
    Ok(loader.load(found.as_slice())?.pop())
}

/// Loads spans whose keys are known, each part once.
struct Loader<'s> {
    session: &'s Session<'s>,
    project: ProjectId,
    trace: (i64, TraceId),
    origins: Origins<'s>,
}

impl<'s> Loader<'s> {
    fn new(session: &'s Session<'s>, project: ProjectId, trace: (i64, TraceId)) -> Self {
        Self {
            session,
            project,
            trace,
            origins: Origins::new(session, project),
        }
    }

    /// Loads spans in the order of the keys; fewer when the page's bytes are used up.
    fn load(&mut self, keys: &[SpanKey]) -> Result<Vec<StoredSpan>, Error> {
        let mut wanted: HashMap<i64, HashMap<usize, usize>> = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
            wanted
                .entry(key.part_id)
                .or_default()
                .insert(key.index, place);
        }
        let mut loaded: Vec<Option<StoredSpan>> = Vec::new();
        loaded.resize_with(keys.len(), || None);
        let mut bytes = 0;
        for (place, key) in keys.iter().enumerate() {
            let missing = loaded.get(place).is_some_and(Option::is_none);
            if bytes > PAGE_BYTES_MAX && missing {
                break;
            }
            if let Some(places) = wanted.remove(&key.part_id) {
                bytes += self.load_part(key.part_id, keys, &places, &mut loaded)?;
            }
        }
        Ok(cut(loaded))
    }

    /// Loads the wanted spans of a part; answers their bytes.
    fn load_part(
        &mut self,
        part_id: i64,
        keys: &[SpanKey],
        places: &HashMap<usize, usize>,
        loaded: &mut [Option<StoredSpan>],
    ) -> Result<usize, Error> {
        let part = keys::load_part(self.session, self.project, part_id)?;
        let mut bytes = 0;
        for (index, span) in part.spans.spans().enumerate() {
            let Some(place) = places.get(&index) else {
                continue;
            };
            let (Some(key), Some(slot)) = (keys.get(*place), loaded.get_mut(*place)) else {
                continue;
            };
            let resource = self.origins.resource(span.resource_id)?;
            let scope = self.origins.scope(span.scope_id)?;
            let summary = spans::load_summary(
                self.session,
                self.project,
                self.trace,
                key,
                &resource.service_name,
            )?;
            bytes += span.message.len() + resource.message.len() + scope.message.len();
            *slot = Some(StoredSpan {
                summary,
                resource,
                scope,
                message: span.message.to_vec(),
                received_unix_nano: part.received_unix_nano,
            });
        }
        Ok(bytes)
    }
}

/// The spans up to the first that was not loaded, and up to the page's bytes.
fn cut(loaded: Vec<Option<StoredSpan>>) -> Vec<StoredSpan> {
    let mut bytes = 0;
    let mut spans = Vec::with_capacity(loaded.len());
    for span in loaded.into_iter().map_while(|span| span) {
        bytes += span.message.len() + span.resource.message.len() + span.scope.message.len();
        if bytes > PAGE_BYTES_MAX && !spans.is_empty() {
            break;
        }
        spans.push(span);
    }
    spans
}

fn cursor(key: &SpanKey) -> Cursor {
    Cursor {
        unix_nano: unsigned(key.start),
        key: key.span_id.0.to_vec(),
    }
}

fn split_cursor(cursor: &Cursor) -> Result<(i64, SpanId), Error> {
    let span_id = cursor.key.as_slice().try_into();
    let span_id = span_id.map_err(|_| corrupt("cursor of a trace's spans"))?;
    Ok((signed(cursor.unix_nano), SpanId(span_id)))
}
