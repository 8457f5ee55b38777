//! The statements of the span list and of searches.
//!
//! The parameters are the same for all of them: `$1` the project, `$2` and `$3` the slice, `$4` to
//! `$19` the filters, `$20` to `$26` what is asked for of a walk, `$27` the trace.

use super::super::columns::span_columns;

/// What the server tests of a row by itself.
macro_rules! column_filters {
    () => {
        "($4::text IS NULL OR service_name = $4) \
         AND ($9::text IS NULL OR session_id = $9) AND ($10::text IS NULL OR user_id = $10) \
         AND ($11::bigint IS NULL \
             OR coalesce(input_tokens, 0)::numeric + coalesce(output_tokens, 0) >= $11) \
         AND ($12::bigint IS NULL OR coalesce(cost_nano_usd, 0) >= $12) \
         AND ($13::text IS NULL OR operation = $13) AND ($14::text IS NULL OR provider = $14) \
         AND ($15::text IS NULL OR coalesce(response_model, request_model) = $15) \
         AND ($16::text IS NULL OR agent_name = $16 OR agent_id = $16) \
         AND ($17::text IS NULL OR tool_name = $17) AND ($18::text IS NULL OR $18 = ANY(tags)) \
         AND ($19::smallint IS NULL OR error_kind = $19) \
         AND ($5::text IS NULL OR name = $5) \
         AND ($6::boolean IS NULL OR (status = 2) = $6) \
         AND duration_ns BETWEEN $7 AND $8"
    };
}

/// Whether the trace of a row `found` is still there.
macro_rules! is_there {
    () => {
        " AND received_unix_nano >= (SELECT trace.received_unix_nano FROM trace \
             WHERE trace.project_id = $1 AND trace.trace_id = found.trace_id)"
    };
}

/// A piece of the walk: what matches, and the last row looked at. Each row is tested once: the
/// offset keeps the test from being copied to where its outcome is used.
macro_rules! select_spans {
    ($which:literal, $start:literal) => {
        concat!(
            "SELECT number, matches, ",
            span_columns!(),
            " FROM ( \
             SELECT *, (",
            column_filters!(),
            is_there!(),
            ") IS TRUE AS matches FROM ( \
             SELECT *, row_number() OVER walked AS number, \
                 lead(true) OVER walked IS NULL AS is_last \
             FROM (SELECT ",
            span_columns!(),
            " FROM span WHERE project_id = $1 ",
            $which,
            " AND start_time >= $2 AND start_time < $3 AND ",
            $start,
            " BETWEEN $20 AND $21 \
             AND (",
            $start,
            ", span_id, trace_id) < ($22, $23, $24) \
             ORDER BY ",
            $start,
            " DESC, span_id DESC, trace_id DESC LIMIT $25) AS looked \
             WINDOW walked AS (ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC) \
             ) AS found ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC OFFSET 0 \
             ) AS tested WHERE matches OR is_last \
             ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC LIMIT $26"
        )
    };
}

/// A piece of the walk as the blocks it is in: how many rows of each match and when the latest of
/// them starts; and, beside one of them, the last row looked at. Whether traces are still there is
/// not tested.
macro_rules! select_blocks {
    ($which:literal, $start:literal) => {
        concat!(
            "SELECT block_id, count(*) FILTER (WHERE matches), \
             max(start_unix_nano) FILTER (WHERE matches), count(*), \
             max(start_unix_nano) FILTER (WHERE is_last), \
             (array_agg(span_id) FILTER (WHERE is_last))[1], \
             (array_agg(trace_id) FILTER (WHERE is_last))[1] FROM ( \
             SELECT *, lead(true) OVER walked IS NULL AS is_last FROM ( \
             SELECT start_unix_nano, span_id, trace_id, block_id, (",
            column_filters!(),
            ") IS TRUE AS matches FROM span WHERE project_id = $1 ",
            $which,
            " AND start_time >= $2 AND start_time < $3 AND ",
            $start,
            " BETWEEN $20 AND $21 \
             AND (",
            $start,
            ", span_id, trace_id) < ($22, $23, $24) \
             ORDER BY ",
            $start,
            " DESC, span_id DESC, trace_id DESC LIMIT $25) AS looked \
             WINDOW walked AS (ORDER BY start_unix_nano DESC, span_id DESC, trace_id DESC) \
             ) AS found GROUP BY block_id"
        )
    };
}

/// Rows by their keys, those that pass the filters and whose traces are still there. Looked up one by
/// one: the offset keeps the filters from choosing an index. Start and id lead to a row by each of the
/// two that begin with one of them.
pub(in super::super) const FOUND: &str = concat!(
    "SELECT found.* FROM unnest($20::bytea[], $21::bytea[], $22::bigint[]) \
     AS wanted (in_trace, id, start) \
     CROSS JOIN LATERAL (SELECT ",
    span_columns!(),
    " FROM span WHERE project_id = $1 AND trace_id = wanted.in_trace AND span_id = wanted.id \
     AND start_unix_nano = wanted.start AND start_time >= $2 AND start_time < $3 OFFSET 0) AS found WHERE ",
    column_filters!(),
    is_there!(),
);

/// What yields spans newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Driver {
    /// All spans.
    Start,
    /// Failed spans.
    Failed,
    /// Spans of a trace.
    Trace,
}

impl Driver {
    /// The statement of a piece.
    pub(in super::super) const fn sql(self) -> &'static str {
        match self {
            Self::Start => select_spans!("", "start_unix_nano"),
            Self::Failed => select_spans!("AND status = 2", "start_unix_nano"),
            // Sorted, never walked by start: the sum is in no index.
            Self::Trace => select_spans!("AND trace_id = $27", "start_unix_nano + 0"),
        }
    }

    /// The statement of a piece that answers blocks.
    pub(in super::super) const fn blocks_sql(self) -> &'static str {
        match self {
            Self::Start => select_blocks!("", "start_unix_nano"),
            Self::Failed => select_blocks!("AND status = 2", "start_unix_nano"),
            Self::Trace => select_blocks!("AND trace_id = $27", "start_unix_nano + 0"),
        }
    }
}
