//! Resources and scopes: each content is stored once per project; rows refer to it.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::error::storage_error;
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::write::{ResourceRow, ScopeRow};

/// Contents remembered; beyond it the memory starts anew, which costs look-ups, not correctness.
const REMEMBERED_MAX: usize = 8192;

/// A row's `last_seen` is written again only when it is this old, so that a steady resource does
/// not cost a write per batch, ns.
const LAST_SEEN_STEP_NS: i64 = 3600 * 1_000_000_000;

type Hash = [u8; 32];

/// Row ids by content, as committed.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    resources: HashMap<(ProjectId, Hash), Row>,
    scopes: HashMap<(ProjectId, Hash), Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    id: i64,
    last_seen: i64,
}

impl Remembered {
    /// Forgets everything: after a rollback, remembered rows may not exist.
    pub(super) fn forget(&mut self) {
        self.resources.clear();
        self.scopes.clear();
    }
}

/// Row ids of a batch's resources, in their order.
///
/// # Errors
/// As the store's.
pub(super) fn resource_ids(
    transaction: &Transaction<'_>,
    remembered: &mut Remembered,
    resources: &[ResourceRow<'_>],
    now: i64,
) -> Result<Vec<i64>, Error> {
    let rows = &mut remembered.resources;
    let ids = resources.iter().map(|resource| {
        let hash = content_hash(resource.schema_url, &resource.message);
        row_id(rows, (resource.project, hash), now, |known| match known {
            Some(id) => touch(
                transaction,
                "UPDATE resource SET last_seen_unix_nano = max(last_seen_unix_nano, ?2) WHERE resource_id = ?1",
                id,
                now,
            ),
            None => insert_resource(transaction, resource, &hash, now),
        })
    });
    ids.collect()
}

/// Row ids of a batch's scopes, in their order.
///
/// # Errors
/// As the store's.
pub(super) fn scope_ids(
    transaction: &Transaction<'_>,
    remembered: &mut Remembered,
    scopes: &[ScopeRow<'_>],
    now: i64,
) -> Result<Vec<i64>, Error> {
    let rows = &mut remembered.scopes;
    let ids = scopes.iter().map(|scope| {
        let hash = content_hash(scope.schema_url, &scope.message);
        row_id(rows, (scope.project, hash), now, |known| match known {
            Some(id) => touch(
                transaction,
                "UPDATE scope SET last_seen_unix_nano = max(last_seen_unix_nano, ?2) WHERE scope_id = ?1",
                id,
                now,
            ),
            None => insert_scope(transaction, scope, &hash, now),
        })
    });
    ids.collect()
}

fn content_hash(schema_url: &str, message: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update((schema_url.len() as u64).to_le_bytes());
    hasher.update(schema_url);
    hasher.update(message);
    hasher.finalize().into()
}

/// Looks a row up in memory; asks `write` to create it (`None`) or to refresh it (`Some(id)`).
fn row_id(
    rows: &mut HashMap<(ProjectId, Hash), Row>,
    key: (ProjectId, Hash),
    now: i64,
    write: impl FnOnce(Option<i64>) -> Result<i64, Error>,
) -> Result<i64, Error> {
    if let Some(row) = rows.get_mut(&key) {
        if now.saturating_sub(row.last_seen) > LAST_SEEN_STEP_NS {
            write(Some(row.id))?;
            row.last_seen = now;
        }
        return Ok(row.id);
    }
    let id = write(None)?;
    if rows.len() >= REMEMBERED_MAX {
        rows.clear();
    }
    rows.insert(key, Row { id, last_seen: now });
    Ok(id)
}

fn touch(transaction: &Transaction<'_>, sql: &str, id: i64, now: i64) -> Result<i64, Error> {
    let mut update = transaction
        .prepare_cached(sql)
        .map_err(storage_error("refresh a dimension"))?;
    update
        .execute((id, now))
        .map_err(storage_error("refresh a dimension"))?;
    Ok(id)
}

fn insert_resource(
    transaction: &Transaction<'_>,
    resource: &ResourceRow<'_>,
    hash: &Hash,
    now: i64,
) -> Result<i64, Error> {
    let failed = storage_error("store a resource");
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO resource (project_id, content_hash, service_name, service_version,
                service_instance, environment, schema_url, message, last_seen_unix_nano)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (project_id, content_hash)
                DO UPDATE SET last_seen_unix_nano =
                    max(last_seen_unix_nano, excluded.last_seen_unix_nano)
             RETURNING resource_id",
        )
        .map_err(&failed)?;
    let row = params![
        resource.project.0,
        hash,
        resource.service_name,
        resource.service_version,
        resource.service_instance,
        resource.environment,
        resource.schema_url,
        resource.message,
        now,
    ];
    returned_id(
        insert
            .query_row(row, |row| row.get(0))
            .optional()
            .map_err(&failed)?,
    )
}

fn insert_scope(
    transaction: &Transaction<'_>,
    scope: &ScopeRow<'_>,
    hash: &Hash,
    now: i64,
) -> Result<i64, Error> {
    let failed = storage_error("store a scope");
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO scope (project_id, content_hash, name, version, schema_url, message,
                last_seen_unix_nano)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (project_id, content_hash)
                DO UPDATE SET last_seen_unix_nano =
                    max(last_seen_unix_nano, excluded.last_seen_unix_nano)
             RETURNING scope_id",
        )
        .map_err(&failed)?;
    let row = params![
        scope.project.0,
        hash,
        scope.name,
        scope.version,
        scope.schema_url,
        scope.message,
        now,
    ];
    returned_id(
        insert
            .query_row(row, |row| row.get(0))
            .optional()
            .map_err(&failed)?,
    )
}

fn returned_id(id: Option<i64>) -> Result<i64, Error> {
    id.ok_or_else(|| Error::Corrupt {
        context: "an upsert answered no row id".to_owned(),
    })
}
