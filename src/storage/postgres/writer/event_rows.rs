//! Rows of events, as they are copied in.

use super::clean::clean_text;
use super::copy::Rows;
use crate::storage::summary::clamp_time;
use crate::storage::write::{EventRow, ResourceRow};

/// In the order in which [`Places::write`] writes the fields.
pub(super) const COPY: &str = "COPY event (project_id, time_unix_nano, observed_unix_nano, \
     received_unix_nano, block_id, fingerprint, input_tokens, output_tokens, cache_read_tokens, \
     cache_write_tokens, reasoning_tokens, cost_nano_usd, duration_ns, block_place, severity, \
     source, digest, trace_id, span_id, service_name, environment, release, severity_text, name, \
     session_id, model) FROM STDIN (FORMAT binary)";
const FIELDS: u16 = 26;

/// Where the message of an event is.
pub(super) struct Places {
    pub(super) block_id: i64,
    pub(super) block_place: u32,
}

impl Places {
    pub(super) fn write(&self, rows: &mut Rows, event: &EventRow<'_>, resource: &ResourceRow<'_>) {
        let (facts, usage) = (&event.facts, &event.facts.usage);
        rows.row(FIELDS);
        rows.i64(i64::from(event.project.0));
        rows.i64(clamp_time(event.id.unix_nano));
        rows.i64(clamp_time(event.observed_unix_nano));
        rows.i64(clamp_time(event.received_unix_nano));
        rows.i64(self.block_id);
        for value in [
            facts.fingerprint,
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_write,
            usage.reasoning,
            facts.cost_nano_usd,
            facts.duration_ns,
        ] {
            rows.optional_i64(value);
        }
        rows.i32(self.block_place.cast_signed());
        rows.i16(i16::from(event.severity));
        rows.i16(i16::from(event.source as u8));
        rows.bytes(&event.id.digest);
        let trace_id = event.trace_id.as_ref().map(|id| id.0.as_slice());
        let span_id = event.span_id.as_ref().map(|id| id.0.as_slice());
        for id in [trace_id, span_id] {
            match id {
                Some(id) => rows.bytes(id),
                None => rows.null(),
            }
        }
        rows.text(&resource.service_name);
        let severity_text = Some(event.severity_text.as_ref()).filter(|text| !text.is_empty());
        for text in [
            resource.environment.as_deref(),
            resource.service_version.as_deref(),
            severity_text,
            facts.name.as_deref(),
            facts.session_id.as_deref(),
            facts.model.as_deref(),
        ] {
            rows.optional_text(text.map(clean_text).as_deref());
        }
    }
}
