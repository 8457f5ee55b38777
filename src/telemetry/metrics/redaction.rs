//! Counters of the redaction, one series a rule.

use super::{Counter, Label, Metrics, counter, names};

/// What the redaction counts. Made once, for the rules there are.
#[derive(Clone)]
pub struct RedactionCounters {
    values: Vec<Counter>,
    scanned_bytes: Counter,
}

impl std::fmt::Debug for RedactionCounters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedactionCounters")
            .finish_non_exhaustive()
    }
}

impl RedactionCounters {
    /// A request was redacted: values changed or left out, by rule, and bytes searched.
    pub fn redacted(&self, values: &[u64], scanned_bytes: u64) {
        self.scanned_bytes.increment(scanned_bytes);
        for (counter, values) in self.values.iter().zip(values) {
            counter.increment(*values);
        }
    }
}

impl Metrics {
    /// Makes the counters of rules with these names, of which the configuration bounds the number.
    #[must_use]
    pub fn redaction<'n>(&self, names: impl Iterator<Item = &'n str>) -> RedactionCounters {
        let of_rule = |name: &str| {
            let labels = vec![Label::new("rule", name.to_owned())];
            counter(&self.shared.recorder, names::REDACTION_VALUES, labels)
        };
        RedactionCounters {
            values: names.map(of_rule).collect(),
            scanned_bytes: self.shared.handles.redaction_bytes.clone(),
        }
    }
}
