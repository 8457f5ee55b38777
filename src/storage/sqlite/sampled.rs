//! What is remembered of spans that were sampled out: the rules are in [`crate::storage::sampled`].

use std::ops::Range;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::error::storage_error;
use crate::model::genai::Totals;
use crate::model::sampling::SampledOut;
use crate::model::{ProjectId, TraceId};
use crate::storage::Error;
use crate::storage::calls::{self, Change, Fresh, Settled, Stored};
use crate::storage::sampled::{LeftOut, count, forget_at, latest, to_spare};
use crate::storage::write::SpanRow;

/// Traces forgotten in one transaction.
const TRACES_PER_STEP: usize = 5000;

/// Whose a row is.
pub(super) type Key = (ProjectId, TraceId);

/// What a batch does about spans that are sampled out.
pub(super) struct Sampled<'t> {
    transaction: &'t Transaction<'t>,
    /// How long they are remembered, ns.
    remember_ns: i64,
    /// Whether any are remembered.
    has_some: bool,
    /// Those of this batch.
    pub(super) counts: SampledOut,
}

impl<'t> Sampled<'t> {
    /// `has_some`: whether any spans are remembered, as far as that is known.
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        remember_ns: Option<i64>,
        has_some: &mut Option<bool>,
    ) -> Result<Self, Error> {
        let known = match *has_some {
            Some(known) => known,
            None => transaction
                .query_row("SELECT EXISTS (SELECT 1 FROM sampled_out)", [], |row| {
                    row.get(0)
                })
                .map_err(storage_error("look for spans that were sampled out"))?,
        };
        *has_some = Some(known || remember_ns.is_some());
        Ok(Self {
            transaction,
            remember_ns: remember_ns.unwrap_or_default(),
            has_some: known || remember_ns.is_some(),
            counts: SampledOut::default(),
        })
    }

    /// What is remembered of a trace.
    pub(super) fn find(&self, (project, trace_id): Key) -> Result<LeftOut, Error> {
        if !self.has_some {
            return Ok(LeftOut::default());
        }
        let failed = storage_error("look up spans that were sampled out");
        let found = self
            .transaction
            .prepare_cached(
                "SELECT span_ids, calls, llm_call_count, input_tokens, output_tokens,
                    cache_read_tokens, cost_nano_usd
                 FROM sampled_out WHERE project_id = ?1 AND trace_id = ?2",
            )
            .and_then(|mut select| select.query_row((project.0, trace_id.0), read).optional())
            .map_err(failed)?;
        Ok(found.unwrap_or_default())
    }

    /// Leaves new spans of a trace out; answers what changes in sums.
    pub(super) fn leave_out<'a>(
        &mut self,
        key: Key,
        mut left_out: LeftOut,
        spans: &[&SpanRow<'_>],
        fresh: &Fresh<'a>,
    ) -> Result<Vec<Change<'a>>, Error> {
        let settled = calls::settle(&left_out.calls, fresh);
        left_out.add(spans);
        self.save(key, &left_out, &settled, latest(spans))?;
        count(spans, &mut self.counts);
        Ok(settled.changes)
    }

    fn save(
        &self,
        (project, trace_id): Key,
        left_out: &LeftOut,
        settled: &Settled<'_>,
        received: i64,
    ) -> Result<(), Error> {
        let Totals {
            llm_calls,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cost_nano_usd,
        } = settled.totals;
        let row = params![
            project.0,
            trace_id.0,
            left_out.span_ids(),
            settled.list,
            llm_calls,
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cost_nano_usd,
            forget_at(received, self.remember_ns),
        ];
        self.transaction
            .prepare_cached(
                "INSERT INTO sampled_out (project_id, trace_id, span_ids, calls, llm_call_count,
                    input_tokens, output_tokens, cache_read_tokens, cost_nano_usd,
                    forget_unix_nano)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO UPDATE SET span_ids = excluded.span_ids,
                    calls = coalesce(excluded.calls, calls),
                    llm_call_count = excluded.llm_call_count,
                    input_tokens = excluded.input_tokens,
                    output_tokens = excluded.output_tokens,
                    cache_read_tokens = excluded.cache_read_tokens,
                    cost_nano_usd = excluded.cost_nano_usd,
                    forget_unix_nano = max(forget_unix_nano, excluded.forget_unix_nano)",
            )
            .and_then(|mut upsert| upsert.execute(row))
            .map_err(storage_error("remember spans that were sampled out"))?;
        Ok(())
    }

    /// Forgets what a stored trace has taken over, so that none takes it over again.
    pub(super) fn taken_over(&self, (project, trace_id): Key) -> Result<(), Error> {
        self.transaction
            .prepare_cached(
                "UPDATE sampled_out SET calls = NULL, llm_call_count = 0, input_tokens = 0,
                    output_tokens = 0, cache_read_tokens = 0, cost_nano_usd = 0
                 WHERE project_id = ?1 AND trace_id = ?2",
            )
            .and_then(|mut update| update.execute((project.0, trace_id.0)))
            .map_err(storage_error("take over calls that were sampled out"))?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<LeftOut> {
    let calls = Stored {
        totals: Totals {
            llm_calls: row.get(2)?,
            input_tokens: row.get(3)?,
            output_tokens: row.get(4)?,
            cache_read_tokens: row.get(5)?,
            cost_nano_usd: row.get(6)?,
        },
        list: row.get::<_, Option<_>>(1)?.unwrap_or_default(),
    };
    let span_ids = row.get_ref(0)?.as_blob()?;
    Ok(LeftOut::read(span_ids, calls))
}

/// Forgets what is to spare where there is no room, a step's worth; answers whether there was any.
///
/// `remember_ns`: for how long what arrives now is remembered, if that is known.
pub(super) fn make_room(
    transaction: &Transaction<'_>,
    now: i64,
    remember_ns: Option<i64>,
) -> Result<bool, Error> {
    let latest: Option<i64> = transaction
        .prepare_cached("SELECT max(forget_unix_nano) FROM sampled_out")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .map_err(storage_error("look for spans that were sampled out"))?;
    let Some(latest) = latest else {
        return Ok(false);
    };
    for due in to_spare(latest, now, remember_ns) {
        if delete(transaction, &due)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets what is due at a time, a step's worth; answers whether there is more.
pub(super) fn forget(transaction: &Transaction<'_>, now: i64) -> Result<bool, Error> {
    Ok(delete(transaction, &(i64::MIN..now))? >= TRACES_PER_STEP)
}

fn delete(transaction: &Transaction<'_>, due: &Range<i64>) -> Result<usize, Error> {
    let limit = i64::try_from(TRACES_PER_STEP).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "DELETE FROM sampled_out WHERE (project_id, trace_id) IN (
                SELECT project_id, trace_id FROM sampled_out INDEXED BY sampled_out_forget
                WHERE forget_unix_nano >= ?1 AND forget_unix_nano < ?2
                ORDER BY forget_unix_nano LIMIT ?3)",
        )
        .and_then(|mut delete| delete.execute((due.start, due.end, limit)))
        .map_err(storage_error("forget spans that were sampled out"))
}
