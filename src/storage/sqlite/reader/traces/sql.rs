//! The statements of the trace list, and the rows they answer.

use rusqlite::Row;

use crate::model::genai::Totals;
use crate::model::{SpanId, TraceId};
use crate::storage::query::FirstError;
use crate::storage::sqlite::reader::failure::read_error;
use crate::storage::sqlite::reader::keys::id_bytes;
use crate::storage::sqlite::reader::{corrupt, unsigned};
use crate::storage::{Error, TraceSummary};

/// A statement over `trace`, its columns in the order [`summary`] reads them.
macro_rules! select_trace {
    ($rest:literal) => {
        concat!(
            "SELECT trace.trace_key, trace.start_unix_nano, end_unix_nano, head_name, ",
            "error_count, trace_id, span_count, genai_span_count, head_has_parent, ",
            "head_span_id, head_service, services, models, session_id, user_id, error_span_id, ",
            "error_name, error_type, error_message, llm_call_count, input_tokens, output_tokens, ",
            "cache_read_tokens, cost_nano_usd ",
            $rest
        )
    };
}

/// One trace by its row.
pub(in crate::storage::sqlite::reader) const ONE: &str =
    select_trace!("FROM trace WHERE project_id = ?1 AND trace_key = ?2");

/// An index that yields traces newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage::sqlite::reader) enum Driver {
    /// All traces.
    Start,
    /// Traces with a failed span.
    Failed,
    /// Traces of a service.
    Service,
}

impl Driver {
    /// Statement for traces that start at the cursor's time, below its key.
    pub(in crate::storage::sqlite::reader) const fn tie(self) -> &'static str {
        match self {
            Self::Start => select_trace!(
                "FROM trace INDEXED BY trace_start \
                 WHERE project_id = ?1 AND start_unix_nano = ?2 AND trace_key < ?3 \
                 ORDER BY trace_key DESC"
            ),
            Self::Failed => select_trace!(
                "FROM trace INDEXED BY trace_failed WHERE project_id = ?1 AND error_count > 0 \
                 AND start_unix_nano = ?2 AND trace_key < ?3 ORDER BY trace_key DESC"
            ),
            Self::Service => select_trace!(
                "FROM trace_service AS part CROSS JOIN trace USING (trace_key) \
                 WHERE part.project_id = ?1 AND trace.project_id = ?1 \
                 AND part.service_name = ?4 AND part.start_unix_nano = ?2 \
                 AND part.trace_key < ?3 ORDER BY part.trace_key DESC"
            ),
        }
    }

    /// Statement for traces that start within a range.
    pub(in crate::storage::sqlite::reader) const fn between(self) -> &'static str {
        match self {
            Self::Start => select_trace!(
                "FROM trace INDEXED BY trace_start \
                 WHERE project_id = ?1 AND start_unix_nano BETWEEN ?2 AND ?3 \
                 ORDER BY start_unix_nano DESC, trace_key DESC"
            ),
            Self::Failed => select_trace!(
                "FROM trace INDEXED BY trace_failed WHERE project_id = ?1 AND error_count > 0 \
                 AND start_unix_nano BETWEEN ?2 AND ?3 \
                 ORDER BY start_unix_nano DESC, trace_key DESC"
            ),
            Self::Service => select_trace!(
                "FROM trace_service AS part CROSS JOIN trace USING (trace_key) \
                 WHERE part.project_id = ?1 AND trace.project_id = ?1 \
                 AND part.service_name = ?4 AND part.start_unix_nano BETWEEN ?2 AND ?3 \
                 ORDER BY part.start_unix_nano DESC, part.trace_key DESC"
            ),
        }
    }
}

/// Rows of a session's traces with their starts; sorted by us.
pub(in crate::storage::sqlite::reader) const SESSION_TRACES: &str = "SELECT trace.start_unix_nano, trace.trace_key FROM session_trace \
     CROSS JOIN trace USING (trace_key) \
     WHERE session_trace.session_key = ?2 AND trace.project_id = ?1";
/// Whether a service takes part in a trace: its list in the summary is capped.
pub(in crate::storage::sqlite::reader) const HAS_SERVICE: &str = "SELECT 1 FROM trace_service \
     WHERE project_id = ?1 AND service_name = ?2 AND start_unix_nano = ?3 AND trace_key = ?4";
/// Whether a trace has a span of a session.
pub(in crate::storage::sqlite::reader) const HAS_SESSION: &str =
    "SELECT 1 FROM session_trace WHERE session_key = ?1 AND trace_key = ?2";

/// Reads a row selected with `select_trace!`.
pub(in crate::storage::sqlite::reader) fn summary(row: &Row<'_>) -> Result<TraceSummary, Error> {
    let read = read_error("read a trace");
    let services = names(row, 11)?;
    let models = names(row, 12)?;
    columns(row, services, models).map_err(read)
}

/// Reads a list of names.
pub(super) fn names(row: &Row<'_>, column: usize) -> Result<Vec<String>, Error> {
    let text = row
        .get_ref(column)
        .and_then(|value| Ok(value.as_str()?))
        .map_err(read_error("read a trace"))?;
    serde_json::from_str(text).map_err(|_| corrupt("a list of names of a trace"))
}

fn columns(
    row: &Row<'_>,
    services: Vec<String>,
    models: Vec<String>,
) -> rusqlite::Result<TraceSummary> {
    let count = |column| -> rusqlite::Result<u64> { Ok(unsigned(row.get(column)?)) };
    let headless: bool = row.get(8)?;
    let error_span: Option<[u8; SpanId::LENGTH]> = row.get(15)?;
    let first_error = match error_span {
        None => None,
        Some(span_id) => Some(FirstError {
            span_id: SpanId(span_id),
            name: row.get::<_, Option<String>>(16)?.unwrap_or_default(),
            error_type: row.get(17)?,
            message: row.get::<_, Option<String>>(18)?.unwrap_or_default(),
        }),
    };
    Ok(TraceSummary {
        trace_id: TraceId(id_bytes(row, 5)?),
        name: row.get(3)?,
        service_name: row.get(10)?,
        root_span_id: if headless {
            None
        } else {
            Some(SpanId(id_bytes(row, 9)?))
        },
        start_unix_nano: count(1)?,
        end_unix_nano: count(2)?,
        span_count: count(6)?,
        error_count: count(4)?,
        genai_span_count: count(7)?,
        totals: Totals {
            llm_calls: row.get(19)?,
            input_tokens: row.get(20)?,
            output_tokens: row.get(21)?,
            cache_read_tokens: row.get(22)?,
            cost_nano_usd: row.get(23)?,
        },
        services,
        models,
        session_id: row.get(13)?,
        user_id: row.get(14)?,
        first_error,
    })
}
