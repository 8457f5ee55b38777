//! Texts as Postgres can hold them: without U+0000, for which U+FFFD stands. Only columns are
//! cleaned; messages are stored as they came.

use std::borrow::Cow;

use crate::model::genai::GenAi;
use crate::model::span::{Basics, Operation};
use crate::storage::write::{Batch, EventRow, MetricRows, ResourceRow, ScopeRow, SpanRow};

/// Most bytes of a cleaned text: as much as a column's text has at most, so that it still fits into
/// an index. A replaced character is longer than the one it stands for.
const TEXT_BYTES_MAX: usize = 512;

/// Texts that the cleaned rows borrow, in the order in which they are needed.
pub(super) type Texts = Vec<String>;

/// The rows of a batch, cleaned where that was necessary.
pub(super) struct CleanBatch<'b> {
    pub(super) resources: Rows<'b, ResourceRow<'b>>,
    pub(super) scopes: Rows<'b, ScopeRow<'b>>,
    pub(super) spans: Rows<'b, SpanRow<'b>>,
    /// As they came: their texts are cleaned where they are written.
    pub(super) events: &'b [EventRow<'b>],
    /// Likewise.
    pub(super) metrics: &'b MetricRows<'b>,
}

/// Rows as they came, or copies. (A [`Cow`] of rows would tie their lifetime down.)
pub(super) enum Rows<'b, R> {
    AsTheyCame(&'b [R]),
    Copied(Vec<R>),
}

impl<R> std::ops::Deref for Rows<'_, R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        match self {
            Self::AsTheyCame(rows) => rows,
            Self::Copied(rows) => rows,
        }
    }
}

pub(super) fn is_clean(text: &str) -> bool {
    memchr::memchr(0, text.as_bytes()).is_none()
}

/// The text without U+0000.
pub(in super::super) fn clean_text(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut clean = text.replace('\0', "\u{fffd}");
    clean.truncate(clean.floor_char_boundary(TEXT_BYTES_MAX));
    Cow::Owned(clean)
}

/// Cleaned forms of what rows hold by reference only. Empty for nearly every batch.
pub(super) fn texts(batch: &Batch<'_>) -> Texts {
    let mut texts = Texts::new();
    let mut add = |text: &str| {
        if !is_clean(text) {
            texts.push(clean_text(text).into_owned());
        }
    };
    for span in &batch.spans {
        add(span.basics.operation.as_str());
    }
    texts
}

/// The batch with clean texts; `texts` is what [`texts`] answered for it.
pub(super) fn clean<'b>(batch: &'b Batch<'b>, texts: &'b Texts) -> CleanBatch<'b> {
    let mut texts = texts.iter().map(String::as_str);
    let mut borrowed = move |text: &'b str| {
        if is_clean(text) {
            text
        } else {
            texts.next().unwrap_or_default()
        }
    };
    let resources = if batch.resources.iter().all(resource_is_clean) {
        Rows::AsTheyCame(&batch.resources)
    } else {
        Rows::Copied(batch.resources.iter().map(clean_resource).collect())
    };
    let scopes = if batch.scopes.iter().all(scope_is_clean) {
        Rows::AsTheyCame(&batch.scopes)
    } else {
        Rows::Copied(batch.scopes.iter().map(clean_scope).collect())
    };
    let spans = if batch.spans.iter().all(span_is_clean) {
        Rows::AsTheyCame(&batch.spans)
    } else {
        let clean = |row| clean_span(row, &mut borrowed);
        Rows::Copied(batch.spans.iter().map(clean).collect())
    };
    CleanBatch {
        resources,
        scopes,
        spans,
        events: &batch.events,
        metrics: &batch.metrics,
    }
}

fn optional_is_clean(text: Option<&Cow<'_, str>>) -> bool {
    text.is_none_or(|text| is_clean(text))
}

fn resource_is_clean(row: &ResourceRow<'_>) -> bool {
    let optional = [
        &row.service_version,
        &row.service_instance,
        &row.environment,
    ];
    is_clean(&row.service_name)
        && optional
            .into_iter()
            .all(|text| optional_is_clean(text.as_ref()))
}

fn scope_is_clean(row: &ScopeRow<'_>) -> bool {
    is_clean(&row.name) && is_clean(&row.version)
}

fn span_is_clean(row: &SpanRow<'_>) -> bool {
    let basics = &row.basics;
    let optional = [
        &basics.provider,
        &basics.request_model,
        &basics.response_model,
        &basics.session_id,
        &basics.user_id,
        &basics.error_type,
        &basics.error_message,
        &basics.http_method,
        &basics.http_route,
        &basics.db_system,
        &basics.db_operation,
        &basics.rpc_system,
        &basics.rpc_service,
        &basics.rpc_method,
    ];
    is_clean(&row.name)
        && is_clean(&row.status_message)
        && is_clean(basics.operation.as_str())
        && optional
            .into_iter()
            .all(|text| optional_is_clean(text.as_ref()))
        && basics.genai.as_deref().is_none_or(genai_is_clean)
}

fn genai_is_clean(genai: &GenAi<'_>) -> bool {
    let optional = [
        &genai.dialect,
        &genai.response_id,
        &genai.finish_reason,
        &genai.agent_name,
        &genai.agent_id,
        &genai.tool_name,
        &genai.tool_call_id,
    ];
    let price_version = genai.cost.price_version.as_deref();
    optional
        .into_iter()
        .all(|text| optional_is_clean(text.as_ref()))
        && price_version.is_none_or(is_clean)
        && genai.tags.iter().all(|tag| is_clean(tag))
}

fn cleaned<'b>(text: &'b Cow<'b, str>) -> Cow<'b, str> {
    clean_text(text)
}

fn optional<'b>(text: &'b Option<Cow<'b, str>>) -> Option<Cow<'b, str>> {
    text.as_ref().map(cleaned)
}

fn clean_resource<'b>(row: &'b ResourceRow<'b>) -> ResourceRow<'b> {
    ResourceRow {
        project: row.project,
        message: Cow::Borrowed(&row.message),
        // Part of what identifies the row: stored beside its clean form.
        schema_url: row.schema_url,
        service_name: cleaned(&row.service_name),
        service_version: optional(&row.service_version),
        service_instance: optional(&row.service_instance),
        environment: optional(&row.environment),
    }
}

fn clean_scope<'b>(row: &'b ScopeRow<'b>) -> ScopeRow<'b> {
    ScopeRow {
        project: row.project,
        message: Cow::Borrowed(&row.message),
        schema_url: row.schema_url,
        name: cleaned(&row.name),
        version: cleaned(&row.version),
    }
}

fn clean_span<'b>(
    row: &'b SpanRow<'b>,
    borrowed: &mut impl FnMut(&'b str) -> &'b str,
) -> SpanRow<'b> {
    let basics = &row.basics;
    SpanRow {
        name: cleaned(&row.name),
        status_message: cleaned(&row.status_message),
        message: Cow::Borrowed(&row.message),
        basics: Basics {
            operation: match basics.operation {
                Operation::GenAi(name) => Operation::GenAi(borrowed(name)),
                other => other,
            },
            genai: basics
                .genai
                .as_deref()
                .map(|genai| Box::new(clean_genai(genai))),
            provider: optional(&basics.provider),
            request_model: optional(&basics.request_model),
            response_model: optional(&basics.response_model),
            session_id: optional(&basics.session_id),
            user_id: optional(&basics.user_id),
            error_type: optional(&basics.error_type),
            error_message: optional(&basics.error_message),
            error_kind: basics.error_kind,
            http_method: optional(&basics.http_method),
            http_route: optional(&basics.http_route),
            http_status_code: basics.http_status_code,
            db_system: optional(&basics.db_system),
            db_operation: optional(&basics.db_operation),
            rpc_system: optional(&basics.rpc_system),
            rpc_service: optional(&basics.rpc_service),
            rpc_method: optional(&basics.rpc_method),
        },
        ..*row
    }
}

fn clean_genai<'b>(genai: &'b GenAi<'b>) -> GenAi<'b> {
    let mut cost = genai.cost.clone();
    cost.price_version = cost
        .price_version
        .map(|version| Cow::Owned(clean_text(&version).into_owned()));
    GenAi {
        dialect: optional(&genai.dialect),
        response_id: optional(&genai.response_id),
        finish_reason: optional(&genai.finish_reason),
        streaming: genai.streaming,
        time_to_first_token_ns: genai.time_to_first_token_ns,
        agent_name: optional(&genai.agent_name),
        agent_id: optional(&genai.agent_id),
        tool_name: optional(&genai.tool_name),
        tool_call_id: optional(&genai.tool_call_id),
        usage: genai.usage,
        cost,
        tags: genai.tags.iter().map(cleaned).collect(),
        is_model_call: genai.is_model_call,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_that_cannot_be_stored_is_replaced() {
        assert!(matches!(clean_text("plain"), Cow::Borrowed("plain")));
        assert_eq!(clean_text("a\0b\0"), "a\u{fffd}b\u{fffd}");
        let long = clean_text(&"\0".repeat(512)).into_owned();
        assert!(long.len() <= TEXT_BYTES_MAX && long.chars().all(|c| c == '\u{fffd}'));
    }
}
