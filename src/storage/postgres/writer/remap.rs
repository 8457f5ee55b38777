//! Taking the columns of stored spans anew. The traces of a step are locked while it lasts, as by
//! any writer that adds to them.

mod job;
mod load;

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;

use super::super::config::Config;
use super::super::transaction::{Settings, Transaction};
use super::clean;
use super::copy::Copy;
use super::params::Time;
use super::span_row::{Columns, Places};
use super::sums;
use super::trace_rows::{self, TraceRows};
use crate::model::TraceId;
use crate::storage::remap::{Exchange, Job, Mapper, State, add_up, is_same, stays, unstored};
use crate::storage::summary::clamp_time;
use crate::storage::write::SpanRow;
use crate::storage::{Error, calls};
use load::{Loaded, Span};

/// Deletes rows of spans by their keys. The last two parameters bound all times, so that few
/// partitions are planned for.
const DELETE: &str = "DELETE FROM span s
    USING unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::timestamptz[])
        AS k(project_id, trace_id, span_id, start_time)
    WHERE s.project_id = k.project_id AND s.trace_id = k.trace_id AND s.span_id = k.span_id
        AND s.start_time = k.start_time AND s.start_time >= $5 AND s.start_time <= $6";

/// Does one step of the job, if there is one that is not done; answers how far it is then.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub(super) async fn step(
    pool: &Pool,
    settings: &Settings,
    config: &Config,
    mapper: &dyn Mapper,
) -> Result<Option<Job>, Error> {
    let transaction = Transaction::begin(pool, settings).await?;
    let Some(mut job) = job::lock(&transaction).await?.filter(|job| !job.is_done) else {
        transaction.commit("look for a job").await?;
        return Ok(None);
    };
    let loaded = load::next(&transaction, &mut job).await?;
    map(&transaction, config, mapper, &loaded, &mut job).await?;
    job::save(&transaction, &job).await?;
    transaction.commit("map spans anew").await?;
    Ok(Some(job))
}

/// A trace that changes.
struct Changed<'m> {
    trace_id: TraceId,
    old: (&'m [SpanRow<'m>], State<'m>),
    new: (&'m [SpanRow<'m>], State<'m>),
}

async fn map(
    transaction: &Transaction,
    config: &Config,
    mapper: &dyn Mapper,
    loaded: &Loaded,
    job: &mut Job,
) -> Result<(), Error> {
    let mut old = loaded.rows();
    let new = loaded.mapped(&old, mapper);
    let knows_scopes = |trace: &&load::Trace| calls::knows_scopes(&trace.calls.list);
    for trace in loaded.traces.iter().filter(|trace| !knows_scopes(trace)) {
        // As it was counted.
        let rows = old.spans.get_mut(trace.spans.clone());
        rows.into_iter()
            .flatten()
            .for_each(|row| row.scope_digest = 0);
    }
    let texts = clean::texts(&new);
    let new = clean::clean(&new, &texts);
    let mut rows = Vec::new();
    let mut changed = Vec::new();
    for trace in &loaded.traces {
        let was = old.spans.get(trace.spans.clone()).unwrap_or_default();
        let is = new.spans.get(trace.spans.clone()).unwrap_or_default();
        if stays(was) {
            continue;
        }
        let spans = loaded.spans.get(trace.spans.clone()).unwrap_or_default();
        let pairs = was.iter().zip(is).zip(spans);
        let differ = pairs.filter(|((was, is), _)| !is_same(was, is));
        let before = rows.len();
        rows.extend(differ.map(|((_, is), span)| (is, span)));
        if rows.len() == before {
            continue;
        }
        let besides = unstored(&trace.calls, was, &old.resources);
        if let Some(old) = add_up(was, &old.resources, &besides)
            && let Some(new) = add_up(is, &new.resources, &besides)
        {
            changed.push(Changed {
                trace_id: trace.id,
                old: (was, old),
                new: (is, new),
            });
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    job.spans_changed += rows.len() as u64;
    save_traces(transaction, loaded, &changed).await?;
    replace(transaction, config, &rows).await?;
    let mut exchange = Exchange::default();
    for Changed { trace_id, old, new } in &changed {
        let (was, is) = (&old.1.calls.changes, &new.1.calls.changes);
        let resources = &loaded.resources;
        exchange.trace(*trace_id, resources, (old.0, was), (new.0, is));
    }
    sums::shift(transaction, &exchange.finish()).await
}

async fn save_traces(
    transaction: &Transaction,
    loaded: &Loaded,
    changed: &[Changed<'_>],
) -> Result<(), Error> {
    let mut rows = TraceRows::default();
    for trace in changed {
        let State {
            summary,
            last_start,
            calls,
        } = &trace.new.1;
        rows.push(loaded.project, &trace.trace_id, summary, *last_start, calls);
    }
    transaction
        .execute(trace_rows::UPDATE, &rows.params(), "update traces")
        .await?;
    Ok(())
}

/// Replaces the rows of spans. Their messages stay where they are.
async fn replace(
    transaction: &Transaction,
    config: &Config,
    rows: &[(&SpanRow<'_>, &Span)],
) -> Result<(), Error> {
    let spans: Vec<_> = rows.iter().map(|(row, _)| *row).collect();
    let projects: Vec<_> = spans.iter().map(|row| i64::from(row.project.0)).collect();
    let trace_ids: Vec<_> = spans.iter().map(|row| row.trace_id.0.as_slice()).collect();
    let span_ids: Vec<_> = spans.iter().map(|row| row.span_id.0.as_slice()).collect();
    let starts = || spans.iter().map(|row| clamp_time(row.start_unix_nano));
    let times: Vec<_> = starts().map(Time).collect();
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else {
        return Ok(());
    };
    transaction
        .execute(
            DELETE,
            &[
                (&projects, Type::INT8_ARRAY),
                (&trace_ids, Type::BYTEA_ARRAY),
                (&span_ids, Type::BYTEA_ARRAY),
                (&times, Type::TIMESTAMPTZ_ARRAY),
                (&Time(first), Type::TIMESTAMPTZ),
                (&Time(last), Type::TIMESTAMPTZ),
            ],
            "replace spans",
        )
        .await?;
    let columns = Columns::of(&spans, config.attributes_jsonb);
    let statement = columns.copy_statement();
    let mut copy = Copy::begin(transaction, &statement, "replace spans").await?;
    for (row, span) in rows {
        let places = Places {
            resource_id: span.columns.resource_id,
            scope_id: span.columns.scope_id,
            block_id: span.columns.block_id,
            block_place: u32::try_from(span.columns.block_place).unwrap_or_default(),
            service_name: &span.columns.summary.service_name,
        };
        columns.write(&mut copy.rows, row, &places);
        copy.send_if_full().await?;
    }
    copy.finish().await?;
    Ok(())
}
