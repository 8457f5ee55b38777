//! Rollups: what a batch adds to them and takes away.

use tokio_postgres::types::Type;

use super::super::super::partitions::ARRIVAL_STEP_NS;
use super::super::super::transaction::{Param, Transaction};
use super::super::params::number_array;
use super::{TotalColumns, add, add_totals, remove_totals};
use crate::model::genai::Totals;
use crate::storage::Error;
use crate::storage::rollup::{Key, Rows};

const UPSERT_ROLLUPS: &str = concat!(
    "INSERT INTO rollup (project_id, level, minute, service_name, operation, provider, model,
        received_unix_nano, duration_sum_ns, span_count, error_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, duration_hist)
    SELECT project_id, level, minute, service_name, operation, provider, model,
        received_unix_nano, duration_sum_ns, span_count, error_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, duration_hist::bigint[]
    FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[])
        AS k(project_id, level, minute, service_name, operation, provider, model,
            received_unix_nano, duration_sum_ns, span_count, error_count, llm_call_count,
            input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, duration_hist)
    ON CONFLICT (project_id, level, minute, service_name, operation, provider, model)
    DO UPDATE SET
        received_unix_nano = greatest(rollup.received_unix_nano, excluded.received_unix_nano),
        duration_hist = pulse_histogram_merge(rollup.duration_hist, excluded.duration_hist), ",
    add!("rollup", "duration_sum_ns"),
    ", ",
    add_totals!("rollup")
);

const REMOVE_FROM_ROLLUPS: &str = concat!(
    "UPDATE rollup t SET ",
    remove_totals!(),
    " FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
        AS k(project_id, level, minute, service_name, operation, provider, model, llm_call_count,
            input_tokens, output_tokens, cache_read_tokens, cost_nano_usd)
    WHERE t.project_id = k.project_id AND t.level = k.level AND t.minute = k.minute
        AND t.service_name = k.service_name AND t.operation = k.operation
        AND t.provider = k.provider AND t.model = k.model"
);

/// Keys of rollups, column by column.
#[derive(Default)]
pub(super) struct KeyColumns<'k> {
    projects: Vec<i64>,
    levels: Vec<i16>,
    minutes: Vec<i64>,
    services: Vec<&'k str>,
    operations: Vec<&'k str>,
    providers: Vec<&'k str>,
    models: Vec<&'k str>,
}

impl<'k> KeyColumns<'k> {
    pub(super) fn push(&mut self, key: &'k Key<'_>) {
        self.projects.push(i64::from(key.project.0));
        self.levels.push(i16::from(key.level as u8));
        self.minutes.push(key.minute);
        self.services.push(&key.service);
        self.operations.push(&key.operation);
        self.providers.push(&key.provider);
        self.models.push(&key.model);
    }

    pub(super) fn params(&self) -> [Param<'_>; 7] {
        [
            (&self.projects, Type::INT8_ARRAY),
            (&self.levels, Type::INT2_ARRAY),
            (&self.minutes, Type::INT8_ARRAY),
            (&self.services, Type::TEXT_ARRAY),
            (&self.operations, Type::TEXT_ARRAY),
            (&self.providers, Type::TEXT_ARRAY),
            (&self.models, Type::TEXT_ARRAY),
        ]
    }
}

/// Merges what a batch adds to rollups.
///
/// # Errors
/// As the store's.
pub(super) async fn save_rollups(transaction: &Transaction, rows: &Rows<'_>) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut keys = KeyColumns::default();
    let (mut received, mut durations, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    let mut totals = TotalColumns::default();
    for (key, sums) in rows {
        keys.push(key);
        // In steps, so that the index on it is left alone by most updates.
        let steps = sums.received.saturating_add(ARRIVAL_STEP_NS - 1) / ARRIVAL_STEP_NS;
        received.push(steps.saturating_mul(ARRIVAL_STEP_NS));
        durations.push(sums.duration_sum_ns);
        histograms.push(number_array(&sums.durations.to_pairs()));
        totals.push(sums.span_count, sums.error_count, &sums.totals);
    }
    let mut params = keys.params().to_vec();
    params.extend::<[Param<'_>; 4]>([
        (&received, Type::INT8_ARRAY),
        (&durations, Type::INT8_ARRAY),
        (&totals.span_counts, Type::INT8_ARRAY),
        (&totals.error_counts, Type::INT8_ARRAY),
    ]);
    params.extend(totals.counted());
    params.push((&histograms, Type::TEXT_ARRAY));
    transaction
        .execute(UPSERT_ROLLUPS, &params, "store rollups")
        .await?;
    remove_from_rollups(transaction, rows).await
}

/// Takes away what earlier spans no longer count for. The rows are locked already: all of them were
/// just written.
async fn remove_from_rollups(transaction: &Transaction, rows: &Rows<'_>) -> Result<(), Error> {
    let mut keys = KeyColumns::default();
    let mut removed = TotalColumns::default();
    for (key, sums) in rows {
        if sums.removed != Totals::default() {
            keys.push(key);
            removed.push(0, 0, &sums.removed);
        }
    }
    if keys.projects.is_empty() {
        return Ok(());
    }
    let mut params = keys.params().to_vec();
    params.extend(removed.counted());
    transaction
        .execute(REMOVE_FROM_ROLLUPS, &params, "correct rollups")
        .await?;
    Ok(())
}
