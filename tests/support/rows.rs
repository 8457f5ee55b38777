//! Tables of requests and the answers that a contract promises. A table is asked row by row, and
//! tells of all rows that are not kept at once.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{self, Response};

/// A request and its answer; the rule says what it shows.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    rule: String,
    method: &'static str,
    path: String,
    body: String,
    /// Headers beside the table's, in place of those with the same name; `None` takes one away.
    headers: Vec<(String, Option<String>)>,
    status: u16,
    expected: Expected,
    told: Vec<(&'static str, Option<String>)>,
}

/// What is said of a body.
#[derive(Debug, Clone)]
enum Expected {
    Anything,
    Text(String),
    Start(String),
    /// Members by JSON pointers.
    Members(Vec<(String, Value)>),
}

pub(crate) fn ask(method: &'static str, rule: impl Into<String>, path: impl Into<String>) -> Row {
    Row {
        rule: rule.into(),
        method,
        path: path.into(),
        body: String::new(),
        headers: Vec::new(),
        status: 200,
        expected: Expected::Anything,
        told: Vec::new(),
    }
}

pub(crate) fn get(rule: impl Into<String>, path: impl Into<String>) -> Row {
    ask("GET", rule, path)
}

pub(crate) fn post(
    rule: impl Into<String>,
    path: impl Into<String>,
    body: impl Into<String>,
) -> Row {
    ask("POST", rule, path).body(body)
}

impl Row {
    pub(crate) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.push((name.to_owned(), None));
        self
    }

    /// The answer has this status, and any body.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The answer is this, to the byte.
    pub(crate) fn is(mut self, status: u16, text: impl Into<String>) -> Self {
        self.expected = Expected::Text(text.into());
        self.status(status)
    }

    pub(crate) fn starts(mut self, status: u16, text: impl Into<String>) -> Self {
        self.expected = Expected::Start(text.into());
        self.status(status)
    }

    /// The answer is 200 and has a member, named by a JSON pointer.
    pub(crate) fn has(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let member = (pointer.to_owned(), value.into());
        match &mut self.expected {
            Expected::Members(members) => members.push(member),
            other => *other = Expected::Members(vec![member]),
        }
        self
    }

    /// The answer has a header.
    pub(crate) fn tells(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.told.push((name, Some(value.into())));
        self
    }

    /// The answer has no such header.
    pub(crate) fn hides(mut self, name: &'static str) -> Self {
        self.told.push((name, None));
        self
    }
}

/// Where rows are asked, with what they have in common.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    address: SocketAddr,
    headers: Vec<(String, String)>,
    content_type: &'static str,
}

impl Table {
    /// Of answers that are JSON of this type, where a row says nothing else.
    pub(crate) fn new(address: SocketAddr, content_type: &'static str) -> Self {
        Self {
            address,
            headers: vec![("host".to_owned(), address.to_string())],
            content_type,
        }
    }

    /// With a header that all rows send.
    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut table = self.clone();
        table.headers.retain(|(known, _)| known != name);
        table.headers.push((name.to_owned(), value.into()));
        table
    }

    /// A header that all rows send.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Asks one row, and answers what it got, whatever that is.
    pub(crate) fn ask(&self, row: &Row) -> Response {
        let mut headers = self.headers.clone();
        for (name, value) in &row.headers {
            headers.retain(|(known, _)| known != name);
            headers.extend(value.iter().map(|value| (name.clone(), value.clone())));
        }
        let mut head = format!(
            "{} {} HTTP/1.1\r\nconnection: close\r\n",
            row.method, row.path
        );
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "content-length: {}\r\n\r\n", row.body.len()).unwrap();
        http::converse(
            self.address,
            head.as_bytes(),
            row.body.as_bytes(),
            row.method,
        )
        .unwrap_or_else(|error| panic!("{}: {} {}: {error}", row.rule, row.method, row.path))
    }

    /// Asks one row, which must be kept.
    pub(crate) fn kept(&self, row: &Row) -> Response {
        let answer = self.ask(row);
        if let Some(wrong) = self.wrong(row, &answer) {
            panic!("{wrong}");
        }
        answer
    }

    /// Asks all rows in their order, which must all be kept.
    pub(crate) fn check(&self, rows: impl IntoIterator<Item = Row>) {
        let wrong: Vec<_> = rows
            .into_iter()
            .filter_map(|row| self.wrong(&row, &self.ask(&row)))
            .collect();
        assert!(
            wrong.is_empty(),
            "{} rows:\n\n{}",
            wrong.len(),
            wrong.join("\n\n")
        );
    }

    /// What is wrong with the answer of a row.
    fn wrong(&self, row: &Row, answer: &Response) -> Option<String> {
        let text = answer.text();
        let mut wrong = String::new();
        let mut say = |what: &str, expected: &str, found: &str| {
            writeln!(wrong, "  {what}: {expected}\n  found: {found}").unwrap();
        };
        if answer.status != row.status {
            say(
                "status",
                &row.status.to_string(),
                &format!("{} {text}", answer.status),
            );
        }
        match &row.expected {
            Expected::Text(expected) if *expected != text => say("body", expected, &text),
            Expected::Start(start) if !text.starts_with(start) => say("starts", start, &text),
            Expected::Members(members) => {
                let json: Value = serde_json::from_str(&text).unwrap_or_default();
                for (pointer, value) in members {
                    let found = json.pointer(pointer);
                    if found != Some(value) {
                        let found = found.map_or(text.clone(), Value::to_string);
                        say(pointer, &value.to_string(), &found);
                    }
                }
            }
            _ => {}
        }
        let mut told = row.told.clone();
        let is_json = serde_json::from_str::<Value>(&text).is_ok();
        if is_json && !told.iter().any(|(name, _)| *name == "content-type") {
            told.push(("content-type", Some(self.content_type.to_owned())));
        }
        if is_json {
            told.push(("content-length", Some(text.len().to_string())));
        }
        for (name, value) in told {
            if answer.header(name) != value.as_deref() {
                say(
                    name,
                    &format!("{value:?}"),
                    &format!("{:?}", answer.header(name)),
                );
            }
        }
        let head = format!("{}\n  {} {}\n", row.rule, row.method, row.path);
        (!wrong.is_empty()).then(|| head + &wrong)
    }
}
