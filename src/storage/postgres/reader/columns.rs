//! Reading rows, column after column.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::{corrupt, unsigned};
use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Totals, Usage};
use crate::model::span::{Kind, Status, TimeMarks};
use crate::model::{SpanId, TraceId};
use crate::storage::Error;
use crate::storage::query::SpanSummary;

/// The columns of a row, from left to right.
#[derive(Debug)]
pub(in crate::storage::postgres) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    /// From the first column on.
    pub(in crate::storage::postgres) const fn new(row: &'r Row) -> Self {
        Self { row, next: 0 }
    }

    /// The next column.
    pub(super) fn take<T: FromSql<'r>>(&mut self) -> Result<T, Error> {
        let column = self.next;
        self.next += 1;
        let value = self.row.try_get(column);
        value.map_err(|source| {
            let name = self.row.columns().get(column);
            let name = name.map_or("", tokio_postgres::Column::name);
            corrupt(format!("column {name}: {source}"))
        })
    }

    /// The next column as a time or count.
    pub(super) fn count(&mut self) -> Result<u64, Error> {
        self.take().map(unsigned)
    }

    /// The next column as an id.
    pub(super) fn id<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes: &[u8] = self.take()?;
        bytes
            .try_into()
            .map_err(|_| corrupt("an id has a wrong length"))
    }

    /// The next column as an id that may be missing.
    pub(super) fn optional_id<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Error> {
        let bytes: Option<&[u8]> = self.take()?;
        let id = bytes.map(TryInto::try_into).transpose();
        id.map_err(|_| corrupt("an id has a wrong length"))
    }

    /// Five columns of totals.
    pub(super) fn totals(&mut self) -> Result<Totals, Error> {
        Ok(Totals {
            llm_calls: self.take()?,
            input_tokens: self.take()?,
            output_tokens: self.take()?,
            cache_read_tokens: self.take()?,
            cost_nano_usd: self.take()?,
        })
    }
}

/// The columns of `span` in the order [`SpanColumns::read`] takes them.
macro_rules! span_columns {
    () => {
        "start_unix_nano, span_id, trace_id, received_unix_nano, resource_id, scope_id, block_id, \
         block_place, parent_span_id, name, kind, status, status_message, service_name, \
         duration_ns, time_marks, operation, provider, request_model, response_model, session_id, \
         user_id, error_type, error_kind, http_method, http_route, http_status_code, db_system, \
         db_operation, rpc_system, rpc_service, rpc_method, is_model_call, dialect, response_id, finish_reason, \
         streaming, time_to_first_token_ns, agent_name, agent_id, tool_name, tool_call_id, \
         input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, \
         audio_input_tokens, audio_output_tokens, image_input_tokens, image_output_tokens, \
         input_cost_nano_usd, output_cost_nano_usd, \
         cost_nano_usd, cost_source, price_version, tags"
    };
}
pub(in crate::storage::postgres) use span_columns;

/// A row of `span`: where its parts are, and what is known of it.
#[derive(Debug)]
pub(in crate::storage::postgres) struct SpanColumns {
    pub(in crate::storage::postgres) received_unix_nano: u64,
    pub(in crate::storage::postgres) resource_id: i64,
    pub(in crate::storage::postgres) scope_id: i64,
    pub(in crate::storage::postgres) block_id: i64,
    pub(in crate::storage::postgres) block_place: i32,
    pub(in crate::storage::postgres) summary: SpanSummary,
}

impl SpanColumns {
    /// Reads the columns of `span_columns!`.
    pub(in crate::storage::postgres) fn read(columns: &mut Columns<'_>) -> Result<Self, Error> {
        let start_unix_nano = columns.count()?;
        let span_id = SpanId(columns.id()?);
        let trace_id = TraceId(columns.id()?);
        Ok(Self {
            received_unix_nano: columns.count()?,
            resource_id: columns.take()?,
            scope_id: columns.take()?,
            block_id: columns.take()?,
            block_place: columns.take()?,
            summary: SpanSummary {
                trace_id,
                span_id,
                start_unix_nano,
                parent_span_id: columns.optional_id()?.map(SpanId),
                name: columns.take()?,
                kind: Kind::from_wire(i32::from(columns.take::<i16>()?)),
                status: Status::from_wire(i32::from(columns.take::<i16>()?)),
                status_message: columns.take::<Option<String>>()?.unwrap_or_default(),
                service_name: columns.take()?,
                duration_ns: columns.count()?,
                time_marks: TimeMarks(time_marks(columns.take()?)),
                operation: columns.take()?,
                provider: columns.take()?,
                request_model: columns.take()?,
                response_model: columns.take()?,
                session_id: columns.take()?,
                user_id: columns.take()?,
                error_type: columns.take()?,
                error_kind: columns
                    .take::<Option<i16>>()?
                    .and_then(|number| ErrorKind::from_number(i64::from(number))),
                http_method: columns.take()?,
                http_route: columns.take()?,
                http_status_code: columns.take()?,
                db_system: columns.take()?,
                db_operation: columns.take()?,
                rpc_system: columns.take()?,
                rpc_service: columns.take()?,
                rpc_method: columns.take()?,
                genai: genai(columns)?,
            },
        })
    }
}

fn time_marks(bits: i16) -> u8 {
    u8::try_from(bits).unwrap_or(0)
}

fn genai(columns: &mut Columns<'_>) -> Result<Option<Box<GenAi<'static>>>, Error> {
    let Some(is_model_call) = columns.take::<Option<bool>>()? else {
        return Ok(None);
    };
    let text = |columns: &mut Columns<'_>| {
        let text: Option<String> = columns.take()?;
        Ok::<_, Error>(text.map(Cow::Owned))
    };
    Ok(Some(Box::new(GenAi {
        dialect: text(columns)?,
        response_id: text(columns)?,
        finish_reason: text(columns)?,
        streaming: columns.take()?,
        time_to_first_token_ns: columns.take()?,
        agent_name: text(columns)?,
        agent_id: text(columns)?,
        tool_name: text(columns)?,
        tool_call_id: text(columns)?,
        usage: Usage {
            input: columns.take()?,
            output: columns.take()?,
            cache_read: columns.take()?,
            cache_write: columns.take()?,
            reasoning: columns.take()?,
            audio_in: columns.take()?,
            audio_out: columns.take()?,
            image_in: columns.take()?,
            image_out: columns.take()?,
        },
        cost: Cost {
            input: columns.take()?,
            output: columns.take()?,
            total: columns.take()?,
            source: columns
                .take::<Option<i16>>()?
                .and_then(|number| CostSource::from_number(i64::from(number))),
            price_version: text(columns)?,
        },
        tags: tags(columns)?,
        is_model_call,
    })))
}

fn tags(columns: &mut Columns<'_>) -> Result<Vec<Cow<'static, str>>, Error> {
    let tags: Option<Vec<String>> = columns.take()?;
    Ok(tags.into_iter().flatten().map(Cow::Owned).collect())
}
