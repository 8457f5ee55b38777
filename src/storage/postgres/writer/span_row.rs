//! A row of `span`: which columns a batch needs, and how a span becomes one.
//!
//! Every field of a row costs, NULL or not, on both sides. Most batches have no span of some kind
//! at all, so a group of columns that no span of a batch uses is left out of its copy.

use super::attributes;
use super::copy::{Rows, timestamptz};
use crate::model::genai::GenAi;
use crate::storage::summary::clamp_time;
use crate::storage::write::SpanRow;

const CORE: &str = "project_id, start_time, start_unix_nano, duration_ns, received_unix_nano, \
    resource_id, scope_id, block_id, block_place, kind, status, time_marks, trace_id, span_id, \
    parent_span_id, name, service_name, operation, status_message, session_id, user_id, \
    error_type, error_message, error_kind";
const CORE_FIELDS: u16 = 24;
const MODEL: &str = ", provider, request_model, response_model";
const MODEL_FIELDS: u16 = 3;
const GENAI: &str = ", time_to_first_token_ns, input_tokens, output_tokens, cache_read_tokens, \
    cache_write_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, \
    image_input_tokens, image_output_tokens, \
    input_cost_nano_usd, output_cost_nano_usd, cost_nano_usd, cost_source, is_model_call, \
    streaming, dialect, response_id, finish_reason, agent_name, agent_id, tool_name, \
    tool_call_id, price_version, tags";
const GENAI_FIELDS: u16 = 25;
const HTTP: &str = ", http_status_code, http_method, http_route";
const HTTP_FIELDS: u16 = 3;
const CALLS: &str = ", db_system, db_operation, rpc_system, rpc_service, rpc_method";
const CALLS_FIELDS: u16 = 5;
const ATTRIBUTES: &str = ", attributes";

/// Which groups of columns are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Columns {
    model: bool,
    genai: bool,
    http: bool,
    calls: bool,
    attributes: bool,
}

/// Where the parts of a span are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) resource_id: i64,
    pub(super) scope_id: i64,
    pub(super) block_id: i64,
    pub(super) block_place: u32,
    pub(super) service_name: &'a str,
}

impl Columns {
    /// The columns that these spans need.
    pub(super) fn of(spans: &[&SpanRow<'_>], with_attributes: bool) -> Self {
        let mut columns = Self {
            attributes: with_attributes,
            ..Self::default()
        };
        for span in spans {
            let basics = &span.basics;
            columns.model |= basics.provider.is_some()
                || basics.request_model.is_some()
                || basics.response_model.is_some();
            columns.genai |= basics.genai.is_some();
            columns.http |= basics.http_method.is_some()
                || basics.http_route.is_some()
                || basics.http_status_code.is_some();
            columns.calls |= basics.db_system.is_some()
                || basics.db_operation.is_some()
                || basics.rpc_system.is_some()
                || basics.rpc_service.is_some()
                || basics.rpc_method.is_some();
        }
        columns
    }

    /// The statement that copies them in.
    pub(super) fn copy_statement(self) -> String {
        let mut sql = format!("COPY span ({CORE}");
        for (used, names) in [
            (self.model, MODEL),
            (self.genai, GENAI),
            (self.http, HTTP),
            (self.calls, CALLS),
            (self.attributes, ATTRIBUTES),
        ] {
            if used {
                sql.push_str(names);
            }
        }
        sql.push_str(") FROM STDIN (FORMAT binary)");
        sql
    }

    fn fields(self) -> u16 {
        let count = |used: bool, fields: u16| if used { fields } else { 0 };
        CORE_FIELDS
            + count(self.model, MODEL_FIELDS)
            + count(self.genai, GENAI_FIELDS)
            + count(self.http, HTTP_FIELDS)
            + count(self.calls, CALLS_FIELDS)
            + count(self.attributes, 1)
    }

    /// Writes the row of a span.
    pub(super) fn write(self, rows: &mut Rows, span: &SpanRow<'_>, places: &Places<'_>) {
        rows.row(self.fields());
        write_core(rows, span, places);
        let basics = &span.basics;
        if self.model {
            rows.optional_text(basics.provider.as_deref());
            rows.optional_text(basics.request_model.as_deref());
            rows.optional_text(basics.response_model.as_deref());
        }
        if self.genai {
            match basics.genai.as_deref() {
                Some(genai) => write_genai(rows, genai),
                None => (0..GENAI_FIELDS).for_each(|_| rows.null()),
            }
        }
        if self.http {
            rows.optional_i64(basics.http_status_code);
            rows.optional_text(basics.http_method.as_deref());
            rows.optional_text(basics.http_route.as_deref());
        }
        if self.calls {
            rows.optional_text(basics.db_system.as_deref());
            rows.optional_text(basics.db_operation.as_deref());
            rows.optional_text(basics.rpc_system.as_deref());
            rows.optional_text(basics.rpc_service.as_deref());
            rows.optional_text(basics.rpc_method.as_deref());
        }
        if self.attributes {
            rows.written(|out| attributes::write_of_span(&span.message, out));
        }
    }
}

fn write_core(rows: &mut Rows, span: &SpanRow<'_>, places: &Places<'_>) {
    let basics = &span.basics;
    let start = clamp_time(span.start_unix_nano);
    rows.i64(i64::from(span.project.0));
    rows.i64(timestamptz(start));
    rows.i64(start);
    rows.i64(clamp_time(span.duration_ns()));
    rows.i64(clamp_time(span.received_unix_nano));
    rows.i64(places.resource_id);
    rows.i64(places.scope_id);
    rows.i64(places.block_id);
    rows.i32(i32::try_from(places.block_place).unwrap_or(i32::MAX));
    rows.i16(i16::from(span.kind as u8));
    rows.i16(i16::from(span.status as u8));
    rows.i16(i16::from(span.time_marks.0));
    rows.bytes(&span.trace_id.0);
    rows.bytes(&span.span_id.0);
    match span.parent_span_id {
        Some(parent) => rows.bytes(&parent.0),
        None => rows.null(),
    }
    rows.text(&span.name);
    rows.text(places.service_name);
    rows.text(basics.operation.as_str());
    rows.optional_text(Some(span.status_message.as_ref()).filter(|text| !text.is_empty()));
    rows.optional_text(basics.session_id.as_deref());
    rows.optional_text(basics.user_id.as_deref());
    rows.optional_text(basics.error_type.as_deref());
    rows.optional_text(basics.error_message.as_deref());
    match basics.error_kind {
        Some(kind) => rows.i16(i16::from(kind as u8)),
        None => rows.null(),
    }
}

fn write_genai(rows: &mut Rows, genai: &GenAi<'_>) {
    let (usage, cost) = (&genai.usage, &genai.cost);
    rows.optional_i64(genai.time_to_first_token_ns);
    for amount in [
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write,
        usage.reasoning,
        usage.audio_in,
        usage.audio_out,
        usage.image_in,
        usage.image_out,
        cost.input,
        cost.output,
        cost.total,
    ] {
        rows.optional_i64(amount);
    }
    match cost.source {
        Some(source) => rows.i16(i16::from(source as u8)),
        None => rows.null(),
    }
    rows.boolean(genai.is_model_call);
    rows.optional_boolean(genai.streaming);
    rows.optional_text(genai.dialect.as_deref());
    for text in [
        &genai.response_id,
        &genai.finish_reason,
        &genai.agent_name,
        &genai.agent_id,
        &genai.tool_name,
        &genai.tool_call_id,
    ] {
        rows.optional_text(text.as_deref());
    }
    rows.optional_text(cost.price_version.as_deref());
    rows.optional_texts(&genai.tags);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_as_many_fields_as_names() {
        let names = |list: &str| {
            list.split(',')
                .filter(|name| !name.trim().is_empty())
                .count()
        };
        for (list, fields) in [
            (CORE, CORE_FIELDS),
            (MODEL, MODEL_FIELDS),
            (GENAI, GENAI_FIELDS),
            (HTTP, HTTP_FIELDS),
            (CALLS, CALLS_FIELDS),
            (ATTRIBUTES, 1),
        ] {
            assert_eq!(names(list), usize::from(fields), "{list}");
        }
    }

    #[test]
    fn columns_that_no_span_uses_are_left_out() {
        let none = Columns::of(&[], false);
        assert_eq!(none.fields(), CORE_FIELDS);
        assert!(!none.copy_statement().contains("http_route"));
        let all = Columns {
            model: true,
            genai: true,
            http: true,
            calls: true,
            attributes: true,
        };
        assert_eq!(all.fields(), 61);
        assert_eq!(all.copy_statement().matches(',').count(), 60);
    }
}
