//! Partitions of `span` (by start) and `content_block` (by arrival).
//!
//! A partition's name says what it holds: `span_p20261121` a day, `span_p20261121_06_12` the hours
//! from 6 to 12 (UTC). They are made ahead of time; for spans that are late, but no later than
//! `partitions.past`, when the first one comes. Anything else goes to the default partition, which
//! also takes what comes while a partition can't be made: the rows move when it is made later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::config::Config;
use super::error::sqlstate;
use super::transaction::{Settings, Transaction};
use super::writer::block_id;
use crate::storage::Error;

const NS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_HOUR: i64 = 3600;
const SECONDS_PER_DAY: i64 = 86_400;

/// Arrivals are noted in steps this long, so that a partition's note is written once a step.
pub(super) const ARRIVAL_STEP_NS: i64 = 3600 * NS_PER_SECOND;

/// How long a partition that could not be made is left alone.
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Held, for the length of a transaction, by who makes or drops partitions.
pub(super) const LOCK: i64 = 0x7075_6c73_655f_7074;

/// A partitioned table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Span,
    ContentBlock,
}

impl Table {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::ContentBlock => "content_block",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Span => "start_time",
            Self::ContentBlock => "block_id",
        }
    }

    /// The bound of a partition at this time, as SQL.
    fn bound(self, seconds: i64) -> String {
        match self {
            Self::Span => format!("'{}+00'", at(seconds, "%Y-%m-%d %H:%M:%S")),
            Self::ContentBlock => block_id::first_at(seconds.saturating_mul(1000)).to_string(),
        }
    }
}

/// Seconds since the Unix epoch, as text.
fn at(seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

/// Times a partition holds, seconds since the Unix epoch: the end is excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Slot {
    /// The slot that a time falls in.
    pub(super) fn of(unix_nano: i64, interval_seconds: i64) -> Self {
        let seconds = unix_nano.div_euclid(NS_PER_SECOND);
        let start = seconds.div_euclid(interval_seconds) * interval_seconds;
        Self {
            start,
            end: start + interval_seconds,
        }
    }

    /// First time after it, ns since the Unix epoch.
    pub(super) const fn end_unix_nano(self) -> i64 {
        self.end.saturating_mul(NS_PER_SECOND)
    }

    const fn start_unix_nano(self) -> i64 {
        self.start.saturating_mul(NS_PER_SECOND)
    }

    /// Whether any of these partitions holds some of its times.
    fn overlaps_any(self, table: Table, names: &[String]) -> bool {
        names
            .iter()
            .filter_map(|name| Self::parse(table, name))
            .any(|other| other.start < self.end && self.start < other.end)
    }

    pub(super) fn name(self, table: Table) -> String {
        let day = at(self.start, "%Y%m%d");
        let hours = if self.end - self.start == SECONDS_PER_DAY {
            String::new()
        } else {
            let from = self.start.rem_euclid(SECONDS_PER_DAY) / SECONDS_PER_HOUR;
            let to = from + (self.end - self.start) / SECONDS_PER_HOUR;
            format!("_{from:02}_{to:02}")
        };
        format!("{}_p{day}{hours}", table.name())
    }

    /// Reads the name of a partition; `None` for a partition that we did not make.
    pub(super) fn parse(table: Table, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(table.name())?.strip_prefix("_p")?;
        let mut parts = rest.split('_');
        let day = parts.next().filter(|day| day.len() == 8)?;
        let number = |range: Range<usize>| day.get(range)?.parse::<i8>().ok();
        let year: i16 = day.get(..4)?.parse().ok()?;
        let date = jiff::civil::Date::new(year, number(4..6)?, number(6..8)?).ok()?;
        let midnight = date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second();
        let hours = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => Some((0, 24)),
            (Some(from), Some(to), None) => Some((from.parse().ok()?, to.parse().ok()?)),
            _ => None,
        };
        let (from, to): (i64, i64) =
            hours.filter(|(from, to)| (0..*to).contains(from) && *to <= 24)?;
        Some(Self {
            start: midnight + from * SECONDS_PER_HOUR,
            end: midnight + to * SECONDS_PER_HOUR,
        })
    }
}

/// What is known of a partition of `span`.
#[derive(Debug, Clone)]
struct Known {
    end: i64,
    name: String,
    /// Arrival that the database has noted for it.
    noted: i64,
}

/// The partitions of `span`, as far as this writer knows them.
#[derive(Debug)]
pub(super) struct Partitions {
    interval: i64,
    ahead_ns: i64,
    past_ns: i64,
    /// By first second.
    spans: BTreeMap<i64, Known>,
    /// Slots that could not be made, and when.
    refused: BTreeMap<Slot, Instant>,
}

/// Arrivals to note for partitions of `span`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arrivals {
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
    pub(super) fn new(config: &Config) -> Self {
        let ns = |duration: crate::config::Duration| {
            i64::try_from(duration.0.as_nanos()).unwrap_or(i64::MAX)
        };
        let partitions = &config.partitions;
        Self {
            interval: (ns(partitions.interval) / NS_PER_SECOND).max(SECONDS_PER_HOUR),
            ahead_ns: ns(partitions.ahead),
            past_ns: ns(partitions.past),
            spans: BTreeMap::new(),
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
        let (_, known) = self.spans.range(..=seconds).next_back()?;
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
        for known in self.spans.values_mut() {
            if let Some(arrival) = arrivals.by_name.get(&known.name) {
                known.noted = known.noted.max(*arrival);
            }
        }
    }

    /// Makes partitions of `span`. One that can't be made now is left to the default partition.
    ///
    /// # Errors
    /// [`Error::Unavailable`], when the database can't be reached.
    pub(super) async fn make(
        &mut self,
        pool: &Pool,
        config: &Config,
        slots: BTreeSet<Slot>,
    ) -> Result<(), Error> {
        for slot in slots {
            if let Err(error) = create(pool, config, Table::Span, slot).await {
                let Some(code) = sqlstate(&error) else {
                    return Err(error);
                };
                tracing::warn!(
                    code,
                    error = &error as &dyn std::error::Error,
                    partition = slot.name(Table::Span),
                    "can't make a partition now; its spans go to span_default"
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
        for (table, names) in self.look_at_both(pool, config).await? {
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

    async fn look_at_both(
        &self,
        pool: &Pool,
        config: &Config,
    ) -> Result<[(Table, Vec<String>); 2], Error> {
        let settings = Settings::maintenance(config, config.statement_timeout.0);
        let transaction = Transaction::begin(pool, &settings).await?;
        let spans = names(&transaction, Table::Span).await?;
        let blocks = names(&transaction, Table::ContentBlock).await?;
        transaction.commit("look at partitions").await?;
        Ok([(Table::Span, spans), (Table::ContentBlock, blocks)])
    }

    async fn look(&mut self, pool: &Pool, config: &Config) -> Result<(), Error> {
        let settings = Settings::maintenance(config, config.statement_timeout.0);
        let transaction = Transaction::begin(pool, &settings).await?;
        let names = names(&transaction, Table::Span).await?;
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
        self.spans = names
            .into_iter()
            .filter_map(|name| {
                let slot = Slot::parse(Table::Span, &name)?;
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
                     GROUP BY p.name",
                    &[(&hours, Type::INT8_ARRAY), (&arrivals, Type::INT8_ARRAY)],
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

/// Names of the partitions there are, the default one included.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn names(transaction: &Transaction, table: Table) -> Result<Vec<String>, Error> {
    let rows = transaction
        .query(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = to_regclass($1) ORDER BY 1",
            &[(&table.name(), Type::TEXT)],
            "look at partitions",
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes a partition, unless there is one for its times. Rows of its that went to the default
/// partition move into it.
///
/// Made beside the table and attached, which holds up neither who reads nor who writes the other
/// partitions; creating it in place would.
async fn create(pool: &Pool, config: &Config, table: Table, slot: Slot) -> Result<(), Error> {
    let context = "make a partition";
    let settings = Settings::maintenance(config, config.statement_timeout.0);
    let transaction = Transaction::begin(pool, &settings).await?;
    transaction
        .query(
            "SELECT pg_advisory_xact_lock($1)::text",
            &[(&LOCK, Type::INT8)],
            context,
        )
        .await?;
    if slot.overlaps_any(table, &names(&transaction, table).await?) {
        return transaction.commit(context).await;
    }
    let (parent, key, name) = (table.name(), table.key(), slot.name(table));
    let (from, to) = (table.bound(slot.start), table.bound(slot.end));
    transaction
        .batch(
            &format!(
                "LOCK TABLE {parent}_default IN ACCESS EXCLUSIVE MODE;
                 CREATE TABLE {name} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                     INCLUDING STORAGE INCLUDING COMPRESSION)
                     WITH (autovacuum_analyze_scale_factor = 0.5,
                         autovacuum_vacuum_insert_scale_factor = 0.5);
                 WITH moved AS (DELETE FROM {parent}_default
                     WHERE {key} >= {from} AND {key} < {to} RETURNING *)
                     INSERT INTO {name} SELECT * FROM moved;
                 ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            ),
            context,
        )
        .await?;
    copy_statistics_targets(&transaction, table, &name).await?;
    if table == Table::Span {
        note_made(&transaction, &name, slot).await?;
    }
    transaction.commit(context).await
}

/// Which statistics are kept of a column is the one thing that LIKE does not copy.
async fn copy_statistics_targets(
    transaction: &Transaction,
    table: Table,
    name: &str,
) -> Result<(), Error> {
    let context = "make a partition";
    let rows = transaction
        .query(
            "SELECT string_agg(
                format('ALTER COLUMN %I SET STATISTICS %s', attname, attstattarget), ', ')
             FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND attstattarget >= 0",
            &[(&table.name(), Type::TEXT)],
            context,
        )
        .await?;
    let targets: Option<String> = rows.first().and_then(|row| row.get(0));
    match targets {
        Some(targets) => {
            let sql = format!("ALTER TABLE {name} {targets}");
            transaction.batch(&sql, context).await
        }
        None => Ok(()),
    }
}

/// Notes a new partition: what moved in from the default partition arrived at some time, and
/// transactions under way, which don't know of it, may add what arrived until now.
async fn note_made(transaction: &Transaction, name: &str, slot: Slot) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO span_partition
         SELECT $1, $2, $3, greatest(max(received_unix_nano) + 1,
            (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint) FROM {name}
         ON CONFLICT (name) DO UPDATE SET received_unix_nano =
             greatest(span_partition.received_unix_nano, excluded.received_unix_nano)"
    );
    transaction
        .execute(
            &sql,
            &[
                (&name, Type::TEXT),
                (&slot.start_unix_nano(), Type::INT8),
                (&slot.end_unix_nano(), Type::INT8),
            ],
            "make a partition",
        )
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 07:30:00 UTC.
    const NOW: i64 = 1_795_246_200 * NS_PER_SECOND;
    const HOUR: i64 = SECONDS_PER_HOUR;

    #[test]
    fn names_say_what_a_partition_holds_and_are_read_back() {
        for (hours, name) in [
            (24, "span_p20261121"),
            (6, "span_p20261121_06_12"),
            (1, "span_p20261121_07_08"),
        ] {
            let slot = Slot::of(NOW, hours * HOUR);
            assert_eq!(slot.name(Table::Span), name);
            assert_eq!(Slot::parse(Table::Span, name), Some(slot));
        }
        let last = Slot::of(NOW + 16 * HOUR * NS_PER_SECOND, HOUR);
        assert_eq!(
            last.name(Table::ContentBlock),
            "content_block_p20261121_23_24"
        );
        assert_eq!(
            Slot::parse(Table::ContentBlock, "content_block_p20261121_23_24"),
            Some(last)
        );
        for name in [
            "span_default",
            "span_p2026112",
            "span_p20261341",
            "span_p20261121_06",
            "span_p20261121_06_99",
            "span_p20261121_06_06",
            "span_p20261121_06_12_x",
            "content_block_p20261121",
        ] {
            assert_eq!(Slot::parse(Table::Span, name), None, "{name}");
        }
    }

    #[test]
    fn only_what_is_near_its_arrival_gets_a_partition() {
        let mut partitions = Partitions::new(&Config::default());
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
        let mut partitions = Partitions::new(&Config::default());
        let slot = Slot::of(NOW, SECONDS_PER_DAY);
        partitions.spans.insert(
            slot.start,
            Known {
                end: slot.end,
                name: "today".to_owned(),
                noted: 0,
            },
        );
        let mut arrivals = Arrivals::default();
        partitions.note(&mut arrivals, NOW, NOW);
        partitions.note(&mut arrivals, NOW, NOW - ARRIVAL_STEP_NS);
        partitions.note(&mut arrivals, NOW - 2 * 86_400 * NS_PER_SECOND, NOW);
        let noted = *arrivals.by_name.get("today").unwrap();
        assert!(noted > NOW && noted % ARRIVAL_STEP_NS == 0 && arrivals.by_name.len() == 1);
        let hour = NOW / ARRIVAL_STEP_NS * ARRIVAL_STEP_NS - 2 * 86_400 * NS_PER_SECOND;
        assert_eq!(arrivals.by_hour, BTreeMap::from([(hour, noted)]));
        partitions.noted(&arrivals);
        let mut again = Arrivals::default();
        partitions.note(&mut again, NOW, NOW + 1);
        assert_eq!(again, Arrivals::default());
        partitions.note(&mut again, NOW, noted);
        assert_eq!(again.by_name.len(), 1);
    }

    #[test]
    fn bounds_are_utc() {
        let slot = Slot::of(NOW, SECONDS_PER_DAY);
        assert_eq!(Table::Span.bound(slot.start), "'2026-11-21 00:00:00+00'");
        let blocks = Table::ContentBlock;
        assert!(blocks.bound(slot.start) < blocks.bound(slot.end));
    }
}
