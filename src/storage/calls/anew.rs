//! Settling a trace anew, from its stored spans and what else was counted of it.

use std::collections::HashSet;

use super::{CALLS_MAX, Fresh, List, Settled, Stored, settle, wire};
use crate::model::SpanId;
use crate::model::genai::Totals;

/// What was counted of a trace without being stored: see [`crate::storage::sampled`].
#[derive(Debug, Default)]
pub struct Unstored {
    list: List<'static>,
    /// What these spans add up to, if the list does not name them.
    totals: Totals,
}

impl Unstored {
    /// What a trace's list tells of others than the spans that are stored.
    #[must_use]
    pub fn of(counted: &Stored, ids: &HashSet<SpanId>, stored: &Fresh<'_>) -> Self {
        // One that is damaged tells of none.
        let mut list = wire::decode(&counted.list).unwrap_or_default();
        list.entries.retain(|entry| !ids.contains(&entry.span_id));
        let mut totals = Totals::default();
        if list.is_full {
            let mut alone = Totals::default();
            let calls = stored.spans.iter().filter(|it| it.genai.is_model_call);
            calls.for_each(|call| alone.add(call.amounts));
            totals = less(&counted.totals, &alone);
            list.is_full = totals != Totals::default();
        }
        Self { list, totals }
    }

    /// What the trace adds up to with all of its stored spans. The changes are those from nothing, also of
    /// what is not stored. There is always a list.
    #[must_use]
    pub fn settle<'a>(&self, stored: &Fresh<'a>) -> Settled<'a> {
        if self.list.entries.is_empty() && !self.list.is_full {
            let mut settled = settle(&Stored::default(), stored);
            // Nothing in place of a list would leave the one that is there.
            settled.list.get_or_insert_default();
            return settled;
        }
        let list: List<'a> = self.list.clone();
        let mut settled = list.add(CALLS_MAX, self.totals, stored);
        settled.list.get_or_insert_with(wire::encode_full);
        settled
    }
}

/// What is left of a sum.
fn less(sum: &Totals, part: &Totals) -> Totals {
    let less = |sum: i64, part: i64| sum.saturating_sub(part).max(0);
    Totals {
        llm_calls: less(sum.llm_calls, part.llm_calls),
        input_tokens: less(sum.input_tokens, part.input_tokens),
        output_tokens: less(sum.output_tokens, part.output_tokens),
        cache_read_tokens: less(sum.cache_read_tokens, part.cache_read_tokens),
        cost_nano_usd: less(sum.cost_nano_usd, part.cost_nano_usd),
    }
}
