//! Requests of `pulse.trace.v1` as those of OTLP.
//!
//! The native messages have the numbers of OTLP's, so an encoded request is one of OTLP with a field
//! more: `Span.gen_ai`. What stands in it is written as the attributes it stands for, in its place;
//! everything else stays where it is. A request without it is not copied.

use super::edit::{Editor, Part, Reserve};
use super::error::DecodeError;
use super::rewrite::put_varint;
use super::wire::{Field, Value, fields};
use crate::otlp::Failure;

/// How many times as large a request may become: names of attributes are longer than numbers of
/// fields.
const GROWTH_MAX: usize = 32;

/// Where the messages lie: spans in scopes in resources in the request.
const PATH: [u32; 3] = [1, 2, 2];
/// `Span.gen_ai`.
const GEN_AI: u32 = 100;

/// What a field of `GenAi` holds, and how it is written.
#[derive(Debug, Clone, Copy)]
enum Holds {
    Text,
    /// One of several texts.
    Texts,
    Flag,
    Count,
    /// Nanoseconds, written as seconds.
    Seconds,
    /// Billionths of a dollar, written as dollars.
    Dollars,
    /// A message of its own.
    Message(&'static [Entry]),
    /// A `Cost`, whose figures are the sender's or nothing.
    Cost,
}

/// Number and name of a field, the attribute it stands for.
#[derive(Debug, Clone, Copy)]
struct Entry {
    number: u32,
    name: &'static str,
    key: &'static str,
    holds: Holds,
}

const fn entry(number: u32, name: &'static str, key: &'static str, holds: Holds) -> Entry {
    Entry {
        number,
        name,
        key,
        holds,
    }
}

const USAGE: &[Entry] = &[
    entry(1, "input_tokens", "gen_ai.usage.input_tokens", Holds::Count),
    entry(
        2,
        "output_tokens",
        "gen_ai.usage.output_tokens",
        Holds::Count,
    ),
    entry(
        3,
        "cache_read_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        Holds::Count,
    ),
    entry(
        4,
        "cache_write_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        Holds::Count,
    ),
    entry(
        5,
        "reasoning_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        Holds::Count,
    ),
    entry(
        6,
        "audio_input_tokens",
        "gen_ai.usage.audio.input_tokens",
        Holds::Count,
    ),
    entry(
        7,
        "audio_output_tokens",
        "gen_ai.usage.audio.output_tokens",
        Holds::Count,
    ),
    entry(
        8,
        "image_input_tokens",
        "gen_ai.usage.image.input_tokens",
        Holds::Count,
    ),
    entry(
        9,
        "image_output_tokens",
        "gen_ai.usage.image.output_tokens",
        Holds::Count,
    ),
];

const COST: &[Entry] = &[
    entry(1, "total_nano_usd", "gen_ai.usage.cost", Holds::Dollars),
    entry(
        2,
        "input_nano_usd",
        "gen_ai.usage.input_cost",
        Holds::Dollars,
    ),
    entry(
        3,
        "output_nano_usd",
        "gen_ai.usage.output_cost",
        Holds::Dollars,
    ),
];

/// `Cost.source`.
const COST_SOURCE: u32 = 4;

const AGENT: &[Entry] = &[
    entry(1, "name", "gen_ai.agent.name", Holds::Text),
    entry(2, "id", "gen_ai.agent.id", Holds::Text),
];

const TOOL: &[Entry] = &[
    entry(1, "name", "gen_ai.tool.name", Holds::Text),
    entry(2, "call_id", "gen_ai.tool.call.id", Holds::Text),
    entry(3, "arguments", "gen_ai.tool.call.arguments", Holds::Text),
    entry(4, "result", "gen_ai.tool.call.result", Holds::Text),
];

const ENTRIES: &[Entry] = &[
    entry(1, "operation", "gen_ai.operation.name", Holds::Text),
    entry(2, "provider", "gen_ai.provider.name", Holds::Text),
    entry(3, "request_model", "gen_ai.request.model", Holds::Text),
    entry(4, "response_model", "gen_ai.response.model", Holds::Text),
    entry(5, "response_id", "gen_ai.response.id", Holds::Text),
    entry(
        6,
        "finish_reasons",
        "gen_ai.response.finish_reasons",
        Holds::Texts,
    ),
    entry(7, "streaming", "gen_ai.request.stream", Holds::Flag),
    entry(
        8,
        "time_to_first_token_ns",
        "gen_ai.response.time_to_first_chunk",
        Holds::Seconds,
    ),
    entry(9, "usage", "", Holds::Message(USAGE)),
    entry(10, "cost", "", Holds::Cost),
    entry(11, "session_id", "session.id", Holds::Text),
    entry(12, "user_id", "user.id", Holds::Text),
    entry(13, "agent", "", Holds::Message(AGENT)),
    entry(14, "tool", "", Holds::Message(TOOL)),
    entry(15, "tags", "pulse.tags", Holds::Texts),
    entry(16, "input_messages", "gen_ai.input.messages", Holds::Text),
    entry(17, "output_messages", "gen_ai.output.messages", Holds::Text),
    entry(
        18,
        "system_instructions",
        "gen_ai.system_instructions",
        Holds::Text,
    ),
    entry(
        19,
        "tool_definitions",
        "gen_ai.tool.definitions",
        Holds::Text,
    ),
];

/// Puts attributes in the place of `Span.gen_ai`, wherever a span of an encoded `ExportRequest` has
/// it. `None`: no span has it, the request is one of OTLP as it is. `reserve` is asked before memory
/// is taken.
///
/// # Errors
/// [`Failure::Malformed`] when the bytes are not such a message, as far as they had to be read;
/// [`Failure::TooLarge`]; what `reserve` says.
pub fn as_otlp(request: &[u8], reserve: Reserve<'_>) -> Result<Option<Vec<u8>>, Failure> {
    let mut editor = Editor::growing(request, GROWTH_MAX, reserve);
    let whole = Part {
        number: 0,
        start: 0,
        content: 0,
        end: request.len(),
    };
    let mut attributes = Vec::new();
    walk(&mut editor, &mut attributes, whole, &PATH)?;
    editor.finish()
}

/// Walks a message down a path of fields; at its end lies a span.
fn walk(
    editor: &mut Editor<'_, '_>,
    attributes: &mut Vec<u8>,
    message: Part,
    path: &[u32],
) -> Result<(), DecodeError> {
    let wanted = path.first().copied().unwrap_or(GEN_AI);
    let content = editor.input().get(message.content..message.end);
    let mut reader = fields(content.unwrap_or_default());
    loop {
        let start = message.end - reader.rest().len();
        let Some(field) = reader.next_field()? else {
            return Ok(());
        };
        let (true, Value::Bytes(content)) = (field.number == wanted, field.value) else {
            continue;
        };
        let end = message.end - reader.rest().len();
        let part = Part {
            number: field.number,
            start,
            content: end - content.len(),
            end,
        };
        if let Some((_, rest)) = path.split_first() {
            let mark = editor.open(part);
            walk(editor, attributes, part, rest)?;
            editor.close(mark, part);
        } else {
            attributes.clear();
            write(content, ENTRIES, attributes).map_err(|error| error.within("gen_ai"))?;
            editor.replace(part.start..part.end, attributes);
        }
        if editor.has_failed() {
            return Ok(());
        }
    }
}

/// Writes a message of `GenAi` as attributes of a span.
fn write(message: &[u8], entries: &'static [Entry], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut lists: [Option<(&Entry, Vec<u8>)>; 2] = [None, None];
    let mut reader = fields(message);
    while let Some(field) = reader.next_field()? {
        let Some(entry) = entries.iter().find(|entry| entry.number == field.number) else {
            continue;
        };
        match entry.holds {
            Holds::Message(inner) => {
                let message = field.bytes(entry.name)?;
                write(message, inner, out).map_err(|error| error.within(entry.name))?;
            }
            Holds::Cost => {
                let message = field.bytes(entry.name)?;
                if is_of_sender(message)? {
                    write(message, COST, out).map_err(|error| error.within(entry.name))?;
                }
            }
            Holds::Texts => {
                let text = field.text(entry.name)?;
                let list = lists.iter_mut().find(|list| {
                    let known = list.as_ref().map(|(known, _)| known.number);
                    known.is_none_or(|known| known == entry.number)
                });
                if let Some(list) = list {
                    let (_, values) = list.get_or_insert_with(|| (entry, Vec::new()));
                    put_message(values, 1, |value| put_text(value, STRING, text));
                }
            }
            _ => single(field, entry, out)?,
        }
    }
    for (entry, values) in lists.iter().flatten() {
        put_attribute(out, entry.key, |value| {
            put_message(value, ARRAY, |array| array.extend_from_slice(values));
        });
    }
    Ok(())
}

/// Whether the figures of a `Cost` are the sender's own, not those that a collector answered it with.
fn is_of_sender(cost: &[u8]) -> Result<bool, DecodeError> {
    let (mut source, mut reader) = (0, fields(cost));
    while let Some(field) = reader.next_field()? {
        if let (COST_SOURCE, Value::Varint(number)) = (field.number, field.value) {
            source = number;
        }
    }
    Ok(source == 0)
}

/// Writes a field that holds one value.
fn single(field: Field<'_>, entry: &Entry, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let key = entry.key;
    match entry.holds {
        Holds::Flag => {
            let flag = field.varint(entry.name)? != 0;
            put_attribute(out, key, |value| put_number(value, BOOL, flag.into()));
        }
        Holds::Count => {
            let count = field.varint(entry.name)?.min(i64::MAX.cast_unsigned());
            put_attribute(out, key, |value| put_number(value, INT, count));
        }
        Holds::Seconds | Holds::Dollars => {
            // Exact to the nanosecond up to 104 days, and to the billionth up to nine million dollars.
            let billionths = field.varint(entry.name)? as f64;
            put_attribute(out, key, |value| put_double(value, billionths / 1e9));
        }
        Holds::Text | Holds::Texts | Holds::Message(_) | Holds::Cost => {
            let text = field.text(entry.name)?;
            if !text.is_empty() {
                put_attribute(out, key, |value| put_text(value, STRING, text));
            }
        }
    }
    Ok(())
}

/// Fields of `AnyValue`.
const STRING: u32 = 1;
const BOOL: u32 = 2;
const INT: u32 = 3;
const DOUBLE: u32 = 4;
const ARRAY: u32 = 5;

fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_varint(out, u64::from(number << 3 | wire_type));
}

fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 0);
    put_varint(out, value);
}

fn put_double(out: &mut Vec<u8>, value: f64) {
    put_tag(out, DOUBLE, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    put_tag(out, number, 2);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes a message behind its length, which is known afterwards: nearly always one byte.
fn put_message(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, number, 2);
    let at = out.len();
    out.push(0);
    content(out);
    let length = (out.len() - at - 1) as u64;
    let mut header = Vec::with_capacity(10);
    put_varint(&mut header, length);
    out.splice(at..=at, header);
}

/// `Span.attributes`: a key and a value.
fn put_attribute(out: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, 9, |pair| {
        put_text(pair, 1, key);
        put_message(pair, 2, value);
    });
}

#[cfg(test)]
mod tests;
