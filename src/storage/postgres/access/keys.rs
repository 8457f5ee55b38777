//! API keys.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{
    CONTEXT, Entry, Param, PostgresAccess, finish, note, number, one, one_more, page_of,
    project_id, projects, time,
};
use crate::model::ProjectId;
use crate::model::access::Scopes;
use crate::storage::access::{
    ApiKey, Change, Done, Found, Hash, KEYS_MAX, KeyGrant, NewKey, Refusal,
};
use crate::storage::postgres::transaction::Transaction;
use crate::storage::summary::clamp_time;
use crate::storage::{Cursor, Error, Page, PageRequest};

const MINUTE_NS: i64 = 60_000_000_000;

macro_rules! columns {
    () => {
        "key_id, project_id, name, prefix, scopes, created_unix_nano, expires_unix_nano, \
         revoked_unix_nano, last_used_unix_nano"
    };
}

fn scopes(stored: i64) -> Scopes {
    Scopes::from_bits(u8::try_from(stored).unwrap_or_default())
}

fn read(row: &Row) -> ApiKey {
    let moment = |column| row.get::<_, Option<i64>>(column).map(time);
    ApiKey {
        id: row.get(0),
        project: project_id(row.get(1)),
        name: row.get(2),
        prefix: row.get(3),
        scopes: scopes(row.get(4)),
        created_unix_nano: time(row.get(5)),
        expires_unix_nano: moment(6),
        revoked_unix_nano: moment(7),
        last_used_unix_nano: moment(8),
    }
}

impl PostgresAccess {
    /// What a key of this hash is good for. One statement, so that both are of one moment.
    pub(super) async fn grant(&self, hash: &Hash) -> Result<Found<KeyGrant>, Error> {
        let sql = "SELECT s.generation, k.key_id, k.project_id, k.scopes, k.expires_unix_nano,
                k.revoked_unix_nano IS NOT NULL OR p.project_id IS NULL, k.hash
            FROM access_state s LEFT JOIN api_key k ON k.hash = $1
                LEFT JOIN project p ON p.project_id = k.project_id";
        let rows = self.ask(sql, &[(&hash.as_slice(), Type::BYTEA)]).await?;
        let row = one(&rows)?;
        let id: Option<String> = row.get(1);
        let item = id.map(|id| KeyGrant {
            id,
            project: project_id(row.get(2)),
            scopes: scopes(row.get(3)),
            expires_unix_nano: row.get::<_, Option<i64>>(4).map(time),
            revoked: row.get(5),
            hash: Hash::try_from(row.get::<_, &[u8]>(6)).unwrap_or_default(),
        });
        Ok(Found {
            generation: time(row.get(0)),
            item,
        })
    }

    pub(super) async fn note_used_now(&self, used: &[(String, u64)]) -> Result<(), Error> {
        // In order, so that two collectors never wait for each other.
        let mut used: Vec<_> = used.iter().collect();
        used.sort();
        let ids: Vec<_> = used.iter().map(|(id, _)| id.as_str()).collect();
        let times: Vec<_> = used.iter().map(|(_, at)| clamp_time(*at)).collect();
        let sql = "WITH used AS (
                SELECT k.key_id, u.at FROM unnest($1::text[], $2::bigint[]) AS u (key_id, at)
                JOIN api_key k ON k.key_id = u.key_id
                WHERE k.last_used_unix_nano IS NULL OR k.last_used_unix_nano <= u.at - $3
                ORDER BY k.key_id FOR UPDATE OF k)
            UPDATE api_key k SET last_used_unix_nano = used.at FROM used
            WHERE k.key_id = used.key_id";
        let params: &[Param<'_>] = &[
            (&ids, Type::TEXT_ARRAY),
            (&times, Type::INT8_ARRAY),
            (&MINUTE_NS, Type::INT8),
        ];
        let transaction = self.begin().await?;
        transaction.execute(sql, params, CONTEXT).await?;
        transaction.commit(CONTEXT).await
    }

    pub(super) async fn keys_now(
        &self,
        project: ProjectId,
        page: &PageRequest,
    ) -> Result<Page<ApiKey>, Error> {
        let (before, id) = page.after.as_ref().map_or((i64::MAX, None), |cursor| {
            let id = String::from_utf8_lossy(&cursor.key).into_owned();
            (clamp_time(cursor.unix_nano), Some(id))
        });
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM api_key WHERE project_id = $1 AND (created_unix_nano < $2
                OR created_unix_nano = $2 AND ($3::text IS NULL OR key_id < $3))
             ORDER BY created_unix_nano DESC, key_id DESC LIMIT $4"
        );
        let (project, limit) = (number(project), one_more(page));
        let params: &[Param<'_>] = &[
            (&project, Type::INT8),
            (&before, Type::INT8),
            (&id, Type::TEXT),
            (&limit, Type::INT8),
        ];
        let rows = self.ask(sql, params).await?;
        let found = rows.iter().map(read).collect();
        Ok(page_of(page, found, |key: &ApiKey| Cursor {
            unix_nano: key.created_unix_nano,
            key: key.id.clone().into_bytes(),
        }))
    }

    pub(super) async fn key_now(
        &self,
        project: ProjectId,
        id: &str,
    ) -> Result<Option<ApiKey>, Error> {
        let transaction = self.begin().await?;
        let found = find(&transaction, project, id).await?;
        transaction.commit(CONTEXT).await?;
        Ok(found)
    }

    pub(super) async fn create_key_now(&self, key: NewKey, change: Change) -> Done<ApiKey> {
        let transaction = self.begin_change().await?;
        let created = create(&transaction, &key, &change).await?;
        if created.is_ok() {
            transaction.commit(CONTEXT).await?;
        }
        Ok(created)
    }

    pub(super) async fn live_keys_now(&self, project: ProjectId) -> Result<Vec<ApiKey>, Error> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM api_key WHERE project_id = $1 AND revoked_unix_nano IS NULL
             ORDER BY created_unix_nano DESC, key_id DESC LIMIT $2"
        );
        let (project, limit) = (number(project), i64::from(KEYS_MAX));
        let params: &[Param<'_>] = &[(&project, Type::INT8), (&limit, Type::INT8)];
        let rows = self.ask(sql, params).await?;
        Ok(rows.iter().rev().map(read).collect())
    }

    pub(super) async fn revoke_key_now(
        &self,
        project: ProjectId,
        id: String,
        change: Change,
    ) -> Done<ApiKey> {
        let transaction = self.begin_change().await?;
        let Some(key) = find(&transaction, project, &id).await? else {
            return Ok(Err(Refusal::Unknown));
        };
        if key.revoked_unix_nano.is_some() {
            transaction.commit(CONTEXT).await?;
            return Ok(Ok(key));
        }
        let at = clamp_time(change.at_unix_nano);
        let sql = concat!(
            "UPDATE api_key SET revoked_unix_nano = $3 WHERE project_id = $1 AND key_id = $2
             RETURNING ",
            columns!()
        );
        let value = (&at as _, Type::INT8);
        changed(
            transaction,
            &change,
            sql,
            value,
            entry("key.revoke", project, &id),
        )
        .await
    }

    pub(super) async fn rename_key_now(
        &self,
        project: ProjectId,
        id: String,
        name: String,
        change: Change,
    ) -> Done<ApiKey> {
        let transaction = self.begin_change().await?;
        let sql = concat!(
            "UPDATE api_key SET name = $3 WHERE project_id = $1 AND key_id = $2 RETURNING ",
            columns!()
        );
        let value = (&name as _, Type::TEXT);
        changed(
            transaction,
            &change,
            sql,
            value,
            entry("key.rename", project, &id),
        )
        .await
    }
}

fn entry<'a>(action: &'static str, project: ProjectId, id: &'a str) -> Entry<'a> {
    Entry {
        action,
        project: Some(project),
        target: id,
    }
}

/// Runs a statement that changes a value of the key that the entry names.
async fn changed(
    transaction: Transaction,
    change: &Change,
    sql: &str,
    value: Param<'_>,
    entry: Entry<'_>,
) -> Done<ApiKey> {
    let project = entry.project.map(number);
    let params: [Param<'_>; 3] = [(&project, Type::INT8), (&entry.target, Type::TEXT), value];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    let Some(row) = rows.first() else {
        return Ok(Err(Refusal::Unknown));
    };
    let key = read(row);
    finish(transaction, change, entry).await?;
    Ok(Ok(key))
}

async fn find(
    transaction: &Transaction,
    project: ProjectId,
    id: &str,
) -> Result<Option<ApiKey>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM api_key WHERE project_id = $1 AND key_id = $2"
    );
    let project = number(project);
    let params: [Param<'_>; 2] = [(&project, Type::INT8), (&id, Type::TEXT)];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    Ok(rows.first().map(read))
}

/// Stores a key, with its audit entry.
pub(super) async fn create(
    transaction: &Transaction,
    key: &NewKey,
    change: &Change,
) -> Done<ApiKey> {
    if !projects::exists(transaction, key.project).await? {
        return Ok(Err(Refusal::Unknown));
    }
    if let Err(refusal) = may_create(transaction, key, change).await? {
        return Ok(Err(refusal));
    }
    let created = insert(transaction, key, change).await?;
    let entry = entry("key.create", key.project, &key.id);
    note(transaction, change, entry).await?;
    Ok(Ok(created))
}

async fn may_create(transaction: &Transaction, key: &NewKey, change: &Change) -> Done<()> {
    let (project, now) = (number(key.project), clamp_time(change.at_unix_nano));
    let sql = "SELECT EXISTS (SELECT FROM api_key WHERE hash = $1 OR key_id = $2),
        (SELECT count(*) FROM api_key WHERE project_id = $3 AND revoked_unix_nano IS NULL
            AND (expires_unix_nano IS NULL OR expires_unix_nano > $4))";
    let params: [Param<'_>; 4] = [
        (&key.hash.as_slice(), Type::BYTEA),
        (&key.id, Type::TEXT),
        (&project, Type::INT8),
        (&now, Type::INT8),
    ];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    let row = one(&rows)?;
    let (taken, alive): (bool, i64) = (row.get(0), row.get(1));
    Ok(if taken {
        Err(Refusal::Taken)
    } else if alive >= i64::from(KEYS_MAX) {
        Err(Refusal::TooMany)
    } else {
        Ok(())
    })
}

async fn insert(transaction: &Transaction, key: &NewKey, change: &Change) -> Result<ApiKey, Error> {
    let (project, now) = (number(key.project), clamp_time(change.at_unix_nano));
    let (scopes, expires) = (
        i64::from(key.scopes.bits()),
        key.expires_unix_nano.map(clamp_time),
    );
    let sql = concat!(
        "INSERT INTO api_key (key_id, project_id, name, hash, prefix, scopes, created_unix_nano,
            expires_unix_nano)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ",
        columns!()
    );
    let params: [Param<'_>; 8] = [
        (&key.id, Type::TEXT),
        (&project, Type::INT8),
        (&key.name, Type::TEXT),
        (&key.hash.as_slice(), Type::BYTEA),
        (&key.prefix, Type::TEXT),
        (&scopes, Type::INT8),
        (&now, Type::INT8),
        (&expires, Type::INT8),
    ];
    let rows = transaction.query(sql, &params, CONTEXT).await?;
    Ok(read(one(&rows)?))
}
