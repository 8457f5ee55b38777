//! Metrics: the list of them, and their points over time.

use rusqlite::{Row, params};

use super::failure::read_error;
use super::pool::Session;
use super::{corrupt, unsigned};
use crate::model::ProjectId;
use crate::model::metric::{MetricKind, SeriesId, Temporality};
use crate::storage::metrics::engine::Engine;
use crate::storage::metrics::gather::{Gather, SeriesFound};
use crate::storage::metrics::identity::metric_id;
use crate::storage::metrics::query::{
    MetricAnswer, MetricFilter, MetricKey, MetricQuery, MetricSummary, NoAnswer, SERVICES_MAX,
};
use crate::storage::{Error, Page, PageRequest};

/// Metrics after one, by name. The empty text comes before all names.
pub(super) const LIST: &str = "SELECT kind, temporality, is_monotonic, name, unit, max(description), \
        json_group_array(DISTINCT service_name), count(*), max(is_overflow), \
        max(last_seen_unix_nano) \
     FROM metric_series INDEXED BY metric_series_name \
     WHERE project_id = ?1 AND name >= ?2 \
        AND (name, kind, temporality, is_monotonic, unit) > (?3, ?4, ?5, ?6, ?7) \
        AND (?8 IS NULL OR service_name = ?8) \
     GROUP BY name, kind, temporality, is_monotonic, unit \
     ORDER BY name, kind, temporality, is_monotonic, unit LIMIT ?9";

/// The series of a metric.
pub(super) const SERIES: &str = "SELECT kind, temporality, is_monotonic, name, unit, series_id, \
        service_name, environment, attributes, resource \
     FROM metric_series INDEXED BY metric_series_name WHERE project_id = ?1 AND name = ?2 \
     ORDER BY kind, temporality, is_monotonic, unit";

/// Chunks of a metric, in the order of time.
pub(super) const CHUNKS: &str = "SELECT slot_unix_nano, series_id, points FROM metric_chunk \
     WHERE project_id = ?1 AND metric_id = ?2 AND slot_unix_nano BETWEEN ?3 AND ?4 \
     ORDER BY slot_unix_nano, series_id, part";

/// The metrics of a project, by name.
pub(super) fn list(
    session: &Session<'_>,
    project: ProjectId,
    filter: &MetricFilter,
    page: &PageRequest,
) -> Result<Page<MetricSummary>, Error> {
    let read = read_error("list metrics");
    let after = page.after.as_ref().map(MetricKey::of_cursor).transpose()?;
    let prefix = filter.prefix.as_deref().unwrap_or_default();
    let mut statement = session.connection.prepare_cached(LIST).map_err(&read)?;
    let limit = i64::try_from(page.limit.max(1)).unwrap_or(i64::MAX - 1);
    let mut rows = statement
        .query(params![
            project.0,
            prefix,
            after.as_ref().map_or("", |it| it.name.as_str()),
            after.as_ref().map_or(-1, |it| it.kind as i64),
            after.as_ref().map_or(-1, |it| it.temporality as i64),
            after.as_ref().is_some_and(|it| it.is_monotonic),
            after.as_ref().map_or("", |it| it.unit.as_str()),
            filter.service,
            limit + 1,
        ])
        .map_err(&read)?;
    let (mut items, mut next): (Vec<MetricSummary>, _) = (Vec::new(), None);
    while let Some(row) = rows.next().map_err(&read)? {
        session.check()?;
        let key = key(row).map_err(&read)?.ok_or_else(|| corrupt("metric"))?;
        if !key.name.starts_with(prefix) {
            break;
        }
        if items.len() >= page.limit.max(1) {
            next = items.last().map(|last| last.key.cursor());
            break;
        }
        let services: String = row.get(6).map_err(&read)?;
        let mut services: Vec<String> =
            serde_json::from_str(&services).map_err(|_| corrupt("services of a metric"))?;
        services.retain(|service| !service.is_empty());
        services.sort();
        services.truncate(SERVICES_MAX);
        items.push(MetricSummary {
            key,
            description: row.get(5).map_err(&read)?,
            services,
            series_count: unsigned(row.get(7).map_err(&read)?),
            has_overflow: row.get(8).map_err(&read)?,
            last_seen_unix_nano: unsigned(row.get(9).map_err(&read)?),
        });
    }
    Ok(Page { items, next })
}

/// Reads the first columns of [`LIST`] and [`SERIES`].
fn key(row: &Row<'_>) -> rusqlite::Result<Option<MetricKey>> {
    let Some(kind) = MetricKind::from_number(row.get(0)?) else {
        return Ok(None);
    };
    Ok(Some(MetricKey {
        kind,
        temporality: Temporality::from_number(row.get(1)?),
        is_monotonic: row.get(2)?,
        name: row.get(3)?,
        unit: row.get(4)?,
    }))
}

/// The points of a metric over time.
pub(super) fn answer(
    session: &Session<'_>,
    project: ProjectId,
    query: &MetricQuery,
) -> Result<Result<MetricAnswer, NoAnswer>, Error> {
    let mut engine = match Engine::new(gather(session, project, query)?) {
        Ok(engine) => engine,
        Err(no_answer) => return Ok(Err(no_answer)),
    };
    let read = read_error("read points of a metric");
    let (first, last) = engine.slots();
    let mut statement = session.connection.prepare_cached(CHUNKS).map_err(&read)?;
    let mut rows = statement
        .query(params![project.0, metric_id(&query.name), first, last])
        .map_err(&read)?;
    while let Some(row) = rows.next().map_err(&read)? {
        session.check()?;
        let (slot, series) = (row.get(0).map_err(&read)?, row.get(1).map_err(&read)?);
        engine.show(slot, SeriesId(series), row.get(2).map_err(&read)?)?;
    }
    Ok(Ok(engine.finish()?))
}

fn gather<'q>(
    session: &Session<'_>,
    project: ProjectId,
    query: &'q MetricQuery,
) -> Result<Gather<'q>, Error> {
    let read = read_error("read series of a metric");
    let mut statement = session.connection.prepare_cached(SERIES).map_err(&read)?;
    let mut rows = statement
        .query(params![project.0, query.name])
        .map_err(&read)?;
    let mut gather = Gather::new(query);
    while let Some(row) = rows.next().map_err(&read)? {
        session.check()?;
        gather.add(&SeriesFound {
            key: key(row).map_err(&read)?.ok_or_else(|| corrupt("metric"))?,
            id: SeriesId(row.get(5).map_err(&read)?),
            service_name: row.get(6).map_err(&read)?,
            environment: row.get(7).map_err(&read)?,
            attributes: row.get(8).map_err(&read)?,
            resource: row.get(9).map_err(&read)?,
        });
    }
    Ok(gather)
}
