//! What the rows of the table found, and the columns made of it.

use std::borrow::Cow;

use super::coerce::{self, cut, usable};
use super::dialect::Dialect;
use super::dialects;
use super::json::Json;
use super::names::{Op, finish, provider};
use super::rows::{Money, Row, TEXTS, Take, Text};
use super::usage::raw;
use super::usage::{Count, Reported};
use crate::model::genai::TAGS_MAX;
use crate::otlp::protobuf::AnyValue;

const NANO_USD: f64 = 1e9;
const NS_PER_SECOND: f64 = 1e9;
const NS_PER_MS: f64 = 1e6;

/// What a span is, beside its attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanFacts<'a> {
    /// Name.
    pub name: &'a str,
    /// Whether its status is an error.
    pub failed: bool,
    /// What the status says.
    pub status_message: &'a str,
    /// Start, ns since the Unix epoch.
    pub start_unix_nano: u64,
}

/// What the name of a scope tells of its spans.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScopeFacts {
    pub(super) dialect: Option<Dialect>,
    /// Whether what is called the model's name is the one asked for.
    pub(super) names_request_model: bool,
    pub(super) is_agno: bool,
    /// Whether it is a package of OpenTelemetry's or of OpenLLMetry's, which share a prefix.
    pub(super) is_instrumentation: bool,
    /// Whether it is the integration that comes with version 7 of the AI SDK.
    pub(super) is_ai_sdk_otel: bool,
}

impl ScopeFacts {
    pub(super) fn of(name: &str) -> Self {
        let is_agno = name.ends_with(".agno");
        Self {
            dialect: Dialect::of_scope(name),
            names_request_model: is_agno || name.ends_with(".smolagents"),
            is_agno,
            is_instrumentation: name.starts_with("opentelemetry.instrumentation."),
            is_ai_sdk_otel: name == "gen_ai",
        }
    }
}

/// What is found of a span, in order of precedence: what is there already stays.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) span: SpanFacts<'a>,
    pub(super) scope: ScopeFacts,
    pub(super) dialect: Option<Dialect>,
    /// What the span does, as its dialect says.
    pub(super) kind: Option<Op<'a>>,
    /// The same, from keys that say it of everything.
    pub(super) weak_kind: Option<Op<'a>>,
    /// The form of a model call, where a dialect only says that it is one.
    pub(super) form: Option<Op<'a>>,
    /// Whether the span repeats what another span says.
    pub(super) repeats: bool,
    /// Whether it stands for all model calls within it, which don't know their model.
    pub(super) sums_calls: bool,
    /// Whether another span of the call has the usage if this one has none.
    pub(super) counts_with_usage: bool,
    pub(super) usage: Reported,
    /// Nano-USD of input, output and total.
    pub(super) cost: [Option<i64>; 3],
    pub(super) streaming: Option<bool>,
    /// From the start to the first token, ns.
    pub(super) first_token: Option<i64>,
    pub(super) tags: Vec<Cow<'a, str>>,
    pub(super) texts: [Option<Cow<'a, str>>; TEXTS],
}

/// Whether a text can be what a column is for: OpenAI's Responses API has the id of the previous
/// answer for a conversation.
pub(super) fn is_usable(column: Text, text: &str) -> bool {
    column != Text::Session || !text.starts_with("resp_")
}

impl<'a> Draft<'a> {
    /// Applies a row.
    pub(super) fn apply(&mut self, row: &Row, value: AnyValue<'a>) {
        match row.take {
            // Plain columns are taken as they come, not from here.
            Take::Mark | Take::Plain(..) => {}
            Take::Text(Text::FinishReason) => self.finish_reason(&value),
            Take::Text(Text::Provider) => {
                if let Some(text) = coerce::text(&value) {
                    self.provider(Cow::Borrowed(text));
                }
            }
            Take::Quoted(Text::Provider) => {
                if let Some(text) = value.as_str() {
                    self.provider(coerce::unquoted(text));
                }
            }
            Take::Text(column) => {
                if let Some(text) = coerce::text(&value) {
                    self.set(column, text);
                }
            }
            Take::Quoted(column) => {
                if let Some(text) = value.as_str() {
                    self.set_cow(column, coerce::unquoted(text));
                }
            }
            Take::Count(count) => {
                if let Some(number) = coerce::count(&value) {
                    self.usage.count(row.dialect, count, number);
                }
            }
            Take::Money(part) => {
                let amount = coerce::number(&value).and_then(|it| coerce::nanos(it, NANO_USD));
                self.money(part, amount);
            }
            Take::Kind(known) => {
                if let Some(op) = value.as_str().and_then(|it| known(&coerce::unquoted(it))) {
                    self.kind(op);
                }
            }
            Take::Streaming => self.streaming = self.streaming.or_else(|| coerce::truth(&value)),
            Take::FirstChunkSeconds => {
                self.first_token_in(&value, NS_PER_SECOND);
                self.streaming = self.streaming.or(self.first_token.map(|_| true));
            }
            Take::FirstTokenMillis => self.first_token_in(&value, NS_PER_MS),
            Take::Tags => self.tags(&value),
            Take::With(take) => take(self, value),
        }
    }

    /// A text, if there is one.
    pub(super) fn text(&self, column: Text) -> Option<&str> {
        self.texts.get(column as usize)?.as_deref()
    }

    /// Takes a text out.
    pub(super) fn take_text(&mut self, column: Text) -> Option<Cow<'a, str>> {
        self.texts.get_mut(column as usize)?.take()
    }

    /// Sets a text that is not there.
    pub(super) fn set(&mut self, column: Text, text: &'a str) {
        self.set_cow(column, Cow::Borrowed(text));
    }

    /// Sets a text that is not there, if it says something.
    pub(super) fn set_cow(&mut self, column: Text, text: Cow<'a, str>) {
        let text = match text {
            Cow::Borrowed(text) => usable(text).map(|text| Cow::Borrowed(cut(text))),
            Cow::Owned(text) => usable(&text).map(|text| Cow::Owned(cut(text).to_owned())),
        };
        let text = text.filter(|it| is_usable(column, it));
        if let (Some(text), Some(place @ None)) = (text, self.texts.get_mut(column as usize)) {
            *place = Some(text);
        }
    }

    /// Sets the provider by its common name, unless it is a framework's.
    pub(super) fn provider(&mut self, sent: Cow<'a, str>) {
        let name = match sent {
            Cow::Borrowed(text) => usable(text).map(provider::named),
            Cow::Owned(text) => usable(&text).map(|text| provider::named(text).into_owned()),
        };
        if let Some(provider::Named::Provider(name)) = name {
            self.set_cow(Text::Provider, name);
        }
    }

    /// Sets what the span does. Of a model call only the form may be told later.
    pub(super) fn kind(&mut self, op: Op<'a>) {
        if op.is_model() && op != Op::Llm && self.form.is_none() {
            self.form = Some(op);
        }
        if self.kind.is_none() {
            self.kind = Some(op);
        }
    }

    /// Sets a part of the cost that is not there.
    pub(super) fn money(&mut self, part: Money, nano_usd: Option<i64>) {
        if let Some(place @ None) = self.cost.get_mut(part as usize) {
            *place = nano_usd;
        }
    }

    /// Takes a usage object.
    pub(super) fn usage_object(&mut self, dialect: Dialect, usage: &Json) {
        let (counts, habits) = raw::read(usage);
        self.usage.record(dialect, &counts, habits);
    }

    /// Takes a usage object in JSON text, or one in an object in it, at a path.
    pub(super) fn usage_text(&mut self, dialect: Dialect, value: &AnyValue<'_>, path: &[&str]) {
        let json = value.as_str().and_then(Json::parse_container);
        if let Some(usage) = json.as_ref().and_then(|it| it.at(path)) {
            self.usage_object(dialect, usage);
        }
    }

    /// Sets the time to the first token, if it is not there.
    pub(super) fn first_token_in(&mut self, value: &AnyValue<'_>, unit: f64) {
        let time = coerce::number(value).and_then(|it| coerce::nanos(it, unit));
        self.first_token = self.first_token.or(time);
    }

    /// Takes the first of the reasons: an array, a JSON array, or one reason.
    pub(super) fn finish_reason(&mut self, value: &AnyValue<'a>) {
        let first = match value {
            AnyValue::Array(list) => list.iter().find_map(|item| item.as_str().and_then(usable)),
            other => other.as_str().and_then(usable),
        };
        let Some(first) = first else { return };
        if first.starts_with('[') {
            if let Some(Json::List(items)) = Json::parse(first)
                && let Some(reason) = items.iter().find_map(Json::as_text)
            {
                self.set_reason(Cow::Owned(reason.to_owned()));
            }
            return;
        }
        self.set_reason(Cow::Borrowed(first));
    }

    /// Sets the reason by its common name.
    pub(super) fn set_reason(&mut self, reason: Cow<'a, str>) {
        let reason = match reason {
            Cow::Borrowed(text) => coerce::unquoted(text),
            owned @ Cow::Owned(_) => owned,
        };
        let reason = finish::canonical(&reason).map_or(reason, Cow::Borrowed);
        self.set_cow(Text::FinishReason, reason);
    }

    /// Takes labels: an array, a JSON array, or labels with commas between them.
    pub(super) fn tags(&mut self, value: &AnyValue<'a>) {
        match value {
            AnyValue::Array(list) => {
                for tag in list.iter() {
                    self.tag(tag.as_str().map(Cow::Borrowed));
                }
            }
            AnyValue::Str(text) if text.trim_start().starts_with('[') => {
                if let Some(Json::List(items)) = Json::parse(text) {
                    for item in items {
                        self.tag(item.as_text().map(|tag| Cow::Owned(tag.to_owned())));
                    }
                }
            }
            AnyValue::Str(text) => {
                for tag in text.split(',') {
                    self.tag(Some(Cow::Borrowed(tag)));
                }
            }
            _ => {}
        }
    }

    fn tag(&mut self, tag: Option<Cow<'a, str>>) {
        let tag = match tag {
            Some(Cow::Borrowed(tag)) => usable(tag).map(|tag| Cow::Borrowed(cut(tag))),
            Some(Cow::Owned(tag)) => usable(&tag).map(|tag| Cow::Owned(cut(tag).to_owned())),
            None => None,
        };
        if let Some(tag) = tag
            && self.tags.len() < TAGS_MAX
            && !self.tags.contains(&tag)
        {
            self.tags.push(tag);
        }
    }

    /// Lets the dialect have the last word.
    pub(super) fn settle(&mut self) {
        match self.dialect {
            Some(Dialect::OpenInference) => dialects::openinference::settle(self),
            Some(Dialect::AiSdk) => dialects::ai_sdk::settle(self),
            Some(Dialect::GoogleAdk) => dialects::google_adk::settle(self),
            Some(Dialect::AgentFramework) => dialects::agent_framework::settle(self),
            Some(Dialect::PydanticAi) => dialects::pydantic_ai::settle(self),
            Some(Dialect::Logfire) => dialects::logfire::settle(self),
            Some(Dialect::LiteLlm) => dialects::litellm::settle(self),
            Some(Dialect::Strands) => dialects::strands::settle(self),
            Some(Dialect::OpenLit) => dialects::openlit::settle(self),
            Some(Dialect::Anthropic) => dialects::anthropic::settle(self),
            Some(Dialect::ClaudeCode) => dialects::claude_code::settle(self),
            Some(Dialect::Codex) => dialects::codex::settle(self),
            Some(Dialect::GeminiCli) => dialects::gemini_cli::settle(self),
            Some(Dialect::OpenRouter) => dialects::openrouter::settle(self),
            _ => {}
        }
        self.settle_kind();
    }

    /// What the span does, when no key says it: by what it has.
    fn settle_kind(&mut self) {
        if let (Some(Op::Llm), Some(form)) = (self.kind, self.form) {
            self.kind = Some(form);
        }
        if self.kind.is_some() {
            return;
        }
        let has_model =
            self.text(Text::RequestModel).is_some() || self.text(Text::ResponseModel).is_some();
        let answered =
            self.usage.has_counts() || self.text(Text::ResponseId).is_some() || self.has_reason();
        let is_agent = self.text(Text::AgentName).is_some();
        self.kind = if self.form.is_some() {
            self.form
        } else if self.text(Text::ToolName).is_some() && !answered {
            Some(Op::ExecuteTool)
        } else if has_model && answered && !is_agent {
            Some(Op::Chat)
        } else {
            self.weak_kind
        };
    }

    fn has_reason(&self) -> bool {
        self.text(Text::FinishReason).is_some()
    }

    /// Whether input tokens are what is not cached, because a client of Anthropic's or Bedrock's
    /// own API passes its counts on: told by the model's name, which has no router's prefix.
    pub(super) fn has_native_claude(&self) -> bool {
        let model = self
            .text(Text::ResponseModel)
            .or_else(|| self.text(Text::RequestModel));
        model.is_some_and(|model| {
            let regions = ["us.", "eu.", "apac.", "global."];
            let bare = regions
                .iter()
                .find_map(|region| model.strip_prefix(region))
                .unwrap_or(model);
            !model.contains('/') && (bare.starts_with("claude-") || bare.starts_with("anthropic."))
        })
    }

    /// Notes a count of the dialect.
    pub(super) fn count(&mut self, dialect: Dialect, count: Count, number: Option<i64>) {
        if let Some(number) = number {
            self.usage.count(dialect, count, number);
        }
    }
}
