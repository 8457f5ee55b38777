//! How models are named, and how the table names them.

use std::borrow::Cow;

/// A way to name a model. Texts are lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Equals(&'static str),
    Starts(&'static str),
    Ends(&'static str),
    Contains(&'static str),
    /// Equals without a date at the end.
    Undated(&'static str),
    /// Starts with it, followed by a digit.
    Numbered(&'static str),
    Lacks(&'static str),
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative(Vec<Condition>);

impl Condition {
    fn parse(text: &'static str) -> Option<Self> {
        let mut characters = text.chars();
        let kind = characters.next()?;
        let name = characters.as_str();
        Some(match kind {
            '=' => Self::Equals(name),
            '^' => Self::Starts(name),
            '$' => Self::Ends(name),
            '*' => Self::Contains(name),
            '#' => Self::Undated(name),
            '%' => Self::Numbered(name),
            '!' => Self::Lacks(name),
            _ => return None,
        })
    }

    fn holds(self, name: &str) -> bool {
        match self {
            Self::Equals(text) => name == text,
            Self::Starts(text) => name.starts_with(text),
            Self::Ends(text) => name.ends_with(text),
            Self::Contains(text) => name.contains(text),
            Self::Undated(text) => without_date(name) == text,
            Self::Numbered(text) => name
                .strip_prefix(text)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())),
            Self::Lacks(text) => !name.contains(text),
        }
    }
}

impl Alternative {
    /// Reads one or several conditions; `None` when one is malformed.
    pub(super) fn parse(conditions: &[&'static str]) -> Option<Self> {
        let parsed: Option<Vec<_>> = conditions
            .iter()
            .map(|text| Condition::parse(text))
            .collect();
        parsed.filter(|all| !all.is_empty()).map(Self)
    }

    fn holds(&self, name: &str) -> bool {
        self.0.iter().all(|condition| condition.holds(name))
    }
}

/// Whether any of the alternatives holds for a name in lower case.
pub(super) fn is_named(alternatives: &[Alternative], name: &str) -> bool {
    alternatives.iter().any(|one| one.holds(name))
}

/// The name to look up: lower case, without resource path and `models/`.
pub(super) fn reference(model: &str) -> String {
    let mut name = model.trim();
    if ["arn:", "projects/", "publishers/"]
        .iter()
        .any(|head| name.starts_with(head))
    {
        name = name.rsplit('/').next().unwrap_or(name);
    }
    name = name.strip_prefix("models/").unwrap_or(name);
    name.to_ascii_lowercase()
}

/// A name without a date at its end: `-20250929`, `-2025-09-29` or `@20250929`.
#[must_use]
pub fn without_date(name: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((head, tail)) = name.split_at_checked(name.len().saturating_sub(9))
        && let Some(date) = tail.strip_prefix(['-', '@'])
        && date.starts_with("20")
        && digits(date)
    {
        return head;
    }
    if let Some((head, tail)) = name.split_at_checked(name.len().saturating_sub(11))
        && let Some(date) = tail.strip_prefix('-')
        && let [year, month, day] = *date.split('-').collect::<Vec<_>>()
        && year.starts_with("20")
        && [(year, 4), (month, 2), (day, 2)]
            .iter()
            .all(|(part, length)| part.len() == *length && digits(part))
    {
        return head;
    }
    name
}

/// The name with a compact date at its end written with dashes, as some tables have it.
pub(super) fn dashed_date(name: &str) -> Option<String> {
    let head = without_date(name);
    let date = name.get(head.len()..)?.strip_prefix('-')?;
    let (year, rest) = date.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    (rest.len() == 4).then(|| format!("{head}-{year}-{month}-{day}"))
}

/// The id in the table of a provider, by its canonical name or by the prefix that routers put
/// before models.
pub(super) fn provider_id(provider: &str) -> Cow<'_, str> {
    match provider {
        "azure.ai.openai" | "azure.ai.inference" | "azure_ai" => "azure".into(),
        "aws.bedrock" | "bedrock" => "aws".into(),
        "gcp.gemini" | "gcp.vertex_ai" | "gcp.gen_ai" | "gemini" | "vertex_ai" | "googleai"
        | "vertexai" => "google".into(),
        "mistral_ai" => "mistral".into(),
        "xai" => "x-ai".into(),
        "moonshot_ai" => "moonshotai".into(),
        "together_ai" => "together".into(),
        "fireworks_ai" => "fireworks".into(),
        other if other.contains('_') => other.replace('_', "-").into(),
        other => other.into(),
    }
}
