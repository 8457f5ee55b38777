//! Hashing on a few threads at a time. A password takes tens of milliseconds and 19 MiB: whoever
//! sends many must not take the machine with them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::password;

/// Passwords hashed at once.
const AT_ONCE: usize = 2;
/// Those and the ones that wait.
const PLACES: usize = 34;

/// There are too many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

/// Hashes passwords, a bounded number of them.
#[derive(Debug)]
pub(super) struct Passwords {
    places: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    async fn turn(&self) -> Result<[OwnedSemaphorePermit; 2], Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Busy)?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await;
        Ok([place, turn.map_err(|_| Busy)?])
    }

    /// Runs work that ends for itself, even when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let turn = self.turn().await?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "hashing a password panicked");
            Busy
        })
    }

    /// See [`password::hash`].
    pub(super) async fn hash(
        &self,
        password: String,
    ) -> Result<Result<String, password::Error>, Busy> {
        self.run(move || password::hash(&password)).await
    }

    /// See [`password::is`].
    pub(super) async fn is(&self, password: String, stored: String) -> Result<bool, Busy> {
        self.run(move || password::is(&password, &stored)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    // Scenario: as many as there are places come while those before them never end.
    // Guarantees: one more is turned away at once, and is taken when the others have ended, also
    // when nobody waited for these.
    #[tokio::test]
    async fn one_too_many_is_turned_away() {
        let passwords = Arc::new(Passwords::new());
        let (sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..PLACES {
            let (passwords, receiver) = (Arc::clone(&passwords), Arc::clone(&receiver));
            waiting.spawn(async move {
                let until_told = move || receiver.lock().unwrap().recv().is_ok();
                passwords.run(until_told).await
            });
        }
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.run(|| ()).await, Err(Busy));
        waiting.abort_all();
        drop(sender);
        while waiting.join_next().await.is_some() {}
        while passwords.places.available_permits() < PLACES {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let stored = passwords.hash("correct horse".to_owned()).await;
        let stored = stored.unwrap().unwrap();
        assert_eq!(
            passwords.is("correct horse".to_owned(), stored).await,
            Ok(true)
        );
    }
}
