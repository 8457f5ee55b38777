//! What a project has settled for itself, by name. What a value means is its reader's business.

use futures_util::future::BoxFuture;

use super::Error;
use crate::model::ProjectId;

/// Prices that come before the configured ones.
pub const PRICES: &str = "prices";

/// Bytes of a value at most.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Values of one name, with their owners.
pub type Values = Vec<(ProjectId, Vec<u8>)>;

/// Keeps values of projects.
pub trait ProjectSettings: Send + Sync + std::fmt::Debug {
    /// A project's value; absent when it has none.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn get(
        &self,
        project: ProjectId,
        name: &'static str,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>>;

    /// The values of all projects that have one.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn all(&self, name: &'static str) -> BoxFuture<'_, Result<Values, Error>>;

    /// Stores a value, or none in place of the one that is there. On stable storage when it
    /// returns.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn put(
        &self,
        project: ProjectId,
        name: &'static str,
        value: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), Error>>;
}

#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use futures_util::future::ready;

    use super::*;

    /// Keeps values in memory.
    #[derive(Debug, Default)]
    pub(crate) struct Memory(Mutex<BTreeMap<(ProjectId, &'static str), Vec<u8>>>);

    impl ProjectSettings for Memory {
        fn get(
            &self,
            project: ProjectId,
            name: &'static str,
        ) -> BoxFuture<'_, Result<Option<Vec<u8>>, Error>> {
            let values = self.0.lock().unwrap();
            ready(Ok(values.get(&(project, name)).cloned())).boxed()
        }

        fn all(&self, name: &'static str) -> BoxFuture<'_, Result<Values, Error>> {
            let values = self.0.lock().unwrap();
            let named = values.iter().filter(|((_, of), _)| *of == name);
            let named = named.map(|((project, _), value)| (*project, value.clone()));
            ready(Ok(named.collect())).boxed()
        }

        fn put(
            &self,
            project: ProjectId,
            name: &'static str,
            value: Option<Vec<u8>>,
        ) -> BoxFuture<'_, Result<(), Error>> {
            let mut values = self.0.lock().unwrap();
            match value {
                Some(value) => values.insert((project, name), value),
                None => values.remove(&(project, name)),
            };
            ready(Ok(())).boxed()
        }
    }
}
