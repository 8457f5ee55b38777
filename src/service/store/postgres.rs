//! A Postgres database as the service's store.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Error, Store};
use crate::config::Config;
use crate::pipeline::clock::{Clock, SystemClock};
use crate::queue::{LogId, Position, Start};
use crate::storage::access::AccessStore;
use crate::storage::issues::IssueStore;
use crate::storage::postgres::PostgresStore;
use crate::storage::settings::ProjectSettings;
use crate::storage::{self, SpanReader, SpanWriter};

/// Writers of one process: more than a database of usual size has use for.
const PARTITIONS_MAX: u32 = 64;

/// A database that other processes may use as well, and that may be out of reach.
#[derive(Debug)]
pub(super) struct Postgres {
    store: PostgresStore,
}

impl Postgres {
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let storage = &config.storage;
        let timeout = config.gateway.query_timeout.0;
        let store = PostgresStore::open(&storage.postgres, storage.retention.clone(), timeout);
        Ok(Self {
            store: store.map_err(|source| Error::Store {
                store: storage.postgres.url.to_string(),
                source,
            })?,
        })
    }
}

impl Store for Postgres {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn partitions_max(&self) -> u32 {
        PARTITIONS_MAX
    }

    fn start(&self, _partition: u32) -> Start {
        Start::Noted
    }

    fn first_unstored(
        &self,
        log_id: LogId,
        partition: u32,
    ) -> BoxFuture<'_, Result<Position, storage::Error>> {
        self.store.first_unstored(log_id.0, partition).boxed()
    }

    fn writer(
        &self,
        _partition: u32,
    ) -> BoxFuture<'_, Result<Box<dyn SpanWriter>, storage::Error>> {
        async {
            let writer = self.store.writer(SystemClock.unix_nano()).await?;
            Ok(Box::new(writer) as Box<dyn SpanWriter>)
        }
        .boxed()
    }

    fn settings(&self) -> Result<Arc<dyn ProjectSettings>, storage::Error> {
        Ok(Arc::new(self.store.settings()?))
    }

    fn access(&self) -> Result<Arc<dyn AccessStore>, storage::Error> {
        Ok(Arc::new(self.store.access()?))
    }

    fn issues(&self) -> Result<Arc<dyn IssueStore>, storage::Error> {
        Ok(Arc::new(self.store.issues()?))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Arc<dyn SpanReader>, storage::Error>> {
        async {
            // Sees to the schema: whoever comes first migrates it, and one that can't be used
            // refuses the start. Then the reader connects.
            drop(self.store.writer(SystemClock.unix_nano()).await?);
            let reader = self.store.reader()?;
            reader.load_cursor_key().await?;
            Ok(Arc::new(reader) as Arc<dyn SpanReader>)
        }
        .boxed()
    }
}
