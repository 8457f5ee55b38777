//! Projects, keys, and what was changed.

use serde::Serialize;

use super::time;
use crate::auth::ApiKey;
use crate::model::access::Scope;
use crate::storage::access;

/// A project.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Project {
    id: u32,
    name: String,
    created_time: String,
    created_time_unix_nano: String,
}

impl From<access::Project> for Project {
    fn from(project: access::Project) -> Self {
        Self {
            id: project.id.0,
            name: project.name,
            created_time: time(project.created_unix_nano),
            created_time_unix_nano: project.created_unix_nano.to_string(),
        }
    }
}

/// A key, without what makes it one.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct Key {
    id: String,
    project_id: u32,
    name: String,
    /// Its first characters.
    prefix: String,
    scopes: Vec<&'static str>,
    created_time: String,
    created_time_unix_nano: String,
    expires_time: Option<String>,
    expires_time_unix_nano: Option<String>,
    revoked_time: Option<String>,
    revoked_time_unix_nano: Option<String>,
    last_used_time: Option<String>,
    last_used_time_unix_nano: Option<String>,
}

impl From<access::ApiKey> for Key {
    fn from(key: access::ApiKey) -> Self {
        let nanos = |at: Option<u64>| at.map(|at| at.to_string());
        Self {
            id: key.id,
            project_id: key.project.0,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            created_time: time(key.created_unix_nano),
            created_time_unix_nano: key.created_unix_nano.to_string(),
            expires_time: key.expires_unix_nano.map(time),
            expires_time_unix_nano: nanos(key.expires_unix_nano),
            revoked_time: key.revoked_unix_nano.map(time),
            revoked_time_unix_nano: nanos(key.revoked_unix_nano),
            last_used_time: key.last_used_unix_nano.map(time),
            last_used_time_unix_nano: nanos(key.last_used_unix_nano),
        }
    }
}

/// A key that was just made, with its text.
#[derive(Serialize)]
pub(in crate::gateway) struct CreatedKey {
    /// Not shown again.
    key: String,
    #[serde(flatten)]
    stored: Key,
}

impl CreatedKey {
    pub(in crate::gateway) fn new(key: &ApiKey, stored: access::ApiKey) -> Self {
        Self {
            key: key.reveal().to_owned(),
            stored: stored.into(),
        }
    }
}

/// One change.
#[derive(Debug, Serialize)]
pub(in crate::gateway) struct AuditEntry {
    number: u64,
    time: String,
    time_unix_nano: String,
    by: String,
    action: String,
    project_id: Option<u32>,
    target: String,
}

impl From<access::AuditEntry> for AuditEntry {
    fn from(entry: access::AuditEntry) -> Self {
        Self {
            number: entry.number,
            time: time(entry.at_unix_nano),
            time_unix_nano: entry.at_unix_nano.to_string(),
            by: entry.by,
            action: entry.action,
            project_id: entry.project.map(|project| project.0),
            target: entry.target,
        }
    }
}
