//! Messages in the log records of a span.
//!
//! Three generations: an event for each message, with the message as its body, structured or as JSON
//! text; one event with all messages of a call in its attributes; and log lines without a name that
//! begin with a phrase (Spring AI).

use super::part::Part;
use super::source::decoded;
use super::{Message, shape};
use crate::otlp::protobuf::{AnyValue, LogRecord};
use crate::semconv::json::Json;

/// What log records say.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) input: Vec<Message>,
    pub(super) output: Vec<Message>,
    pub(super) system: Vec<Part>,
    pub(super) tools: Vec<Json>,
}

const DETAILS: &str = "gen_ai.client.inference.operation.details";
/// Starts of log lines with a prompt, and with the answer.
const PROMPT_LINE: &str = "Chat Model Prompt Content:";
const ANSWER_LINE: &str = "Chat Model Completion:";

/// Reads the messages of log records, in their order. A call that is told of by both an event with
/// all messages and one for each is taken from the first.
pub(super) fn read(records: &[LogRecord<'_>]) -> Said {
    let (mut single, mut whole) = (Said::default(), Said::default());
    for record in records {
        let bytes = record.body();
        let body = AnyValue::parse(&bytes).unwrap_or_default();
        match record.name() {
            DETAILS => whole.details(record, &body),
            "" => single.line(&body),
            name => single.message(name, &body),
        }
    }
    let or = |whole: Vec<Message>, single| if whole.is_empty() { single } else { whole };
    Said {
        input: or(whole.input, single.input),
        output: or(whole.output, single.output),
        system: whole.system,
        tools: whole.tools,
    }
}

impl Said {
    /// All of a call at once. Some clients send it twice, before the answer and after: of each list
    /// the last counts.
    fn details(&mut self, record: &LogRecord<'_>, body: &AnyValue<'_>) {
        let body = Json::of(body);
        let find = |key: &str| {
            let mut attributes = record.attributes.iter();
            let attribute = attributes.find(|attribute| attribute.key == key);
            let value = match attribute {
                Some(attribute) => json(&attribute.value),
                None => body.get(key).cloned()?,
            };
            Some(value).filter(|value| !value.is_empty())
        };
        if let Some(input) = find("gen_ai.input.messages") {
            self.input = shape::messages(input, "user");
        }
        if let Some(output) = find("gen_ai.output.messages") {
            self.output = shape::messages(output, "assistant");
        }
        if let Some(system) = find("gen_ai.system_instructions") {
            let messages = shape::messages(system, "system");
            self.system = messages.into_iter().flat_map(|it| it.parts).collect();
        }
        match find("gen_ai.tool.definitions") {
            Some(Json::List(tools)) => self.tools = tools,
            Some(tool) => self.tools = vec![tool],
            None => {}
        }
    }

    /// One message.
    fn message(&mut self, name: &str, body: &AnyValue<'_>) {
        let Some(role) = shape::role_of_event(name) else {
            return;
        };
        let mut entries = vec![("event.name".to_owned(), Json::from(name))];
        match json(body) {
            Json::Map(inner) => entries.extend(inner),
            other if other.is_empty() => return,
            content => entries.push(("content".to_owned(), content)),
        }
        let messages = shape::messages(Json::Map(entries), role);
        match name {
            "gen_ai.choice" => self.output.extend(messages),
            _ => self.input.extend(messages),
        }
    }

    /// A line that says what it is by how it begins.
    fn line(&mut self, body: &AnyValue<'_>) {
        let text = body.as_str().unwrap_or_default().trim_start();
        if let Some(prompt) = text.strip_prefix(PROMPT_LINE) {
            let prompt = Json::from(prompt.trim());
            self.input.extend(shape::messages(prompt, "user"));
        } else if let Some(answer) = text.strip_prefix(ANSWER_LINE) {
            let answer = Json::from(answer.trim());
            self.output.extend(shape::messages(answer, "assistant"));
        }
    }
}

/// A value as JSON; text that is JSON is read.
fn json(value: &AnyValue<'_>) -> Json {
    match value.as_str() {
        Some(text) => decoded(text),
        None => Json::of(value),
    }
}

#[cfg(test)]
mod tests;
