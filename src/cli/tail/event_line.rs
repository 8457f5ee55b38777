//! An event as a line for people. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::line::{
    CYAN, DIM, GREEN, Painter, RED, SERVICE_CHARS, YELLOW, add, clock, padded, plain,
};

/// Width of the severity.
const SEVERITY_CHARS: usize = 5;

/// What of an event is shown; the API says more.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    time: Option<String>,
    received_time: String,
    severity_number: Option<u8>,
    severity_text: Option<String>,
    name: Option<String>,
    body: Value,
    service_name: String,
    trace_id: Option<String>,
}

impl Painter {
    /// The line of an event: time, service, severity, name, what it says, trace.
    pub(super) fn event(self, event: &Event) -> String {
        let mut line = String::new();
        let time = event.time.as_ref().unwrap_or(&event.received_time);
        self.paint(&mut line, DIM, &plain(clock(time)));
        line.push(' ');
        self.paint(&mut line, CYAN, &padded(&event.service_name, SERVICE_CHARS));
        line.push(' ');
        let (word, colour) = severity(event);
        self.paint(&mut line, colour, &padded(&word, SEVERITY_CHARS));
        if let Some(name) = &event.name {
            add(&mut line, format_args!("  {}", plain(name)));
        }
        let body = match &event.body {
            Value::Null => String::new(),
            Value::String(text) => plain(text),
            other => plain(&other.to_string()),
        };
        if !body.is_empty() {
            add(&mut line, format_args!("  {body}"));
        }
        if let Some(trace_id) = &event.trace_id {
            line.push_str("  ");
            self.paint(&mut line, DIM, &plain(trace_id));
        }
        line
    }
}

/// The severity in a word, and its colour.
fn severity(event: &Event) -> (String, &'static str) {
    let (word, colour) = match event.severity_number {
        Some(1..=4) => ("TRACE", DIM),
        Some(5..=8) => ("DEBUG", DIM),
        Some(9..=12) => ("INFO", GREEN),
        Some(13..=16) => ("WARN", YELLOW),
        Some(17..=20) => ("ERROR", RED),
        Some(_) => ("FATAL", RED),
        None => ("-", DIM),
    };
    match &event.severity_text {
        Some(text) if event.severity_number.is_none() => (text.clone(), colour),
        _ => (word.to_owned(), colour),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(change: &Value, is_coloured: bool) -> String {
        let mut event = json!({
            "time": "2026-01-31T12:00:00.123456789Z", "received_time": "2026-01-31T12:00:01.5Z",
            "severity_number": 17, "severity_text": "ERROR", "name": "payment.failed",
            "body": "card\u{1b}[2J declined", "service_name": "shop", "trace_id": "ab",
        });
        for (key, value) in change.as_object().unwrap() {
            event[key] = value.clone();
        }
        let event: Event = serde_json::from_value(event).unwrap();
        Painter { is_coloured }.event(&event)
    }

    #[test]
    fn an_event_is_one_line() {
        let expected =
            "12:00:00.123 shop         ERROR  payment.failed  card\u{fffd}[2J declined  ab";
        assert_eq!(line(&json!({}), false), expected);
        assert!(line(&json!({}), true).contains("\x1b[31mERROR\x1b[0m"));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let bare = json!({"time": null, "severity_number": null, "severity_text": "NOTE",
            "name": null, "body": {"a": 1}, "trace_id": null});
        assert_eq!(
            line(&bare, false),
            "2026-01-31T12:00:01.5Z shop         NOTE   {\"a\":1}"
        );
    }
}
