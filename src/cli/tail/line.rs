//! A span as a line for people. Pure.

use std::fmt::{self, Write as _};

use serde::Deserialize;

/// Widths of the columns that are filled up.
pub(super) const SERVICE_CHARS: usize = 12;
const NAME_CHARS: usize = 32;

pub(super) const RED: &str = "\x1b[31m";
pub(super) const GREEN: &str = "\x1b[32m";
pub(super) const YELLOW: &str = "\x1b[33m";
pub(super) const CYAN: &str = "\x1b[36m";
pub(super) const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// What of a span is shown; the API says more.
#[derive(Debug, Deserialize)]
pub(super) struct Span {
    trace_id: String,
    name: String,
    service_name: String,
    start_time: String,
    duration_ns: u64,
    status: Status,
    genai: Option<GenAi>,
    request_model: Option<String>,
    response_model: Option<String>,
    error_type: Option<String>,
    error_kind: Option<String>,
    http_status_code: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Status {
    code: String,
    message: String,
}

#[derive(Debug, Deserialize)]
struct GenAi {
    agent_name: Option<String>,
    tool_name: Option<String>,
    usage: Usage,
    cost: Cost,
}

#[derive(Debug, Deserialize)]
struct Usage {
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Cost {
    total_nano_usd: Option<i64>,
}

/// What went by unseen.
#[derive(Debug, Deserialize)]
pub(super) struct Missed {
    unseen: Option<u64>,
    over_rate: u64,
}

/// Writes lines, in colour or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Painter {
    pub(super) is_coloured: bool,
}

impl Painter {
    pub(super) fn paint(self, line: &mut String, colour: &str, text: &str) {
        if self.is_coloured && !text.is_empty() {
            line.push_str(colour);
            line.push_str(text);
            line.push_str(RESET);
        } else {
            line.push_str(text);
        }
    }

    /// The line of a span: time, service, name, model, how long, tokens, cost, what failed, trace.
    pub(super) fn span(self, span: &Span) -> String {
        let mut line = String::new();
        self.paint(&mut line, DIM, &plain(clock(&span.start_time)));
        line.push(' ');
        self.paint(&mut line, CYAN, &padded(&span.service_name, SERVICE_CHARS));
        line.push(' ');
        let is_error = span.status.code == "error";
        let colour = if is_error { RED } else { GREEN };
        self.paint(&mut line, colour, &padded(&span.name, NAME_CHARS));
        add(
            &mut line,
            format_args!(" {:>9}", duration(span.duration_ns)),
        );
        if let Some(model) = span.response_model.as_ref().or(span.request_model.as_ref()) {
            add(&mut line, format_args!("  {}", plain(model)));
        }
        if let Some(genai) = &span.genai {
            self.genai(&mut line, genai);
        }
        if let Some(code) = span.http_status_code {
            add(&mut line, format_args!("  {code}"));
        }
        if is_error {
            let what = span.error_kind.as_ref().or(span.error_type.as_ref());
            line.push_str("  ");
            self.paint(
                &mut line,
                RED,
                &what.map_or("error".to_owned(), |what| plain(what)),
            );
            if !span.status.message.is_empty() {
                add(&mut line, format_args!(": {}", plain(&span.status.message)));
            }
        }
        line.push_str("  ");
        self.paint(&mut line, DIM, &plain(&span.trace_id));
        line
    }

    fn genai(self, line: &mut String, genai: &GenAi) {
        for name in [&genai.agent_name, &genai.tool_name].into_iter().flatten() {
            add(line, format_args!("  {}", plain(name)));
        }
        let usage = &genai.usage;
        if usage.input_tokens.is_some() || usage.output_tokens.is_some() {
            let number = |tokens: Option<i64>| tokens.map_or("?".to_owned(), |it| it.to_string());
            let (input, output) = (number(usage.input_tokens), number(usage.output_tokens));
            add(line, format_args!("  {input}→{output} tok"));
        }
        if let Some(cost) = genai.cost.total_nano_usd {
            line.push_str("  ");
            self.paint(line, YELLOW, &usd(cost));
        }
    }

    /// What went by.
    pub(super) fn missed(self, missed: &Missed) -> String {
        let mut parts = Vec::new();
        match missed.unseen {
            Some(0) => {}
            Some(count) => parts.push(format!("{count} went by unseen")),
            None => parts.push("some went by unseen, nobody knows how many".to_owned()),
        }
        if missed.over_rate > 0 {
            let count = missed.over_rate;
            parts.push(format!("{count} more matched than --rate allows"));
        }
        let mut line = String::new();
        self.paint(&mut line, YELLOW, &format!("-- {}", parts.join("; ")));
        line
    }
}

/// Adds to a text, which never fails.
pub(super) fn add(line: &mut String, text: fmt::Arguments<'_>) {
    line.write_fmt(text).unwrap_or_default();
}

/// The time of a day, to the millisecond.
pub(super) fn clock(time: &str) -> &str {
    time.get(11..23).unwrap_or(time)
}

/// Whether a character could move the cursor, change colours or turn the line around.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text that does nothing to a terminal, whoever sent it.
pub(super) fn shown(text: &str) -> String {
    let odd = |c| if is_odd(c) { '\u{fffd}' } else { c };
    text.chars().map(odd).collect()
}

/// JSON that does nothing to a terminal: such characters only occur in its strings.
pub(super) fn escaped(json: &str) -> String {
    if !json.contains(is_odd) {
        return json.to_owned();
    }
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match u32::from(c) {
            code if is_odd(c) => add(&mut line, format_args!("\\u{code:04x}")),
            _ => line.push(c),
        }
    }
    line
}

/// The same, of bounded length.
pub(super) fn plain(text: &str) -> String {
    shown(text).chars().take(120).collect()
}

pub(super) fn padded(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() > width {
        let cut: String = text.chars().take(width - 1).collect();
        return format!("{cut}…");
    }
    format!("{text:<width$}")
}

/// At three or four digits.
fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        10_000_000_000..600_000_000_000 => format!("{} s", ns / 1_000_000_000),
        _ => format!("{} min", ns / 60_000_000_000),
    }
}

/// Dollars, to the millionth.
fn usd(nano: i64) -> String {
    let micro = nano.saturating_add(500) / 1_000;
    format!("${}.{:06}", micro / 1_000_000, (micro % 1_000_000).abs())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call() -> Value {
        json!({
            "trace_id": "ab", "name": "chat gpt-4o", "service_name": "support",
            "start_time": "2026-01-31T12:00:00.123456789Z", "duration_ns": 1_250_000_000,
            "status": {"code": "unset", "message": ""},
            "genai": {
                "agent_name": "planner", "tool_name": null,
                "usage": {"input_tokens": 412, "output_tokens": null},
                "cost": {"total_nano_usd": 3_100_499},
            },
            "request_model": "gpt-4o", "response_model": "gpt-4o-2024-08-06",
            "error_type": null, "error_kind": null, "http_status_code": null,
        })
    }

    fn line(span: Value, is_coloured: bool) -> String {
        let span: Span = serde_json::from_value(span).unwrap();
        Painter { is_coloured }.span(&span)
    }

    #[test]
    fn a_call_is_one_line() {
        let expected = "12:00:00.123 support      chat gpt-4o                        1250 ms  \
            gpt-4o-2024-08-06  planner  412→? tok  $0.003100  ab";
        assert_eq!(line(call(), false), expected);
        let coloured = line(call(), true);
        assert!(coloured.contains("\x1b[32mchat gpt-4o"), "{coloured:?}");
    }

    #[test]
    fn a_failure_says_what_failed() {
        let mut failed = call();
        failed["status"] = json!({"code": "error", "message": "slow\u{1b}[2Jdown"});
        failed["error_kind"] = json!("rate_limit");
        let line = line(failed, false);
        assert!(line.contains("rate_limit: slow\u{fffd}[2Jdown"), "{line:?}");
    }

    #[test]
    fn json_keeps_its_meaning_without_odd_characters() {
        let json = "{\"name\":\"a\u{9b}2J\u{202e}b\"}";
        let line = escaped(json);
        assert_eq!(line, r#"{"name":"a\u009b2J\u202eb"}"#);
        let same: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(same["name"], "a\u{9b}2J\u{202e}b");
        assert_eq!(escaped("{}"), "{}");
    }

    #[test]
    fn what_went_by_is_counted() {
        let painter = Painter { is_coloured: false };
        let missed = |unseen, over_rate| painter.missed(&Missed { unseen, over_rate });
        assert_eq!(missed(Some(3), 0), "-- 3 went by unseen");
        assert!(missed(None, 2).ends_with("; 2 more matched than --rate allows"));
    }

    #[test]
    fn durations_and_costs_are_short() {
        let said = [999, 1_500, 20_000_000, 12_000_000_000, 660_000_000_000].map(duration);
        assert_eq!(said, ["999 ns", "1 µs", "20 ms", "12 s", "11 min"]);
        assert_eq!(
            (usd(0), usd(1_234_567_890)),
            ("$0.000000".into(), "$1.234568".into())
        );
        assert_eq!(padded("much-too-long", 8), "much-to…");
    }
}
