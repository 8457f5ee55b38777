//! Metrics: the list of them, and their points over time.

use futures_util::future::BoxFuture;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::writer::series_of;
use super::session::Session;
use super::{PostgresReader, corrupt, project_id, unsigned};
use crate::model::ProjectId;
use crate::model::metric::{MetricKind, Temporality};
use crate::storage::metrics::engine::Engine;
use crate::storage::metrics::gather::{Gather, SeriesFound};
use crate::storage::metrics::identity::metric_id;
use crate::storage::metrics::query::{
    MetricAnswer, MetricFilter, MetricKey, MetricQuery, MetricReader, MetricSummary, NoAnswer,
    SERVICES_MAX,
};
use crate::storage::{Error, Page, PageRequest};

/// Rows of a piece of a walk, and bytes of their points at most.
const PIECE_ROWS: i64 = 4000;
const PIECE_BYTES: i64 = 4 << 20;
/// Series read at once: each can have attributes of some dozens of kilobytes.
const SERIES_ROWS: i64 = 500;
/// Series that are named to the server when chunks are looked for; of more it sends all of the metric.
const NAMED_MAX: usize = 500;

/// Metrics after one, by name. The empty text comes before all names.
pub(super) const LIST: &str = "SELECT kind, temporality, is_monotonic, name, unit, \
        max(description) AS description, array_agg(DISTINCT service_name) AS services, \
        count(*) AS series, bool_or(is_overflow) AS has_overflow, \
        max(last_seen_unix_nano) AS last_seen \
     FROM metric_series WHERE project_id = $1 AND name >= $2 \
        AND (name, kind, temporality, is_monotonic, unit) > ($3, $4, $5, $6, $7) \
        AND ($8::text IS NULL OR service_name = $8) \
     GROUP BY name, kind, temporality, is_monotonic, unit \
     ORDER BY name, kind, temporality, is_monotonic, unit LIMIT $9";

/// Series of a metric after one.
pub(super) const SERIES: &str = "SELECT kind, temporality, is_monotonic, name, unit, series_id, \
        service_name, environment, attributes::text, resource::text \
     FROM metric_series WHERE project_id = $1 AND name = $2 \
        AND (kind, temporality, is_monotonic, unit, series_id) > ($3, $4, $5, $6, $7) \
     ORDER BY kind, temporality, is_monotonic, unit, series_id LIMIT $8";

/// A piece of the chunks of a metric after one, in the order of time: as many as fit into a number of
/// bytes, at least one.
pub(super) const CHUNKS: &str = "SELECT slot_unix_nano, series_id, part, points FROM ( \
     SELECT slot_unix_nano, series_id, part, points, sum(octet_length(points)) OVER ( \
         ORDER BY slot_unix_nano, series_id, part) - octet_length(points) AS before \
     FROM (SELECT slot_unix_nano, series_id, part, points FROM metric_chunk \
         WHERE project_id = $1 AND metric_id = $2 AND slot_unix_nano BETWEEN $3 AND $4 \
            AND (slot_unix_nano, series_id, part) > ($3, $5, $6) \
            AND ($7::bytea[] IS NULL OR series_id = ANY($7)) \
         ORDER BY slot_unix_nano, series_id, part LIMIT $8) AS piece) AS counted \
     WHERE before < $9 ORDER BY slot_unix_nano, series_id, part";

impl MetricReader for PostgresReader {
    fn list_metrics<'a>(
        &'a self,
        project: ProjectId,
        filter: &'a MetricFilter,
        page: &'a PageRequest,
    ) -> BoxFuture<'a, Result<Page<MetricSummary>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = list(&session, project, filter, page).await?;
            session.end();
            Ok(answer)
        })
    }

    fn metric<'a>(
        &'a self,
        project: ProjectId,
        query: &'a MetricQuery,
    ) -> BoxFuture<'a, Result<Result<MetricAnswer, NoAnswer>, Error>> {
        self.limited(async move {
            let session = self.sessions.begin().await?;
            let answer = answer(&session, project, query).await?;
            session.end();
            Ok(answer)
        })
    }
}

/// The metrics of a project, by name.
async fn list(
    session: &Session,
    project: ProjectId,
    filter: &MetricFilter,
    page: &PageRequest,
) -> Result<Page<MetricSummary>, Error> {
    let after = page.after.as_ref().map(MetricKey::of_cursor).transpose()?;
    let prefix = filter.prefix.as_deref().unwrap_or_default();
    let number = |of: fn(&MetricKey) -> u8| after.as_ref().map_or(-1, |it| i16::from(of(it)));
    let limit = i64::try_from(page.limit.max(1)).unwrap_or(i64::MAX - 1);
    let rows = session
        .query(
            LIST,
            &[
                (&project_id(project), Type::INT8),
                (&prefix, Type::TEXT),
                (
                    &after.as_ref().map_or("", |it| it.name.as_str()),
                    Type::TEXT,
                ),
                (&number(|it| it.kind as u8), Type::INT2),
                (&number(|it| it.temporality as u8), Type::INT2),
                (
                    &after.as_ref().is_some_and(|it| it.is_monotonic),
                    Type::BOOL,
                ),
                (
                    &after.as_ref().map_or("", |it| it.unit.as_str()),
                    Type::TEXT,
                ),
                (&filter.service, Type::TEXT),
                (&(limit + 1), Type::INT8),
            ],
            "list metrics",
        )
        .await?;
    let (mut items, mut next): (Vec<MetricSummary>, _) = (Vec::new(), None);
    for row in &rows {
        let key = key(row)?;
        if !key.name.starts_with(prefix) {
            break;
        }
        if items.len() >= page.limit.max(1) {
            next = items.last().map(|last| last.key.cursor());
            break;
        }
        let mut services: Vec<String> = row.get(6);
        services.retain(|service| !service.is_empty());
        services.sort();
        services.truncate(SERVICES_MAX);
        items.push(MetricSummary {
            key,
            description: row.get(5),
            services,
            series_count: unsigned(row.get(7)),
            has_overflow: row.get(8),
            last_seen_unix_nano: unsigned(row.get(9)),
        });
    }
    Ok(Page { items, next })
}

/// Reads the first columns of [`LIST`] and [`SERIES`].
fn key(row: &Row) -> Result<MetricKey, Error> {
    let kind = MetricKind::from_number(row.get::<_, i16>(0).into());
    Ok(MetricKey {
        kind: kind.ok_or_else(|| corrupt("the kind of a metric"))?,
        temporality: Temporality::from_number(row.get::<_, i16>(1).into()),
        is_monotonic: row.get(2),
        name: row.get(3),
        unit: row.get(4),
    })
}

/// The points of a metric over time.
async fn answer(
    session: &Session,
    project: ProjectId,
    query: &MetricQuery,
) -> Result<Result<MetricAnswer, NoAnswer>, Error> {
    let mut engine = match Engine::new(gather(session, project, query).await?) {
        Ok(engine) => engine,
        Err(no_answer) => return Ok(Err(no_answer)),
    };
    let named = engine.few(NAMED_MAX);
    let named: Option<Vec<Vec<u8>>> =
        named.map(|ids| ids.into_iter().map(|id| id.0.to_vec()).collect());
    let (first, last) = engine.slots();
    let mut after = (first, Vec::new(), -1_i32);
    loop {
        let rows = session
            .query(
                CHUNKS,
                &[
                    (&project_id(project), Type::INT8),
                    (&metric_id(&query.name), Type::INT8),
                    (&after.0, Type::INT8),
                    (&last, Type::INT8),
                    (&after.1, Type::BYTEA),
                    (&after.2, Type::INT4),
                    (&named, Type::BYTEA_ARRAY),
                    (&PIECE_ROWS, Type::INT8),
                    (&PIECE_BYTES, Type::INT8),
                ],
                "read points of a metric",
            )
            .await?;
        for row in &rows {
            after = (row.get(0), row.get(1), row.get(2));
            engine.show(after.0, series_of(&after.1)?, row.get(3))?;
        }
        // Fewer than that may be as many as fit.
        if rows.is_empty() {
            break;
        }
    }
    Ok(Ok(engine.finish()?))
}

async fn gather<'q>(
    session: &Session,
    project: ProjectId,
    query: &'q MetricQuery,
) -> Result<Gather<'q>, Error> {
    let mut gather = Gather::new(query);
    let mut after: Option<SeriesFound> = None;
    loop {
        let before = after.as_ref().map(|it| &it.key);
        let number = |of: fn(&MetricKey) -> u8| before.map_or(-1, |it| i16::from(of(it)));
        let rows = session
            .query(
                SERIES,
                &[
                    (&project_id(project), Type::INT8),
                    (&query.name, Type::TEXT),
                    (&number(|it| it.kind as u8), Type::INT2),
                    (&number(|it| it.temporality as u8), Type::INT2),
                    (&before.is_some_and(|it| it.is_monotonic), Type::BOOL),
                    (&before.map_or("", |it| it.unit.as_str()), Type::TEXT),
                    (
                        &after.as_ref().map_or(&[][..], |it| it.id.0.as_slice()),
                        Type::BYTEA,
                    ),
                    (&SERIES_ROWS, Type::INT8),
                ],
                "read series of a metric",
            )
            .await?;
        for row in &rows {
            let series = SeriesFound {
                key: key(row)?,
                id: series_of(row.get(5))?,
                service_name: row.get(6),
                environment: row.get(7),
                attributes: row.get(8),
                resource: row.get(9),
            };
            gather.add(&series);
            after = Some(series);
        }
        if i64::try_from(rows.len()).is_ok_and(|rows| rows < SERIES_ROWS) {
            return Ok(gather);
        }
    }
}
