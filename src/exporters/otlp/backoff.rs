//! How long to wait before a request is sent again.

use std::time::Duration;

use super::config::Retry;

/// What a backend may ask for at most; it is asked again then.
const ASKED_MAX: Duration = Duration::from_secs(3600);

/// The pauses of one request.
#[derive(Debug)]
pub(super) struct Backoff {
    retry: Retry,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(retry: &Retry) -> Self {
        Self {
            next: retry.initial_interval.0,
            retry: retry.clone(),
        }
    }

    /// The next pause, at least as long as the backend asked for; `None` when the request has been
    /// tried long enough. `chance` is from 0 to 1.
    pub(super) fn pause(
        &mut self,
        asked: Option<Duration>,
        spent: Duration,
        chance: f64,
    ) -> Option<Duration> {
        let Retry {
            multiplier,
            randomization_factor,
            max_interval,
            max_elapsed_time,
            ..
        } = &self.retry;
        let spread = 1.0 + randomization_factor * (2.0 * chance - 1.0);
        let pause = self.next.mul_f64(spread.max(0.0));
        self.next = self.next.mul_f64(*multiplier).min(max_interval.0);
        let pause = pause.max(asked.unwrap_or_default().min(ASKED_MAX));
        let spent = spent.saturating_add(pause);
        let is_over = !max_elapsed_time.0.is_zero() && spent > max_elapsed_time.0;
        (!is_over).then_some(pause)
    }
}

/// A number from 0 to 1 by chance.
pub(super) fn chance() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SOME: Duration = Duration::ZERO;

    #[test]
    fn pauses_grow_to_the_longest_and_spread_by_chance() {
        let retry = Retry::default();
        let seconds = |chance: f64| {
            let mut backoff = Backoff::new(&retry);
            let pauses = (0..7).map(|_| backoff.pause(None, SOME, chance).unwrap());
            pauses.map(|pause| pause.as_secs_f64()).collect::<Vec<_>>()
        };
        assert_eq!(seconds(0.5), [5.0, 7.5, 11.25, 16.875, 25.3125, 30.0, 30.0]);
        assert_eq!(seconds(0.0)[0], 2.5);
        assert_eq!(seconds(1.0)[6], 45.0);
    }

    #[test]
    fn a_backend_may_ask_for_longer_but_not_for_ever() {
        let mut backoff = Backoff::new(&Retry::default());
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(backoff.pause(asked(60), SOME, 0.5), asked(60));
        assert_eq!(backoff.pause(asked(1), SOME, 0.5).unwrap().as_secs(), 7);
        assert_eq!(backoff.pause(asked(1 << 40), SOME, 0.5), Some(ASKED_MAX));
    }

    #[test]
    fn a_request_is_given_up_after_its_time() {
        let retry = Retry {
            max_elapsed_time: config::Duration::seconds(12),
            ..Retry::default()
        };
        let mut backoff = Backoff::new(&retry);
        let spent = Duration::from_secs(4);
        assert!(backoff.pause(None, spent, 0.5).is_some());
        assert!(backoff.pause(None, spent + spent, 0.5).is_none());
    }

    #[test]
    fn chance_is_a_part_of_one() {
        let chances: Vec<f64> = (0..1000).map(|_| chance()).collect();
        assert!(chances.iter().all(|it| (0.0..=1.0).contains(it)));
        assert!(chances.iter().any(|it| *it < 0.5) && chances.iter().any(|it| *it > 0.5));
    }
}
