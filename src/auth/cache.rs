//! A map of bounded size. What was not asked for in a while goes first, half of it at once.

use std::collections::HashMap;
use std::hash::Hash;

/// Remembers at most a number of entries.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    half: usize,
    recent: HashMap<K, V>,
    /// What was recent before the last change of halves.
    older: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Of at most `entries`.
    pub(super) fn new(entries: usize) -> Self {
        Self {
            half: (entries / 2).max(1),
            recent: HashMap::new(),
            older: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.recent.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.older.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.recent.remove(key);
        self.older.remove(key);
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.recent.len() >= self.half && !self.recent.contains_key(&key) {
            self.older = std::mem::take(&mut self.recent);
        }
        self.older.remove(&key);
        self.recent.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_size_is_bounded() {
        let mut cache = Cache::new(10);
        cache.insert(0, 0);
        for number in 1..1000 {
            cache.insert(number, number * 2);
            assert_eq!(cache.get(&number), Some(number * 2));
            assert_eq!(cache.get(&0), Some(0), "after {number}");
            assert!(cache.recent.len() + cache.older.len() <= 10);
        }
        assert_eq!(cache.get(&900), None);
        cache.insert(999, 1);
        assert_eq!(cache.get(&999), Some(1));
        cache.remove(&999);
        assert_eq!(cache.get(&999), None);
    }
}
