//! The parameters of a search.

use std::time::Duration;

use super::{Params, value};
use crate::storage::search::Terms;

impl Params {
    /// `q`: what is searched for; missing is wrong.
    pub(in crate::gateway) fn terms(&mut self) -> Option<Terms> {
        if !self.pairs.iter().any(|(key, _)| key == "q") {
            self.reject("q", "is missing: say which words to search for");
            return None;
        }
        self.parsed("q", |text| {
            Terms::parse(text).map_err(|error| error.to_string())
        })
    }

    /// Several of a few words, separated by commas or given one by one; `None` when not given.
    pub(in crate::gateway) fn repeated_choices<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
    ) -> Option<Vec<T>> {
        let given = self.pairs.iter().filter(|(key, _)| key == name);
        let given: Vec<_> = given.map(|(_, value)| value.clone()).collect();
        if given.is_empty() {
            return None;
        }
        let chosen = given.iter().flat_map(|value| value.split(','));
        let chosen = chosen.map(|word| {
            let found = words.iter().find(|(known, _)| *known == word.trim());
            found.map(|(_, value)| *value)
        });
        let chosen: Option<Vec<T>> = chosen.collect();
        if chosen.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.reject(name, format!("expected {}", words.join(" or ")));
        }
        chosen
    }

    /// `step`: a duration of at least `min`, ns.
    pub(in crate::gateway) fn step_ns(&mut self, min: u64) -> Option<u64> {
        self.parsed("step", |text| {
            let step = value::duration(text)?;
            let fits = step >= min;
            fits.then_some(step)
                .ok_or_else(|| format!("expected a duration of at least {}s", min / 1_000_000_000))
        })
    }

    /// Keys of attributes, separated by commas, each at most once; none when not given.
    pub(in crate::gateway) fn attribute_keys(&mut self, name: &str) -> Vec<String> {
        const KEYS_MAX: usize = 4;
        let keys = self.parsed(name, |text| {
            let mut keys: Vec<String> = Vec::new();
            for key in text.split(',') {
                if key.is_empty() {
                    return Err("has an empty attribute key".to_owned());
                }
                if keys.iter().any(|known| known == key) {
                    return Err(format!("{} is given more than once", value::shorten(key)));
                }
                keys.push(key.to_owned());
            }
            if keys.len() > KEYS_MAX {
                return Err(format!("expected at most {KEYS_MAX} attribute keys"));
            }
            Ok(keys)
        });
        keys.unwrap_or_default()
    }

    /// `timeout`: above zero and no more than `max`.
    pub(in crate::gateway) fn timeout(&mut self, default: Duration, max: Duration) -> Duration {
        let timeout = self.parsed("timeout", |text| {
            let timeout = Duration::from_nanos(value::duration(text)?);
            let fits = !timeout.is_zero() && timeout <= max;
            fits.then_some(timeout).ok_or_else(|| {
                format!(
                    "expected a duration above zero and up to {}s",
                    max.as_secs()
                )
            })
        });
        timeout.unwrap_or(default)
    }
}
