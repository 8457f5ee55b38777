//! Consistent probability sampling, after OpenTelemetry's "TraceState: Probability Sampling": a trace
//! has 56 random bits, a sampler rejects what is below its threshold. So all that decide by a
//! percentage keep traces that are subsets of one another, here and elsewhere.

use crate::model::TraceId;

/// Random bits of a trace.
const BITS: u32 = 56;
/// Hexadecimal digits of as many bits.
const DIGITS: usize = 14;

/// What is below it is not kept: of 2^56 traces, this many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// The threshold that keeps so many percent; what is out of 0 to 100 counts as the bound.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 2^56"
    )]
    pub fn of_percentage(percentage: f64) -> Self {
        let rejected = 1.0 - percentage.clamp(0.0, 100.0) / 100.0;
        Self((rejected * (1_u64 << BITS) as f64).round() as u64)
    }
}

/// What is random about a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Randomness(u64);

impl Randomness {
    /// Of a span: `rv` of its trace state, else the end of its trace id.
    ///
    /// The threshold in a trace state (`th`) is not looked at: a span that was sampled before by it
    /// is not below it, so what our own threshold keeps, the higher of both keeps. (One that is
    /// below it was not sampled by it, and the specification has it ignored.)
    #[must_use]
    pub fn of(trace_id: TraceId, trace_state: &str) -> Self {
        let mut members = trace_state.split(',').map(str::trim);
        let ours = members.find_map(|member| member.strip_prefix("ot="));
        let mut parts = ours.unwrap_or_default().split(';');
        let said = parts.find_map(|part| part.strip_prefix("rv:"));
        Self(
            said.and_then(hexadecimal)
                .unwrap_or_else(|| of_trace_id(trace_id)),
        )
    }

    /// Whether a sampler with this threshold keeps the trace.
    #[must_use]
    pub const fn is_kept_by(self, threshold: Threshold) -> bool {
        self.0 >= threshold.0
    }
}

fn of_trace_id(TraceId(bytes): TraceId) -> u64 {
    let low = bytes.last_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(low) & ((1 << BITS) - 1)
}

/// A value of all 56 bits.
fn hexadecimal(digits: &str) -> Option<u64> {
    let is_whole = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_whole
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trace(low: u64) -> TraceId {
        let mut id = [0xAB; 16];
        id[8..].copy_from_slice(&low.to_be_bytes());
        TraceId(id)
    }

    #[test]
    fn thresholds_are_those_of_the_specification() {
        let of = |percentage| Threshold::of_percentage(percentage).0;
        assert_eq!(of(100.0), 0);
        assert_eq!(of(50.0), 0x80_0000_0000_0000);
        assert_eq!(of(25.0), 0xc0_0000_0000_0000);
        assert_eq!(of(0.0), 1 << 56);
        // "1% … with 5 digits of precision … 0xfd70a400000000".
        let one = of(1.0);
        assert_eq!((one + (1 << 31)) >> 32 << 32, 0xfd_70a4_0000_0000);
    }

    #[test]
    fn randomness_is_the_end_of_the_trace_id_unless_it_is_said() {
        let of = |state: &str| Randomness::of(trace(0x129b_8233_f7e3_a151), state);
        for state in [
            "",
            "congo=t61rcWkgMzE",
            "ot=p:8;r:62",
            "ot=th:0",
            "ot=rv:9b8233f7e3a15",
            "ot=rv:9b8233f7e3a15g",
            "tenant@ot=rv:00000000000000",
        ] {
            assert_eq!(of(state).0, 0x9b_8233_f7e3_a151, "{state}");
        }
        for state in [
            "ot=rv:6e6d1a75832a2f",
            "congo=t, ot=th:0;rv:6E6d1a75832a2f",
            "ot=foo:bar;rv:6e6d1a75832a2f,congo=t",
        ] {
            assert_eq!(of(state).0, 0x6e_6d1a_7583_2a2f, "{state}");
        }
    }

    // Scenario: spans that were sampled before, with a threshold that fits and one that can't be.
    // Guarantees: the higher threshold counts; one that would have rejected the span is ignored.
    #[test]
    fn what_was_sampled_before_is_sampled_further() {
        let all = Threshold::of_percentage(100.0);
        let half = Threshold::of_percentage(50.0);
        let quarter = Threshold::of_percentage(25.0);
        let kept =
            |state: &str, by| Randomness::of(trace(0xa0_0000_0000_0000), state).is_kept_by(by);
        assert!(kept("ot=th:8", half) && kept("", half));
        assert!(kept("ot=th:8", all));
        assert!(!kept("ot=th:8", quarter) && !kept("", quarter));
        // Its randomness is below 75 %: whoever sent it did not sample by it.
        assert!(kept("ot=th:c", half) && kept("ot=th:c", all));
        assert!(!kept("ot=rv:6e6d1a75832a2f", half));
        assert!(kept("ot=rv:c0000000000000;th:c", quarter));
    }

    proptest! {
        // Scenario: any trace, any two percentages, any trace state.
        // Guarantees: what the smaller keeps the larger keeps; 100 keeps all, 0 nothing.
        #[test]
        fn more_percent_keep_all_that_fewer_keep(
            low: u64, one in 0.0..100.0_f64, other in 0.0..100.0_f64,
            state in "(ot=)?(rv:[0-9a-f]{14};?)?(th:[0-9a-f]{1,14})?",
        ) {
            let randomness = Randomness::of(trace(low), &state);
            let kept = |percentage| randomness.is_kept_by(Threshold::of_percentage(percentage));
            prop_assert!(!kept(one.min(other)) || kept(one.max(other)));
            prop_assert!(kept(100.0));
            prop_assert!(!kept(0.0));
            // All spans of a trace fare alike.
            prop_assert_eq!(Randomness::of(trace(low), &state), randomness);
        }
    }

    #[test]
    fn a_percentage_keeps_about_as_many() {
        let ten = Threshold::of_percentage(10.0);
        // A multiplier with an odd number of bits walks through all values.
        let kept = (0..100_000_u64)
            .map(|number| trace(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
            .filter(|id| Randomness::of(*id, "").is_kept_by(ten));
        let kept = kept.count();
        assert!((9_800..10_200).contains(&kept), "{kept}");
    }
}
