//! Sums over time, from rollups where they have what is asked for.

use std::collections::BTreeMap;

use rusqlite::params;

use super::failure::read_error;
use super::keys::blob;
use super::pool::Session;
use super::{corrupt, span_sums, unsigned};
use crate::model::ProjectId;
use crate::model::genai::Totals;
use crate::model::histogram::Histogram;
use crate::storage::Error;
use crate::storage::query::{AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, Dimension, Measures};
use crate::storage::rollup::{Stretch, cover};

const SELECT: &str = "SELECT minute, service_name, operation, provider, model, span_count,
        error_count, duration_sum_ns, llm_call_count, input_tokens, output_tokens,
        cache_read_tokens, cost_nano_usd, duration_hist
    FROM rollup WHERE project_id = ?1 AND level = ?2 AND minute >= ?3 AND minute < ?4";

/// Distinct rows added up before the answer is cut: bounds memory, not the answer's truth.
const GROUPS_MAX: usize = 100_000;

/// Rows looked at between two checks of the time limit.
const ROWS_PER_CHECK: usize = 1024;

type Groups = BTreeMap<(i64, Vec<String>), Measures>;

/// Adds the rollups of a range up by bucket and group.
pub(super) fn analytics(
    session: &Session<'_>,
    project: ProjectId,
    query: &AnalyticsQuery,
) -> Result<AnalyticsAnswer, Error> {
    if query.is_of_spans() {
        return span_sums::answer(session, project, query);
    }
    let mut groups = Groups::new();
    for stretch in cover(query.start_minute, query.end_minute, query.step_minutes) {
        add_stretch(session, project, query, &stretch, &mut groups)?;
    }
    let truncated = groups.len() > query.limit;
    let rows = groups.into_iter().take(query.limit);
    Ok(AnalyticsAnswer {
        rows: rows
            .map(|((bucket_minute, group), measures)| AnalyticsRow {
                bucket_minute,
                group,
                measures,
            })
            .collect(),
        truncated,
        counted_from_unix_nano: None,
    })
}

fn add_stretch(
    session: &Session<'_>,
    project: ProjectId,
    query: &AnalyticsQuery,
    stretch: &Stretch,
    groups: &mut Groups,
) -> Result<(), Error> {
    let read = read_error("read rollups");
    let mut statement = session.connection.prepare_cached(SELECT).map_err(&read)?;
    let params = params![project.0, stretch.level as u8, stretch.start, stretch.end];
    let mut rows = statement.query(params).map_err(&read)?;
    let mut seen = 0_usize;
    while let Some(row) = rows.next().map_err(&read)? {
        seen += 1;
        if seen.is_multiple_of(ROWS_PER_CHECK) {
            session.check()?;
        }
        let text = |dimension| {
            row.get_ref(column_of(dimension))?
                .as_str()
                .map_err(Into::into)
        };
        let wanted = query
            .filters
            .iter()
            .try_fold(true, |all, (dimension, value)| {
                text(*dimension).map(|found: &str| all && found == value)
            });
        if !wanted.map_err(&read)? {
            continue;
        }
        let group = query.group_by.iter();
        let group: rusqlite::Result<Vec<String>> = group
            .map(|dimension| text(*dimension).map(str::to_owned))
            .collect();
        let minute: i64 = row.get(0).map_err(&read)?;
        let bucket = query.step_minutes.map_or(query.start_minute, |step| {
            let step = i64::from(step.max(1));
            minute.div_euclid(step) * step
        });
        if groups.len() >= GROUPS_MAX {
            return Err(Error::Timeout);
        }
        let sums = groups.entry((bucket, group.map_err(&read)?)).or_default();
        add(sums, row).map_err(&read)?;
        if query.durations {
            let durations = Histogram::decode(blob(row, 13).map_err(&read)?)
                .map_err(|_| corrupt("the durations of a rollup"))?;
            sums.durations.merge(&durations);
        }
    }
    Ok(())
}

/// Where a dimension is in a row. Of those that rollups don't have nobody asks them.
const fn column_of(dimension: Dimension) -> usize {
    match dimension {
        Dimension::Service => 1,
        Dimension::Operation => 2,
        Dimension::Provider => 3,
        Dimension::Model
        | Dimension::User
        | Dimension::Agent
        | Dimension::Tool
        | Dimension::Environment
        | Dimension::Tag
        | Dimension::ErrorKind
        | Dimension::CostSource => 4,
    }
}

fn add(sums: &mut Measures, row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
    sums.span_count = sums.span_count.saturating_add(unsigned(row.get(5)?));
    sums.error_count = sums.error_count.saturating_add(unsigned(row.get(6)?));
    sums.duration_sum_ns = sums.duration_sum_ns.saturating_add(unsigned(row.get(7)?));
    sums.totals.add(Totals {
        llm_calls: row.get(8)?,
        input_tokens: row.get(9)?,
        output_tokens: row.get(10)?,
        cache_read_tokens: row.get(11)?,
        cost_nano_usd: row.get(12)?,
    });
    Ok(())
}
