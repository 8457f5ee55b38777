//! Sums over time, from rollups where they have what is asked for.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::columns::Columns;
use super::session::{Param, Session};
use super::{corrupt, project_id, span_sums, stored_text};
use crate::model::ProjectId;
use crate::model::histogram::Histogram;
use crate::storage::Error;
use crate::storage::query::{
    AnalyticsAnswer, AnalyticsQuery, AnalyticsRow, Details, Dimension, Measures,
};
use crate::storage::rollup::cover;

/// The rows of some stretches of levels, added up by bucket and group. Sums stop at the largest
/// integer. Histograms come one after the other: adding them up here is cheaper than in SQL.
pub(super) const SUMS: &str = "SELECT \
         CASE WHEN $5 > 0 THEN minute / $5 * $5 ELSE $6 END AS bucket, \
         CASE WHEN $7 THEN service_name ELSE '' END AS service_group, \
         CASE WHEN $8 THEN operation ELSE '' END AS operation_group, \
         CASE WHEN $9 THEN provider ELSE '' END AS provider_group, \
         CASE WHEN $10 THEN model ELSE '' END AS model_group, \
         least(sum(span_count), 9223372036854775807)::bigint, \
         least(sum(error_count), 9223372036854775807)::bigint, \
         least(sum(duration_sum_ns), 9223372036854775807)::bigint, \
         least(sum(llm_call_count), 9223372036854775807)::bigint, \
         least(sum(input_tokens), 9223372036854775807)::bigint, \
         least(sum(output_tokens), 9223372036854775807)::bigint, \
         least(sum(cache_read_tokens), 9223372036854775807)::bigint, \
         least(sum(cost_nano_usd), 9223372036854775807)::bigint, \
         string_agg(CASE WHEN $15 THEN array_send(duration_hist) END, ''::bytea) \
     FROM unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS stretch (level, first, after) \
     CROSS JOIN LATERAL (SELECT * FROM rollup \
         WHERE rollup.project_id = $1 AND rollup.level = stretch.level \
         AND rollup.minute >= stretch.first AND rollup.minute < stretch.after \
         AND ($11::text IS NULL OR service_name = $11) \
         AND ($12::text IS NULL OR operation = $12) \
         AND ($13::text IS NULL OR provider = $13) \
         AND ($14::text IS NULL OR model = $14) OFFSET 0) AS part \
     GROUP BY 1, 2, 3, 4, 5 LIMIT 100001";

/// Distinct rows an answer may have before it is cut: bounds memory, not the answer's truth.
const GROUPS_MAX: usize = 100_000;

/// Dimensions in the order of the columns.
const DIMENSIONS: [Dimension; 4] = [
    Dimension::Service,
    Dimension::Operation,
    Dimension::Provider,
    Dimension::Model,
];

/// Adds the rollups of a range up by bucket and group.
pub(super) async fn analytics(
    session: &Session,
    project: ProjectId,
    query: &AnalyticsQuery,
) -> Result<AnalyticsAnswer, Error> {
    if query.is_of_spans() {
        return span_sums::answer(session, project, query).await;
    }
    let stretches = cover(query.start_minute, query.end_minute, query.step_minutes);
    let levels: Vec<_> = stretches.iter().map(|part| part.level as i16).collect();
    let first: Vec<_> = stretches.iter().map(|part| part.start).collect();
    let after: Vec<_> = stretches.iter().map(|part| part.end).collect();
    let grouped = DIMENSIONS.map(|dimension| query.group_by.contains(&dimension));
    let mut wanted = DIMENSIONS.map(|dimension| values(query, dimension));
    for values in &mut wanted {
        values.dedup();
        if values.len() > 1 {
            // A dimension has one value.
            return Ok(AnalyticsAnswer::default());
        }
    }
    let wanted = wanted.map(|mut values| values.pop());
    let (project, step) = (
        project_id(project),
        i64::from(query.step_minutes.unwrap_or(0)),
    );
    let [by_service, by_operation, by_provider, by_model] = &grouped;
    let [service, operation, provider, model] = &wanted;
    let params: [Param<'_>; 15] = [
        (&project, Type::INT8),
        (&levels, Type::INT2_ARRAY),
        (&first, Type::INT8_ARRAY),
        (&after, Type::INT8_ARRAY),
        (&step, Type::INT8),
        (&query.start_minute, Type::INT8),
        (by_service, Type::BOOL),
        (by_operation, Type::BOOL),
        (by_provider, Type::BOOL),
        (by_model, Type::BOOL),
        (service, Type::TEXT),
        (operation, Type::TEXT),
        (provider, Type::TEXT),
        (model, Type::TEXT),
        (&query.durations, Type::BOOL),
    ];
    let rows = session.query(SUMS, &params, "read rollups").await?;
    if rows.len() > GROUPS_MAX {
        return Err(Error::Timeout);
    }
    let mut groups = BTreeMap::new();
    for row in &rows {
        let (key, sums) = read(row, query)?;
        groups.insert(key, sums);
    }
    let truncated = groups.len() > query.limit;
    let rows = groups.into_iter().take(query.limit);
    let rows = rows.map(|((bucket_minute, group), measures)| AnalyticsRow {
        bucket_minute,
        group,
        measures,
    });
    Ok(AnalyticsAnswer {
        rows: rows.collect(),
        truncated,
        counted_from_unix_nano: None,
    })
}

fn values(query: &AnalyticsQuery, wanted: Dimension) -> Vec<String> {
    let of_dimension = query
        .filters
        .iter()
        .filter(|(dimension, _)| *dimension == wanted);
    of_dimension.map(|(_, value)| stored_text(value)).collect()
}

type Key = (i64, Vec<String>);

fn read(row: &Row, query: &AnalyticsQuery) -> Result<(Key, Measures), Error> {
    let mut columns = Columns::new(row);
    let bucket = columns.take()?;
    let values: [String; 4] = [
        columns.take()?,
        columns.take()?,
        columns.take()?,
        columns.take()?,
    ];
    let value = |wanted: &Dimension| {
        let place = DIMENSIONS.iter().position(|dimension| dimension == wanted);
        place
            .and_then(|place| values.get(place).cloned())
            .unwrap_or_default()
    };
    let group = query.group_by.iter().map(value).collect();
    let mut sums = Measures {
        span_count: columns.count()?,
        error_count: columns.count()?,
        duration_sum_ns: columns.count()?,
        totals: columns.totals()?,
        durations: Histogram::default(),
        details: Details::default(),
    };
    let histograms: Option<&[u8]> = columns.take()?;
    let mut rest = histograms.unwrap_or_default();
    while !rest.is_empty() {
        let pairs = read_array(&mut rest).ok_or_else(|| corrupt("the durations of a rollup"))?;
        let histogram = Histogram::from_pairs(&pairs);
        let histogram = histogram.map_err(|_| corrupt("the durations of a rollup"))?;
        sums.durations.merge(&histogram);
    }
    Ok(((bucket, group), sums))
}

/// Takes one `bigint[]` in its binary form off the front.
fn read_array(bytes: &mut &[u8]) -> Option<Vec<i64>> {
    let dimensions = read_int(bytes)?;
    let (_has_null, _element_type) = (read_int(bytes)?, read_int(bytes)?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let (length, _lower_bound) = (read_int(bytes)?, read_int(bytes)?);
    if dimensions != 1 {
        return None;
    }
    (0..length)
        .map(|_| {
            let (value, rest) = (read_int(bytes)? == 8)
                .then(|| bytes.split_first_chunk::<8>())
                .flatten()?;
            *bytes = rest;
            Some(i64::from_be_bytes(*value))
        })
        .collect()
}

fn read_int(bytes: &mut &[u8]) -> Option<i32> {
    let (value, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_taken_one_after_the_other() {
        let empty: Vec<u8> = [0_i32, 0, 20]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        let mut one: Vec<u8> = [1_i32, 0, 20, 2, 1]
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect();
        for value in [7_i64, -1] {
            one.extend(8_i32.to_be_bytes());
            one.extend(value.to_be_bytes());
        }
        let both = [one.clone(), empty, one].concat();
        let mut rest = both.as_slice();
        assert_eq!(read_array(&mut rest), Some(vec![7, -1]));
        assert_eq!(read_array(&mut rest), Some(vec![]));
        assert_eq!(read_array(&mut rest), Some(vec![7, -1]));
        assert!(rest.is_empty());
        for cut in 0..both.len() - 1 {
            let mut rest = &both[..cut];
            while !rest.is_empty() && read_array(&mut rest).is_some() {}
        }
    }
}
