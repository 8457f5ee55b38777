//! Partitions of `span` (by start), `event` and `metric_chunk` (by time) and `content_block` (by arrival).
//!
//! A partition's name says what it holds: `span_p20261121` a day, `span_p20261121_06_12` the hours
//! from 6 to 12 (UTC). They are made ahead of time; for spans that are late, but no later than
//! `partitions.past`, when the first one comes. Anything else goes to the default partition, which
//! also takes what comes while a partition can't be made: the rows move when it is made later.

mod make;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::config::Config;
use super::error::sqlstate;
use super::transaction::{Settings, Transaction};
use crate::storage::Error;
use crate::storage::summary::clamp_time;
use make::create;
use slot::{NS_PER_SECOND, SECONDS_PER_HOUR};

pub(super) use make::{LOCK, names};
pub(super) use slot::{Slot, Table};

/// Arrivals are noted in steps this long, so that a partition's note is written once a step.
pub(super) const ARRIVAL_STEP_NS: i64 = 3600 * NS_PER_SECOND;

/// How long a partition that could not be made is left alone.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// What is known of a partition that arrivals are noted for: of any table but `content_block`.
#[derive(Debug, Clone)]
struct Known {
    end: i64,
    name: String,
    /// Arrival that the database has noted for it.
    noted: i64,
}

/// The partitions of such a table, as far as this writer knows them.
#[derive(Debug)]
pub(super) struct Partitions {
    table: Table,
    interval: i64,
    ahead_ns: i64,
    past_ns: i64,
    /// By first second.
    known: BTreeMap<i64, Known>,
    /// Slots that could not be made, and when.
    refused: BTreeMap<Slot, Instant>,
}

/// Arrivals to note for partitions of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrivals {
    table: Table,
    /// By name.
    by_name: BTreeMap<String, i64>,
    /// Where we know of no partition, by hour of the start: the smallest partition there is.
    by_hour: BTreeMap<i64, i64>,
}

/// The arrival to note: the next step, never the arrival itself, so that everything in a partition
/// arrived before what is noted.
const fn step_after(received: i64) -> i64 {
    (received / ARRIVAL_STEP_NS + 1).saturating_mul(ARRIVAL_STEP_NS)
}

impl Partitions {
    pub(super) fn new(config: &Config, table: Table) -> Self {
        let ns = |duration: crate::config::Duration| {
            i64::try_from(duration.0.as_nanos()).unwrap_or(i64::MAX)
        };
        let partitions = &config.partitions;
        Self {
            table,
            interval: (ns(partitions.interval) / NS_PER_SECOND).max(SECONDS_PER_HOUR),
            ahead_ns: ns(partitions.ahead),
            past_ns: ns(partitions.past),
            known: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The slot of a start that should have a partition and has none that we know of.
    pub(super) fn missing(&self, start: i64, received: i64) -> Option<Slot> {
        let earliest = received.saturating_sub(self.past_ns);
        let latest = received.saturating_add(self.ahead_ns);
        if self.find(start).is_some() || !(earliest..=latest).contains(&start) {
            return None;
        }
        let slot = Slot::of(start, self.interval);
        let refused = self.refused.get(&slot);
        let is_left_alone = refused.is_some_and(|since| since.elapsed() < REFUSED_FOR);
        (!is_left_alone).then_some(slot)
    }

    fn find(&self, start: i64) -> Option<&Known> {
        let seconds = start.div_euclid(NS_PER_SECOND);
        let (_, known) = self.known.range(..=seconds).next_back()?;
        (seconds < known.end).then_some(known)
    }

    /// Notes what arrived for a start, unless the database has noted it already.
    pub(super) fn note(&self, arrivals: &mut Arrivals, start: i64, received: i64) {
        let Some(known) = self.find(start) else {
            let hour = start.div_euclid(ARRIVAL_STEP_NS) * ARRIVAL_STEP_NS;
            let noted = arrivals.by_hour.entry(hour).or_default();
            *noted = step_after(received).max(*noted);
            return;
        };
        if received < known.noted {
            return;
        }
        let arrival = step_after(received);
        match arrivals.by_name.get_mut(&known.name) {
            Some(noted) => *noted = arrival.max(*noted),
            None => drop(arrivals.by_name.insert(known.name.clone(), arrival)),
        }
    }

    /// Remembers what a committed transaction noted.
    pub(super) fn noted(&mut self, arrivals: &Arrivals) {
        for known in self.known.values_mut() {
            if let Some(arrival) = arrivals.by_name.get(&known.name) {
                known.noted = known.noted.max(*arrival);
            }
        }
    }

    /// Makes the partitions that rows of these times and arrivals, ns, should have and don't.
    ///
    /// # Errors
    /// As [`Partitions::make`].
    pub(super) async fn make_for(
        &mut self,
        pool: &Pool,
        config: &Config,
        rows: impl Iterator<Item = (u64, u64)>,
    ) -> Result<(), Error> {
        let missing = rows
            .filter_map(|(time, received)| self.missing(clamp_time(time), clamp_time(received)));
        let missing: BTreeSet<_> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.make(pool, config, missing).await
    }

    /// Makes partitions. One that can't be made now is left to the default partition.
    ///
    /// # Errors
    /// [`Error::Unavailable`], when the database can't be reached.
    async fn make(
        &mut self,
        pool: &Pool,
        config: &Config,
        slots: BTreeSet<Slot>,
    ) -> Result<(), Error> {
        for slot in slots {
            if let Err(error) = create(pool, config, self.table, slot).await {
                let Some(code) = sqlstate(&error) else {
                    return Err(error);
                };
                tracing::warn!(
                    code,
                    error = &error as &dyn std::error::Error,
                    partition = slot.name(self.table),
                    "can't make a partition now; its rows go to the default partition"
                );
                self.refused.insert(slot, Instant::now());
            }
        }
        self.refused
            .retain(|_, since| since.elapsed() < REFUSED_FOR);
        self.look(pool, config).await
    }

    /// Makes the partitions that will be needed, and looks which there are.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn maintain(
        &mut self,
        pool: &Pool,
        config: &Config,
        now: i64,
    ) -> Result<(), Error> {
        let last = Slot::of(now.saturating_add(self.ahead_ns), self.interval);
        let first = Slot::of(now, self.interval);
        let slots = std::iter::successors(Some(first), |slot| {
            let next = Slot {
                start: slot.end,
                end: slot.end + self.interval,
            };
            (next <= last).then_some(next)
        });
        let slots: Vec<_> = slots.collect();
        let mut failed = None;
        for (table, names) in self.look_at_all(pool, config).await? {
            for slot in slots
                .iter()
                .filter(|slot| !slot.overlaps_any(table, &names))
            {
                if let Err(error) = create(pool, config, table, *slot).await {
                    failed = Some(error);
                }
            }
        }
        self.look(pool, config).await?;
        failed.map_or(Ok(()), Err)
    }

    /// The partitions of its table, and with those of `span` those of `content_block`.
    async fn look_at_all(
        &self,
        pool: &Pool,
        config: &Config,
    ) -> Result<Vec<(Table, Vec<String>)>, Error> {
        let settings = Settings::maintenance(config, config.statement_timeout.0);
        let transaction = Transaction::begin(pool, &settings).await?;
        let mut found = vec![(self.table, names(&transaction, self.table).await?)];
        if self.table == Table::Span {
            let blocks = names(&transaction, Table::ContentBlock).await?;
            found.push((Table::ContentBlock, blocks));
        }
        transaction.commit("look at partitions").await?;
        Ok(found)
    }

    async fn look(&mut self, pool: &Pool, config: &Config) -> Result<(), Error> {
        let settings = Settings::maintenance(config, config.statement_timeout.0);
        let transaction = Transaction::begin(pool, &settings).await?;
        let names = names(&transaction, self.table).await?;
        let rows = transaction
            .query(
                "SELECT name, received_unix_nano FROM span_partition",
                &[],
                "look at partitions",
            )
            .await?;
        transaction.commit("look at partitions").await?;
        let noted: BTreeMap<String, i64> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        self.known = names
            .into_iter()
            .filter_map(|name| {
                let slot = Slot::parse(self.table, &name)?;
                let known = Known {
                    end: slot.end,
                    noted: noted.get(&name).copied().unwrap_or(0),
                    name,
                };
                Some((slot.start, known))
            })
            .collect();
        Ok(())
    }
}

impl Arrivals {
    /// None yet, for partitions of a table.
    pub(super) const fn of(table: Table) -> Self {
        Self {
            table,
            by_name: BTreeMap::new(),
            by_hour: BTreeMap::new(),
        }
    }

    /// Notes the arrivals in the database.
    ///
    /// # Errors
    /// As the store's.
    pub(super) async fn save(&mut self, transaction: &Transaction) -> Result<(), Error> {
        let context = "note arrivals";
        if !self.by_hour.is_empty() {
            // Partitions that another writer made since we looked. Nearly always there are none.
            let hours: Vec<_> = self.by_hour.keys().copied().collect();
            let arrivals: Vec<_> = self.by_hour.values().copied().collect();
            let rows = transaction
                .query(
                    "SELECT p.name, max(k.arrival) FROM span_partition p
                     JOIN unnest($1::bigint[], $2::bigint[]) AS k(hour, arrival)
                        ON k.hour >= p.lower_unix_nano AND k.hour < p.upper_unix_nano
                     WHERE starts_with(p.name, $3 || '_p')
                     GROUP BY p.name",
                    &[
                        (&hours, Type::INT8_ARRAY),
                        (&arrivals, Type::INT8_ARRAY),
                        (&self.table.name(), Type::TEXT),
                    ],
                    context,
                )
                .await?;
            for row in rows {
                let noted = self.by_name.entry(row.get(0)).or_default();
                *noted = row.get::<_, i64>(1).max(*noted);
            }
        }
        // One by one, in the order of their names, so that writers wait for each other in order.
        for (name, arrival) in &self.by_name {
            transaction
                .execute(
                    "UPDATE span_partition
                     SET received_unix_nano = greatest(received_unix_nano, $2) WHERE name = $1",
                    &[(name, Type::TEXT), (arrival, Type::INT8)],
                    context,
                )
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 07:30:00 UTC.
    const NOW: i64 = 1_795_246_200 * NS_PER_SECOND;
    const SECONDS_PER_DAY: i64 = 86_400;

    #[test]
    fn only_what_is_near_its_arrival_gets_a_partition() {
        let mut partitions = Partitions::new(&Config::default(), Table::Span);
        let day = SECONDS_PER_DAY * NS_PER_SECOND;
        assert!(partitions.missing(NOW - 6 * day, NOW).is_some());
        assert!(partitions.missing(NOW + 2 * day, NOW).is_some());
        for start in [0, NOW - 8 * day, NOW + 4 * day, i64::MAX] {
            assert_eq!(partitions.missing(start, NOW), None, "{start}");
        }
        let slot = partitions.missing(NOW, NOW).unwrap();
        partitions.refused.insert(slot, Instant::now());
        assert_eq!(partitions.missing(NOW, NOW), None);
    }

    #[test]
    fn an_arrival_is_noted_once_an_hour() {
        let mut partitions = Partitions::new(&Config::default(), Table::Span);
        let slot = Slot::of(NOW, SECONDS_PER_DAY);
        partitions.known.insert(
            slot.start,
            Known {
                end: slot.end,
                name: "today".to_owned(),
                noted: 0,
            },
        );
        let mut arrivals = Arrivals::of(Table::Span);
        partitions.note(&mut arrivals, NOW, NOW);
        partitions.note(&mut arrivals, NOW, NOW - ARRIVAL_STEP_NS);
        partitions.note(&mut arrivals, NOW - 2 * 86_400 * NS_PER_SECOND, NOW);
        let noted = *arrivals.by_name.get("today").unwrap();
        assert!(noted > NOW && noted % ARRIVAL_STEP_NS == 0 && arrivals.by_name.len() == 1);
        let hour = NOW / ARRIVAL_STEP_NS * ARRIVAL_STEP_NS - 2 * 86_400 * NS_PER_SECOND;
        assert_eq!(arrivals.by_hour, BTreeMap::from([(hour, noted)]));
        partitions.noted(&arrivals);
        let mut again = Arrivals::of(Table::Span);
        partitions.note(&mut again, NOW, NOW + 1);
        assert_eq!(again, Arrivals::of(Table::Span));
        partitions.note(&mut again, NOW, noted);
        assert_eq!(again.by_name.len(), 1);
    }
}
