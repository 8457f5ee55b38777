//! What was said: the messages of a span, its tool call, documents and texts, in one JSON shape,
//! that of the OpenTelemetry GenAI conventions, whatever the dialect.
//!
//! Read from the span as it is stored, when it is asked for, so that a better reader improves old
//! data. Lists of messages come as JSON text (sometimes encoded twice, sometimes cut off), as
//! attribute values, as indexed keys or as events; `places` is the table of where, in order of
//! precedence, and `shape` reads any of the shapes wherever messages are expected. Nothing is
//! dropped: what can't be read is text marked `unparsed`, and a part of an unknown type stays as it
//! came.

pub mod content;
mod documents;
mod events;
mod indexed;
mod keys;
mod logs;
mod media;
mod part;
mod places;
mod shape;
mod source;
mod tools;

use serde::Serialize;

pub use documents::{Document, Rerank};
pub use keys::holds_messages;
pub use part::Part;
use places::{Place, What};
use source::Source;

pub use super::json::Json;
use super::{Collector, SpanFacts};
use crate::model::genai::GenAi;
use crate::model::span::Operation;
use crate::otlp::protobuf::{LogRecord, Span};
use crate::pricing::Table;

/// Messages of a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Messages {
    /// What the model was given, the history included.
    pub input_messages: Vec<Message>,
    /// What it answered.
    pub output_messages: Vec<Message>,
    /// Instructions that are kept apart from the history.
    pub system_instructions: Vec<Part>,
    /// Tools the model could ask for.
    pub tool_definitions: Vec<Json>,
    /// The tool that the span calls.
    pub tool_call: Option<ToolCall>,
    /// Documents found.
    pub documents: Vec<Document>,
    /// What was put in order.
    pub rerank: Option<Rerank>,
    /// Texts that were embedded.
    pub embedding_inputs: Vec<String>,
    /// What a step, a chain or an agent was given, where that is no list of messages.
    pub input_value: Option<Json>,
    /// What it answered.
    pub output_value: Option<Json>,
    /// Attributes whose JSON could not be read, because they were cut off or are none.
    pub unparsed: Vec<String>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`; another as sent.
    pub role: String,
    /// Name of the participant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it consists of.
    pub parts: Vec<Part>,
    /// Why the model stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
}

/// A call of a tool, by the tool's own span.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ToolCall {
    /// Id of the call, as the model gave it.
    pub id: Option<String>,
    /// Name of the tool.
    pub name: Option<String>,
    /// What it was called with.
    pub arguments: Option<Json>,
    /// What it answered.
    pub result: Option<Json>,
}

/// What a span is about, as far as its content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aspect {
    Model,
    Embeddings,
    Tool,
    Documents,
    /// An agent, a workflow, a step.
    Step,
}

impl Messages {
    /// Reads the messages of a span of a scope; `None` when it has none, as spans that have nothing
    /// to do with models have.
    #[must_use]
    pub fn of(span: &Span<'_>, scope: &str) -> Option<Self> {
        let (aspect, genai) = aspect_of(span, scope)?;
        let mut source = Source::new(span);
        let mut messages = Self::default();
        if aspect == Aspect::Tool {
            messages.tool_call = Some(tools::call(&mut source, &genai));
        } else {
            messages.read(&mut source, aspect);
        }
        messages.unparsed = source.unparsed();
        (messages != Self::default()).then_some(messages)
    }

    /// As [`Messages::of`], with what log records of the span say where the span itself does not:
    /// attributes go before events, and those before log records, however late they arrived.
    #[must_use]
    pub fn joined(span: &Span<'_>, scope: &str, records: &[LogRecord<'_>]) -> Option<Self> {
        let own = Self::of(span, scope);
        if records.is_empty() {
            return own;
        }
        match aspect_of(span, scope) {
            Some((Aspect::Model | Aspect::Step, _)) => {}
            _ => return own,
        }
        let mut messages = own.unwrap_or_default();
        messages.fill(logs::read(records));
        (messages != Self::default()).then_some(messages)
    }

    /// Takes over what is missing.
    fn fill(&mut self, said: logs::Said) {
        if self.input_messages.is_empty() && self.input_value.is_none() {
            self.input_messages = said.input;
        }
        if self.output_messages.is_empty() && self.output_value.is_none() {
            self.output_messages = said.output;
        } else if self.output_messages.len() == said.output.len() {
            for (known, told) in self.output_messages.iter_mut().zip(said.output) {
                known.finish_reason = known.finish_reason.take().or(told.finish_reason);
            }
        }
        if self.system_instructions.is_empty() {
            self.system_instructions = said.system;
        }
        if self.tool_definitions.is_empty() {
            self.tool_definitions = said.tools;
        }
    }

    fn read(&mut self, source: &mut Source<'_>, aspect: Aspect) {
        match aspect {
            Aspect::Embeddings => self.embedding_inputs = documents::embedding_inputs(source),
            Aspect::Documents => {
                self.documents = documents::retrieved(source);
                self.rerank = documents::rerank(source);
            }
            Aspect::Model | Aspect::Tool | Aspect::Step => {}
        }
        let is_model = aspect == Aspect::Model;
        self.input_messages = places::messages(source, What::Input, is_model);
        self.output_messages = places::messages(source, What::Output, is_model);
        let (has_input, has_output) = (
            !self.input_messages.is_empty(),
            !self.output_messages.is_empty(),
        );
        // Events fill in what the attributes do not have.
        for (place, message) in events::messages(source) {
            match place {
                Place::Input if !has_input => self.input_messages.push(message),
                Place::Output if !has_output => self.output_messages.push(message),
                _ => {}
            }
        }
        self.system_instructions = places::system(source);
        self.tool_definitions = tools::definitions(source);
        if aspect == Aspect::Embeddings || aspect == Aspect::Documents {
            // What is left of them is the question.
            self.output_messages.clear();
        }
        if aspect == Aspect::Embeddings {
            let asked = std::mem::take(&mut self.input_messages);
            if self.embedding_inputs.is_empty() {
                self.embedding_inputs = documents::texts(asked);
            }
        }
        self.fall_back(source, aspect);
    }

    /// Input and output that are in the keys of everything.
    fn fall_back(&mut self, source: &mut Source<'_>, aspect: Aspect) {
        let is_model = aspect == Aspect::Model;
        if self.input_messages.is_empty() && self.embedding_inputs.is_empty() {
            match places::value(source, What::Input) {
                Some(value) if is_model || shape::is_messages(&value) => {
                    self.input_messages = shape::messages(value, "user");
                }
                other => self.input_value = other,
            }
        }
        let has_output = !self.output_messages.is_empty() || !self.documents.is_empty();
        if !has_output && aspect != Aspect::Embeddings {
            match places::value(source, What::Output) {
                Some(value) if is_model || shape::is_messages(&value) => {
                    self.output_messages = shape::messages(value, "assistant");
                }
                other => self.output_value = other,
            }
        }
    }
}

/// Reads the columns once more, so that content and columns agree on what the span is.
fn aspect_of<'a>(span: &Span<'a>, scope: &str) -> Option<(Aspect, GenAi<'a>)> {
    let prices = Table::disabled();
    let mut columns = Collector::new(&prices);
    columns.scope(scope);
    for attribute in span.attributes.iter() {
        columns.attribute(attribute.key.as_bytes(), || attribute.value);
    }
    let basics = columns.finish(SpanFacts {
        name: span.name,
        start_unix_nano: span.start_unix_nano,
        ..SpanFacts::default()
    });
    let Operation::GenAi(operation) = basics.operation else {
        return None;
    };
    let aspect = match operation {
        "chat" | "text_completion" | "generate_content" => Aspect::Model,
        "embeddings" => Aspect::Embeddings,
        "execute_tool" => Aspect::Tool,
        "retrieval" | "rerank" => Aspect::Documents,
        _ => Aspect::Step,
    };
    Some((aspect, *basics.genai?))
}

#[cfg(test)]
mod tests;
