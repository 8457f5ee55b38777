//! Sums over what the mobile SDK told. Pure; the order in which events are added does not matter, but
//! for what is cut: names have a length, and tables a number of rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::model::ProjectId;
use crate::receivers::family::{names, pulseboard, value};
use crate::receivers::pulse::json::Json;
use crate::receivers::pulse::scalar;
use crate::storage::StoredEvent;

/// Rows of a table while it is added up.
const ROWS_MAX: usize = 5000;
/// Rows that are answered.
const SHOWN_MAX: usize = 10;
/// Versions that are answered.
const VERSIONS_MAX: usize = 100;
/// Characters of a name that are kept, and of a message.
const NAME_CHARS_MAX: usize = 200;
const MESSAGE_CHARS_MAX: usize = 1000;
/// What a version or a device is called that was not told.
const UNKNOWN: &str = "Unknown";

/// Stands for the id of a session or a person.
type Id = [u8; 16];

fn id(text: &str) -> Id {
    let digest = Sha256::digest(text);
    digest.first_chunk().copied().unwrap_or_default()
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// With two decimals.
fn rounded(number: f64) -> Json {
    Json::Number((number * 100.0).round() / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}

fn count(number: u64) -> Json {
    Json::Number(float(number))
}

/// What is told of one thing.
#[derive(Debug, Default)]
struct Told {
    attributes: BTreeMap<String, Json>,
}

impl Told {
    fn of(event: &StoredEvent) -> Option<Self> {
        let record = LogRecord::decode(event.message.as_slice()).ok()?;
        let attributes = record.attributes.into_iter();
        let attributes = attributes.map(|it| {
            let value = it.value.and_then(|value| value.value);
            (it.key, value::to_json(value))
        });
        Some(Self {
            attributes: attributes.collect(),
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)?.as_text()
    }

    /// One of the fields that were sent.
    fn detail(&self, name: &str) -> Option<&Json> {
        self.attributes.get(names::DETAILS)?.get(name)
    }

    fn context(&self, group: &str, name: &str) -> Option<&str> {
        let context = self.attributes.get(names::CONTEXT)?;
        context.get(group)?.get(name)?.as_text()
    }
}

/// A session, of which several records may tell: of each field the one that arrived last.
#[derive(Debug, Default)]
struct Session {
    /// When the record arrived that tells when it began, and that time.
    started: Option<(u64, u64)>,
    /// When the record arrived that tells whether it crashed, and whether.
    crashed: Option<(u64, bool)>,
    /// Whether a crash names it.
    has_crash: bool,
    user: Option<(u64, Id)>,
}

impl Session {
    fn is_crashed(&self) -> bool {
        self.has_crash || self.crashed.is_some_and(|(_, crashed)| crashed)
    }
}

/// Takes what arrived later.
fn replace<T: PartialOrd>(kept: &mut Option<(u64, T)>, arrived: u64, told: Option<T>) {
    if let Some(told) = told
        && kept.as_ref().is_none_or(|kept| kept.0 <= arrived)
    {
        *kept = Some((arrived, told));
    }
}

/// A group of crashes.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    name: String,
    message: String,
    times: u64,
    users: HashSet<Id>,
    first: u64,
    last: u64,
}

/// What the issue of a group of crashes knows of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Whether it is mended.
    pub(super) is_resolved: bool,
    /// How often it came.
    pub(super) times: u64,
    /// When it first came, ns since the Unix epoch.
    pub(super) first: Option<u64>,
}

impl Crashes {
    /// As it is answered.
    pub(super) fn json(project: ProjectId, print: &str, crash: &Self, known: Known) -> Json {
        let first = known
            .first
            .map_or(crash.first, |first| first.min(crash.first));
        let time = |at: u64| Json::text(scalar::iso(i128::from(at)));
        Json::map([
            ("id", Json::text(pulseboard::group_id(project, print))),
            ("projectId", Json::text(project.to_string())),
            ("fingerprint", Json::text(print)),
            ("errorName", Json::text(&crash.name)),
            ("errorMessage", Json::text(&crash.message)),
            ("occurrences", count(crash.times.max(known.times))),
            ("affectedUsers", Json::count(crash.users.len())),
            ("firstSeenAt", time(first)),
            ("lastSeenAt", time(crash.last)),
            ("resolved", Json::Bool(known.is_resolved)),
            ("createdAt", time(first)),
            ("updatedAt", time(crash.last)),
        ])
    }
}

/// How often, and what it adds up to where that was told.
#[derive(Debug, Default)]
struct Mean {
    times: u64,
    told: u64,
    sum: f64,
}

impl Mean {
    fn add(&mut self, number: Option<f64>) {
        self.times += 1;
        if let Some(number) = number.filter(|number| number.is_finite()) {
            self.told += 1;
            self.sum += number;
        }
    }

    fn value(&self) -> f64 {
        if self.told == 0 {
            0.0
        } else {
            self.sum / float(self.told)
        }
    }
}

/// All that is answered.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// From when on all but crashes counts, ns since the Unix epoch.
    since: u64,
    sessions: HashMap<Id, Session>,
    crashes: HashMap<String, Crashes>,
    versions: HashMap<String, u64>,
    devices: HashMap<String, u64>,
    calls: HashMap<String, Mean>,
    screens: HashMap<String, Mean>,
    is_cut: bool,
}

/// The row of a name, if there is room for it.
fn row<'t, T: Default>(
    table: &'t mut HashMap<String, T>,
    is_cut: &mut bool,
    name: &str,
) -> Option<&'t mut T> {
    let name = cut(name, NAME_CHARS_MAX);
    if table.len() >= ROWS_MAX && !table.contains_key(&name) {
        *is_cut = true;
        return None;
    }
    Some(table.entry(name).or_default())
}

impl Report {
    /// Nothing yet.
    pub(super) fn since(since_unix_nano: u64) -> Self {
        Self {
            since: since_unix_nano,
            ..Self::default()
        }
    }

    /// Whether there were more names than are kept.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Adds an event.
    pub(super) fn add(&mut self, event: &StoredEvent) {
        let Some(told) = Told::of(event) else {
            return;
        };
        let at = event.columns.id.unix_nano;
        let is_recent = at >= self.since;
        match told.text(names::EVENT_TYPE) {
            Some("crash") => self.add_crash(event, &told, at),
            Some("session") => self.add_session(event, &told, at),
            Some("screen_view") if is_recent => {
                let name = told.detail("screenName").and_then(Json::as_text);
                let time = told.detail("loadTime").and_then(Json::as_number);
                let name = name.unwrap_or(UNKNOWN);
                if let Some(row) = row(&mut self.screens, &mut self.is_cut, name) {
                    row.add(time);
                }
            }
            Some("api_call") if is_recent => {
                let name = told.detail("endpoint").and_then(Json::as_text);
                let time = told.detail("duration").and_then(Json::as_number);
                let name = name.unwrap_or(UNKNOWN);
                if let Some(row) = row(&mut self.calls, &mut self.is_cut, name) {
                    row.add(time);
                }
            }
            _ => {}
        }
    }

    fn add_session(&mut self, event: &StoredEvent, told: &Told, at: u64) {
        let Some(session) = told.text(names::SESSION_ID) else {
            return;
        };
        let arrived = event.columns.received_unix_nano;
        let crashed = match told.detail("crashed") {
            Some(Json::Bool(crashed)) => Some(*crashed),
            _ => None,
        };
        let session = self.sessions.entry(id(session)).or_default();
        replace(&mut session.started, arrived, Some(at));
        replace(&mut session.crashed, arrived, crashed);
        let user = told.text(names::USER_ID).map(id);
        replace(&mut session.user, arrived, user);
    }

    fn add_crash(&mut self, event: &StoredEvent, told: &Told, at: u64) {
        if let Some(session) = told.text(names::SESSION_ID) {
            let session = self.sessions.entry(id(session)).or_default();
            session.has_crash = true;
        }
        let version = event.columns.release.as_deref().unwrap_or(UNKNOWN);
        let device = told.context("device", "model").unwrap_or(UNKNOWN);
        for (table, name) in [(&mut self.versions, version), (&mut self.devices, device)] {
            if let Some(row) = row(table, &mut self.is_cut, name) {
                *row += 1;
            }
        }
        let print = told.text(names::FINGERPRINT).unwrap_or_default();
        let Some(crash) = row(&mut self.crashes, &mut self.is_cut, print) else {
            return;
        };
        let is_first = crash.times == 0;
        crash.times += 1;
        if let Some(user) = told.text(names::USER_ID) {
            crash.users.insert(id(user));
        }
        if is_first || at < crash.first {
            crash.first = at;
        }
        if is_first || at >= crash.last {
            crash.last = at;
            let text = |key: &str| told.text(key).unwrap_or_default();
            crash.name = cut(text("exception.type"), NAME_CHARS_MAX);
            crash.message = cut(text("exception.message"), MESSAGE_CHARS_MAX);
        }
    }

    /// Sessions that began since, and how many crashed. People are who is named; a session that
    /// names nobody counts as somebody of its own.
    pub(super) fn crash_rate(&self) -> Json {
        let (mut all, mut crashed) = (0, 0);
        let mut users: HashMap<Id, bool> = HashMap::new();
        for (id, session) in &self.sessions {
            if session.started.is_none_or(|(_, at)| at < self.since) {
                continue;
            }
            all += 1;
            crashed += u64::from(session.is_crashed());
            let user = session.user.map_or(*id, |(_, user)| user);
            *users.entry(user).or_default() |= session.is_crashed();
        }
        let of = |part: u64, whole: u64| float(part) * 100.0 / float(whole.max(1));
        let struck = users.values().filter(|crashed| **crashed).count() as u64;
        Json::map([
            ("totalSessions", count(all)),
            ("crashedSessions", count(crashed)),
            ("crashRate", rounded(of(crashed, all))),
            (
                "crashFreeUsers",
                rounded(100.0 - of(struck, users.len() as u64)),
            ),
        ])
    }

    /// The groups with the most crashes.
    pub(super) fn top_crashes(&self) -> Vec<(&str, &Crashes)> {
        let mut crashes: Vec<_> = self.crashes.iter().collect();
        crashes.sort_by_key(|(print, crash)| (std::cmp::Reverse(crash.times), *print));
        crashes.truncate(SHOWN_MAX);
        let crashes = crashes.into_iter();
        crashes
            .map(|(print, crash)| (print.as_str(), crash))
            .collect()
    }

    /// Crashes of each version, the most first.
    pub(super) fn by_version(&self) -> Json {
        most(&self.versions, "appVersion", VERSIONS_MAX)
    }

    /// Crashes of each device, the most first.
    pub(super) fn by_device(&self) -> Json {
        most(&self.devices, "deviceModel", SHOWN_MAX)
    }

    /// What was called, the slowest first.
    pub(super) fn calls(&self) -> Json {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by(|(a, one), (b, other)| {
            let slowest = other.value().total_cmp(&one.value());
            slowest.then_with(|| a.cmp(b))
        });
        let calls = calls.into_iter().take(SHOWN_MAX).map(|(name, mean)| {
            Json::map([
                ("endpoint", Json::text(name)),
                ("calls", count(mean.times)),
                ("avgDuration", rounded(mean.value())),
            ])
        });
        Json::List(calls.collect())
    }

    /// What was shown, the most often first.
    pub(super) fn screens(&self) -> Json {
        let mut screens: Vec<_> = self.screens.iter().collect();
        screens.sort_by_key(|(name, mean)| (std::cmp::Reverse(mean.times), *name));
        let screens = screens.into_iter().take(SHOWN_MAX).map(|(name, mean)| {
            Json::map([
                ("screenName", Json::text(name)),
                ("views", count(mean.times)),
                ("avgLoadTime", rounded(mean.value())),
            ])
        });
        Json::List(screens.collect())
    }
}

fn most(table: &HashMap<String, u64>, key: &'static str, shown_max: usize) -> Json {
    let mut rows: Vec<_> = table.iter().collect();
    rows.sort_by_key(|(name, times)| (std::cmp::Reverse(**times), *name));
    let rows = rows.into_iter().take(shown_max).map(|(name, times)| {
        let name = (key, Json::text(name));
        Json::map([name, ("crashes", count(*times))])
    });
    Json::List(rows.collect())
}

#[cfg(test)]
mod tests;
