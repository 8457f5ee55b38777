use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::storage::metrics::generate::entry;

/// NaN is equal to itself here.
fn shown(entries: &[Entry]) -> String {
    format!("{entries:?}")
}

proptest! {
    // Guarantees: what is encoded is decoded to the last bit, and the same points make the same bytes.
    #[test]
    fn points_come_back(mut entries in vec(entry(), 0..20)) {
        entries.sort_by_key(Entry::key);
        let bytes = encode(&entries);
        let decoded = decode(&bytes).unwrap();
        prop_assert_eq!(shown(&decoded), shown(&entries));
        prop_assert_eq!(encode(&decoded), bytes);
    }

    // Guarantees: whatever lies in the store, reading it ends in points or an error.
    #[test]
    fn damaged_chunks_are_an_error_or_points(
        entries in vec(entry(), 1..5),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&entries);
        for (index, byte) in damages {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        drop(decode(&bytes));
        bytes.truncate(cut.index(bytes.len()));
        drop(decode(&bytes));
    }
}

fn point(number: u64, value: Value) -> Entry {
    Entry {
        origin: 0,
        point: Point {
            time_unix_nano: 1_800_000_000_000_000_000 + number * 10_000_000_000,
            start_unix_nano: 1_700_000_000_000_000_000,
            value,
            exemplars: Vec::new(),
        },
    }
}

// Scenario: a quarter of an hour of an exporter that sends every ten seconds.
// Guarantees: a point takes few bytes.
#[test]
fn points_at_even_intervals_are_small() {
    let counter: Vec<_> = (0..90)
        .map(|it| point(it, Value::Double(it as f64 * 3.0)))
        .collect();
    let bytes = encode(&counter).len();
    assert!(bytes < 90 * 7, "{bytes}");
    let counter: Vec<_> = (0..90)
        .map(|it| point(it, Value::Int(it as i64 * 7)))
        .collect();
    let bytes = encode(&counter).len();
    assert!(bytes < 90 * 4, "{bytes}");
    let histogram = |it: u64| {
        let histogram = Histogram {
            totals: Totals {
                count: it * 15,
                sum: Some(it as f64 * 1.5),
                min: Some(0.25),
                max: Some(9.0),
            },
            bounds: (0..15).map(f64::from).collect(),
            counts: vec![it; 16],
        };
        point(it, Value::Histogram(Box::new(histogram)))
    };
    let histograms: Vec<_> = (0..90).map(histogram).collect();
    let bytes = encode(&histograms).len();
    assert!(bytes < 90 * 36, "{bytes}");
}

#[test]
fn an_unknown_version_is_refused() {
    assert!(decode(&[]).is_err());
    assert!(decode(&[2]).is_err());
    assert_eq!(decode(&[1]).unwrap(), []);
}
