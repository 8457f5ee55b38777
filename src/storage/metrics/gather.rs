//! The series of a metric that a question is about, in groups. Shared by both stores; pure.
//!
//! Stores show one series after the other; of each nothing is kept but its id and its group, and of groups
//! no more than can be answered: a project has tens of thousands of series, each with attributes of
//! any size.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::labels::text_of;
use super::query::{Aggregation, MetricKey, MetricQuery, NoAnswer};
use crate::model::metric::{MetricKind, SeriesId};

/// Buckets of all groups at most.
const CELLS_MAX: usize = 20_000;

/// What a group is of, in the order of the question's keys.
pub type Values = Vec<Option<String>>;

/// A series, as a store knows it.
#[derive(Debug, Clone)]
pub struct SeriesFound {
    /// Identity.
    pub id: SeriesId,
    /// Metric.
    pub key: MetricKey,
    /// `service.name`.
    pub service_name: String,
    /// Deployment environment.
    pub environment: Option<String>,
    /// Attributes of its points, a JSON object.
    pub attributes: String,
    /// Attributes of its resource, a JSON object.
    pub resource: String,
}

/// Series being gathered.
#[derive(Debug)]
pub struct Gather<'q> {
    query: &'q MetricQuery,
    groups_max: usize,
    /// That of the first, and what is asked of it.
    first: Option<(MetricKind, Aggregation)>,
    /// Whether what is asked can be said of any.
    applies: bool,
    keys: BTreeSet<Arc<MetricKey>>,
    groups: BTreeSet<Arc<Values>>,
    series: Vec<(SeriesId, Arc<MetricKey>, Arc<Values>)>,
    is_cut: bool,
}

/// What was gathered.
#[derive(Debug)]
pub(super) struct Gathered<'q> {
    pub(super) query: &'q MetricQuery,
    pub(super) aggregation: Aggregation,
    /// In order.
    pub(super) groups: Vec<Arc<Values>>,
    /// Also some whose groups are not answered.
    pub(super) series: Vec<(SeriesId, Arc<MetricKey>, Arc<Values>)>,
    /// Whether there are more groups.
    pub(super) is_cut: bool,
}

impl<'q> Gather<'q> {
    /// Begins.
    #[must_use]
    pub fn new(query: &'q MetricQuery) -> Self {
        Self {
            query,
            groups_max: query
                .groups_max
                .min(CELLS_MAX / query.buckets().max(1))
                .max(1),
            first: None,
            applies: false,
            keys: BTreeSet::new(),
            groups: BTreeSet::new(),
            series: Vec::new(),
            is_cut: false,
        }
    }

    /// Takes a series. The first one says what is usually asked.
    pub fn add(&mut self, series: &SeriesFound) {
        let key = &series.key;
        let usual = || Aggregation::usual(key.kind, key.temporality, key.is_monotonic);
        let (_, aggregation) = *self
            .first
            .get_or_insert_with(|| (key.kind, self.query.aggregation.unwrap_or_else(usual)));
        if !aggregation.applies_to(key.kind) {
            return;
        }
        self.applies = true;
        let Some(group) = group_of(self.query, series) else {
            return;
        };
        let group = match self.groups.get(&group) {
            Some(group) => Arc::clone(group),
            None => {
                let group = Arc::new(group);
                self.groups.insert(Arc::clone(&group));
                group
            }
        };
        let key = match self.keys.get(key) {
            Some(key) => Arc::clone(key),
            None => {
                let key = Arc::new(key.clone());
                self.keys.insert(Arc::clone(&key));
                key
            }
        };
        self.series.push((series.id, key, group));
        if self.groups.len() > 2 * self.groups_max {
            self.cut();
        }
    }

    /// Lets go of what can't be answered.
    fn cut(&mut self) {
        while self.groups.len() > self.groups_max {
            self.groups.pop_last();
            self.is_cut = true;
        }
        if let Some(last) = self.groups.last().filter(|_| self.is_cut) {
            self.series.retain(|(_, _, group)| group <= last);
        }
    }

    pub(super) fn finish(mut self) -> Result<Gathered<'q>, NoAnswer> {
        let (kind, aggregation) = self.first.ok_or(NoAnswer::Unknown)?;
        if !self.applies {
            return Err(NoAnswer::NotOf(kind));
        }
        self.cut();
        Ok(Gathered {
            query: self.query,
            aggregation,
            groups: self.groups.into_iter().collect(),
            series: self.series,
            is_cut: self.is_cut,
        })
    }
}

/// What a series is grouped by; `None` when it is not wanted.
fn group_of(query: &MetricQuery, series: &SeriesFound) -> Option<Vec<Option<String>>> {
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    if !is(&query.service, Some(&series.service_name))
        || !is(&query.environment, series.environment.as_deref())
    {
        return None;
    }
    let parse = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap_or_default();
    let (mut own, mut resource) = (Map::new(), Map::new());
    if !query.group_by.is_empty() || !query.attributes.is_empty() {
        own = parse(&series.attributes);
        resource = parse(&series.resource);
    }
    let find = |key: &str| own.get(key).or_else(|| resource.get(key)).map(text_of);
    let has_all = query
        .attributes
        .iter()
        .all(|wanted| match find(&wanted.key) {
            Some(text) => text == wanted.value,
            None => wanted.or_absent,
        });
    has_all.then(|| query.group_by.iter().map(|key| find(key)).collect())
}

impl MetricQuery {
    /// Buckets of one group.
    fn buckets(&self) -> usize {
        let length = self.end_unix_nano.saturating_sub(self.start_unix_nano);
        let buckets = self.step_ns.map_or(1, |step| length / step.max(1) + 1);
        usize::try_from(buckets).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metric::Temporality;

    // Scenario: thousands of series come in any order, each of a group of its own or one of few.
    // Guarantees: the first groups in order are kept, with all of their series; what is held
    // meanwhile stays within twice that.
    #[test]
    fn no_more_is_held_than_can_be_answered() {
        let query = MetricQuery {
            name: "m".to_owned(),
            start_unix_nano: 0,
            end_unix_nano: 1,
            step_ns: None,
            group_by: vec!["k".to_owned()],
            service: None,
            environment: None,
            attributes: Vec::new(),
            aggregation: None,
            groups_max: 10,
        };
        let mut gather = Gather::new(&query);
        for number in 0..5000_u32 {
            // Prime to the count, so that every number comes once.
            let group = number * 7 % 5000 / 2;
            gather.add(&SeriesFound {
                id: SeriesId(u128::from(number).to_be_bytes()),
                key: MetricKey {
                    name: "m".to_owned(),
                    kind: MetricKind::Gauge,
                    temporality: Temporality::None,
                    is_monotonic: false,
                    unit: String::new(),
                },
                service_name: String::new(),
                environment: None,
                attributes: format!(r#"{{"k": "{group:04}"}}"#),
                resource: "{}".to_owned(),
            });
            assert!(gather.groups.len() <= 20 && gather.series.len() <= 40);
        }
        let gathered = gather.finish().unwrap();
        let groups: Vec<_> = gathered
            .groups
            .iter()
            .map(|it| it[0].clone().unwrap())
            .collect();
        let expected: Vec<_> = (0..10).map(|number| format!("{number:04}")).collect();
        assert_eq!(groups, expected);
        assert_eq!((gathered.series.len(), gathered.is_cut), (20, true));
    }
}
