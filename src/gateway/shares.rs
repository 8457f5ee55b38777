//! What there is only so much of, shared out: how much of it each has, and may have.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// What is given to one person at least, of all that there is.
const ONE_PERSON_MIN: usize = 5;

/// How much one person may have of all that there is: a tenth, or a few.
pub(super) fn of_one_person(all: usize) -> usize {
    (all / 10).max(ONE_PERSON_MIN)
}

/// Counts what each has.
#[derive(Debug)]
pub(super) struct Shares<K> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    of_one: usize,
}

/// One of those that somebody has.
#[derive(Debug)]
pub(super) struct Share<K: Hash + Eq> {
    taken: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// So many for each.
    pub(super) fn new(of_one: usize) -> Self {
        Self {
            taken: Arc::default(),
            of_one,
        }
    }

    /// One more for somebody, unless they have all that they may have.
    pub(super) fn take(&self, key: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&key).copied().unwrap_or_default();
        if count >= self.of_one {
            return None;
        }
        taken.insert(key.clone(), count.saturating_add(1));
        drop(taken);
        Some(Share {
            taken: Arc::clone(&self.taken),
            key,
        })
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Guarantees: each has as many as they may have, whatever others have; what is given back can be
    // had again, and nothing is kept of who has none.
    #[test]
    fn each_has_a_share() {
        let shares = Shares::new(2);
        let ada = [shares.take("ada"), shares.take("ada")];
        assert!(ada.iter().all(Option::is_some) && shares.take("ada").is_none());
        let eve = shares.take("eve");
        assert!(eve.is_some());
        drop(ada);
        assert!(shares.take("ada").is_some());
        drop(eve);
        assert!(shares.taken.lock().unwrap().is_empty());
        assert_eq!((of_one_person(1000), of_one_person(1)), (100, 5));
    }
}
