//! Rows of log records.
//!
//! A log record has no id, so that it gets one from what it says: a digest over the project, its
//! resource and scope, the record, and how many equal ones came before it in its request. A resend, a
//! replay of the log and the same request at two collectors give the same ids, so each is stored once.
//! The price: two records that are equal to the last byte, time included, and come in two requests
//! count as one. What identifies a record is what the log holds, so a change of
//! `processors.redaction` between a request and its resend gives it another id.

use std::borrow::Cow;
use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::attributes::{has_longer, is_over};
use super::origin::service_of;
use super::{Building, Envelope, Place};
use crate::model::event::{EventId, EventSource};
use crate::otlp::protobuf::{AnyValue, LogRecord, Request, Scope};
use crate::processors::limits;
use crate::queue::Record;
use crate::semconv;
use crate::semconv::event::{facts, outline};
use crate::storage::EventRow;
use crate::storage::calls::scope_digest;

/// Distinct records of one request that are told from equal ones; beyond it counting begins anew, so
/// that equal records that are further apart than this count as one.
const DISTINCT_MAX: usize = 1 << 20;
/// Largest time stored, ns.
const TIME_MAX: u64 = i64::MAX as u64;

/// Tells equal records of a request apart.
#[derive(Debug, Default)]
struct Seen {
    counts: HashMap<[u8; 16], u32>,
}

impl Seen {
    /// How many equal ones came before.
    fn before(&mut self, digest: [u8; 16]) -> u32 {
        if self.counts.len() >= DISTINCT_MAX {
            self.counts.clear();
        }
        let count = self.counts.entry(digest).or_default();
        let before = *count;
        *count = count.saturating_add(1);
        before
    }
}

/// A digest of what was put in, each with its length.
pub(super) fn add(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn half(hasher: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = hasher.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

fn identify(origin: &Sha256, message: &[u8], seen: &mut Seen) -> [u8; 16] {
    let mut hasher = origin.clone();
    add(&mut hasher, message);
    let digest = half(hasher.clone());
    match seen.before(digest) {
        0 => digest,
        before => {
            hasher.update(before.to_le_bytes());
            half(hasher)
        }
    }
}

impl<'a, E> Building<'a, '_, E> {
    /// Adds the log records of a record of the log.
    pub(super) fn add_logs(&mut self, record: &'a Record) -> Result<(), E> {
        let mut seen = Seen::default();
        for resource in Request::new(&record.payload).resource_spans() {
            let mut of_resource = Sha256::new();
            of_resource.update(record.project.0.to_le_bytes());
            add(&mut of_resource, &resource.resource);
            add(&mut of_resource, resource.schema_url.as_bytes());
            let mut place = Place::default();
            let service = self.sampling.map(|_| service_of(&resource));
            for scope in resource.scope_spans() {
                let mut origin = of_resource.clone();
                add(&mut origin, &scope.scope);
                add(&mut origin, scope.schema_url.as_bytes());
                let named = Scope::parse(&scope.scope).unwrap_or_default();
                let envelope = Envelope {
                    record,
                    resource: &resource,
                    scope: &scope,
                    scope_digest: scope_digest(named.name),
                    service: service.as_deref(),
                };
                place.scope = None;
                self.columns.of(record.project).scope(named.name);
                for message in scope.spans() {
                    let digest = identify(&origin, message, &mut seen);
                    let Ok(log) = LogRecord::parse(message) else {
                        continue;
                    };
                    let row = self.event_row(record, named.name, (&log, message), digest);
                    self.add_event(row, &envelope, &mut place)?;
                    if let Some(mut row) = self.call_row(record, named.name, &log, digest) {
                        row.sampled_out =
                            self.sampled_out(&envelope, row.trace_id, "", &row.basics);
                        self.place_span(row, &envelope, &mut place)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_event(
        &mut self,
        mut row: EventRow<'a>,
        envelope: &Envelope<'_, 'a>,
        place: &mut Place,
    ) -> Result<(), E> {
        (row.resource, row.scope) = self.make_room(envelope, place)?;
        self.truncated += u64::from(matches!(row.message, Cow::Owned(_)));
        self.batch.events.push(row);
        Ok(())
    }

    /// The row of a log record, not placed yet.
    fn event_row(
        &self,
        record: &Record,
        scope: &str,
        (log, message): (&LogRecord<'a>, &'a [u8]),
        digest: [u8; 16],
    ) -> EventRow<'a> {
        let (trace_id, span_id) = log.link();
        let facts = facts(log, scope);
        let outline = facts.fingerprint.map(|_| outline(log));
        EventRow {
            project: record.project,
            id: EventId {
                unix_nano: log.effective_unix_nano().min(TIME_MAX),
                digest,
            },
            observed_unix_nano: log.observed_unix_nano,
            received_unix_nano: record.received_unix_nano,
            severity: u8::try_from(log.severity_number)
                .ok()
                .filter(|severity| *severity <= 24)
                .unwrap_or(0),
            severity_text: Cow::Borrowed(semconv::cut(log.severity_text)),
            trace_id,
            span_id,
            source: EventSource::of_scope(scope),
            facts,
            outline,
            resource: 0,
            scope: 0,
            message: if is_record_over(log, self.limits) {
                match limits::truncate_record(message, self.limits) {
                    Ok(shorter) => Cow::Owned(shorter),
                    // Checked when it came in; better kept whole than lost.
                    Err(_) => Cow::Borrowed(message),
                }
            } else {
                Cow::Borrowed(message)
            },
        }
    }
}

/// Whether anything of a log record is over a limit.
fn is_record_over(log: &LogRecord<'_>, limits: &limits::Config) -> bool {
    let body = log.body();
    let max = limits.attribute_value_length.as_usize();
    log.event_name.len() > limits.name_length.as_usize()
        || log.attributes.len() > limits.attributes_per_span as usize
        || log.attributes.encoded().any(|it| is_over(it, limits))
        || body.len() > max && has_longer(&AnyValue::parse(&body).unwrap_or_default(), max)
}

#[cfg(test)]
mod tests;
