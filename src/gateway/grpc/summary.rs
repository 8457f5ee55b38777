//! Columns in protobuf.

use bytes::Bytes;
use prost::Message as _;

use crate::model::failure::ErrorKind;
use crate::model::genai;
use crate::model::span::Kind;
use crate::receivers::native::proto;
use crate::receivers::native::tidy;
use crate::storage::query::{SpanSummary, TraceSummary};

/// Amounts are never below zero.
fn amount(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

fn owned<T: AsRef<str>>(text: Option<T>) -> String {
    text.map_or_else(String::new, |text| text.as_ref().to_owned())
}

impl From<TraceSummary> for proto::TraceSummary {
    fn from(trace: TraceSummary) -> Self {
        let totals = trace.totals;
        Self {
            trace_id: trace.trace_id.0.to_vec(),
            name: trace.name,
            service_name: trace.service_name,
            root_span_id: trace.root_span_id.map_or(Vec::new(), |id| id.0.to_vec()),
            start_time_unix_nano: trace.start_unix_nano,
            end_time_unix_nano: trace.end_unix_nano,
            span_count: trace.span_count,
            error_count: trace.error_count,
            gen_ai_span_count: trace.genai_span_count,
            totals: Some(proto::Totals {
                llm_call_count: amount(totals.llm_calls),
                input_tokens: amount(totals.input_tokens),
                output_tokens: amount(totals.output_tokens),
                cache_read_tokens: amount(totals.cache_read_tokens),
                cost_nano_usd: amount(totals.cost_nano_usd),
            }),
            services: trace.services,
            models: trace.models,
            session_id: owned(trace.session_id),
            user_id: owned(trace.user_id),
            first_error: trace.first_error.map(|error| proto::FirstError {
                span_id: error.span_id.0.to_vec(),
                name: error.name,
                error_type: owned(error.error_type),
                message: error.message,
            }),
        }
    }
}

/// A span's columns, encoded.
pub(in crate::gateway) fn encoded(span: &SpanSummary) -> Bytes {
    summary(span).encode_to_vec().into()
}

/// A span's columns.
pub(super) fn summary(span: &SpanSummary) -> proto::SpanSummary {
    let genai = span.genai.as_deref();
    let mut gen_ai = proto::GenAi::default();
    fill(&mut gen_ai, span);
    proto::SpanSummary {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        parent_span_id: span.parent_span_id.map_or(Vec::new(), |id| id.0.to_vec()),
        name: span.name.clone(),
        kind: match span.kind {
            Kind::Internal => proto::SpanKind::Internal,
            Kind::Server => proto::SpanKind::Server,
            Kind::Client => proto::SpanKind::Client,
            Kind::Producer => proto::SpanKind::Producer,
            Kind::Consumer => proto::SpanKind::Consumer,
        }
        .into(),
        status: Some(proto::Status {
            message: span.status_message.clone(),
            code: i32::from(span.status as u8),
        }),
        service_name: span.service_name.clone(),
        start_time_unix_nano: span.start_unix_nano,
        end_time_unix_nano: span.start_unix_nano.saturating_add(span.duration_ns),
        time_marks: span.time_marks.names().map(str::to_owned).collect(),
        operation: span.operation.clone(),
        gen_ai: (gen_ai != proto::GenAi::default()).then_some(gen_ai),
        dialect: owned(genai.and_then(|genai| genai.dialect.as_deref())),
        is_model_call: genai.is_some_and(|genai| genai.is_model_call),
        error_type: owned(span.error_type.as_deref()),
        error_kind: owned(span.error_kind.map(ErrorKind::as_str)),
        http_method: owned(span.http_method.as_deref()),
        http_route: owned(span.http_route.as_deref()),
        http_status_code: span.http_status_code,
        db_system: owned(span.db_system.as_deref()),
        db_operation: owned(span.db_operation.as_deref()),
        rpc_system: owned(span.rpc_system.as_deref()),
        rpc_service: owned(span.rpc_service.as_deref()),
        rpc_method: owned(span.rpc_method.as_deref()),
    }
}

/// Fills in what the columns know and the sender did not say in so many words. Usage and cost are taken
/// over whole: figures of two tellers do not go together.
pub(super) fn fill(gen_ai: &mut proto::GenAi, span: &SpanSummary) {
    fill_text(&mut gen_ai.session_id, span.session_id.as_deref());
    fill_text(&mut gen_ai.user_id, span.user_id.as_deref());
    let Some(genai) = span.genai.as_deref() else {
        return;
    };
    let operation = Some(span.operation.as_str());
    fill_text(
        &mut gen_ai.operation,
        operation.filter(|name| is_of_genai(name)),
    );
    fill_text(&mut gen_ai.provider, span.provider.as_deref());
    fill_text(&mut gen_ai.request_model, span.request_model.as_deref());
    fill_text(&mut gen_ai.response_model, span.response_model.as_deref());
    fill_text(&mut gen_ai.response_id, genai.response_id.as_deref());
    if gen_ai.finish_reasons.is_empty() {
        let reason = genai.finish_reason.as_deref().map(str::to_owned);
        gen_ai.finish_reasons.extend(reason);
    }
    gen_ai.streaming = gen_ai.streaming.or(genai.streaming);
    let first_token = genai.time_to_first_token_ns.map(amount);
    gen_ai.time_to_first_token_ns = gen_ai.time_to_first_token_ns.or(first_token);
    gen_ai.usage.get_or_insert_with(|| usage(&genai.usage));
    gen_ai.cost.get_or_insert_with(|| cost(&genai.cost));
    let agent = gen_ai.agent.get_or_insert_default();
    fill_text(&mut agent.name, genai.agent_name.as_deref());
    fill_text(&mut agent.id, genai.agent_id.as_deref());
    let tool = gen_ai.tool.get_or_insert_default();
    fill_text(&mut tool.name, genai.tool_name.as_deref());
    fill_text(&mut tool.call_id, genai.tool_call_id.as_deref());
    if gen_ai.tags.is_empty() {
        gen_ai.tags = genai
            .tags
            .iter()
            .map(|tag| tag.clone().into_owned())
            .collect();
    }
    tidy(gen_ai);
}

/// Whether an operation is one of models, agents and tools.
fn is_of_genai(operation: &str) -> bool {
    !matches!(operation, "http" | "db" | "rpc" | "messaging" | "other")
}

fn fill_text(text: &mut String, known: Option<&str>) {
    if text.is_empty() {
        text.push_str(known.unwrap_or_default());
    }
}

fn usage(usage: &genai::Usage) -> proto::Usage {
    proto::Usage {
        input_tokens: usage.input.map(amount),
        output_tokens: usage.output.map(amount),
        cache_read_tokens: usage.cache_read.map(amount),
        cache_write_tokens: usage.cache_write.map(amount),
        reasoning_tokens: usage.reasoning.map(amount),
        audio_input_tokens: usage.audio_in.map(amount),
        audio_output_tokens: usage.audio_out.map(amount),
        image_input_tokens: usage.image_in.map(amount),
        image_output_tokens: usage.image_out.map(amount),
    }
}

fn cost(cost: &genai::Cost) -> proto::Cost {
    let source = match cost.source {
        None | Some(genai::CostSource::Reported) => proto::CostSource::Unspecified,
        Some(genai::CostSource::Computed) => proto::CostSource::Computed,
        Some(genai::CostSource::Unpriced) => proto::CostSource::Unpriced,
    };
    proto::Cost {
        total_nano_usd: cost.total.map(amount),
        input_nano_usd: cost.input.map(amount),
        output_nano_usd: cost.output.map(amount),
        source: source.into(),
        price_version: owned(cost.price_version.as_deref()),
    }
}

#[cfg(test)]
mod tests;
