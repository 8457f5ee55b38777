//! What GenAI spans have beyond other spans: usage, cost, agent and tool.

use std::borrow::Cow;

/// Most tags that are kept of a span.
pub const TAGS_MAX: usize = 16;

/// The attribute of a span that was made of something else: the name of the event it was made of.
pub const DERIVED_FROM: &str = "pulse.derived_from";

/// Columns of a GenAI span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GenAi<'a> {
    /// The convention the span follows (`otel`, `openinference`, …), when one was recognised.
    pub dialect: Option<Cow<'a, str>>,
    /// Id the provider gave the answer.
    pub response_id: Option<Cow<'a, str>>,
    /// Why the model stopped: `stop`, `length`, `tool_call`, `content_filter`, `error`, or another
    /// reason as sent.
    pub finish_reason: Option<Cow<'a, str>>,
    /// Whether the answer was streamed.
    pub streaming: Option<bool>,
    /// From the start of the call to its first token, ns.
    pub time_to_first_token_ns: Option<i64>,
    /// Name of the agent.
    pub agent_name: Option<Cow<'a, str>>,
    /// Id of the agent.
    pub agent_id: Option<Cow<'a, str>>,
    /// Name of the tool called.
    pub tool_name: Option<Cow<'a, str>>,
    /// Id of the tool call.
    pub tool_call_id: Option<Cow<'a, str>>,
    /// Tokens.
    pub usage: Usage,
    /// Cost.
    pub cost: Cost,
    /// Labels that the application gave the span or its trace; at most [`TAGS_MAX`], in the order
    /// sent.
    pub tags: Vec<Cow<'a, str>>,
    /// Whether the span is a model call, whose usage adds to totals, once a call. An agent, a chain
    /// or a workflow repeats what its children used, and adds only what nothing else tells of.
    pub is_model_call: bool,
}

/// Tokens of a call; what was not reported is absent, which is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input: Option<i64>,
    /// Output tokens, reasoning included.
    pub output: Option<i64>,
    /// Input tokens read from the provider's cache.
    pub cache_read: Option<i64>,
    /// Input tokens written to the provider's cache.
    pub cache_write: Option<i64>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<i64>,
    /// Audio tokens of the input.
    pub audio_in: Option<i64>,
    /// Audio tokens of the output.
    pub audio_out: Option<i64>,
    /// Image tokens of the input.
    pub image_in: Option<i64>,
    /// Image tokens of the output.
    pub image_out: Option<i64>,
}

/// Cost of a call in nano-USD; what is not known is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cost {
    /// Of the input.
    pub input: Option<i64>,
    /// Of the output.
    pub output: Option<i64>,
    /// Altogether.
    pub total: Option<i64>,
    /// Where the figures come from.
    pub source: Option<CostSource>,
    /// Version of the price table they were computed with.
    pub price_version: Option<Cow<'static, str>>,
}

/// Where a cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CostSource {
    /// The client sent it.
    Reported = 1,
    /// Computed from tokens and a price table.
    Computed = 2,
    /// There are tokens, but no price for the model.
    Unpriced = 3,
}

impl CostSource {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Reported, Self::Computed, Self::Unpriced];

    /// Reads the number stored.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Reported),
            2 => Some(Self::Computed),
            3 => Some(Self::Unpriced),
            _ => None,
        }
    }

    /// Lower-case name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Computed => "computed",
            Self::Unpriced => "unpriced",
        }
    }
}

/// Tokens and cost summed up over model calls. Sums stop at the largest integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Model calls.
    pub llm_calls: i64,
    /// Input tokens, cached ones included.
    pub input_tokens: i64,
    /// Output tokens, reasoning included.
    pub output_tokens: i64,
    /// Input tokens read from a cache.
    pub cache_read_tokens: i64,
    /// Cost in nano-USD.
    pub cost_nano_usd: i64,
}

impl GenAi<'_> {
    /// What the span says was used, once if it is a model call. Whether that counts takes the other
    /// spans of its trace to tell.
    #[must_use]
    pub fn amounts(&self) -> Totals {
        let amount = |amount: Option<i64>| amount.unwrap_or(0).max(0);
        Totals {
            llm_calls: i64::from(self.is_model_call),
            input_tokens: amount(self.usage.input),
            output_tokens: amount(self.usage.output),
            cache_read_tokens: amount(self.usage.cache_read),
            cost_nano_usd: amount(self.cost.total),
        }
    }
}

impl Totals {
    /// Adds another sum.
    pub const fn add(&mut self, other: Self) {
        self.llm_calls = self.llm_calls.saturating_add(other.llm_calls);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cache_read_tokens = self
            .cache_read_tokens
            .saturating_add(other.cache_read_tokens);
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(other.cost_nano_usd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(input: i64, is_model_call: bool) -> GenAi<'static> {
        GenAi {
            is_model_call,
            usage: Usage {
                input: Some(input),
                ..Usage::default()
            },
            ..GenAi::default()
        }
    }

    #[test]
    fn amounts_are_what_the_span_says() {
        assert_eq!(call(7, false).amounts().input_tokens, 7);
        assert_eq!(call(7, false).amounts().llm_calls, 0);
        assert_eq!(call(7, true).amounts().llm_calls, 1);
        assert_eq!(call(-7, true).amounts().input_tokens, 0);
    }

    #[test]
    fn sums_stop_at_the_largest_integer() {
        let mut sum = call(i64::MAX, true).amounts();
        sum.add(call(1, true).amounts());
        assert_eq!((sum.input_tokens, sum.llm_calls), (i64::MAX, 2));
    }
}
