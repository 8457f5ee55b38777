//! What a batch adds to sessions, services and rollups, merged into rows in key order. These rows
//! are shared by everybody who writes to a project, so they are written last: their locks are held
//! the shortest.

mod rollups;
mod sessions;
mod shift;
mod sources;

use tokio_postgres::types::Type;

use super::super::transaction::{Param, Transaction};
use super::Care;
use super::clean::CleanBatch;
use super::traces::{Group, resource_of};
use crate::model::genai::Totals;
use crate::storage::Error;
use crate::storage::rollup::{Crowd, Rollups};
use crate::storage::session::Sessions;
use crate::storage::sources::Sources;

use rollups::save_rollups;
use sessions::save_sessions;
pub(super) use shift::shift;

/// Adds without leaving the range: numbers that clients send stop at the largest integer.
macro_rules! add {
    ($table:literal, $column:literal) => {
        concat!(
            $column,
            " = ",
            $table,
            ".",
            $column,
            " + least(excluded.",
            $column,
            ", 9223372036854775807 - ",
            $table,
            ".",
            $column,
            ")"
        )
    };
}

macro_rules! add_totals {
    ($table:literal) => {
        concat!(
            add!($table, "span_count"),
            ", ",
            add!($table, "error_count"),
            ", ",
            add!($table, "llm_call_count"),
            ", ",
            add!($table, "input_tokens"),
            ", ",
            add!($table, "output_tokens"),
            ", ",
            add!($table, "cache_read_tokens"),
            ", ",
            add!($table, "cost_nano_usd")
        )
    };
}

/// Columns that rollups and sessions have in common.
#[derive(Debug, Default)]
struct TotalColumns {
    span_counts: Vec<i64>,
    error_counts: Vec<i64>,
    llm_calls: Vec<i64>,
    input_tokens: Vec<i64>,
    output_tokens: Vec<i64>,
    cache_read_tokens: Vec<i64>,
    costs: Vec<i64>,
}

impl TotalColumns {
    fn push(&mut self, span_count: i64, error_count: i64, totals: &Totals) {
        self.span_counts.push(span_count);
        self.error_counts.push(error_count);
        self.llm_calls.push(totals.llm_calls);
        self.input_tokens.push(totals.input_tokens);
        self.output_tokens.push(totals.output_tokens);
        self.cache_read_tokens.push(totals.cache_read_tokens);
        self.costs.push(totals.cost_nano_usd);
    }

    /// The columns of what model calls add up to.
    fn counted(&self) -> [Param<'_>; 5] {
        [
            (&self.llm_calls, Type::INT8_ARRAY),
            (&self.input_tokens, Type::INT8_ARRAY),
            (&self.output_tokens, Type::INT8_ARRAY),
            (&self.cache_read_tokens, Type::INT8_ARRAY),
            (&self.costs, Type::INT8_ARRAY),
        ]
    }
}

/// Takes away without leaving the range: a sum that stopped at the largest integer may be less than
/// what it was made of.
macro_rules! remove_totals {
    () => {
        "llm_call_count = greatest(0, t.llm_call_count - k.llm_call_count),
        input_tokens = greatest(0, t.input_tokens - k.input_tokens),
        output_tokens = greatest(0, t.output_tokens - k.output_tokens),
        cache_read_tokens = greatest(0, t.cache_read_tokens - k.cache_read_tokens),
        cost_nano_usd = greatest(0, t.cost_nano_usd - k.cost_nano_usd)"
    };
}

use {add, add_totals, remove_totals};

/// Merges what a batch adds: spans that are stored, and spans that are only counted.
///
/// # Errors
/// As the store's.
pub(super) async fn save<'b>(
    transaction: &Transaction,
    (batch, crowd): (&'b CleanBatch<'b>, &Crowd<'b>),
    (fresh, unstored): (&[Group<'b>], &[Group<'b>]),
    care: Care,
) -> Result<(), Error> {
    let mut totals = Rollups::default();
    let mut conversations = Sessions::default();
    let mut told = Sources::default();
    let stored = fresh.iter().map(|group| (group, true));
    let unstored = unstored.iter().map(|group| (group, false));
    for (group, is_stored) in stored.chain(unstored) {
        for span in &group.spans {
            let resource = resource_of(batch, span)?;
            totals.add(span, &resource.service_name, crowd);
            if is_stored {
                conversations.add(span, span.trace_id);
            } else {
                conversations.add_unstored(span);
            }
        }
        if told.take(&group.spans, &group.changes) {
            for change in &group.changes {
                totals.change(group.key.0, change);
                conversations.change(group.key.0, change);
            }
        }
    }
    let told = sources::settle(transaction, told).await?;
    for (project, change) in &told {
        totals.change(*project, change);
        conversations.change(*project, change);
    }
    let new = fresh
        .iter()
        .filter(|group| group.is_new && care != Care::LookForLeftovers);
    let new = new.map(|group| group.key).collect();
    save_sessions(transaction, &conversations, &new).await?;
    save_services(transaction, &totals).await?;
    save_rollups(transaction, &totals.rows()).await
}

const UPSERT_SERVICES: &str = "INSERT INTO service (project_id, name, first_seen_unix_nano,
        last_seen_unix_nano, received_unix_nano, span_count, error_count)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
        $6::bigint[], $7::bigint[])
    ON CONFLICT (project_id, name) DO UPDATE SET
        first_seen_unix_nano =
            least(service.first_seen_unix_nano, excluded.first_seen_unix_nano),
        last_seen_unix_nano =
            greatest(service.last_seen_unix_nano, excluded.last_seen_unix_nano),
        received_unix_nano = greatest(service.received_unix_nano, excluded.received_unix_nano),
        span_count = service.span_count + excluded.span_count,
        error_count = service.error_count + excluded.error_count";

/// Merges what a batch adds to services.
///
/// # Errors
/// As the store's.
async fn save_services(transaction: &Transaction, rollups: &Rollups<'_>) -> Result<(), Error> {
    if rollups.services.is_empty() {
        return Ok(());
    }
    let all = || rollups.services.iter();
    let projects: Vec<_> = all()
        .map(|((project, _), _)| i64::from(project.0))
        .collect();
    let names: Vec<_> = all().map(|((_, name), _)| *name).collect();
    let first_seen: Vec<_> = all().map(|(_, sums)| sums.first_seen).collect();
    let last_seen: Vec<_> = all().map(|(_, sums)| sums.last_seen).collect();
    let received: Vec<_> = all().map(|(_, sums)| sums.received).collect();
    let span_counts: Vec<_> = all().map(|(_, sums)| sums.span_count).collect();
    let error_counts: Vec<_> = all().map(|(_, sums)| sums.error_count).collect();
    transaction
        .execute(
            UPSERT_SERVICES,
            &[
                (&projects, Type::INT8_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&first_seen, Type::INT8_ARRAY),
                (&last_seen, Type::INT8_ARRAY),
                (&received, Type::INT8_ARRAY),
                (&span_counts, Type::INT8_ARRAY),
                (&error_counts, Type::INT8_ARRAY),
            ],
            "store services",
        )
        .await?;
    Ok(())
}
