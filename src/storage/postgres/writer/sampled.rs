//! Spans that are sampled out: the rules are in [`crate::storage::sampled`].
//!
//! Where spans are sampled, a batch first makes or locks the rows of all its traces in `sampled_out`, in
//! key order and before anything else. So of two writers that have spans of a trace, one sees what the
//! other did, whether that was to store the trace or to leave it out. A collector that does not sample
//! does so, too, while what others left out is remembered: it may share traces with them.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::transaction::{Param, Transaction};
use super::Ready;
use super::clean::CleanBatch;
use super::trace_rows;
use super::traces::{self, Group, Key, fresh_of};
use crate::model::genai::Totals;
use crate::model::sampling::SampledOut;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::calls::{self, Stored};
use crate::storage::rollup::Crowd;
use crate::storage::sampled::{LeftOut, count, forget_at, latest};

const OPEN: &str = "INSERT INTO sampled_out (project_id, trace_id, span_ids, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, forget_unix_nano)
    SELECT project_id, trace_id, ''::bytea, 0, 0, 0, 0, 0, $3
    FROM unnest($1::bigint[], $2::bytea[]) AS k(project_id, trace_id)
    ON CONFLICT (project_id, trace_id) DO UPDATE SET forget_unix_nano =
        greatest(sampled_out.forget_unix_nano, excluded.forget_unix_nano)
    RETURNING project_id, trace_id, span_ids, calls, llm_call_count, input_tokens, output_tokens,
        cache_read_tokens, cost_nano_usd";

const UPDATE: &str = "UPDATE sampled_out t SET span_ids = k.span_ids, calls = k.calls,
        llm_call_count = k.llm_call_count, input_tokens = k.input_tokens,
        output_tokens = k.output_tokens, cache_read_tokens = k.cache_read_tokens,
        cost_nano_usd = k.cost_nano_usd,
        forget_unix_nano = greatest(t.forget_unix_nano, k.forget_unix_nano)
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[]) AS k(project_id, trace_id, span_ids,
        calls, llm_call_count, input_tokens, output_tokens, cache_read_tokens, cost_nano_usd,
        forget_unix_nano)
    WHERE t.project_id = k.project_id AND t.trace_id = k.trace_id";

/// When what is remembered for longest is due: one look at an index, also where much was deleted.
const LATEST: &str = "SELECT max(forget_unix_nano) FROM sampled_out";

/// Due at once. So are rows that are there for the lock of a collector that does not sample.
const AT_ONCE: i64 = 0;

/// Whether others sample: they have rows, which are due some time. Asked for each batch: another
/// collector may have begun.
async fn others_sample(transaction: &Transaction) -> Result<bool, Error> {
    let context = "look for spans that were sampled out";
    let rows = transaction.query(LATEST, &[], context).await?;
    let latest = rows.first().and_then(|row| row.get::<_, Option<i64>>(0));
    Ok(latest.is_some_and(|latest| latest > AT_ONCE))
}

/// The traces of a batch, told apart.
#[derive(Default)]
pub(super) struct Told<'b> {
    /// Traces to be stored.
    pub(super) kept: Vec<Group<'b>>,
    /// Traces that are left out, with their new spans.
    pub(super) out: Vec<Group<'b>>,
    /// What was counted of traces to be stored without being stored.
    pub(super) unstored: HashMap<Key, Stored>,
    /// The spans left out.
    pub(super) counts: SampledOut,
    rows: LeftOutRows,
}

impl<'b> Told<'b> {
    /// All are to be stored.
    pub(super) fn all(groups: Vec<Group<'b>>) -> Self {
        Self {
            kept: groups,
            ..Self::default()
        }
    }
}

/// Tells the traces of a batch that are left out from those to be stored.
///
/// # Errors
/// As the store's.
pub(super) async fn tell<'b>(
    transaction: &Transaction,
    ready: &Ready<'b>,
    crowd: &Crowd<'b>,
) -> Result<Told<'b>, Error> {
    let groups = traces::groups(&ready.batch.spans);
    let remember_ns = ready.remember_ns;
    if remember_ns.is_none() && !others_sample(transaction).await? {
        return Ok(Told::all(groups));
    }
    let source = (ready.batch, crowd);
    tell_apart(transaction, source, groups, ready.received, remember_ns).await
}

/// `remember_ns`: how long spans that are sampled out are remembered; absent where none are.
async fn tell_apart<'b>(
    transaction: &Transaction,
    (batch, crowd): (&'b CleanBatch<'b>, &Crowd<'b>),
    mut groups: Vec<Group<'b>>,
    received: i64,
    remember_ns: Option<i64>,
) -> Result<Told<'b>, Error> {
    let mut left_out = open(transaction, &groups, received, remember_ns).await?;
    for group in &mut groups {
        if let Some(of_trace) = left_out.get(&group.key) {
            group.spans.retain(|span| !of_trace.holds(span));
        }
    }
    groups.retain(|group| !group.spans.is_empty());
    let stored = stored(transaction, &groups).await?;
    let mut told = Told::default();
    for mut group in groups {
        let mut of_trace = left_out.remove(&group.key).unwrap_or_default();
        let remember_ns = remember_ns.unwrap_or_default();
        if !stored.contains(&group.key) && of_trace.takes(&group.spans) {
            let fresh = fresh_of(&group.spans, batch, crowd)?;
            let settled = calls::settle(&of_trace.calls, &fresh);
            group.changes = settled.changes;
            of_trace.add(&group.spans);
            of_trace.calls.totals = settled.totals;
            of_trace.calls.list = settled.list.unwrap_or(of_trace.calls.list);
            let forget = forget_at(latest(&group.spans), remember_ns);
            told.rows.push(group.key, &of_trace, forget);
            count(&group.spans, &mut told.counts);
            told.out.push(group);
        } else {
            if of_trace.has_calls() {
                let calls = std::mem::take(&mut of_trace.calls);
                told.rows.push(group.key, &of_trace, 0);
                told.unstored.insert(group.key, calls);
            }
            told.kept.push(group);
        }
    }
    told.rows.save(transaction).await?;
    Ok(told)
}

/// Makes or locks the rows of all traces; answers what they hold.
async fn open(
    transaction: &Transaction,
    groups: &[Group<'_>],
    received: i64,
    remember_ns: Option<i64>,
) -> Result<HashMap<Key, LeftOut>, Error> {
    if groups.is_empty() {
        return Ok(HashMap::new());
    }
    let (projects, trace_ids) = keys(groups.iter());
    // A row that is there for its lock alone need not stay. One of who does not sample does not tell
    // that others do, or there would be no end of it.
    let forget = remember_ns.map_or(AT_ONCE, |_| forget_at(received, 0));
    let params: [Param<'_>; 3] = [
        (&projects, Type::INT8_ARRAY),
        (&trace_ids, Type::BYTEA_ARRAY),
        (&forget, Type::INT8),
    ];
    let context = "look up spans that were sampled out";
    let rows = transaction.query(OPEN, &params, context).await?;
    rows.iter().map(read).collect()
}

/// Which of the traces that might be left out are stored.
async fn stored(transaction: &Transaction, groups: &[Group<'_>]) -> Result<HashSet<Key>, Error> {
    let nothing = LeftOut::default();
    let asked = groups.iter().filter(|group| nothing.takes(&group.spans));
    let asked: Vec<_> = asked.collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let (projects, trace_ids) = keys(asked.iter().copied());
    let params: [Param<'_>; 2] = [
        (&projects, Type::INT8_ARRAY),
        (&trace_ids, Type::BYTEA_ARRAY),
    ];
    let rows = transaction
        .query(trace_rows::FIND, &params, "look up traces")
        .await?;
    let key = |row: &Row| {
        let ordinal = usize::try_from(row.get::<_, i64>(0)).ok()?;
        Some(asked.get(ordinal.checked_sub(1)?)?.key)
    };
    Ok(rows.iter().filter_map(key).collect())
}

/// Keys of traces, column by column.
fn keys<'g>(groups: impl Iterator<Item = &'g Group<'g>>) -> (Vec<i64>, Vec<&'g [u8]>) {
    groups
        .map(|group| (i64::from(group.key.0.0), group.key.1.0.as_slice()))
        .unzip()
}

fn read(row: &Row) -> Result<(Key, LeftOut), Error> {
    let parse = || {
        let number = |column: usize| row.try_get::<_, i64>(column).ok();
        let project = ProjectId(u32::try_from(number(0)?).ok()?);
        let trace_id = TraceId::from_bytes(row.try_get(1).ok()?)?;
        let calls = Stored {
            totals: Totals {
                llm_calls: number(4)?,
                input_tokens: number(5)?,
                output_tokens: number(6)?,
                cache_read_tokens: number(7)?,
                cost_nano_usd: number(8)?,
            },
            list: row.try_get::<_, Option<_>>(3).ok()?.unwrap_or_default(),
        };
        let left_out = LeftOut::read(row.try_get(2).ok()?, calls);
        Some(((project, trace_id), left_out))
    };
    parse().ok_or_else(|| Error::Corrupt {
        context: "what is remembered of spans that were sampled out".to_owned(),
    })
}

/// Rows to write, column by column.
#[derive(Debug, Default)]
struct LeftOutRows {
    projects: Vec<i64>,
    trace_ids: Vec<Vec<u8>>,
    span_ids: Vec<Vec<u8>>,
    call_lists: Vec<Option<Vec<u8>>>,
    /// The columns of the totals, in their order, and when the row is forgotten.
    numbers: [Vec<i64>; 6],
}

impl LeftOutRows {
    fn push(&mut self, (project, trace_id): Key, left_out: &LeftOut, forget: i64) {
        self.projects.push(i64::from(project.0));
        self.trace_ids.push(trace_id.0.to_vec());
        self.span_ids.push(left_out.span_ids());
        let list = &left_out.calls.list;
        self.call_lists
            .push((!list.is_empty()).then(|| list.clone()));
        let totals = &left_out.calls.totals;
        let numbers = [
            totals.llm_calls,
            totals.input_tokens,
            totals.output_tokens,
            totals.cache_read_tokens,
            totals.cost_nano_usd,
            forget,
        ];
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.push(number);
        }
    }

    async fn save(&self, transaction: &Transaction) -> Result<(), Error> {
        if self.projects.is_empty() {
            return Ok(());
        }
        let mut params: Vec<Param<'_>> = vec![
            (&self.projects, Type::INT8_ARRAY),
            (&self.trace_ids, Type::BYTEA_ARRAY),
            (&self.span_ids, Type::BYTEA_ARRAY),
            (&self.call_lists, Type::BYTEA_ARRAY),
        ];
        for column in &self.numbers {
            params.push((column, Type::INT8_ARRAY));
        }
        let context = "remember spans that were sampled out";
        let updated = transaction.execute(UPDATE, &params, context).await?;
        if updated == self.projects.len() as u64 {
            Ok(())
        } else {
            Err(Error::Corrupt {
                context: "a locked row of spans that were sampled out has gone".to_owned(),
            })
        }
    }
}
