//! Query parameters of the older routes. Pure.

use super::answer::Refused;
use super::dates;
use crate::receivers::pulse::issue::{self, Place};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;

/// Items of a page when the client does not say.
const LIMIT_DEFAULT: f64 = 100.0;
/// Items of a page at most.
const LIMIT_MAX: f64 = 1000.0;

/// Parameters with a NUL that are told of at most.
const NULS_TOLD: usize = 10;

/// The parameters of a request; of those given more than once the first counts, and those that are
/// not asked for are ignored. What is wrong is collected in the order of asking.
#[derive(Debug, Default)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    issues: Vec<Json>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) limit: usize,
    pub(super) offset: usize,
}

/// Bounds of time, both included, ns since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dates {
    pub(super) from: Option<i128>,
    pub(super) to: Option<i128>,
}

impl Query {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Self {
        // Postgres has no texts with a NUL in them.
        let has_nul =
            |(name, value): &&(String, String)| name.contains('\0') || value.contains('\0');
        let bad = pairs.iter().filter(has_nul).take(NULS_TOLD);
        let issues = bad.map(|(name, _)| issue::nul(named(name))).collect();
        Self { pairs, issues }
    }

    fn given(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Any text; an empty one filters nothing.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = self.given(name).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    }

    /// A UUID.
    pub(super) fn uuid(&mut self, name: &str) -> Option<String> {
        let text = self.given(name)?.to_owned();
        if !scalar::is_uuid(&text) {
            self.issues.push(issue::not_a_uuid(named(name)));
        }
        Some(text)
    }

    /// One of a few words.
    pub(super) fn one_of(&mut self, name: &str, allowed: &[&str]) -> Option<String> {
        let text = self.given(name)?.to_owned();
        if !allowed.contains(&text.as_str()) {
            self.issues.push(issue::not_one_of(allowed, named(name)));
        }
        Some(text)
    }

    /// A time that must be given, with a zone, ns since the Unix epoch.
    pub(super) fn datetime(&mut self, name: &str) -> i128 {
        let Some(text) = self.given(name) else {
            self.issues
                .push(issue::wrong_type("string", None, named(name)));
            return 0;
        };
        let time = scalar::datetime(text);
        if time.is_none() {
            self.issues.push(issue::not_a_datetime(named(name)));
        }
        time.unwrap_or_default()
    }

    /// `limit` and `offset`.
    pub(super) fn window(&mut self) -> Window {
        let limit = self.whole("limit", LIMIT_DEFAULT, 1.0, Some(LIMIT_MAX));
        let offset = self.whole("offset", 0.0, 0.0, None);
        Window {
            limit: size(limit),
            offset: size(offset),
        }
    }

    fn whole(&mut self, name: &str, default: f64, min: f64, max: Option<f64>) -> f64 {
        let Some(text) = self.given(name) else {
            return default;
        };
        let place = named(name);
        let number = number(text);
        if !number.is_finite() {
            let received = if number.is_nan() { "NaN" } else { "Infinity" };
            self.issues.push(issue::not_a_number(received, place));
            return default;
        }
        let mut issues = issue::integer(number, min, place);
        if let Some(max) = max.filter(|max| number > *max && number.fract() == 0.0) {
            issues.push(issue::too_big(max, place));
        }
        self.issues.extend(issues);
        number
    }

    /// The end of all checks but those of dates.
    pub(super) fn checked(&mut self) -> Result<(), Refused> {
        if self.issues.is_empty() {
            return Ok(());
        }
        let issues = std::mem::take(&mut self.issues);
        Err(Refused::invalid("Invalid query parameters", issues))
    }

    /// `date_from` and `date_to`, in any form that a date may have.
    pub(super) fn dates(&self) -> Result<Dates, Refused> {
        let date = |name: &str, is_end| match self.given(name) {
            None => Ok(None),
            Some(text) => match dates::read(text, is_end) {
                Some(time) => Ok(Some(time)),
                None => Err(Refused::bad(&format!("Invalid {name} parameter"))),
            },
        };
        Ok(Dates {
            from: date("date_from", false)?,
            to: date("date_to", true)?,
        })
    }
}

fn named(name: &str) -> Place<'_> {
    Place {
        index: None,
        name: Some(name),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "stops at the bounds of the type"
)]
fn size(number: f64) -> usize {
    number as usize
}

/// A number as JavaScript's `Number` reads it.
fn number(text: &str) -> f64 {
    let text = text.trim();
    let radix = |digits: &str, radix| {
        let number = u64::from_str_radix(digits, radix).ok();
        #[expect(clippy::cast_precision_loss, reason = "numbers are doubles there")]
        number.map_or(f64::NAN, |number| number as f64)
    };
    match text.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => return radix(text.get(2..).unwrap_or_default(), 16),
        Some("0o") => return radix(text.get(2..).unwrap_or_default(), 8),
        Some("0b") => return radix(text.get(2..).unwrap_or_default(), 2),
        _ => {}
    }
    match text {
        "" => 0.0,
        "Infinity" | "+Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ if text
            .chars()
            .all(|it| it.is_ascii_digit() || "+-.eE".contains(it)) =>
        {
            text.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Query::new(pairs.collect())
    }

    fn window(pairs: &[(&str, &str)]) -> Result<(usize, usize), String> {
        let mut query = query(pairs);
        let window = query.window();
        match query.checked() {
            Ok(()) => Ok((window.limit, window.offset)),
            Err(refused) => Err(refused.body().to_owned()),
        }
    }

    #[test]
    fn pages_are_read_as_javascript_reads_numbers() {
        assert_eq!(window(&[]), Ok((100, 0)));
        assert_eq!(window(&[("limit", " 5"), ("offset", "")]), Ok((5, 0)));
        assert_eq!(
            window(&[("limit", "0x2"), ("limit", "x"), ("offset", "1e2")]),
            Ok((2, 100))
        );
        for (limit, issue) in [
            (
                "abc",
                r#"{"expected":"number","code":"invalid_type","received":"NaN","path":["limit"],"message":"Invalid input: expected number, received NaN"}"#,
            ),
            (
                "2.5",
                r#"{"expected":"int","format":"safeint","code":"invalid_type","path":["limit"],"message":"Invalid input: expected int, received number"}"#,
            ),
            (
                "",
                r#"{"origin":"number","code":"too_small","minimum":1,"inclusive":true,"path":["limit"],"message":"Too small: expected number to be >=1"}"#,
            ),
            (
                "1001",
                r#"{"origin":"number","code":"too_big","maximum":1000,"inclusive":true,"path":["limit"],"message":"Too big: expected number to be <=1000"}"#,
            ),
        ] {
            let body = format!(r#"{{"error":"Invalid query parameters","details":[{issue}]}}"#);
            assert_eq!(window(&[("limit", limit)]), Err(body));
        }
        assert!(window(&[("offset", "-1")]).is_err());
    }

    #[test]
    fn a_nul_is_told_of_where_it_is() {
        let refused = query(&[("service", "a"), ("model", "a\0")]).checked();
        assert_eq!(
            refused.unwrap_err().body(),
            r#"{"error":"Invalid query parameters","details":[{"origin":"string","code":"invalid_format","format":"regex","pattern":"/^[^\\0]*$/","path":["model"],"message":"Invalid string: must not have a NUL"}]}"#
        );
    }

    #[test]
    fn dates_that_can_not_be_read_are_named() {
        let refused = query(&[("date_to", "soon")]).dates().unwrap_err();
        assert_eq!(refused.body(), r#"{"error":"Invalid date_to parameter"}"#);
        let empty = query(&[("date_from", "")]).dates().unwrap_err();
        assert_eq!(empty.body(), r#"{"error":"Invalid date_from parameter"}"#);
    }
}
