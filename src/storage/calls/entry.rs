//! One span of a list, and what it adds to sums.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::Change;
use super::count::Counted;
use crate::model::SpanId;
use crate::model::genai::{CostSource, GenAi, Totals};
use crate::storage::summary::clamp_time;
use crate::storage::write::SpanRow;

/// A span that is new to its trace.
#[derive(Debug)]
pub(super) struct FreshSpan<'a> {
    pub(super) span: &'a SpanRow<'a>,
    pub(super) genai: &'a GenAi<'a>,
    pub(super) amounts: Totals,
    pub(super) service: &'a str,
    pub(super) is_crowded: bool,
}

/// A span of a list. Texts are places in [`Texts`]; 0 is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Whether it repeats what model calls used, instead of being one.
    pub(super) is_wrapper: bool,
    /// Hash of the response id; 0 is none.
    pub(super) response: u64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) crowded_at: Option<i64>,
    /// What it adds if it counts. Zero is not known.
    pub(super) amounts: Totals,
    pub(super) cost: CostRank,
    pub(super) service: u32,
    pub(super) operation: u32,
    pub(super) provider: u32,
    pub(super) model: u32,
    pub(super) request_model: u32,
    pub(super) session: u32,
    pub(super) dialect: u32,
    /// Digest of the name of its scope; 0 is none, or not known.
    pub(super) scope: u32,
    /// What it counted for before the batch. Not stored.
    pub(super) counted_before: Option<Counted>,
}

/// How good a cost is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub(super) enum CostRank {
    #[default]
    None = 0,
    Computed = 1,
    Reported = 2,
}

/// Texts of a list, each once, referred to by their place, counted from 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts<'a>(pub(super) Vec<Cow<'a, str>>);

impl<'a> Texts<'a> {
    /// The text at a place; empty for 0.
    pub(super) fn get(&self, place: u32) -> &str {
        self.cow(place).map_or("", |text| text.as_ref())
    }

    fn cow(&self, place: u32) -> Option<&Cow<'a, str>> {
        let index = usize::try_from(place).ok()?.checked_sub(1)?;
        self.0.get(index)
    }

    fn clone_of(&self, place: u32) -> Cow<'a, str> {
        self.cow(place).cloned().unwrap_or_default()
    }

    /// The place of a text, which is added if it is new.
    pub(super) fn place_of(&mut self, text: &'a str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let place = self.0.iter().position(|it| it == text);
        let place = place.unwrap_or_else(|| {
            self.0.push(Cow::Borrowed(text));
            self.0.len() - 1
        });
        u32::try_from(place + 1).unwrap_or(0)
    }
}

impl<'a> FreshSpan<'a> {
    pub(super) fn entry(&self, texts: &mut Texts<'a>) -> Entry {
        let Self { span, genai, .. } = self;
        let basics = &span.basics;
        let optional = |text: &'a Option<Cow<'a, str>>| text.as_deref().unwrap_or_default();
        let start = clamp_time(span.start_unix_nano);
        Entry {
            span_id: span.span_id,
            parent: span.parent_span_id,
            is_wrapper: !genai.is_model_call,
            response: hash(optional(&genai.response_id)),
            start,
            end: clamp_time(span.end_unix_nano).max(start),
            crowded_at: self.crowded_at(),
            amounts: self.amounts,
            cost: match genai.cost.source {
                _ if self.amounts.cost_nano_usd == 0 => CostRank::None,
                Some(CostSource::Reported) => CostRank::Reported,
                _ => CostRank::Computed,
            },
            service: texts.place_of(self.service),
            operation: texts.place_of(basics.operation.as_str()),
            provider: texts.place_of(optional(&basics.provider)),
            model: texts.place_of(basics.model().unwrap_or_default()),
            request_model: texts.place_of(optional(&basics.request_model)),
            session: texts.place_of(optional(&basics.session_id)),
            dialect: texts.place_of(optional(&genai.dialect)),
            scope: span.scope_digest,
            counted_before: None,
        }
    }

    /// What it adds, counted for itself.
    pub(super) fn change(&self) -> Change<'a> {
        let basics = &self.span.basics;
        Change {
            start: clamp_time(self.span.start_unix_nano),
            crowded_at: self.crowded_at(),
            service: Cow::Borrowed(self.service),
            operation: Cow::Borrowed(basics.operation.as_str()),
            provider: Cow::Borrowed(basics.provider.as_deref().unwrap_or_default()),
            model: Cow::Borrowed(basics.model().unwrap_or_default()),
            session: basics.session_id.as_deref().map(Cow::Borrowed),
            added: self.amounts,
            removed: Totals::default(),
        }
    }

    fn crowded_at(&self) -> Option<i64> {
        self.is_crowded
            .then(|| clamp_time(self.span.received_unix_nano))
    }
}

impl Entry {
    /// Whether it knows any tokens.
    pub(super) const fn has_tokens(&self) -> bool {
        self.amounts.input_tokens > 0 || self.amounts.output_tokens > 0
    }

    /// Notes what changes in sums, now that the span counts for this.
    pub(super) fn change<'a>(
        &self,
        texts: &Texts<'a>,
        now: Option<Counted>,
        changes: &mut Vec<Change<'a>>,
    ) {
        if self.counted_before == now {
            return;
        }
        let change = |session, added, removed| Change {
            start: self.start,
            crowded_at: self.crowded_at,
            service: texts.clone_of(self.service),
            operation: texts.clone_of(self.operation),
            provider: texts.clone_of(self.provider),
            model: texts.clone_of(self.model),
            session: (session > 0).then(|| texts.clone_of(session)),
            added,
            removed,
        };
        if let Some(before) = self.counted_before {
            changes.push(change(before.session, Totals::default(), before.totals));
        }
        if let Some(now) = now {
            changes.push(change(now.session, now.totals, Totals::default()));
        }
    }
}

/// What tells the name of a scope from others; 0 for none.
#[must_use]
pub fn scope_digest(name: &str) -> u32 {
    let [_, _, _, _, low @ ..] = hash(name).to_be_bytes();
    u32::from_be_bytes(low)
}

fn hash(response_id: &str) -> u64 {
    if response_id.is_empty() {
        return 0;
    }
    let digest: [u8; 32] = Sha256::digest(response_id).into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first).max(1)
}
