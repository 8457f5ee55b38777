//! Rows of stored spans, made from their columns.

use std::borrow::Cow;

use crate::model::ProjectId;
use crate::model::span::{Basics, Operation};
use crate::storage::calls::scope_digest;
use crate::storage::query::SpanSummary;
use crate::storage::sources::is_derived;
use crate::storage::write::{ResourceRow, SpanRow};

/// The row a stored span was written from, as far as its columns tell.
pub(in crate::storage) fn row_of<'s>(
    project: ProjectId,
    summary: &'s SpanSummary,
    received_unix_nano: u64,
    (resource, scope): (usize, &str),
    message: &'s [u8],
) -> SpanRow<'s> {
    SpanRow {
        project,
        trace_id: summary.trace_id,
        span_id: summary.span_id,
        parent_span_id: summary.parent_span_id,
        name: Cow::Borrowed(&summary.name),
        kind: summary.kind,
        status: summary.status,
        status_message: Cow::Borrowed(&summary.status_message),
        start_unix_nano: summary.start_unix_nano,
        end_unix_nano: summary.start_unix_nano.saturating_add(summary.duration_ns),
        time_marks: summary.time_marks,
        resource,
        scope: 0,
        received_unix_nano,
        basics: basics_of(summary),
        message: Cow::Borrowed(message),
        scope_digest: scope_digest(scope),
        is_derived: is_derived(summary.genai.as_deref(), message),
        is_recorded: false,
        sampled_out: None,
    }
}

fn basics_of(summary: &SpanSummary) -> Basics<'_> {
    let text = |text: &'_ Option<String>| text.clone().map(Cow::Owned);
    Basics {
        operation: operation_of(summary),
        genai: summary.genai.clone(),
        provider: text(&summary.provider),
        request_model: text(&summary.request_model),
        response_model: text(&summary.response_model),
        session_id: text(&summary.session_id),
        user_id: text(&summary.user_id),
        error_type: text(&summary.error_type),
        error_message: None,
        error_kind: summary.error_kind,
        http_method: text(&summary.http_method),
        http_route: text(&summary.http_route),
        http_status_code: summary.http_status_code,
        db_system: text(&summary.db_system),
        db_operation: text(&summary.db_operation),
        rpc_system: text(&summary.rpc_system),
        rpc_service: text(&summary.rpc_service),
        rpc_method: text(&summary.rpc_method),
    }
}

fn operation_of(summary: &SpanSummary) -> Operation<'_> {
    let name = summary.operation.as_str();
    if summary.genai.is_some() {
        return Operation::GenAi(name);
    }
    let plain = [
        Operation::Http,
        Operation::Db,
        Operation::Rpc,
        Operation::Messaging,
    ];
    let found = plain.into_iter().find(|plain| plain.as_str() == name);
    found.unwrap_or(Operation::Other)
}

/// Whether a span's columns stay as they are. The message of its exception is not among them: it is
/// served from the summary of the trace.
pub(in crate::storage) fn is_same(old: &SpanRow<'_>, new: &SpanRow<'_>) -> bool {
    let (old, new) = (&old.basics, &new.basics);
    let old = Basics {
        error_message: new.error_message.clone(),
        ..old.clone()
    };
    old == *new
}

/// Whether a trace stays as it is: what spans made of log records count for depends on what else is told
/// of their session ([`crate::storage::sources`]), which goes by what they were when they came.
pub(in crate::storage) fn stays(spans: &[SpanRow<'_>]) -> bool {
    spans.iter().all(|span| span.is_derived)
}

/// A resource, as far as sums go.
pub(in crate::storage) fn resource_of(project: ProjectId, service: &str) -> ResourceRow<'static> {
    ResourceRow {
        project,
        message: Cow::Borrowed(&[]),
        schema_url: "",
        service_name: Cow::Owned(service.to_owned()),
        service_version: None,
        service_instance: None,
        environment: None,
    }
}
