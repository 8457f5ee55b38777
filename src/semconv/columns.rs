//! From a settled draft to the columns of a GenAI span.

use std::borrow::Cow;

use super::draft::{Draft, SpanFacts};
use super::names::{Op, error, provider};
use super::rows::Text;
use super::usage;
use crate::model::genai::{Cost, CostSource, GenAi, Usage};
use crate::model::span::{Basics, Operation};
use crate::pricing::{Call, Pricer, ServiceTier};

/// What the failure of a span is told by.
pub(super) fn failure<'f>(basics: &'f Basics<'_>, span: SpanFacts<'f>) -> error::Failure<'f> {
    error::Failure {
        error_type: basics.error_type.as_deref(),
        message: basics.error_message.as_deref(),
        status_message: span.status_message,
        http_status: basics.http_status_code,
        is_tool: basics.operation == Operation::GenAi(Op::ExecuteTool.as_str()),
    }
}

/// Fills the columns from a draft that is settled.
pub(super) fn fill<'a>(basics: &mut Basics<'a>, mut draft: Draft<'a>, pricer: &mut Pricer<'_>) {
    basics.session_id = draft.take_text(Text::Session);
    basics.user_id = draft.take_text(Text::User);
    let error_type = draft.take_text(Text::ErrorType);
    basics.error_type = basics.error_type.take().or(error_type);
    let Some(op) = draft.kind else { return };
    basics.provider = provider_of(&mut draft);
    // A failure that the dialect tells of is one of what it says of nothing else.
    let message = draft.take_text(Text::ErrorMessage);
    basics.error_message = basics.error_message.take().or(message);
    basics.request_model = draft.take_text(Text::RequestModel);
    basics.response_model = draft.take_text(Text::ResponseModel);
    basics.operation = Operation::GenAi(op.as_str());
    let entity = draft.take_text(Text::EntityName);
    let mut agent_name = draft.take_text(Text::AgentName);
    let (mut tool_name, mut tool_call_id) = (None, None);
    match op {
        Op::InvokeAgent | Op::CreateAgent => agent_name = agent_name.or(entity),
        // A chat may name the tool it asks for; only the call of a tool is the tool's.
        Op::ExecuteTool => {
            tool_name = draft.take_text(Text::ToolName).or(entity);
            tool_call_id = draft.take_text(Text::ToolCallId);
        }
        _ => {}
    }
    let provider = basics.provider.as_deref();
    let tier = draft.text(Text::Tier).and_then(ServiceTier::parse);
    let context = usage::Context {
        failed: draft.span.failed,
        is_google: provider.is_some_and(|it| it.starts_with("gcp.")),
    };
    let (usage, cache_write_1h) = std::mem::take(&mut draft.usage).settle(context);
    let misses_usage = draft.counts_with_usage && !draft.span.failed && usage == Usage::default();
    let is_model_call = (op.is_model() || draft.sums_calls) && !draft.repeats && !misses_usage;
    let reported = reported_cost(draft.cost);
    let cost = match reported {
        Some(cost) => cost,
        None if is_model_call => pricer.price(&Call {
            provider,
            response_model: basics.response_model.as_deref(),
            request_model: basics.request_model.as_deref(),
            usage,
            is_sum: draft.sums_calls,
            cache_write_1h,
            tier,
            start_unix_nano: draft.span.start_unix_nano,
        }),
        None => Cost::default(),
    };
    basics.genai = Some(Box::new(GenAi {
        dialect: draft.dialect.map(|it| Cow::Borrowed(it.as_str())),
        response_id: draft.take_text(Text::ResponseId),
        finish_reason: draft.take_text(Text::FinishReason),
        streaming: draft.streaming,
        time_to_first_token_ns: draft.first_token,
        agent_name,
        agent_id: draft.take_text(Text::AgentId),
        tool_name,
        tool_call_id,
        usage,
        cost,
        tags: draft.tags,
        is_model_call,
    }));
}

/// The provider: as named, else by the prefix of the model or by the host.
fn provider_of<'a>(draft: &mut Draft<'a>) -> Option<Cow<'a, str>> {
    let named = draft.take_text(Text::Provider);
    let host = draft.text(Text::Server).and_then(provider::of_host);
    if let Some(host) = host
        && named.as_deref().is_none_or(|it| it == provider::SHARED)
    {
        return Some(Cow::Borrowed(host));
    }
    let models = [Text::ResponseModel, Text::RequestModel];
    named.or_else(|| {
        models
            .into_iter()
            .filter_map(|model| draft.text(model))
            .find_map(provider::of_model)
            .map(Cow::Borrowed)
    })
}

/// What the client says the call cost, unless it says nothing or zero.
fn reported_cost([input, output, total]: [Option<i64>; 3]) -> Option<Cost> {
    let parts = input.unwrap_or(0).saturating_add(output.unwrap_or(0));
    let total = total.or((parts > 0).then_some(parts))?;
    Some(Cost {
        input,
        output,
        total: Some(total),
        source: Some(CostSource::Reported),
        price_version: None,
    })
}
