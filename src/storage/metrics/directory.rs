//! Which series a project may have, and where the points of the others go. Shared by both stores; pure.
//!
//! A project has a bounded number of series. Points of a series beyond it go to the *overflow* series of
//! their instrument, which has the attribute `otel.metric.overflow`; there may be [`OVERFLOWS_MAX`] of
//! those in a project, and points of further instruments go to one overflow series for each kind of
//! instrument. A point keeps the origin it would have had as a part of its identity, so points of two
//! series don't take each other's place, and totals are added up series by series.
//!
//! Which series come first, and so have a place of their own, depends on what arrives first; that a
//! point is stored once does not. A series that has a place keeps it. One that has none may get one
//! later, when retention has deleted others: its points are then looked for where they went before,
//! too (`elsewhere`). Who finds that a series has no place decides so while no other can give it
//! one: the embedded store has one writer, on Postgres a lock of the project is held until the end of
//! the transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::identity::{Instrument, OVERFLOW, catch_all, metric_id, overflow};
use super::labels;
use crate::model::ProjectId;
use crate::model::metric::{MetricKind, SeriesId, Temporality};
use crate::otlp::protobuf::{KeyValues, Scope};
use crate::storage::write::{MetricRows, SeriesRow};

/// Overflow series of instruments that a project has at most.
pub const OVERFLOWS_MAX: u64 = 1000;
/// That a series was seen is noted in steps this long, ns.
pub const SEEN_STEP_NS: u64 = 15 * 60 * 1_000_000_000;
/// Series remembered; beyond it the memory starts anew, which costs look-ups, not correctness.
const REMEMBERED_MAX: usize = 1 << 17;

/// A series in a project.
pub type Owned = (ProjectId, SeriesId);

/// Metric, see [`metric_id`], and series that points are stored with.
pub type Place = (i64, SeriesId);

/// Where points of a series go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// What they are stored with.
    pub place: Place,
    /// What tells them from others there; zero where there are no others.
    pub origin: u64,
    /// Where they may be already.
    pub elsewhere: Vec<Place>,
}

impl Home {
    /// Whether others are stored there, too.
    #[must_use]
    pub const fn is_overflow(&self) -> bool {
        self.origin != 0
    }
}

/// A series as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSeries {
    /// Owner.
    pub project: ProjectId,
    /// Identity.
    pub id: SeriesId,
    /// See [`metric_id`].
    pub metric: i64,
    /// Name of the metric.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// What it is, for people.
    pub description: String,
    /// What it is.
    pub kind: MetricKind,
    /// What its totals are of.
    pub temporality: Temporality,
    /// Whether its sum never falls.
    pub is_monotonic: bool,
    /// Whether it takes points of series beyond the limit.
    pub is_overflow: bool,
    /// `service.name`; empty for points of several.
    pub service_name: String,
    /// Deployment environment.
    pub environment: Option<String>,
    /// Instrumentation scope.
    pub scope_name: String,
    /// Its version.
    pub scope_version: String,
    /// Attributes of its points.
    pub attributes: Map<String, Value>,
    /// Attributes of its resource.
    pub resource: Map<String, Value>,
    /// When a point of it last arrived, rounded down to a quarter of an hour, ns since the Unix epoch.
    pub last_seen_unix_nano: i64,
}

/// A series with a place, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The series.
    pub series: Owned,
    /// When it was last noted as seen, ns since the Unix epoch.
    pub seen: i64,
    /// Where else its points may be.
    pub elsewhere: Vec<Place>,
}

/// What is remembered of the committed state.
#[derive(Debug, Default)]
pub struct Known {
    series: HashMap<Owned, Placed>,
}

impl Known {
    /// Forgets everything: after a rollback, or when retention may have deleted some.
    pub fn forget(&mut self) {
        self.series.clear();
    }

    /// Remembers what a committed transaction decided.
    pub fn remember(&mut self, decided: Vec<Placed>) {
        if self.series.len() + decided.len() > REMEMBERED_MAX {
            self.series.clear();
        }
        let decided = decided.into_iter();
        self.series.extend(decided.map(|it| (it.series, it)));
    }
}

/// What a store says of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Series with a place of their own.
    pub series: u64,
    /// Overflow series.
    pub overflows: u64,
}

/// What became of the series of a batch.
#[derive(Debug, Default)]
pub struct Decided {
    /// Where their points go, in the order of the batch.
    pub homes: Vec<Home>,
    /// Series to be stored.
    pub new: Vec<StoredSeries>,
    /// Stored series that were seen, and when.
    pub seen: BTreeMap<Owned, i64>,
    /// What to remember once that is committed.
    pub known: Vec<Placed>,
}

fn seen_at(series: &SeriesRow<'_>) -> i64 {
    let step = series.received_unix_nano / SEEN_STEP_NS * SEEN_STEP_NS;
    i64::try_from(step).unwrap_or(i64::MAX)
}

/// The instrument's overflow series, and the one for all instruments of its kind.
fn overflows(series: &SeriesRow<'_>) -> [Place; 2] {
    let own = &series.instrument;
    let shared = catch_all(own);
    [own, &shared].map(|it| (metric_id(it.name), overflow(it)))
}

/// The series of a batch that the store must be asked about, with the overflow series of their
/// instruments. Empty for nearly every batch.
#[must_use]
pub fn unknown(rows: &MetricRows<'_>, known: &Known) -> HashSet<Owned> {
    let mut wanted = HashSet::new();
    for series in &rows.series {
        let owned = (series.project, series.id);
        let is_fresh = known
            .series
            .get(&owned)
            .is_some_and(|placed| placed.seen >= seen_at(series));
        if !is_fresh {
            wanted.insert(owned);
            wanted.extend(overflows(series).map(|(_, id)| (series.project, id)));
        }
    }
    wanted
}

/// Whether the store has all series of a batch that it was asked about, so that none is new.
#[must_use]
pub fn all_stored(rows: &MetricRows<'_>, asked: &HashSet<Owned>, stored: &HashSet<Owned>) -> bool {
    let mut series = rows.series.iter().map(|it| (it.project, it.id));
    series.all(|owned| !asked.contains(&owned) || stored.contains(&owned))
}

/// Decides where points go. `stored` are those of [`unknown`] that the store has.
#[must_use]
pub fn decide(
    rows: &MetricRows<'_>,
    known: &Known,
    stored: &HashSet<Owned>,
    counts: &HashMap<ProjectId, Counts>,
) -> Decided {
    let mut decided = Decided::default();
    let mut stored = stored.clone();
    let mut counts = counts.clone();
    let asked = unknown(rows, known);
    for series in &rows.series {
        let owned = (series.project, series.id);
        let place = (metric_id(series.instrument.name), series.id);
        let seen = seen_at(series);
        if !asked.contains(&owned) {
            let elsewhere = known.series.get(&owned).map(|it| it.elsewhere.clone());
            decided.homes.push(Home {
                place,
                origin: 0,
                elsewhere: elsewhere.unwrap_or_default(),
            });
            continue;
        }
        let others = overflows(series).into_iter();
        let others: Vec<_> = others
            .filter(|(_, id)| stored.contains(&(series.project, *id)))
            .collect();
        let count = counts.entry(series.project).or_default();
        let has_place = stored.contains(&owned);
        if has_place || count.series < u64::from(rows.series_max) {
            if has_place {
                let noted = decided.seen.entry(owned).or_insert(seen);
                *noted = seen.max(*noted);
            } else {
                count.series += 1;
                stored.insert(owned);
                decided.new.push(stored_series(rows, series, seen));
            }
            decided.known.push(Placed {
                series: owned,
                seen,
                elsewhere: others.clone(),
            });
            decided.homes.push(Home {
                place,
                origin: 0,
                elsewhere: others,
            });
            continue;
        }
        let home = decided.overflow(series, seen, &mut stored, count);
        decided.homes.push(home);
    }
    decided
}

impl Decided {
    /// Where points of a series without a place go.
    fn overflow(
        &mut self,
        series: &SeriesRow<'_>,
        seen: i64,
        stored: &mut HashSet<Owned>,
        count: &mut Counts,
    ) -> Home {
        let [own, shared] = overflows(series);
        let has_own = stored.contains(&(series.project, own.1));
        let place = if has_own || count.overflows < OVERFLOWS_MAX {
            own
        } else {
            shared
        };
        let owned = (series.project, place.1);
        if stored.insert(owned) {
            count.overflows += 1;
            let instrument = if place == own {
                series.instrument
            } else {
                catch_all(&series.instrument)
            };
            self.new.push(overflow_series(series, &instrument, seen));
        } else {
            let noted = self.seen.entry(owned).or_insert(seen);
            *noted = seen.max(*noted);
        }
        let elsewhere = [own, shared]
            .into_iter()
            .filter(|other| *other != place && stored.contains(&(series.project, other.1)));
        Home {
            place,
            origin: series.id.origin(),
            elsewhere: elsewhere.collect(),
        }
    }
}

fn stored_series(rows: &MetricRows<'_>, series: &SeriesRow<'_>, seen: i64) -> StoredSeries {
    let resource = rows.resources.get(series.resource);
    let scope = rows.scopes.get(series.scope);
    let of_resource = resource.and_then(|it| KeyValues::of_resource(&it.message).ok());
    let mut attributes = labels::object(&series.attributes);
    let of_scope = scope.and_then(|it| Scope::parse(&it.message).ok());
    // What a scope says of itself tells series apart, too; what a point says goes first.
    for (key, value) in labels::object(&of_scope.unwrap_or_default().attributes) {
        attributes.entry(key).or_insert(value);
    }
    StoredSeries {
        service_name: resource.map_or(String::new(), |it| labels::clean(&it.service_name)),
        environment: resource
            .and_then(|it| it.environment.as_deref())
            .map(labels::clean),
        scope_name: scope.map_or(String::new(), |it| labels::clean(&it.name)),
        scope_version: scope.map_or(String::new(), |it| labels::clean(&it.version)),
        attributes,
        resource: labels::object(&of_resource.unwrap_or_default()),
        is_overflow: false,
        id: series.id,
        ..overflow_series(series, &series.instrument, seen)
    }
}

fn overflow_series(series: &SeriesRow<'_>, instrument: &Instrument<'_>, seen: i64) -> StoredSeries {
    let mut attributes = Map::new();
    attributes.insert(OVERFLOW.to_owned(), Value::Bool(true));
    StoredSeries {
        project: series.project,
        id: overflow(instrument),
        metric: metric_id(instrument.name),
        // As long as it may be, so that names are not mixed up.
        name: instrument.name.replace('\0', "\u{fffd}"),
        unit: labels::clean(instrument.unit),
        description: if instrument.name == series.instrument.name {
            labels::clean(series.description)
        } else {
            "points of metrics beyond the limit of series".to_owned()
        },
        kind: instrument.kind,
        temporality: instrument.temporality,
        is_monotonic: instrument.is_monotonic,
        is_overflow: true,
        service_name: String::new(),
        environment: None,
        scope_name: String::new(),
        scope_version: String::new(),
        attributes,
        resource: Map::new(),
        last_seen_unix_nano: seen,
    }
}

#[cfg(test)]
mod tests;
