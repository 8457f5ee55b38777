//! The texts of a span or an event that are searched, one after another.

use std::borrow::Cow;

use super::matcher::Scope;
use crate::otlp::protobuf::{AnyValue, Event, LogRecord, RECURSION_LIMIT, Span};

/// A text of a span or an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    /// Name of the span's event it is of.
    pub(super) event: Option<&'a str>,
    /// Attribute key, or what else it is.
    pub(super) name: &'a str,
    /// The text, as it lies in the encoded message.
    pub(super) text: &'a str,
}

/// Calls `visit` with each text of a log record in scope until it answers `false`; answers whether it
/// never did. The body counts as what was said.
pub(super) fn visit_record<'a>(
    record: &LogRecord<'a>,
    scope: &Scope,
    visit: &mut impl FnMut(Field<'a>) -> bool,
) -> bool {
    let mut of_record = |name, text| {
        visit(Field {
            event: None,
            name,
            text,
        })
    };
    let name = name_of(record);
    if scope.name && !name.is_none_or(|name| of_record("name", name)) {
        return false;
    }
    // A body that came in parts does not lie in the message, and nobody sends one.
    if scope.messages
        && let Cow::Borrowed(body) = record.body()
        && let Ok(body) = AnyValue::parse(body)
        && !strings(body, RECURSION_LIMIT, &mut |text| of_record("body", text))
    {
        return false;
    }
    if scope.attributes && !of_record("severity_text", record.severity_text) {
        return false;
    }
    record.attributes.iter().all(|attribute| {
        !scope.takes(name, attribute.key)
            || strings(attribute.value, RECURSION_LIMIT, &mut |text| {
                of_record(attribute.key, text)
            })
    })
}

/// The name of a log record, if it has one.
fn name_of<'a>(record: &LogRecord<'a>) -> Option<&'a str> {
    Some(record.name()).filter(|name| !name.is_empty())
}

/// Calls `visit` with each text in scope until it answers `false`; answers whether it never did.
pub(super) fn visit<'a>(
    span: &Span<'a>,
    scope: &Scope,
    visit: &mut impl FnMut(Field<'a>) -> bool,
) -> bool {
    let mut of_span = |name, text| {
        visit(Field {
            event: None,
            name,
            text,
        })
    };
    if scope.name && !of_span("name", span.name) {
        return false;
    }
    let mut attributes = span.attributes.iter();
    let attributes_ok = attributes.all(|attribute| {
        !scope.takes(None, attribute.key)
            || strings(attribute.value, RECURSION_LIMIT, &mut |text| {
                of_span(attribute.key, text)
            })
    });
    attributes_ok
        && (!scope.attributes || of_span("status.message", span.status.message))
        && span.events().all(|event| visit_event(&event, scope, visit))
}

fn visit_event<'a>(
    event: &Event<'a>,
    scope: &Scope,
    visit: &mut impl FnMut(Field<'a>) -> bool,
) -> bool {
    let mut of_event = |name, text| {
        visit(Field {
            event: Some(event.name),
            name,
            text,
        })
    };
    if scope.attributes && !of_event("name", event.name) {
        return false;
    }
    event.attributes.iter().all(|attribute| {
        !scope.takes(Some(event.name), attribute.key)
            || strings(attribute.value, RECURSION_LIMIT, &mut |text| {
                of_event(attribute.key, text)
            })
    })
}

/// The strings in a value, down to the depth that decoding allows.
fn strings<'a>(value: AnyValue<'a>, depth: u32, visit: &mut dyn FnMut(&'a str) -> bool) -> bool {
    let Some(deeper) = depth.checked_sub(1) else {
        return true;
    };
    match value {
        AnyValue::Str(text) => visit(text),
        AnyValue::Array(array) => array.iter().all(|value| strings(value, deeper, visit)),
        AnyValue::KvList(list) => list.iter().all(|pair| strings(pair.value, deeper, visit)),
        AnyValue::Empty
        | AnyValue::Bool(_)
        | AnyValue::Int(_)
        | AnyValue::Double(_)
        | AnyValue::Bytes(_) => true,
    }
}
