//! The statements of the trace list.

/// Columns of `trace` beside its place in the list.
macro_rules! other_columns {
    () => {
        "last_start_unix_nano, received_unix_nano, head_name, \
         head_service, head_has_parent, head_span_id, end_unix_nano, span_count, error_count, \
         genai_span_count, llm_call_count, input_tokens, output_tokens, cache_read_tokens, \
         cost_nano_usd, services, models, session_id, user_id, error_span_id, error_name, \
         error_type, error_message"
    };
}

/// Columns of `trace` in the order [`super::TraceRow`] takes them.
macro_rules! trace_columns {
    () => {
        concat!("start_unix_nano, trace_id, ", other_columns!())
    };
}

/// What the server tests, on a row `found`.
macro_rules! filters {
    () => {
        "($8::text IS NULL OR head_name = $8) \
         AND ($9::boolean IS NULL OR (error_count > 0) = $9) \
         AND end_unix_nano - start_unix_nano BETWEEN $10 AND $11 \
         AND ($12::text IS NULL OR EXISTS (SELECT FROM session_trace AS part \
             WHERE part.project_id = $1 AND part.session_id = $12 \
             AND part.trace_id = found.trace_id OFFSET 0)) \
         AND ($13::text IS NULL OR EXISTS (SELECT FROM trace_service AS part \
             WHERE part.project_id = $1 AND part.service_name = $13 \
             AND part.start_unix_nano = found.start_unix_nano \
             AND part.trace_id = found.trace_id OFFSET 0)) \
         AND ($15::text IS NULL OR user_id = $15) \
         AND ($16::bigint IS NULL OR input_tokens::numeric + output_tokens >= $16) \
         AND ($17::bigint IS NULL OR cost_nano_usd >= $17) \
         AND ($18::text IS NULL OR $18 = ANY(models) OR cardinality(models) >= $19)"
    };
}

/// A piece of the walk that `$rows` drives: what matches, and the last row looked at. Each row is
/// tested once: the offset keeps the test from being copied to where its outcome is used.
macro_rules! select_traces {
    ($rows:expr) => {
        concat!(
            "SELECT number, matches, ",
            trace_columns!(),
            " FROM ( \
             SELECT *, (",
            filters!(),
            ") IS TRUE AS matches FROM ( \
             SELECT *, row_number() OVER walked AS number, \
                 lead(true) OVER walked IS NULL AS is_last \
             FROM (",
            $rows,
            ") AS looked \
             WINDOW walked AS (ORDER BY start_unix_nano DESC, trace_id DESC)) AS found \
             ORDER BY start_unix_nano DESC, trace_id DESC OFFSET 0) AS tested \
             WHERE matches OR is_last \
             ORDER BY start_unix_nano DESC, trace_id DESC LIMIT $7"
        )
    };
}

/// The part of an index that is left to walk, a piece of it.
macro_rules! rest {
    () => {
        "AND start_unix_nano BETWEEN $2 AND $3 AND (start_unix_nano, trace_id) < ($4, $5) \
         ORDER BY start_unix_nano DESC, trace_id DESC LIMIT $6"
    };
}

/// The row of the trace that `part` names. Looked up one by one, however many there are.
macro_rules! trace_of_part {
    () => {
        concat!(
            "CROSS JOIN LATERAL (SELECT start_unix_nano AS start, ",
            other_columns!(),
            " FROM trace WHERE trace.project_id = $1 AND trace.trace_id = part.trace_id OFFSET 0 \
             ) AS one "
        )
    };
}

/// What yields traces newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::storage::postgres::reader) enum Driver {
    /// All traces.
    Start,
    /// Traces with a failed span.
    Failed,
    /// Traces of a service.
    Service,
    /// Traces of a session, all of them sorted.
    Session,
}

impl Driver {
    /// The statement of a piece.
    pub(in crate::storage::postgres::reader) const fn sql(self) -> &'static str {
        match self {
            Self::Start => select_traces!(concat!(
                "SELECT ",
                trace_columns!(),
                " FROM trace WHERE project_id = $1 ",
                rest!()
            )),
            Self::Failed => select_traces!(concat!(
                "SELECT ",
                trace_columns!(),
                " FROM trace WHERE project_id = $1 AND error_count > 0 ",
                rest!()
            )),
            Self::Service => select_traces!(concat!(
                "SELECT part.*, one.* FROM (SELECT start_unix_nano, trace_id FROM trace_service \
                 WHERE project_id = $1 AND service_name = $14 ",
                rest!(),
                ") AS part ",
                trace_of_part!()
            )),
            Self::Session => select_traces!(concat!(
                "SELECT * FROM (SELECT part.trace_id, one.start AS start_unix_nano, one.* \
                 FROM session_trace AS part ",
                trace_of_part!(),
                "WHERE part.project_id = $1 AND part.session_id = $14) AS every \
                 WHERE true ",
                rest!()
            )),
        }
    }
}

/// One trace.
pub(in crate::storage::postgres::reader) const ONE: &str = concat!(
    "SELECT ",
    trace_columns!(),
    " FROM trace WHERE project_id = $1 AND trace_id = $2"
);

/// Traces of a session after one of them, oldest first.
pub(in crate::storage::postgres::reader) const OF_SESSION: &str = concat!(
    "SELECT ",
    trace_columns!(),
    " FROM (SELECT part.trace_id, one.start AS start_unix_nano, one.* FROM session_trace AS part ",
    trace_of_part!(),
    "WHERE part.project_id = $1 AND part.session_id = $2) AS every \
     WHERE (start_unix_nano, trace_id) > ($3, $4) ORDER BY start_unix_nano, trace_id LIMIT $5"
);

/// How many traces a session has.
pub(in crate::storage::postgres::reader) const SESSION_SIZE: &str =
    "SELECT trace_count FROM session WHERE project_id = $1 AND session_id = $2";
