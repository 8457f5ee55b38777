//! Rows of `trace`: written many at a time as arrays of columns, and read back to be merged.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::transaction::Param;
use super::copy::Rows;
use super::params::text_array;
use super::traces::Key;
use crate::model::genai::Totals;
use crate::model::{ProjectId, SpanId, TraceId};
use crate::storage::Error;
use crate::storage::calls::{Settled, Stored};
use crate::storage::summary::{FailedSpan, Head, Summary};

/// The names of the columns, in the order of [`TraceRows::params`].
macro_rules! columns {
    () => {
        "project_id, trace_id, start_unix_nano, last_start_unix_nano, end_unix_nano,
        received_unix_nano, span_count, error_count, genai_span_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, head_start,
        head_has_parent, head_span_id, head_name, head_service, services, models, session_id,
        user_id, error_start, error_span_id, error_name, error_type, error_message, calls"
    };
}

macro_rules! arrays {
    () => {
        "unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[],
        $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
        $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::boolean[], $17::bytea[],
        $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[],
        $24::bigint[], $25::bytea[], $26::text[], $27::text[], $28::text[],
        $29::bytea[])"
    };
}

/// Which of these traces there are, by their places among the parameters, counted from 1. Locks
/// nothing. The subquery is run once a trace.
pub(super) const FIND: &str = "SELECT k.place::bigint
    FROM unnest($1::bigint[], $2::bytea[]) WITH ORDINALITY AS k(project_id, trace_id, place)
    CROSS JOIN LATERAL (
        SELECT FROM trace t WHERE t.project_id = k.project_id AND t.trace_id = k.trace_id
        LIMIT 1 OFFSET 0) AS found";

/// Copies in traces that are new: half the price of [`INSERT`], but fails when one is there.
pub(super) const COPY: &str = concat!("COPY trace (", columns!(), ") FROM STDIN (FORMAT binary)");

const FIELDS: u16 = 29;

/// Inserts the traces that are new, in key order, and answers which those are.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO trace (",
    columns!(),
    ") SELECT project_id, trace_id, start_unix_nano, last_start_unix_nano, end_unix_nano,
        received_unix_nano, span_count, error_count, genai_span_count, llm_call_count,
        input_tokens, output_tokens, cache_read_tokens, cost_nano_usd, head_start,
        head_has_parent, head_span_id, head_name, head_service, services::text[], models::text[],
        session_id, user_id, error_start, error_span_id, error_name, error_type, error_message,
        calls
    FROM ",
    arrays!(),
    " AS k(",
    columns!(),
    ") ON CONFLICT (project_id, trace_id) DO NOTHING RETURNING project_id, trace_id"
);

/// Replaces rows whose locks are held.
pub(super) const UPDATE: &str = concat!(
    "UPDATE trace t SET start_unix_nano = k.start_unix_nano,
        last_start_unix_nano = k.last_start_unix_nano, end_unix_nano = k.end_unix_nano,
        received_unix_nano = k.received_unix_nano, span_count = k.span_count,
        error_count = k.error_count, genai_span_count = k.genai_span_count,
        llm_call_count = k.llm_call_count, input_tokens = k.input_tokens,
        output_tokens = k.output_tokens, cache_read_tokens = k.cache_read_tokens,
        cost_nano_usd = k.cost_nano_usd, head_start = k.head_start,
        head_has_parent = k.head_has_parent, head_span_id = k.head_span_id,
        head_name = k.head_name, head_service = k.head_service, services = k.services::text[],
        models = k.models::text[], session_id = k.session_id, user_id = k.user_id,
        error_start = k.error_start, error_span_id = k.error_span_id, error_name = k.error_name,
        error_type = k.error_type, error_message = k.error_message,
        calls = coalesce(k.calls, t.calls)
    FROM ",
    arrays!(),
    " AS k(",
    columns!(),
    ") WHERE t.project_id = k.project_id AND t.trace_id = k.trace_id"
);

/// Locks rows in key order and reads them. What another transaction did to them is waited for.
pub(super) const LOCK: &str =
    "SELECT t.project_id, t.trace_id, t.start_unix_nano, t.last_start_unix_nano, t.end_unix_nano,
        t.received_unix_nano, t.span_count, t.error_count, t.genai_span_count, t.llm_call_count,
        t.input_tokens, t.output_tokens, t.cache_read_tokens, t.cost_nano_usd, t.head_start,
        t.head_has_parent, t.head_span_id, t.head_name, t.head_service, t.services, t.models,
        t.session_id, t.user_id, t.error_start, t.error_span_id, t.error_name, t.error_type,
        t.error_message, t.calls
    FROM unnest($1::bigint[], $2::bytea[]) AS k(project_id, trace_id)
    JOIN trace t ON t.project_id = k.project_id AND t.trace_id = k.trace_id
    ORDER BY t.project_id, t.trace_id FOR NO KEY UPDATE OF t";

/// A trace that is stored, locked by this transaction.
#[derive(Debug)]
pub(super) struct KnownTrace {
    pub(super) summary: Summary<'static>,
    pub(super) calls: Stored,
    /// Latest span start, ns.
    pub(super) last_start: i64,
}

/// Rows to write, column by column.
#[derive(Debug, Default)]
pub(super) struct TraceRows<'a> {
    projects: Vec<i64>,
    trace_ids: Vec<&'a [u8]>,
    /// The columns from the start to the head's start, in their order.
    numbers: [Vec<i64>; 13],
    head_has_parents: Vec<bool>,
    head_span_ids: Vec<&'a [u8]>,
    head_names: Vec<&'a str>,
    head_services: Vec<&'a str>,
    services: Vec<String>,
    models: Vec<String>,
    session_ids: Vec<Option<&'a str>>,
    user_ids: Vec<Option<&'a str>>,
    error_starts: Vec<Option<i64>>,
    error_span_ids: Vec<Option<&'a [u8]>>,
    error_names: Vec<Option<&'a str>>,
    error_types: Vec<Option<&'a str>>,
    error_messages: Vec<Option<&'a str>>,
    call_lists: Vec<Option<&'a [u8]>>,
}

impl<'a> TraceRows<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }

    pub(super) fn push(
        &mut self,
        project: ProjectId,
        trace_id: &'a TraceId,
        summary: &'a Summary<'_>,
        last_start: i64,
        calls: &'a Settled<'_>,
    ) {
        self.projects.push(i64::from(project.0));
        self.trace_ids.push(&trace_id.0);
        let head = &summary.head;
        let numbers = numbers(summary, last_start, &calls.totals);
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.push(number);
        }
        self.head_has_parents.push(head.has_parent);
        self.head_span_ids.push(&head.span_id.0);
        self.head_names.push(&head.name);
        self.head_services.push(&head.service);
        self.services.push(text_array(&summary.services));
        self.models.push(text_array(&summary.models));
        self.session_ids.push(summary.session_id.as_deref());
        self.user_ids.push(summary.user_id.as_deref());
        let error = summary.first_error.as_ref();
        self.error_starts.push(error.map(|error| error.start));
        self.error_span_ids
            .push(error.map(|error| error.span_id.0.as_slice()));
        self.error_names
            .push(error.map(|error| error.name.as_ref()));
        self.error_types
            .push(error.and_then(|error| error.error_type.as_deref()));
        self.error_messages
            .push(error.map(|error| error.message.as_ref()));
        self.call_lists.push(calls.list.as_deref());
    }

    /// Parameters of [`INSERT`] and [`UPDATE`].
    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let mut params: Vec<Param<'_>> = vec![
            (&self.projects, Type::INT8_ARRAY),
            (&self.trace_ids, Type::BYTEA_ARRAY),
        ];
        for column in &self.numbers {
            params.push((column, Type::INT8_ARRAY));
        }
        let rest: [Param<'_>; 14] = [
            (&self.head_has_parents, Type::BOOL_ARRAY),
            (&self.head_span_ids, Type::BYTEA_ARRAY),
            (&self.head_names, Type::TEXT_ARRAY),
            (&self.head_services, Type::TEXT_ARRAY),
            (&self.services, Type::TEXT_ARRAY),
            (&self.models, Type::TEXT_ARRAY),
            (&self.session_ids, Type::TEXT_ARRAY),
            (&self.user_ids, Type::TEXT_ARRAY),
            (&self.error_starts, Type::INT8_ARRAY),
            (&self.error_span_ids, Type::BYTEA_ARRAY),
            (&self.error_names, Type::TEXT_ARRAY),
            (&self.error_types, Type::TEXT_ARRAY),
            (&self.error_messages, Type::TEXT_ARRAY),
            (&self.call_lists, Type::BYTEA_ARRAY),
        ];
        params.extend(rest);
        params
    }
}

/// Writes a row of [`COPY`].
pub(super) fn write(
    rows: &mut Rows,
    (project, trace_id): &Key,
    summary: &Summary<'_>,
    last_start: i64,
    calls: &Settled<'_>,
) {
    rows.row(FIELDS);
    rows.i64(i64::from(project.0));
    rows.bytes(&trace_id.0);
    for number in numbers(summary, last_start, &calls.totals) {
        rows.i64(number);
    }
    let head = &summary.head;
    rows.boolean(head.has_parent);
    rows.bytes(&head.span_id.0);
    rows.text(&head.name);
    rows.text(&head.service);
    rows.texts(&summary.services);
    rows.texts(&summary.models);
    rows.optional_text(summary.session_id.as_deref());
    rows.optional_text(summary.user_id.as_deref());
    match &summary.first_error {
        Some(error) => {
            rows.i64(error.start);
            rows.bytes(&error.span_id.0);
            rows.text(&error.name);
            rows.optional_text(error.error_type.as_deref());
            rows.text(&error.message);
        }
        None => (0..5).for_each(|_| rows.null()),
    }
    match &calls.list {
        Some(list) => rows.bytes(list),
        None => rows.null(),
    }
}

/// The columns from the start to the head's start, in their order.
fn numbers(summary: &Summary<'_>, last_start: i64, totals: &Totals) -> [i64; 13] {
    [
        summary.start,
        last_start,
        summary.end,
        summary.received,
        summary.span_count,
        summary.error_count,
        summary.genai_span_count,
        totals.llm_calls,
        totals.input_tokens,
        totals.output_tokens,
        totals.cache_read_tokens,
        totals.cost_nano_usd,
        summary.head.start,
    ]
}

/// Reads a row of [`LOCK`].
///
/// # Errors
/// [`Error::Corrupt`].
pub(super) fn read(row: &Row) -> Result<((ProjectId, TraceId), KnownTrace), Error> {
    parse(row).ok_or_else(|| Error::Corrupt {
        context: "the row of a trace".to_owned(),
    })
}

fn parse(row: &Row) -> Option<((ProjectId, TraceId), KnownTrace)> {
    let number = |column: usize| row.try_get::<_, i64>(column).ok();
    let text = |column: usize| row.try_get::<_, String>(column).ok().map(Cow::Owned);
    let optional = |column: usize| {
        let text = row.try_get::<_, Option<String>>(column).ok()?;
        Some(text.map(Cow::Owned))
    };
    let texts = |column: usize| {
        let texts = row.try_get::<_, Vec<String>>(column).ok()?;
        Some(texts.into_iter().map(Cow::Owned).collect())
    };
    let project = ProjectId(u32::try_from(number(0)?).ok()?);
    let trace_id = TraceId::from_bytes(row.try_get(1).ok()?)?;
    let first_error = match row.try_get::<_, Option<i64>>(23).ok()? {
        Some(start) => Some(FailedSpan {
            start,
            span_id: SpanId::from_bytes(row.try_get(24).ok()?)?,
            name: text(25)?,
            error_type: optional(26)?,
            message: text(27)?,
        }),
        None => None,
    };
    let summary = Summary {
        start: number(2)?,
        end: number(4)?,
        received: number(5)?,
        span_count: number(6)?,
        error_count: number(7)?,
        genai_span_count: number(8)?,
        head: Head {
            start: number(14)?,
            has_parent: row.try_get(15).ok()?,
            span_id: SpanId::from_bytes(row.try_get(16).ok()?)?,
            name: text(17)?,
            service: text(18)?,
        },
        services: texts(19)?,
        models: texts(20)?,
        session_id: optional(21)?,
        user_id: optional(22)?,
        first_error,
    };
    let calls = Stored {
        totals: Totals {
            llm_calls: number(9)?,
            input_tokens: number(10)?,
            output_tokens: number(11)?,
            cache_read_tokens: number(12)?,
            cost_nano_usd: number(13)?,
        },
        list: row.try_get::<_, Option<_>>(28).ok()?.unwrap_or_default(),
    };
    let last_start = number(3)?;
    Some((
        (project, trace_id),
        KnownTrace {
            summary,
            calls,
            last_start,
        },
    ))
}
