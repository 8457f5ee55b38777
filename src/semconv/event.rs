//! Columns of events.
//!
//! Coding agents tell of their model calls in log records only, in words of their own, which count in
//! their records alone.

mod call;
mod stack;

use std::borrow::Cow;

use super::coerce::{count, cut, nanos, number, text};
use crate::model::event::{EventFacts, Outline};
use crate::model::fingerprint::{self, Fingerprint};
use crate::model::genai::Usage;
use crate::otlp::protobuf::{AnyValue, LogRecord};

pub use call::{RecordedCall, recorded_call};

/// Severity from which on a record is an error (logs.proto, `SEVERITY_NUMBER_ERROR`).
const ERROR: i32 = 17;
/// Bytes of a message that tell errors apart.
const MESSAGE_BYTES: usize = 256;
const NANO_USD: f64 = 1e9;
const NANO_PER_MICRO: f64 = 1e3;
const NS_PER_MS: f64 = 1e6;

/// An agent whose records have words of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    ClaudeCode,
    Codex,
    GeminiCli,
}

impl Agent {
    fn of(name: &str, scope: &str) -> Option<Self> {
        let starts = |start: &str| name.starts_with(start);
        if starts("claude_code.") || scope.starts_with("com.anthropic.claude_code") {
            Some(Self::ClaudeCode)
        } else if starts("codex.") || scope.starts_with("codex_") {
            Some(Self::Codex)
        } else if starts("gemini_cli.") {
            Some(Self::GeminiCli)
        } else {
            None
        }
    }

    /// Keys of input, output, cache read, cache write and reasoning tokens.
    const fn usage_keys(self) -> [&'static str; 5] {
        match self {
            Self::ClaudeCode => [
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_creation_tokens",
                "",
            ],
            Self::Codex => [
                "input_token_count",
                "output_token_count",
                "cached_token_count",
                "cache_write_token_count",
                "reasoning_token_count",
            ],
            Self::GeminiCli => [
                "input_token_count",
                "output_token_count",
                "cached_content_token_count",
                "",
                "thoughts_token_count",
            ],
        }
    }

    /// Usage with cached tokens in the input and reasoning in the output.
    fn inclusive(self, usage: Usage) -> Usage {
        let add = |sum: Option<i64>, part: Option<i64>| {
            sum.map(|sum| sum.saturating_add(part.unwrap_or(0)))
        };
        match self {
            Self::ClaudeCode => Usage {
                input: add(add(usage.input, usage.cache_read), usage.cache_write),
                ..usage
            },
            Self::GeminiCli => Usage {
                output: add(usage.output, usage.reasoning),
                ..usage
            },
            Self::Codex => usage,
        }
    }
}

/// What is read of a record's attributes.
#[derive(Default)]
struct Draft<'a> {
    session: [Option<AnyValue<'a>>; 3],
    model: [Option<AnyValue<'a>>; 3],
    /// In the conventions' words, and in the agent's.
    usage: [[Option<AnyValue<'a>>; 5]; 2],
    cost: Option<AnyValue<'a>>,
    /// The same, exactly.
    cost_micros: Option<AnyValue<'a>>,
    duration_ms: Option<AnyValue<'a>>,
    exception_type: Option<AnyValue<'a>>,
    exception_message: Option<AnyValue<'a>>,
    exception_stack: Option<AnyValue<'a>>,
    fingerprint: Option<AnyValue<'a>>,
}

const SESSION_KEYS: [&str; 3] = ["session.id", "gen_ai.conversation.id", "conversation.id"];
const USAGE_KEYS: [&str; 5] = [
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
];

impl<'a> Draft<'a> {
    fn take(&mut self, agent: Option<Agent>, key: &str, value: AnyValue<'a>) {
        let at = |keys: &[&str]| keys.iter().position(|known| *known == key);
        let [conventions, own] = &mut self.usage;
        let place = match key {
            "gen_ai.response.model" => self.model.get_mut(0),
            "gen_ai.request.model" => self.model.get_mut(1),
            "model" if agent.is_some() => self.model.get_mut(2),
            "cost_usd" if agent.is_some() => Some(&mut self.cost),
            "cost_usd_micros" if agent.is_some() => Some(&mut self.cost_micros),
            "gen_ai.usage.cost" => Some(&mut self.cost),
            "duration_ms" if agent.is_some() => Some(&mut self.duration_ms),
            "exception.type" => Some(&mut self.exception_type),
            "exception.message" => Some(&mut self.exception_message),
            "exception.stacktrace" => Some(&mut self.exception_stack),
            fingerprint::ATTRIBUTE => Some(&mut self.fingerprint),
            _ => match (at(&SESSION_KEYS), at(&USAGE_KEYS), agent) {
                (Some(place), _, _) => self.session.get_mut(place),
                (_, Some(place), _) => conventions.get_mut(place),
                (_, _, Some(agent)) => at(&agent.usage_keys()).and_then(|place| own.get_mut(place)),
                _ => None,
            },
        };
        if let Some(place) = place {
            *place = Some(value);
        }
    }

    fn usage(&self, agent: Option<Agent>) -> Usage {
        let [conventions, own] = &self.usage;
        let read = |values: &[Option<AnyValue<'a>>; 5]| {
            let [input, output, cache_read, cache_write, reasoning] = values;
            let tokens = |value: &Option<AnyValue<'a>>| value.as_ref().and_then(count);
            Usage {
                input: tokens(input),
                output: tokens(output),
                cache_read: tokens(cache_read),
                cache_write: tokens(cache_write),
                reasoning: tokens(reasoning),
                ..Usage::default()
            }
        };
        match (read(conventions), agent) {
            (usage, Some(agent)) if usage == Usage::default() => agent.inclusive(read(own)),
            (usage, _) => usage,
        }
    }
}

/// The columns of a log record of a scope.
#[must_use]
pub fn facts<'a>(record: &LogRecord<'a>, scope: &str) -> EventFacts<'a> {
    let name = record.name();
    let agent = Agent::of(name, scope);
    let mut draft = Draft::default();
    for attribute in record.attributes.iter() {
        draft.take(agent, attribute.key, attribute.value);
    }
    let first = |values: &[Option<AnyValue<'a>>]| {
        let mut values = values.iter().flatten();
        values.find_map(text).map(|text| Cow::Borrowed(cut(text)))
    };
    let amount = |value: Option<AnyValue<'a>>, unit| {
        let amount = value.as_ref().and_then(number)?;
        nanos(amount, unit)
    };
    EventFacts {
        name: (!name.is_empty()).then(|| Cow::Borrowed(cut(name))),
        session_id: first(&draft.session),
        model: first(&draft.model),
        usage: draft.usage(agent),
        cost_nano_usd: amount(draft.cost_micros, NANO_PER_MICRO)
            .or_else(|| amount(draft.cost, NANO_USD)),
        duration_ns: amount(draft.duration_ms, NS_PER_MS),
        fingerprint: fingerprint_of(record, name, &draft),
    }
}

/// What a record is about, as issues show it.
#[must_use]
pub fn outline<'a>(record: &LogRecord<'a>) -> Outline<'a> {
    let (mut kind, mut message) = (None, None);
    for attribute in record.attributes.iter() {
        match (attribute.key, attribute.value) {
            ("exception.type", AnyValue::Str(text)) => kind = Some(text),
            ("exception.message", AnyValue::Str(text)) => message = Some(text),
            _ => {}
        }
    }
    let kind = kind.filter(|kind| !kind.is_empty());
    let message = match message.filter(|message| !message.is_empty()) {
        Some(message) => Cow::Borrowed(cut(message)),
        None => {
            let body = record.body();
            let text = AnyValue::parse(&body).unwrap_or_default().text();
            Cow::Owned(cut(&text).to_owned())
        }
    };
    Outline {
        kind: Cow::Borrowed(cut(kind.unwrap_or_else(|| record.name()))),
        message,
    }
}

/// What the sender says, else what errors of one kind have in common: name, type of exception,
/// message without numbers and quoted words, and the innermost calls of the application.
fn fingerprint_of(record: &LogRecord<'_>, name: &str, draft: &Draft<'_>) -> Option<i64> {
    if let Some(AnyValue::Str(own)) = draft.fingerprint {
        return Some(Fingerprint::of_text(own).0);
    }
    if record.severity_number < ERROR && draft.exception_type.is_none() {
        return None;
    }
    let said = |value: &Option<AnyValue<'_>>| {
        let text = value.as_ref().map(|value| value.text().into_owned());
        text.unwrap_or_default()
    };
    let mut message = said(&draft.exception_message);
    if message.is_empty() {
        let body = record.body();
        message = AnyValue::parse(&body)
            .unwrap_or_default()
            .text()
            .into_owned();
    }
    let stack = stack::signature(&said(&draft.exception_stack));
    let kind = said(&draft.exception_type);
    let parts = [name, &kind, &alike(&message), &stack];
    Some(Fingerprint::of_parts(&parts).0)
}

/// The first line of a message, without what stands in quotes, and with `0` in the place of each
/// number, those of hexadecimal digits included.
fn alike(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line
        .get(..line.floor_char_boundary(MESSAGE_BYTES))
        .unwrap_or_default();
    let line = unquoted(line);
    let is_word = |character: char| character.is_ascii_alphanumeric();
    let mut out = String::with_capacity(line.len());
    for word in line.split_inclusive(|character| !is_word(character)) {
        let (bare, end) = match word.char_indices().last() {
            Some((at, last)) if !is_word(last) => word.split_at_checked(at).unwrap_or((word, "")),
            _ => (word, ""),
        };
        let is_number = bare.bytes().any(|byte| byte.is_ascii_digit())
            && bare
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'x');
        out.push_str(if is_number { "0" } else { bare });
        out.push_str(end);
    }
    out
}

/// A line with nothing between its quotes. An apostrophe within a word is none.
fn unquoted(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\'', '`']) {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let Some(quote) = quoted.chars().next() else {
            break;
        };
        let (_, inner) = quoted.split_at(quote.len_utf8());
        out.push(quote);
        let is_within = before.ends_with(char::is_alphanumeric);
        rest = match inner.find(quote).filter(|_| !is_within) {
            Some(end) => {
                out.push(quote);
                inner.get(end + quote.len_utf8()..).unwrap_or_default()
            }
            None => inner,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
