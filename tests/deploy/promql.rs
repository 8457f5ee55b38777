//! Reads of a PromQL expression what can be held against the table of metrics: which series it
//! selects by which labels, under which function, and what it groups by. It does not check the rest
//! of the grammar; `promtool` does.

use std::collections::BTreeSet;

/// One selected series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Labels of its matchers.
    pub(crate) labels: Vec<String>,
    /// The function or aggregation right around it; empty when there is none.
    pub(crate) within: String,
    /// Whether it has a range.
    pub(crate) is_range: bool,
}

/// What an expression asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) selectors: Vec<Selector>,
    /// Labels of `by`, `without`, `on` and the like.
    pub(crate) grouped_by: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// A number, a duration or the name of a dashboard's variable.
    Literal,
    Text,
    Sign(char),
}

const LABEL_LISTS: &[&str] = &[
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: &[&str] = &["and", "or", "unless", "bool", "offset"];
const FUNCTIONS: &[&str] = &[
    "avg",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "max_over_time",
    "min",
    "predict_linear",
    "rate",
    "resets",
    "sum",
    "vector",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end_of = |accepts: &dyn Fn(char) -> bool| {
            let tail = &rest[first.len_utf8()..];
            first.len_utf8() + tail.find(|c| !accepts(c)).unwrap_or(tail.len())
        };
        let (token, length) = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = end_of(&is_word);
                (Token::Word(rest[..end].to_owned()), end)
            }
            '0'..='9' | '$' => (Token::Literal, end_of(&|c| is_word(c) || c == '.')),
            '"' | '\'' => {
                let tail = &rest[1..];
                let end = tail
                    .find(first)
                    .ok_or_else(|| format!("an open string in {text}"))?;
                if tail[..end].contains('\\') {
                    return Err(format!("an escape in a string in {text}"));
                }
                (Token::Text, end + 2)
            }
            '(' | ')' | '{' | '}' | '[' | ']' | ',' | '=' | '!' | '~' | '<' | '>' | '+' | '-'
            | '*' | '/' | '%' | '^' => (Token::Sign(first), 1),
            other => return Err(format!("{other:?} in {text}")),
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

struct Reader<'text> {
    text: &'text str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// What was before each bracket that is open.
    open: Vec<String>,
    query: Query,
}

/// Reads an expression.
///
/// # Errors
/// What is wrong with it, as far as this reads it.
pub(crate) fn read(text: &str) -> Result<Query, String> {
    let mut reader = Reader {
        text,
        tokens: tokens(text)?.into_iter().peekable(),
        open: Vec::new(),
        query: Query::default(),
    };
    while let Some(token) = reader.tokens.next() {
        match token {
            Token::Word(word) => reader.word(word)?,
            Token::Sign('(') => reader.open.push(String::new()),
            Token::Sign(')') => {
                let opened = reader.open.pop();
                opened.ok_or_else(|| reader.wrong("too many )"))?;
            }
            Token::Sign('{' | '}' | '[' | ']') | Token::Text => {
                return Err(reader.wrong("braces, brackets or text without a metric"));
            }
            Token::Sign(_) | Token::Literal => {}
        }
    }
    if !reader.open.is_empty() {
        return Err(reader.wrong("too few )"));
    }
    Ok(reader.query)
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> String {
        format!("{what} in {}", self.text)
    }

    fn takes(&mut self, sign: char) -> bool {
        self.tokens.next_if_eq(&Token::Sign(sign)).is_some()
    }

    fn word(&mut self, word: String) -> Result<(), String> {
        if OPERATORS.contains(&word.as_str()) {
            return Ok(());
        }
        if LABEL_LISTS.contains(&word.as_str()) {
            return self.label_list();
        }
        if FUNCTIONS.contains(&word.as_str()) {
            // An aggregation may have its labels before its argument.
            if let Some(Token::Word(list)) = self.tokens.peek()
                && ["by", "without"].contains(&list.as_str())
            {
                self.tokens.next();
                self.label_list()?;
            }
            if !self.takes('(') {
                return Err(self.wrong(&format!("{word} without an argument")));
            }
            self.open.push(word);
            return Ok(());
        }
        if self.tokens.peek() == Some(&Token::Sign('(')) {
            return Err(self.wrong(&format!("an unknown function {word}")));
        }
        self.selector(word)
    }

    fn label_list(&mut self) -> Result<(), String> {
        if !self.takes('(') {
            return Err(self.wrong("no labels"));
        }
        loop {
            match self.tokens.next() {
                Some(Token::Word(label)) => {
                    self.query.grouped_by.insert(label);
                }
                Some(Token::Sign(',')) => {}
                Some(Token::Sign(')')) => return Ok(()),
                _ => return Err(self.wrong("a strange list of labels")),
            }
        }
    }

    fn selector(&mut self, metric: String) -> Result<(), String> {
        let mut labels = Vec::new();
        if self.takes('{') {
            while !self.takes('}') {
                let Some(Token::Word(label)) = self.tokens.next() else {
                    return Err(self.wrong("a strange matcher"));
                };
                labels.push(label);
                let mut operator = String::new();
                while let Some(Token::Sign(sign @ ('=' | '!' | '~'))) = self.tokens.peek() {
                    operator.push(*sign);
                    self.tokens.next();
                }
                let is_known = ["=", "!=", "=~", "!~"].contains(&operator.as_str());
                if !is_known || self.tokens.next() != Some(Token::Text) {
                    return Err(self.wrong("a strange matcher"));
                }
                self.takes(',');
            }
        }
        let is_range = self.takes('[');
        if is_range && (self.tokens.next() != Some(Token::Literal) || !self.takes(']')) {
            return Err(self.wrong("a strange range"));
        }
        self.query.selectors.push(Selector {
            metric,
            labels,
            within: self.open.last().cloned().unwrap_or_default(),
            is_range,
        });
        Ok(())
    }
}

#[test]
fn an_expression_is_read_as_it_is_meant() {
    let query = read(
        "histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x=~\"1.+\",y!='2'}[$__range])))\
         > 2 * (b and on(z) c)",
    )
    .unwrap();
    let selector = |metric: &str, labels: &[&str], within: &str, is_range| Selector {
        metric: metric.to_owned(),
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        within: within.to_owned(),
        is_range,
    };
    let expected = [
        selector("a_bucket", &["x", "y"], "rate", true),
        selector("b", &[], "", false),
        selector("c", &[], "", false),
    ];
    assert_eq!(query.selectors, expected);
    let grouped: Vec<_> = query.grouped_by.iter().map(String::as_str).collect();
    assert_eq!(grouped, ["job", "le", "z"]);
}

#[test]
fn what_is_no_expression_is_refused() {
    for wrong in [
        "sum(a",
        "a)",
        "rat(a[5m])",
        "sum a",
        "a{x}",
        "a{x==\"1\"}",
        "a[",
        "{x=\"1\"}",
        "a{x=\"1}",
        "a; b",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
