//! Resources and scopes: each content is stored once per project; rows refer to it.
//!
//! Their ids come from their content, so that every collector gives the same one, and they are
//! written in a transaction of their own before the batch: without a batch that refers to them they
//! do no harm, and nobody waits for their rows longer than for one statement.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::Pool;
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::Type;

use super::super::transaction::{Settings, Transaction};
use super::attributes;
use super::clean::{CleanBatch, clean_text, is_clean};
use crate::model::ProjectId;
use crate::storage::Error;
use crate::storage::write::{ResourceRow, ScopeRow};

/// Contents remembered; beyond it the memory starts anew, which costs statements, not correctness.
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
    /// Forgets everything: rows may have been deleted.
    pub(super) fn forget(&mut self) {
        self.resources.clear();
        self.scopes.clear();
    }
}

/// Row ids of what a batch's spans refer to, by index; `None` for what no span refers to.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) resources: Vec<Option<i64>>,
    pub(super) scopes: Vec<Option<i64>>,
}

impl Ids {
    /// Rows of a resource and a scope of the batch.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the batch does not have them.
    pub(super) fn of(&self, resource: usize, scope: usize) -> Result<(i64, i64), Error> {
        let id = |ids: &[Option<i64>], index: usize| ids.get(index).copied().flatten();
        let ids = id(&self.resources, resource).zip(id(&self.scopes, scope));
        ids.ok_or_else(|| Error::Corrupt {
            context: "a row refers to a dimension that is not in its batch".to_owned(),
        })
    }
}

/// A content whose row must be written.
struct Pending<'b, R> {
    row: &'b R,
    hash: Hash,
    id: i64,
}

/// Ids a content may have: one after the other, should another content have the first.
fn candidate(hash: &Hash, round: usize) -> Option<i64> {
    let word: [u8; 8] = hash.get(round * 8..round * 8 + 8)?.try_into().ok()?;
    Some(i64::from_be_bytes(word) & i64::MAX)
}

fn content_hash(schema_url: &str, message: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update((schema_url.len() as u64).to_le_bytes());
    hasher.update(schema_url);
    hasher.update(message);
    hasher.finalize().into()
}

/// Sees to it that everything the spans refer to is stored.
///
/// # Errors
/// As the store's.
pub(super) async fn store(
    pool: &Pool,
    settings: &Settings,
    remembered: &mut Remembered,
    batch: &CleanBatch<'_>,
    options: Options,
) -> Result<Ids, Error> {
    let used = batch.spans.iter().map(|span| (span.resource, span.scope));
    let by_events = batch
        .events
        .iter()
        .map(|event| (event.resource, event.scope));
    let used = used.chain(by_events);
    let resources = Kind::new(
        &batch.resources,
        used.clone().map(|(resource, _)| resource),
        |row| (row.project, content_hash(row.schema_url, &row.message)),
    );
    let scopes = Kind::new(&batch.scopes, used.map(|(_, scope)| scope), |row| {
        (row.project, content_hash(row.schema_url, &row.message))
    });
    for round in 0.. {
        let missing_resources = resources.missing(&mut remembered.resources, round, options.now)?;
        let missing_scopes = scopes.missing(&mut remembered.scopes, round, options.now)?;
        if missing_resources.is_empty() && missing_scopes.is_empty() {
            break;
        }
        let transaction = Transaction::begin(pool, settings).await?;
        let stored_resources = insert_resources(&transaction, &missing_resources, options).await?;
        let stored_scopes = insert_scopes(&transaction, &missing_scopes, options.now).await?;
        transaction.commit("store what spans refer to").await?;
        remember(&mut remembered.resources, stored_resources, options.now);
        remember(&mut remembered.scopes, stored_scopes, options.now);
    }
    Ok(Ids {
        resources: resources.ids(&remembered.resources),
        scopes: scopes.ids(&remembered.scopes),
    })
}

/// What the rows are written with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Arrival of the newest span, ns since the Unix epoch.
    pub(super) now: i64,
    /// Whether small attributes are kept as `jsonb`.
    pub(super) attributes: bool,
}

/// The rows of one kind that a batch refers to.
struct Kind<'b, R> {
    rows: &'b [R],
    /// What identifies the rows, by index; `None` for those that no span refers to.
    keys: Vec<Option<(ProjectId, Hash)>>,
}

impl<'b, R> Kind<'b, R> {
    fn new(
        rows: &'b [R],
        used: impl Iterator<Item = usize>,
        key: impl Fn(&R) -> (ProjectId, Hash),
    ) -> Self {
        let mut keys = vec![None; rows.len()];
        for index in used {
            if let (Some(place @ None), Some(row)) = (keys.get_mut(index), rows.get(index)) {
                *place = Some(key(row));
            }
        }
        Self { rows, keys }
    }

    /// What must be written, by project and id, so that all writers lock in the same order.
    fn missing(
        &self,
        known: &mut HashMap<(ProjectId, Hash), Row>,
        round: usize,
        now: i64,
    ) -> Result<BTreeMap<(ProjectId, i64), Pending<'b, R>>, Error> {
        if round == 0 && known.len().saturating_add(self.rows.len()) > REMEMBERED_MAX {
            known.clear();
        }
        let mut missing = BTreeMap::new();
        for (row, key) in self.rows.iter().zip(&self.keys) {
            let Some(key) = key else { continue };
            let fresh = known
                .get(key)
                .is_some_and(|row| now.saturating_sub(row.last_seen) <= LAST_SEEN_STEP_NS);
            if fresh {
                continue;
            }
            let (project, hash) = *key;
            let id = candidate(&hash, round).ok_or_else(|| Error::Poison {
                context: "store what spans refer to",
                source: "four ids of its content belong to other contents".into(),
            })?;
            missing.insert((project, id), Pending { row, hash, id });
        }
        Ok(missing)
    }

    fn ids(&self, known: &HashMap<(ProjectId, Hash), Row>) -> Vec<Option<i64>> {
        let id = |key: &Option<_>| {
            key.as_ref()
                .and_then(|key| known.get(key))
                .map(|row| row.id)
        };
        self.keys.iter().map(id).collect()
    }
}

fn remember(
    known: &mut HashMap<(ProjectId, Hash), Row>,
    stored: Vec<(ProjectId, Hash, i64)>,
    now: i64,
) {
    for (project, hash, id) in stored {
        known.insert((project, hash), Row { id, last_seen: now });
    }
}

/// Reads which rows hold the content that was to be stored: a row whose id another content has is
/// not among them.
fn stored(rows: &[tokio_postgres::Row]) -> Vec<(ProjectId, Hash, i64)> {
    rows.iter()
        .filter_map(|row| {
            let project = u32::try_from(row.get::<_, i64>(0)).ok()?;
            let hash: Hash = row.get::<_, &[u8]>(2).try_into().ok()?;
            Some((ProjectId(project), hash, row.get(1)))
        })
        .collect()
}

/// The bytes of a text that is not stored as it is.
fn unclean(text: &str) -> Option<&[u8]> {
    (!is_clean(text)).then_some(text.as_bytes())
}

const INSERT_RESOURCES: &str = "INSERT INTO resource (project_id, resource_id, content_hash,
        service_name, service_version, service_instance, environment, schema_url, schema_url_sent,
        attributes, message, last_seen_unix_nano)
    SELECT k.*, $12 FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::text[],
        $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[]::jsonb[], $11::bytea[]) AS k
    ON CONFLICT (project_id, resource_id) DO UPDATE SET last_seen_unix_nano =
        greatest(resource.last_seen_unix_nano, excluded.last_seen_unix_nano)
    WHERE resource.content_hash = excluded.content_hash
    RETURNING project_id, resource_id, content_hash";

async fn insert_resources(
    transaction: &Transaction,
    missing: &BTreeMap<(ProjectId, i64), Pending<'_, ResourceRow<'_>>>,
    options: Options,
) -> Result<Vec<(ProjectId, Hash, i64)>, Error> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let all = || missing.values();
    let projects: Vec<_> = all().map(|new| i64::from(new.row.project.0)).collect();
    let ids: Vec<_> = all().map(|new| new.id).collect();
    let hashes: Vec<_> = all().map(|new| new.hash.as_slice()).collect();
    let names: Vec<_> = all().map(|new| new.row.service_name.as_ref()).collect();
    let versions: Vec<_> = all()
        .map(|new| new.row.service_version.as_deref())
        .collect();
    let instances: Vec<_> = all()
        .map(|new| new.row.service_instance.as_deref())
        .collect();
    let environments: Vec<_> = all().map(|new| new.row.environment.as_deref()).collect();
    let urls: Vec<_> = all().map(|new| clean_text(new.row.schema_url)).collect();
    let urls_sent: Vec<_> = all().map(|new| unclean(new.row.schema_url)).collect();
    let attributes: Vec<_> = all()
        .map(|new| {
            let message = &new.row.message;
            options
                .attributes
                .then(|| attributes::text_of_resource(message))
                .flatten()
        })
        .collect();
    let messages: Vec<_> = all().map(|new| new.row.message.as_ref()).collect();
    let rows = transaction
        .query(
            INSERT_RESOURCES,
            &[
                (&projects, Type::INT8_ARRAY),
                (&ids, Type::INT8_ARRAY),
                (&hashes, Type::BYTEA_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&versions, Type::TEXT_ARRAY),
                (&instances, Type::TEXT_ARRAY),
                (&environments, Type::TEXT_ARRAY),
                (&urls, Type::TEXT_ARRAY),
                (&urls_sent, Type::BYTEA_ARRAY),
                (&attributes, Type::TEXT_ARRAY),
                (&messages, Type::BYTEA_ARRAY),
                (&options.now, Type::INT8),
            ],
            "store resources",
        )
        .await?;
    Ok(stored(&rows))
}

const INSERT_SCOPES: &str = "INSERT INTO scope (project_id, scope_id, content_hash, name, version,
        schema_url, schema_url_sent, message, last_seen_unix_nano)
    SELECT k.*, $9 FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::text[],
        $6::text[], $7::bytea[], $8::bytea[]) AS k
    ON CONFLICT (project_id, scope_id) DO UPDATE SET last_seen_unix_nano =
        greatest(scope.last_seen_unix_nano, excluded.last_seen_unix_nano)
    WHERE scope.content_hash = excluded.content_hash
    RETURNING project_id, scope_id, content_hash";

async fn insert_scopes(
    transaction: &Transaction,
    missing: &BTreeMap<(ProjectId, i64), Pending<'_, ScopeRow<'_>>>,
    now: i64,
) -> Result<Vec<(ProjectId, Hash, i64)>, Error> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let all = || missing.values();
    let projects: Vec<_> = all().map(|new| i64::from(new.row.project.0)).collect();
    let ids: Vec<_> = all().map(|new| new.id).collect();
    let hashes: Vec<_> = all().map(|new| new.hash.as_slice()).collect();
    let names: Vec<_> = all().map(|new| new.row.name.as_ref()).collect();
    let versions: Vec<_> = all().map(|new| new.row.version.as_ref()).collect();
    let urls: Vec<_> = all().map(|new| clean_text(new.row.schema_url)).collect();
    let urls_sent: Vec<_> = all().map(|new| unclean(new.row.schema_url)).collect();
    let messages: Vec<_> = all().map(|new| new.row.message.as_ref()).collect();
    let rows = transaction
        .query(
            INSERT_SCOPES,
            &[
                (&projects, Type::INT8_ARRAY),
                (&ids, Type::INT8_ARRAY),
                (&hashes, Type::BYTEA_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&versions, Type::TEXT_ARRAY),
                (&urls, Type::TEXT_ARRAY),
                (&urls_sent, Type::BYTEA_ARRAY),
                (&messages, Type::BYTEA_ARRAY),
                (&now, Type::INT8),
            ],
            "store scopes",
        )
        .await?;
    Ok(stored(&rows))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_content_has_four_ids_to_choose_from() {
        let hash = content_hash("url", b"message");
        let ids: BTreeSet<_> = (0..4).filter_map(|round| candidate(&hash, round)).collect();
        assert_eq!(ids.len(), 4);
        assert!(ids.iter().all(|id| *id >= 0));
        assert_eq!(candidate(&hash, 4), None);
        assert_ne!(content_hash("a", b"bc"), content_hash("ab", b"c"));
    }
}
