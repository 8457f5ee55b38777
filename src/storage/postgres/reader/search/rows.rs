//! The rows of what was found.

use std::collections::HashMap;

use super::Key;
use crate::model::{SpanId, TraceId};
use crate::storage::Error;
use crate::storage::postgres::reader::columns::{Columns, SpanColumns};
use crate::storage::postgres::reader::session::Session;
use crate::storage::postgres::reader::slices::whole;
use crate::storage::postgres::reader::spans::Question;
use crate::storage::search::Hit;

/// The rows of what was found, as far as they pass the filters and are still there.
pub(in super::super) async fn read(
    session: &Session,
    question: &Question,
    found: &[((Key, i64), Hit)],
) -> Result<HashMap<(TraceId, SpanId), SpanColumns>, Error> {
    let starts: Vec<_> = found.iter().map(|(((start, ..), _), _)| *start).collect();
    let (earliest, latest) = (starts.iter().min(), starts.iter().max());
    let slice = whole(earliest.copied().unwrap_or(0), latest.copied().unwrap_or(0));
    let traces: Vec<_> = found
        .iter()
        .map(|(((_, _, trace), _), _)| trace.as_slice())
        .collect();
    let spans: Vec<_> = found
        .iter()
        .map(|(((_, span, _), _), _)| span.as_slice())
        .collect();
    let rows = question
        .found(session, slice, &traces, &spans, &starts)
        .await?;
    rows.iter()
        .map(|row| {
            let columns = SpanColumns::read(&mut Columns::new(row))?;
            let key = (columns.summary.trace_id, columns.summary.span_id);
            Ok((key, columns))
        })
        .collect()
}
