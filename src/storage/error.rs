//! Why stores fail.

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be reached or has no room now; the same call may succeed later.
    #[error("store unavailable: {context}")]
    Unavailable {
        /// What was being done.
        context: &'static str,
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store refuses this data whatever the time; the batch must be bisected.
    #[error("the store refuses the data: {context}")]
    Poison {
        /// What was being done.
        context: &'static str,
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The query ran into its time limit.
    #[error("the query ran into its time limit")]
    Timeout,
    /// The stored data can't be read as what it should be.
    #[error("stored data is damaged: {context}")]
    Corrupt {
        /// What was being read.
        context: String,
    },
    /// The store was written by a newer version of this program.
    #[error("the store has schema version {found}, this program knows versions up to {known}")]
    NewerSchema {
        /// Version in the store.
        found: u32,
        /// Newest version this program knows.
        known: u32,
    },
    /// The store has an older schema, and migrating it is not this process's business.
    #[error(
        "the store has schema version {found}, this program needs {known}; run pulse-collector migrate"
    )]
    OlderSchema {
        /// Version in the store.
        found: u32,
        /// Version this program needs.
        known: u32,
    },
    /// The server can't hold a store.
    #[error("the database can't be used: {reason}")]
    Unsuitable {
        /// What is wrong with it.
        reason: String,
    },
    /// The store holds tables, but not ours.
    #[error("the store belongs to another program")]
    Foreign,
    /// A migration in the store is not the one this program ships.
    #[error("migration {version} in the store differs from the one this program ships")]
    MigrationChanged {
        /// The version whose checksum differs.
        version: u32,
    },
}
