//! What GenAI spans have beyond others, and what model calls add up to.

use std::borrow::Cow;

use serde::Serialize;

use crate::model::genai;

/// Tokens and cost summed up over model calls.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    llm_call_count: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cost_nano_usd: i64,
}

impl From<genai::Totals> for Totals {
    fn from(totals: genai::Totals) -> Self {
        Self {
            llm_call_count: totals.llm_calls,
            input_tokens: totals.input_tokens,
            output_tokens: totals.output_tokens,
            cache_read_tokens: totals.cache_read_tokens,
            cost_nano_usd: totals.cost_nano_usd,
        }
    }
}

/// Columns of a GenAI span.
#[derive(Debug, Serialize)]
pub(super) struct GenAi {
    dialect: Option<Cow<'static, str>>,
    is_model_call: bool,
    response_id: Option<Cow<'static, str>>,
    finish_reason: Option<Cow<'static, str>>,
    streaming: Option<bool>,
    time_to_first_token_ns: Option<i64>,
    agent_name: Option<Cow<'static, str>>,
    agent_id: Option<Cow<'static, str>>,
    tool_name: Option<Cow<'static, str>>,
    tool_call_id: Option<Cow<'static, str>>,
    tags: Vec<Cow<'static, str>>,
    usage: Usage,
    cost: Cost,
}

/// Tokens of a call.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_tokens: Option<i64>,
    cache_write_tokens: Option<i64>,
    reasoning_tokens: Option<i64>,
    audio_input_tokens: Option<i64>,
    audio_output_tokens: Option<i64>,
    image_input_tokens: Option<i64>,
    image_output_tokens: Option<i64>,
}

/// Cost of a call.
#[derive(Debug, Serialize)]
struct Cost {
    input_nano_usd: Option<i64>,
    output_nano_usd: Option<i64>,
    total_nano_usd: Option<i64>,
    source: Option<&'static str>,
    price_version: Option<Cow<'static, str>>,
}

impl From<genai::Usage> for Usage {
    fn from(usage: genai::Usage) -> Self {
        Self {
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_write_tokens: usage.cache_write,
            reasoning_tokens: usage.reasoning,
            audio_input_tokens: usage.audio_in,
            audio_output_tokens: usage.audio_out,
            image_input_tokens: usage.image_in,
            image_output_tokens: usage.image_out,
        }
    }
}

impl From<genai::GenAi<'static>> for GenAi {
    fn from(genai: genai::GenAi<'static>) -> Self {
        Self {
            dialect: genai.dialect,
            is_model_call: genai.is_model_call,
            response_id: genai.response_id,
            finish_reason: genai.finish_reason,
            streaming: genai.streaming,
            time_to_first_token_ns: genai.time_to_first_token_ns,
            agent_name: genai.agent_name,
            agent_id: genai.agent_id,
            tool_name: genai.tool_name,
            tool_call_id: genai.tool_call_id,
            tags: genai.tags,
            usage: genai.usage.into(),
            cost: Cost {
                input_nano_usd: genai.cost.input,
                output_nano_usd: genai.cost.output,
                total_nano_usd: genai.cost.total,
                source: genai.cost.source.map(genai::CostSource::as_str),
                price_version: genai.cost.price_version,
            },
        }
    }
}
