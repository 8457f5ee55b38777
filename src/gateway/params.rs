//! Query parameters: typed, all checked before a query runs, all wrong ones named at once.
//!
//! Every route lists the parameters it knows. An unknown one is an error that names the nearest
//! known one, because a misspelled filter that is ignored gives a wrong answer without a sign.

#[cfg(test)]
mod tests;
mod value;
mod words;

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::Shared;
use super::caller;
use super::cursor::Binding;
use super::problem::{Code, FieldError, Problem};
use super::routes::Route;
use crate::model::ids::ParseIdError;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::query::AttributeEquals;
use crate::storage::{PageRequest, StatusFilter, TimeRange};

/// Longest query string.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Most parameters.
const PARAMETERS_MAX: usize = 64;
/// Most attribute filters.
const ATTRIBUTES_MAX: usize = 16;
/// Items of a page when the client does not say.
pub(super) const PAGE_SIZE_DEFAULT: u32 = 50;
/// How the family of attribute filters is listed.
pub(super) const ATTRIBUTE: &str = "attr.<key>";
const ATTRIBUTE_PREFIX: &str = "attr.";
/// Parameters that may change from page to page: they don't choose what is in the list.
const UNBOUND: [&str; 4] = ["cursor", "limit", "format", "timeout"];
/// Parameters that may be given more than once.
const REPEATED: [&str; 2] = ["in", "kind"];

/// The parameters of one request. Each is taken by its name; what is wrong is collected until
/// [`Params::finish`].
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    wrong: Vec<FieldError>,
    binding: Binding,
}

impl FromRequestParts<Arc<Shared>> for Params {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        let project = caller::project(parts);
        let known = parts
            .extensions
            .get::<&'static Route>()
            .map_or(&[] as &[_], |route| route.parameters);
        let query_bytes = parts.uri.query().map_or(0, str::len);
        if query_bytes > QUERY_BYTES_MAX {
            let detail = format!("a query string has at most {QUERY_BYTES_MAX} bytes");
            return Err(Problem::new(Code::QueryTooLong, detail));
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Problem::new(Code::InvalidParameter, "the query string is malformed"))?;
        Self::asked(state, pairs, known, project, parts.uri.path()).await
    }
}

impl Params {
    /// The parameters of a question at a path, which knows these names.
    ///
    /// # Errors
    /// There are too many, or the store can't be asked for the key of cursors.
    pub(super) async fn asked(
        shared: &Shared,
        pairs: Vec<(String, String)>,
        known: &[&str],
        project: ProjectId,
        path: &str,
    ) -> Result<Self, Problem> {
        if pairs.len() > PARAMETERS_MAX {
            let detail = format!("a query has at most {PARAMETERS_MAX} parameters");
            return Err(Problem::new(Code::QueryTooLong, detail));
        }
        if pairs.iter().any(|(name, _)| name == "cursor") {
            shared.reader.load_cursor_key().await?;
        }
        Ok(Self::new(pairs, known, project, path))
    }

    fn new(pairs: Vec<(String, String)>, known: &[&str], project: ProjectId, path: &str) -> Self {
        let filters: Vec<_> = pairs
            .iter()
            .filter(|(name, _)| !UNBOUND.contains(&name.as_str()))
            .cloned()
            .collect();
        let mut params = Self {
            pairs,
            wrong: Vec::new(),
            binding: Binding::new(project, path, &filters),
        };
        params.check_names(known);
        params
    }

    fn check_names(&mut self, known: &[&str]) {
        let mut seen: Vec<&str> = Vec::new();
        for (name, _) in &self.pairs {
            let is_attribute = name.starts_with(ATTRIBUTE_PREFIX);
            if is_attribute && known.contains(&ATTRIBUTE) {
                continue;
            }
            let message = if is_attribute || !known.contains(&name.as_str()) {
                match value::nearest(name, known) {
                    Some(nearest) => format!("unknown parameter; did you mean {nearest}?"),
                    None => "unknown parameter".to_owned(),
                }
            } else if seen.contains(&name.as_str()) && !REPEATED.contains(&name.as_str()) {
                "given more than once".to_owned()
            } else {
                seen.push(name);
                continue;
            };
            self.wrong.push(FieldError {
                path: value::shorten(name),
                message,
            });
        }
    }

    /// Notes that a parameter, or a part of the path, is wrong.
    pub(super) fn reject(&mut self, name: &str, message: impl Into<String>) {
        self.wrong.push(FieldError {
            path: name.to_owned(),
            message: message.into(),
        });
    }

    /// A parameter as text; empty text is wrong.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let (_, text) = self.pairs.iter().find(|(key, _)| key == name)?;
        if text.is_empty() {
            self.reject(name, "is empty");
            return None;
        }
        if text.contains('\0') {
            self.reject(name, "holds the character U+0000");
            return None;
        }
        Some(text.clone())
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.reject(name, message);
                None
            }
        }
    }

    /// A time, ns.
    pub(super) fn time(&mut self, name: &str) -> Option<u64> {
        self.parsed(name, value::time)
    }

    /// Whether a parameter is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// `start` and `end`.
    pub(super) fn range(&mut self) -> TimeRange {
        let range = TimeRange {
            start_unix_nano: self.parsed("start", value::time),
            end_unix_nano: self.parsed("end", value::time),
        };
        if let (Some(start), Some(end)) = (range.start_unix_nano, range.end_unix_nano)
            && start > end
        {
            self.reject("end", "is before start");
        }
        range
    }

    /// `min_duration` and `max_duration`, ns.
    pub(super) fn durations(&mut self) -> (Option<u64>, Option<u64>) {
        let min = self.parsed("min_duration", value::duration);
        let max = self.parsed("max_duration", value::duration);
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            self.reject("max_duration", "is less than min_duration");
        }
        (min, max)
    }

    /// `status`.
    pub(super) fn status(&mut self) -> Option<StatusFilter> {
        self.parsed("status", |text| match text {
            "error" => Ok(StatusFilter::Error),
            "ok" => Ok(StatusFilter::Ok),
            _ => Err("expected error or ok".to_owned()),
        })
    }

    /// `min_tokens`.
    pub(super) fn tokens_min(&mut self) -> Option<i64> {
        self.parsed("min_tokens", value::count)
    }

    /// `min_cost`, nano-USD.
    pub(super) fn cost_min_nano_usd(&mut self) -> Option<i64> {
        self.parsed("min_cost", value::usd)
    }

    /// `trace_id`.
    pub(super) fn trace_id(&mut self) -> Option<TraceId> {
        self.parsed("trace_id", |text| {
            text.parse().map_err(|error| format!("{error}"))
        })
    }

    /// `span_id`.
    pub(super) fn span_id(&mut self) -> Option<SpanId> {
        self.parsed("span_id", |text| {
            text.parse().map_err(|error| format!("{error}"))
        })
    }

    /// `min_severity`: a number from 1 to 24, or the name of a range of them.
    pub(super) fn severity_min(&mut self) -> Option<u8> {
        self.parsed("min_severity", value::severity)
    }

    /// An id that is a segment of the path.
    pub(super) fn path_id<T: FromStr<Err = ParseIdError>>(
        &mut self,
        name: &str,
        text: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                self.reject(name, error.to_string());
                None
            }
        }
    }

    /// `attr.<key>=<value>`, any number of times.
    pub(super) fn attributes(&mut self) -> Vec<AttributeEquals> {
        let mut attributes = Vec::new();
        for (name, value) in &self.pairs {
            let Some(key) = name.strip_prefix(ATTRIBUTE_PREFIX) else {
                continue;
            };
            if key.is_empty() {
                self.wrong.push(FieldError {
                    path: name.clone(),
                    message: "has no attribute key".to_owned(),
                });
            } else {
                attributes.push(AttributeEquals {
                    key: key.to_owned(),
                    value: value.clone(),
                    or_absent: false,
                });
            }
        }
        if attributes.len() > ATTRIBUTES_MAX {
            let message = format!("at most {ATTRIBUTES_MAX} attributes can be filtered by");
            self.reject(ATTRIBUTE, message);
        }
        attributes
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("expected {}", words.join(" or "))
            })
        })
    }

    /// Several of a few words, separated by commas, each at most once; `None` when not given.
    pub(super) fn choices<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<Vec<T>> {
        self.parsed(name, |text| {
            let mut seen = Vec::new();
            let chosen = text.split(',').map(|given| {
                let given = given.trim();
                if seen.contains(&given) {
                    return Err(format!("{} is given more than once", value::shorten(given)));
                }
                seen.push(given);
                let found = words.iter().find(|(word, _)| *word == given);
                found.map(|(_, value)| *value).ok_or_else(|| {
                    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                    format!("expected {}, separated by commas", words.join(" or "))
                })
            });
            chosen.collect()
        })
    }

    /// `step`, in whole minutes.
    pub(super) fn step(&mut self) -> Option<u32> {
        self.parsed("step", value::whole_minutes)
    }

    /// A number from one to `max`.
    pub(super) fn whole(&mut self, name: &str, default: u32, max: u32) -> u32 {
        let given = self.parsed(name, |text| value::limit(text, max));
        given.unwrap_or(default)
    }

    /// `limit`.
    pub(super) fn limit(&mut self, default: u32, max: u32) -> usize {
        let limit = self.whole("limit", default.min(max), max);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// `limit` and `cursor`, and the end of all checks.
    pub(super) fn finish_page(
        mut self,
        shared: &Shared,
        limit_default: u32,
        limit_max: u32,
    ) -> Result<(PageRequest, Binding), Problem> {
        let limit = self.limit(limit_default, limit_max);
        let cursor = self.text("cursor");
        let binding = self.binding;
        self.finish()?;
        let after = match cursor {
            None => None,
            Some(text) => {
                let opened = shared.cursors().open(&binding, &text);
                Some(opened.ok_or_else(invalid_cursor)?)
            }
        };
        Ok((PageRequest { limit, after }, binding))
    }

    /// Answers everything that was wrong.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.wrong.is_empty() {
            Ok(())
        } else {
            Err(Problem::fields(Code::InvalidParameter, self.wrong))
        }
    }
}

pub(super) fn invalid_cursor() -> Problem {
    Problem::fields(
        Code::InvalidCursor,
        vec![FieldError {
            path: "cursor".to_owned(),
            message: "was not given out for this list with these filters".to_owned(),
        }],
    )
}
