//! A mergeable latency histogram: exponential buckets, four to a doubling, so that a percentile
//! read from it is within 9 % of the truth. Adding and merging do not depend on order.

use std::collections::BTreeMap;

/// Buckets a doubling is divided into.
const BUCKETS_PER_DOUBLING: u16 = 4;

/// Counts of durations by bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: BTreeMap<u16, u64>,
}

/// The encoded form is damaged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("damaged histogram")]
pub struct DecodeError;

impl Histogram {
    /// Adds one duration in ns.
    pub fn record(&mut self, duration_ns: u64) {
        *self.counts.entry(bucket_of(duration_ns)).or_default() += 1;
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            let sum = self.counts.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Takes another histogram's counts away, as far as they are there.
    pub fn take_away(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            if let Some(left) = self.counts.get_mut(bucket) {
                *left = left.saturating_sub(*count);
            }
        }
        self.counts.retain(|_, count| *count > 0);
    }

    /// Durations counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The duration in ns below or at which the given share (0 to 1) of durations lies, to the
    /// upper bound of its bucket; `None` when empty.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank needs no more precision than a bucket has"
    )]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let total = self.count();
        let rank = ((total as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0_u64;
        for (bucket, count) in &self.counts {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(upper_bound(*bucket));
            }
        }
        None
    }

    /// Encodes as pairs of (bucket, count), each a LEB128 varint, in bucket order.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.counts.len() * 3);
        for (bucket, count) in &self.counts {
            prost::encoding::encode_varint(u64::from(*bucket), &mut out);
            prost::encoding::encode_varint(*count, &mut out);
        }
        out
    }

    /// Writes bucket, count, bucket, count, …, in bucket order, counts clamped to 63 bits: for
    /// stores that add histograms up themselves.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<i64> {
        self.counts
            .iter()
            .flat_map(|(bucket, count)| {
                [
                    i64::from(*bucket),
                    i64::try_from(*count).unwrap_or(i64::MAX),
                ]
            })
            .collect()
    }

    /// Reads what [`Histogram::to_pairs`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] when the numbers are anything else.
    pub fn from_pairs(pairs: &[i64]) -> Result<Self, DecodeError> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        let mut histogram = Self::default();
        for [bucket, count] in pairs {
            let bucket = u16::try_from(*bucket).map_err(|_| DecodeError)?;
            let count = u64::try_from(*count).map_err(|_| DecodeError)?;
            if bucket >= BUCKET_COUNT {
                return Err(DecodeError);
            }
            let sum = histogram.counts.entry(bucket).or_default();
            *sum = sum.saturating_add(count);
        }
        if rest.is_empty() {
            Ok(histogram)
        } else {
            Err(DecodeError)
        }
    }

    /// Reads what [`Histogram::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are anything else.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut histogram = Self::default();
        while !bytes.is_empty() {
            let bucket = read_varint(&mut bytes)?;
            let bucket = u16::try_from(bucket).map_err(|_| DecodeError)?;
            if bucket >= BUCKET_COUNT {
                return Err(DecodeError);
            }
            let count = histogram.counts.entry(bucket).or_default();
            *count = count.saturating_add(read_varint(&mut bytes)?);
        }
        Ok(histogram)
    }
}

fn read_varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    prost::encoding::decode_varint(bytes).map_err(|_| DecodeError)
}

/// Sixty-four doublings and the bucket of zero.
const BUCKET_COUNT: u16 = 64 * BUCKETS_PER_DOUBLING + 1;

/// Bucket 0 holds zero; then four buckets for each power of two.
fn bucket_of(duration_ns: u64) -> u16 {
    let Some(exponent) = duration_ns.checked_ilog2() else {
        return 0;
    };
    // The two bits below the leading one.
    let below = if exponent >= 2 {
        duration_ns >> (exponent - 2)
    } else {
        duration_ns << (2 - exponent)
    };
    let sub = u16::try_from(below & 3).unwrap_or(3);
    let exponent = u16::try_from(exponent).unwrap_or(63);
    exponent * BUCKETS_PER_DOUBLING + sub + 1
}

fn upper_bound(bucket: u16) -> u64 {
    let Some(index) = bucket.checked_sub(1) else {
        return 0;
    };
    let (exponent, sub) = (u32::from(index / 4), u128::from(index % 4));
    let next = (4 + sub + 1) << exponent;
    u64::try_from(next.div_ceil(4) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut histogram = Histogram::default();
        for millis in 1..=1000_u64 {
            histogram.record(millis * 1_000_000);
        }
        let median = histogram.quantile(0.5).unwrap();
        assert!((500_000_000..=620_000_000).contains(&median), "{median}");
        let high = histogram.quantile(0.99).unwrap();
        assert!((990_000_000..=1_240_000_000).contains(&high), "{high}");
    }

    proptest! {
        // Scenario: any durations, in two halves, merged either way and stored.
        // Guarantees: order changes nothing, encoding loses nothing, each lies in its bucket.
        #[test]
        fn merging_and_encoding_lose_nothing(
            left in prop::collection::vec(any::<u64>(), 0..50),
            right in prop::collection::vec(0_u64..10_000, 0..50),
        ) {
            let of = |durations: &[u64]| {
                let mut histogram = Histogram::default();
                durations.iter().for_each(|duration| histogram.record(*duration));
                histogram
            };
            let mut one = of(&left);
            one.merge(&of(&right));
            let mut other = of(&right);
            other.merge(&of(&left));
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.count(), (left.len() + right.len()) as u64);
            prop_assert_eq!(Histogram::decode(&one.encode()).unwrap(), one);
            for duration in left.iter().chain(&right) {
                let bound = upper_bound(bucket_of(*duration));
                prop_assert!(bound >= *duration);
                prop_assert!(*duration < 8 || bound <= duration.saturating_add(duration / 3));
            }
        }

        // Scenario: bytes that no histogram wrote.
        // Guarantees: an error, never a panic.
        #[test]
        fn damaged_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            drop(Histogram::decode(&bytes));
        }
    }
}
