//! How long until queries saw what was sent, as the server's own metrics tell.

use super::target::Getter;

const METRIC: &str = "pulse_ingest_to_visible_seconds_bucket";

/// A cumulative histogram: upper bounds in seconds with the requests at or below them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    /// What the server says now; empty when it says nothing of it.
    pub(super) async fn fetch(getter: &Getter, url: Option<&str>) -> Self {
        let Some(url) = url else {
            return Self::default();
        };
        match getter.get(url).await {
            Ok((_, body)) => Self::parse(&String::from_utf8_lossy(&body)),
            Err(_) => Self::default(),
        }
    }

    fn parse(text: &str) -> Self {
        let buckets = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(METRIC)?.split_once("le=\"")?.1;
            let (bound, rest) = rest.split_once('"')?;
            let count = rest.rsplit(' ').next()?.parse().ok()?;
            Some((bound.parse().ok()?, count))
        });
        Self(buckets.collect())
    }

    /// The time, in ms, within which a share of what came after `before` was visible; between two
    /// bounds taken as evenly spread. `None` when nothing came.
    pub(super) fn quantile_since(&self, before: &Self, share: f64) -> Option<f64> {
        let earlier = |index: usize| before.0.get(index).map_or(0.0, |bucket| bucket.1);
        let since = self.0.iter().enumerate();
        let since: Vec<_> = since
            .map(|(index, (bound, count))| (*bound, count - earlier(index)))
            .collect();
        let total = since.last()?.1;
        let rank = total * share;
        if total <= 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in since {
            if count >= rank {
                let inside = if bound.is_finite() && count > below {
                    lower + (bound - lower) * (rank - below) / (count - below)
                } else {
                    lower
                };
                return Some(inside * 1e3);
            }
            (lower, below) = (bound, count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
        pulse_ingest_to_visible_seconds_bucket{le=\"0.1\"} 10\n\
        pulse_ingest_to_visible_seconds_bucket{le=\"0.2\"} 90\n\
        pulse_ingest_to_visible_seconds_bucket{le=\"+Inf\"} 100\n\
        pulse_ingest_to_visible_seconds_sum 14\n";

    #[test]
    fn quantiles_are_of_what_came_since() {
        let after = Histogram::parse(TEXT);
        let none = Histogram::default();
        assert_eq!(after.0.len(), 3);
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-6;
        assert!(near(after.quantile_since(&none, 0.5), 150.0));
        // Beyond the last bound nothing more is known.
        assert!(near(after.quantile_since(&none, 0.99), 200.0));
        let before = Histogram(vec![(0.1, 10.0), (0.2, 10.0), (f64::INFINITY, 10.0)]);
        assert!(near(after.quantile_since(&before, 0.5), 156.25));
        assert_eq!(after.quantile_since(&after, 0.5), None);
        assert_eq!(none.quantile_since(&none, 0.5), None);
    }
}
