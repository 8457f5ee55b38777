//! What came of an import, and what could not be imported and why.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::shown;
use super::unit::Bad;

/// Reasons told apart; what is wrong for any other counts as one.
const REASONS_MAX: usize = 50;
/// Items that are named for each reason.
const NAMED: usize = 3;
const OTHER: &str = "other reasons";

/// Counts of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Rows, lines or parts of lines that were read.
    pub items: u64,
    /// Rows or bytes of the source that were read.
    pub read: u64,
    /// Spans that a daemon took, or would be sent to one.
    pub spans: u64,
    /// Spans that could not be imported.
    pub lost: u64,
    pub(super) reasons: BTreeMap<String, Reason>,
}

/// What could not be imported for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reason {
    count: u64,
    first: Vec<String>,
}

impl Report {
    pub(super) fn bad(&mut self, bad: &Bad) {
        self.lost += bad.spans;
        let mut text = shown(&bad.reason);
        if !self.reasons.contains_key(&text) && self.reasons.len() >= REASONS_MAX {
            OTHER.clone_into(&mut text);
        }
        let reason = self.reasons.entry(text).or_default();
        reason.count += bad.spans;
        if reason.first.len() < NAMED {
            reason.first.push(shown(&bad.label));
        }
    }
}

/// What could not be imported, a line for each reason.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, reason) in &self.reasons {
            let more = if reason.count > reason.first.len() as u64 {
                ", …"
            } else {
                ""
            };
            let first = reason.first.join(", ");
            writeln!(
                formatter,
                "  {} × {text}\n      {first}{more}",
                reason.count
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_the_first_are_named() {
        let mut report = Report::default();
        for number in 0..5 {
            report.bad(&Bad::new(&format!("spans {number}"), "status: wrong"));
        }
        report.bad(&Bad::new("spans \x1b[2Jx", "kind: \u{202e}wrong"));
        assert_eq!(report.lost, 6);
        let text = report.to_string();
        assert!(
            text.contains("5 × status: wrong\n      spans 0, spans 1, spans 2, …\n"),
            "{text}"
        );
        assert!(
            text.contains("1 × kind: \u{fffd}wrong\n      spans \u{fffd}[2Jx\n"),
            "{text}"
        );
        for number in 0..1000 {
            report.bad(&Bad::new("x", number.to_string()));
        }
        assert!(report.to_string().lines().count() <= 2 * (REASONS_MAX + 1));
        assert_eq!(report.lost, 1006);
    }
}
