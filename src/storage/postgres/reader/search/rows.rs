//! The rows of what was found.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::Key;
use crate::model::span::Status;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::postgres::reader::columns::{Columns, SpanColumns, span_columns};
use crate::storage::postgres::reader::session::{Param, Session};
use crate::storage::postgres::reader::slices::whole;
use crate::storage::postgres::reader::{project_id, stored_text};
use crate::storage::query::{SpanFilter, SpanSummary};
use crate::storage::search::Hit;
use crate::storage::{Error, StatusFilter};

/// Rows of spans by their keys, those whose traces are still there. Looked up one by one.
const FOUND: &str = concat!(
    "SELECT found.* FROM unnest($2::bytea[], $3::bytea[]) AS wanted (trace_id, span_id) \
     CROSS JOIN LATERAL (SELECT ",
    span_columns!(),
    " FROM span WHERE project_id = $1 AND span.trace_id = wanted.trace_id \
     AND span.span_id = wanted.span_id AND start_time >= $4 AND start_time < $5 \
     AND received_unix_nano >= (SELECT trace.received_unix_nano FROM trace \
         WHERE trace.project_id = $1 AND trace.trace_id = span.trace_id) OFFSET 0) AS found"
);

/// The rows of what was found, as far as they are still there.
pub(in super::super) async fn read(
    session: &Session,
    project: ProjectId,
    found: &[((Key, i64), Hit)],
) -> Result<HashMap<(TraceId, SpanId), SpanColumns>, Error> {
    let starts = found.iter().map(|(((start, ..), _), _)| *start);
    let earliest = starts.clone().min().unwrap_or(0);
    let slice = whole(earliest, starts.max().unwrap_or(0));
    let traces: Vec<_> = found
        .iter()
        .map(|(((_, _, trace), _), _)| trace.as_slice())
        .collect();
    let spans: Vec<_> = found
        .iter()
        .map(|(((_, span, _), _), _)| span.as_slice())
        .collect();
    let project = project_id(project);
    let params: [Param<'_>; 5] = [
        (&project, Type::INT8),
        (&traces, Type::BYTEA_ARRAY),
        (&spans, Type::BYTEA_ARRAY),
        (&slice.from, Type::TIMESTAMPTZ),
        (&slice.before, Type::TIMESTAMPTZ),
    ];
    let rows = session.query(FOUND, &params, "read what was found").await?;
    rows.iter()
        .map(|row| {
            let columns = SpanColumns::read(&mut Columns::new(row))?;
            let key = (columns.summary.trace_id, columns.summary.span_id);
            Ok((key, columns))
        })
        .collect()
}

/// Tests rows against the filters that columns answer, as the server does.
pub(super) struct ColumnTest<'f> {
    filter: &'f SpanFilter,
    service: Option<String>,
    name: Option<String>,
}

impl<'f> ColumnTest<'f> {
    /// A test for these filters.
    pub(super) fn new(filter: &'f SpanFilter) -> Self {
        Self {
            filter,
            service: filter.service.as_deref().map(stored_text),
            name: filter.name.as_deref().map(stored_text),
        }
    }

    /// Whether a row passes.
    pub(super) fn matches(&self, span: &SpanSummary) -> bool {
        // Every filter by its name, so that a new one is not forgotten here.
        let SpanFilter {
            range: _,
            trace_id: _,
            service: _,
            name: _,
            status,
            duration_min_ns,
            duration_max_ns,
            attributes: _,
        } = self.filter;
        let failed = span.status == Status::Error;
        status.is_none_or(|wanted| failed == (wanted == StatusFilter::Error))
            && duration_min_ns.is_none_or(|min| span.duration_ns >= min)
            && duration_max_ns.is_none_or(|max| span.duration_ns <= max)
            && self
                .service
                .as_ref()
                .is_none_or(|it| *it == span.service_name)
            && self.name.as_ref().is_none_or(|it| *it == span.name)
    }
}
