//! Lists as they are stored: `pulse.storage.v1.CallList`.

use std::borrow::Cow;

use prost::Message as _;
use prost::encoding::{
    WireType, bool, encode_key, encode_varint, fixed32, fixed64, uint32, uint64,
};

use super::List;
use super::entry::{CostRank, Entry, Texts};
use crate::model::SpanId;
use crate::model::genai::Totals;
use crate::storage::content::proto::{CallEntry, CallList};

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("decode the list")]
    Message(#[from] prost::DecodeError),
    #[error("a span of the list has no id")]
    NoSpanId,
}

/// Packs entries. The bytes follow from the entries alone: texts that none of them has are left
/// out, the others are in the order in which they are first needed.
///
/// Written field by field rather than through the generated types, which would want their own copy
/// of every text.
pub(super) fn encode(entries: &[Entry], texts: &Texts<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(96 * entries.len() + 64);
    let mut places = vec![0; texts.0.len() + 1];
    let mut written = 0;
    for entry in entries {
        for place in entry.texts() {
            let slot = usize::try_from(place).ok();
            if let Some(slot) = slot.and_then(|slot| places.get_mut(slot))
                && place > 0
                && *slot == 0
            {
                written += 1;
                *slot = written;
                put_text(texts.get(place), &mut out);
            }
        }
    }
    let mut message = Vec::with_capacity(96);
    for entry in entries {
        message.clear();
        put_entry(entry, &places, &mut message);
        encode_key(2, WireType::LengthDelimited, &mut out);
        encode_varint(message.len() as u64, &mut out);
        out.extend_from_slice(&message);
    }
    out
}

/// The list of a trace with more calls than fit.
pub(super) fn encode_full() -> Vec<u8> {
    let mut out = Vec::new();
    bool::encode(3, &true, &mut out);
    out
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    encode_key(1, WireType::LengthDelimited, out);
    encode_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn put_entry(entry: &Entry, places: &[u32], out: &mut Vec<u8>) {
    let mut fixed = |tag, value: u64| {
        if value != 0 {
            fixed64::encode(tag, &value, out);
        }
    };
    fixed(1, u64::from_be_bytes(entry.span_id.0));
    fixed(2, entry.parent.map_or(0, |id| u64::from_be_bytes(id.0)));
    fixed(3, entry.response);
    fixed(4, entry.start.unsigned_abs());
    if let Some(at) = entry.crowded_at {
        fixed64::encode(19, &at.unsigned_abs(), out);
    }
    let amounts = &entry.amounts;
    let figures = [
        (5, amounts.input_tokens),
        (6, amounts.output_tokens),
        (7, amounts.cache_read_tokens),
        (8, amounts.cost_nano_usd),
        (18, entry.end.saturating_sub(entry.start)),
    ];
    for (tag, figure) in figures {
        if figure > 0 {
            uint64::encode(tag, &figure.unsigned_abs(), out);
        }
    }
    let mut small = |tag, value: u32| {
        if value != 0 {
            uint32::encode(tag, &value, out);
        }
    };
    small(9, u32::from(entry.cost as u8));
    for (tag, place) in (10..).zip(entry.texts()) {
        let slot = usize::try_from(place).ok();
        small(
            tag,
            slot.and_then(|slot| places.get(slot).copied()).unwrap_or(0),
        );
    }
    if entry.scope != 0 {
        fixed32::encode(20, &entry.scope, out);
    }
    if entry.is_wrapper {
        bool::encode(17, &true, out);
    }
}

/// Unpacks a list. No bytes are an empty list.
pub(super) fn decode(stored: &[u8]) -> Result<List<'static>, Error> {
    let list = CallList::decode(stored)?;
    let mut entries = list
        .calls
        .iter()
        .map(|call| entry(call, list.texts.len()))
        .collect::<Result<Vec<_>, _>>()?;
    // They are, unless somebody else wrote them.
    entries.sort_by_key(|entry| entry.span_id);
    entries.dedup_by_key(|entry| entry.span_id);
    Ok(List {
        texts: Texts(list.texts.into_iter().map(Cow::Owned).collect()),
        entries,
        is_full: list.is_full,
    })
}

fn entry(call: &CallEntry, texts: usize) -> Result<Entry, Error> {
    let amount = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    // A place that does not exist is none.
    let text = |place: u32| {
        let exists = usize::try_from(place).is_ok_and(|place| place <= texts);
        if exists { place } else { 0 }
    };
    let id = |number: u64| SpanId::from_bytes(&number.to_be_bytes());
    Ok(Entry {
        span_id: id(call.span_id).ok_or(Error::NoSpanId)?,
        parent: id(call.parent_span_id),
        is_wrapper: call.is_wrapper,
        response: call.response,
        start: amount(call.start),
        end: amount(call.start).saturating_add(amount(call.duration)),
        crowded_at: call.crowded_at.map(amount),
        amounts: Totals {
            llm_calls: i64::from(!call.is_wrapper),
            input_tokens: amount(call.input_tokens),
            output_tokens: amount(call.output_tokens),
            cache_read_tokens: amount(call.cache_read_tokens),
            cost_nano_usd: amount(call.cost_nano_usd),
        },
        cost: match call.cost_source {
            0 => CostRank::None,
            1 => CostRank::Computed,
            _ => CostRank::Reported,
        },
        service: text(call.service),
        operation: text(call.operation),
        provider: text(call.provider),
        model: text(call.model),
        request_model: text(call.request_model),
        session: text(call.session),
        dialect: text(call.dialect),
        scope: call.scope,
        counted_before: None,
    })
}

impl Entry {
    /// Its texts, in the order of the fields that begin at 10.
    const fn texts(&self) -> [u32; 7] {
        [
            self.service,
            self.operation,
            self.provider,
            self.model,
            self.request_model,
            self.session,
            self.dialect,
        ]
    }
}
