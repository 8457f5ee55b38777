//! What is asked for, as parameters.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::facts::Wanted;
use super::super::scan::Piece;
use super::super::session::{Param, Session};
use super::super::slices::Slice;
use super::super::{project_id, signed, stored_text};
use super::Place;
use super::sql::{Driver, FOUND};
use crate::model::ProjectId;
use crate::storage::{Error, SpanFilter, StatusFilter};

const CONTEXT: &str = "list spans";

/// The parameters that stay the same from piece to piece.
pub(in super::super) struct Question {
    pub(in super::super) driver: Driver,
    project: i64,
    service: Option<String>,
    name: Option<String>,
    failed: Option<bool>,
    duration_min: i64,
    duration_max: i64,
    trace_id: Option<Vec<u8>>,
    session_id: Option<String>,
    user_id: Option<String>,
    tokens_min: Option<i64>,
    cost_min: Option<i64>,
    wanted: Wanted,
}

impl Question {
    pub(in super::super) fn new(project: ProjectId, filter: &SpanFilter) -> Self {
        let driver = match (filter.trace_id, filter.status_implied()) {
            (Some(_), _) => Driver::Trace,
            (None, Some(StatusFilter::Error)) => Driver::Failed,
            (None, _) => Driver::Start,
        };
        let text = |text: &Option<String>| text.as_deref().map(stored_text);
        Self {
            driver,
            project: project_id(project),
            service: text(&filter.service),
            name: text(&filter.name),
            failed: filter
                .status_implied()
                .map(|status| status == StatusFilter::Error),
            duration_min: filter.duration_min_ns.map_or(0, signed),
            duration_max: filter.duration_max_ns.map_or(i64::MAX, signed),
            trace_id: filter.trace_id.map(|id| id.0.to_vec()),
            session_id: text(&filter.session_id),
            user_id: text(&filter.user_id),
            tokens_min: filter.tokens_min,
            cost_min: filter.cost_min_nano_usd,
            wanted: Wanted::new(&filter.facts),
        }
    }

    /// Asks for a piece, with one of the statements of the driver.
    pub(in super::super) async fn ask(
        &self,
        session: &Session,
        sql: &'static str,
        slice: Slice,
        place: &Place,
        piece: Piece,
    ) -> Result<Vec<Row>, Error> {
        let (start, span, trace) = &place.below;
        let of_piece: [Param<'_>; 8] = [
            (&place.from, Type::INT8),
            (&place.to, Type::INT8),
            (start, Type::INT8),
            (span, Type::BYTEA),
            (trace, Type::BYTEA),
            (&piece.rows, Type::INT8),
            (&piece.answers, Type::INT8),
            (&self.trace_id, Type::BYTEA),
        ];
        let mut params = self.filters(&slice).to_vec();
        params.extend(of_piece);
        match self.driver {
            Driver::Start | Driver::Failed => session.walk(sql, &params, CONTEXT).await,
            Driver::Trace => session.query(sql, &params, CONTEXT).await,
        }
    }

    /// Asks for rows by the ids of their traces, their own, and their starts.
    pub(in super::super) async fn found(
        &self,
        session: &Session,
        slice: Slice,
        traces: &[&[u8]],
        spans: &[&[u8]],
        starts: &[i64],
    ) -> Result<Vec<Row>, Error> {
        let keys: [Param<'_>; 3] = [
            (&traces, Type::BYTEA_ARRAY),
            (&spans, Type::BYTEA_ARRAY),
            (&starts, Type::INT8_ARRAY),
        ];
        let mut params = self.filters(&slice).to_vec();
        params.extend(keys);
        session.query(FOUND, &params, "read what was found").await
    }

    fn filters<'a>(&'a self, slice: &'a Slice) -> [Param<'a>; 19] {
        let wanted = &self.wanted;
        [
            (&self.project, Type::INT8),
            (&slice.from, Type::TIMESTAMPTZ),
            (&slice.before, Type::TIMESTAMPTZ),
            (&self.service, Type::TEXT),
            (&self.name, Type::TEXT),
            (&self.failed, Type::BOOL),
            (&self.duration_min, Type::INT8),
            (&self.duration_max, Type::INT8),
            (&self.session_id, Type::TEXT),
            (&self.user_id, Type::TEXT),
            (&self.tokens_min, Type::INT8),
            (&self.cost_min, Type::INT8),
            (&wanted.operation, Type::TEXT),
            (&wanted.provider, Type::TEXT),
            (&wanted.model, Type::TEXT),
            (&wanted.agent, Type::TEXT),
            (&wanted.tool, Type::TEXT),
            (&wanted.tag, Type::TEXT),
            (&wanted.error_kind, Type::INT2),
        ]
    }
}
