//! Reading the columns of a block.

use std::borrow::Cow;
use std::ops::Range;

use prost::Message as _;

use super::names::{Int, List, Text};
use crate::model::failure::ErrorKind;
use crate::model::genai::{Cost, CostSource, GenAi, Usage};
use crate::model::span::{Kind, Status, TimeMarks};
use crate::model::{SpanId, TraceId};
use crate::storage::SpanSummary;
use crate::storage::content::proto::{BlockColumns, IntColumn, ListColumn, TextColumn};
use crate::storage::query::{Dimension, Fact};
use crate::storage::tally::Sample;

/// The columns of the spans of a block.
#[derive(Debug)]
pub(in crate::storage::sqlite) struct Columns {
    block: BlockColumns,
    /// First place of each trace's spans, in order.
    trace_firsts: Vec<usize>,
    /// Places whose trace has been deleted, in order.
    gone: Vec<Range<usize>>,
}

impl Columns {
    /// Reads encoded columns.
    ///
    /// # Errors
    /// When they are damaged.
    pub(in crate::storage::sqlite) fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let block = BlockColumns::decode(bytes)?;
        let mut next = 0_usize;
        let trace_firsts = block
            .trace_spans
            .iter()
            .map(|spans| {
                let first = next;
                next = next.saturating_add(*spans as usize);
                first
            })
            .collect();
        Ok(Self {
            block,
            trace_firsts,
            gone: Vec::new(),
        })
    }

    /// Keys of the rows of the traces whose spans the block was made of, in order.
    pub(in crate::storage::sqlite) fn trace_keys(&self) -> impl Iterator<Item = i64> {
        self.block.trace_keys.iter().map(|key| key.cast_signed())
    }

    /// Takes the spans of a trace, by its place among [`Self::trace_keys`], for deleted. In order.
    pub(in crate::storage::sqlite) fn leave_out(&mut self, trace: usize) {
        let first = self.trace_firsts.get(trace).copied();
        let next = self.trace_firsts.get(trace + 1).copied();
        if let Some(first) = first {
            self.gone.push(first..next.unwrap_or_else(|| self.len()));
        }
    }

    /// Whether the span at a place is there.
    pub(in crate::storage::sqlite) fn is_there(&self, place: usize) -> bool {
        let next = self.gone.partition_point(|gone| gone.end <= place);
        self.gone.get(next).is_none_or(|gone| place < gone.start)
    }

    /// The places of the spans that are there.
    pub(in crate::storage::sqlite) fn places(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(|place| self.is_there(*place))
    }

    /// Spans in the block.
    pub(in crate::storage::sqlite) fn len(&self) -> usize {
        self.block.starts.len()
    }

    /// Start of a span, ns since the Unix epoch.
    pub(in crate::storage::sqlite) fn start(&self, place: usize) -> i64 {
        let offset = self.block.starts.get(place).copied().unwrap_or(0);
        self.block.start_min.saturating_add_unsigned(offset)
    }

    /// Duration of a span, ns.
    pub(in crate::storage::sqlite) fn duration_ns(&self, place: usize) -> u64 {
        self.block.durations_ns.get(place).copied().unwrap_or(0)
    }

    /// Whether a span failed.
    pub(in crate::storage::sqlite) fn failed(&self, place: usize) -> bool {
        self.status(place) == Status::Error
    }

    /// Name of a span.
    pub(in crate::storage::sqlite) fn name(&self, place: usize) -> &str {
        self.text(Text::Name, place).unwrap_or_default()
    }

    /// Service of a span.
    pub(in crate::storage::sqlite) fn service(&self, place: usize) -> &str {
        let resource = self.block.resources.get(place).copied().unwrap_or(u32::MAX);
        let services = &self.block.resource_services;
        let service = services.get(resource as usize).copied().unwrap_or(0);
        self.text_at(service)
    }

    /// Whether any span is of a service.
    pub(in crate::storage::sqlite) fn has_service(&self, service: &str) -> bool {
        let mut services = self.block.resource_services.iter();
        services.any(|place| self.text_at(*place) == service)
    }

    /// Everything about a span; `None` when there is none at this place.
    pub(in crate::storage::sqlite) fn summary(&self, place: usize) -> Option<SpanSummary> {
        let block = &self.block;
        let owned = |column| self.text(column, place).map(str::to_owned);
        let start = self.start(place);
        Some(SpanSummary {
            trace_id: self.trace_id(place)?,
            span_id: SpanId(id_at(&block.span_ids, place)?),
            parent_span_id: SpanId::from_bytes(&id_at::<8>(&block.parent_span_ids, place)?),
            name: self.name(place).to_owned(),
            kind: Kind::from_wire(i32::from(*block.kinds.get(place)?)),
            status: self.status(place),
            status_message: owned(Text::StatusMessage).unwrap_or_default(),
            service_name: self.service(place).to_owned(),
            start_unix_nano: u64::try_from(start).unwrap_or(0),
            duration_ns: self.duration_ns(place),
            time_marks: TimeMarks(*block.time_marks.get(place)?),
            operation: owned(Text::Operation).unwrap_or_else(|| "other".to_owned()),
            genai: self.genai(place),
            provider: owned(Text::Provider),
            request_model: owned(Text::RequestModel),
            response_model: owned(Text::ResponseModel),
            session_id: owned(Text::Session),
            user_id: owned(Text::User),
            error_type: owned(Text::ErrorType),
            error_kind: self.error_kind(place),
            http_method: owned(Text::HttpMethod),
            http_route: owned(Text::HttpRoute),
            http_status_code: self.int(Int::HttpStatus, place),
            db_system: owned(Text::DbSystem),
            db_operation: owned(Text::DbOperation),
            rpc_system: owned(Text::RpcSystem),
            rpc_service: owned(Text::RpcService),
            rpc_method: owned(Text::RpcMethod),
        })
    }

    /// Whether a span says something.
    pub(in crate::storage::sqlite) fn says(&self, place: usize, fact: &Fact) -> bool {
        let is = |column, wanted: &String| self.text(column, place) == Some(wanted.as_str());
        match fact {
            Fact::Operation(wanted) => is(Text::Operation, wanted),
            Fact::Provider(wanted) => is(Text::Provider, wanted),
            Fact::Model(wanted) => self.model(place) == Some(wanted.as_str()),
            Fact::Agent(wanted) => is(Text::AgentName, wanted) || is(Text::AgentId, wanted),
            Fact::Tool(wanted) => is(Text::ToolName, wanted),
            Fact::Tag(wanted) => self.tags(place).any(|tag| tag == wanted),
            Fact::ErrorKind(wanted) => {
                self.failed(place) && self.error_kind(place) == Some(*wanted)
            }
        }
    }

    /// Whether any span may say something, as far as the texts of the block tell.
    pub(in crate::storage::sqlite) fn may_say(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Operation(wanted)
            | Fact::Provider(wanted)
            | Fact::Model(wanted)
            | Fact::Agent(wanted)
            | Fact::Tool(wanted)
            | Fact::Tag(wanted) => self.block.texts.contains(wanted),
            Fact::ErrorKind(_) => true,
        }
    }

    /// Row of the resource of a span.
    pub(in crate::storage::sqlite) fn resource_id(&self, place: usize) -> i64 {
        let resource = self.block.resources.get(place).copied().unwrap_or(u32::MAX);
        let id = self.block.resource_ids.get(resource as usize).copied();
        id.unwrap_or(0).cast_signed()
    }

    /// Whether a span is a model call.
    pub(in crate::storage::sqlite) fn is_model_call(&self, place: usize) -> bool {
        self.int(Int::IsModelCall, place) == Some(1)
    }

    /// A span, as far as sums go.
    pub(in crate::storage::sqlite) fn sample(&self, place: usize) -> Sample {
        let plain = Sample {
            start_unix_nano: self.start(place),
            duration_ns: self.duration_ns(place),
            failed: self.failed(place),
            ..Sample::default()
        };
        let Some(is_model_call) = self.int(Int::IsModelCall, place) else {
            return plain;
        };
        Sample {
            is_model_call: is_model_call != 0,
            usage: self.usage(place),
            cost_nano_usd: self.int(Int::CostTotal, place),
            cost_source: self.cost_source(place),
            time_to_first_token_ns: self.int(Int::TimeToFirstToken, place),
            ..plain
        }
    }

    /// The value of a dimension; empty where it is unknown or not of the columns.
    pub(in crate::storage::sqlite) fn value(&self, place: usize, dimension: Dimension) -> &str {
        let text = |column| self.text(column, place);
        let found = match dimension {
            Dimension::Service => Some(self.service(place)),
            Dimension::Operation => text(Text::Operation),
            Dimension::Provider => text(Text::Provider),
            Dimension::Model => self.model(place),
            Dimension::User => text(Text::User),
            Dimension::Agent => text(Text::AgentName).or_else(|| text(Text::AgentId)),
            Dimension::Tool => text(Text::ToolName),
            Dimension::ErrorKind if self.failed(place) => {
                self.error_kind(place).map(ErrorKind::as_str)
            }
            Dimension::CostSource => self.cost_source(place).map(CostSource::as_str),
            Dimension::ErrorKind | Dimension::Environment | Dimension::Tag => None,
        };
        found.unwrap_or_default()
    }

    fn cost_source(&self, place: usize) -> Option<CostSource> {
        self.int(Int::CostSource, place)
            .and_then(CostSource::from_number)
    }

    fn usage(&self, place: usize) -> Usage {
        let int = |column| self.int(column, place);
        Usage {
            input: int(Int::Input),
            output: int(Int::Output),
            cache_read: int(Int::CacheRead),
            cache_write: int(Int::CacheWrite),
            reasoning: int(Int::Reasoning),
            audio_in: int(Int::AudioIn),
            audio_out: int(Int::AudioOut),
            image_in: int(Int::ImageIn),
            image_out: int(Int::ImageOut),
        }
    }

    /// The model that answered, else the one asked for.
    pub(in crate::storage::sqlite) fn model(&self, place: usize) -> Option<&str> {
        self.text(Text::ResponseModel, place)
            .or_else(|| self.text(Text::RequestModel, place))
    }

    /// Session that a span names.
    pub(in crate::storage::sqlite) fn session(&self, place: usize) -> Option<&str> {
        self.text(Text::Session, place)
    }

    /// User that a span names.
    pub(in crate::storage::sqlite) fn user(&self, place: usize) -> Option<&str> {
        self.text(Text::User, place)
    }

    /// Kind of failure of a span.
    pub(in crate::storage::sqlite) fn error_kind(&self, place: usize) -> Option<ErrorKind> {
        self.int(Int::ErrorKind, place)
            .and_then(ErrorKind::from_number)
    }

    /// Input and output tokens of a span together; those that are not known count as none.
    pub(in crate::storage::sqlite) fn tokens(&self, place: usize) -> i64 {
        let amount = |column| self.int(column, place).unwrap_or(0);
        amount(Int::Input).saturating_add(amount(Int::Output))
    }

    /// Cost of a span, nano-USD; one that is not known counts as none.
    pub(in crate::storage::sqlite) fn cost_nano_usd(&self, place: usize) -> i64 {
        self.int(Int::CostTotal, place).unwrap_or(0)
    }

    /// Tags of a span, in the order sent.
    pub(in crate::storage::sqlite) fn tags(&self, place: usize) -> impl Iterator<Item = &str> {
        self.list(List::Tags, place)
            .iter()
            .map(|text| self.text_at(*text))
    }

    fn trace_id(&self, place: usize) -> Option<TraceId> {
        let trace = self.trace_of(place)?;
        Some(TraceId(id_at(&self.block.trace_ids, trace)?))
    }

    /// Key of the row of a span's trace.
    pub(super) fn trace_key(&self, place: usize) -> Option<i64> {
        let key = self.block.trace_keys.get(self.trace_of(place)?);
        key.map(|key| key.cast_signed())
    }

    fn trace_of(&self, place: usize) -> Option<usize> {
        let after = self.trace_firsts.partition_point(|first| *first <= place);
        after.checked_sub(1)
    }

    fn genai(&self, place: usize) -> Option<Box<GenAi<'static>>> {
        let is_model_call = self.int(Int::IsModelCall, place)? != 0;
        let owned = |column| {
            self.text(column, place)
                .map(|text| Cow::Owned(text.to_owned()))
        };
        let int = |column| self.int(column, place);
        Some(Box::new(GenAi {
            dialect: owned(Text::Dialect),
            response_id: owned(Text::ResponseId),
            finish_reason: owned(Text::FinishReason),
            streaming: int(Int::Streaming).map(|streaming| streaming != 0),
            time_to_first_token_ns: int(Int::TimeToFirstToken),
            agent_name: owned(Text::AgentName),
            agent_id: owned(Text::AgentId),
            tool_name: owned(Text::ToolName),
            tool_call_id: owned(Text::ToolCallId),
            usage: self.usage(place),
            cost: Cost {
                input: int(Int::CostInput),
                output: int(Int::CostOutput),
                total: int(Int::CostTotal),
                source: self.cost_source(place),
                price_version: owned(Text::PriceVersion),
            },
            tags: self
                .tags(place)
                .map(|tag| Cow::Owned(tag.to_owned()))
                .collect(),
            is_model_call,
        }))
    }

    fn status(&self, place: usize) -> Status {
        let status = self.block.statuses.get(place).copied().unwrap_or(0);
        Status::from_wire(i32::from(status))
    }

    fn text(&self, column: Text, place: usize) -> Option<&str> {
        let of_column = |found: &&TextColumn| found.column == column as u32;
        let column = self.block.text_columns.iter().find(of_column)?;
        let text = *column.values.get(place)?;
        (text != 0).then(|| self.text_at(text))
    }

    fn text_at(&self, text: u32) -> &str {
        let text = self.block.texts.get(text as usize);
        text.map_or("", String::as_str)
    }

    fn int(&self, column: Int, place: usize) -> Option<i64> {
        let of_column = |found: &&IntColumn| found.column == column as u32;
        let column = self.block.int_columns.iter().find(of_column)?;
        let at = u32::try_from(place).ok()?;
        let index = column.places.binary_search(&at).ok()?;
        column.values.get(index).copied()
    }

    fn list(&self, column: List, place: usize) -> &[u32] {
        let of_column = |found: &&ListColumn| found.column == column as u32;
        let Some(column) = self.block.list_columns.iter().find(of_column) else {
            return &[];
        };
        let before = column.places.partition_point(|of| (*of as usize) < place);
        let through = column.places.partition_point(|of| (*of as usize) <= place);
        column.values.get(before..through).unwrap_or_default()
    }
}

fn id_at<const N: usize>(ids: &[u8], place: usize) -> Option<[u8; N]> {
    let start = place.checked_mul(N)?;
    let id = ids.get(start..)?.first_chunk::<N>()?;
    Some(*id)
}
